// The graph and the timeline of a run: drawn by the server, drawn again as the run goes on.

import { html, useEffect, useRef, useState } from "./vendor/preact.js";
import { picture, runPath } from "./net.js";
import { Problems } from "./words.js";

const EACH = 1000; // milliseconds between two drawings, at least

const View = (name) => function Picture({ run, version, now, chosen, choose }) {
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
        const svg = await picture(runPath(run.run, `${name}.svg`));
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
  }, [run.run, version, beat]);
  const chosenNow = useRef(chosen);
  chosenNow.current = chosen;
  useEffect(() => mark(box.current, chosen), [chosen]);
  return html`<div class="picture aiflow-ext" tabindex="0"><${Problems} error=${error} /><div ref=${box}></div></div>`;
};

function mark(box, job) {
  if (!box) return;
  for (const each of box.querySelectorAll("[data-job]")) each.classList.toggle("chosen", each.dataset.job === job);
}

export const Graph = View("graph");
export const Timeline = View("timeline");
