"use strict";
// A log while it is written: lines come as events, the end is followed as long as the reader stays there.
(() => {
  const log = document.querySelector(".log.live");
  const pre = log?.querySelector("pre");
  const said = document.getElementById("said");
  const sections = document.querySelector("#sections p");
  const follow = document.getElementById("follow");
  if (!pre || !window.EventSource) return;
  const most = 20000;
  let last = Number(log.dataset.last);
  const say = (text, path) => {
    said.textContent = text;
    if (!path) return;
    const link = document.createElement("a");
    link.href = path;
    link.textContent = path === log.dataset.run ? "The run" : "Its log";
    said.append(" ", link);
  };
  const toEnd = () => {
    if (follow.checked) window.scrollTo(0, document.documentElement.scrollHeight);
  };
  const add = (html) => {
    document.getElementById("tail")?.remove();
    const come = document.createElement("template");
    come.innerHTML = html;
    for (const item of [...come.content.children]) {
      const number = Number(item.id.slice(1));
      if (item.id && number <= last) continue;
      if (item.id) last = number;
      pre.append(item);
      if (item.dataset.section) {
        const link = document.createElement("a");
        link.href = "#" + item.id;
        link.textContent = item.dataset.section;
        sections?.append(link, " ");
      }
    }
    if (pre.childElementCount > most) {
      while (pre.childElementCount > most) pre.firstElementChild.remove();
      document.getElementById("earlier").hidden = false;
    }
    toEnd();
  };
  document.getElementById("switch").hidden = false;
  follow.checked = !location.hash;
  follow.addEventListener("change", toEnd);
  sections?.addEventListener("click", () => { follow.checked = false; });
  addEventListener("wheel", (event) => { if (event.deltaY < 0) follow.checked = false; }, { passive: true });
  addEventListener("keydown", (event) => { if (["PageUp", "Home", "ArrowUp"].includes(event.key)) follow.checked = false; });
  addEventListener("touchmove", () => { follow.checked = false; }, { passive: true });
  let pause = 2000;
  const connect = () => {
    const events = new EventSource(log.dataset.events + "?after=" + log.dataset.attempt + ":" + last);
    events.addEventListener("open", () => {
      pause = 2000;
      if (last > 0) say("Connected: lines are shown as they are written.");
    });
    events.addEventListener("message", (event) => add(event.data));
    events.addEventListener("state", (event) => {
      const state = JSON.parse(event.data);
      say(state.text, state.path);
      if (state.over) events.close();
    });
    events.addEventListener("error", () => {
      say("The connection is lost; trying again. That stops no run.");
      // Browsers try again by themselves, but not after an answer that is an error: of a site that starts anew, or is busy.
      if (events.readyState !== EventSource.CLOSED) return;
      setTimeout(connect, pause);
      pause = Math.min(2 * pause, 30000);
    });
  };
  connect();
  toEnd();
})();
