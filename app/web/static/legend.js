// Lines are hidden by their name in the legend, or all others are.

import { hidden, order } from "./lines.js";
import { refill } from "./plot.js";

const HOW = "Click: hide or show. Shift-click or double-click: only this one";

export function showLines(entry) {
  const gone = hidden(entry.chart.key);
  for (const item of entry.section.querySelectorAll("[data-line]")) {
    const button = item.querySelector("button");
    button.disabled = false;
    button.title = HOW;
    button.setAttribute("aria-pressed", String(!gone.has(item.dataset.line)));
  }
  order(entry.chart).forEach((line, place) => {
    const show = !gone.has(entry.chart.lines[line].name);
    if (entry.plot.series[place + 1].show !== show) entry.plot.setSeries(place + 1, { show });
  });
}

function toggle(gone, name) {
  if (!gone.delete(name)) gone.add(name);
}

function isolate(gone, name, names) {
  const alone = names.every((each) => gone.has(each) !== (each === name));
  gone.clear();
  if (!alone) names.filter((each) => each !== name).forEach((each) => gone.add(each));
}

export function wireLegends(drawn) {
  const on = (happened, change) => document.addEventListener(happened, (event) => {
    const item = event.target.closest("[data-line]");
    const entry = drawn.get(item?.closest("[data-chart]")?.dataset.chart);
    if (!entry) return;
    const names = entry.chart.lines.map((line) => line.name);
    change(event, hidden(entry.chart.key), item.dataset.line, names);
    showLines(entry);
    refill(entry);
  });
  on("click", (event, gone, name, names) => (event.shiftKey ? isolate(gone, name, names) : toggle(gone, name)));
  on("dblclick", (_, gone, name, names) => isolate(gone, name, names));
}
