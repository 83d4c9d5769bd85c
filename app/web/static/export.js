// The export menu of a chart: saves the chart as an image (copy.js does the copy buttons).

import { withUnit } from "./numbers.js";
import { color } from "./plot.js";

const MARGIN_PX = 16;
const LINE_PX = 22;

function saveImage({ plot, chart, section }) {
  const source = plot.ctx.canvas;
  const ratio = devicePixelRatio;
  const target = document.createElement("canvas");
  target.width = source.width + 2 * MARGIN_PX * ratio;
  target.height = source.height + (2 * MARGIN_PX + 2 * LINE_PX) * ratio;
  const ctx = target.getContext("2d");
  ctx.fillStyle = color("sheet");
  ctx.fillRect(0, 0, target.width, target.height);
  ctx.scale(ratio, ratio);
  const app = document.querySelector("h1").textContent;
  const range = document.querySelector(".controls .span").textContent;
  drawText(ctx, `${app} · ${chart.title}`, "600 15px system-ui, sans-serif", "ink", MARGIN_PX, MARGIN_PX + 12);
  drawText(ctx, range, "12px system-ui, sans-serif", "quiet", MARGIN_PX, MARGIN_PX + LINE_PX + 8);
  let x = MARGIN_PX;
  for (const line of chart.lines) {
    x = drawText(ctx, `${line.name} ${withUnit(line.summary, chart.unit)}`, "12px system-ui, sans-serif", line.style, x, target.height / ratio - 10) + 16;
  }
  ctx.setTransform(1, 0, 0, 1, 0, 0);
  ctx.drawImage(source, MARGIN_PX * ratio, (MARGIN_PX + 2 * LINE_PX) * ratio - 8 * ratio);
  target.toBlob((blob) => save(blob, `${app}-${section.dataset.chart}.png`));
}

function drawText(ctx, text, font, tone, x, y) {
  ctx.font = font;
  ctx.fillStyle = color(tone);
  ctx.fillText(text, x, y);
  return x + ctx.measureText(text).width; // where the next text can begin
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

export function wireExports(entries) {
  document.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-image]");
    if (button) saveImage(entries.get(button.closest("[data-chart]").dataset.chart));
  });
}
