// A log: its end and what comes, and all before that on demand.

import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor/preact.js";
import { query, readLog, runPath } from "./net.js";
import { Problems, bytes } from "./words.js";
import { plain } from "./plain.js";

const TAIL = 256 * 1024; // bytes that are read at first, and with each step back
const MOST = 4 * 1024 * 1024; // characters that are kept in the document; what is before them is left out again
const LINE = 1 << 16; // characters of an element: one of a long log is laid out only where it is seen

export function LogView({ run, job, attempt }) {
  const [stream, setStream] = useState("stdout");
  if (!attempt) return html`<p class="empty">It has had no attempt yet.</p>`;
  return html`<${Following} key=${`${job.name}\n${attempt.number}\n${stream}`} run=${run} job=${job} number=${attempt.number} stream=${stream} setStream=${setStream} />`;
}

function Following({ run, job, number, stream, setStream }) {
  const [state, set] = useState({ begin: null, over: false, error: null });
  const [stick, setStick] = useState(true);
  const box = useRef(null);
  const text = useRef(null);
  const path = runPath(run.run, "log");
  const asked = { job: job.name, attempt: number, stream };
  const held = useRef({ pieces: [], size: 0, sticks: true });

  useEffect(() => {
    const stop = new AbortController();
    const decoder = new TextDecoder();
    const came = (data) => append(text.current, held.current, plain(decoder.decode(data, { stream: true })), box.current);
    readLog(query(path, { ...asked, offset: -TAIL, follow: "1" }), (begin, size) => set({ begin, size, over: false, error: null }), came, stop.signal)
      .then(() => set((before) => ({ ...before, over: true })), (error) => stop.signal.aborted || set((before) => ({ ...before, error })));
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
    text.current.prepend(piece(plain(found)));
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
        ${["stdout", "stderr"].map((each) => html`<option value=${each} selected=${each === stream}>${each}</option>`)}</select></label>
      ${state.begin ? html`<button onClick=${earlier}>Earlier (${bytes(state.begin)} before)</button>` : ""}
      <span class="quiet" role="status">${state.begin === null ? "" : state.over ? "complete" : "following"}</span>
      ${stick ? "" : html`<button onClick=${toEnd}>To the end</button>`}
    </div>
    <${Problems} error=${state.error} />
    <div class="box" ref=${box} onScroll=${onScroll} tabindex="0" role="log" aria-label=${`${stream} of ${job.name}`}><pre ref=${text}></pre></div>
  </div>`;
}

function piece(words) {
  const made = document.createElement("span");
  made.className = "piece";
  made.textContent = words;
  return made;
}

/** Add text to what is shown; where it was at its end, it stays there. */
function append(pre, held, words, box) {
  if (!pre || !words) return;
  let last = pre.lastChild;
  for (let at = 0; at < words.length; ) {
    const room = last === null ? 0 : LINE - last.textContent.length;
    if (room <= 0) {
      last = piece("");
      pre.append(last);
    } else {
      last.append(words.slice(at, at + room));
      at += room;
    }
  }
  held.size += words.length;
  if (held.sticks) box.scrollTop = box.scrollHeight;
}
