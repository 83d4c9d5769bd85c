// The crosshair: shows the values at a point in time in every legend, and in a tooltip next to the
// pointer also the time, details, and the events at that time.

import { hiddenLines } from "./line_visibility.js";
import { withUnit } from "./numbers.js";
import { formatTime, isLocal, zone } from "./times.js";

const EVENT_DISTANCE_MAX_PX = 6;
const TIP_DISTANCE_PX = 14;
const TIP_MARGIN_PX = 4; // to the edge of the window

const tip = document.createElement("div");
tip.id = "tip";
tip.setAttribute("role", "status");
document.body.append(tip);

// Called for every chart when the crosshair moves, since charts of a page share one.
export function point(entry) {
  const { plot, section, chart } = entry;
  if (!plot) return;
  const index = plot.cursor.left >= 0 ? (plot.cursor.idx ?? -1) : -1;
  for (const item of section.querySelectorAll("[data-line]")) {
    const line = chart.lines.find((line) => line.name === item.dataset.line);
    const last = line?.values.findLast((value) => value !== null);
    item.querySelector("b").textContent = withUnit(index < 0 ? last : line?.values[index], chart.unit);
  }
  const isActive = plot.over.matches(":hover") || plot.root === document.activeElement;
  if (index < 0) {
    if (entry.hasTip) tip.classList.remove("shown");
    entry.hasTip = false;
  } else if (isActive) {
    entry.hasTip = true;
    fillTip(entry, index);
    placeTip(plot);
  }
}

function fillTip(entry, index) {
  const { chart, page } = entry;
  const start = page.start + index * page.step;
  const rows = chart.bands ? bandRows(entry, index) : lineRows(chart, index);
  const isIncomplete = start + page.step > page.complete_until;
  const notes = [isIncomplete && "not complete yet", chart.notes[index], ...nearbyEvents(entry).map((event) => `${formatTime(new Date(event.at * 1000), "hour")} ${event.text}`)];
  tip.replaceChildren(
    paragraph("at", interval(start, page.step)),
    ...rows,
    ...notes.filter(Boolean).map((note) => paragraph("note", note)),
  );
}

function interval(second, step) {
  const start = new Date(second * 1000);
  const end = new Date((second + step) * 1000);
  const utc = isLocal() ? ` (${formatTime(start, "hour", "UTC")} UTC)` : ""; // to find it in logs
  return `${formatTime(start, "minute")} to ${formatTime(end, "hour")} ${zone()}${utc}`;
}

function lineRows(chart, index) {
  const hidden = hiddenLines(chart.key);
  return chart.lines.filter((line) => !hidden.has(line.name)).map((line) => row(line.style, line.name, withUnit(line.values[index], chart.unit)));
}

function bandRows({ plot, chart }, index) {
  const { bounds_ms: bounds, counts } = chart.bands;
  const ms = plot.posToVal(plot.cursor.top, "y");
  const band = bounds.findLastIndex((bound) => bound <= ms);
  const column = counts[index];
  const label = (index) => (bounds[index + 1] - bounds[index] === 1 ? `${bounds[index]} ms` : `${bounds[index]} to ${bounds[index + 1] - 1} ms`);
  const rows = [row("line", "all", `${column.reduce((sum, count) => sum + count, 0).toLocaleString("en-US")} requests`)];
  if (band >= 0 && band < column.length) rows.push(row("line", label(band), column[band].toLocaleString("en-US")));
  return rows;
}

function row(style, name, value) {
  const line = paragraph(style, "");
  const label = document.createElement("span");
  label.textContent = name;
  const figure = document.createElement("b");
  figure.textContent = value;
  line.append(label, " ", figure);
  return line;
}

function paragraph(kind, text) {
  const element = document.createElement("p");
  element.className = kind;
  element.textContent = text;
  return element;
}

function nearbyEvents({ plot, page }) {
  return page.events.filter((event) => Math.abs(plot.valToPos(event.at, "x") - plot.cursor.left) <= EVENT_DISTANCE_MAX_PX);
}

function placeTip(plot) {
  const box = plot.over.getBoundingClientRect();
  tip.classList.add("shown");
  const x = box.left + plot.cursor.left;
  const fitsRight = x + TIP_DISTANCE_PX + tip.offsetWidth < innerWidth;
  const left = fitsRight ? x + TIP_DISTANCE_PX : x - TIP_DISTANCE_PX - tip.offsetWidth;
  tip.style.left = `${Math.max(left, TIP_MARGIN_PX) + scrollX}px`;
  tip.style.top = `${box.top + scrollY + 8}px`;
}

// Arrow keys move the crosshair by one step, Home and End to the ends.
export function wireKeyboard(entry) {
  const { root } = entry.plot;
  const show = (index) => {
    const left = entry.plot.valToPos(entry.page.start + (index + 0.5) * entry.page.step, "x");
    entry.plot.setCursor({ left, top: entry.plot.over.clientHeight / 2 });
  };
  root.addEventListener("keydown", (event) => {
    const last = entry.page.size - 1;
    const current = entry.plot.cursor.idx ?? last + 1;
    const target = { ArrowLeft: current - 1, ArrowRight: current + 1, Home: 0, End: last }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    show(Math.min(Math.max(target, 0), last));
  });
  root.addEventListener("blur", () => entry.plot.setCursor({ left: -10, top: -10 }));
}
