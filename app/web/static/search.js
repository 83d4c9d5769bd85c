// Filters the list of apps while somebody types. Rows are hidden at once; a moment later the address
// takes the words, and the server's answer to it replaces the rows. Without scripts, Enter does both.

import { replace } from "./live.js";

const PAUSE_MS = 300;
let timer = 0;

const box = () => document.querySelector("#search");

// As the server's: words with a wildcard are a pattern, others a part of a name.
function matcher(words) {
  if (!/[*?[]/.test(words)) return (name) => name.includes(words);
  const source = words.replace(/[.+^${}()|\\]/g, "\\$&").replace(/\*/g, ".*").replace(/\?/g, ".").replace(/\[!/g, "[^");
  try {
    const pattern = new RegExp(`^${source}$`);
    return (name) => pattern.test(name);
  } catch {
    return () => true; // a bracket that is still open
  }
}

function filter() {
  const matches = matcher(box().value.trim().toLowerCase());
  const rows = [...document.querySelectorAll("[data-app]")];
  for (const row of rows) row.hidden = !matches(row.dataset.app);
  for (const section of document.querySelectorAll("main details:not(.refusals), .waiting")) {
    const own = [...section.querySelectorAll("[data-app]")];
    section.hidden = own.length > 0 && own.every((row) => row.hidden);
    if (box().value && section.matches("details") && !section.hidden) section.open = true;
  }
  const none = document.querySelector(".none");
  if (none) none.hidden = rows.length === 0 || rows.some((row) => !row.hidden);
}

function send() {
  const words = box().value.trim();
  replace(words ? `/?${new URLSearchParams({ app: words })}` : "/");
}

document.addEventListener("input", (event) => {
  if (event.target !== box()) return;
  filter();
  clearTimeout(timer);
  timer = setTimeout(send, PAUSE_MS);
});
document.addEventListener("submit", (event) => {
  if (!event.target.matches("form.search")) return;
  event.preventDefault();
  clearTimeout(timer);
  send();
});

// An answer arrives while somebody types on: what is in the box, and the caret in it, stay.
document.addEventListener("mainreplacing", ({ detail: { before, after } }) => {
  const [old, fresh] = [before, after].map((main) => main.querySelector("#search"));
  if (!old || !fresh) return;
  const isFocused = old === document.activeElement;
  const { value, selectionStart: start, selectionEnd: end } = old;
  if (isFocused) fresh.value = value;
  document.addEventListener("mainreplaced", () => {
    if (isFocused) {
      fresh.focus({ preventScroll: true });
      fresh.setSelectionRange(start, end);
    }
    if (fresh.value !== fresh.defaultValue) filter();
  }, { once: true });
});
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest?.("input, textarea, select");
  if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey || !box()) return;
  event.preventDefault();
  box().focus();
  box().select();
});
