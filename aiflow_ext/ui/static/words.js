// Times, states and sizes in words and signs.

import { html } from "./vendor/preact.js";

const two = (number) => String(number).padStart(2, "0");

/** A span of seconds: "4.2 s", "3 min 20 s", "2 h 5 min"; empty where it is not known. */
export function took(from, to) {
  if (from == null || to == null) return "";
  const seconds = Math.max(0, to - from);
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  return minutes < 1440 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${Math.floor(minutes / 1440)} d ${Math.floor(minutes / 60) % 24} h`;
}

/** A moment of this machine's time zone: the clock's time, and the date where that is another day. */
export function moment(seconds, always = false) {
  if (seconds == null) return "";
  const at = new Date(seconds * 1000);
  const clock = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  const today = new Date().toDateString() === at.toDateString();
  return today && !always ? clock : `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock}`;
}

/** A command as it may be pasted into a shell, whatever a job is called. */
export const command = (...words) => words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`)).join(" ");

export function bytes(size) {
  if (size == null) return "";
  for (const unit of ["bytes", "KiB", "MiB", "GiB"]) {
    if (size < 1024) return unit === "bytes" ? `${size} ${unit}` : `${size.toFixed(1)} ${unit}`;
    size /= 1024;
  }
  return `${size.toFixed(1)} TiB`;
}

// The states in the order in which they matter to somebody who looks for what is wrong.
export const STATES = ["FAILED", "LOST", "RUNNING", "QUEUED", "SUBMITTING", "STOPPED", "SKIPPED", "INIT", "FINISHED"];
export const ENDED = new Set(["FINISHED", "FAILED", "STOPPED", "LOST", "SKIPPED"]);
export const rank = (state) => STATES.indexOf(state);
export const said = (state) => (state === "INIT" ? "WAITING" : state);

// A shape for each state, so that colour alone says nothing; of a square of 16.
const SHAPES = {
  FINISHED: "M3 8.5l3.2 3.2L13 5",
  FAILED: "M4 4l8 8M12 4l-8 8",
  LOST: "M5.2 6a2.8 2.8 0 1 1 4 2.6c-.9.4-1.2.9-1.2 1.9M8 13v.01",
  RUNNING: "M5 3.5v9l7-4.5z",
  QUEUED: "M8 4v4.3l2.8 1.7M8 1.8a6.2 6.2 0 1 0 .01 0",
  SUBMITTING: "M8 13V3.5M4 7.2l4-4 4 4",
  STOPPED: "M4 4h8v8H4z",
  SKIPPED: "M3 5l4 3-4 3M8.5 5l4 3-4 3",
  INIT: "M4 8h.01M8 8h.01M12 8h.01",
  PAUSED: "M5.5 4v8M10.5 4v8",
};

export function Sign({ state }) {
  return html`<svg class="mark s-${state}" viewBox="0 0 16 16" aria-hidden="true"><path d=${SHAPES[state] || SHAPES.INIT} /></svg>`;
}

export function State({ state, word }) {
  return html`<span class="state s-${state}"><${Sign} state=${state} />${word || said(state)}</span>`;
}

/** How many jobs are in each state, as a bar and in words for those who do not see it. */
export function Share({ counts }) {
  const states = STATES.filter((each) => counts[each]).reverse();
  const words = states.map((each) => `${counts[each]} ${said(each)}`).join(", ");
  return html`<span class="share" role="img" aria-label=${words} title=${words}>
    ${states.map((each) => html`<span class="f-${each}" style=${{ flexGrow: counts[each] }}></span>`)}
  </span>`;
}

/** The state of a run for people: one that nothing drives does not go on by itself. */
export function runState(run) {
  if (run.ended_at != null) return [run.state, run.state];
  if (run.driver == null) return ["PAUSED", "NOT DRIVEN"];
  return run.stopped ? ["PAUSED", "DRIVER STOPPED"] : ["RUNNING", "RUNNING"];
}

export function Problems({ error }) {
  if (!error) return null;
  const problems = error.problems || [{ message: String(error.message || error) }];
  return html`<div class="problems" role="alert">
    ${problems.map((each) => html`<p>${each.where ? html`<code>${each.where}</code> ` : ""}${each.message}
      ${each.hint ? html`<small>${each.hint}</small>` : ""}</p>`)}
  </div>`;
}
