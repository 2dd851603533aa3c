for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending", sign = down ? -1 : 1;
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const missing = row => row.cells[column].querySelector(".absent") !== null;
      const order = (a, b) => {
        const [x, y] = [a, b].map(row => row.cells[column]);
        if (missing(a) || missing(b)) return missing(a) - missing(b);
        return sign * (x.dataset.sort ? x.dataset.sort - y.dataset.sort : x.innerText.localeCompare(y.innerText));
      };
      body.append(...[...body.rows].sort(order));
    });
  });
}
