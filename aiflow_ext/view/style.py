"""The style of all that this package makes, for what is in an element of the class ``aiflow-ext``.

Light or dark as the reader's browser says. No rule outside of that class, so that it does no harm in a notebook.
"""

from __future__ import annotations

STYLE = """
.aiflow-ext { --back: #fff; --panel: #f6f7f9; --line: #d5d9e0; --text: #1c2430; --dim: #5c6675; --link: #1a56b0;
  --good: #1a7f45; --good-back: #e4f4ea; --bad: #b3261e; --bad-back: #fce8e6; --busy: #0b61a4; --busy-back: #e2effa;
  --warn: #8a5a00; --warn-back: #fbf0d9; --idle: #5c6675; --idle-back: #f0f2f5;
  color: var(--text); font: 14px/1.45 system-ui, "Segoe UI", Roboto, sans-serif; }
@media (prefers-color-scheme: dark) { .aiflow-ext { --back: #14181f; --panel: #1c222c; --line: #38414f; --text: #e3e8ef;
  --dim: #9aa5b5; --link: #7db4ff; --good: #5fcf8d; --good-back: #16301f; --bad: #ff8a80; --bad-back: #3b1a1a;
  --busy: #6fbcff; --busy-back: #132a40; --warn: #f0bf5a; --warn-back: #33280f; --idle: #9aa5b5;
  --idle-back: #222936; } }
.aiflow-ext .FINISHED { --mark: var(--good); --mark-back: var(--good-back); }
.aiflow-ext .FAILED, .aiflow-ext .LOST { --mark: var(--bad); --mark-back: var(--bad-back); }
.aiflow-ext .RUNNING, .aiflow-ext .QUEUED, .aiflow-ext .SUBMITTING { --mark: var(--busy);
  --mark-back: var(--busy-back); }
.aiflow-ext .STOPPED { --mark: var(--warn); --mark-back: var(--warn-back); }
.aiflow-ext .INIT, .aiflow-ext .SKIPPED { --mark: var(--idle); --mark-back: var(--idle-back); }
.aiflow-ext svg { font: 12px system-ui, "Segoe UI", Roboto, sans-serif; max-width: none; }
.aiflow-ext svg text { fill: var(--text); }
.aiflow-ext svg .sign, .aiflow-ext svg .end { fill: var(--mark); font-weight: 700; }
.aiflow-ext svg .sign { text-anchor: middle; }
.aiflow-ext svg .below, .aiflow-ext svg .note, .aiflow-ext svg .time, .aiflow-ext svg .when {
  fill: var(--dim); font-size: 11px; }
.aiflow-ext svg .when { text-anchor: end; font-style: italic; paint-order: stroke; stroke: var(--back);
  stroke-width: 3px; }
.aiflow-ext svg .time { text-anchor: middle; }
.aiflow-ext svg .box rect { fill: var(--mark-back); stroke: var(--mark); }
.aiflow-ext svg .box.INIT rect, .aiflow-ext svg .box.SKIPPED rect { stroke-dasharray: 4 3; }
.aiflow-ext svg a:focus rect, .aiflow-ext svg a:hover rect { stroke-width: 2.5; }
.aiflow-ext svg a:focus { outline: none; }
.aiflow-ext svg a:focus text.name, .aiflow-ext svg a:hover text.name { text-decoration: underline; }
.aiflow-ext svg .edge, .aiflow-ext svg .head { fill: none; stroke: var(--dim); stroke-width: 1.2; }
.aiflow-ext svg .data { stroke-width: 2.2; }
.aiflow-ext svg .edge.condition { stroke-dasharray: 5 4; }
.aiflow-ext svg .tick { stroke: var(--line); fill: none; }
.aiflow-ext svg .bar.queued { fill: none; stroke: var(--dim); stroke-dasharray: 2 2; }
.aiflow-ext svg .bar.ran { fill: var(--mark); }
.aiflow-ext svg .wait { stroke: var(--dim); stroke-width: 1.5; stroke-dasharray: 1 4;
  stroke-linecap: round; fill: none; }
.aiflow-ext .state { color: var(--mark); background: var(--mark-back); border-radius: 4px; padding: 0 6px;
  white-space: nowrap; font-size: 12px; font-weight: 600; }
.aiflow-ext table { border-collapse: collapse; font-size: 13px; text-align: left; }
.aiflow-ext th, .aiflow-ext td { padding: 4px 12px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top;
  text-align: left; background: none; color: var(--text); overflow-wrap: break-word; }
.aiflow-ext tbody th { overflow-wrap: anywhere; min-width: 8em; }
.aiflow-ext td p, .aiflow-ext td ol { min-width: 14em; max-width: 40em; overflow-wrap: anywhere; }
.aiflow-ext td p { margin: 0; }
.aiflow-ext thead th { color: var(--dim); font-weight: 500; }
.aiflow-ext tbody th { font-weight: 600; }
.aiflow-ext td { font-variant-numeric: tabular-nums; }
.aiflow-ext ol { margin: 4px 0; padding-left: 20px; }
.aiflow-ext a { color: var(--link); }
.aiflow-ext .scrolled { overflow-x: auto; }
"""
# Of what stands in a notebook. JupyterLab aligns cells to the right, and colours rows as its own theme says, which may
# be light where the browser prefers dark; its rules are more specific than those above.
CARD = """
.aiflow-ext.card { background: var(--back); border: 1px solid var(--line); border-radius: 8px; padding: 12px 16px;
  margin: 4px 0; }
.aiflow-ext.card > p { margin: 0 0 8px; }
.aiflow-ext.card table { margin: 0; }
.aiflow-ext.card table th, .aiflow-ext.card table td { text-align: left; }
.aiflow-ext.card table tr { background: none !important; }
"""
# Of a page of its own, and what stands there alone.
PAGE = """
html { color-scheme: light dark; }
body { margin: 0; }
.page { background: var(--back); min-height: 100vh; box-sizing: border-box; padding: 24px; overflow-wrap: anywhere; }
.page h1 { font-size: 22px; margin: 0 0 4px; }
.page h2 { font-size: 16px; margin: 28px 0 8px; }
.page h3 { font-size: 14px; margin: 0 0 6px; }
.page header p { margin: 0 0 12px; }
.page footer { margin-top: 28px; }
.page section > p, .page footer, .page small { color: var(--dim); font-size: 12px; }
.page dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 0; font-size: 13px; }
.page dt { color: var(--dim); }
.page dd { margin: 0; }
.page code, .page pre { font: 12px/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, monospace; }
.page pre { margin: 6px 0; padding: 8px 12px; background: var(--panel); border: 1px solid var(--line);
  border-radius: 6px; white-space: pre-wrap; }
.page .reason { color: var(--bad); }
.page .log { max-height: 420px; overflow: auto; }
.page .remark { border-left: 3px solid var(--warn); padding-left: 10px; }
.page article { border: 1px solid var(--line); border-radius: 8px; padding: 12px 16px; margin: 0 0 12px; }
.page summary { cursor: pointer; }
.page tr:target { background: var(--busy-back); }
.page .pictures { display: flex; flex-wrap: wrap; gap: 16px; }
.page figure { margin: 0; max-width: 560px; }
.page img { max-width: 100%; background: #fff; border: 1px solid var(--line); border-radius: 6px; }
.page figcaption { color: var(--dim); font-size: 12px; }
.page .bold { font-weight: 700; }
.page .c1 { color: var(--bad); } .page .c2 { color: var(--good); } .page .c3 { color: var(--warn); }
.page .c4, .page .c6 { color: var(--busy); } .page .c5 { color: #a03aa0; } .page .c0, .page .c7 { color: var(--dim); }
@media (max-width: 640px) { .page { padding: 12px; } .page dl { grid-template-columns: 1fr; } }
@media print { .page .log { max-height: none; } .page .scrolled { overflow: visible; } }
"""
