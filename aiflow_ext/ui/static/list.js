// All runs.

import { html, useMemo, useState } from "./vendor/preact.js";
import { useNow, useRuns } from "./hooks.js";
import { Cell, Head, Rows, inOrder, matching } from "./rows.js";
import { Problems, Share, State, moment, rank, runState, said, took } from "./words.js";
import { address } from "./app.js";

const folder = (path) => path.slice(path.lastIndexOf("/") + 1);
const VALUES = {
  started: (run) => run.started_at,
  run: (run) => run.run,
  state: (run) => (run.ended_at == null ? -1 : rank(run.state)),
  project: (run) => run.project,
  took: (run) => (run.ended_at == null ? Infinity : run.ended_at - run.started_at),
};

export function RunList() {
  const { runs, error, skew } = useRuns();
  const [text, setText] = useState("");
  const [[by, up], sort] = useState(["started", false]);
  const now = useNow(skew, runs !== null && runs.some((run) => run.ended_at == null));
  const shown = useMemo(() => {
    const found = matching(runs || [], text, (run) => `${run.run} ${run.workflow} ${run.project} ${runState(run)[1]}`);
    return inOrder(found, VALUES[by], up);
  }, [runs, text, by, up]);
  const head = (name, key, kind) => html`<${Head} name=${name} by=${key} kind=${kind} sort=${[by, up, sort]} />`;
  return html`<section class="page">
    <div class="tools">
      <h1>Runs</h1>
      <input type="search" placeholder="Filter: run, project, state" aria-label="Filter runs" value=${text}
        onInput=${(event) => setText(event.target.value)} />
      <span class="quiet">${runs === null ? "" : `${shown.length} of ${runs.length}`}</span>
    </div>
    <${Problems} error=${error} />
    ${runs !== null && !runs.length ? html`<p class="empty">No runs yet: <code>aiflow-ext run PROJECT</code></p>` : ""}
    ${runs !== null && runs.length ? html`<${Rows} kind="runs" items=${shown} keyOf=${(run) => run.run} label="Runs" columns=${6}
      choose=${(run) => { location.hash = address(["runs", run.run]); }}
      head=${html`${head("State", "state", "w-state")}${head("Run", "run", "grow")}${head("Project", "project", "w-project")}
        ${head("Started", "started", "w-moment")}${head("Took", "took", "w-took")}
        <${Head} name="Jobs" kind="w-share" />`}
      row=${(run) => {
        const [state, word] = runState(run);
        const total = Object.values(run.jobs).reduce((sum, each) => sum + each, 0);
        return html`<${Cell} kind="w-state"><${State} state=${state} word=${word} /><//>
          <${Cell} kind="grow" title=${run.run}><a class="mono" tabindex="-1" href=${address(["runs", run.run])}>${run.run}</a><//>
          <${Cell} kind="w-project" title=${run.project}>${folder(run.project)}<//>
          <${Cell} kind="w-moment num">${moment(run.started_at)}<//>
          <${Cell} kind="w-took num">${took(run.started_at, run.ended_at ?? (run.driver == null ? null : now))}<//>
          <${Cell} kind="w-share"><${Share} counts=${run.jobs} /><span class="num">${run.jobs.FINISHED || 0}/${total}</span><//>`;
      }} />` : ""}
  </section>`;
}
