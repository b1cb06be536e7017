// Requests to the server that this page is from. Each has the token that came with the page's address.

const KEY = "aiflow-ui-token";
let token = "";

/** Take the token out of the address, where it has one; else it is that of an earlier visit. Returns whether there is one.
 *  It is kept for this origin alone, which is no other port's, so that a second tab needs no token in its address. */
export function takeToken() {
  const found = /^#token=([\w-]+)$/.exec(location.hash);
  if (found) {
    localStorage.setItem(KEY, found[1]);
    history.replaceState(null, "", location.pathname + "#/");
  }
  token = localStorage.getItem(KEY) || "";
  return token !== "";
}

/** What the server, or the way to it, has answered instead of data. `problems` have message, where and hint. */
class Refused extends Error {
  constructor(status, problems) {
    super(problems.map((each) => each.message).join("; "));
    this.status = status;
    this.problems = problems;
  }
}

async function request(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { ...options.headers, Authorization: `Bearer ${token}` } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, [{ message: "the server of this page does not answer", hint: "start it again: aiflow-ext ui" }]);
  }
  if (answer.ok) return answer;
  let problems = [{ message: `the server has answered with ${answer.status}` }];
  try {
    problems = (await answer.json()).error.problems;
  } catch { /* no JSON: what is said above */ }
  throw new Refused(answer.status, problems);
}

const part = encodeURIComponent;
export const runPath = (run, ...rest) => ["/api/runs", part(run), ...rest].join("/");
export const query = (path, values) => `${path}?${new URLSearchParams(values)}`;

export async function get(path, signal) {
  return (await request(path, { signal })).json();
}

export async function post(path, data) {
  const options = { method: "POST", body: JSON.stringify(data), headers: { "Content-Type": "application/json" } };
  return (await request(path, options)).json();
}

/** Await `work(signal)` while this tab is seen: once it is hidden that signal is aborted, and once it is seen again `work`
 *  is called again. A browser has six connections to a server, for all tabs together. Ends when `work` does, or `signal`
 *  is aborted. */
export async function whileSeen(work, signal) {
  while (!signal.aborted) {
    if (document.hidden) {
      await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true, signal }));
      continue;
    }
    const stop = new AbortController();
    document.addEventListener("visibilitychange", () => stop.abort(), { once: true, signal: stop.signal });
    const end = () => stop.abort();
    signal.addEventListener("abort", end);
    try {
      await work(stop.signal);
      return;
    } catch (error) {
      if (!stop.signal.aborted) throw error;
    } finally {
      signal.removeEventListener("abort", end);
      stop.abort();
    }
  }
}

/** Call `heard(name, data)` for each event of a stream, and `lost(error)` whenever it has broken; it is opened again until
 *  `signal` is aborted. While this tab is hidden it is closed: what has changed meanwhile is heard once it is seen again. */
export async function listen(path, heard, lost, signal) {
  for (let wait = 500; !signal.aborted; wait = Math.min(wait * 2, 5000)) {
    try {
      await whileSeen(async (seen) => {
        const answer = await request(path, { signal: seen });
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        let rest = "";
        for (let read = await reader.read(); !read.done; read = await reader.read()) {
          wait = 500;
          const blocks = (rest + read.value).split("\n\n");
          rest = blocks.pop();
          for (const block of blocks) {
            const found = /^event: (\w+)\ndata: (.*)$/.exec(block);
            if (found) heard(found[1], JSON.parse(found[2]));
          }
        }
      }, signal);
      if (signal.aborted) return;
      lost(new Refused(0, [{ message: "the server of this page has ended", hint: "start it again: aiflow-ext ui" }]));
    } catch (error) {
      if (signal.aborted) return;
      lost(error);
      if (error.status >= 400) return;
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

/** A log's bytes as they come: `came(bytes)`; first where they begin, by `began(offset)`. */
export async function readLog(path, began, came, signal) {
  const answer = await request(path, { signal });
  began(Number(answer.headers.get("X-Log-Begin")));
  const reader = answer.body.getReader();
  for (let read = await reader.read(); !read.done; read = await reader.read()) came(read.value);
}

/** A picture that the server draws, as an element. It is parsed as XML, which runs nothing of it. */
export function picture(path) {
  return new Promise((resolve, reject) => {
    const asked = new XMLHttpRequest();
    asked.open("GET", path);
    asked.responseType = "document";
    asked.setRequestHeader("Authorization", `Bearer ${token}`);
    asked.onload = () => {
      const made = asked.responseXML;
      if (asked.status === 200 && made) resolve(made.documentElement);
      else get(path).then(() => reject(new Refused(asked.status, [{ message: "the picture cannot be read" }])), reject);
    };
    asked.onerror = () => reject(new Refused(0, [{ message: "the server of this page does not answer" }]));
    asked.send();
  });
}

/** An address that answers once, for what the browser fetches by itself. `how`: picture, page or file. */
export async function ticket(run, job, name, how) {
  return (await post(runPath(run, "ticket"), { job, name, how })).url;
}
