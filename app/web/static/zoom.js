// Zooming: a drag, or Shift with arrow keys and Enter, selects a time; the whole page goes there.

import { navigate } from "./live.js";

const DRAG_MIN_PX = 8;
const ZOOM_MIN_S = 300;

const plots = new Set(); // of all entries, to clear their selections

export const register = (entry) => plots.add(entry);
export const unregister = (entry) => plots.delete(entry);

// Selections are mirrored on all charts of the page, so all of them are cleared.
export function clearSelections() {
  for (const { plot } of plots) {
    if (plot?.select.width) plot.setSelect({ left: 0, width: 0, height: 0 }, false);
  }
}

function hideCrosshairs() {
  for (const { plot } of plots) plot?.setCursor({ left: -10, top: -10 }, true, false);
}

// Called for every chart at the end of a drag; the one under the pointer decides.
export function zoomToSelection(entry) {
  const { plot, page } = entry;
  if (!plot) return;
  if (!plot.over.matches(":hover")) return plot.setSelect({ left: 0, width: 0, height: 0 }, false);
  const { left, width } = plot.select;
  if (width < DRAG_MIN_PX) return clearSelections();
  const indexAt = (position) => Math.floor((plot.posToVal(position, "x") - page.start) / page.step);
  zoomToSteps(page, indexAt(left), indexAt(left + width));
}

function zoomToSteps(page, first, last) {
  clearSelections();
  hideCrosshairs();
  const start = page.start + first * page.step;
  show(start, Math.max(page.start + (last + 1) * page.step, start + ZOOM_MIN_S));
}

function show(start, end) {
  const url = new URL(location.href);
  url.searchParams.set("start", start);
  url.searchParams.set("end", end);
  navigate(`${url.pathname}${url.search}`);
}

// Keys of a focused chart. Returns whether the key was one of them.
export function handleZoomKey(entry, event, index, moveTo) {
  const { page } = entry;
  const last = page.size - 1;
  const target = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: last }[event.key];
  if (event.shiftKey && target !== undefined) {
    entry.anchor ??= Math.min(Math.max(index, 0), last);
    moveTo(Math.min(Math.max(target, 0), last));
    select(entry);
    return true;
  }
  if (event.key === "Enter" && entry.anchor !== undefined) {
    const edges = [entry.anchor, entry.plot.cursor.idx ?? entry.anchor].sort((one, other) => one - other);
    entry.anchor = undefined;
    zoomToSteps(page, ...edges);
    return true;
  }
  if (event.key === "Escape") {
    entry.anchor = undefined;
    clearSelections();
    return true;
  }
  if (event.key === "-") {
    const length = page.size * page.step;
    const end = Math.min(page.start + 1.5 * length, Math.ceil(Date.now() / 1000));
    show(Math.floor(end - 2 * length), Math.floor(end));
    return true;
  }
  return false;
}

function select(entry) {
  const { plot, page, anchor } = entry;
  const [first, last] = [anchor, plot.cursor.idx ?? anchor].sort((one, other) => one - other);
  const xOf = (index) => plot.valToPos(page.start + index * page.step, "x");
  plot.setSelect({ left: xOf(first), width: xOf(last + 1) - xOf(first), top: 0, height: plot.over.clientHeight }, false);
}
