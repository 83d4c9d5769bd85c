// Copy buttons. data-copy holds the text itself; data-copy-of the id of the element with the text.

const CONFIRMATION_MS = 1500;

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea"); // over http, browsers offer no clipboard API
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-of]");
  if (!button) return;
  const { copy: text, copyOf: elementId } = button.dataset;
  await copy(text ?? document.getElementById(elementId).textContent.trim());
  const label = [...button.childNodes];
  button.textContent = "Copied";
  setTimeout(() => button.replaceChildren(...label), CONFIRMATION_MS);
});
