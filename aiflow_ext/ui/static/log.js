// A log: its end and what comes, and all before that on demand.

import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor/preact.js";
import { useData } from "./hooks.js";
import { query, readLog, runPath, whileSeen } from "./net.js";
import { Problems, bytes } from "./words.js";
import { plain } from "./plain.js";

const TAIL = 256 * 1024; // bytes that are read at first, and with each step back
const MOST = 4 * 1024 * 1024; // characters that are kept in the document; what is before them is left out again
const PIECE = 1 << 16; // characters after which another element begins: such a one is what is left out

export function LogView({ run, job, attempt }) {
  const [stream, setStream] = useState("stdout");
  if (!attempt) return html`<p class="empty">It has had no attempt yet.</p>`;
  return html`<${Following} key=${`${job.name}\n${attempt.number}\n${stream}`} run=${run} job=${job} number=${attempt.number} stream=${stream} setStream=${setStream} />`;
}

/** The logs that an attempt has; other containers' than the job's come with its end. */
function useStreams(run, job, number) {
  const [found] = useData(query(runPath(run.run, "streams"), { job: job.name, attempt: number }), job.state);
  return found || ["stdout", "stderr"];
}

function Following({ run, job, number, stream, setStream }) {
  const [state, set] = useState({ begin: null, over: false, error: null });
  const [stick, setStick] = useState(true);
  const streams = useStreams(run, job, number);
  const box = useRef(null);
  const text = useRef(null);
  const path = runPath(run.run, "log");
  const asked = { job: job.name, attempt: number, stream };
  const held = useRef({ size: 0, sticks: true });

  useEffect(() => {
    const stop = new AbortController();
    const decoder = new TextDecoder();
    let next = null; // the byte to go on with
    const began = (begin) => {
      if (next === null) set({ begin, over: false, error: null });
      next = begin;
    };
    const came = (data) => {
      next += data.length;
      const dropped = append(text.current, held.current, plain(decoder.decode(data, { stream: true })), data.length, box.current);
      if (dropped) set((before) => ({ ...before, begin: before.begin + dropped }));
    };
    whileSeen((seen) => readLog(query(path, { ...asked, offset: next ?? -TAIL, follow: "1" }), began, came, seen), stop.signal)
      .then(() => stop.signal.aborted || set((before) => ({ ...before, over: true })), (error) => set((before) => ({ ...before, error })));
    return () => stop.abort();
  }, []);

  const earlier = async () => {
    const begin = Math.max(0, state.begin - TAIL);
    const decoder = new TextDecoder();
    let found = "";
    try {
      await readLog(query(path, { ...asked, offset: begin, most: state.begin - begin }), () => {}, (data) => { found += decoder.decode(data, { stream: true }); });
    } catch (error) {
      set({ ...state, error });
      return;
    }
    const before = box.current.scrollHeight;
    const made = piece(plain(found), state.begin - begin);
    text.current.prepend(made);
    held.current.size += made.textContent.length;
    box.current.scrollTop += box.current.scrollHeight - before;
    set({ ...state, begin });
  };
  const onScroll = (event) => {
    const element = event.currentTarget;
    const sticks = element.scrollHeight - element.scrollTop - element.clientHeight < 24;
    held.current.sticks = sticks;
    if (sticks !== stick) setStick(sticks);
  };
  const toEnd = () => { box.current.scrollTop = box.current.scrollHeight; };
  return html`<div class="log">
    <div class="tools">
      <label>stream <select onChange=${(event) => setStream(event.target.value)}>
        ${streams.map((each) => html`<option value=${each} selected=${each === stream}>${each}</option>`)}</select></label>
      ${state.begin ? html`<button onClick=${earlier}>Earlier (${bytes(state.begin)} before)</button>` : ""}
      <span class="quiet" role="status">${state.begin === null ? "" : state.over ? "complete" : "following"}</span>
      ${stick ? "" : html`<button onClick=${toEnd}>To the end</button>`}
    </div>
    <${Problems} error=${state.error} />
    <div class="box" ref=${box} onScroll=${onScroll} tabindex="0" role="log" aria-label=${`${stream} of ${job.name}`}><pre ref=${text}></pre></div>
  </div>`;
}

/** An element with text that so many bytes of the log have become. */
function piece(words, size) {
  const made = document.createElement("span");
  made.textContent = words;
  made.bytes = size;
  return made;
}

/** Add text to what is shown; where its end is seen, it stays so, and beginnings beyond MOST are left out. Returns of how
 *  many bytes. */
function append(pre, held, words, size, box) {
  if (!pre) return 0;
  let last = pre.lastChild;
  if (last === null || last.textContent.length > PIECE) {
    last = piece("", 0);
    pre.append(last);
  }
  last.append(words);
  last.bytes += size;
  held.size += words.length;
  let dropped = 0;
  if (held.sticks) {
    for (let first = pre.firstChild; held.size > MOST && first !== last; first = pre.firstChild) {
      held.size -= first.textContent.length;
      dropped += first.bytes;
      first.remove();
    }
    box.scrollTop = box.scrollHeight;
  }
  return dropped;
}
