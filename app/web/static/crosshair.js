// The crosshair: shows the values at a point in time in every legend, and in a tooltip next to the
// pointer also the time, details, and the changes and alerts at that time.

import { showLegendValues } from "./legend.js";
import { hiddenLines } from "./line_visibility.js";
import { number, withUnit } from "./numbers.js";
import { formatTime, localTime } from "./times.js";
import { handleZoomKey } from "./zoom.js";
import { hideTip, paragraph, placeTip, row, showTip } from "./tip.js";

const EVENT_DISTANCE_MAX_PX = 6;

// Called for every chart when the crosshair moves, since charts of a page share one.
export function point(entry) {
  const { plot } = entry;
  if (!plot) return;
  const index = plot.cursor.left >= 0 ? (plot.cursor.idx ?? -1) : -1;
  showLegendValues(entry, index);
  const isActive = plot.over.matches(":hover") || plot.root === document.activeElement;
  if (index < 0) {
    if (entry.hasTip) hideTip(entry);
    entry.hasTip = false;
  } else if (isActive) {
    entry.hasTip = true;
    fillTip(entry, index);
    const box = plot.over.getBoundingClientRect();
    placeTip(box.left + plot.cursor.left, box.top);
  }
}

function fillTip(entry, index) {
  const { chart, page } = entry;
  const start = page.start + index * page.step;
  const rows = chart.bands ? bandRows(entry, index) : lineRows(chart, index);
  const isIncomplete = start + page.step > page.complete_until;
  const marks = nearbyMarks(entry).map((mark) => `${formatTime(new Date(mark.at * 1000), "hour")} ${mark.text}`);
  const notes = [isIncomplete && "not complete yet", chart.notes[index], ...marks, localTime(new Date(start * 1000))];
  showTip(
    entry,
    paragraph("at", interval(start, page.step)),
    ...rows,
    ...notes.filter(Boolean).map((note) => paragraph("note", note)),
  );
}

export function interval(second, step) {
  const end = new Date((second + step) * 1000);
  return `${formatTime(new Date(second * 1000), "minute")} to ${formatTime(end, "hour")} UTC`;
}

function lineRows(chart, index) {
  const hidden = hiddenLines(chart.key);
  return chart.lines.filter((line) => !hidden.has(line.name)).map((line) => row(`${line.style} ${line.pen}`, line.name, withUnit(line.values[index], chart.unit)));
}

// The cell under the pointer, and all requests that were as slow or slower.
function bandRows({ plot, chart }, index) {
  const { bounds_ms: bounds, counts } = chart.bands;
  const ms = plot.posToVal(plot.cursor.top, "y");
  const band = bounds.findLastIndex((bound) => bound <= ms);
  const column = counts[index];
  const total = column.reduce((sum, count) => sum + count, 0);
  const withShare = (count) => `${count.toLocaleString("en-US")}${total ? ` (${number((100 * count) / total)} %)` : ""}`;
  const rows = [row("all", "all", `${total.toLocaleString("en-US")} requests`)];
  if (band < 0 || band >= column.length) return rows;
  const [low, high] = [bounds[band], bounds[band + 1]];
  const slower = column.slice(band).reduce((sum, count) => sum + count, 0);
  const label = high - low === 1 ? `${low} ms` : `${low.toLocaleString("en-US")} to ${(high - 1).toLocaleString("en-US")} ms`;
  return [...rows, row("cell", label, withShare(column[band])), row("cell", `${low.toLocaleString("en-US")} ms and slower`, withShare(slower))];
}

function nearbyMarks({ plot, page }) {
  return page.marks.filter((mark) => Math.abs(plot.valToPos(mark.at, "x") - plot.cursor.left) <= EVENT_DISTANCE_MAX_PX);
}

// Arrow keys move the crosshair by one step, Home and End to the ends.
export function wireKeyboard(entry) {
  const { root } = entry.plot;
  const moveTo = (index) => {
    const left = entry.plot.valToPos(entry.page.start + (index + 0.5) * entry.page.step, "x");
    entry.plot.setCursor({ left, top: entry.plot.over.clientHeight / 2 });
  };
  root.addEventListener("keydown", (event) => {
    const last = entry.page.size - 1;
    const current = entry.plot.cursor.left >= 0 ? (entry.plot.cursor.idx ?? last + 1) : last + 1;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (handleZoomKey(entry, event, current, moveTo)) return event.preventDefault();
    const target = { ArrowLeft: current - 1, ArrowRight: current + 1, Home: 0, End: last }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    moveTo(Math.min(Math.max(target, 0), last));
  });
  root.addEventListener("blur", () => entry.plot.setCursor({ left: -10, top: -10 }));
}
