// What views have in common: the time, data of the server, a run that is followed, the height of an element.

import { useEffect, useLayoutEffect, useReducer, useRef, useState } from "./vendor/preact.js";
import { get, listen, runPath } from "./net.js";
import { ENDED } from "./words.js";

/** The server's time in seconds, again each second while `on` and seen. `skew`: how far it is ahead of this browser's. */
export function useNow(skew, on) {
  const [now, set] = useState(Date.now() / 1000);
  useEffect(() => {
    if (!on) return undefined;
    const timer = setInterval(() => document.hidden || set(Date.now() / 1000), 1000);
    return () => clearInterval(timer);
  }, [on]);
  return (on ? Math.max(now, Date.now() / 1000 - 1) : now) + skew;
}

/** What is at a path of the server: [data, error]; read again whenever `paths` differ. */
export function useData(path, ...again) {
  const [found, set] = useState([null, null]);
  useEffect(() => {
    if (!path) return undefined;
    const stop = new AbortController();
    get(path, stop.signal).then((data) => set([data, null]), (error) => stop.signal.aborted || set([null, error]));
    return () => stop.abort();
  }, [path, ...again]);
  return found;
}

/** The list of runs as it is: {runs, error, skew}; runs is null before the first answer. */
export function useRuns() {
  const [found, set] = useState({ runs: null, error: null, skew: 0 });
  useEffect(() => {
    const stop = new AbortController();
    listen("/api/events", (name, data) => set({ runs: data.runs, error: null, skew: data.now - Date.now() / 1000 }),
           (error) => set((before) => ({ ...before, error })), stop.signal);
    return () => stop.abort();
  }, []);
  return found;
}

/** A run as it is. `jobs` is in the workflow's order; `version` is another one after each change. */
export function useRun(id) {
  const [version, changed] = useReducer((number) => number + 1, 0);
  const held = useRef(null);
  if (held.current === null || held.current.id !== id) held.current = { id, run: null, jobs: [], error: null, skew: 0 };
  useEffect(() => {
    const stop = new AbortController();
    const state = held.current;
    const places = new Map();
    const heard = (name, data) => {
      state.error = null;
      if (name === "gone") {
        state.error = data.error;
      } else {
        state.skew = data.now - Date.now() / 1000;
        if (name === "run") {
          state.run = data.run;
          state.jobs = data.jobs.map(jobOf);
          places.clear();
          state.jobs.forEach((job, place) => places.set(job.name, place));
        } else {
          state.jobs = state.jobs.slice();
          for (const row of data.jobs) {
            const place = places.get(row[0]);
            if (place !== undefined) state.jobs[place] = jobOf(row);
          }
        }
      }
      changed();
    };
    listen(runPath(id, "events"), heard, (error) => { state.error = error; changed(); }, stop.signal);
    return () => stop.abort();
  }, [id]);
  return { ...held.current, version };
}

function jobOf([name, platform, engine, state, reason, node, flags, attempts]) {
  const last = attempts.length ? attempts[attempts.length - 1] : null;
  return {
    name, platform, engine, state, reason, node, flags,
    attempts: attempts.map(([number, its, submitted, started, ended]) => ({ number, state: its, submitted, started, ended })),
    started: last && last[3], ended: last && last[4], live: last !== null && !ENDED.has(state),
  };
}

/** [ref, height] of an element, as it changes. */
export function useHeight() {
  const ref = useRef(null);
  const [height, set] = useState(0);
  useLayoutEffect(() => {
    const observer = new ResizeObserver(([entry]) => set(entry.contentRect.height));
    observer.observe(ref.current);
    set(ref.current.clientHeight);
    return () => observer.disconnect();
  }, []);
  return [ref, height];
}
