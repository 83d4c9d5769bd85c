// Times in UTC, as Heroku writes them, or in the reader's own zone: a choice that the browser keeps.

const KEPT_AS = "dynometer-zone";
const OWN = Intl.DateTimeFormat().resolvedOptions().timeZone;
const FORMS = {
  clock: { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" },
  minute: { day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit" },
  day: { day: "2-digit", month: "short" },
  hour: { hour: "2-digit", minute: "2-digit" },
};
const LOCALE = "en-GB"; // as the server writes them: 22 Nov 10:00

const made = new Map(); // formatters cost a millisecond each

function formatter(form, zone) {
  const key = `${form} ${zone}`;
  if (!made.has(key)) made.set(key, new Intl.DateTimeFormat(LOCALE, { ...FORMS[form], hourCycle: "h23", timeZone: zone }));
  return made.get(key);
}

export const isLocal = () => localStorage.getItem(KEPT_AS) === "local";
export const zone = () => (isLocal() ? OWN : "UTC");

export function formatted(date, form, inZone = zone()) {
  const part = Object.fromEntries(formatter(form, inZone).formatToParts(date).map((each) => [each.type, each.value]));
  if (form === "hour") return `${part.hour}:${part.minute}`;
  if (form === "day") return `${part.day} ${part.month}`;
  if (form === "minute") return `${part.day} ${part.month} ${part.hour}:${part.minute}`;
  return `${part.year}-${part.month}-${part.day} ${part.hour}:${part.minute}:${part.second}`;
}

export function rewrite(root = document) {
  const named = isLocal() ? "" : " UTC";
  for (const each of root.querySelectorAll("time[data-form]")) {
    const date = new Date(each.dateTime);
    each.textContent = formatted(date, each.dataset.form) + named;
    each.title = `${formatted(date, "clock", isLocal() ? "UTC" : OWN)} ${isLocal() ? "UTC" : OWN}`;
  }
}

const button = document.querySelector("#zone");

function name() {
  button.textContent = isLocal() ? "Local time" : "UTC time";
  button.title = isLocal() ? `Times are those of ${OWN}; show UTC` : `Times are UTC; show those of ${OWN}`;
}

button.addEventListener("click", () => {
  localStorage.setItem(KEPT_AS, isLocal() ? "utc" : "local");
  name();
  rewrite();
  document.dispatchEvent(new Event("zonechange"));
});
document.addEventListener("exchange", (event) => rewrite(event.detail.after));
name();
if (isLocal()) rewrite();
