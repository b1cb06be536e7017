// The page: what is seen follows from the address behind "#".

import { html, render, useEffect, useState } from "./vendor/preact.js";
import { takeToken } from "./net.js";
import { RunList } from "./list.js";
import { RunView } from "./run.js";
import { Confirm } from "./confirm.js";
import { Plugins } from "./plugins.js";

/** The address as parts: #/runs/RUN/VIEW?job=JOB&tab=TAB */
function read() {
  const [path, rest = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { parts: path.split("/").filter(Boolean).map(decodeURIComponent), values: Object.fromEntries(new URLSearchParams(rest)) };
}

export function address(parts, values = {}) {
  const known = Object.entries(values).filter(([, value]) => value);
  return `#/${parts.map(encodeURIComponent).join("/")}${known.length ? `?${new URLSearchParams(known)}` : ""}`;
}

function App() {
  const [{ parts, values }, set] = useState(read());
  useEffect(() => {
    const follow = () => set(read());
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  const [place = "runs", run, view] = parts;
  useEffect(() => { document.title = place === "runs" && run ? `${run} · aiflow-ext` : "aiflow-ext"; }, [run]);
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.querySelector("main").focus(); }}>To the content</a>
    <header class="topbar">
      <a class="brand" href="#/runs"><img src="/static/icon.svg" alt="" />aiflow-ext</a>
      <nav aria-label="Pages">
        <a href="#/runs" aria-current=${place === "runs" ? "page" : undefined}>Runs</a>
        <a href="#/plugins" aria-current=${place === "plugins" ? "page" : undefined}>Plugins</a>
      </nav>
    </header>
    <main tabindex="-1" id="main">
      ${place === "runs" && run ? html`<${RunView} key=${run} id=${run} view=${view || "jobs"} job=${values.job} tab=${values.tab} />` : ""}
      ${place === "runs" && !run ? html`<${RunList} />` : ""}
      ${place === "plugins" ? html`<${Plugins} chosen=${run} />` : ""}
    </main>
    <${Confirm} />`;
}

function Closed() {
  return html`<main class="closed"><h1>aiflow-ext</h1>
    <p>This address lacks its token. Open the one that <code>aiflow-ext ui</code> has printed.</p></main>`;
}

// An address with a token that is pasted over this one: nothing is loaded again by itself.
addEventListener("hashchange", () => /^#token=/.test(location.hash) && takeToken() && location.reload());

render(takeToken() ? html`<${App} />` : html`<${Closed} />`, document.body);
