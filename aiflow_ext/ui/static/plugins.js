// What is installed, and why one job plugin is used, or none.

import { html, useMemo, useState } from "./vendor/preact.js";
import { useData } from "./hooks.js";
import { query } from "./net.js";
import { Cell, Rows, matching } from "./rows.js";
import { Problems } from "./words.js";
import { address } from "./app.js";

const keyOf = (each) => `${each.kind} ${each.name} ${each.distribution}`;

export function Plugins({ chosen }) {
  const [found, error] = useData("/api/plugins");
  const [text, setText] = useState("");
  const shown = useMemo(() => matching(found || [], text, (each) =>
    `${each.kind} ${each.name} ${each.status} ${each.distribution} ${each.reason || ""}`), [found, text]);
  const one = (found || []).find((each) => keyOf(each) === chosen);
  const go = (key) => { location.hash = address(["plugins", ...(key ? [key] : [])]); };
  return html`<section class="page">
    <div class="tools"><h1>Plugins</h1>
      <input type="search" placeholder="Filter" aria-label="Filter plugins" value=${text} onInput=${(event) => setText(event.target.value)} />
      <span class="quiet">${found ? `${shown.length} of ${found.length}; none of them is imported to show this` : ""}</span></div>
    <${Problems} error=${error} />
    ${found ? html`<div class="split ${one ? "with-job" : ""}">
      <${Rows} kind="plugins" items=${shown} keyOf=${keyOf} chosen=${chosen} choose=${(each) => go(keyOf(each))} label="Plugins" columns=${5}
        head=${html`<div role="columnheader" class="cell w-status">Status</div><div role="columnheader" class="cell w-kind">Kind</div>
          <div role="columnheader" class="cell w-plugin">Name</div><div role="columnheader" class="cell w-dist">Distribution</div>
          <div role="columnheader" class="cell grow">Reason</div>`}
        row=${(each) => html`<${Cell} kind=${`w-status s-${each.status}`}>${each.status}<//><${Cell} kind="w-kind">${each.kind.replace("_", " ")}<//>
          <${Cell} kind="w-plugin name">${each.name}<//><${Cell} kind="w-dist">${each.distribution} <span class="quiet">${each.version || ""}</span><//>
          <${Cell} kind="grow reason" title=${each.reason || ""}>${each.reason || (each.proof ? each.proof.words : "")}<//>`} />
      ${one ? html`<${Plugin} key=${chosen} record=${one} go=${go} />` : ""}</div>` : ""}
  </section>`;
}

function Plugin({ record, go }) {
  const [load, setLoad] = useState(false);
  const [platform, ...engine] = record.name.split(".");
  const values = { platform, engine: engine.join("."), ...(load ? { load: "1" } : {}) };
  const [why, error] = useData(record.kind === "job_plugin" ? query("/api/why", values) : null);
  return html`<aside class="panel" aria-label=${record.name}>
    <div class="tools"><h2>${record.name}</h2>
      ${why && !load && why.exit_code === 0 ? html`<button onClick=${() => setLoad(true)}>Try to load it</button>` : ""}
      <button class="plain close" aria-label="Close" onClick=${() => go(null)}>✕</button></div>
    <div class="tab">
      <dl class="list"><div><dt>status</dt><dd class=${`s-${record.status}`}>${record.status}</dd></div>
        <div><dt>distribution</dt><dd>${record.distribution} ${record.version || ""}</dd></div>
        <div><dt>entry point</dt><dd class="mono">${record.entry_point || ""}</dd></div>
        ${record.proof ? html`<div><dt>proof</dt><dd>${record.proof.words} ${record.proof.details}</dd></div>` : ""}
        ${record.reason ? html`<div><dt>reason</dt><dd>${record.reason}</dd></div>` : ""}</dl>
      <${Problems} error=${error} />
      ${why ? html`<h3>Why</h3>${why.sentences.map((each) => html`<p>${each}</p>`)}${why.cures.map((each) => html`<p class="quiet">${each}</p>`)}
        <h3>What decides so</h3><dl class="list">${why.decisions.map((each) => html`<div><dt>${each.about}</dt><dd>${each.words}</dd></div>`)}</dl>` : ""}
    </div></aside>`;
}
