// Counts ages on: "12 s ago". The server tells the age; only the time since then is the browser's,
// whose clock may be wrong.

const TICK_MS = 1000;
const UNITS = [["d", 86_400], ["h", 3600], ["min", 60]];
let shownAt = performance.now();

function inWords(seconds) {
  const [unit, length] = UNITS.find(([, size]) => seconds >= size) ?? ["s", 1];
  return `${Math.round(seconds / length)} ${unit} ago`;
}

function tick() {
  if (document.hidden) return;
  const passed = (performance.now() - shownAt) / 1000;
  for (const element of document.querySelectorAll("[data-ago]")) {
    const text = inWords(Math.floor(Number(element.dataset.ago) + passed));
    if (element.textContent !== text) element.textContent = text;
  }
}

document.addEventListener("mainreplaced", () => { shownAt = performance.now(); });
setInterval(tick, TICK_MS);
