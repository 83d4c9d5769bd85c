// Keeps a page current: fetches it regularly and replaces its main part. A hidden page fetches
// nothing. Without scripts, the browser reloads the page instead.

import { timeOfDay } from "./times.js";

const REFRESH_MIN_MS = 20_000; // Heroku logs the metrics of dynos every 20 seconds
const REFRESH_MAX_MS = 300_000; // the head of the page is about now, whatever the range
const STEP_SHARE = 10; // a tenth of a step changes little in a chart
const CHOOSING_MS = 15_000;
const status = document.querySelector("#live");
let requests = 0; // the number of the latest request; answers to earlier ones are dropped
let shownAt = new Date(); // when the figures on the page were fetched
let nextAt = 0; // when to fetch them again

let choosingSince = 0; // when the reader last touched a list of choices

// Replacing the page now would disturb the reader.
function isBusy() {
  const active = document.activeElement;
  const isTyping = active?.matches("input, textarea") && active.value !== active.defaultValue;
  const isChoosing = active?.matches("select") && Date.now() - choosingSince < CHOOSING_MS;
  return isTyping || isChoosing || document.querySelector(".menu[open]") || !document.getSelection()?.isCollapsed;
}

function keepOpenSections(before, after) {
  const sections = (main) => [...main.querySelectorAll("details:not(.menu)")];
  const opened = sections(before).map((section) => section.open);
  sections(after).forEach((section, index) => { section.open = opened[index] ?? section.open; });
}

// A focused element of the main part, as it is found again in another version of the page.
const nameOf = (element) => [
  element.localName, element.id, element.name, element.getAttribute("aria-label"), element.closest("[data-chart], table, section")?.dataset.chart,
  element.matches("a, button, summary") && element.textContent.trim(),
].join("|");

function focusName() {
  const element = document.activeElement;
  return element?.closest("main") && !element.matches("main") ? nameOf(element) : "";
}

function restoreFocus(name) {
  if (!name || document.activeElement !== document.body) return;
  const element = [...document.querySelectorAll(`main ${name.split("|")[0]}`)].find((candidate) => nameOf(candidate) === name);
  element?.focus({ preventScroll: true });
}

const scripts = (page) => [...page.querySelectorAll("head script[src]")].map((script) => script.getAttribute("src")).join();

function replaceMain(page) {
  const before = document.querySelector("main");
  const after = document.adoptNode(page.querySelector("main"));
  const name = focusName();
  const { scrollX: left, scrollY: top } = window;
  keepOpenSections(before, after);
  document.dispatchEvent(new CustomEvent("mainreplacing", { detail: { before, after } }));
  before.replaceWith(after);
  document.dispatchEvent(new Event("mainreplaced"));
  showPause();
  document.title = page.title;
  restoreFocus(name);
  scrollTo({ left, top, behavior: "instant" });
}

async function show(url) {
  const request = ++requests;
  nextAt = Date.now() + refreshMs();
  document.body.setAttribute("aria-busy", "true");
  try {
    const response = await fetch(url, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    if (request !== requests) return;
    if (!page.querySelector("main")) throw new Error(`status ${response.status}`);
    if (response.redirected) return location.assign(response.url);
    if (scripts(page) !== scripts(document)) return location.reload(); // another kind of page needs other scripts
    replaceMain(page);
    shownAt = new Date();
    nextAt = Date.now() + refreshMs() - REFRESH_MIN_MS / 2; // the interval that comes closest
    status.textContent = "";
  } catch {
    nextAt = 0;
    if (request === requests) status.textContent = `Can't reach Dynometer. Showing figures from ${timeOfDay(shownAt)}; retrying…`;
  } finally {
    if (request === requests) document.body.removeAttribute("aria-busy");
  }
}

// Goes to another range or part of an app, without a reload.
export function navigate(url) {
  history.pushState(null, "", url);
  return show(url);
}

// Shows the page of another address in the same place of the history.
export function replace(url) {
  history.replaceState(null, "", url);
  return show(url);
}

function refresh() {
  if (!document.hidden && !isPaused && !isBusy()) show(location.href);
}

// The reader pauses the page to study it, and continues it.
let isPaused = false;

function showPause() {
  const button = document.querySelector("[data-live]");
  button?.setAttribute("aria-pressed", String(!isPaused));
  if (button) button.textContent = isPaused ? "Paused" : "Live";
}

document.addEventListener("click", ({ target }) => {
  if (!target.closest?.("[data-live]")) return;
  isPaused = !isPaused;
  showPause();
  if (!isPaused) refresh();
});

// A chart of 12-hour steps does not change every 20 seconds.
function refreshMs() {
  const step = JSON.parse(document.querySelector("#for-charts")?.textContent ?? "{}").step ?? 0;
  return Math.min(Math.max(REFRESH_MIN_MS, (step * 1000) / STEP_SHARE), REFRESH_MAX_MS);
}

setInterval(() => {
  if (Date.now() >= nextAt) refresh();
}, REFRESH_MIN_MS);
nextAt = Date.now() + refreshMs() - REFRESH_MIN_MS / 2;

function submit(form) {
  const fields = [...new FormData(form)].filter(([, value]) => value);
  choosingSince = 0;
  return navigate(`${form.getAttribute("action")}?${new URLSearchParams(fields)}`);
}

// With the keyboard, a choice counts when the reader leaves the list or presses Enter: arrow keys
// pass over others on the way.
let isByKeyboard = false;
document.addEventListener("keydown", (event) => {
  const list = event.target.closest?.("form.filter select");
  isByKeyboard = Boolean(list);
  if (!list) return;
  choosingSince = Date.now();
  if (event.key === "Enter") submit(list.form);
});
document.addEventListener("pointerdown", (event) => {
  isByKeyboard = false;
  if (event.target.closest?.("select")) choosingSince = Date.now();
});
document.addEventListener("change", (event) => {
  const form = event.target.closest("form.filter");
  if (!form) return;
  if (isByKeyboard) form.dataset.changed = "";
  else submit(form);
});
document.addEventListener("focusout", (event) => {
  const form = event.target.closest?.("form.filter");
  if (form && "changed" in form.dataset && event.target.matches("select") && form.isConnected) {
    delete form.dataset.changed;
    submit(form);
  }
});
document.addEventListener("submit", (event) => {
  if (!event.target.matches("form.filter, form.picker")) return;
  event.preventDefault();
  submit(event.target);
});

// Links to other settings of the same page, such as ranges and sorting, need no reload.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("main a[href]");
  if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const url = new URL(link.href);
  if (url.origin !== location.origin || url.pathname !== location.pathname || url.hash) return;
  event.preventDefault();
  navigate(`${url.pathname}${url.search}`);
});
window.addEventListener("popstate", () => show(location.href));
document.addEventListener("visibilitychange", () => { if (Date.now() >= nextAt) refresh(); });
