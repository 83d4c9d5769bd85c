// The legend: figures of the range, or the values at the crosshair. A click on a name hides or shows
// its line; Shift-click or double-click shows only it.

import { drawingOrder, hiddenLines } from "./line_visibility.js";
import { number } from "./numbers.js";
import { updateData } from "./plot.js";
import { formatTime } from "./times.js";

const HELP = "Click: hide or show. Shift-click or double-click: show only this line";

// Index -1: no crosshair.
export function showLegendValues({ section, chart, page }, index) {
  for (const item of section.querySelectorAll("[data-line]")) {
    const line = chart.lines.find((line) => line.name === item.dataset.line);
    item.querySelector("b").textContent = number(index < 0 ? line?.summary : line?.values[index]);
    item.querySelector("small").textContent = index < 0 ? ` / ${number(line?.highest)}` : "";
  }
  const caption = section.querySelector("[data-summary]");
  if (caption) caption.textContent = index < 0 ? caption.dataset.summary : `${formatTime(new Date((page.start + index * page.step) * 1000), "minute")} UTC`;
}

export function updateLegend(entry) {
  const hidden = hiddenLines(entry.chart.key);
  for (const item of entry.section.querySelectorAll("[data-line]")) {
    const button = item.querySelector("button");
    button.disabled = false; // the server renders it disabled, for pages without scripts
    button.title = HELP;
    button.setAttribute("aria-pressed", String(!hidden.has(item.dataset.line)));
  }
  drawingOrder(entry.chart).forEach((line, position) => {
    const show = !hidden.has(entry.chart.lines[line].name);
    // uPlot's series 0 is the time.
    if (entry.plot.series[position + 1].show !== show) entry.plot.setSeries(position + 1, { show });
  });
}

function toggle(hidden, name) {
  if (!hidden.delete(name)) hidden.add(name);
}

// Hides all other lines; if they are hidden already, shows all.
function isolate(hidden, name, names) {
  const isIsolated = names.every((other) => hidden.has(other) !== (other === name));
  hidden.clear();
  if (!isIsolated) names.filter((other) => other !== name).forEach((other) => hidden.add(other));
}

export function wireLegends(entries) {
  const on = (eventType, change) => document.addEventListener(eventType, (event) => {
    const item = event.target.closest("[data-line]");
    const entry = entries.get(item?.closest("[data-chart]")?.dataset.chart);
    if (!entry) return;
    const names = entry.chart.lines.map((line) => line.name);
    change(event, hiddenLines(entry.chart.key), item.dataset.line, names);
    updateLegend(entry);
    updateData(entry); // stacked bars change their height
  });
  on("click", (event, hidden, name, names) => (event.shiftKey ? isolate(hidden, name, names) : toggle(hidden, name)));
  on("dblclick", (_, hidden, name, names) => isolate(hidden, name, names));
}
