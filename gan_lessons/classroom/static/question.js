// The front end of questions, and of the answer fields in exported exercises.
// It sets answers beside what Python measured, and knows no other truth. JupyterLab runs it through anywidget; an exported
// page runs the same text over the same JSON.

// The number that was typed, or null. The patterns come from Python, which reads numbers alike.
function readNumber(text, patterns) {
  const told = text.replaceAll("−", "-").trim().replace(/\s+/g, " ");
  const match = (pattern) => told.match(new RegExp(`^(?:${pattern})$`));
  const grouped = match(patterns.grouped);
  if (!grouped && !match(patterns.plain)) return null;
  const value = Number((grouped ? told.replaceAll(grouped[1], "") : told).replace(",", "."));
  return Number.isFinite(value) ? value : null;
}

const numberText = (value) => String(Number.isInteger(value) ? value : Number(value.toPrecision(4)));
const inUnit = (number, unit) => `${number} ${unit}`.trim();

const sentences = (...all) => all.filter(Boolean).join(" ");

// Is an answer right (null: there is none that counts), and what is there to say beside the verdict?
function judged(answer, truth, ui) {
  if (!answer) return { right: null, note: "" };
  const toWho = (given) => truth.if_wrong?.find(([wrong]) => wrong === given)?.[1];
  if (truth.option !== undefined) {
    const right = answer === truth.option;
    return { right, note: right ? "" : sentences(truth.note, toWho(answer)) };
  }
  const value = readNumber(answer, ui.number);
  if (value === null) return { right: null, note: filled(ui.unreadable, { text: answer.trim() }) };
  const off = Math.abs(value - truth.number);
  const [difference, tolerance] = [off, truth.tolerance].map((n) => inUnit(numberText(n), truth.unit));
  const text = truth.tolerance ? ui.off : ui.offExact;
  const right = off <= truth.tolerance;
  const note = off ? filled(text, { difference, tolerance }) : "";
  return { right, note: sentences(note, right ? "" : toWho(value)) };
}

// A call, which may be broken where a bracket or an attribute begins.
const mayBreak = (source) => source.split(/(?<=[(.])/).flatMap((part) => [part, make("wbr")]);

const sum = (votes) => Object.values(votes ?? {}).reduce((all, count) => all + count, 0);
// Slides, exported or live (there a notebook becomes slides and a notebook again).
const deckOf = (host) => host.closest(".reveal, .jp-Deck");
// Bars that say how the votes of a class are spread: their width is a part of all.
const voteBar = (count, all) => {
  const bar = make("i", { class: "bar" });
  bar.style.width = `${(100 * count) / all}%`;
  return bar;
};

// What buttons and fields do not need goes on to the slides or the notebook: arrows from a button,
// a clicker's keys, all that has a modifier. Escape gives the focus back.
function keepKeys(section, root, host) {
  section.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (["Tab", "PageUp", "PageDown"].includes(event.key)) return;
    const typing = event.composedPath()[0].tagName === "INPUT";
    if (typing || ["Escape", "Enter", " "].includes(event.key)) event.stopPropagation();
    if (event.key === "Escape") leave(host, root);
  });
}

// A view of the model, in a shadow: get(name), set(name, value), on(event, call), off(event, call).
class View {
  constructor(model, host) {
    this.model = model;
    this.host = host;
    this.data = model.get("data");
    this.ui = this.data.ui;
    this.root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
    this.section = make("div", { class: "ask", role: "group", "aria-label": this.data.prompt }, ...this.parts());
    this.root.replaceChildren(make("style", {}, CSS), this.section);
    keepKeys(this.section, this.root, host);
    this.follow = () => this.update();
    for (const name of NAMES) model.on(`change:${name}`, this.follow);
    this.stopWatching = watchTheme(host, this.section);
    this.update();
    requestAnimationFrame(() => this.watchDeck()); // JupyterLab puts it into the page after this
  }

  watchDeck() {
    const panel = this.host.closest(".jp-NotebookPanel");
    if (!panel) return;
    this.decks = new MutationObserver(() => this.update());
    this.decks.observe(panel, { attributes: true, attributeFilter: ["class"] });
    this.update();
  }

  // An item each: what was answered, the truth (or nothing yet), and what follows from the two.
  results() {
    const [answers, votes, measured] = ["answers", "votes", "measured"].map((name) => this.model.get(name) ?? []);
    return this.data.items.map((item, i) => {
      const truth = measured[i];
      const told = truth ? judged(answers[i], truth, this.ui) : {};
      return { answer: answers[i], votes: votes[i] ?? {}, truth, ...told };
    });
  }

  summary(results) {
    const asked = results.length;
    const open = results.filter(({ right }) => right === null).length;
    const score = results.filter(({ right }) => right).length;
    const kind = open === asked ? "none" : open ? "some" : "all";
    return filled(this.ui.score[kind], { score, asked, open });
  }

  set(name, value) {
    this.model.set(name, value);
    this.model.save_changes?.(); // in JupyterLab: the kernel knows what was predicted
  }

  update() {
    this.draw(this.results());
    this.host.dispatchEvent(new Event("gl-changed", { bubbles: true }));
  }

  destroy() {
    document.removeEventListener("keydown", this.keyOfSlide);
    for (const name of NAMES) this.model.off(`change:${name}`, this.follow);
    this.decks?.disconnect();
    this.stopWatching();
  }
}

const NAMES = ["answers", "votes", "measured", "shown"];

// The question: buttons or a field for every item, and below them, once it is shown, the verdict.
// On slides a class votes: each key of a digit counts one vote for a button.
class Form extends View {
  constructor(model, host) {
    super(model, host);
    // On a live slide a digit outside would make a heading of the cell; an exported one has no use for it.
    this.section.addEventListener("keydown", (event) => host.closest(".jp-Deck") && this.key(event) && event.stopPropagation());
    this.keyOfSlide = (event) => host.closest(".reveal section")?.matches(".present") && this.key(event);
    document.addEventListener("keydown", this.keyOfSlide);
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", () => this.lookDown());
    else this.lookDown();
  }

  parts() {
    this.items = this.data.items.map((item, i) => this.item(item, i));
    this.score = make("strong", { class: "summary", role: "status" });
    this.button = make("button", { type: "button", class: "show", onclick: () => this.set("shown", !this.model.get("shown")) });
    this.clear = make("button", { type: "button", class: "clear", onclick: () => this.count() }, this.ui.clear);
    this.noted = make("span", { class: "noted", role: "status" });
    this.keys = make("span", { class: "keys" });
    const body = this.data.grid ? this.grid(this.data.grid) : this.items[0].element;
    const foot = make("p", { class: "foot" }, this.noted, this.button, this.score, this.keys, this.clear);
    return [make("p", { class: "prompt" }, this.data.prompt), body, foot];
  }

  // What the digits stand for: [item, option], from the first question of the slide to the last.
  get choices() {
    return this.data.items.flatMap(({ options }, i) => options.map((text) => [i, text]));
  }

  firstKey() {
    const slide = this.host.closest(".reveal section, .jp-Cell") ?? this.host;
    let first = 1;
    for (const other of slide.querySelectorAll("[data-gl-view]")) {
      if (other === this.host) break;
      first += other.shadowRoot?.querySelectorAll(".choice button").length ?? 0;
    }
    return first;
  }

  // Is it a digit that means something here?
  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || !/^[0-9]$/.test(event.key)) return false;
    if (!this.voting || /INPUT|SELECT|TEXTAREA/.test(event.composedPath()[0].tagName)) return false;
    const choice = this.choices[Number(event.key) - this.firstKey()];
    if (choice || event.key === "0") this.count(...(choice ?? []));
    return true;
  }

  // One vote more for an option; without one all of them are gone.
  count(i, option) {
    const votes = this.data.items.map((_, k) => (option ? { ...this.model.get("votes")?.[k] } : {}));
    if (option) votes[i][option] = (votes[i][option] ?? 0) + 1;
    this.set("votes", votes);
  }

  // In a page, the comparison further down knows what was measured, and what had been predicted.
  lookDown() {
    const group = this.host.parentElement?.dataset.glGroup;
    for (const script of document.querySelectorAll(`[data-gl-group="${group}"] > script[type="application/json"]`)) {
      const { measured, answers } = JSON.parse(script.textContent).state;
      if (!measured.length) continue;
      this.model.set("measured", measured);
      if (!this.model.get("answers").some(Boolean) && answers.some(Boolean)) this.model.set("answers", answers);
    }
  }

  item({ label, options, hint, unit }, i) {
    const verdict = make("div", { class: "verdict", role: "status" });
    const choose = (answer) => this.choose(i, answer);
    if (!options.length) {
      const field = make("input", { type: "text", inputmode: "decimal", size: "12", "aria-label": label, placeholder: hint });
      field.addEventListener("input", () => choose(field.value || null));
      const group = make("span", { class: "choice" }, field, unit);
      return { field, verdict, element: make("div", { class: "item" }, group, verdict) };
    }
    const buttons = options.map((text) => make("button", { type: "button", onclick: () => choose(text) }, text));
    const cast = make("span", { class: "cast", role: "status" });
    const group = make("div", { class: "choice", role: "group", "aria-label": label }, ...buttons, cast);
    return { buttons, options, cast, verdict, element: make("div", { class: "item" }, group, verdict) };
  }

  // A row for each call, as they follow in the code, and a column for each net.
  grid({ columns, rows }) {
    const head = columns.map(([name, title]) => make("th", { scope: "col" }, make("b", {}, name), title ? ` ${title}` : ""));
    const body = rows.map(([name, source], row) => {
      const cells = this.items.slice(row * columns.length, (row + 1) * columns.length);
      return make("tr", {}, make("th", { scope: "row" }, make("span", {}, name), make("code", {}, ...mayBreak(source))),
        ...cells.map(({ element }, i) => make("td", { "data-net": columns[i][0] }, element)));
    });
    return make("table", { class: "grid" },
      make("thead", {}, make("tr", {}, make("td", {}), ...head)), make("tbody", {}, ...body));
  }

  // The same once more takes it back.
  choose(i, answer) {
    const answers = [...this.model.get("answers")];
    answers[i] = this.items[i].buttons && answers[i] === answer ? null : answer;
    this.set("answers", answers);
  }

  draw(results) {
    const known = results.every(({ truth }) => truth);
    const shown = known && this.model.get("shown");
    const last = this.firstKey() + this.choices.length - 1;
    this.voting = Boolean(deckOf(this.host)) && this.choices.length > 0 && last < 10;
    const first = this.voting ? this.firstKey() : 0;
    let key = first;
    results.forEach((result, i) => {
      this.drawItem(this.items[i], result, shown);
      for (const button of this.items[i].buttons ?? []) this.voting ? (button.dataset.key = String(key++)) : delete button.dataset.key;
    });
    this.keys.textContent = this.voting ? filled(this.ui.keys, { first, last }) : "";
    this.clear.hidden = !results.some(({ votes }) => sum(votes));
    // In a page: what was chosen is noted, and now it can be compared.
    const answered = results.filter(({ answer }) => answer).length;
    this.noted.textContent = known && !shown && answered ? this.ui.noted : "";
    this.section.classList.toggle("predicted", known && !shown && answered === results.length);
    this.button.hidden = !known;
    this.button.textContent = !known ? "" : shown ? this.ui.hide : this.ui.show;
    this.button.setAttribute("aria-expanded", String(Boolean(shown)));
    this.score.textContent = shown && results.length > 1 ? this.summary(results) : "";
  }

  drawItem({ buttons, options, cast, field, verdict }, { answer, votes, truth, right, note }, shown) {
    const all = sum(votes);
    buttons?.forEach((button, i) => {
      button.setAttribute("aria-pressed", String(options[i] === answer));
      button.classList.toggle("measured", Boolean(shown && options[i] === truth.option));
      const count = shown && all ? votes[options[i]] ?? 0 : null; // who votes sees no other vote
      button.replaceChildren(options[i], ...(count === null ? [] : [make("b", { class: "count" }, count), voteBar(count, all)]));
    });
    if (cast) cast.textContent = all ? filled(this.ui.cast, { count: all }) : "";
    if (field && this.root.activeElement !== field) field.value = answer ?? "";
    verdict.dataset.right = String(shown ? right : null);
    verdict.replaceChildren();
    if (!shown) return;
    const lines = [filled(this.ui.measured, { measured: truth.measured }), note];
    verdict.append(make("strong", {}, this.ui.verdict[String(right)]), ...lines.filter(Boolean).map((line) => make("span", {}, line)));
  }
}

// The comparison, below the cell that measured.
class Table extends View {
  parts() {
    this.summaryLine = make("strong", { class: "summary", role: "status" });
    const { titles } = this.ui;
    this.rows = this.data.items.map(() => ({
      votes: make("td", { class: "votes", "data-title": this.ui.class }),
      predicted: make("td", { class: "predicted", "data-title": titles[1] }),
      measured: make("td", { class: "measured", "data-title": titles[2] }),
      verdict: make("div", { class: "verdict" }),
    }));
    const [asked, ...others] = titles.map((title, i) => make("th", { scope: "col", class: ["", "of-you", "", "of-you"][i] }, title));
    const head = [asked, make("th", { scope: "col", class: "of-class" }, this.ui.class), ...others];
    const body = this.rows.map(({ votes, predicted, measured, verdict }, i) =>
      make("tr", {}, make("th", { scope: "row" }, this.data.items[i].label), votes, predicted, measured, make("td", { class: "judged" }, verdict)));
    this.table = make("table", { class: "answers" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body));
    const ask = make("button", { type: "button", onclick: () => this.set("shown", true) }, this.ui.show);
    this.lid = make("p", {}, this.ui.hidden, " ", ask);
    this.told = make("div", {}, make("p", {}, this.summaryLine), this.table);
    return [this.lid, this.told];
  }

  // On a live slide it waits until the class has answered, voted or asked for it, and so does all
  // that its cell has put out.
  coverLive(results) {
    const area = this.host.closest(".jp-Deck .jp-OutputArea") ?? this.area;
    const open = !deckOf(this.host) || this.model.get("shown") || results.some(({ answer, votes }) => answer || sum(votes));
    const waits = Boolean(area) && !open;
    this.lid.hidden = !waits;
    this.told.hidden = waits;
    this.area = area;
    for (const child of area?.children ?? []) if (!child.contains(this.host)) child.style.display = waits ? "none" : "";
  }

  draw(results) {
    this.coverLive(results);
    this.summaryLine.textContent = this.summary(results);
    this.table.classList.toggle("open", results.every(({ right }) => right === null)); // only what was measured
    this.table.classList.toggle("voted", results.some(({ votes }) => sum(votes)));
    results.forEach(({ answer, votes, truth, right, note }, i) => {
      const row = this.rows[i];
      const all = sum(votes), { options } = this.data.items[i];
      row.votes.replaceChildren(...(all ? options : []).map((text) =>
        make("div", { class: "count" }, `${text}: ${votes[text] ?? 0}`, voteBar(votes[text] ?? 0, all))));
      row.predicted.textContent = right === null ? this.ui.open : inUnit(answer.trim(), truth.unit ?? "");
      row.measured.replaceChildren(truth.measured, note ? make("small", {}, note) : "");
      row.verdict.replaceChildren(make("strong", {}, this.ui.verdict[String(right)]));
      row.verdict.dataset.right = String(right);
    });
  }
}

function render({ model, el }) {
  const host = make("div", { "data-gl-view": true });
  el.append(host);
  const view = new (model.get("data").table ? Table : Form)(model, host);
  return () => view.destroy();
}

// Exercises of an exported page that ask for a value. The check of the solution holds what was measured.

const readers = {
  names: (text) => text.match(/[\w.]+/g)?.filter((name) => name !== "set") ?? [],
  number: (text, ui) => readNumber(text, ui.number),
  bool: (text) => ({ true: true, false: false })[text.trim().toLowerCase()] ?? null,
  text: (text) => text.trim().replace(/^["']|["']$/g, ""),
};

// Does it pass, and what is there to say?
function checked(text, { kind, truth, tolerance, ui }) {
  const answer = readers[kind](text, ui);
  if (answer === null) return [false, filled(ui.unreadable, { text })];
  if (kind === "names") {
    const right = answer.filter((name) => truth.includes(name));
    const extra = answer.filter((name) => !truth.includes(name));
    const missing = truth.filter((name) => !answer.includes(name)).length;
    if (!extra.length && !missing) return [true, ui.right];
    const told = [
      right.length ? filled(ui.namesRight, { names: right.join(", ") }) : "",
      extra.length ? filled(ui.namesExtra, { names: extra.join(", ") }) : "",
      missing ? filled(ui.namesMissing, { count: missing }) : "",
    ];
    return [false, told.filter(Boolean).join(" ")];
  }
  if (kind === "number") {
    const allowed = Math.max(tolerance, 0.005 * Math.abs(truth));
    if (Math.abs(answer - truth) <= allowed) return [true, ui.right];
    return [false, answer < truth ? ui.low : ui.high];
  }
  return answer === truth ? [true, ui.right] : [false, ui.wrong];
}

function exercises() {
  const cells = [...document.querySelectorAll(".cell.code")];
  for (const open of document.querySelectorAll('.exercise [data-gl-check="open"]')) {
    const later = cells.slice(cells.indexOf(open.closest(".cell")));
    const solution = later.find((cell) => cell.classList.contains("solution"));
    const check = solution?.querySelector("[data-gl-truth]");
    if (check) answerField(open, JSON.parse(check.dataset.glTruth));
  }
}

function answerField(open, measured) {
  const { ui, kind } = measured;
  const hint = ui.kinds[kind]; // all of it has to fit into the field
  const field = make("input", { type: "text", size: String(Math.max(18, hint.length)), "aria-label": ui.answer, placeholder: hint });
  const verdict = make("p", { class: "verdict", role: "status" });
  const form = make("form", {}, make("label", {}, `${ui.answer}: `, field), " ", make("button", {}, ui.check));
  const host = make("div", { class: "gl-check" });
  const root = host.attachShadow({ mode: "open" });
  const section = make("div", { class: "ask" }, form, verdict);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const [passed, told] = checked(field.value, measured);
    verdict.dataset.right = String(passed);
    verdict.replaceChildren(make("strong", {}, ui.passed[String(passed)]), make("span", {}, told));
    host.dispatchEvent(new Event("gl-changed", { bubbles: true }));
  });
  root.append(make("style", {}, CSS), section);
  keepKeys(section, root, host);
  open.replaceChildren(host);
  watchTheme(host, section);
}

export default { render, exercises };
