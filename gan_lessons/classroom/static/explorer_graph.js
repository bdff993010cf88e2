// The operations inside the nets: torchviz's graph with what it hides.
// It is drawn when a net is opened, and from then on follows the moments.

const GRAPH = {
  title: "Autograd graph",
  none: "No picture of this graph.",
  close: "Close",
  saved: "saves",
  savedNothing: "saves nothing",
  bytes: "{bytes} B",
  of: "of {net}",
  ofNone: "of no net",
  walked: "gradient passes here now",
  arrives: "gradient arrives now",
  holds: ".grad holds: {word}",
};
const SMALLEST = 1.08; // its text is of 14 points
const LARGEST = 1.6;

class Operations {
  // tell(text): say what is under the pointer. close(): back to the players.
  constructor(data, film, tell, close) {
    this.data = data;
    this.film = film;
    this.tell = tell;
    this.nodes = [];
    this.edges = [];
    this.frames = [];
    this.element = make("div", { class: "graph", role: "group", "aria-label": GRAPH.title },
      make("button", { type: "button", class: "close", onclick: close }, GRAPH.close),
      (this.box = make("div", { class: "scroll", tabindex: "-1" })));
    if (!film.layout) this.box.textContent = GRAPH.none;
    else this.build();
  }

  build() {
    const { layout, nodes, edges, forwards } = this.film;
    const [width, height] = layout.size.map((size) => Math.ceil(size) + 8); // and air around it
    this.svg = draw("svg", { viewBox: `-4 -4 ${width} ${height}` },
      draw("defs", {}, arrow("data", 6, 0), arrow("across", 6, 0), arrow("gradient", 13)));
    forwards.forEach((forward, i) => this.addFrame(forward, i));
    for (const edge of edges) this.addEdge(edge);
    nodes.forEach((node, i) => this.addNode(node, i));
    for (const { text } of this.frames) this.svg.append(text); // over the edges
    this.box.append(this.svg);
  }

  // As large as the room allows, with the operations of this net in sight.
  show(net) {
    if (!this.svg) return;
    const { boxes, size: [width, height] } = this.film.layout;
    const own = [
      ...this.film.forwards.map((forward, i) => [forward.net, boxes[`forward${i}`]]),
      ...this.film.nodes.filter((node) => node.parameters?.length).map((node) => [node.net, boxes[node.id]]),
    ].filter(([name, box]) => box && name === net).map(([, box]) => box);
    const seen = own.length ? own : [[0, 0, width, height]];
    const [left, top] = [0, 1].map((i) => Math.min(...seen.map((box) => box[i])));
    const [right, bottom] = [0, 1].map((i) => Math.max(...seen.map((box) => box[i] + box[i + 2])));
    const room = Math.min(this.box.clientWidth / (right - left + 30), this.box.clientHeight / (bottom - top + 24));
    const scale = Math.min(Math.max(room, SMALLEST), LARGEST);
    this.svg.style.width = `${Math.round((width + 8) * scale)}px`;
    this.svg.style.height = `${Math.round((height + 8) * scale)}px`;
    this.box.scrollLeft = scale * ((left + right) / 2) - this.box.clientWidth / 2;
    this.box.scrollTop = scale * (top - 8);
  }

  // A forward of a net, around all that it built.
  addFrame(forward, i) {
    const box = this.film.layout.boxes[`forward${i}`];
    if (!box) return;
    const [left, top, , height] = box;
    const text = draw("text", { class: `caption-of ${this.owner(forward)}`, x: left + 8, y: top + height - 8 }, forward.text);
    const element = draw("g", { class: `forward ${this.owner(forward)}` }, outline(box, "round"));
    this.frames.push({ element, text, nodes: this.film.nodes.flatMap((node, n) => (node.forward === i ? [n] : [])) });
    this.svg.append(element);
  }

  addEdge({ id, ends, cut }) {
    const { paths, labels } = this.film.layout;
    if (!paths[id]) return;
    const element = draw("g", { class: cut ? "edge cut" : "edge", "data-edge": id }, draw("path", { d: paths[id] }));
    if (cut && labels[id]) element.append(label(...labels[id], `${this.data.cut} ${cut}`));
    this.edges.push({ element, ends, cut });
    this.svg.append(element);
  }

  addNode(node, i) {
    const { boxes } = this.film.layout;
    if (!boxes[node.id]) return;
    const text = label(...middle(boxes[node.id]), "");
    const place = this.film.nets.indexOf(node.net);
    const corners = place < 0 ? "square" : place % 4 ? "cut" : "round"; // nets differ without colour, too
    const element = draw("g", { tabindex: i ? -1 : 0, role: "img", "data-node": i }, outline(boxes[node.id], corners), text);
    const tell = () => this.tell(element.getAttribute("aria-label"));
    element.addEventListener("pointerenter", tell);
    element.addEventListener("focus", tell);
    this.svg.append(element);
    const output = node.output == null ? null : this.addOutput(node.output, boxes[`${node.id}output`]);
    this.nodes.push({ node, i, element, text, output });
  }

  addOutput(name, box) {
    const [x, y] = middle(box);
    const around = draw("ellipse", { cx: x, cy: y, rx: box[2] / 2, ry: box[3] / 2 });
    const element = draw("g", { class: "node output" }, around, label(x, y, name));
    this.svg.append(element);
    return element;
  }

  at(index) {
    if (!this.svg) return;
    const now = this.film.moments[index];
    const before = index ? this.film.moments[index - 1].states : "";
    const call = now.backward == null ? null : this.film.calls[now.backward];
    const walked = new Set(call?.nodes ?? []);
    const arrived = new Set(call?.received ?? []);
    const there = new Map();
    for (const one of this.nodes) {
      const state = now.states[one.i];
      there.set(one.node.id, state !== ".");
      if (one.node.parameters?.length) this.markParameter(one, now, arrived);
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
    const [symbol, , , kind] = this.data.kinds[kinds[0]];
    const mixed = kinds.some((k) => k !== kinds[0]);
    const arrives = node.parameters.some((p) => arrived.has(p));
    text.textContent = `${arrives ? this.data.received : mixed ? "±" : symbol} ${node.name}`;
    element.setAttribute("class", `${this.owner(node)} node parameter ${kind}${arrives ? " received" : ""}`);
    const each = node.parameters.map((p, i) => {
      const [net, full] = this.film.parameters[p];
      return `${net} ${full}: ${filled(GRAPH.holds, { word: this.data.kinds[kinds[i]][1] })}`;
    });
    const told = [...each, arrives ? GRAPH.arrives : null];
    element.setAttribute("aria-label", told.filter(Boolean).join(". "));
  }

  markOperation({ node, element, text }, letter, walked, freedNow) {
    const [symbol, word, , state] = this.data.states[letter];
    text.textContent = symbol ? `${symbol} ${node.name}` : node.name;
    const extra = `${walked ? " walked" : ""}${freedNow ? " freednow" : ""}`;
    element.setAttribute("class", `${this.owner(node)} node operation ${state}${extra}`);
    const saved = node.saved.map(([what, shape, bytes, kind]) =>
      `${what} ${shape} ${filled(GRAPH.bytes, { bytes })}${kind === "activation" ? "" : ` (${kind})`}`);
    const told = [
      `${node.op} ${node.shape}, ${node.net ? filled(GRAPH.of, { net: node.net }) : GRAPH.ofNone}`,
      word,
      saved.length ? `${GRAPH.saved} ${saved.join("; ")}` : GRAPH.savedNothing,
      walked ? GRAPH.walked : null,
    ];
    element.setAttribute("aria-label", told.filter(Boolean).join(". "));
  }

  owner(node) {
    const place = this.film.nets.indexOf(node.net);
    return place < 0 ? "nonet" : `net${place % 4}`;
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
