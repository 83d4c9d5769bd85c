// Keeps a page current without a reload: while somebody looks, its main part is fetched anew every
// 30 seconds and exchanged. Without scripts the browser reloads the page instead.

const EVERY_MS = 30_000;
const status = document.querySelector("#live");

function busy() {
  const active = document.activeElement;
  const typing = active?.matches("input") && active.value !== active.defaultValue;
  return typing || !document.getSelection()?.isCollapsed;
}

// What the reader opened stays open, and the keyboard stays where it is.
function keep(before, after) {
  const summaries = (main) => [...main.querySelectorAll("details")];
  const opened = summaries(before).map((each) => each.open);
  summaries(after).forEach((each, index) => { each.open = opened[index] ?? each.open; });
}

function focusAgain(href) {
  if (!href) return;
  const links = [...document.querySelectorAll("main a")];
  links.find((each) => each.getAttribute("href") === href)?.focus({ preventScroll: true });
}

async function refresh() {
  if (document.hidden || busy()) return;
  const before = document.querySelector("main");
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const after = page.querySelector("main");
    if (!after) throw new Error(`answered ${answer.status}`);
    const focused = document.activeElement?.closest("main a")?.getAttribute("href");
    keep(before, after);
    before.replaceWith(after);
    document.title = page.title;
    focusAgain(focused);
    status.textContent = "";
  } catch (error) {
    status.textContent = `The service was not reached (${error.message}): what is shown is old.`;
  }
}

setInterval(refresh, EVERY_MS);
document.addEventListener("visibilitychange", refresh);
