// The explorer's front end: it draws the frames that Python made from records, and computes none.
// JupyterLab runs it through anywidget; an exported page runs the same text over the same JSON.
// It asks nobody for anything: every strategy, moment and what-if is in the data.
//
// A page can drive it. The view's host, `[data-gl-view]`, and the element around it have
// `explorerMoments` (how many moments have an effect), `explorerMoment` (which is shown, from 0) and
// `goTo(k)`; the event `explorer:moment` says when it changed ({ index, count, moment }).

// What stands on the controls; names in braces are filled in.
const UI = {
  title: "One training step, line by line: {titles}",
  again: "{name} ({count})",
  line: "Line {line}: ",
  strategy: "Strategy",
  back: "Back",
  next: "Next",
  play: "Play",
  pause: "Pause",
  slider: "Moment",
  moment: "{index} of {count}",
  every: "every line",
  everyMeans: "Also stop at lines that change nothing for gradients, graph or memory",
  asWritten: "↩ As written again",
  beside: "Compare",
  besideMeans: "Set another step beside this one, moment by moment",
  compare: "Compare with",
  field: "The fakes, and what D makes of them",
  goThere: "Go there, to see why",
  legend: "Symbols",
  usedMark: "used: a step has used this gradient",
  over: ["(⚠)", "stale, but no backward comes there any more: no harm"],
  aside: ["↧, ↥", "a gradient is put aside, and put back"],
  versions: ["v0, v1", "a net's weights before and after its step"],
  saw: ["at, through", "whose weights gave the gradient in .grad"],
  memory: ["memory", "bytes that the graph keeps for a backward"],
  ask: ["?", "what if this line were otherwise? Choose, and see it run"],
  keys: "Keys: ← → last or next moment, Home, End, space plays, a number chooses a strategy, Z opens the operations (there ↑ ↓), Esc leaves.",
  used: "gradient that a step will use",
  vain: "gradient in vain: no step will use it",
  arrives: "gradient arrives now",
  cut: "cut: values pass, no gradient comes back",
};
const OUTCOMES = { // of a changed step: symbol, words, is it a warning
  error: ["✗", "It raises", true],
  wrong: ["≠", "Silently wrong", true],
  waste: ["○", "Same gradients, wasted work", false],
  same: ["✓", "Same gradients", false],
};

// Icons are drawn: fonts without these signs would show boxes.
const ICONS = {
  back: "M3 3h2v10H3zM13 3v10L6 8z", next: "M11 3h2v10h-2zM3 3v10l7-5z", play: "M3 2v12l11-6z", pause: "M4 3h3v10H4zM9 3h3v10H9z",
  beside: "M1 2h6v12H1zM9 2h6v12H9z",
};
const icon = (name) => {
  const holder = document.createElement("span");
  holder.innerHTML = `<svg viewBox="0 0 16 16" aria-hidden="true"><path d="${ICONS[name]}"/></svg>`;
  return holder.firstChild;
};

// Text in which `names` stand between backticks.
const withCode = (text) => text.split("`").map((part, i) => (i % 2 ? make("code", {}, ...breakable(part)) : part));

// A caption: what is said of gradient looks like that gradient.
function said({ caption, marks = [], raised, line }) {
  const parts = raised ? [make("b", {}, "✗ ")] : [];
  if (line > 0) parts.push(make("span", { class: "at" }, filled(UI.line, { line })));
  let at = 0;
  for (const [start, end, kind] of marks) {
    parts.push(...withCode(caption.slice(at, start)), make("mark", { class: kind }, ...withCode(caption.slice(start, end))));
    at = end;
  }
  return [...parts, ...withCode(caption.slice(at))];
}

// One film: caption, source, stage, matrix of one step, at one moment -------------------------------

class Pane {
  // acts: go(pane, moment), tryOut(key)
  constructor(data, film, variant, offers, acts) {
    this.data = data;
    this.film = film;
    this.acts = acts;
    const tell = (text) => (this.info.textContent = text);
    this.info = make("p", { class: "info" });
    this.caption = make("p", { class: "caption", "aria-live": "polite" });
    this.here = make("p", { class: "here", "aria-hidden": "true" }); // on a phone the source is out of sight
    this.code = new Code(film, variant, offers, (line) => this.goToLine(line), acts.tryOut);
    this.reserved = [];
    this.stages = {}; // one for each form, made when it is first shown
    this.matrix = new Matrix(data, film, tell, (moment) => acts.go(this, moment));
    this.field = make("div", { class: "field", role: "group", "aria-label": UI.field, hidden: !film.field });
    this.players = make("div", { class: "stage" });
    const below = make("div", { class: "below" },
      make("div", { class: "tables" }, this.matrix.element, this.matrix.memory, make("div", { class: "facts" }, this.matrix.totals, this.info)), this.field);
    this.title = make("h3", {}, variant ? variant.title : film.title);
    this.rooms = ["room", "room raised"].map((kind) => make("p", { class: `caption ${kind}`, "aria-hidden": "true" }));
    this.top = make("div", { class: "top" }, this.here, make("div", { class: "said" }, this.caption, ...this.rooms));
    this.verdict = variant && this.outcome(variant);
    const parts = [
      this.title,
      this.top,
      (this.columns = make("div", { class: "columns" }, this.code.element, this.players, below)),
    ];
    this.element = make("div", { class: variant ? "pane tried" : "pane" }, ...parts);
  }

  // Room for the longest caption of all films that are shown, so that nothing below it moves; and for
  // that of an error, which the style sheet gives where two are looked at.
  reserve(films) {
    const moments = films.flatMap((film) => film.moments);
    this.rooms.forEach((room, raised) => {
      const mine = moments.filter((moment) => Boolean(moment.raised) === Boolean(raised));
      const long = mine.reduce((a, b) => (b.caption.length > a.caption.length ? b : a), mine[0]);
      if (long !== this.reserved[raised]) room.replaceChildren(...(long ? said(long) : []));
      this.reserved[raised] = long;
    });
  }

  outcome({ outcome: { kind, message } }) {
    const [symbol, word, warns] = OUTCOMES[kind];
    const raised = this.film.moments.findIndex((moment) => moment.raised);
    const button = (text, act) => make("button", { type: "button", onclick: act }, text);
    const way = raised < 0 ? null : button(UI.goThere, () => this.acts.go(this, raised));
    this.wayThere = way && { way, raised };
    return make("p", { class: `outcome ${warns ? "warns" : "calm"}`, role: "note" },
      make("b", {}, `${symbol} ${word}: `), message, " ", way, " ", button(UI.asWritten, () => this.acts.tryOut("")));
  }

  // The next time that the line runs after now, else the first time.
  goToLine(line) {
    const runs = this.film.moments.map((m, i) => [m, i]).filter(([m]) => m.line <= line && line <= m.last);
    const next = runs.find(([, i]) => i > this.moment) ?? runs[0];
    if (next) this.acts.go(this, next[1]);
  }

  // The operations inside a net, in place of the players; without a name the whole graph.
  open(net) {
    const tell = (text) => (this.info.textContent = text);
    if (!this.operations) {
      this.operations = new Operations(this.data, this.film, tell, () => this.close());
      this.players.append(this.operations.element);
    }
    this.element.classList.add("opened");
    this.operations.at(this.moment);
    this.operations.show(net);
    this.operations.nodes[0]?.element.focus({ preventScroll: true });
    if (this.stage.narrow) this.players.scrollIntoView({ block: "nearest" }); // with its Close
  }

  close() {
    if (!this.element.classList.contains("opened")) return false;
    this.element.classList.remove("opened");
    return true;
  }

  // The players in as much width as there is. Returns whether they are others now.
  fit(width, two) {
    const form = this.form(width, two);
    const stage = (this.stages[form] ??= new Stage(this.data, this.film, (net) => this.open(net), form));
    if (stage === this.stage) return false;
    this.stage?.svg.remove();
    this.stage = stage;
    this.players.prepend(stage.svg);
    return true;
  }

  // On a phone, and where half of a notebook is theirs, they stand below each other, for letters would
  // get too small. A slide has no height for that: there they are moved together.
  form(width, two) {
    const { size, close } = this.film.stage;
    if (two && width >= BESIDE) return width >= SLIDE && width / 2 > SMALLEST_PLAYERS * close.size[0] ? "close" : "narrow";
    return width > 0 && width <= NARROW && width < SMALLEST_PLAYERS * size[0] ? "narrow" : "";
  }

  // What changes from moment to moment.
  at(index) {
    this.moment = index;
    const now = this.film.moments[index];
    this.caption.replaceChildren(...said(now));
    this.caption.classList.toggle("raised", Boolean(now.raised));
    this.info.textContent = "";
    if (this.wayThere) this.wayThere.way.style.visibility = index === this.wayThere.raised ? "hidden" : ""; // its place stays
    this.here.replaceChildren(...this.code.statement(now));
    this.code.at(index);
    this.stage.at(index);
    this.matrix.at(index);
    this.operations?.at(index);
    if (this.film.field && typeof drawField === "function") drawField(this.field, this.film.field, index);
  }

  moveFocus(root, by) {
    return this.operations?.moveFocus(root, by) ?? false;
  }
}

// As in the style sheet: screens of which all parts stand below each other, those with room for two
// steps beside each other, for code beside the players, and slides. And the scale of the players at which their text has 14 pixels.
const NARROW = 760;
const BESIDE = 820;
const WIDE = 1160;
const SLIDE = 1221;
const SMALLEST_PLAYERS = 14 / 18.5;
const CALM = matchMedia("(prefers-reduced-motion: reduce)");

// The controls, over one pane or two ---------------------------------------------------------------

// What turns live slides, forwards or back; see tools/present.
const DECK_KEYS = {
  " ": 1, ArrowRight: 1, ArrowDown: 1, j: 1, PageDown: 1,
  "Shift  ": -1, ArrowLeft: -1, ArrowUp: -1, k: -1, PageUp: -1,
};
const SHOWN = ["strategy", "moment", "what_if", "compare"];

class Explorer {
  // model: get(name), set(name, value), on(event, call), off(event, call)
  constructor(model, host) {
    this.model = model;
    this.host = host;
    this.data = model.get("data");
    this.root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
    this.panes = []; // the one or two that are shown
    this.made = [new Map(), new Map()]; // film -> its pane, left and right: a toggle builds nothing twice
    this.build();
    this.follow = () => this.update();
    this.byIndex = () => this.choose(this.data.order[model.get("index")] ?? this.strategy);
    for (const name of SHOWN) model.on(`change:${name}`, this.follow);
    model.on("change:index", this.byIndex);
    this.turned = (event) => this.turn(event);
    window.addEventListener("keydown", this.turned, true); // before JupyterLab hears of it
    this.stopWatching = watchTheme(host, this.section);
    this.update();
    this.sizes = new ResizeObserver(() => this.fit());
    this.sizes.observe(this.holder);
  }

  build() {
    this.section = make(
      "section",
      { class: "explorer", tabindex: "0", role: "group", "aria-label": this.label() },
      make("div", { class: "body" }, this.controls(), (this.over = make("div", { class: "over" })), (this.holder = make("div", { class: "panes" }))),
    );
    this.section.dataset.name = this.name;
    this.section.addEventListener("keydown", (event) => this.key(event));
    this.root.replaceChildren(make("style", {}, CSS), this.section);
  }

  // Each explorer of a page has a name of its own.
  label() {
    const { order, films } = this.data;
    const name = filled(UI.title, { titles: order.map((key) => films[key].title).join(", ") });
    const others = [...document.querySelectorAll("[data-gl-view]")].map((host) => host.shadowRoot?.querySelector(".explorer"));
    const same = others.filter((other) => other && other.dataset.name === name).length;
    this.name = name;
    return same ? filled(UI.again, { name, count: same + 1 }) : name;
  }

  controls() {
    const { order, films } = this.data;
    this.choices = order.map((key) =>
      make("button", { type: "button", onclick: () => this.choose(key) }, films[key].title));
    this.strategies = make("div", { class: "strategies", role: "group", "aria-label": UI.strategy }, ...this.choices);
    const button = (name, act) =>
      make("button", { type: "button", class: name, "aria-label": UI[name], title: UI[name], onclick: act }, icon(name));
    this.player = button("play", () => this.play(!this.timer));
    this.slider = make("input", { type: "range", min: "0", "aria-label": UI.slider });
    this.slider.addEventListener("input", () => this.set("moment", this.stops[Number(this.slider.value)]));
    this.count = make("output", {});
    const transport = make("div", { class: "transport", onclick: () => this.bringIntoSight() },
      button("back", () => this.step(-1)), button("next", () => this.step(1)), this.player, this.slider, this.count);
    this.every = make("input", { type: "checkbox", onchange: () => this.update() });
    const every = make("label", { class: "every", title: UI.everyMeans }, this.every, " ", UI.every);
    this.beside = make("button", { type: "button", class: "beside", title: UI.besideMeans, "aria-label": UI.beside, onclick: () => this.toggleBeside() }, icon("beside"), make("span", {}, UI.beside));
    this.compare = make("select", { "aria-label": UI.compare, onchange: () => this.set("compare", this.compare.value) });
    return make("div", { class: "controls" }, this.strategies, transport, every, this.beside, this.legend());
  }

  // The symbols that occur here.
  legend() {
    const { films, variants, kinds, states } = this.data;
    const shown = [...Object.values(films), ...Object.values(variants).flat().map(({ film }) => film)];
    const moments = shown.flatMap((film) => film.moments ?? []);
    const found = (table, text) => Object.keys(table).filter((letter) => moments.some((moment) => text(moment).includes(letter)));
    const held = found(kinds, ({ grads, stage }) => grads + stage.nets).map((letter) => kinds[letter]);
    const kept = found(states, (moment) => moment.states).map((letter) => states[letter]);
    const entries = [...held, ...kept]
      .filter(([symbol]) => symbol)
      .map(([symbol, word, means]) => make("li", {}, make("b", {}, symbol), ` ${word}: ${means}`));
    const entry = ([sign, means]) => make("li", {}, make("b", {}, sign), ` ${means}`);
    entries.push(entry(UI.over));
    const swatch = (kind) => make("li", {}, make("i", { class: `swatch ${kind}` }), ` ${UI[kind]}`);
    entries.push(swatch("used"), swatch("vain"));
    const words = [[this.data.received, UI.arrives], [this.data.cut, UI.cut], [this.data.used, UI.usedMark], UI.aside, UI.versions, UI.saw, UI.memory, UI.ask];
    entries.push(...words.map(entry));
    return make("details", { class: "legend" }, make("summary", {}, UI.legend),
      make("div", { tabindex: "0", role: "group", "aria-label": UI.legend }, make("ul", {}, ...entries), make("p", {}, UI.keys)));
  }

  // State, which lives in the model alone. Nothing is sent to a kernel.

  get film() {
    const key = this.strategy;
    const variant = this.variant(key);
    return variant ? this.whole(key, variant) : this.data.films[key];
  }

  // A variant's film holds only what differs from the step as written.
  whole(key, variant) {
    return (variant.whole ??= { ...this.data.films[key], ...variant.film });
  }

  get strategy() {
    const wanted = this.model.get("strategy");
    return this.data.films[wanted] ? wanted : this.data.order[0];
  }

  get moment() {
    const last = this.film.moments.length - 1;
    return Math.min(Math.max(this.model.get("moment") ?? 0, 0), last);
  }

  // The moments at which back and next stop: those with an effect, or all.
  get stops() {
    const all = this.film.moments.map((_, i) => i);
    const loud = all.filter((i) => !this.film.moments[i].silent);
    return this.every.checked || !loud.length ? all : loud;
  }

  // Where among the stops we are: at one of them, or on the way from it to the next.
  get place() {
    return Math.max(0, this.stops.findLastIndex((i) => i <= this.moment));
  }

  // What can stand beside the step, and what does.
  get others() {
    return this.data.order.filter((key) => key !== this.strategy);
  }

  get compared() {
    const wanted = this.model.get("compare");
    return this.others.includes(wanted) ? wanted : "";
  }

  variants(key) {
    return this.data.variants[key] ?? [];
  }

  variant(key) {
    return this.variants(key).find(({ key: name }) => name === this.model.get("what_if"));
  }

  set(name, value) {
    this.model.set(name, value);
  }

  // On a phone the two stand below each other: they are looked at from their top on.
  toggleBeside() {
    this.set("compare", this.compared ? "" : this.others[0]);
    if (this.holder.clientWidth <= NARROW) this.section.scrollIntoView({ block: "start", behavior: "instant" });
  }

  choose(key) {
    if (key === this.strategy) return;
    const from = this.film;
    const moment = this.moment;
    if (key === this.compared) this.set("compare", this.strategy); // the two change places
    this.set("strategy", key);
    this.set("moment", linked(from, moment, this.film)); // the same phase, in the other order
  }

  // With a change and without it the same line is looked at; who walks nowhere in between comes back
  // to where he left.
  tryOut(key) {
    const from = this.film;
    const moment = this.moment;
    const returns = key === "" && this.left?.to === from && this.left.at === moment;
    this.set("what_if", key);
    const found = returns ? this.left.moment : sameLine(from, moment, this.film);
    this.left = { to: this.film, at: found, moment };
    this.set("moment", found);
    this.section.focus({ preventScroll: true });
  }

  // To the k-th of the stops.
  goTo(k) {
    const { stops } = this;
    this.set("moment", stops[Math.min(Math.max(k, 0), stops.length - 1)]);
  }

  goFrom(pane, moment) {
    this.set("moment", pane === this.panes[0] ? moment : linked(pane.film, moment, this.film));
    if (!this.root.activeElement?.closest("thead")) this.section.focus({ preventScroll: true });
  }

  step(by) {
    const { place, stops } = this;
    this.goTo(by < 0 && stops[place] < this.moment ? place : place + by);
  }

  play(on) {
    clearInterval(this.timer);
    this.timer = null;
    const atEnd = () => this.place === this.stops.length - 1;
    if (on) {
      if (atEnd()) this.goTo(0);
      this.timer = setInterval(() => {
        this.step(1);
        if (!this.section.isConnected || atEnd()) this.play(false);
      }, 2000);
    }
    const name = this.timer ? "pause" : "play";
    this.player.replaceChildren(icon(name));
    this.player.setAttribute("aria-label", UI[name]);
    this.player.title = UI[name];
  }

  update() {
    const key = this.strategy;
    const { order, films } = this.data;
    this.set("index", order.indexOf(key)); // for menus that are linked to it
    this.choices.forEach((choice, i) => choice.setAttribute("aria-pressed", String(order[i] === key)));
    this.strategies.hidden = order.length < 2;
    const { others, compared } = this;
    options(this.compare, others.map((other) => [other, films[other].title]), compared);
    this.beside.hidden = !others.length;
    this.beside.setAttribute("aria-pressed", String(Boolean(compared)));
    const { film, moment, stops, place } = this;
    const panes = [this.pane(0, film, key, this.variant(key))];
    if (compared) {
      panes.push(this.pane(1, films[compared], compared, null));
      panes[1].title.replaceChildren(this.compare);
    }
    if (panes.length !== this.panes.length || panes.some((pane, i) => pane !== this.panes[i]))
      this.holder.replaceChildren(...panes.map((pane) => pane.element));
    this.panes = panes;
    this.section.classList.toggle("two", Boolean(compared));
    this.fit();
    for (const pane of panes) {
      pane.reserve(panes.map((one) => one.film));
      pane.at(linked(film, moment, pane.film));
    }
    this.slider.max = String(stops.length - 1);
    this.slider.value = String(place);
    this.slider.setAttribute("aria-valuetext", film.moments[moment].caption);
    this.count.textContent = filled(UI.moment, { index: place + 1, count: stops.length });
    this.tellPage(moment, place, stops.length);
  }

  fit() {
    const width = this.holder.clientWidth;
    const two = this.panes.length > 1;
    for (const pane of this.panes) if (pane.fit(width, two)) pane.at(pane.moment ?? 0);
    const [{ verdict, top, columns }] = this.panes;
    const alone = width > WIDE ? columns : top; // there its place is free, and nothing has to move for it
    const place = two && width >= BESIDE ? this.over : two ? top : alone; // over both, where they stand beside each other
    for (const old of this.over.children) if (old !== verdict) old.remove();
    if (verdict && verdict.parentElement !== place) place.append(verdict);
    const tall = ({ stage }) => (stage.height / stage.width) * Math.min(1.12 * stage.width, width / 2 - 5);
    this.holder.style.setProperty("--tall", `${Math.max(...this.panes.map(tall))}px`); // what is below begins at one height
  }

  tellPage(moment, index, count) {
    const now = JSON.stringify([moment, index, count, this.strategy, this.model.get("what_if")]);
    if (now === this.told) return;
    this.told = now;
    this.host.dispatchEvent(new CustomEvent("explorer:moment", { bubbles: true, detail: { index, count, moment } }));
  }

  pane(place, film, key, variant) {
    const made = this.made[place];
    if (!made.has(film)) {
      const acts = { go: (pane, moment) => this.goFrom(pane, moment), tryOut: (name) => this.tryOut(name) };
      made.set(film, new Pane(this.data, film, variant, place ? [] : this.variants(key), acts));
    }
    return made.get(film);
  }

  // On a phone the players may begin below the screen while the controls are on it: what is walked
  // through is to be seen. A reader who has scrolled past them wants something else.
  bringIntoSight() {
    const [{ players }] = this.panes;
    const isBelow = players.getBoundingClientRect().bottom > innerHeight;
    if (isBelow && this.holder.clientWidth <= NARROW) players.scrollIntoView({ block: "nearest", behavior: CALM.matches ? "auto" : "smooth" });
  }

  // Keys. Ours are kept from the page; all others pass on, but not to a notebook, where a letter
  // would change cells.

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    if (["Tab", "PageUp", "PageDown"].includes(event.key)) return;
    if (this.host.closest(".jp-Notebook")) event.stopPropagation();
    const on = event.composedPath()[0];
    if (on.matches(".legend > div") && event.key.startsWith("Arrow")) return event.stopPropagation(); // it scrolls
    if (event.key !== "Escape") {
      if (on.tagName === "SELECT" || on.tagName === "INPUT") return event.stopPropagation();
      if ((event.key === " " || event.key === "Enter") && ["BUTTON", "SUMMARY"].includes(on.tagName)) return event.stopPropagation();
    }
    if (!this.act(event.key)) return;
    event.stopPropagation();
    event.preventDefault();
  }

  act(key) {
    const acts = {
      ArrowRight: () => this.step(1),
      ArrowLeft: () => this.step(-1),
      ArrowDown: () => this.panes.some((pane) => pane.moveFocus(this.root, 1)) || this.step(1),
      ArrowUp: () => this.panes.some((pane) => pane.moveFocus(this.root, -1)) || this.step(-1),
      Home: () => this.goTo(0),
      End: () => this.goTo(Infinity),
      " ": () => this.play(!this.timer),
      z: () => this.zoom(),
      Escape: () => this.closeSymbols() || this.closeAll() || this.leave(),
    };
    const choice = /^[1-9]$/.test(key) ? this.data.order[Number(key) - 1] : null;
    const act = acts[key.length === 1 ? key.toLowerCase() : key];
    if (choice) this.choose(choice);
    else if (act) act();
    else return false;
    return true;
  }

  // On live slides (jupyterlab-deck) what turns them walks the moments first, forwards and back. The
  // arrows do so where the cell itself has the focus, a clicker (Page Down) also where a button has.
  turn(event) {
    const cell = this.host.closest(".jp-Deck .jp-Cell.jp-mod-active");
    const by = DECK_KEYS[`${event.shiftKey ? "Shift " : ""}${event.key}`];
    if (!cell || !by || event.ctrlKey || event.altKey || event.metaKey) return;
    const on = document.activeElement;
    if (event.key.startsWith("Page") ? !cell.contains(on) : on !== cell) return;
    if (by > 0 ? this.place >= this.stops.length - 1 : this.moment <= this.stops[0]) return;
    this.step(by);
    event.stopImmediatePropagation();
    event.preventDefault();
  }

  // The net that has the focus opens, else all of them; once more, and they close.
  zoom() {
    if (this.closeAll()) return;
    for (const pane of this.panes) {
      const bank = pane.stage.banks.find(({ group }) => group === this.root.activeElement);
      pane.open(bank?.name);
    }
  }

  closeAll() {
    const closed = this.panes.map((pane) => pane.close()).some(Boolean);
    if (closed) this.section.focus({ preventScroll: true });
    return closed;
  }

  closeSymbols() {
    const legend = this.section.querySelector(".legend");
    const { open } = legend;
    legend.open = false;
    if (open && legend.contains(this.root.activeElement)) this.section.focus({ preventScroll: true });
    return open;
  }

  leave() {
    this.play(false);
    leave(this.host, this.root);
  }

  destroy() {
    this.play(false);
    window.removeEventListener("keydown", this.turned, true);
    for (const name of SHOWN) this.model.off(`change:${name}`, this.follow);
    this.model.off("change:index", this.byIndex);
    this.stopWatching();
    this.sizes.disconnect();
  }
}

function options(select, pairs, value) {
  const now = JSON.stringify(pairs);
  if (select.dataset.pairs !== now) {
    select.dataset.pairs = now;
    select.replaceChildren(...pairs.map(([key, title]) => make("option", { value: key }, title)));
  }
  select.value = value;
}

// The moment of another film that is as far from the end of the same phase.
function linked(from, moment, to) {
  if (from === to) return moment;
  const { phase } = from.moments[moment];
  const mine = from.moments.map((m, i) => [m.phase, i]).filter(([p]) => p === phase).map(([, i]) => i);
  const theirs = to.moments.map((m, i) => [m.phase, i]).filter(([p]) => p === phase).map(([, i]) => i);
  if (!theirs.length) return Math.min(moment, to.moments.length - 1);
  const toEnd = mine.length - 1 - mine.indexOf(moment);
  return theirs[Math.max(0, theirs.length - 1 - toEnd)];
}

// The moment of another film at which the same line runs for the same time. Where it does not, what
// runs in its place: what comes after the last line before it that does.
function sameLine(from, moment, to) {
  const text = ({ source }, { line }) => source[line - 1]?.trim();
  const last = to.moments.length - 1;
  if (!text(from, from.moments[moment])) return Math.min(moment, last); // lines are not known
  for (let at = moment; at >= 0; at -= 1) {
    const line = text(from, from.moments[at]);
    const times = from.moments.slice(0, at).filter((m) => text(from, m) === line).length;
    const found = to.moments.flatMap((m, i) => (text(to, m) === line ? [i] : []));
    if (found[times] !== undefined) return Math.min(found[times] + (at < moment), last);
  }
  return 0;
}

function render({ model, el }) {
  const host = make("div", { "data-gl-view": true });
  el.append(host);
  const explorer = new Explorer(model, host);
  for (const element of [host, el])
    Object.defineProperties(element, {
      explorerMoments: { configurable: true, get: () => explorer.stops.length },
      explorerMoment: { configurable: true, get: () => explorer.place },
      goTo: { configurable: true, value: (k) => explorer.goTo(k) },
    });
  const endsText = followText(explorer);
  return () => {
    endsText();
    explorer.destroy();
  };
}

export default { render };
