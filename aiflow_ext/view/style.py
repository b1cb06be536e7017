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
"""
