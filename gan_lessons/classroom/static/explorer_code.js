// The step's own source, and at the gutter of a line the changes that were tried on it.
// It is coloured, no line is clipped, its head is folded.

const CODE = {
  title: "The step's own source",
  none: "Python cannot read this step's source: one moment for each event.",
  unfold: "Show lines 1 to {last}",
  fold: "Fold lines 1 to {last}",
  whatIf: "What if: {titles}",
  undo: "As written again",
  choose: "What if …",
  old: "taken out: {text}",
  raised: "This line raises.",
  all: "Show all {n} lines",
  few: "Show only the lines around this one",
};
const PAINT = { k: "keyword", s: "string", n: "number", c: "comment", b: "constant", t: "" };
const AROUND = 5; // lines that a phone shows: the current one in the middle

class Code {
  // goTo(line), tryOut(key or ""): what a click does. offers: the what-ifs of the step as written.
  constructor(film, variant, offers, goTo, tryOut) {
    this.film = film;
    this.tryOut = tryOut;
    this.lines = new Map();
    this.list = make("ol", { "aria-label": CODE.title });
    this.element = make("div", { class: "code", tabindex: "0", role: "group", "aria-label": CODE.title }, this.list);
    const edits = (variant?.edits ?? []).map((edit) => [edit.line, edit]);
    film.source.forEach((text, i) => {
      for (const [line, edit] of edits) if (line === i + 1 && edit.old != null) this.addOld(edit.old);
      const changed = edits.some(([line, edit]) => line === i + 1 && edit.new != null);
      const here = variant ? [] : offers.filter((offer) => offer.line === i + 1);
      this.addLine(text, i + 1, changed, here, goTo);
    });
    for (const [line, edit] of edits) if (line > film.source.length && edit.old != null) this.addOld(edit.old);
    if (variant) this.offerUndo();
    if (film.folded > 1) this.fold();
    if (!film.source.length) this.list.append(make("li", { class: "old" }, make("span", { class: "text" }, CODE.none)));
    else if (this.lines.size > AROUND) this.offerAll();
  }

  // On a phone only the lines around the current one are there, until all are asked for.
  offerAll() {
    const button = make("button", { type: "button", class: "rest", onclick: () => show(!this.element.classList.contains("all")) });
    const show = (all) => {
      this.element.classList.toggle("all", all);
      button.textContent = all ? CODE.few : filled(CODE.all, { n: this.lines.size });
      button.setAttribute("aria-expanded", String(all));
    };
    show(false);
    this.element.append(button);
  }

  addOld(text) {
    const [, indent, rest] = text.match(/^(\s*)(.*)$/);
    this.list.append(make("li", { class: "old", style: `--in:${indent.length}`, "aria-label": filled(CODE.old, { text }) },
      make("span", { class: "no", "aria-hidden": "true" }, "−"), make("del", { class: "text" }, ...breakable(rest))));
  }

  addLine(text, number, changed, offers, goTo) {
    const [, indent, rest] = text.match(/^(\s*)(.*)$/);
    const code = make("span", { class: "text" }, ...this.painted(number, indent.length, rest));
    const gutter = offers.length ? this.offer(offers) : make("span", { class: "if" }, changed ? "+" : "");
    const line = make("li", { class: `line${changed ? " new" : ""}${rest ? "" : " blank"}`, style: `--in:${indent.length}`, value: number },
      gutter, make("span", { class: "no", "aria-hidden": "true" }, String(number)), code);
    code.addEventListener("click", () => goTo(number));
    this.lines.set(number, line);
    this.list.append(line);
  }

  painted(number, indent, rest) {
    const found = [];
    let at = -indent;
    for (const [, kind, length] of (this.film.paint[number - 1] ?? "").matchAll(/([a-z])(\d+)/g)) {
      const part = rest.slice(Math.max(at, 0), Math.max(at + Number(length), 0));
      at += Number(length);
      if (part) found.push(...(PAINT[kind] ? [make("span", { class: PAINT[kind] }, ...breakable(part))] : breakable(part)));
    }
    return found;
  }

  // A click offers the changes, be it one or several, and makes none by itself.
  offer(offers) {
    const titles = offers.map((offer) => offer.title).join(" · ");
    const said = filled(CODE.whatIf, { titles });
    const button = make("button", { type: "button", class: "if", "aria-label": said, "aria-expanded": "false", title: said }, "?");
    button.addEventListener("click", () => this.menu(button, offers));
    return button;
  }

  menu(button, offers) {
    const open = this.element.querySelector(".menu");
    open?.close();
    if (open?.button === button) return;
    const choices = offers.map((offer) => make("button", { type: "button", onclick: () => {
      menu.close();
      this.tryOut(offer.key);
    } }, offer.title));
    const menu = make("div", { class: "menu", role: "group", "aria-label": CODE.choose }, make("p", {}, CODE.choose), ...choices);
    button.setAttribute("aria-expanded", "true");
    menu.button = button;
    menu.close = () => {
      menu.remove();
      button.setAttribute("aria-expanded", "false");
    };
    menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      menu.close();
      button.focus();
    });
    menu.addEventListener("focusout", ({ relatedTarget: to }) => to && !this.element.contains(to) && menu.close()); // not under the pointer
    button.closest("li").append(menu); // below its line, which the lines after it make room for
    choices[0].focus();
  }

  offerUndo() {
    for (const line of this.list.querySelectorAll(".old, .new")) {
      const undo = make("button", { type: "button", class: "if", "aria-label": CODE.undo, title: CODE.undo, onclick: () => this.tryOut("") }, "↩");
      line.querySelector(".if")?.remove();
      line.prepend(undo);
    }
  }

  // What only says how the step is called waits behind one line.
  fold() {
    const last = this.film.folded;
    const name = this.film.source[0].match(/def\s+(\w+)/)?.[1] ?? "";
    this.folder = make("button", { type: "button", class: "folder" });
    this.folder.addEventListener("click", () => {
      this.wanted = this.folds; // it stays as a click left it
      this.setFold(!this.folds);
    });
    this.list.prepend(make("li", { class: "head" }, this.folder));
    this.setFold = (folds) => {
      this.folds = folds;
      for (let line = 1; line <= last; line += 1) this.lines.get(line).hidden = folds;
      this.folder.textContent = `def ${name}(…)`;
      this.folder.setAttribute("aria-expanded", String(!folds));
      this.folder.title = filled(folds ? CODE.unfold : CODE.fold, { last });
    };
    this.setFold(true);
  }

  // What runs at a moment, without its comments.
  statement({ line, last }) {
    const parts = [];
    for (let number = line; number > 0 && number <= last; number += 1)
      for (const part of this.lines.get(number)?.querySelector(".text").childNodes ?? [])
        if (part.className !== "comment") parts.push(part.cloneNode(true));
    return parts;
  }

  at(index) {
    const now = this.film.moments[index];
    const ran = new Set(this.film.moments.slice(0, index).map((m) => m.line));
    for (const [number, line] of this.lines) {
      const current = now.line <= number && number <= now.last;
      line.classList.toggle("now", current);
      line.classList.toggle("ran", !current && ran.has(number));
      line.classList.toggle("raised", current && Boolean(now.raised));
      if (current) line.setAttribute("aria-current", "step");
      else line.removeAttribute("aria-current");
    }
    const inside = now.line > 0 && now.line <= this.film.folded;
    if (this.setFold && this.folds === (inside || Boolean(this.wanted))) this.setFold(!this.folds);
    const shown = [...this.lines.values()].filter((line) => !line.hidden && !line.matches(".blank"));
    const first = shown.findIndex((line) => line.matches(".now")) - (AROUND >> 1);
    const start = Math.max(0, Math.min(first, shown.length - AROUND));
    shown.forEach((line, i) => line.classList.toggle("near", start <= i && i < start + AROUND));
    const box = this.lines.get(now.line);
    if (box?.offsetParent) scrollWithin(this.element, box);
  }
}

// A narrow line breaks after a bracket or a dot, and within a name only where that is not enough.
const breakable = (text) =>
  text.split(/(?<=\()|(?<=[A-Za-z_)\]]\.)(?=[A-Za-z_])/).flatMap((part, i) => (i ? [make("wbr"), part] : [part]));

// Scroll a line into the view of its box, and never the page.
function scrollWithin(box, line) {
  const top = line.offsetTop; // within its box, which is positioned
  if (top < box.scrollTop) box.scrollTop = top - line.offsetHeight;
  const bottom = top + 2 * line.offsetHeight; // and the line after it
  if (bottom > box.scrollTop + box.clientHeight) box.scrollTop = bottom - box.clientHeight;
}
