"use strict";
// Keeps a page that tells of what goes on up to date, for as long as somebody looks at it and does nothing in it.
(() => {
  const [usual, longest] = [10000, 120000];
  let wait = usual;
  const main = document.getElementById("main");
  const box = document.createElement("p");
  box.className = "fresh";
  box.innerHTML = "<label><input type=\"checkbox\" checked> Kept up to date</label>";
  const wanted = box.querySelector("input");
  main.before(box);
  const isUsed = () => document.hidden || main.contains(document.activeElement) || String(getSelection()) !== "";
  const show = (page) => {
    const next = page.getElementById("main");
    if (!next || next.innerHTML === main.innerHTML) return;
    const open = [...main.querySelectorAll("details")].map((details) => details.open);
    const come = [...next.querySelectorAll("details")];
    if (come.length === open.length) come.forEach((details, n) => { details.open = open[n]; });
    document.title = page.title;
    main.replaceChildren(...next.childNodes);
  };
  const ask = async () => {
    if (!wanted.checked || isUsed()) return true;
    const answer = await fetch(location.href, { cache: "no-cache", headers: { Accept: "text/html" } });
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (isUsed()) return true;
    show(page);
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
      wait = Math.min(2 * wait, longest);
      later();
    }
  }, wait);
  later();
})();
