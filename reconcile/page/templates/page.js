"use strict";
// The browser of ids. Without this script the page shows the first rows and everything else.
//
// All rows lie in memory as two arrays; `view` holds the numbers of the rows that match, in order.
// Only one page of rows is ever in the document, so typing costs one pass over the ids and at most
// ROWS table rows, however many ids there are. Text gets into the document by textContent only.
(() => {
  const ROWS = 100;
  const section = document.querySelector("#drift");
  const form = section?.querySelector(".tools");
  if (!form) return;

  const data = JSON.parse(document.querySelector("#rows").textContent);
  const ids = data.classes.flatMap((found) => found.ids);
  const classes = new Uint16Array(ids.length);
  let filled = 0;
  data.classes.forEach((found, at) => {
    classes.fill(at, filled, filled + found.ids.length);
    filled += found.ids.length;
  });
  // Members of an object would collide with names like "constructor": ids are anybody's text.
  const differs = new Map(Object.entries(data.differs));
  const payloads = new Map(Object.entries(data.payloads));
  const namesOf = (row) => differs.get(ids[row]) ?? [];

  const table = section.querySelector(".rows");
  const body = table.tBodies[0];
  const pager = section.querySelector(".pager");
  const place = pager.querySelector(".place");
  const [previous, next] = pager.querySelectorAll("[data-page]");
  const search = form.querySelector("#search");
  const what = form.querySelector("#what");
  const shown = section.querySelector(".shown");
  const chosen = new Set();
  const sort = { by: "", descending: false };
  const orders = new Map(); // of a sort: the row numbers in its order, computed once
  let folded = null; // ids in lower case, from the first search on
  let view = [];
  let page = 0;
  let waits = false;

  const number = new Intl.NumberFormat("en-US");

  function order() {
    if (!orders.has(sort.by)) {
      // By code units: the order of every system, and 20 times faster than that of a language.
      const key = {
        class: (row) => data.classes[classes[row]].title,
        id: (row) => ids[row],
        what: (row) => namesOf(row).join(", "),
      }[sort.by];
      const rows = Uint32Array.from(ids.keys());
      if (key) {
        const keys = Array.from(ids.keys(), key);
        rows.sort((a, b) => (keys[a] < keys[b] ? -1 : keys[a] > keys[b] ? 1 : a - b));
      }
      orders.set(sort.by, rows);
    }
    const rows = orders.get(sort.by);
    return sort.descending ? rows.toReversed() : rows;
  }

  function filter() {
    const text = search.value.toLowerCase();
    const name = what?.value ?? "";
    if (text && !folded) folded = ids.map((id) => id.toLowerCase());
    view = order().filter(
      (row) =>
        (!chosen.size || chosen.has(classes[row])) &&
        (!text || folded[row].includes(text)) &&
        (!name || namesOf(row).includes(name)),
    );
    page = 0;
    draw();
  }

  // Several keys within one frame are one pass.
  function filterSoon() {
    if (waits) return;
    waits = true;
    requestAnimationFrame(() => {
      waits = false;
      filter();
    });
  }

  function cell(className, ...texts) {
    const found = document.createElement("td");
    found.className = className;
    found.append(...texts);
    return found;
  }

  function span(className, text) {
    const found = document.createElement("span");
    found.className = className;
    found.textContent = text;
    return found;
  }

  function drawRow(row) {
    const { symbol, title, tone, what } = data.classes[classes[row]];
    const names = namesOf(row);
    const line = document.createElement("tr");
    const mark = span("symbol", symbol);
    mark.setAttribute("aria-hidden", "true");
    const id = cell("code", ids[row]);
    if (payloads.has(ids[row])) id.append(span("payload", payloads.get(ids[row])));
    line.append(cell(tone, mark, span("title", title)), id);
    line.append(cell("", names.length ? names.join(", ") : span("quiet", what)));
    return line;
  }

  function draw() {
    const pages = Math.max(1, Math.ceil(view.length / ROWS));
    const first = page * ROWS;
    const rows = view.slice(first, first + ROWS);
    body.replaceChildren(...Array.from(rows, drawRow));
    const last = first + rows.length;
    shown.textContent = view.length
      ? `${number.format(first + 1)} to ${number.format(last)} of ${number.format(view.length)}` +
        (view.length < ids.length ? ` that match; ${number.format(ids.length)} in all` : "")
      : "No id matches.";
    place.textContent = `page ${number.format(page + 1)} of ${number.format(pages)}`;
    previous.disabled = page === 0;
    next.disabled = page === pages - 1;
    for (const button of pager.querySelectorAll("[data-take]")) button.disabled = !view.length;
  }

  // The lines are those of the id files: `--force FILE` takes them as they are.
  const lines = () => Array.from(view, (row) => `${ids[row]}\n`).join("");

  function download() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines()], { type: "text/plain" }));
    link.download = chosen.size === 1 ? `${data.classes[[...chosen][0]].name}.ids` : "drift.ids";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  async function copy(button) {
    const text = lines();
    const label = button.textContent;
    let done = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // A page opened from a disk may lack the clipboard; the older way needs a selection.
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      done = document.execCommand("copy");
      area.remove();
    }
    button.textContent = done ? `Copied ${number.format(view.length)}` : "Not copied: download them";
    setTimeout(() => {
      button.textContent = label;
    }, 2_000);
  }

  for (const head of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      sort.descending = sort.by === head.dataset.sort && !sort.descending;
      sort.by = head.dataset.sort;
      for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", sort.descending ? "descending" : "ascending");
      filter();
    });
  }
  for (const chip of form.querySelectorAll(".chip")) {
    chip.addEventListener("click", () => {
      const at = Number(chip.dataset.class);
      const pressed = !chosen.has(at);
      if (pressed) chosen.add(at);
      else chosen.delete(at);
      chip.setAttribute("aria-pressed", String(pressed));
      filter();
    });
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  search.addEventListener("input", filterSoon);
  what?.addEventListener("change", filter);
  for (const button of [previous, next]) {
    button.addEventListener("click", () => {
      page += Number(button.dataset.page);
      draw();
      section.scrollIntoView({ block: "start" });
    });
  }
  for (const button of pager.querySelectorAll("[data-take]")) {
    button.addEventListener("click", () => {
      if (button.dataset.take === "copy") copy(button);
      else download();
    });
  }
  form.hidden = false;
  pager.hidden = false;
  filter();
})();
