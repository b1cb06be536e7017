// What a job has kept, and what of it can be shown here.

import { html, useEffect, useState } from "./vendor/preact.js";
import { useData } from "./hooks.js";
import { query, runPath, ticket } from "./net.js";
import { plain } from "./plain.js";
import { Problems, bytes } from "./words.js";

export function Artifacts({ run, job }) {
  const [found, error] = useData(query(runPath(run.run, "artifacts"), { job: job.name }), `${job.state} ${job.attempts.length}`);
  if (error) return html`<${Problems} error=${error} />`;
  if (!found) return html`<p class="empty">…</p>`;
  if (!found.length) return html`<p class="empty">Nothing is kept${job.state === "FINISHED" ? "" : ": the job has not finished"}.</p>`;
  return html`<div class="artifacts">${found.map((each) => html`<${Artifact} key=${each.name} run=${run} job=${job} artifact=${each} />`)}</div>`;
}

function Artifact({ run, job, artifact }) {
  const [open, setOpen] = useState(artifact.shown === "picture");
  const [error, setError] = useState(null);
  const save = async () => {
    try {
      const link = document.createElement("a");
      link.href = await ticket(run.run, job.name, artifact.name, "file");
      link.download = "";
      link.click();
      setError(null);
    } catch (failed) {
      setError(failed);
    }
  };
  const Shown = { picture: Picture, page: Page, text: Text, table: Text }[artifact.shown];
  return html`<article class="artifact" aria-label=${artifact.name}>
    <div class="tools"><b>${artifact.name}</b><span class="quiet">${artifact.kind}</span><span class="num quiet">${bytes(artifact.size)}</span>
      <span class="actions">${Shown ? html`<button aria-expanded=${open} onClick=${() => setOpen(!open)}>${open ? "Hide" : "Show"}</button>` : ""}
      <button onClick=${save}>Save</button></span></div>
    <div class="quiet mono" title=${`sha256 ${artifact.sha256}`}>${artifact.path}</div>
    ${artifact.kind === "pickle" ? html`<div class="quiet">A Python value: <code>af.open_run("${run.run}").jobs[${plain(JSON.stringify(job.name))}].artifacts[${plain(JSON.stringify(artifact.name))}].load()</code></div>` : ""}
    <${Problems} error=${error} />
    ${open && Shown ? html`<${Shown} run=${run.run} job=${job.name} name=${artifact.name} />` : ""}
  </article>`;
}

/** The address of an artifact that the browser fetches by itself: [address, error, lost]. */
function useTicket(run, job, name, how) {
  const [found, set] = useState([null, null]);
  useEffect(() => {
    let gone = false;
    ticket(run, job, name, how).then((url) => gone || set([url, null]), (error) => gone || set([null, error]));
    return () => { gone = true; };
  }, [run, job, name]);
  return [...found, (words) => set([null, new Error(words)])];
}

function Picture({ run, job, name }) {
  const [url, error, lost] = useTicket(run, job, name, "picture");
  return html`<${Problems} error=${error} />${url ? html`<img src=${url} alt=${name} onError=${() => lost("the picture cannot be shown: it is damaged, or gone")} />` : ""}`;
}

function Page({ run, job, name }) {
  const [url, error] = useTicket(run, job, name, "page");
  return html`<${Problems} error=${error} />${url ? html`<iframe src=${url} sandbox="" title=${name}></iframe>` : ""}`;
}

function Text({ run, job, name }) {
  const [data, error] = useData(query(runPath(run, "preview"), { job, name }));
  if (error) return html`<${Problems} error=${error} />`;
  if (!data) return null;
  const more = data.cut ? html`<p class="quiet">This is its beginning; Save has all of it.</p>` : "";
  if (!data.rows) return html`<pre class="words" tabindex="0">${plain(data.text)}</pre>${more}`;
  const [head = [], ...rows] = data.rows;
  return html`<div class="sheet" tabindex="0"><table><thead><tr>${head.map((cell) => html`<th>${plain(cell)}</th>`)}</tr></thead>
    <tbody>${rows.map((row) => html`<tr>${row.map((cell) => html`<td>${plain(cell)}</td>`)}</tr>`)}</tbody></table></div>${more}`;
}
