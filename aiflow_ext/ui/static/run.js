// One run: its head, what can be done with it, its jobs in one of several views, and one job beside them.

import { html, useEffect, useMemo, useState } from "./vendor/preact.js";
import { useNow, useRun } from "./hooks.js";
import { post, runPath } from "./net.js";
import { confirm } from "./confirm.js";
import { JobTable } from "./table.js";
import { plain } from "./plain.js";
import { Graph, Timeline } from "./picture.js";
import { matching } from "./rows.js";
import { JobPanel } from "./job.js";
import { Problems, Sign, State, STATES, moment, runState, said, took } from "./words.js";
import { address } from "./app.js";

const VIEWS = { jobs: ["Jobs", JobTable], graph: ["Graph", Graph], timeline: ["Timeline", Timeline], about: ["About", About] };

export function RunView({ id, view, job, tab }) {
  const { run, jobs, error, skew, version } = useRun(id);
  const [text, setText] = useState("");
  const [only, setOnly] = useState(null); // a state
  const now = useNow(skew, run !== null && run.ended_at == null && run.driver != null);
  const counts = useMemo(() => {
    const found = {};
    for (const each of jobs) found[each.state] = (found[each.state] || 0) + 1;
    return found;
  }, [version]);
  const shown = useMemo(() => {
    const found = only === null ? jobs : jobs.filter((each) => each.state === only);
    return matching(found, text, (each) => `${each.name} ${each.platform} ${each.engine} ${each.reason || ""}`);
  }, [version, text, only]);
  const go = (values, to = view) => { location.hash = address(["runs", id, to], { job, tab, ...values }); };
  useEffect(() => {
    const pressed = (event) => {
      if (document.querySelector("dialog[open]") || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "/" && !/INPUT|TEXTAREA/.test(event.target.tagName)) {
        document.querySelector("input[type=search]")?.focus();
        event.preventDefault();
      }
      if (event.key === "Escape") go({ job: null, tab: null });
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  });
  if (run === null) return html`<section class="page"><${Problems} error=${error} /></section>`;
  const [state, word] = runState(run);
  const [, View] = VIEWS[view] || VIEWS.jobs;
  const chosen = job === undefined ? null : jobs.find((each) => each.name === job);
  return html`<section class="page">
    <div class="tools">
      <h1><${State} state=${state} word=${word} /> <span class="mono">${run.run}</span></h1>
      <${Actions} run=${run} counts=${counts} />
    </div>
    <dl class="facts">
      <div><dt>workflow</dt><dd>${run.workflow}</dd></div>
      <div><dt>project</dt><dd class="mono" title=${run.project}>${run.project}</dd></div>
      <div><dt>started</dt><dd class="num">${moment(run.started_at, true)}</dd></div>
      <div><dt>took</dt><dd class="num">${took(run.started_at, run.ended_at ?? (run.driver == null ? null : now))}</dd></div>
      ${run.ended_at == null ? html`<div><dt>driver</dt><dd class="num">${run.driver == null ? "none" : `pid ${run.driver}`}</dd></div>` : ""}
    </dl>
    <${Problems} error=${error} />
    <div class="tools">
      <div class="tabs" role="tablist" aria-label="Views">
        ${Object.entries(VIEWS).map(([key, [name]]) => html`<button role="tab" aria-selected=${key === view} onClick=${() => go({}, key)}>${name}</button>`)}
      </div>
      <div class="chips" role="group" aria-label="Only jobs in one state">
        ${STATES.filter((each) => counts[each]).map((each) => html`<button class="chip" aria-pressed=${only === each}
          onClick=${() => { setOnly(only === each ? null : each); if (view !== "timeline") go({}, "jobs"); }}><${Sign} state=${each} />${said(each).toLowerCase()} <b>${counts[each]}</b></button>`)}
      </div>
      ${view === "jobs" || view === "timeline" ? html`<input type="search" placeholder="Filter jobs  ( / )" aria-label="Filter jobs" value=${text} onInput=${(event) => setText(event.target.value)} />` : ""}
    </div>
    <div class="split ${chosen ? "with-job" : ""}">
      <${View} run=${run} jobs=${shown} state=${only} words=${text} version=${version} now=${now} chosen=${job} choose=${(each) => go({ job: each.name })} />
      ${chosen ? html`<${JobPanel} run=${run} job=${chosen} tab=${tab} now=${now} go=${go} />` : ""}
    </div>
  </section>`;
}

/** What the run was made of, as it has recorded it. */
function About({ run }) {
  const made = run.provenance;
  if (!made) return html`<div class="sheet-page"><p class="empty">A run of an older version: what it was made of was not recorded.</p></div>`;
  return html`<div class="sheet-page">
    <h3>Parameters</h3>
    ${made.parameters.length ? html`<table class="settings"><thead><tr><th>name</th><th>value</th><th>from</th><th>jobs</th></tr></thead><tbody>
      ${made.parameters.map((each) => html`<tr><td class="mono">${each.name}</td><td class="mono">${plain(JSON.stringify(each.value))}</td>
        <td><code>${plain(each.from || "")}</code></td><td>${each.jobs.length ? each.jobs.join(", ") : "the workflow"}</td></tr>`)}</tbody></table>`
      : html`<p class="quiet">none</p>`}
    <h3>Layers of its config, the weakest first</h3><ol>${made.layers.map((each) => html`<li class="mono">${plain(each)}</li>`)}</ol>
    <h3>Versions</h3><dl class="list">${Object.entries(made.versions).map(([name, version]) => html`<div><dt>${name}</dt><dd class="mono">${version}</dd></div>`)}</dl>
    <h3>Where</h3><dl class="list"><div><dt>its folder</dt><dd class="mono">${run.folder}</dd></div>
      <div><dt>its code</dt><dd class="mono">${made.code ? `sha256 ${made.code}` : "not known"}</dd></div></dl>
  </div>`;
}

function Actions({ run, counts }) {
  const failed = ["FAILED", "LOST", "STOPPED", "SKIPPED"].some((state) => counts[state]);
  const act = (what, data) => post(runPath(run.run, what), data);
  const stop = () => confirm({
    title: "Stop this run?", button: "Stop the run", kind: "danger", command: `aiflow-ext stop ${run.run}`,
    words: "Its jobs are asked to end, and are ended 10 seconds later. Nothing more is started.", act: () => act("stop", {}),
  });
  const resume = () => confirm({
    title: "Go on with this run?", button: "Resume", command: `aiflow-ext resume ${run.run} --detach`,
    words: "A driver of its own follows the jobs that run, and starts those that were not started.", act: () => act("resume", {}),
  });
  const retry = () => confirm({
    title: "Run again what did not finish?", button: "Retry", command: `aiflow-ext resume ${run.run} --failed --detach`,
    words: "Failed, stopped, lost and skipped jobs get a new attempt, with the code and config that the run has kept.",
    act: () => act("resume", { failed: true }),
  });
  return html`<div class="actions">
    ${run.ended_at == null ? html`<button class="danger" onClick=${stop}>Stop</button>` : ""}
    ${run.ended_at == null && run.driver == null ? html`<button class="primary" onClick=${resume}>Resume</button>` : ""}
    ${run.driver == null && failed ? html`<button class=${run.ended_at == null ? "" : "primary"} onClick=${retry}>Retry failed</button>` : ""}
  </div>`;
}
