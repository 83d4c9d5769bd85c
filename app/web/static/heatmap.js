// The heatmap of all response times: one column per step, one cell per band of response times. The
// more requests in a cell, the stronger its color.

export const LOWEST_MS = 0.7; // lower end of the logarithmic scale, which cannot show 0 ms
export const HIGHEST_MS = 200_000; // upper end, for all longer times
const SHARE_MIN = 12; // percent of the color for a single request
const GAP_COLUMN_PX = 6; // columns wider than this have a gap of one pixel

export function drawHeatmap({ plot, chart, page }, faded) {
  if (!chart.bands || !plot) return;
  const { bounds_ms: bounds, counts } = chart.bands;
  const countMax = Math.max(...counts.flat());
  const { ctx } = plot;
  const { left, top, width, height } = plot.bbox;
  const xOf = (second) => Math.round(plot.valToPos(second, "x", true));
  const edges = bounds.map((ms) => Math.round(plot.valToPos(Math.min(Math.max(ms, LOWEST_MS), HIGHEST_MS), "y", true)));
  const gap = width / counts.length > GAP_COLUMN_PX ? 1 : 0;
  const shades = new Map(); // by share: saves reading the style sheet for each cell
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  counts.forEach((column, index) => {
    const x = xOf(page.start + index * page.step);
    const columnWidth = xOf(page.start + (index + 1) * page.step) - x - gap;
    column.forEach((count, band) => {
      if (!count) return;
      // Logarithmic, so that a few slow requests stay visible beside thousands of fast ones.
      const share = Math.round(SHARE_MIN + (100 - SHARE_MIN) * (Math.log1p(count) / Math.log1p(countMax)));
      if (!shades.has(share)) shades.set(share, faded("line", share));
      ctx.fillStyle = shades.get(share);
      ctx.fillRect(x, edges[band + 1], columnWidth, edges[band] - edges[band + 1]);
    });
  });
  ctx.restore();
}
