"use strict";
(() => {
  document.querySelectorAll("table.sortable").forEach((table) => {
    table.querySelectorAll("th").forEach((head, column) => {
      const button = document.createElement("button");
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const key = (row) => row.cells[column].dataset.key;
        const rows = [...table.tBodies[0].rows].filter((row) => key(row) !== "");
        const empty = [...table.tBodies[0].rows].filter((row) => key(row) === "");
        rows.sort((a, b) => (down ? -1 : 1) * (Number(key(a)) - Number(key(b)) || key(a).localeCompare(key(b))));
        table.tBodies[0].append(...rows, ...empty);
      });
    });
  });
})();
