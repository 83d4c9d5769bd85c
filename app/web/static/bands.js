// The picture of all response times: a column a step, the stronger its colour the more requests a
// band holds.

export const LOWEST_MS = 0.7; // where a logarithmic scale begins, for what took no time
export const HIGHEST_MS = 200_000; // and where it ends, whatever took longer
const SHARE_MIN = 12; // percent of the colour for a single request

export function bandsUnder({ plot, chart, page }, faded) {
  if (!chart.bands || !plot) return;
  const { bounds_ms: bounds, counts } = chart.bands;
  const most = Math.max(...counts.flat());
  const { ctx } = plot;
  const { left, top, width, height } = plot.bbox;
  const across = (second) => Math.round(plot.valToPos(second, "x", true));
  const edges = bounds.map((ms) => Math.round(plot.valToPos(Math.min(Math.max(ms, LOWEST_MS), HIGHEST_MS), "y", true)));
  const shades = new Map();
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  counts.forEach((column, index) => {
    const from = across(page.start + index * page.step);
    const wide = across(page.start + (index + 1) * page.step) - from - (width / counts.length > 6 ? 1 : 0);
    column.forEach((count, band) => {
      if (!count) return;
      const share = Math.round(SHARE_MIN + (100 - SHARE_MIN) * (Math.log1p(count) / Math.log1p(most)));
      if (!shades.has(share)) shades.set(share, faded("line", share));
      ctx.fillStyle = shades.get(share);
      ctx.fillRect(from, edges[band + 1], wide, edges[band] - edges[band + 1]);
    });
  });
  ctx.restore();
}
