"use strict";
// Headings sort their table. `#layers:bytes in memory` in the address does so at the start.

function keyOf(row, column, kind) {
  const value = row.children[column].dataset.value;
  return kind === "number" ? Number(value) : value;
}

function sortBy(heading, descending) {
  const table = heading.closest("table");
  const body = table.tBodies[0];
  const column = [...heading.parentNode.children].indexOf(heading);
  const kind = heading.dataset.sort;
  const rows = [...body.rows].map((row) => [keyOf(row, column, kind), row]);
  const sign = descending ? -1 : 1;
  rows.sort(([a], [b]) => sign * (kind === "number" ? a - b : a.localeCompare(b, "en", { numeric: true })));
  body.append(...rows.map(([, row]) => row));
  for (const other of heading.parentNode.children) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
}

for (const heading of document.querySelectorAll("table.sortable th[data-sort]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...heading.childNodes);
  heading.append(button);
  // The largest first, then the smallest; names the other way round.
  button.addEventListener("click", () => {
    const first = heading.dataset.sort === "number" ? "descending" : "ascending";
    const again = heading.getAttribute("aria-sort") === first;
    sortBy(heading, (first === "descending") !== again);
  });
}

const [table, wanted] = decodeURIComponent(location.hash.slice(1)).split(":");
for (const heading of document.querySelectorAll("table.sortable th[data-sort]")) {
  if (heading.closest("table").id === table && heading.textContent === wanted) {
    heading.firstChild.click();
  }
}
document.documentElement.dataset.ready = "yes";
