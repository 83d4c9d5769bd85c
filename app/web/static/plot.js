// Draws one chart with uPlot: its data, series, scales and axes.

import { drawAnnotations } from "./annotations.js";
import { HIGHEST_MS, LOWEST_MS, drawHeatmap } from "./heatmap.js";
import { drawingOrder, hiddenLines } from "./line_visibility.js";
import { navigate } from "./live.js";
import { number } from "./numbers.js";
import { formatTime, isLocal } from "./times.js";

const uPlot = window.uPlot;
const AXIS_FONT = "12px system-ui, sans-serif";
const CURSOR_GROUP = "page"; // charts of a page share one crosshair
const DRAG_MIN_PX = 8;
const DAY_S = 86_400;
const LABEL_DISTANCE_PX = 64;
const GAP_COLUMN_PX = 6; // bars wider than this have a gap of one pixel
const THRESHOLD_RATIO_MAX = 3; // as in svg_charts.py
const HEADROOM = 1.05;
const ZOOM_MIN_S = 300;

export const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const faded = (name, share) => `color-mix(in srgb, ${color(name)} ${share}%, transparent)`;

// A value is drawn in the middle of its step.
const times = (page) => Array.from({ length: page.size }, (_, index) => page.start + (index + 0.5) * page.step);

// The times, and the values of each line in drawing order. Bars are stacked here: uPlot draws each one
// from 0, so a bar's value is its top.
function columns({ chart, page }) {
  if (chart.kind === "bands") return [times(page), times(page).map(() => null)];
  const hidden = hiddenLines(chart.key);
  if (chart.kind === "lines") return [times(page), ...chart.lines.map((line) => positive(line.values, chart.log))];
  let below = new Array(page.size).fill(0);
  const tops = chart.lines.map((line) => {
    if (line.past || hidden.has(line.name)) return line.values;
    below = line.values.map((value, index) => (value === null ? null : value + (below[index] ?? 0)));
    return below;
  });
  return [times(page), ...drawingOrder(chart).map((index) => tops[index])];
}

// A logarithmic scale cannot show 0.
const positive = (list, log) => (log ? list.map((value) => (value === null ? null : Math.max(value, 1))) : list);

// Where points are too dense to be drawn, those without neighbours still are: no line shows them.
function isolatedPoints(plot, index, areAllDrawn) {
  const values = plot.data[index];
  const isGap = (position) => values[position] === null || values[position] === undefined;
  return areAllDrawn ? null : [...values.keys()].filter((position) => !isGap(position) && isGap(position - 1) && isGap(position + 1));
}

function series(entry) {
  const { chart } = entry;
  if (chart.kind === "bands") return [{}, { show: true, stroke: "transparent", points: { show: false } }];
  const gap = entry.element.clientWidth / entry.page.size > GAP_COLUMN_PX ? 1 : 0;
  const bars = uPlot.paths.bars({ size: [1, Infinity], gap });
  return [{}, ...drawingOrder(chart).map((index) => {
    const line = chart.lines[index];
    const common = { label: line.name, show: !hiddenLines(chart.key).has(line.name), spanGaps: false };
    if (line.past) return { ...common, stroke: () => color("past"), width: 1.5, dash: [2, 3], points: { show: false } };
    if (chart.kind === "bars") return { ...common, fill: () => color(line.style), width: 0, paths: bars, points: { show: false } };
    return { ...common, stroke: () => color(line.style), width: 1.5, points: { size: 4, fill: () => color(line.style), filter: isolatedPoints } };
  })];
}

// A threshold far above all values would flatten the chart; it is only named below it.
const topThreshold = (chart, high) => Math.max(0, ...chart.thresholds.filter((value) => value <= THRESHOLD_RATIO_MAX * high));

// The y scale: from 0 (or a power of ten) to a number above all values.
function yScale({ chart }) {
  if (chart.bands) return { distr: 3, range: () => [Math.max(chart.bands.bounds_ms[0], LOWEST_MS), Math.min(chart.bands.bounds_ms.at(-1), HIGHEST_MS)] };
  if (chart.log) return { distr: 3, range: (_, low, high) => uPlot.rangeLog(Math.max(low ?? 1, 1), Math.max(high ?? 10, 10, topThreshold(chart, high ?? 0)), 10, true) };
  return { range: (_, __, high) => [0, Math.max(high ?? 0, topThreshold(chart, high ?? 0), chart.limit ?? 0) * HEADROOM || 1] };
}

// Labels of the x axis: times of day, with the date at midnight; for long ranges dates only.
function xLabels(page) {
  const isShort = page.size * page.step <= 2 * DAY_S;
  const format = (second, form) => formatTime(new Date(second * 1000), form);
  const label = (second) => (isShort && format(second, "hour") !== "00:00" ? format(second, "hour") : format(second, "day"));
  return {
    values: (_, splits) => splits.map(label),
    space: LABEL_DISTANCE_PX,
  };
}

function axes(entry) {
  const common = { stroke: () => color("quiet"), font: AXIS_FONT, ticks: { show: false } };
  const grid = { stroke: () => color("rule"), width: 1 };
  const label = (value) => (value === null ? "" : number(value));
  return [
    { ...common, ...xLabels(entry.page), grid: { show: false }, size: 28, gap: 6 },
    { ...common, grid, size: 56, gap: 8, space: 32, values: (_, splits) => splits.map(label), ...logGrid(entry.chart) },
  ];
}

// The grid lines of a logarithmic scale are powers of ten. A heatmap has labels but no grid lines.
function logGrid(chart) {
  if (!chart.log) return {};
  const splits = (plot, _, low, high) => {
    const first = Math.ceil(Math.log10(low) - 1e-9);
    const count = Math.floor(Math.log10(high) + 1e-9) - first + 1;
    return Array.from({ length: count }, (__, index) => 10 ** (first + index));
  };
  return { splits, filter: (_, list) => list, ...(chart.bands ? { grid: { show: false } } : {}) };
}

// A drag zooms the whole page to the selected time.
function zoom(entry) {
  const { plot, page } = entry;
  if (plot.select.width < DRAG_MIN_PX || !plot.over.matches(":hover")) return;
  const stepAt = (left) => Math.floor(plot.posToVal(left, "x") / page.step) * page.step;
  const start = stepAt(plot.select.left);
  const url = new URL(location.href);
  url.searchParams.set("start", start);
  url.searchParams.set("end", Math.max(stepAt(plot.select.left + plot.select.width) + page.step, start + ZOOM_MIN_S));
  plot.setSelect({ width: 0, height: 0 }, false);
  navigate(`${url.pathname}${url.search}`);
}

export function draw(entry, onCursor) {
  const { element, chart } = entry;
  const options = {
    width: element.clientWidth,
    height: element.clientHeight,
    legend: { show: false },
    cursor: {
      sync: { key: CURSOR_GROUP },
      drag: { x: true, y: false, setScale: false },
      points: { show: chart.kind === "lines", size: 6 },
      y: false,
    },
    tzDate: (second) => (isLocal() ? new Date(second * 1000) : uPlot.tzDate(new Date(second * 1000), "Etc/UTC")),
    scales: { x: { time: true, range: () => [entry.page.start, entry.page.start + entry.page.size * entry.page.step] }, y: yScale(entry) },
    axes: axes(entry),
    series: series(entry),
    hooks: {
      drawClear: [() => drawHeatmap(entry, faded)], // below the axes
      draw: [() => drawAnnotations(entry, color)], // above the lines
      setCursor: [onCursor],
      setSelect: [() => zoom(entry)],
    },
    padding: [12, 4, 0, 0],
  };
  const plot = new uPlot(options, columns(entry), element);
  Object.assign(plot.root, { tabIndex: 0 });
  plot.root.setAttribute("role", "img");
  plot.root.setAttribute("aria-label", `${chart.title}. Read values with the arrow keys.`);
  return plot;
}

export function updateData(entry) {
  entry.plot.setData(columns(entry));
}
