// Keeps a page fresh that says how often (`data-refresh`, seconds): asks for itself again, and takes over what changed in every part with
// `data-fresh`. Not in a hidden tab, and more rarely while nobody answers. What did not change stays in its place, with focus, scroll and
// open details; while somebody writes, or has chosen something, nothing is touched. It says so in words when it cannot keep up.
// Before all that: a button with `data-print` prints, and is shown by this alone, since without scripts it could do nothing.
"use strict";
window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });  // Kept by the browser, perhaps since before a log-out.
(() => {
  const show = () => { for (const each of document.querySelectorAll("[data-print]")) each.hidden = false; };
  document.addEventListener("click", (event) => { if (event.target.closest("[data-print]")) print(); });
  document.addEventListener("fresh", show);
  show();
})();
(() => {
  const seconds = Number(document.body.dataset.refresh);
  if (!seconds) return;
  const LONGEST = 60;
  const told = document.getElementById("stale");
  let wait = seconds, etag = null, timer = null, freshAt = new Date(), lostAt = null, waiting = null, asking = false;

  const clock = (at) => at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: document.body.dataset.zone });
  const plan = () => { clearTimeout(timer); if (!document.hidden && document.body.dataset.refresh) timer = setTimeout(look, wait * 1000); };

  function say(text, act) {
    if (!told || told.dataset.text === text) return;
    told.dataset.text = text;
    told.replaceChildren(text);
    told.hidden = !text;
    if (act) told.append(" ", act);
  }

  // -- asking

  async function look() {
    if (asking) return;
    asking = true;
    try {
      const headers = { "X-Refresh": "1", "Accept": "text/html" };
      if (etag) headers["If-None-Match"] = etag;
      const answer = await fetch(location.href, { headers, redirect: "manual", cache: "no-store" });
      if (answer.type === "opaqueredirect") { ended(); return; }
      if ("closed" in document.body.dataset) {  // Of a journal that is shut: until there is a page.
        if (answer.ok) { location.reload(); return; }
        heard();
      } else if (answer.status === 304) {
        etag = answer.headers.get("ETag") ?? etag;
        heard();
      } else if (answer.ok) {
        offer(new DOMParser().parseFromString(await answer.text(), "text/html"), answer.headers.get("ETag"));
        heard();
      } else lost(`The server cannot give this page now (${answer.status}).`);
    } catch { lost("The server does not answer."); } finally { asking = false; }
    plan();
  }
  function heard() {
    wait = seconds;
    freshAt = new Date();
    if (lostAt) { say(`Connected again at ${clock(freshAt)}: this page is up to date.`); lostAt = null; setTimeout(() => { if (!lostAt && !waiting) say(""); }, 10000); }
  }
  function lost(why) {
    lostAt ??= freshAt;
    wait = Math.min(LONGEST, wait * 2);
    say(`Not updated since ${clock(lostAt)}. ${why} It is asked again by itself.`);
  }
  function ended() {
    const path = `/login?next=${encodeURIComponent(location.pathname + location.search)}`;
    if (!busy()) { location.assign(path); return; }
    const link = document.createElement("a");
    link.href = path;
    link.textContent = "Log in again";
    say("You were logged out. What you wrote stays here until you leave.", link);
  }

  // -- taking over

  const parts = () => [...document.querySelectorAll("[data-fresh]")];
  function busy() {
    const selection = getSelection();
    if (selection && !selection.isCollapsed && parts().some((part) => part.contains(selection.anchorNode))) return true;
    const active = document.activeElement;
    const writes = active && parts().some((part) => part.contains(active)) && active.matches("input:not([type=checkbox], [type=radio]), select, textarea");
    return Boolean(writes) || parts().some((part) => [...part.querySelectorAll("input, select, textarea")].some(isChanged)
      || part.querySelector("details.dialog[open], dialog[open]"));
  }
  function isChanged(field) {
    if (field.type === "hidden") return false;
    if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
    if (field.tagName === "SELECT") return [...field.options].some((one) => one.selected !== one.defaultSelected) && field.selectedIndex > 0;
    return field.value !== field.defaultValue;
  }
  function offer(fresh, tag) {
    if (parts().every((part) => part.innerHTML === fresh.getElementById(part.id)?.innerHTML)) { etag = tag; settle(); return; }
    if (!busy()) { take(fresh, tag); return; }
    waiting = { fresh, tag };
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet";
    button.textContent = "Show it now";
    button.addEventListener("click", () => { if (waiting) take(waiting.fresh, waiting.tag); });
    say("Something changed. It is not shown while you write or have something selected.", button);
  }
  function settle() { if (waiting) { waiting = null; say(""); } }
  function take(fresh, tag) {
    etag = tag;
    for (const part of parts()) {
      const next = fresh.getElementById(part.id);
      if (next) renew(part, next);
    }
    document.title = fresh.title;
    if (!fresh.body.dataset.refresh) delete document.body.dataset.refresh;  // It is over: nothing changes any more.
    settle();
    document.dispatchEvent(new Event("fresh"));
  }

  // What has a name (an id, a form its address, a row its link) stays the same element wherever it goes; of the rest, what stands in the
  // same place. So no button that somebody is about to press becomes another form's.
  const name = (node) => node.nodeType !== Node.ELEMENT_NODE ? node.nodeName
    : `${node.nodeName} ${node.id || node.dataset?.key || (node.nodeName === "FORM" && node.getAttribute("action"))
      || (/^(tr|li)$/i.test(node.nodeName) && node.querySelector("a[href]")?.getAttribute("href")) || ""}`;
  function renew(old, next) {
    if (old.nodeType !== Node.ELEMENT_NODE) { if (old.nodeValue !== next.nodeValue) old.nodeValue = next.nodeValue; return; }
    for (const { name: each } of [...old.attributes]) if (!next.hasAttribute(each) && each !== "open") old.removeAttribute(each);
    for (const { name: each, value } of next.attributes) if (old.getAttribute(each) !== value && each !== "open") old.setAttribute(each, value);
    const known = new Map();
    for (const child of old.childNodes) { const key = name(child); known.set(key, [...(known.get(key) ?? []), child]); }
    const pairs = [...next.childNodes].map((child) => [child, known.get(name(child))?.shift() ?? null]);
    const kept = new Set(pairs.map(([, child]) => child));
    for (const child of [...old.childNodes]) if (!kept.has(child)) child.remove();
    let place = old.firstChild;
    for (const [child, same] of pairs) {
      if (same) renew(same, child);
      if (same?.nodeType === Node.ELEMENT_NODE) {  // The white space before it is moved, and not the element, which would lose the focus.
        while (place && place !== same && place.nodeType !== Node.ELEMENT_NODE) place = place.nextSibling;
      }
      if (same && same === place) place = place.nextSibling;
      else old.insertBefore(same ?? document.importNode(child, true), place);
    }
  }

  document.addEventListener("visibilitychange", () => { if (document.hidden) clearTimeout(timer); else { wait = seconds; look(); } });
  window.addEventListener("online", () => { wait = seconds; look(); });
  plan();
})();
