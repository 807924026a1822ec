// Single keys, which /help names and switches off: j and k go through the rows of a list, / searches, ? helps. Never while somebody writes.
"use strict";
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
  if (event.target.closest("input, select, textarea, [contenteditable]")) return;
  const step = { j: 1, k: -1 }[event.key];
  if (step) {
    const rows = [...document.querySelectorAll("main tbody tr, main li[data-row]")].map((row) => row.querySelector("a[href]")).filter(Boolean);
    const row = event.target.closest("tr, li[data-row]");
    const at = rows.findIndex((link) => row !== null && row.contains(link));
    const next = rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + step))];
    if (!next) return;
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  } else if (event.key === "/") {
    const search = document.querySelector("main input[type=search]");
    if (search) search.focus(); else location.assign("/orders");
  } else if (event.key === "?") {
    location.assign("/help#keys");
  } else return;
  event.preventDefault();
});
