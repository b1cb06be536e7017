// A question before anything is changed: nothing is done by one click alone.

import { html, useLayoutEffect, useRef, useState } from "./vendor/preact.js";
import { plain } from "./plain.js";
import { Problems } from "./words.js";

let show = null;

/** Ask `title`, with `words` about what would follow; `act()` does it, and is awaited. `command`: what does the same. */
export function confirm(question) {
  show(question);
}

export function Confirm() {
  const [question, set] = useState(null);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const dialog = useRef(null);
  show = (asked) => { setError(null); setBusy(false); set(asked); };
  useLayoutEffect(() => { // before anybody sees it closed
    if (question && !dialog.current.open) dialog.current.showModal();
  }, [question]);
  if (!question) return null;
  const close = () => { dialog.current.close(); set(null); };
  const act = async () => {
    setBusy(true);
    setError(null);
    try {
      await question.act();
      close();
    } catch (failed) {
      setError(failed);
      setBusy(false);
    }
  };
  return html`<dialog ref=${dialog} aria-labelledby="question" onCancel=${(event) => { event.preventDefault(); if (!busy) close(); }}>
    <h2 id="question">${plain(question.title)}</h2>
    <p>${question.words}</p>
    <p class="same">The same as <code>${plain(question.command)}</code></p>
    <${Problems} error=${error} />
    <div class="buttons">
      <button onClick=${close} disabled=${busy} autofocus>Cancel</button>
      <button class="act ${question.kind || ""}" onClick=${act} disabled=${busy}>${busy ? "…" : question.button}</button>
    </div>
  </dialog>`;
}
