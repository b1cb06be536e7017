// The config of a job with the origin of each value, and exactly what is sent for it.

import { html } from "./vendor/preact.js";
import { useData } from "./hooks.js";
import { query, runPath } from "./net.js";
import { plain } from "./plain.js";
import { Problems } from "./words.js";

const shown = (value) => plain(typeof value === "string" ? value : JSON.stringify(value));

export function Settings({ run, job }) {
  const [found, error] = useData(query(runPath(run.run, "settings"), { job: job.name }));
  if (error) return html`<${Problems} error=${error} />`;
  if (!found) return html`<p class="empty">…</p>`;
  return html`${found.remark ? html`<p class="quiet">${found.remark}</p>` : ""}
    <table class="settings"><thead><tr><th>key</th><th>value</th><th>from</th></tr></thead><tbody>
    ${found.settings.map((each) => html`<tr class=${each.layer === "default" ? "default" : ""}><td class="mono">${each.path.join(".")}</td>
      <td class="mono">${shown(each.value)}</td><td>${each.where ? html`<code>${plain(each.where)}</code>` : each.layer}</td></tr>`)}
    </tbody></table>`;
}

export function RequestView({ run, job, attempt }) {
  const [found, error] = useData(query(runPath(run.run, "request"), { job: job.name, attempt: attempt ? attempt.number : 0 }));
  if (error) return html`<${Problems} error=${error} />`;
  if (!found) return html`<p class="empty">…</p>`;
  if (found.content === null) return html`<p class="empty">Its plugin does not say what it sends.</p>`;
  return html`<p class="quiet">${found.kind}, exactly as it is sent${attempt ? ` for attempt ${attempt.number}` : ""}; secrets are references.</p>
    <pre class="words" tabindex="0">${plain(JSON.stringify(readable(found.content), null, 2))}</pre>`;
}

/** JSON inside of text as JSON, so that a payload is readable. */
function readable(value) {
  if (Array.isArray(value)) return value.map(readable);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, readable(each)]));
  if (typeof value === "string" && value.startsWith('{"')) {
    try {
      return JSON.parse(value);
    } catch { /* it only looks like JSON */ }
  }
  return value;
}
