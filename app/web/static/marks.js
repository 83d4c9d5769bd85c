// What is drawn over every chart: events and alerts of the app, the most that there can be, and the
// values above which somebody is told.

const FLAG_PX = 4;

export function eventsAndLimit({ plot, chart, page }, colour) {
  if (!plot) return;
  const { ctx } = plot;
  const { left, top, width, height } = plot.bbox;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.lineWidth = ratio;
  ctx.setLineDash([3 * ratio, 3 * ratio]);
  if (chart.limit) {
    const y = plot.valToPos(chart.limit, "y", true);
    ctx.strokeStyle = colour("bad");
    ctx.beginPath();
    ctx.moveTo(left, y);
    ctx.lineTo(left + width, y);
    ctx.stroke();
  }
  ctx.strokeStyle = colour("warn");
  for (const value of chart.thresholds) {
    const y = plot.valToPos(value, "y", true);
    if (y < top || y > top + height) continue;
    ctx.beginPath();
    ctx.moveTo(left, y);
    ctx.lineTo(left + width, y);
    ctx.stroke();
  }
  ctx.strokeStyle = ctx.fillStyle = colour("quiet");
  for (const event of page.events) {
    const x = plot.valToPos(event.at, "x", true);
    const flag = FLAG_PX * ratio;
    ctx.beginPath();
    ctx.moveTo(x, top);
    ctx.lineTo(x, top + height);
    ctx.stroke();
    ctx.beginPath();
    ctx.moveTo(x - flag, top - 2 * flag);
    ctx.lineTo(x + flag, top - 2 * flag);
    ctx.lineTo(x, top);
    ctx.fill();
  }
  ctx.restore();
}
