// Formats numbers in the same way as the server.

const inDigits = (value, least, most) => value.toLocaleString("en-US", { minimumFractionDigits: least, maximumFractionDigits: most, roundingMode: "halfEven" });

export function number(value) {
  if (value === null || value === undefined) return "–";
  const digits = value >= 10 || Number.isInteger(value) ? 0 : value >= 0.1 || value === 0 ? 1 : 3;
  return inDigits(value, 0, digits);
}

export const withUnit = (value, unit) => `${number(value)}${unit && value !== null && value !== undefined ? ` ${unit}` : ""}`;
export const exact = (value, digits) => inDigits(value, digits, digits);
