// Keeps a page current without a reload: while somebody looks, its main part is fetched anew and
// exchanged; nothing is asked for while the page is hidden. Without scripts the browser reloads.

const EVERY_MS = 20_000; // Heroku writes the dynos' metrics every 20 seconds
const status = document.querySelector("#live");
let latest = 0; // the number of the last request, so that answers that were overtaken are not shown

function busy() {
  const active = document.activeElement;
  const typing = active?.matches("input, textarea") && active.value !== active.defaultValue;
  const choosing = active?.matches("select") || document.querySelector(".menu[open]");
  return typing || choosing || !document.getSelection()?.isCollapsed;
}

// What the reader opened stays open, and the keyboard stays where it is.
function keep(before, after) {
  const summaries = (main) => [...main.querySelectorAll("details:not(.menu)")];
  const opened = summaries(before).map((each) => each.open);
  summaries(after).forEach((each, index) => { each.open = opened[index] ?? each.open; });
}

function placeOf(element) {
  if (!element?.closest("main")) return null;
  const alike = [...document.querySelectorAll(`main ${element.localName}`)];
  return { name: element.localName, index: alike.indexOf(element) };
}

function focusAgain(place) {
  if (!place || document.activeElement !== document.body) return;
  document.querySelectorAll(`main ${place.name}`)[place.index]?.focus({ preventScroll: true });
}

const scripts = (page) => [...page.querySelectorAll("head script[src]")].map((each) => each.getAttribute("src")).join();

function exchange(page) {
  const before = document.querySelector("main");
  const after = document.adoptNode(page.querySelector("main"));
  const place = placeOf(document.activeElement);
  keep(before, after);
  document.dispatchEvent(new CustomEvent("exchange", { detail: { before, after } }));
  before.replaceWith(after);
  document.dispatchEvent(new Event("exchanged"));
  document.title = page.title;
  focusAgain(place);
}

async function show(address) {
  const number = ++latest;
  document.body.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(address, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (number !== latest) return;
    if (!page.querySelector("main")) throw new Error(`answered ${answer.status}`);
    if (answer.redirected) return location.assign(answer.url);
    if (scripts(page) !== scripts(document)) return location.reload(); // it is another kind of page
    exchange(page);
    status.textContent = "";
  } catch (error) {
    if (number === latest) status.textContent = `The service was not reached (${error.message}): what is shown is old.`;
  } finally {
    if (number === latest) document.body.removeAttribute("aria-busy");
  }
}

// Goes to another range or part of the page, without losing its state.
export function go(address) {
  history.pushState(null, "", address);
  return show(address);
}

function refresh() {
  if (!document.hidden && !busy()) show(location.href);
}

document.addEventListener("change", (event) => {
  const form = event.target.closest("form.filter");
  if (!form) return;
  const given = [...new FormData(form)].filter(([, value]) => value);
  event.target.blur();
  go(`${form.getAttribute("action")}?${new URLSearchParams(given)}`);
});
window.addEventListener("popstate", () => show(location.href));
document.addEventListener("visibilitychange", refresh);
setInterval(refresh, EVERY_MS);
