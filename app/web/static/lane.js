// The lane of events: pointing at an icon lists its events, and puts the crosshair of all charts at
// the time of the first.

import { formatTime } from "./times.js";
import { hideTip, paragraph, placeTip, showTip } from "./tip.js";

const ICON_PX = 12;

function show(icon, entries) {
  const { at, last, texts, title } = icon.dataset;
  const time = (second) => formatTime(new Date(second * 1000), "clock").slice(-8);
  const range = at === last ? time(at) : `${time(at)} to ${time(last)}`;
  const lines = JSON.parse(texts);
  showTip(
    icon,
    paragraph("at", `${range} UTC`),
    ...(lines.length > 1 || lines[0] !== title ? [paragraph("all", title)] : []),
    ...lines.map((line) => paragraph("note", line)),
  );
  const box = icon.getBoundingClientRect();
  for (const { plot } of entries.values()) {
    plot.setCursor({ left: plot.valToPos(Number(at), "x"), top: 1 });
    break; // the others follow
  }
  placeTip(box.left, box.top + ICON_PX);
}

export function wireLane(entries) {
  document.addEventListener("mouseover", (event) => { // comes after the mouse left a chart
    const icon = event.target.closest?.(".lane [data-at]");
    if (!icon) return;
    for (const title of icon.querySelectorAll("title")) title.remove(); // the tooltip says more
    show(icon, entries);
    icon.addEventListener("mouseleave", () => {
      hideTip(icon);
      for (const { plot } of entries.values()) {
        plot.setCursor({ left: -10, top: -10 });
        break;
      }
    }, { once: true });
  });
}
