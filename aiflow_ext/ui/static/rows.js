// A list of any length of which only what is seen is in the document.

import { html, useEffect, useRef, useState } from "./vendor/preact.js";
import { useHeight } from "./hooks.js";

const HEIGHT = 30; // pixels of a row
const BEYOND = 6; // rows that are drawn beyond those that are seen

/** Rows under a head that stays. The arrow keys, Page, Home and End move the choice; Enter and a click open it.
 *
 *  items: of any length; `keyOf(item)` names each. chosen: the key of the chosen one. choose(item): called to open one.
 *  head: what is above them. row(item): its cells. label: what a screen reader calls the list. columns: their number. */
export function Rows({ items, keyOf, chosen, choose, head, row, label, columns, kind = "" }) {
  const [ref, height] = useHeight();
  const [top, setTop] = useState(0);
  const [at, setAt] = useState(-1);
  const inner = useRef(null);
  const end = Math.max(0, items.length - Math.floor(height / HEIGHT)); // a list that has become shorter was scrolled further
  const first = Math.max(0, Math.min(Math.floor(top / HEIGHT), end) - BEYOND);
  const last = Math.min(items.length, Math.ceil((top + height) / HEIGHT) + BEYOND);

  const show = (index) => {
    const box = ref.current;
    const above = inner.current.offsetTop;
    if (index * HEIGHT < box.scrollTop) box.scrollTop = index * HEIGHT;
    if ((index + 1) * HEIGHT + above > box.scrollTop + box.clientHeight) box.scrollTop = (index + 1) * HEIGHT + above - box.clientHeight;
  };
  useEffect(() => {
    const index = chosen === undefined ? -1 : items.findIndex((each) => keyOf(each) === chosen);
    if (index >= 0) {
      setAt(index);
      show(index);
    }
  }, [chosen]);

  const onKeyDown = (event) => {
    const page = Math.max(1, Math.floor(height / HEIGHT) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -items.length, End: items.length };
    if (event.key in steps && !event.altKey && !event.ctrlKey && !event.metaKey) {
      const next = Math.min(items.length - 1, Math.max(0, at + steps[event.key]));
      setAt(next);
      show(next);
      event.preventDefault();
    } else if (event.key === "Enter" && items[at]) {
      choose(items[at]);
      event.preventDefault();
    }
  };

  const shown = [];
  const places = Math.ceil(height / HEIGHT) + 2 * BEYOND + 2; // elements are used again for other rows: scrolling makes none
  for (let index = first; index < last; index++) {
    const item = items[index];
    const key = keyOf(item);
    shown.push(html`<div key=${index % places} role="row" id=${`row-${index}`} aria-rowindex=${index + 2} aria-selected=${key === chosen}
        class="row ${key === chosen ? "chosen" : ""} ${index === at ? "at" : ""}" style=${{ top: `${index * HEIGHT}px` }}
        onClick=${() => { setAt(index); choose(item); }}>${row(item)}</div>`);
  }
  return html`<div class="rows ${kind}" ref=${ref} role="grid" aria-label=${label} aria-rowcount=${items.length + 1}
      aria-colcount=${columns} tabindex="0" aria-activedescendant=${at >= first && at < last ? `row-${at}` : undefined}
      onScroll=${(event) => setTop(event.currentTarget.scrollTop)} onKeyDown=${onKeyDown}>
    <div class="head" role="row" aria-rowindex="1">${head}</div>
    <div class="inner" role="rowgroup" ref=${inner} style=${{ height: `${items.length * HEIGHT}px` }}>${shown}</div>
  </div>`;
}

/** A cell. `title` is what is seen where the text is cut. */
export const Cell = ({ kind = "", title, children }) =>
  html`<div role="gridcell" class="cell ${kind}" title=${title}>${children}</div>`;

/** The head of a column, which sorts by it where `sort` is given: [key, ascending, set]. */
export function Head({ kind = "", name, by, sort }) {
  if (!by) return html`<div role="columnheader" class="cell ${kind}">${name}</div>`;
  const [key, up, set] = sort;
  const on = key === by;
  return html`<div role="columnheader" class="cell ${kind}" aria-sort=${on ? (up ? "ascending" : "descending") : "none"}>
    <button class="plain" onClick=${() => set([by, on ? !up : true])}>${name}${on ? (up ? " ↑" : " ↓") : ""}</button></div>`;
}

/** Those of `items` whose text, `textOf(item)`, has each of the words that were typed. */
export function matching(items, typed, textOf) {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return items;
  return items.filter((item) => {
    const text = textOf(item).toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

/** `items` sorted by `value(item)`; of equal ones the first stays the first, or is the last where it is not `up`. */
export function inOrder(items, value, up) {
  const order = items.map((item) => [value(item), item]).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return (up ? order : order.reverse()).map(([, item]) => item);
}
