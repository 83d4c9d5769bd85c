// Which lines of a chart are shown, and in which order uPlot draws them.

const GONE = new Map(); // key of a chart -> names of the lines that were hidden

export function hidden(key) {
  if (!GONE.has(key)) GONE.set(key, new Set());
  return GONE.get(key);
}

// Bars lie one on the other, so the highest is drawn first, and what is of the past last.
export function order(chart) {
  const indices = chart.lines.map((_, index) => index);
  if (chart.kind !== "bars") return indices;
  const past = (index) => chart.lines[index].past;
  return [...indices.filter((index) => !past(index)).reverse(), ...indices.filter(past)];
}
