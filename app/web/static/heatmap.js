// The heatmap of all response times: one column per step, one cell per band of response times.

export const LOWEST_MS = 0.7; // as in app/web/pages/svg_charts.py
export const HIGHEST_MS = 200_000;
const LEVELS = 10;
const GAP_COLUMN_PX = 6; // columns wider than this have a gap of one pixel

// Logarithmic, so that a few slow requests stay visible beside thousands of fast ones.
function levelOf(count, countMax) {
  if (countMax <= 1) return LEVELS - 1;
  return Math.min(Math.floor((LEVELS * Math.log(count)) / Math.log(countMax)), LEVELS - 1);
}

export function drawHeatmap({ plot, chart, page }, color) {
  if (!chart.bands || !plot) return;
  const { bounds_ms: bounds, counts } = chart.bands;
  const countMax = Math.max(...counts.map((column) => Math.max(0, ...column)));
  const { ctx } = plot;
  const { left, top, width, height } = plot.bbox;
  const xOf = (second) => Math.round(plot.valToPos(second, "x", true));
  const edges = bounds.map((ms) => Math.round(plot.valToPos(Math.min(Math.max(ms, LOWEST_MS), HIGHEST_MS), "y", true)));
  const gap = width / counts.length > GAP_COLUMN_PX ? 1 : 0;
  const shades = Array.from({ length: LEVELS }, (_, level) => shade(level, color));
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  counts.forEach((column, index) => {
    const x = xOf(page.start + index * page.step);
    const columnWidth = Math.max(xOf(page.start + (index + 1) * page.step) - x - gap, 1);
    column.forEach((count, band) => {
      if (!count) return;
      ctx.fillStyle = shades[levelOf(count, countMax)];
      ctx.fillRect(x, edges[band + 1], columnWidth, Math.max(edges[band] - edges[band + 1] - gap, 1));
    });
  });
  ctx.restore();
}

// As in charts.css: from few over some to many.
function shade(level, color) {
  const share = level / (LEVELS - 1);
  const [from, to, part] = share <= 0.5 ? ["few", "some", share * 2] : ["some", "many", share * 2 - 1];
  return `color-mix(in oklab, ${color(from)} ${Math.round(100 * (1 - part))}%, ${color(to)})`;
}
