// Times are UTC everywhere, as in Heroku's log. Pointing at one shows the reader's own time.

const LOCAL_ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;
const FORMS = {
  clock: { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" },
  minute: { day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit" },
  day: { day: "numeric", month: "short" },
  date: { day: "numeric", month: "short", year: "numeric" },
  hour: { hour: "2-digit", minute: "2-digit" },
};
const MONTH_LETTERS = 3;
const LOCALE = "en-GB"; // gives the server's format: 22 Nov 10:00

const formatters = new Map(); // creating one takes a millisecond

function formatter(form, timeZone) {
  const key = `${form} ${timeZone}`;
  if (!formatters.has(key)) formatters.set(key, new Intl.DateTimeFormat(LOCALE, { ...FORMS[form], hourCycle: "h23", timeZone }));
  return formatters.get(key);
}

export function formatTime(date, form, timeZone = "UTC") {
  const parts = Object.fromEntries(formatter(form, timeZone).formatToParts(date).map((part) => [part.type, part.value]));
  parts.month = parts.month?.slice(0, MONTH_LETTERS); // en-GB has one of four: Sept
  if (form === "hour") return `${parts.hour}:${parts.minute}`;
  if (form === "day") return `${parts.day} ${parts.month}`;
  if (form === "date") return `${parts.day} ${parts.month} ${parts.year}`;
  if (form === "minute") return `${parts.day} ${parts.month} ${parts.hour}:${parts.minute}`;
  return `${parts.year}-${parts.month}-${parts.day} ${parts.hour}:${parts.minute}:${parts.second}`;
}

export const timeOfDay = (date) => `${formatTime(date, "clock").slice(-"00:00:00".length)} UTC`;

// The reader's own time of day, or nothing if that is UTC.
export const localTime = (date) => (LOCAL_ZONE === "UTC" ? "" : `${formatTime(date, "hour", LOCAL_ZONE)} in ${LOCAL_ZONE}`);

document.addEventListener("pointerover", ({ target }) => {
  const element = target.closest?.("time[datetime]:not([title])");
  if (element) element.title = localTime(new Date(element.dateTime));
});
