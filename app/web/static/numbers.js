// Formats numbers in the same way as the server.

export function number(value) {
  if (value === null || value === undefined) return "–";
  const digits = value >= 10 || Number.isInteger(value) ? 0 : value >= 0.1 || value === 0 ? 1 : 3;
  return value.toLocaleString("en-US", { minimumFractionDigits: 0, maximumFractionDigits: digits });
}

export const withUnit = (value, unit) => `${number(value)}${unit && value !== null && value !== undefined ? ` ${unit}` : ""}`;
export const exact = (value, digits) => value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
