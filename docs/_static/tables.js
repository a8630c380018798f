// On a phone, docs.css shows each row of a table as a card: the heading of a column stands in each cell then.
// A table that is wider than its page may break its words.
document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("article table.docutils")) {
    const heads = [...table.querySelectorAll("thead th")].map((head) => head.textContent.trim());
    for (const row of table.querySelectorAll("tbody tr")) {
      [...row.children].forEach((cell, column) => {
        if (heads[column]) cell.dataset.label = heads[column];
      });
    }
    table.classList.toggle("tight", table.offsetWidth > table.parentElement.clientWidth);
  }
});
