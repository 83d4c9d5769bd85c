// Axes whose ticks are round, exact and never the same, and whose labels are never cut.
// app/web/pages/axes.py does the same for pictures.

import { exact } from "./numbers.js";
import { formatTime } from "./times.js";

const FONT = "12px system-ui, sans-serif";
const FACTORS = [1, 2, 5];
const LOG_TICKS_MAX = 8;
const BAND_LABELS_MAX = 6;
const TIME_LABEL_PX = 60;
const YEARLESS_DAYS = 28; // between labels of the time axis; longer ones have the year
const VALUE_LABEL_PX = 30;
const DAY_S = 86_400;

const incrementsFrom = (power) => Array.from({ length: 16 }, (_, index) => power + index).flatMap((exponent) => FACTORS.map((factor) => Number(`${factor}e${exponent}`)));
const INCREMENTS = incrementsFrom(-3);
const INTEGERS = incrementsFrom(0);

export function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [...FACTORS, 10].map((factor) => factor * power).find((candidate) => candidate >= value * (1 - 1e-9));
}

export function roundDown(value) {
  const power = 10 ** Math.floor(Math.log10(value) + 1e-9);
  return FACTORS.map((factor) => factor * power).findLast((candidate) => candidate <= value * (1 + 1e-9));
}

function roundNumbers(low, high) {
  const first = Math.floor(Math.log10(low));
  const last = Math.ceil(Math.log10(high));
  const all = Array.from({ length: last - first + 1 }, (_, index) => first + index).flatMap((power) => FACTORS.map((factor) => factor * 10 ** power));
  const inside = all.filter((value) => value >= low * (1 - 1e-9) && value <= high * 1.001);
  return inside.length > LOG_TICKS_MAX ? inside.filter((value) => Math.abs(Math.log10(value) % 1) < 1e-9) : inside;
}

// As svg_charts.py does.
function bandLabels(bounds, low, high) {
  const inside = bounds.filter((bound) => bound >= low && bound <= high);
  return inside.length > BAND_LABELS_MAX ? inside.filter((bound) => /^10*$/.test(bound)) : inside;
}

const UNITS = [["M", 1_000_000, 100_000_000], ["k", 1_000, 100_000]]; // longer numbers would be cut

function tickText(value, digits) {
  const [unit, size] = UNITS.find(([, , from]) => value >= from) ?? ["", 1];
  return exact(value / size, unit ? 0 : digits) + unit;
}

const digitsOf = (increment) => Math.max(0, -Math.floor(Math.log10(increment) + 1e-9));

export function axes(entry, color) {
  const common = { stroke: () => color("quiet"), font: FONT, ticks: { show: false } };
  return [timeAxis(entry, common), valueAxis(entry.chart, { ...common, grid: { stroke: () => color("rule"), width: 1 } })];
}

function valueAxis(chart, common) {
  const axis = { ...common, size: 56, gap: 8, space: VALUE_LABEL_PX };
  if (!chart.log) {
    return { ...axis, incrs: chart.integers ? INTEGERS : INCREMENTS, values: (_, splits, __, ___, increment) => splits.map((value) => tickText(value, digitsOf(increment))) };
  }
  return {
    ...axis,
    splits: (_, __, low, high) => (chart.bands ? bandLabels(chart.bands.bounds_ms, low, high) : roundNumbers(low, high)),
    filter: (_, splits) => splits,
    values: (_, splits) => splits.map((value) => tickText(value, value < 1 ? 1 : 0)),
    grid: chart.bands ? { show: false } : axis.grid, // the heatmap covers it
  };
}

// Times of day, with the date at midnight, and with the year over long ranges. A label that would be cut is left out, and so is one that
// says the same as the label before.
function timeAxis({ page }, common) {
  const label = (second, dayForm) => formatTime(new Date(second * 1000), second % DAY_S === 0 ? dayForm : "hour");
  const values = (plot, splits, _, __, increment) => {
    const dayForm = increment > YEARLESS_DAYS * DAY_S ? "date" : "day";
    let before = "";
    return splits.map((second) => {
      const text = label(second, dayForm);
      plot.ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
      const half = plot.ctx.measureText(text).width / devicePixelRatio / 2;
      const center = plot.valToPos(second, "x") + plot.bbox.left / devicePixelRatio;
      if (center - half < 0 || center + half > plot.width || text === before) return "";
      before = text;
      return text;
    });
  };
  return { ...common, values, space: TIME_LABEL_PX, grid: { show: false }, size: 28, gap: 6, incrs: timeIncrements(page) };
}

const MINUTE_S = 60;
const HOUR_S = 3_600;
function timeIncrements(page) {
  const all = [MINUTE_S, 2 * MINUTE_S, 5 * MINUTE_S, 10 * MINUTE_S, 15 * MINUTE_S, 30 * MINUTE_S, HOUR_S, 2 * HOUR_S, 3 * HOUR_S, 6 * HOUR_S, 12 * HOUR_S, DAY_S, 2 * DAY_S, 7 * DAY_S, 14 * DAY_S, 28 * DAY_S, ...[56, 91, 182, 364].map((days) => days * DAY_S)];
  return all.filter((increment) => increment * 100 >= page.size * page.step);
}
