// The charts that can be handled: made of the values that stand in the page, kept when the page's
// main part is exchanged.

import "./copy.js";
import { showLines, wireLegends } from "./legend.js";
import { draw, refill } from "./plot.js";
import { point, wireKeyboard } from "./pointer.js";
import { wireMenus } from "./menu.js";

const drawn = new Map(); // key of a chart -> { plot, chart, values }
const values = (root) => JSON.parse(root.querySelector("#for-charts")?.textContent ?? "null");

// Charts that look alike can take each other's values.
const look = (chart) => JSON.stringify([chart.kind, chart.log, chart.lines.map((line) => [line.name, line.style]), chart.bands?.bounds_ms.length]);

function make(section, chart, page) {
  const element = section.querySelector(".plot");
  element.replaceChildren();
  element.classList.add("drawn");
  const entry = { section, element, chart, page };
  entry.plot = draw(entry, () => point(entry));
  wireKeyboard(entry);
  drawn.set(chart.key, entry);
}

function makeAll() {
  const page = values(document);
  for (const chart of page?.charts ?? []) {
    const section = document.querySelector(`[data-chart="${chart.key}"]`);
    const entry = drawn.get(chart.key);
    if (entry?.element.isConnected) {
      Object.assign(entry, { section, chart, page });
      refill(entry);
    } else {
      entry?.plot.destroy();
      make(section, chart, page);
    }
    showLines(drawn.get(chart.key));
  }
}

document.addEventListener("exchange", ({ detail: { after } }) => {
  for (const chart of values(after)?.charts ?? []) {
    const entry = drawn.get(chart.key);
    if (entry && look(entry.chart) === look(chart)) {
      after.querySelector(`[data-chart="${chart.key}"] .plot`).replaceWith(entry.element);
    }
  }
});
document.addEventListener("exchanged", makeAll);

const redrawAll = () => drawn.forEach((entry) => entry.plot.redraw(false, true));
document.addEventListener("zonechange", redrawAll);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
new ResizeObserver(() => drawn.forEach((entry) => {
  const { clientWidth: width, clientHeight: height } = entry.element;
  if (width && (width !== entry.plot.width || height !== entry.plot.height)) entry.plot.setSize({ width, height });
})).observe(document.querySelector("main").parentElement);

wireLegends(drawn);
wireMenus(drawn);
makeAll();
document.documentElement.dataset.charts = "drawn";
