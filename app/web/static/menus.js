// Menus are <details>, which work without scripts. A click elsewhere closes them, and so does Escape.

const openMenus = () => document.querySelectorAll(".menu[open], .fold[open]");

document.addEventListener("click", ({ target }) => {
  for (const menu of openMenus()) {
    if (!menu.contains(target)) menu.open = false;
  }
});
document.addEventListener("keydown", ({ key }) => {
  const [menu] = key === "Escape" ? openMenus() : [];
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});
