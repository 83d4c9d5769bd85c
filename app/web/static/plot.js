// Draws one chart with uPlot: its data, series and scales.

import { drawAnnotations, drawQuotas } from "./annotations.js";
import { axes, roundDown, roundUp } from "./axes.js";
import { HIGHEST_MS, LOWEST_MS, drawHeatmap } from "./heatmap.js";
import { drawingOrder, hiddenLines } from "./line_visibility.js";
import { zoomToSelection } from "./zoom.js";

const uPlot = window.uPlot;
const CURSOR_GROUP = "page"; // charts of a page share one crosshair
const GAP_COLUMN_PX = 6; // bars wider than this have a gap of one pixel
const BAR_MIN_PX = 2; // so that a single error in 90 days is visible
const POINT_PX = 5;
const THRESHOLD_RATIO_MAX = 3; // as in svg_charts.py
const HEADROOM = 1.05;
const QUOTA_HEADROOM = 1.1; // so that the band over it is seen
const PENS = { "": { width: 2 }, thin: { width: 1 }, dotted: { width: 1.5, dash: [1, 3] } };

const style = getComputedStyle(document.documentElement); // is live
export const color = (name) => style.getPropertyValue(`--${name}`).trim();

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

// No line shows a value without neighbours, so it is drawn as a point.
function isolatedPoints(plot, index) {
  const values = plot.data[index];
  const isGap = (position) => values[position] === null || values[position] === undefined;
  return [...values.keys()].filter((position) => !isGap(position) && isGap(position - 1) && isGap(position + 1));
}

function series(entry) {
  const { chart } = entry;
  if (chart.kind === "bands") return [{}, { show: true, stroke: "transparent", points: { show: false } }];
  const gap = entry.element.clientWidth / entry.page.size > GAP_COLUMN_PX ? 1 : 0;
  const bars = uPlot.paths.bars({ size: [1, Infinity, BAR_MIN_PX], gap });
  return [{}, ...drawingOrder(chart).map((index) => {
    const line = chart.lines[index];
    const stroke = () => color(line.style);
    const common = { label: line.name, show: !hiddenLines(chart.key).has(line.name), spanGaps: false };
    if (chart.kind === "bars" && !line.past) return { ...common, fill: stroke, width: 0, paths: bars, points: { show: false } };
    const steps = chart.integers && !line.past ? { paths: uPlot.paths.stepped({ align: 1 }) } : {};
    return { ...common, ...PENS[line.pen], ...steps, stroke, points: { show: true, size: POINT_PX, width: 0, fill: stroke, filter: isolatedPoints } };
  })];
}

// A threshold far above all values would flatten the chart; it is only named below it.
const topThreshold = (chart, high) => Math.max(0, ...chart.thresholds.filter((value) => value <= THRESHOLD_RATIO_MAX * high));

// The y scale: from 0 (or 1, 2 or 5 times a power of ten) to a number above all values.
function yScale({ chart }) {
  if (chart.bands) return { distr: 3, range: () => [Math.max(chart.bands.bounds_ms[0], LOWEST_MS), Math.min(chart.bands.bounds_ms.at(-1), HIGHEST_MS)] };
  const top = (high) => Math.max(high ?? 0, topThreshold(chart, high ?? 0), ...chart.quotas.map((quota) => quota.value * QUOTA_HEADROOM));
  if (!chart.log) return { range: (_, __, high) => [0, Math.min(top(high) * HEADROOM, chart.ceiling ?? Infinity) || 1] };
  return {
    distr: 3,
    range: (_, low, high) => {
      const from = roundDown(Math.max(low ?? 1, 1));
      return [from, Math.max(roundUp(Math.max(top(high), 1)), roundUp(2 * from))];
    },
  };
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
    tzDate: (second) => uPlot.tzDate(new Date(second * 1000), "Etc/UTC"),
    scales: { x: { time: true, range: () => [entry.page.start, entry.page.start + entry.page.size * entry.page.step] }, y: yScale(entry) },
    axes: axes(entry, color),
    series: series(entry),
    hooks: {
      drawClear: [() => drawHeatmap(entry, color)], // below the axes
      drawAxes: [() => drawQuotas(entry, color)], // below the lines
      draw: [() => drawAnnotations(entry, color)], // above the lines
      setCursor: [onCursor],
      setSelect: [() => zoomToSelection(entry)],
    },
    padding: [12, 4, 0, 0],
  };
  const plot = new uPlot(options, columns(entry), element);
  plot.root.tabIndex = 0;
  plot.root.setAttribute("role", "img");
  plot.root.setAttribute("aria-label", `${chart.title}. Arrow keys read values; with Shift they select a time, Enter zooms to it.`);
  return plot;
}

export function updateData(entry) {
  entry.plot.setData(columns(entry));
}
