// The stage: who plays in a step, what each of them keeps, and where gradient arrives now.
// Boxes, paths and states were decided in Python, for a whole slide, for half of one ("close") and for a
// narrow screen; here they are drawn and marked.

const STAGE = {
  title: "The players of this step",
  version: "v{number}",
  moves: "v{before} → v{after}",
  aside: "↧ kept aside",
  open: "Enter or Z opens its operations",
  told: "{net}: weights {version}, .grad {word}",
  ran: "{call} with weights v{version}: {state}",
  arrives: { u: "gradient arrives that a step will use", v: "gradient arrives in vain", t: "gradient passes" },
  cut: "cut by {how}: values pass, no gradient comes back",
  older: "old v{number}",
  states: { ".": "", n: "no graph", h: "■ held", f: "□ freed", s: "⚠ stale", o: "(⚠ stale)", u: "? unknown" },
  used: "used",
  mixed: "⚠ mixed",
  partly: "✓ used + ○ in vain",
  partlyNarrow: "✓ + ○ in vain",
};
const BACK = { u: "used", v: "vain", t: "through", ".": "" };

// An arrowhead whose tip touches the end of its line.
const arrow = (id, size, at = 10) => draw(
  "marker",
  { id, viewBox: "0 0 10 10", refX: at, refY: 5, markerUnits: "userSpaceOnUse", markerWidth: size, markerHeight: size, orient: "auto-start-reverse" },
  draw("path", { d: "M0 0L10 5L0 10z" }),
);
const stripes = (id) => draw(
  "pattern",
  { id, width: 10, height: 10, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
  draw("rect", { class: "a", width: 10, height: 10 }),
  draw("rect", { class: "b", width: 5, height: 10 }),
);
// The stage where there is less room: the same players in other places.
function rearranged(stage, places) {
  const moved = (name) => stage[name].map((one, i) => ({ ...one, box: places[name][i] }));
  const calls = moved("calls").map((call, i) => ({ ...call, title: places.titles[i], input: "" }));
  const edges = stage.edges.map(({ label, ...edge }, i) => ({ ...edge, ...places.edges[i] }));
  return { ...stage, ...places, frames: moved("frames"), calls, losses: moved("losses"), edges };
}

// In a wide face a long word is set closer.
function fitted(text, room) {
  text.removeAttribute("textLength");
  if (text.getComputedTextLength() <= room) return;
  text.setAttribute("lengthAdjust", "spacingAndGlyphs");
  text.setAttribute("textLength", room);
}

class Stage {
  // open(net): show the operations inside it. form: "", "close" or "narrow".
  constructor(data, film, open, form) {
    this.data = data;
    this.film = film;
    this.open = open;
    this.form = form;
    this.narrow = form === "narrow";
    this.layout = form ? rearranged(film.stage, film.stage[form]) : film.stage;
    const { size } = this.layout;
    const [width, height] = [size[0] + 4, size[1] + 4];
    this.width = width;
    this.height = height;
    this.svg = draw("svg", {
      class: form ? `players ${form}` : height > 420 ? "players tall" : "players", viewBox: `-2 -2 ${width} ${height}`, role: "group", "aria-label": STAGE.title,
      style: `--natural:${width}px;aspect-ratio:${width} / ${height}`,
    }, draw("defs", {}, arrow("to", 9), arrow("over", 9), arrow("used", 20), arrow("vain", 20), arrow("through", 16), stripes("stripes")));
    this.banks = this.layout.frames.map((frame) => this.frame(frame));
    this.ways = this.layout.edges.map((edge) => this.way(edge));
    this.calls = this.layout.calls.map((call, i) => this.call(call, i));
    this.losses = this.layout.losses.map((loss) => this.loss(loss));
    this.lift();
  }

  // A net: its name, the version of its weights, what its .grad holds, and below that its calls.
  frame({ net, box }) {
    const [x, y, width, height] = box;
    const name = this.film.nets[net];
    const at = this.bank(width, this.layout.calls.filter((call) => call.net === net).length);
    const text = (kind, [left, down], end) => draw("text", { class: kind, x: x + left, y: y + down, "text-anchor": end });
    const version = text("version", at.version, "end");
    const bar = draw("rect", { class: "bar", x: x + at.left, y: y + at.bar, width: at.room + 16, height: 31, rx: 6 });
    const half = draw("rect", { class: "half", x: x + at.left + 1.5, y: y + at.bar + 1.5, width: 0.56 * (at.room + 13), height: 28, rx: 5 });
    const holds = text("holds", at.holds);
    const saw = text("saw", at.saw);
    const grad = text("grad", at.grad);
    grad.textContent = ".grad";
    const act = () => this.open(name);
    const group = draw("g", { class: `frame net${net % 4}`, tabindex: "0", role: "button", onclick: act },
      draw("rect", { class: "around", x, y, width, height, rx: net % 2 ? 3 : 16 }),
      draw("text", { class: "name", x: x + at.left + 8, y: y + at.version[1] + 1 }, visibleName(name)), version, bar, half, grad, holds, saw);
    group.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.stopPropagation();
      event.preventDefault();
      act();
    });
    this.svg.append(group);
    return { net, name, group, version, holds, saw, room: at.room + 16 + at.left - at.holds[0] - 4, sawRoom: at.sawRoom };
  }

  // Where in a frame it stands what a net says of its weights: above its calls, or beside them.
  bank(width, calls) {
    const { bank, head } = this.layout;
    if (this.form === "close") return { left: 6, version: [width - 12, 26], bar: 34, room: width - 28, grad: [11, 56], holds: [63, 56], saw: [28, 84], sawRoom: width - 34 };
    if (!this.narrow) return { left: 8, version: [width - 16, 29], bar: 41, room: width - 32, grad: [16, 63], holds: [70, 63], saw: [36, 95], sawRoom: width - 44 };
    return { left: 8, version: [bank + 6, head - 3], bar: head + 28, room: bank - 16, grad: [16, head + 20], holds: [14, head + 50], saw: [14, head + 80], sawRoom: calls > 1 ? bank : width - 24 };
  }

  call({ net, box, title, input }, i) {
    const [x, y, width, height] = box;
    const low = height < 60 ? 3 : 0; // two lines of text in it
    const state = draw("text", { class: "state", x: x + width / 2, y: y + 49 - low, "text-anchor": "middle" });
    const group = draw("g", { class: `call net${net % 4}`, "data-call": i },
      draw("rect", { x, y, width, height, rx: net % 2 ? 2 : 10 }),
      draw("text", { class: "title", x: x + width / 2, y: y + 24 - low, "text-anchor": "middle" }, title), state);
    group.addEventListener("click", () => this.open(this.film.nets[net]));
    if (input) {
      const at = x - 48;
      group.append(draw("path", { class: "feed", d: `M${at + 4},${y + height / 2}H${x}` }),
        draw("text", { class: "input", x: at, y: y + height / 2 + 6, "text-anchor": "end" }, input));
    }
    this.svg.append(group);
    return { net, title, group, state, room: width - 8 };
  }

  loss({ name, box }) {
    const [x, y, width, height] = box;
    const group = draw("g", { class: "loss" },
      draw("ellipse", { cx: x + width / 2, cy: y + height / 2, rx: width / 2, ry: height / 2 }),
      draw("text", { x: x + width / 2, y: y + height / 2 + 6, "text-anchor": "middle" }, name));
    this.svg.append(group);
    return { name, group };
  }

  // The way of the data, and over it that of the gradient, which lights up from the loss on.
  way({ path, weights, label, cut, at }) {
    const kind = weights ? "weights" : cut ? "cut" : "";
    const group = draw("g", { class: `way ${kind}` }, draw("path", { class: "data", d: path }));
    const from = path.slice(1).split(/[,A-Z]/);
    const along = this.narrow ? 1 : 0; // from top to bottom, or from left to right
    const late = (1 - from[along] / this.layout.size[along]) * 0.9 + (weights ? 0.12 : 0);
    const back = draw("path", { class: "back", d: path, style: `--late:${late.toFixed(2)}s` });
    group.append(back);
    if (label) group.append(draw("text", { class: "label", x: label[0], y: label[1], "text-anchor": "end" }, label[2]));
    if (cut) group.append(this.cutAt(at, cut));
    this.svg.append(group);
    return { group, back, cut };
  }

  // The line is interrupted, and two blades stand in the gap.
  cutAt([x, y, scissors = 31], how) {
    const mark = draw("g", { class: "blades" }, draw("title", {}, filled(STAGE.cut, { how })),
      draw("rect", { x: x - 9, y: y - 7, width: 18, height: 14 }),
      draw("path", { d: `M${x - 12},${y + 11}l8,-22M${x + 4},${y + 11}l8,-22` }));
    mark.append(draw("text", { class: "scissors", x, y: y + scissors, "text-anchor": "middle" }, "✂"));
    return mark;
  }

  // Gradient runs over frames and under nothing.
  lift() {
    for (const { group } of this.calls) this.svg.append(group);
    for (const { group } of this.ways) this.svg.append(group);
  }

  at(index) {
    const now = this.film.moments[index].stage;
    const before = index ? this.film.moments[index - 1].stage.versions : now.versions.map(() => 0);
    this.calls.forEach((call, i) => this.markCall(call, now, i));
    this.losses.forEach(({ group }, i) =>
      group.setAttribute("class", `loss${now.losses[i] === "." ? " absent" : ""}`));
    for (const bank of this.banks) this.markBank(bank, now, before);
    this.markWays(now);
    this.intoSight();
  }

  // On a narrow screen the stage scrolls, and what happens now is in sight.
  intoSight() {
    const box = this.svg.parentElement;
    if (!box || box.scrollWidth <= box.clientWidth + 1) return;
    const now = this.svg.querySelector(".frame.received, .frame.moved, .call.now") ?? this.svg;
    const [seen, frame] = [now.getBoundingClientRect(), box.getBoundingClientRect()];
    box.scrollLeft += (seen.left + seen.right) / 2 - (frame.left + frame.right) / 2;
  }

  markCall({ net, title, group, state, room }, now, i) {
    const letter = now.calls[i];
    const mixed = now.old?.includes(i);
    const version = this.film.versions[i];
    const older = letter !== "." && version < now.versions[net];
    const words = mixed ? STAGE.mixed : STAGE.states[letter];
    const number = draw("tspan", { class: "number" }, filled(older ? STAGE.older : STAGE.version, { number: version }));
    state.replaceChildren(...(letter === "." ? [] : [number, `  ${words}`]));
    if (this.narrow && letter !== ".") fitted(state, room);
    const classes = [
      "call", `net${net % 4}`, letter === "." ? "absent" : "", letter === "s" || mixed ? "stale" : "",
      "fo".includes(letter) ? "freed" : "", older ? "older" : "", now.run?.includes(i) ? "now" : "",
    ];
    group.setAttribute("class", classes.filter(Boolean).join(" "));
    group.setAttribute("aria-label", filled(STAGE.ran, { call: title, version, state: words }));
  }

  markBank({ net, name, group, version, holds, saw, room, sawRoom }, now, before) {
    const [symbol, word, , kind] = this.data.kinds[now.nets[net]];
    const moved = now.moved?.includes(net);
    const number = now.versions[net];
    version.textContent = moved ? filled(STAGE.moves, { before: before[net], after: number }) : filled(STAGE.version, { number });
    const used = now.used?.includes(net); // it stays so until it is cleared or added to
    const plain = used ? `${symbol}${this.data.used} ${STAGE.used}` : `${symbol} ${word}`;
    holds.textContent = kind !== "partly" ? plain : this.narrow ? STAGE.partlyNarrow : STAGE.partly;
    saw.textContent = now.aside?.includes(net) ? STAGE.aside : now.saw[net];
    const arrives = this.arrives(net, now);
    group.setAttribute("class", ["frame", `net${net % 4}`, kind, used ? "used" : "", moved ? "moved" : "", arrives ? "received" : ""].filter(Boolean).join(" "));
    if (saw.textContent.length > 13) fitted(saw, sawRoom);
    else saw.removeAttribute("textLength");
    if (holds.textContent.length > 10) fitted(holds, room);
    else holds.removeAttribute("textLength");
    const told = [
      filled(STAGE.told, { net: name, version: version.textContent, word: used ? STAGE.used : word }), saw.textContent,
      STAGE.arrives[arrives] ?? "", STAGE.open,
    ];
    group.setAttribute("aria-label", told.filter(Boolean).join(". "));
  }

  // What the gradient that reaches the weights of a net now is good for.
  arrives(net, now) {
    if (!now.walk) return "";
    const letters = this.film.stage.edges.map((edge, i) => (edge.weights === net + 1 ? now.walk[i] : "."));
    return ["u", "v"].find((letter) => letters.includes(letter)) ?? "";
  }

  markWays(now) {
    this.ways.forEach(({ group, back, cut }, i) => {
      const letter = now.walk?.[i] ?? ".";
      const [from, to] = this.film.stage.edges[i].ends.map((end) => this.there(end, now));
      const classes = ["way", this.film.stage.edges[i].weights ? "weights" : "", cut ? "cut" : "",
        from && to ? "" : "absent", BACK[letter] ? `back-${BACK[letter]}` : ""];
      group.setAttribute("class", classes.filter(Boolean).join(" "));
      back.setAttribute("marker-start", BACK[letter] ? `url(#${BACK[letter]})` : "none");
    });
  }

  there([kind, i], now) {
    if (kind === "net") return true;
    return (kind === "call" ? now.calls : now.losses)[i] !== ".";
  }
}

const visibleName = (name) => (name.length > 16 ? `${name.slice(0, 15)}…` : name);
