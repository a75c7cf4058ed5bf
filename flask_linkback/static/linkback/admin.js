// What is nicer with a script. All pages do all they do without it.
"use strict";

// One box that ticks all rows of a page
for (const all of document.querySelectorAll("[data-ticks-all]")) {
  all.hidden = false;
  all.addEventListener("change", () => {
    for (const box of all.closest("table").querySelectorAll('tbody input[name="id"]')) box.checked = all.checked;
  });
}

// Buttons that copy the text of another element
for (const button of document.querySelectorAll("[data-copies]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  const label = button.textContent;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copies).textContent.trim());
    button.textContent = button.dataset.copied;
    setTimeout(() => { button.textContent = label; }, 2000);
  });
}

// A list that follows what happens: only its rows change, and only while somebody looks
const tail = document.querySelector("[data-tail]");
if (tail) {
  document.querySelector('meta[http-equiv="refresh"]')?.remove();
  const follow = async () => {
    if (!document.hidden && !tail.querySelector("input:checked")) {
      const answer = await fetch(location.href, { credentials: "same-origin" });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-tail]");
      if (!fresh) location.reload();
      else if (!tail.contains(document.activeElement)) tail.replaceChildren(...fresh.childNodes);
    }
    setTimeout(follow, Number(tail.dataset.tail) * 1000);
  };
  setTimeout(follow, Number(tail.dataset.tail) * 1000);
}
