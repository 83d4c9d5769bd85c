// The tooltip of charts and of the lane of events.

const DISTANCE_PX = 14;
const MARGIN_PX = 4; // to the edge of the window
const OFFSET_PX = 8;

const tip = document.createElement("div");
tip.id = "tip";
tip.setAttribute("role", "status");
document.body.append(tip);

let owner; // a chart's crosshair is hidden later than an icon of the lane is pointed at

export function showTip(newOwner, ...children) {
  owner = newOwner;
  tip.replaceChildren(...children);
}

export function hideTip(formerOwner) {
  if (owner === formerOwner) tip.classList.remove("shown");
}

// Beside a point of the window.
export function placeTip(x, y) {
  tip.classList.add("shown");
  const fitsRight = x + DISTANCE_PX + tip.offsetWidth < innerWidth;
  const left = fitsRight ? x + DISTANCE_PX : x - DISTANCE_PX - tip.offsetWidth;
  tip.style.left = `${Math.max(left, MARGIN_PX) + scrollX}px`;
  tip.style.top = `${y + scrollY + OFFSET_PX}px`;
}

export function row(style, name, value) {
  const line = paragraph(style, "");
  const label = document.createElement("span");
  label.textContent = name;
  const figure = document.createElement("b");
  figure.textContent = value;
  line.append(label, " ", figure);
  return line;
}

export function paragraph(kind, text) {
  const element = document.createElement("p");
  element.className = kind;
  element.textContent = text;
  return element;
}
