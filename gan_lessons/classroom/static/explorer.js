// The explorer's front end: it draws the frames that Python made from records, and computes none.
// JupyterLab runs it through anywidget; an exported page runs the same text over the same JSON.
// It asks nobody for anything: every strategy, moment and what-if is in the data.

// What stands on the controls; names in braces are filled in.
const UI = {
  title: "One training step, line by line",
  strategy: "Strategy",
  first: "First line",
  back: "Back one line",
  next: "Next line",
  last: "Last line",
  play: "Play",
  pause: "Pause",
  slider: "Moment",
  moment: "{index} of {count}",
  whatif: "What if …",
  asWritten: "as written",
  compare: "Compare with",
  alone: "nothing",
  code: "The step's own source",
  graph: "Autograd graph",
  matrix: "What every .grad holds",
  memory: "Bytes that the graph holds after each line",
  peak: "peak {held}",
  parameter: "parameter",
  saved: "saves",
  savedNothing: "saves nothing",
  bytes: "{bytes} B",
  of: "of {net}",
  ofNone: "of no net",
  holds: ".grad holds: {word}",
  norm: "norm {norm}",
  fromCalls: "from backward call {calls}",
  usedHere: "this step uses it",
  notYet: "not yet",
  goThere: "Go there, to see why",
  legend: "Symbols",
  keys: "Keys: ← → one line, Home and End, space plays, a number chooses a strategy, in the graph ↑ ↓ go from node to node, Esc leaves.",
  noGraph: "No picture of this graph.",
  totals: "In all",
  walked: "gradient passes here now",
  arrives: "gradient arrives now",
  cut: "cut: values pass, no gradient comes back",
  noSource: "Python cannot read this step's source: one moment for each event.",
};
const TOTALS = {
  forwards: "forwards",
  backwards: "backwards through",
  vain: "gradients in vain",
  peak: "graph holds at most",
  flops: "FLOPs",
};
const OUTCOMES = { // of a changed step: symbol, words
  error: ["✗", "It raises"],
  wrong: ["≠", "Silently wrong"],
  waste: ["○", "Same gradients, wasted work"],
  same: ["✓", "Same gradients"],
};

// Icons are drawn: fonts without these signs would show boxes.
const ICONS = {
  first: "M4 3h2v10H4zM14 3v10L7 8z", back: "M12 3v10L5 8z", next: "M4 3v10l7-5z",
  last: "M10 3h2v10h-2zM2 3v10l7-5z", play: "M3 2v12l11-6z", pause: "M4 3h3v10H4zM9 3h3v10H9z",
};
const icon = (name) => {
  const holder = document.createElement("span");
  holder.innerHTML = `<svg viewBox="0 0 16 16" aria-hidden="true"><path d="${ICONS[name]}"/></svg>`;
  return holder.firstChild;
};

// Text in which `names` stand between backticks.
const withCode = (text) => text.split("`").map((part, i) => (i % 2 ? make("code", {}, part) : part));
const ordered = (object, show) => Object.entries(object).map(([k, v]) => show(k, v)).join(" · ");

// Arrowheads: the way of the data, the same over a cut, and the gradient's own, at the other end.
const arrow = (id, size, x) => draw(
  "marker",
  { id, viewBox: "0 0 10 10", refX: x, refY: 5, markerUnits: "userSpaceOnUse", markerWidth: size, markerHeight: size, orient: "auto-start-reverse" },
  draw("path", { d: "M0 0L10 5L0 10z" }),
);

// One film: source, graph, matrix and memory of one step, at one moment ---------------------------

class Pane {
  constructor(data, film, variant, go) {
    this.data = data;
    this.go = go;
    this.film = film;
    this.variant = variant;
    this.element = make("div", { class: "pane" });
    this.caption = make("p", { class: "caption", "aria-live": "polite" });
    this.info = make("p", { class: "info" });
    const left = make("div", { class: "left" }, this.code(), this.matrix());
    const right = make("div", { class: "right" }, this.graph(), this.info, this.memory());
    const parts = [
      make("h3", {}, film.title, variant ? make("span", {}, ` ${variant.title}`) : null),
      this.caption,
      variant ? this.outcome(variant.outcome) : null,
      make("div", { class: "columns" }, left, right),
      this.totals(),
    ];
    this.element.replaceChildren(...parts.filter(Boolean));
  }

  outcome({ kind, message }) {
    const [symbol, word] = OUTCOMES[kind];
    const raised = this.film.moments.findIndex((moment) => moment.raised);
    const there = () => this.go(this, raised);
    const way = raised < 0 ? null : make("button", { type: "button", onclick: there }, UI.goThere);
    const said = make("b", {}, `${symbol} ${word}: `);
    return make("p", { class: "outcome", role: "note" }, said, message, " ", way ?? "");
  }

  code() {
    this.lines = new Map();
    const list = make("ol", { class: "code", tabindex: "0", "aria-label": UI.code });
    const edits = new Map((this.variant?.edits ?? []).map((edit) => [edit.line, edit]));
    this.film.source.forEach((text, i) => {
      const edit = edits.get(i + 1);
      if (edit?.old != null) list.append(make("li", { class: "old", "aria-label": `− ${edit.old}` }, edit.old));
      const line = make("li", { class: edit && edit.new != null ? "line new" : "line", value: i + 1 }, text || " ");
      line.addEventListener("click", () => this.goToLine(i + 1));
      this.lines.set(i + 1, line);
      list.append(line);
    });
    if (!this.film.source.length) list.append(make("li", { class: "old" }, UI.noSource));
    return list;
  }

  // The next time that the line runs after now, else the first time.
  goToLine(line) {
    const runs = this.film.moments.map((m, i) => [m, i]).filter(([m]) => m.line <= line && line <= m.last);
    const next = runs.find(([, i]) => i > this.moment) ?? runs[0];
    if (next) this.go(this, next[1]);
  }

  matrix() {
    const head = make("tr", {}, make("th", { scope: "col" }, UI.parameter));
    this.heads = this.film.columns.map((column) => {
      const cell = make("th", { scope: "col", title: column.source }, column.text);
      head.append(cell);
      return cell;
    });
    this.cells = [];
    let net = null;
    const body = make("tbody");
    for (const row of this.film.rows) {
      const line = make("tr", { class: net === null || row.net === net ? null : "first" });
      net = row.net;
      line.append(make("th", { scope: "row" }, `${row.net} ${row.name}`));
      row.cells.forEach((cell, i) => {
        const place = make("td");
        place.addEventListener("pointerenter", () => (this.info.textContent = place.title));
        (this.cells[i] ??= []).push([place, cell, `${row.net} ${row.name}`]);
        line.append(place);
      });
      body.append(line);
    }
    const table = make("table", {}, make("caption", {}, UI.matrix), make("thead", {}, head), body);
    return make("div", { class: "matrix", tabindex: "0", role: "group", "aria-label": UI.matrix }, table);
  }

  graph() {
    const holder = make("div", { class: "graph", role: "group", "aria-label": UI.graph });
    const { layout, nodes, edges, forwards } = this.film;
    this.nodes = [];
    this.edges = [];
    this.frames = [];
    if (!layout) {
      holder.textContent = UI.noGraph;
      return holder;
    }
    const [width, height] = layout.size.map((size) => Math.ceil(size) + 8); // and air around it
    const svg = draw("svg", {
      viewBox: `-4 -4 ${width} ${height}`,
      style: `max-width:${Math.round(width * 1.1)}px;aspect-ratio:${width} / ${height}`,
    }, draw("defs", {}, arrow("data", 7, 0), arrow("over", 7, 0), arrow("gradient", 13, 9)));
    forwards.forEach((forward, i) => this.addFrame(svg, forward, i));
    for (const edge of edges) this.addEdge(svg, edge);
    nodes.forEach((node, i) => this.addNode(svg, node, i));
    holder.append(svg);
    return holder;
  }

  // A forward of a net, around all that it built.
  addFrame(svg, forward, i) {
    const box = this.film.layout.boxes[`forward${i}`];
    if (!box) return;
    const [left, top, , height] = box;
    const text = draw("text", { x: left + 8, y: top + height - 8 }, forward.text);
    const element = draw("g", { class: `forward ${this.owner(forward)}` }, outline(box, "round"), text);
    this.frames.push({ element, nodes: this.film.nodes.flatMap((node, n) => (node.forward === i ? [n] : [])) });
    svg.append(element);
  }

  addEdge(svg, { id, ends, cut }) {
    const { paths, labels } = this.film.layout;
    if (!paths[id]) return;
    const element = draw("g", { class: cut ? "edge cut" : "edge", "data-edge": id }, draw("path", { d: paths[id] }));
    if (cut && labels[id]) element.append(label(...labels[id], `${this.data.cut} ${cut}`));
    this.edges.push({ element, ends, cut });
    svg.append(element);
  }

  addNode(svg, node, i) {
    const { boxes } = this.film.layout;
    if (!boxes[node.id]) return;
    const text = label(...middle(boxes[node.id]), "");
    const place = this.film.nets.indexOf(node.net);
    const corners = place < 0 ? "square" : place % 4 ? "cut" : "round"; // nets differ without colour, too
    const element = draw("g", { tabindex: i ? -1 : 0, role: "img", "data-node": i }, outline(boxes[node.id], corners), text);
    const tell = () => (this.info.textContent = element.getAttribute("aria-label"));
    element.addEventListener("pointerenter", tell);
    element.addEventListener("focus", tell);
    svg.append(element);
    const output = node.output == null ? null : this.addOutput(svg, node.output, boxes[`${node.id}output`]);
    this.nodes.push({ node, i, element, text, output });
  }

  addOutput(svg, name, box) {
    const [x, y] = middle(box);
    const around = draw("ellipse", { cx: x, cy: y, rx: box[2] / 2, ry: box[3] / 2 });
    const element = draw("g", { class: "node output" }, around, label(x, y, name));
    svg.append(element);
    return element;
  }

  memory() {
    const peak = Math.max(1, ...this.film.moments.map((m) => m.held));
    const strip = make("div", { class: "memory", role: "img", "aria-label": UI.memory });
    this.bars = this.film.moments.map((moment, i) => {
      const inner = make("i", { style: `height:${(100 * moment.held) / peak}%` });
      const bar = make("span", { class: moment.held === peak ? "peak" : "" }, inner);
      bar.addEventListener("click", () => this.go(this, i));
      strip.append(bar);
      return bar;
    });
    this.held = make("p", { class: "held" });
    return make("div", {}, strip, this.held);
  }

  totals() {
    const { forwards, backwards, peakText, vain, flops } = this.film.totals;
    const list = make("dl", { class: "totals", "aria-label": UI.totals });
    const add = (name, value) => list.append(make("div", {}, make("dt", {}, name), make("dd", {}, value)));
    add(TOTALS.forwards, ordered(forwards, (net, n) => `${net} ${n}`));
    add(TOTALS.backwards, ordered(backwards, (net, n) => `${net} ${n}`));
    add(TOTALS.vain, String(vain));
    add(TOTALS.peak, peakText);
    if (flops != null) add(TOTALS.flops, flops.toLocaleString("en"));
    return list;
  }

  // What changes from moment to moment.
  at(index) {
    this.moment = index;
    const now = this.film.moments[index];
    this.caption.replaceChildren(
      ...(now.raised ? [make("b", {}, "✗ ")] : []),
      ...withCode(now.caption),
    );
    this.caption.classList.toggle("raised", Boolean(now.raised));
    this.info.textContent = "";
    this.markLines(now, index);
    this.markMatrix(index);
    this.markGraph(now, index);
    this.bars.forEach((bar, i) => bar.classList.toggle("now", i === index));
    const { peakText } = this.film.totals;
    this.held.textContent = `${UI.memory}: ${now.heldText} · ${filled(UI.peak, { held: peakText })}`;
  }

  markLines(now, index) {
    const ran = new Set(this.film.moments.slice(0, index).map((m) => m.line));
    for (const [number, line] of this.lines) {
      const current = now.line <= number && number <= now.last;
      line.classList.toggle("now", current);
      line.classList.toggle("ran", !current && ran.has(number));
      if (current) line.setAttribute("aria-current", "step");
      else line.removeAttribute("aria-current");
    }
    const box = this.lines.get(now.line);
    if (box?.offsetParent) scrollWithin(box.parentElement, box);
  }

  markMatrix(index) {
    const reached = new Set(this.film.moments.slice(0, index + 1).flatMap((m) => m.columns));
    const now = new Set(this.film.moments[index].columns);
    this.film.columns.forEach((column, c) => {
      const state = now.has(column.event) ? "now" : reached.has(column.event) ? "past" : "future";
      this.heads[c].className = state;
      if (state === "now") this.heads[c].setAttribute("aria-current", "step");
      else this.heads[c].removeAttribute("aria-current");
      for (const [place, cell, who] of this.cells[c] ?? []) this.fillCell(place, cell, who, state);
      if (state === "now" && this.heads[c].offsetParent) intoView(this.heads[c]);
    });
  }

  fillCell(place, [kind, norm, sources, changed, used], who, state) {
    const [symbol, word, , name] = this.data.kinds[kind];
    if (state === "future") {
      place.className = "future";
      place.textContent = "";
      place.title = `${who}: ${UI.notYet}`;
      return;
    }
    place.className = `${state} ${name}${changed ? " changed" : ""}`;
    place.textContent = symbol + (used ? this.data.used : "");
    const told = [filled(UI.holds, { word })];
    if (norm) told.push(filled(UI.norm, { norm }));
    if (sources.length) told.push(filled(UI.fromCalls, { calls: sources.join("+") }));
    if (used) told.push(UI.usedHere);
    place.title = `${who}: ${told.join(", ")}`;
  }

  markGraph(now, index) {
    const before = index ? this.film.moments[index - 1].states : "";
    const call = now.backward == null ? null : this.film.calls[now.backward];
    const walked = new Set(call?.nodes ?? []);
    const arrived = new Set(call?.received ?? []);
    const there = new Map();
    for (const one of this.nodes) {
      const state = now.states[one.i];
      const parameter = one.node.parameters?.length;
      there.set(one.node.id, state !== ".");
      if (parameter) this.markParameter(one, now, arrived);
      else this.markOperation(one, state, walked.has(one.node.id), before[one.i] === "h" && state === "f");
      one.output?.classList.toggle("absent", state === ".");
    }
    for (const { element, ends, cut } of this.edges) {
      const shown = ends.every((id) => there.get(id) ?? true);
      element.classList.toggle("absent", !shown);
      element.classList.toggle("walked", !cut && shown && ends.every((id) => walked.has(id)));
    }
    for (const { element, nodes } of this.frames)
      element.classList.toggle("absent", nodes.every((i) => now.states[i] === "."));
  }

  markParameter({ node, element, text }, now, arrived) {
    const kinds = node.parameters.map((p) => now.grads[p]);
    const [symbol, word, , kind] = this.data.kinds[kinds[0]];
    const mixed = kinds.some((k) => k !== kinds[0]);
    const arrives = node.parameters.some((p) => arrived.has(p));
    text.textContent = `${arrives ? this.data.received : mixed ? "±" : symbol} ${node.name}`;
    element.setAttribute("class", `${this.owner(node)} node parameter ${kind}${arrives ? " received" : ""}`);
    const each = node.parameters.map((p, i) => {
      const [net, full] = this.film.parameters[p];
      return `${net} ${full}: ${filled(UI.holds, { word: this.data.kinds[kinds[i]][1] })}`;
    });
    const told = [...each, arrives ? UI.arrives : null];
    element.setAttribute("aria-label", told.filter(Boolean).join(". "));
  }

  markOperation({ node, element, text }, letter, walked, freedNow) {
    const [symbol, word, , state] = this.data.states[letter];
    text.textContent = symbol ? `${symbol} ${node.name}` : node.name;
    const extra = `${walked ? " walked" : ""}${freedNow ? " freednow" : ""}`;
    element.setAttribute("class", `${this.owner(node)} node operation ${state}${extra}`);
    const saved = node.saved.map(([what, shape, bytes, kind]) =>
      `${what} ${shape} ${filled(UI.bytes, { bytes })}${kind === "activation" ? "" : ` (${kind})`}`);
    const told = [
      `${node.op} ${node.shape}, ${node.net ? filled(UI.of, { net: node.net }) : UI.ofNone}`,
      word,
      saved.length ? `${UI.saved} ${saved.join("; ")}` : UI.savedNothing,
      walked ? UI.walked : null,
    ];
    element.setAttribute("aria-label", told.filter(Boolean).join(". "));
  }

  owner(node) {
    const place = this.film.nets.indexOf(node.net);
    return place < 0 ? "nonet" : `net${place}`;
  }

  // From one node to the next, for the keyboard.
  moveFocus(root, by) {
    const at = this.nodes.findIndex(({ element }) => element === root.activeElement);
    if (at < 0) return false;
    const next = this.nodes[Math.min(Math.max(at + by, 0), this.nodes.length - 1)];
    this.nodes[at].element.setAttribute("tabindex", "-1");
    next.element.setAttribute("tabindex", "0");
    next.element.focus();
    return true;
  }
}

// Parts of a drawing.
const middle = ([left, top, width, height]) => [left + width / 2, top + height / 2];
const label = (x, y, text) => draw("text", { x, y, dy: ".34em", "text-anchor": "middle" }, text);

function outline([x, y, width, height], corners) {
  if (corners !== "cut") return draw("rect", { x, y, width, height, rx: corners === "round" ? 8 : 0 });
  const [right, bottom, c] = [x + width, y + height, 6];
  const points = [[x + c, y], [right - c, y], [right, y + c], [right, bottom - c],
    [right - c, bottom], [x + c, bottom], [x, bottom - c], [x, y + c]];
  return draw("polygon", { points: points.join(" ") });
}

// Scroll a line into the view of its box, and never the page.
function scrollWithin(box, line) {
  const top = line.offsetTop; // within its box, which is positioned
  if (top < box.scrollTop) box.scrollTop = top;
  const bottom = top + 2 * line.offsetHeight; // and the line after it
  if (bottom > box.scrollTop + box.clientHeight) box.scrollTop = bottom - box.clientHeight;
}

// Scroll the matrix sideways until the column is in it.
function intoView(head) {
  const box = head.closest(".matrix");
  const [column, shown] = [head.getBoundingClientRect(), box.getBoundingClientRect()];
  if (column.right > shown.right) box.scrollLeft += column.right - shown.right + 2;
  if (column.left < shown.left) box.scrollLeft -= shown.left - column.left + 2;
}

// The controls, over one pane or two ---------------------------------------------------------------

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
    this.stopWatching = watchTheme(host, this.section);
    this.update();
  }

  build() {
    this.section = make(
      "section",
      { class: "explorer", tabindex: "0", role: "group", "aria-label": UI.title },
      this.controls(),
      (this.holder = make("div", { class: "panes" })),
      this.legend(),
    );
    this.section.addEventListener("keydown", (event) => this.key(event));
    this.root.replaceChildren(make("style", {}, CSS), this.section);
  }

  controls() {
    const { order, films } = this.data;
    this.choices = order.map((key) =>
      make("button", { type: "button", onclick: () => this.choose(key) }, films[key].title));
    this.strategies = make("div", { class: "strategies", role: "group", "aria-label": UI.strategy }, ...this.choices);
    const button = (name, act) =>
      make("button", { type: "button", "aria-label": UI[name], title: UI[name], onclick: act }, icon(name));
    this.player = button("play", () => this.play(!this.timer));
    this.slider = make("input", { type: "range", min: "0", "aria-label": UI.slider });
    this.slider.addEventListener("input", () => this.goTo(Number(this.slider.value)));
    this.count = make("output", {});
    const transport = make("div", { class: "transport" },
      button("first", () => this.goTo(0)), button("back", () => this.step(-1)),
      button("next", () => this.step(1)), button("last", () => this.goTo(Infinity)), this.player,
      this.slider, this.count);
    this.whatIf = make("select", { onchange: () => this.set("what_if", this.whatIf.value) });
    this.whatIfLabel = make("label", {}, UI.whatif, " ", this.whatIf);
    this.compare = make("select", { onchange: () => this.set("compare", this.compare.value) });
    this.compareLabel = make("label", {}, UI.compare, " ", this.compare);
    return make("div", { class: "controls" }, this.strategies, transport, this.whatIfLabel, this.compareLabel);
  }

  legend() {
    const entries = [...Object.values(this.data.kinds), ...Object.values(this.data.states)]
      .filter(([symbol]) => symbol)
      .map(([symbol, word, means]) => make("li", {}, make("b", {}, symbol), ` ${word}: ${means}`));
    entries.push(make("li", {}, make("b", {}, this.data.received), ` ${UI.arrives}`));
    entries.push(make("li", {}, make("b", {}, this.data.cut), ` ${UI.cut}`));
    const keys = make("p", {}, UI.keys);
    return make("details", { class: "legend" }, make("summary", {}, UI.legend), make("ul", {}, ...entries), keys);
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

  variants(key) {
    return this.data.variants[key] ?? [];
  }

  variant(key) {
    return this.variants(key).find(({ key: name }) => name === this.model.get("what_if"));
  }

  set(name, value) {
    this.model.set(name, value);
  }

  choose(key) {
    if (key === this.strategy) return;
    const from = this.film;
    const moment = this.moment;
    this.set("strategy", key);
    this.set("moment", linked(from, moment, this.film)); // the same phase, in the other order
  }

  goTo(moment) {
    const last = this.film.moments.length - 1;
    this.set("moment", Math.min(Math.max(moment, 0), last));
  }

  goFrom(pane, moment) {
    this.goTo(pane === this.panes[0] ? moment : linked(pane.film, moment, this.film));
    this.section.focus({ preventScroll: true });
  }

  step(by) {
    this.goTo(this.moment + by);
  }

  play(on) {
    clearInterval(this.timer);
    this.timer = null;
    if (on) {
      if (this.moment === this.film.moments.length - 1) this.goTo(0);
      this.timer = setInterval(() => {
        this.step(1);
        if (!this.section.isConnected || this.moment === this.film.moments.length - 1) this.play(false);
      }, 1400);
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
    options(this.whatIf, [["", UI.asWritten], ...this.variants(key).map((v) => [v.key, v.title])],
      this.variant(key)?.key ?? "");
    this.whatIfLabel.hidden = !this.variants(key).length;
    const others = order.filter((other) => other !== key).map((other) => [other, films[other].title]);
    const compared = others.some(([other]) => other === this.model.get("compare")) ? this.model.get("compare") : "";
    options(this.compare, [["", UI.alone], ...others], compared);
    this.compareLabel.hidden = !others.length;
    const film = this.film;
    const moment = this.moment;
    const panes = [this.pane(0, film, this.variant(key))];
    if (compared) panes.push(this.pane(1, films[compared], null));
    if (panes.length !== this.panes.length || panes.some((pane, i) => pane !== this.panes[i]))
      this.holder.replaceChildren(...panes.map((pane) => pane.element));
    this.panes = panes;
    this.holder.classList.toggle("two", Boolean(compared));
    for (const pane of panes) pane.at(linked(film, moment, pane.film));
    this.slider.max = String(film.moments.length - 1);
    this.slider.value = String(moment);
    this.slider.setAttribute("aria-valuetext", film.moments[moment].caption);
    this.count.textContent = filled(UI.moment, { index: moment + 1, count: film.moments.length });
  }

  pane(place, film, variant) {
    const made = this.made[place];
    if (!made.has(film)) {
      const go = (pane, moment) => this.goFrom(pane, moment);
      made.set(film, new Pane(this.data, film, variant, go));
    }
    return made.get(film);
  }

  // Keys: ours are kept from the page; those with a modifier, Tab and clickers' keys pass on.

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    if (["Tab", "PageUp", "PageDown"].includes(event.key)) return;
    event.stopPropagation();
    const on = event.composedPath()[0];
    if (event.key === "Escape") return this.leave();
    if (on.tagName === "SELECT" || on.tagName === "INPUT") return;
    if ((event.key === " " || event.key === "Enter") && ["BUTTON", "SUMMARY"].includes(on.tagName)) return;
    if (this.act(event.key)) event.preventDefault();
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
    };
    const choice = /^[1-9]$/.test(key) ? this.data.order[Number(key) - 1] : null;
    if (choice) this.choose(choice);
    else if (acts[key]) acts[key]();
    else return false;
    return true;
  }

  // Give the focus back to the slide or the notebook.
  leave() {
    this.play(false);
    this.root.activeElement?.blur();
    this.host.closest(".jp-Cell, .jp-Notebook, section, [tabindex]")?.focus({ preventScroll: true });
  }

  destroy() {
    this.play(false);
    for (const name of SHOWN) this.model.off(`change:${name}`, this.follow);
    this.model.off("change:index", this.byIndex);
    this.stopWatching();
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

function render({ model, el }) {
  const host = make("div", { "data-gl-view": true });
  el.append(host);
  const explorer = new Explorer(model, host);
  return () => explorer.destroy();
}

export default { render };
