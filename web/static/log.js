"use strict";
// Ranges of lines (#L12-20, by shift and a click). What is folded is opened, what is on another part of the log is asked for.
(() => {
  const most = 10000;
  const line = (number) => document.getElementById("L" + number);
  const range = () => {
    const found = /^#L(\d+)(?:-L?(\d+))?$/.exec(location.hash);
    if (!found) return null;
    const [first, last] = [Number(found[1]), Number(found[2] || found[1])];
    return [Math.min(first, last), Math.max(first, last)];
  };
  const elsewhere = (number) => {
    const query = new URLSearchParams(location.search);
    const from = String(Math.max(1, number - 10));
    if (document.querySelector(".log.live") || query.get("from") === from) return;
    for (const name of ["q", "regex", "case"]) query.delete(name);
    query.set("from", from);
    location.replace(location.pathname + "?" + query + location.hash);
  };
  const mark = () => {
    for (const old of document.querySelectorAll(".log .chosen")) old.classList.remove("chosen");
    const chosen = range();
    if (!chosen) return null;
    for (let number = chosen[0]; number <= Math.min(chosen[1], chosen[0] + most); number++) {
      line(number)?.classList.add("chosen");
    }
    return chosen[0];
  };
  const show = () => {
    const number = mark();
    if (number === null) return;
    const first = line(number);
    if (!first) return elsewhere(number);
    for (let box = first.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
    first.scrollIntoView({ block: "center" });
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest(".log pre > span > a");
    const chosen = range();
    if (!link || !event.shiftKey || !chosen) return;
    const number = Number(link.parentElement.id.slice(1));
    event.preventDefault();
    const [first, last] = [Math.min(chosen[0], number), Math.max(chosen[0], number)];
    history.replaceState(null, "", first === last ? "#L" + first : "#L" + first + "-" + last);
    mark();
  });
  addEventListener("hashchange", show);
  show();
})();
