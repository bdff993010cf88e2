// Questions and self-checks without a kernel: choose, then see what was measured.
// The page holds what the executed lesson measured; without this script it says it as plain text.
(() => {
  "use strict";
  const words = JSON.parse(document.getElementById("gl-form-words").textContent);
  const fill = (text, values) =>
    text.replace(/\{(\w+)(?:!r)?\}/g, (_, name) => values[name]);
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const number = (text) => {
    const plain = text.trim().replace("−", "-");
    const groups = /^-?[1-9]\d{0,2}(,\d{3})+(\.\d+)?$/.test(plain); // 6,815,744
    const value = Number(groups ? plain.replaceAll(",", "") : plain.replace(",", "."));
    return text.trim() && Number.isFinite(value) ? value : null;
  };
  const show = (value) => String(Number.isInteger(value) ? value : Number(value.toPrecision(4)));
  const verdictWords = (right) => words.verdict[String(right)].join(" ");
  const changed = (element) => element.dispatchEvent(new Event("gl-changed", { bubbles: true }));

  // What was predicted for one item, and whether it is right; a row of the comparison says the truth.
  class Item {
    constructor(element) {
      this.element = element;
      this.answer = null; // words of the chosen option, or the text that was typed
      this.verdict = make("div", { class: "gl-verdict", role: "status" });
      const list = element.querySelector("[data-gl-options]");
      list.replaceWith(this.form(list));
      element.append(this.verdict);
    }
    form(list) {
      const group = make("span", { class: "gl-choice", role: "group" });
      if (list.dataset.glOptions === "number") {
        this.entry = make("input", { type: "text", inputmode: "decimal", size: "8", "aria-label": this.element.dataset.glLabel });
        this.entry.addEventListener("input", () => this.choose(this.entry.value || null));
        group.append(this.entry, ` ${list.dataset.glUnit || ""}`);
        return group;
      }
      this.buttons = [...list.querySelectorAll("[data-gl-option]")].map((option) => {
        const button = make("button", { type: "button", "aria-pressed": "false" }, option.textContent);
        button.addEventListener("click", () =>
          this.choose(button.getAttribute("aria-pressed") === "true" ? null : button.textContent));
        return button;
      });
      group.setAttribute("aria-label", this.element.dataset.glLabel);
      group.append(...this.buttons);
      return group;
    }
    choose(answer) {
      this.answer = answer;
      for (const button of this.buttons || [])
        button.setAttribute("aria-pressed", String(button.textContent === answer));
      this.element.dispatchEvent(new Event("gl-answered", { bubbles: true }));
    }
    right(row) {
      if (this.answer === null) return null;
      if (row.dataset.glNumber === undefined) return this.answer === row.dataset.glTruth;
      const value = number(this.answer);
      return value === null ? null : Math.abs(value - Number(row.dataset.glNumber)) <= Number(row.dataset.glTolerance);
    }
    note(row) {
      if (row.dataset.glNumber === undefined || this.answer === null) return "";
      const value = number(this.answer);
      if (value === null) return fill(words.unreadable, { text: `"${this.answer}"` });
      const unit = row.dataset.glUnit ? ` ${row.dataset.glUnit}` : "";
      const off = Math.abs(value - Number(row.dataset.glNumber));
      return off ? fill(words.off, { difference: show(off) + unit, tolerance: show(Number(row.dataset.glTolerance)) + unit }) : "";
    }
  }

  class Question {
    constructor(element) {
      this.element = element;
      this.shown = false;
      this.items = [...element.querySelectorAll("[data-gl-item]")].map((item) => new Item(item));
      this.table = document.querySelector(`[data-gl-answers="${element.dataset.glQuestion}"]`);
      element.addEventListener("gl-answered", () => this.draw());
      if (!this.table) return;
      this.rows = [...this.table.querySelectorAll("tr[data-gl-row]")];
      this.button = make("button", { type: "button", class: "gl-show", "aria-expanded": "false" }, words.show);
      this.button.addEventListener("click", () => { this.shown = !this.shown; this.draw(); });
      element.append(make("p", {}, this.button));
      this.cover();
      this.draw();
    }
    // On a page the result stands right below the question: it waits until it is asked for.
    cover() {
      const cell = this.table.closest(".outputs");
      if (!cell || !document.body.classList.contains("page")) return;
      this.covered = cell;
      const open = make("button", { type: "button", class: "gl-show" }, words.show);
      open.addEventListener("click", () => { this.shown = true; this.draw(); });
      this.lid = make("p", { class: "gl-lid" }, `${words.hidden} `, open);
      cell.before(this.lid);
    }
    draw() {
      if (!this.table) return;
      const results = this.items.map((item, i) => item.right(this.rows[i]));
      this.items.forEach((item, i) => this.drawItem(item, this.rows[i], results[i]));
      const asked = results.length, open = results.filter((r) => r === null).length;
      const text = open === asked ? words.scoreNone : open ? words.scoreOpen : words.score;
      const score = results.filter((r) => r === true).length;
      this.table.querySelector("[data-gl-summary]").textContent = fill(text, { score, asked, open });
      this.button.textContent = this.shown ? words.hide : words.show;
      this.button.setAttribute("aria-expanded", String(this.shown));
      if (this.covered) { this.covered.hidden = !this.shown; this.lid.hidden = this.shown; }
      changed(this.element);
    }
    drawItem(item, row, right) {
      const measured = row.querySelector("[data-gl-measured]").textContent;
      const verdict = row.querySelector("[data-gl-verdict]");
      const note = item.note(row);
      row.querySelector("[data-gl-predicted]").textContent = item.answer || words.open;
      verdict.textContent = verdictWords(right);
      verdict.dataset.right = item.verdict.dataset.right = String(right);
      item.verdict.replaceChildren();
      if (this.shown)
        item.verdict.append(make("strong", {}, verdictWords(right)), ` ${fill(words.measured, { measured })}`, note ? ` ${note}` : "");
    }
  }

  // An exercise that asks for a value. The check of its solution holds what was measured.
  const kinds = {
    names: (text) => text.match(/[\w.]+/g)?.filter((name) => name !== "set") ?? [],
    number,
    bool: (text) => ({ true: true, false: false })[text.trim().toLowerCase()] ?? null,
    text: (text) => text.trim().replace(/^["']|["']$/g, ""),
  };
  const judge = (kind, text, truth, tolerance) => {
    const answer = kinds[kind](text);
    if (answer === null) return [false, fill(words.unreadable, { text: `"${text}"` })];
    if (kind === "names") {
      const right = answer.filter((n) => truth.includes(n)), extra = answer.filter((n) => !truth.includes(n));
      const missing = truth.filter((n) => !answer.includes(n)).length;
      if (!extra.length && !missing) return [true, words.right];
      return [false, [
        right.length ? fill(words.namesRight, { names: right.join(", ") }) : "",
        extra.length ? fill(words.namesExtra, { names: extra.join(", ") }) : "",
        missing ? fill(words.namesMissing, { count: missing }) : "",
      ].join(" ")];
    }
    if (kind === "number") {
      const allowed = Math.max(tolerance, 0.005 * Math.abs(truth));
      if (Math.abs(answer - truth) <= allowed) return [true, words.right];
      return [false, answer < truth ? words.low : words.high];
    }
    return answer === truth ? [true, words.right] : [false, words.wrong];
  };
  const exercise = (open) => {
    const cells = [...document.querySelectorAll(".cell.code")];
    const solution = cells.slice(cells.indexOf(open.closest(".cell"))).find((cell) => cell.classList.contains("solution"));
    const check = solution?.querySelector("[data-gl-truth]");
    if (!check) return;
    const { kind, truth, tolerance } = JSON.parse(check.dataset.glTruth);
    const hint = words.kinds[kind];  // all of it has to fit into the field
    const entry = make("input", { type: "text", size: String(Math.max(18, hint.length)), "aria-label": words.answer, placeholder: hint });
    const verdict = make("p", { class: "gl-verdict", role: "status" });
    const form = make("form", { class: "gl-check" }, make("label", {}, `${words.answer}: `, entry), " ", make("button", {}, words.tryIt));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const [passed, told] = judge(kind, entry.value, truth, tolerance);
      verdict.dataset.right = String(passed);
      verdict.replaceChildren(make("strong", {}, words.check[String(passed)].join(" ")), ` ${told}`);
      changed(form);
    });
    form.append(verdict);
    open.replaceChildren(form);
  };

  // A button's own keys are not for the slides; Escape gives the focus back to the slide.
  document.addEventListener("keydown", (event) => {
    const control = event.target.closest?.(".gl-ask button, .gl-ask input, .gl-check button, .gl-check input");
    if (!control || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "Escape") {
      control.blur();
      control.closest("[tabindex]")?.focus({ preventScroll: true });
    }
    if (["Escape", " ", "Enter"].includes(event.key)) event.stopPropagation();
  }, true);

  document.querySelectorAll("[data-gl-question]").forEach((element) => new Question(element));
  document.querySelectorAll('.exercise [data-gl-check="open"]').forEach(exercise);
})();
