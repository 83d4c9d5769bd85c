// Which lines of a chart are hidden, and in which order uPlot draws the lines.

const hiddenByChart = new Map(); // key of a chart -> names of its hidden lines

export function hiddenLines(key) {
  if (!hiddenByChart.has(key)) hiddenByChart.set(key, new Set());
  return hiddenByChart.get(key);
}

// Indices into chart.lines. Bars are drawn over each other, so the top of the stack is drawn first.
// Lines of the past do not stack; they are drawn last, over the bars.
export function drawingOrder(chart) {
  const indices = chart.lines.map((_, index) => index);
  if (chart.kind !== "bars") return indices;
  const isPast = (index) => chart.lines[index].past;
  return [...indices.filter((index) => !isPast(index)).reverse(), ...indices.filter(isPast)];
}
