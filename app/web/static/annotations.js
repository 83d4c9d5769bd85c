// Annotations over a chart: the time that is not complete yet, events and alerts of the app, the
// chart's maximum (such as the memory quota), and the thresholds of alert rules.

const FLAG_PX = 4;
const DASH_PX = 3;
const INCOMPLETE_ALPHA = 0.15; // as in dynometer.css

export function drawAnnotations({ plot, chart, page }, color) {
  if (!plot) return;
  const { ctx } = plot;
  const { left, top, width, height } = plot.bbox;
  const ratio = devicePixelRatio;
  const line = (x1, y1, x2, y2) => {
    ctx.beginPath();
    ctx.moveTo(x1, y1);
    ctx.lineTo(x2, y2);
    ctx.stroke();
  };
  ctx.save();
  const end = page.start + page.size * page.step;
  if (page.complete_until < end) {
    const x = plot.valToPos(page.complete_until, "x", true);
    ctx.globalAlpha = INCOMPLETE_ALPHA;
    ctx.fillStyle = color("quiet");
    ctx.fillRect(x, top, left + width - x, height);
    ctx.globalAlpha = 1;
  }
  ctx.lineWidth = ratio;
  ctx.setLineDash([DASH_PX * ratio, DASH_PX * ratio]);
  if (chart.limit) {
    const y = plot.valToPos(chart.limit, "y", true);
    ctx.strokeStyle = color("bad");
    line(left, y, left + width, y);
  }
  ctx.strokeStyle = color("warn");
  for (const threshold of chart.thresholds) {
    const y = plot.valToPos(threshold, "y", true);
    if (y >= top && y <= top + height) line(left, y, left + width, y);
  }
  ctx.strokeStyle = ctx.fillStyle = color("quiet");
  for (const event of page.events) {
    const x = plot.valToPos(event.at, "x", true);
    const flag = FLAG_PX * ratio;
    line(x, top, x, top + height);
    ctx.beginPath();
    ctx.moveTo(x - flag, top - 2 * flag);
    ctx.lineTo(x + flag, top - 2 * flag);
    ctx.lineTo(x, top);
    ctx.fill();
  }
  ctx.restore();
}
