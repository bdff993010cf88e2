// What a page does by itself, beside its widgets.

// What scrolls sideways can be scrolled by keyboard too; what does not is no stop for the Tab key. All
// is read before anything is set: else the page would be laid out once for every block.
const SCROLLS = "Scrolls sideways: {what}";
const sideways = new ResizeObserver((entries) => {
  const sizes = entries.map(({ target }) => [target, target.scrollWidth > target.clientWidth, goesOn(target), target.clientHeight]);
  for (const [block, scrolls, more, height] of sizes) {
    block.toggleAttribute("data-more", more && block.matches("pre, div")); // a paragraph stays one
    if (scrolls) block.tabIndex = 0;
    else block.removeAttribute("tabindex");
    if (!more) continue;
    block.style.setProperty("--high", `${height}px`);
    if (block.matches("pre, div")) name(block);
  }
});
const goesOn = (block) => block.scrollLeft + block.clientWidth < block.scrollWidth - 1;
// To its name: a table's caption, else how it begins.
function name(block) {
  const first = block.querySelector("caption, figcaption, th") ?? block;
  const words = first.textContent.trim().split(/\s+/).slice(0, 8).join(" ");
  block.setAttribute("role", "group");
  block.setAttribute("aria-label", SCROLLS.replace("{what}", words));
}
addEventListener("scroll", ({ target }) => target.style?.getPropertyValue("--high") && target.toggleAttribute("data-more", goesOn(target)), { capture: true, passive: true });
for (const block of document.querySelectorAll("pre, .output, .table, .box, .formula, .prose > p, figure div"))
  sideways.observe(block);

// A long call within a sentence may be broken after "(" and ".", as in the explorer.
for (const call of document.querySelectorAll(":not(pre, summary) > code"))
  if (call.textContent.length > 24 && !call.children.length) call.innerHTML = call.innerHTML.replace(/[(.]/g, "$&<wbr>");

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
  };
  const tell = (group) =>
    document.dispatchEvent(new CustomEvent("gan-lessons", { detail: { group, name: "shown", value: true } }));
  button.addEventListener("click", () => waits.forEach(tell));
  document.addEventListener("gan-lessons", ({ detail: { group, name, value } }) => {
    if (!waits.includes(group)) return;
    if (name === "answers" && value.some(Boolean)) {
      button.textContent = lid.dataset.glPredicted;
      lid.classList.add("predicted");
    }
    if (name !== "shown") return;
    if (value) open.add(group);
    else open.delete(group);
    look();
  });
  look();
}
