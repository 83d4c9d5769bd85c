// Draws the interactive charts from the values in the page. When the page's main part is replaced,
// they move to the new one and take its values, so that zoom and pointer are not disturbed.

import "./copy.js";
import { point, wireKeyboard } from "./crosshair.js";
import { wireExports } from "./export.js";
import { wireLane } from "./lane.js";
import { updateLegend, wireLegends } from "./legend.js";
import { draw, updateData } from "./plot.js";
import { register, unregister } from "./zoom.js";

const entries = new Map(); // key of a chart -> { section, element, chart, page, plot }
const valuesIn = (root) => JSON.parse(root.querySelector("#for-charts")?.textContent ?? "null");

// A drawn chart can take the values of another one if their structures are equal.
const structure = (chart) => JSON.stringify([chart.kind, chart.log, chart.empty, chart.lines.map((line) => [line.name, line.style, line.pen]), chart.bands?.bounds_ms.length]);

function create(section, chart, page) {
  const element = section.querySelector(".plot");
  element.replaceChildren(); // removes the picture that the server drew
  element.classList.add("drawn");
  const entry = { section, element, chart, page };
  entry.plot = draw(entry, () => point(entry));
  wireKeyboard(entry);
  register(entry);
  entries.set(chart.key, entry);
}

function remove(key) {
  const entry = entries.get(key);
  if (!entry) return;
  entry.plot.destroy();
  unregister(entry);
  entries.delete(key);
}

function updateAll() {
  const page = valuesIn(document);
  const charts = (page?.charts ?? []).filter((chart) => !chart.empty); // those have words instead
  const keys = new Set(charts.map((chart) => chart.key));
  [...entries.keys()].filter((key) => !keys.has(key)).forEach(remove);
  for (const chart of charts) {
    const section = document.querySelector(`[data-chart="${chart.key}"]`);
    const entry = entries.get(chart.key);
    if (entry?.element.isConnected) {
      Object.assign(entry, { section, chart, page });
      updateData(entry);
    } else {
      remove(chart.key);
      create(section, chart, page);
    }
    updateLegend(entries.get(chart.key));
    point(entries.get(chart.key));
  }
}

document.addEventListener("mainreplacing", ({ detail: { after } }) => {
  for (const chart of valuesIn(after)?.charts ?? []) {
    const entry = entries.get(chart.key);
    if (entry && structure(entry.chart) === structure(chart)) {
      after.querySelector(`[data-chart="${chart.key}"] .plot`).replaceWith(entry.element);
    }
  }
});
document.addEventListener("mainreplaced", updateAll);

const redrawAll = () => entries.forEach((entry) => entry.plot.redraw(false, true));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
new ResizeObserver(() => entries.forEach((entry) => {
  const { clientWidth: width, clientHeight: height } = entry.element;
  if (width && (width !== entry.plot.width || height !== entry.plot.height)) entry.plot.setSize({ width, height });
})).observe(document.querySelector("main").parentElement); // main itself is replaced

wireLegends(entries);
wireExports(entries);
wireLane(entries);
updateAll();
document.documentElement.dataset.charts = "drawn";
