// Keeps a page fresh that says how often (`data-refresh`, seconds): asks for itself again, and takes over what changed. Not in a hidden tab,
// not while somebody writes or has chosen something, and more rarely while nobody answers. Without it every page works; it is just not fresh.
"use strict";
(() => {
  const seconds = Number(document.body.dataset.refresh);
  if (!seconds) return;
  const LONGEST = 60;
  let wait = seconds, etag = null, timer = null;
  const main = () => document.getElementById("main");
  const busy = () => main().querySelector("details.dialog[open], input[type=checkbox]:checked") !== null
    || (main().contains(document.activeElement) && /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName));
  const plan = () => { clearTimeout(timer); if (!document.hidden) timer = setTimeout(look, wait * 1000); };
  async function look() {
    try {
      const headers = { "X-Refresh": "1" };
      if (etag) headers["If-None-Match"] = etag;
      const answer = await fetch(location.href, { headers, redirect: "manual", cache: "no-store" });
      if (answer.type === "opaqueredirect") { location.reload(); return; }
      if (answer.status === 200 && !busy()) {
        etag = answer.headers.get("ETag");
        take(new DOMParser().parseFromString(await answer.text(), "text/html"));
      }
      wait = answer.ok || answer.status === 304 ? seconds : Math.min(LONGEST, wait * 2);
    } catch { wait = Math.min(LONGEST, wait * 2); }
    plan();
  }
  function take(fresh) {
    const next = fresh.getElementById("main");
    if (!next || next.innerHTML === main().innerHTML) return;
    const open = new Set([...main().querySelectorAll("details[open][id]")].map((each) => each.id));
    const focused = main().contains(document.activeElement) ? document.activeElement.id : "";
    const { scrollX, scrollY } = window;
    main().replaceChildren(...next.childNodes);
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    window.scrollTo(scrollX, scrollY);
    document.dispatchEvent(new Event("fresh"));
  }
  document.addEventListener("visibilitychange", () => { if (document.hidden) clearTimeout(timer); else { wait = seconds; look(); } });
  plan();
})();
