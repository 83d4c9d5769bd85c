// The menu of a chart: the chart as an image (copy.js copies calls and expressions).

import { colour } from "./plot.js";
import { withUnit } from "./words.js";

const MARGIN_PX = 16;
const LINE_PX = 22;

function image({ plot, chart, section }) {
  const from = plot.ctx.canvas;
  const ratio = devicePixelRatio;
  const to = document.createElement("canvas");
  to.width = from.width + 2 * MARGIN_PX * ratio;
  to.height = from.height + (2 * MARGIN_PX + 2 * LINE_PX) * ratio;
  const ctx = to.getContext("2d");
  ctx.fillStyle = colour("sheet");
  ctx.fillRect(0, 0, to.width, to.height);
  ctx.scale(ratio, ratio);
  const app = document.querySelector("h1").textContent;
  const range = document.querySelector(".ranges span").textContent;
  words(ctx, `${app} · ${chart.title}`, "600 15px system-ui, sans-serif", "ink", MARGIN_PX, MARGIN_PX + 12);
  words(ctx, range, "12px system-ui, sans-serif", "quiet", MARGIN_PX, MARGIN_PX + LINE_PX + 8);
  let x = MARGIN_PX;
  for (const line of chart.lines) {
    const last = line.values.findLast((value) => value !== null);
    x = words(ctx, `${line.name} ${withUnit(last, chart.unit)}`, "12px system-ui, sans-serif", line.style, x, to.height / ratio - 10) + 16;
  }
  ctx.setTransform(1, 0, 0, 1, 0, 0);
  ctx.drawImage(from, MARGIN_PX * ratio, (MARGIN_PX + 2 * LINE_PX) * ratio - 8 * ratio);
  to.toBlob((blob) => save(blob, `${app}-${section.dataset.chart}.png`));
}

function words(ctx, text, font, tone, x, y) {
  ctx.font = font;
  ctx.fillStyle = colour(tone);
  ctx.fillText(text, x, y);
  return x + ctx.measureText(text).width;
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

export function wireMenus(drawn) {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-image]");
    if (button) image(drawn.get(button.closest("[data-chart]").dataset.chart));
    for (const menu of document.querySelectorAll(".menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    const menu = event.key === "Escape" && document.querySelector(".menu[open]");
    if (!menu) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
}
