// Keeps a page current: fetches it regularly and replaces its main part. A hidden page fetches
// nothing. Without scripts, the browser reloads the page instead.

import { timeOfDay } from "./times.js";

const REFRESH_MS = 20_000; // Heroku logs the metrics of dynos every 20 seconds
const status = document.querySelector("#live");
let requests = 0; // the number of the latest request; answers to earlier ones are dropped
let shownAt = new Date(); // when the figures on the page were fetched

// Replacing the page now would disturb the reader.
function isBusy() {
  const active = document.activeElement;
  const isTyping = active?.matches("input, textarea") && active.value !== active.defaultValue;
  const isChoosing = active?.matches("select") || document.querySelector(".menu[open]");
  return isTyping || isChoosing || !document.getSelection()?.isCollapsed;
}

function keepOpenSections(before, after) {
  const sections = (main) => [...main.querySelectorAll("details:not(.menu)")];
  const opened = sections(before).map((section) => section.open);
  sections(after).forEach((section, index) => { section.open = opened[index] ?? section.open; });
}

// The focused element of the main part, by its position among elements of its kind.
function focusPosition() {
  const element = document.activeElement;
  if (!element?.closest("main")) return null;
  const peers = [...document.querySelectorAll(`main ${element.localName}`)];
  return { name: element.localName, index: peers.indexOf(element) };
}

function restoreFocus(position) {
  if (!position || document.activeElement !== document.body) return;
  document.querySelectorAll(`main ${position.name}`)[position.index]?.focus({ preventScroll: true });
}

const scripts = (page) => [...page.querySelectorAll("head script[src]")].map((script) => script.getAttribute("src")).join();

function replaceMain(page) {
  const before = document.querySelector("main");
  const after = document.adoptNode(page.querySelector("main"));
  const position = focusPosition();
  keepOpenSections(before, after);
  document.dispatchEvent(new CustomEvent("mainreplacing", { detail: { before, after } }));
  before.replaceWith(after);
  document.dispatchEvent(new Event("mainreplaced"));
  document.title = page.title;
  restoreFocus(position);
}

async function show(url) {
  const request = ++requests;
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
    status.textContent = "";
  } catch {
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

function refresh() {
  if (!document.hidden && !isBusy()) show(location.href);
}

document.addEventListener("change", (event) => {
  const form = event.target.closest("form.filter");
  if (!form) return;
  const fields = [...new FormData(form)].filter(([, value]) => value);
  event.target.blur(); // a focused select counts as busy and would stop refreshes
  navigate(`${form.getAttribute("action")}?${new URLSearchParams(fields)}`);
});
window.addEventListener("popstate", () => show(location.href));
document.addEventListener("visibilitychange", refresh);
setInterval(refresh, REFRESH_MS);
