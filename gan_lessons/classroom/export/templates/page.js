// What a page does by itself, beside its widgets.

// What scrolls sideways can be scrolled by keyboard too; what does not is no stop for the Tab key.
function reachable() {
  for (const block of document.querySelectorAll("pre, .output, .table, .formula, .prose > p, .window > div"))
    if (block.scrollWidth > block.clientWidth) block.tabIndex = 0;
    else block.removeAttribute("tabindex");
}
addEventListener("load", reachable);
addEventListener("resize", reachable);
document.addEventListener("toggle", reachable, true);

// On the index the arrows walk the explorer before anything has been chosen.
addEventListener("keydown", ({ key }) => {
  const view = document.querySelector(".stage [data-gl-view]")?.shadowRoot?.querySelector(".explorer");
  if (!view || document.activeElement !== document.body || !/^Arrow(Left|Right)$/.test(key)) return;
  view.focus({ preventScroll: true });
  view.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
});

// What answers a question waits below a lid, until it was predicted or skipped. The front end of the
// questions says in an event when that is; the lid's own button says it in the same words.
for (const lid of document.querySelectorAll(".gl-lid")) {
  const waits = lid.dataset.glFor.split(" ");
  const open = new Set();
  const below = document.querySelectorAll(`[data-gl-lid="${CSS.escape(lid.id)}"]`);
  const button = lid.querySelector("button");
  const look = () => {
    const covered = waits.some((group) => !open.has(group));
    lid.hidden = !covered;
    for (const cell of below) cell.classList.toggle("gl-covered", covered);
    if (!covered) reachable();
  };
  const tell = (group) =>
    document.dispatchEvent(new CustomEvent("gan-lessons", { detail: { group, name: "shown", value: true } }));
  button.addEventListener("click", () => waits.forEach(tell));
  document.addEventListener("gan-lessons", ({ detail: { group, name, value } }) => {
    if (!waits.includes(group)) return;
    if (name === "answers" && value.some(Boolean)) button.textContent = lid.dataset.glPredicted;
    if (name !== "shown") return;
    if (value) open.add(group);
    else open.delete(group);
    look();
  });
  look();
}
