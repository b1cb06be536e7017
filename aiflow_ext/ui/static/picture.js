// The graph and the timeline of a run: drawn by the server, drawn again as the run goes on.

import { html, useEffect, useRef, useState } from "./vendor/preact.js";
import { picture, query, runPath } from "./net.js";
import { Problems } from "./words.js";

const EACH = 1000; // milliseconds between two drawings, at least
const PAGE = 200; // jobs of a timeline: MOST of view/timeline.py

/** The timeline of the table's jobs, those of most interest first, in pages. */
export function Timeline({ jobs, state, words, ...rest }) {
  const [at, setAt] = useState(0);
  const last = Math.max(0, Math.ceil(jobs.length / PAGE) - 1);
  const page = Math.min(at, last); // there may be fewer than there were
  useEffect(() => setAt(0), [state, words]);
  const count = (number) => number.toLocaleString("en");
  return html`<div class="pages">
    ${last ? html`<div class="tools" role="group" aria-label="Pages of the timeline">
      <button disabled=${page === 0} onClick=${() => setAt(page - 1)}>Previous</button>
      <button disabled=${page === last} onClick=${() => setAt(page + 1)}>Next</button>
      <span class="quiet" role="status">jobs ${count(page * PAGE + 1)} to ${count(Math.min(jobs.length, (page + 1) * PAGE))} of ${count(jobs.length)},
        first those that run, then those that failed</span></div>` : ""}
    <${Picture} name="timeline" asked=${{ page, state: state || "", words }} ...${rest} /></div>`;
}

export const Graph = (props) => html`<${Picture} name="graph" ...${props} />`;

function Picture({ name, asked = {}, run, version, now, chosen }) {
  const path = query(runPath(run.run, `${name}.svg`), asked);
  const box = useRef(null);
  const [error, setError] = useState(null);
  const held = useRef({ drawn: -1, busy: false, next: 0 });
  const live = run.ended_at == null && run.driver != null;
  const beat = name === "timeline" && live ? Math.floor(now / 2) : 0; // bars of running jobs grow
  useEffect(() => {
    const state = held.current;
    let timer = null;
    const draw = async () => {
      if (state.busy) { // with a picture that may be older than what is to be drawn
        timer = setTimeout(draw, EACH);
        return;
      }
      state.busy = true;
      const began = Date.now();
      try {
        const svg = await picture(path);
        if (!box.current) return;
        box.current.replaceChildren(document.importNode(svg, true));
        mark(box.current, chosenNow.current);
        setError(null);
      } catch (failed) {
        setError(failed);
      } finally {
        state.busy = false;
        state.next = Date.now() + Math.max(EACH, 4 * (Date.now() - began));
      }
    };
    timer = setTimeout(draw, Math.max(0, state.next - Date.now()));
    return () => clearTimeout(timer);
  }, [path, version, beat]);
  const chosenNow = useRef(chosen);
  chosenNow.current = chosen;
  useEffect(() => mark(box.current, chosen), [chosen]);
  return html`<div class="picture aiflow-ext" tabindex="0"><${Problems} error=${error} /><div ref=${box}></div></div>`;
}

function mark(box, job) {
  if (!box) return;
  for (const each of box.querySelectorAll("[data-job]")) each.classList.toggle("chosen", each.dataset.job === job);
}
