// A click on a column's header sorts the table by it, a second click in descending order; missing values stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  const headers = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const descending = header.getAttribute("aria-sort") === "ascending";
      headers.forEach(other => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const isMissing = row => row.cells[column].querySelector(".absent") !== null;
      const compare = (a, b) => {
        if (isMissing(a) || isMissing(b)) return isMissing(a) - isMissing(b);
        const [x, y] = [a, b].map(row => row.cells[column]);
        const order = x.dataset.sort ? x.dataset.sort - y.dataset.sort : x.innerText.localeCompare(y.innerText);
        return descending ? -order : order;
      };
      body.append(...[...body.rows].sort(compare));
    });
  });
}
