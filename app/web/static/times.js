// Shows times in UTC, as in Heroku's log, or in the reader's time zone. The browser remembers it.

const STORAGE_KEY = "dynometer-zone";
const LOCAL_ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;
const FORMS = {
  clock: { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" },
  minute: { day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit" },
  day: { day: "2-digit", month: "short" },
  hour: { hour: "2-digit", minute: "2-digit" },
};
const LOCALE = "en-GB"; // gives the server's format: 22 Nov 10:00

const formatters = new Map(); // creating one takes a millisecond

function formatter(form, timeZone) {
  const key = `${form} ${timeZone}`;
  if (!formatters.has(key)) formatters.set(key, new Intl.DateTimeFormat(LOCALE, { ...FORMS[form], hourCycle: "h23", timeZone }));
  return formatters.get(key);
}

export const isLocal = () => localStorage.getItem(STORAGE_KEY) === "local";
export const zone = () => (isLocal() ? LOCAL_ZONE : "UTC");

export function formatTime(date, form, timeZone = zone()) {
  const parts = Object.fromEntries(formatter(form, timeZone).formatToParts(date).map((part) => [part.type, part.value]));
  if (form === "hour") return `${parts.hour}:${parts.minute}`;
  if (form === "day") return `${parts.day} ${parts.month}`;
  if (form === "minute") return `${parts.day} ${parts.month} ${parts.hour}:${parts.minute}`;
  return `${parts.year}-${parts.month}-${parts.day} ${parts.hour}:${parts.minute}:${parts.second}`;
}

const zoneSuffix = () => (isLocal() ? "" : " UTC");
export const timeOfDay = (date) => formatTime(date, "clock").slice(-"00:00:00".length) + zoneSuffix();

function rewriteTimes(root = document) {
  for (const element of root.querySelectorAll("time[data-form]")) {
    const date = new Date(element.dateTime);
    element.textContent = formatTime(date, element.dataset.form) + zoneSuffix();
    element.title = `${formatTime(date, "clock", isLocal() ? "UTC" : LOCAL_ZONE)} ${isLocal() ? "UTC" : LOCAL_ZONE}`;
  }
}

const button = document.querySelector("#zone");

function labelButton() {
  button.textContent = isLocal() ? "Local time" : "UTC time";
  button.title = isLocal() ? `Times are in ${LOCAL_ZONE}. Click for UTC` : `Times are in UTC. Click for ${LOCAL_ZONE}`;
}

button.addEventListener("click", () => {
  localStorage.setItem(STORAGE_KEY, isLocal() ? "utc" : "local");
  labelButton();
  rewriteTimes();
  document.dispatchEvent(new Event("zonechange"));
});
document.addEventListener("mainreplacing", (event) => rewriteTimes(event.detail.after));
labelButton();
if (isLocal()) rewriteTimes();
