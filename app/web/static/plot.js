// One chart: what is handed to uPlot, which draws it.

import { HIGHEST_MS, LOWEST_MS, bandsUnder } from "./bands.js";
import { eventsAndLimit } from "./marks.js";
import { hidden, order } from "./lines.js";
import { go } from "./live.js";
import { formatted, isLocal } from "./times.js";
import { number } from "./words.js";

const uPlot = window.uPlot;
const AXIS_FONT = "12px system-ui, sans-serif";
const LINKED = "page"; // charts of a page share one crosshair
const DRAG_MIN_PX = 8;
const DAY_S = 86_400;
const LABELS_APART_PX = 64;
const WIDE_PX = 6; // of a column that can do without a pixel

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const faded = (name, share) => `color-mix(in srgb, ${colour(name)} ${share}%, transparent)`;

// A value stands in the middle of its step.
const times = (page) => Array.from({ length: page.size }, (_, index) => page.start + (index + 0.5) * page.step);

// What uPlot draws of each line, in its order. Bars lie one on the other: the highest is drawn first.
function columns({ chart, page }) {
  if (chart.kind === "bands") return [times(page), times(page).map(() => null)];
  const left = hidden(chart.key);
  if (chart.kind === "lines") return [times(page), ...chart.lines.map((line) => positive(line.values, chart.log))];
  let below = new Array(page.size).fill(0);
  const tops = chart.lines.map((line) => {
    if (line.past || left.has(line.name)) return line.values;
    below = line.values.map((value, index) => (value === null ? null : value + (below[index] ?? 0)));
    return below;
  });
  return [times(page), ...order(chart).map((index) => tops[index])];
}

const positive = (list, log) => (log ? list.map((value) => (value === null ? null : Math.max(value, 1))) : list);

function series(entry) {
  const { chart } = entry;
  if (chart.kind === "bands") return [{}, { show: true, stroke: "transparent", points: { show: false } }];
  const gap = entry.element.clientWidth / entry.page.size > WIDE_PX ? 1 : 0;
  const bars = uPlot.paths.bars({ size: [1, Infinity], gap });
  return [{}, ...order(chart).map((index) => {
    const line = chart.lines[index];
    const common = { label: line.name, show: !hidden(chart.key).has(line.name), spanGaps: false };
    if (line.past) return { ...common, stroke: () => colour("past"), width: 1.5, dash: [2, 3], points: { show: false } };
    if (chart.kind === "bars") return { ...common, fill: () => colour(line.style), width: 0, paths: bars, points: { show: false } };
    return { ...common, stroke: () => colour(line.style), width: 1.5, points: { size: 4, fill: () => colour(line.style) } };
  })];
}

// A threshold far above everything else would press that flat: it is only named below the chart.
const near = (chart, high) => Math.max(0, ...chart.thresholds.filter((value) => value <= 3 * high));

// From 0 (or a power of ten) to a round number above all that is shown.
function vertical({ chart }) {
  if (chart.bands) return { distr: 3, range: () => [Math.max(chart.bands.bounds_ms[0], LOWEST_MS), Math.min(chart.bands.bounds_ms.at(-1), HIGHEST_MS)] };
  if (chart.log) return { distr: 3, range: (_, low, high) => uPlot.rangeLog(Math.max(low ?? 1, 1), Math.max(high ?? 10, 10, near(chart, high ?? 0)), 10, true) };
  return { range: (_, __, high) => [0, Math.max((high ?? 0) * 1.05, near(chart, high ?? 0) * 1.05, chart.limit ? chart.limit * 1.05 : 0) || 1] };
}

function bottom(page) {
  const hours = page.size * page.step <= 2 * DAY_S;
  const short = (second, first) => formatted(new Date(second * 1000), hours && !first ? "hour" : "day");
  const midnight = (second) => formatted(new Date(second * 1000), "hour") === "00:00";
  return {
    values: (_, splits) => splits.map((second) => short(second, !hours || midnight(second))),
    space: LABELS_APART_PX,
  };
}

function axes(entry) {
  const common = { stroke: () => colour("quiet"), font: AXIS_FONT, ticks: { show: false } };
  const grid = { stroke: () => colour("rule"), width: 1 };
  const value = (each) => (each === null ? "" : number(each));
  return [
    { ...common, ...bottom(entry.page), grid: { show: false }, size: 28, gap: 6 },
    { ...common, grid, size: 56, gap: 8, space: 32, values: (_, splits) => splits.map(value), ...powers(entry.chart) },
  ];
}

// The lines of a logarithmic scale are the powers of ten; a picture has none.
function powers(chart) {
  if (!chart.log) return {};
  const splits = (plot, _, low, high) => {
    const first = Math.ceil(Math.log10(low) - 1e-9);
    const count = Math.floor(Math.log10(high) + 1e-9) - first + 1;
    return Array.from({ length: count }, (__, index) => 10 ** (first + index));
  };
  return { splits, filter: (_, list) => list, ...(chart.bands ? { grid: { show: false } } : {}) };
}

function zoom(entry) {
  const { plot, page } = entry;
  if (plot.select.width < DRAG_MIN_PX || !plot.over.matches(":hover")) return;
  const at = (left) => Math.floor(plot.posToVal(left, "x") / page.step) * page.step;
  const start = at(plot.select.left);
  const address = new URL(location.href);
  address.searchParams.set("start", start);
  address.searchParams.set("end", Math.max(at(plot.select.left + plot.select.width) + page.step, start + 300));
  plot.setSelect({ width: 0, height: 0 }, false);
  go(`${address.pathname}${address.search}`);
}

export function draw(entry, pointed) {
  const { element, chart } = entry;
  const options = {
    width: element.clientWidth,
    height: element.clientHeight,
    legend: { show: false },
    cursor: {
      sync: { key: LINKED },
      drag: { x: true, y: false, setScale: false },
      points: { show: chart.kind === "lines", size: 6 },
      y: false,
    },
    tzDate: (second) => (isLocal() ? new Date(second * 1000) : uPlot.tzDate(new Date(second * 1000), "Etc/UTC")),
    scales: { x: { time: true, range: () => [entry.page.start, entry.page.start + entry.page.size * entry.page.step] }, y: vertical(entry) },
    axes: axes(entry),
    series: series(entry),
    hooks: {
      drawClear: [() => bandsUnder(entry, faded)],
      draw: [() => eventsAndLimit(entry, colour)],
      setCursor: [pointed],
      setSelect: [() => zoom(entry)],
    },
    padding: [12, 4, 0, 0],
  };
  const plot = new uPlot(options, columns(entry), element);
  Object.assign(plot.root, { tabIndex: 0 });
  plot.root.setAttribute("role", "img");
  plot.root.setAttribute("aria-label", `${chart.title}: arrow keys read the values`);
  return plot;
}

export function refill(entry) {
  entry.plot.setData(columns(entry));
}
