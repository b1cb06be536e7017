// The jobs of a run as a table.

import { html, useMemo, useState } from "./vendor/preact.js";
import { Cell, Head, Rows, inOrder } from "./rows.js";
import { State, moment, rank, took } from "./words.js";

const VALUES = {
  state: (job) => rank(job.state),
  name: (job) => job.name,
  where: (job) => `${job.platform}.${job.engine}`,
  attempts: (job) => -job.attempts.length,
  started: (job) => job.started ?? Infinity,
  took: (job) => (job.started == null ? Infinity : job.started - (job.ended ?? Date.now() / 1000)),
};

export function JobTable({ jobs, now, chosen, choose }) {
  const [[by, up], sort] = useState([null, true]); // at first the workflow's order
  const sorted = useMemo(() => (by === null ? jobs : inOrder(jobs, VALUES[by], up)), [jobs, by, up]);
  const head = (name, key, kind) => html`<${Head} name=${name} by=${key} kind=${kind} sort=${[by, up, sort]} />`;
  return html`<${Rows} kind="jobs" items=${sorted} keyOf=${(job) => job.name} chosen=${chosen} choose=${choose} label="Jobs" columns=${7}
    head=${html`${head("State", "state", "w-state")}${head("Job", "name", "w-job")}${head("Where", "where", "w-where")}
      ${head("Tries", "attempts", "w-tries")}${head("Started", "started", "w-moment")}${head("Took", "took", "w-took")}
      <${Head} name="Reason" kind="grow" />`}
    row=${(job) => html`<${Cell} kind="w-state"><${State} state=${job.state} /><//>
      <${Cell} kind="w-job name" title=${job.name}>${job.name}<//>
      <${Cell} kind="w-where" title=${job.node || ""}>${job.platform}<span class="quiet">.${job.engine}</span><//>
      <${Cell} kind="w-tries num">${job.attempts.length || ""}<//>
      <${Cell} kind="w-moment num">${moment(job.started)}<//>
      <${Cell} kind="w-took num">${took(job.started, job.ended ?? (job.live ? now : null))}<//>
      <${Cell} kind="grow reason" title=${job.reason || ""}>${job.flags.includes("unreachable") ? "unreachable: " : ""}${job.reason || ""}<//>`} />`;
}
