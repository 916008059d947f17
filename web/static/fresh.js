"use strict";
// Keeps a page that tells of what goes on up to date, for as long as somebody looks at it and does nothing in it.
(() => {
  const [usual, longest] = [10000, 120000];
  let wait = usual;
  const main = document.getElementById("main");
  const box = document.createElement("p");
  box.className = "fresh";
  box.innerHTML = "<label><input type=\"checkbox\" checked> <span></span></label>";
  const wanted = box.querySelector("input");
  const say = (text) => { box.querySelector("span").textContent = text; };
  say("Kept up to date");
  main.before(box);
  const isChanged = (field) => field.options
    ? [...field.options].some((option) => option.selected !== option.defaultSelected) && field.selectedIndex > 0
    : field.value !== field.defaultValue || field.checked !== field.defaultChecked;
  const isUsed = () => main.contains(document.activeElement) || String(getSelection()) !== ""
    || [...main.querySelectorAll("input, select")].some(isChanged);
  // What a part to unfold is of: places in the list change.
  const name = (details) => {
    const link = details.parentElement.querySelector("a[href]");
    return details.querySelector("summary").textContent.replace(/\d+/g, "") + (link ? link.getAttribute("href") : "");
  };
  const show = (page) => {
    const next = page.getElementById("main");
    if (!next || next.innerHTML === main.innerHTML) return;
    const open = new Map([...main.querySelectorAll("details")].map((details) => [name(details), details.open]));
    for (const details of next.querySelectorAll("details")) details.open = open.get(name(details)) ?? details.open;
    const scrolled = [...main.querySelectorAll(".scroll")].map((part) => part.scrollLeft);
    document.title = page.title;
    main.replaceChildren(...next.childNodes);
    main.querySelectorAll(".scroll").forEach((part, n) => { part.scrollLeft = scrolled[n] ?? 0; });
  };
  const ask = async () => {
    if (!wanted.checked || document.hidden) return true;
    if (isUsed()) {
      say("Stands still while you are in it");
      return true;
    }
    const answer = await fetch(location.href, { cache: "no-cache", headers: { Accept: "text/html" } });
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (isUsed()) return true;
    show(page);
    say("Kept up to date");
    // What is over does not change any more.
    return page.querySelector("script[src*=\"/fresh-\"]") !== null;
  };
  const later = () => setTimeout(async () => {
    try {
      const more = await ask();
      wait = usual;
      if (more) later();
      else box.remove();
    } catch {
      say("No answer just now; trying again");
      wait = Math.min(2 * wait, longest);
      later();
    }
  }, wait);
  later();
})();
