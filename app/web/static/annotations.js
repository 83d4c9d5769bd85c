// Annotations over a chart: time that is not complete yet (hatched), changes to the app and alerts,
// memory quotas, and the thresholds of alert rules.

const DASH_PX = 3;
const ARROW_PX = 3;
const HATCH_PX = 6;
const BAND_ALPHA = 0.08; // as in charts.css
const HATCH_ALPHA = 0.6;
const MARK_ALPHA = 0.7;

// Below the lines: the band over the quota.
export function drawQuotas({ plot, chart }, color) {
  if (!plot || !chart.quotas.length) return;
  const { ctx } = plot;
  const { left, top, width, height } = plot.bbox;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  ctx.fillStyle = ctx.strokeStyle = color("bad");
  ctx.lineWidth = ratio;
  chart.quotas.forEach(({ value }, index) => {
    const y = Math.round(plot.valToPos(value, "y", true));
    if (index === chart.quotas.length - 1) {
      ctx.globalAlpha = BAND_ALPHA;
      ctx.fillRect(left, top, width, y - top);
      ctx.globalAlpha = 1;
    }
    line(ctx, left, y, left + width, y);
  });
  ctx.restore();
}

export function drawAnnotations({ plot, chart, page }, color) {
  if (!plot) return;
  const { ctx } = plot;
  const { left, top, width, height } = plot.bbox;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  hatch(plot, page, color);
  if (chart.ceiling) markHigherValues(plot, color);
  ctx.lineWidth = ratio;
  ctx.setLineDash([2 * DASH_PX * ratio, DASH_PX * ratio]);
  ctx.strokeStyle = color("alert");
  for (const threshold of chart.thresholds) {
    const y = plot.valToPos(threshold, "y", true);
    line(ctx, left, y, left + width, y);
  }
  ctx.globalAlpha = MARK_ALPHA;
  const taken = new Set(); // a deploy and its release stand at one place
  for (const mark of page.marks) {
    const x = Math.round(plot.valToPos(mark.at, "x", true) / ratio) * ratio + 0.5;
    if (taken.has(x)) continue;
    taken.add(x).add(x + ratio).add(x - ratio);
    ctx.strokeStyle = color(mark.alert ? "alert" : "quiet");
    ctx.setLineDash(mark.alert ? [DASH_PX * ratio, DASH_PX * ratio] : []);
    line(ctx, x, top, x, top + height);
  }
  ctx.restore();
}

// A triangle at the top edge over each step with a value above it.
function markHigherValues({ ctx, bbox, data, series, scales, valToPos }, color) {
  const size = ARROW_PX * devicePixelRatio;
  const columns = data.slice(1).filter((_, index) => series[index + 1].show);
  ctx.fillStyle = color("quiet");
  data[0].forEach((second, index) => {
    if (!columns.some((values) => values[index] > scales.y.max)) return;
    const x = valToPos(second, "x", true);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x - size, bbox.top + 1.5 * size);
    ctx.lineTo(x + size, bbox.top + 1.5 * size);
    ctx.fill();
  });
}

function hatch({ ctx, bbox, valToPos }, page, color) {
  const end = page.start + page.size * page.step;
  if (page.complete_until >= end) return;
  const { left, top, width, height } = bbox;
  const from = valToPos(page.complete_until, "x", true);
  const gap = HATCH_PX * devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(from, top, left + width - from, height);
  ctx.clip();
  ctx.globalAlpha = HATCH_ALPHA;
  ctx.strokeStyle = color("quiet");
  ctx.lineWidth = devicePixelRatio;
  for (let x = from - height; x < left + width; x += gap) line(ctx, x, top + height, x + height, top);
  ctx.restore();
}

function line(ctx, x1, y1, x2, y2) {
  ctx.beginPath();
  ctx.moveTo(x1, y1);
  ctx.lineTo(x2, y2);
  ctx.stroke();
}
