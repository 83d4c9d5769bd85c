// What the charts say of the moment that is pointed at: the values in every legend, and beside the
// pointer the time, the values, what is known more exactly, and what happened then.

import { hidden } from "./lines.js";
import { formatted, isLocal, zone } from "./times.js";
import { withUnit } from "./words.js";

const NEAR_PX = 6;
const BESIDE_PX = 14;

const tip = document.createElement("div");
tip.id = "tip";
tip.setAttribute("role", "status");
document.body.append(tip);

export function point(entry) {
  const { plot, section, chart } = entry;
  if (!plot) return;
  const index = plot.cursor.left >= 0 ? (plot.cursor.idx ?? -1) : -1;
  for (const item of section.querySelectorAll("[data-line]")) {
    const line = chart.lines.find((each) => each.name === item.dataset.line);
    const last = line?.values.findLast((value) => value !== null);
    item.querySelector("b").textContent = withUnit(index < 0 ? last : line?.values[index], chart.unit);
  }
  const here = plot.over.matches(":hover") || plot.root === document.activeElement;
  if (index < 0) {
    if (entry.tipped) tip.classList.remove("shown");
    entry.tipped = false;
  } else if (here) {
    entry.tipped = true;
    fill(entry, index);
    place(plot);
  }
}

function fill(entry, index) {
  const { chart, page } = entry;
  const at = page.start + index * page.step;
  const rows = chart.bands ? bandRows(entry, index) : lineRows(chart, index);
  const notes = [chart.notes[index], ...near(entry).map((event) => `${formatted(new Date(event.at * 1000), "hour")} ${event.text}`)];
  tip.replaceChildren(
    paragraph("at", when(at, page.step)),
    ...rows,
    ...notes.filter(Boolean).map((note) => paragraph("note", note)),
  );
}

function when(second, step) {
  const date = new Date(second * 1000);
  const until = new Date((second + step) * 1000);
  const other = isLocal() ? `${formatted(date, "hour", "UTC")} UTC` : "";
  const named = isLocal() ? ` ${zone()}` : " UTC";
  return `${formatted(date, "minute")} to ${formatted(until, "hour")}${named}${other ? ` (${other})` : ""}`;
}

function lineRows(chart, index) {
  const gone = hidden(chart.key);
  return chart.lines.filter((line) => !gone.has(line.name)).map((line) => row(line.style, line.name, withUnit(line.values[index], chart.unit)));
}

function bandRows({ plot, chart }, index) {
  const { bounds_ms: bounds, counts } = chart.bands;
  const ms = plot.posToVal(plot.cursor.top, "y");
  const band = bounds.findLastIndex((bound) => bound <= ms);
  const column = counts[index];
  const named = (which) => (bounds[which + 1] - bounds[which] === 1 ? `${bounds[which]} ms` : `${bounds[which]} to ${bounds[which + 1] - 1} ms`);
  const rows = [row("line", "all", `${column.reduce((sum, count) => sum + count, 0).toLocaleString("en-US")} requests`)];
  if (band >= 0 && band < column.length) rows.push(row("line", named(band), column[band].toLocaleString("en-US")));
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
  const made = document.createElement("p");
  made.className = kind;
  made.textContent = text;
  return made;
}

function near({ plot, page }) {
  return page.events.filter((event) => Math.abs(plot.valToPos(event.at, "x") - plot.cursor.left) <= NEAR_PX);
}

function place(plot) {
  const box = plot.over.getBoundingClientRect();
  tip.classList.add("shown");
  const wide = tip.offsetWidth;
  const left = box.left + plot.cursor.left;
  const right = left + BESIDE_PX + wide < innerWidth;
  tip.style.left = `${Math.max(right ? left + BESIDE_PX : left - BESIDE_PX - wide, 4) + scrollX}px`;
  tip.style.top = `${box.top + scrollY + 8}px`;
}

// The crosshair by the keyboard: a step with an arrow, to the ends with Home and End.
export function wireKeyboard(entry) {
  const { root } = entry.plot;
  const show = (index) => {
    const left = entry.plot.valToPos(entry.page.start + (index + 0.5) * entry.page.step, "x");
    entry.plot.setCursor({ left, top: entry.plot.over.clientHeight / 2 });
  };
  root.addEventListener("keydown", (event) => {
    const last = entry.page.size - 1;
    const now = entry.plot.cursor.idx ?? last + 1;
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    show(Math.min(Math.max(to, 0), last));
  });
  root.addEventListener("blur", () => entry.plot.setCursor({ left: -10, top: -10 }));
}
