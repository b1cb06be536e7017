// One job beside the others: what is known of it, in tabs.

import { html, useEffect, useState } from "./vendor/preact.js";
import { post, query, runPath } from "./net.js";
import { useData } from "./hooks.js";
import { confirm } from "./confirm.js";
import { LogView } from "./log.js";
import { Artifacts } from "./artifacts.js";
import { RequestView, Settings } from "./settings.js";
import { ENDED, Problems, State, bytes, command, moment, took } from "./words.js";

const TABS = {
  log: ["Log", LogView], about: ["About", About], artifacts: ["Artifacts", Artifacts], config: ["Config", Settings], request: ["Request", RequestView],
};

export function JobPanel({ run, job, tab, now, go }) {
  const key = tab in TABS ? tab : job.attempts.length ? "log" : "about";
  const [number, setNumber] = useState(null); // null: the latest
  useEffect(() => setNumber(null), [job.name]);
  const attempt = number === null ? job.attempts[job.attempts.length - 1] : job.attempts[number - 1];
  const [, View] = TABS[key];
  return html`<aside class="panel" aria-label=${`Job ${job.name}`}>
    <div class="tools">
      <h2 title=${job.name}>${job.name}</h2>
      <${Actions} run=${run} job=${job} />
      <button class="plain close" aria-label="Close" title="Close (Esc)" onClick=${() => go({ job: null, tab: null })}>✕</button>
    </div>
    <div class="line"><${State} state=${job.state} />
      <span class="quiet">${job.platform}.${job.engine}${job.node ? ` on ${job.node}` : ""}</span>
      <span class="num">${took(job.started, job.ended ?? (job.live ? now : null))}</span></div>
    ${job.reason ? html`<p class="reason">${job.reason}</p>` : ""}
    <div class="tools">
      <div class="tabs" role="tablist" aria-label="About the job">
        ${Object.entries(TABS).map(([each, [name]]) => html`<button role="tab" aria-selected=${each === key} onClick=${() => go({ tab: each })}>${name}</button>`)}
      </div>
      ${job.attempts.length > 1 ? html`<label>attempt <select onChange=${(event) => setNumber(Number(event.target.value))}>
        ${job.attempts.map((each) => html`<option value=${each.number} selected=${each === attempt}>${each.number}: ${each.state}</option>`)}</select></label>` : ""}
    </div>
    <div class="tab" role="tabpanel"><${View} run=${run} job=${job} attempt=${attempt} now=${now} /></div>
  </aside>`;
}

function Actions({ run, job }) {
  const stop = () => confirm({
    title: `Stop job ${job.name}?`, button: "Stop the job", kind: "danger", command: command("aiflow-ext", "stop", run.run, job.name),
    words: "It is asked to end, and is ended 10 seconds later. Jobs that wait for it to finish are skipped.",
    act: () => post(runPath(run.run, "stop"), { job: job.name }),
  });
  const again = () => confirm({
    title: `Run ${job.name} again?`, button: "Run again", command: command("aiflow-ext", "resume", run.run, `--from=${job.name}`, "--detach"),
    words: "It and every job after it get a new attempt, with the code and config that the run has kept.",
    act: () => post(runPath(run.run, "resume"), { from: job.name }),
  });
  return html`<div class="actions">
    ${run.ended_at == null && !ENDED.has(job.state) ? html`<button class="danger" onClick=${stop}>Stop</button>` : ""}
    ${run.driver == null ? html`<button onClick=${again}>Run from here</button>` : ""}
  </div>`;
}

// What is known of an attempt, by its key in `aiflow-ext status --json`; what is not known is left out.
const FACTS = [
  ["exit_code", "exit code"], ["signal", "signal"], ["reason", "reason"], ["native_id", "native id"], ["node", "node"], ["instance", "runs in"], ["gpus", "GPUs"],
  ["restarts", "restarts", (number) => number || null], ["cpu_seconds", "processor time", (seconds) => `${seconds.toFixed(1)} s`], ["peak_memory", "peak memory", bytes],
  ["cpu_asked", "asked for cpu"], ["memory_asked", "asked for memory", bytes], ["usage_source", "measured by"], ["folder", "folder"],
];

function About({ run, job, attempt, now }) {
  const [found, error] = useData(query(runPath(run.run, "job"), { job: job.name }), `${job.state} ${job.attempts.length}`);
  const last = found && attempt ? found.attempts[attempt.number - 1] : null;
  return html`<${Problems} error=${error} />
    ${job.attempts.length ? html`<table><thead><tr><th>attempt</th><th>state</th><th>submitted</th><th>queued</th><th>ran</th><th>ended</th></tr></thead>
    <tbody>${job.attempts.map((each) => html`<tr><td class="num">${each.number}</td><td><${State} state=${each.state} /></td>
      <td class="num">${moment(each.submitted)}</td><td class="num">${took(each.submitted, each.started)}</td>
      <td class="num">${took(each.started, each.ended ?? (ENDED.has(each.state) ? null : now))}</td><td class="num">${moment(each.ended)}</td></tr>`)}</tbody></table>`
    : html`<p class="empty">It has had no attempt yet.</p>`}
    ${last ? html`<h3>Attempt ${last.number}</h3><dl class="list">${FACTS.map(([key, name, said = String]) => {
      const value = last[key] == null ? null : said(last[key]);
      return value == null ? "" : html`<div><dt>${name}</dt><dd class=${/folder|native_id|instance/.test(key) ? "mono" : ""}>${value}</dd></div>`;
    })}</dl>` : ""}`;
}
