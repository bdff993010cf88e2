// The plane in which a small GAN's data live: points, fakes, what D says, the gradient at the fakes.
// It draws what classroom/explorer/field.py found, at one moment.

const FIELD_UI = {
  real: "real", fake: "fake", old: "before", pull: "pull", vain: "in vain", zoom: "moves ×{zoom}",
  zoomTold: "Moves are drawn {zoom} times as long as they are.", says: "D: {says}",
};
const [FIELD_WIDTH, FIELD_HEIGHT] = [300, 214]; // of the drawing, in units of its own
const FIELD_RIM = 10; // from the middle of a mark to its edge: arrows begin there
const FIELD_BANDS = 8; // heights of D's judgement that are told apart

// Draw `field` as it is at moment number `index` into `element`, which is kept for the next moment.
function drawField(element, field, index) {
  if (element.glField?.field !== field) element.glField = new FieldPicture(element, field);
  element.glField.at(index);
}

class FieldPicture {
  constructor(element, field) {
    this.field = field;
    this.hills = new Map(); // state of D -> its drawing
    this.back = draw("g", {});
    this.pulls = draw("g", {});
    this.trails = draw("g", {});
    this.ghosts = draw("g", {});
    this.fakes = draw("g", {});
    this.real = draw("g", {}, ...field.real.map((point) => fieldMark("real", ...this.place(point))));
    this.svg = draw("svg", { viewBox: `0 0 ${FIELD_WIDTH} ${FIELD_HEIGHT}`, role: "img" },
      this.back, this.real, this.trails, this.ghosts, this.pulls, this.fakes,
      draw("rect", { class: "frame", width: FIELD_WIDTH, height: FIELD_HEIGHT }));
    this.says = field.says.map((says) => make("span", { class: "field-says", "aria-hidden": "true" }, filled(FIELD_UI.says, { says: says.toFixed(2) })));
    this.words = make("p", { class: "field-words" });
    element.classList.add("field");
    element.replaceChildren(this.legend(), make("div", { class: "field-map" }, this.svg, ...this.says), this.words);
  }

  // From the whole numbers of the field to the drawing.
  place([x, y]) {
    const [left, bottom, right] = this.field.box;
    const unit = FIELD_WIDTH / (right - left);
    return [(x / this.field.per - left) * unit, FIELD_HEIGHT - (y / this.field.per - bottom) * unit];
  }

  at(index) {
    const { clouds, moments, arrows, stretch, zoom } = this.field;
    const now = moments[index];
    this.back.replaceChildren(this.hill(now.d));
    const old = clouds[now.from ?? now.fakes] ?? [];
    const fakes = (clouds[now.fakes] ?? []).map(([x, y], i) =>
      [old[i][0] + zoom * (x - old[i][0]), old[i][1] + zoom * (y - old[i][1])]);
    const moved = now.from !== undefined;
    this.ghosts.replaceChildren(...(moved ? old.map((point) => fieldMark("ghost", ...this.place(point))) : []));
    this.trails.replaceChildren(...(moved ? fakes.map((to, i) => fieldArrow("trail", this.place(old[i]), this.place(to), -FIELD_RIM)) : []));
    this.put(fakes);
    this.pulls.replaceChildren(...(now.pulls ?? []).flatMap(([at, which, fresh, vain]) =>
      clouds[at].map((from, i) => {
        const to = from.map((x, axis) => x + stretch * arrows[which][i][axis]);
        return fieldArrow(`pull${vain ? " vain" : ""}${fresh ? "" : " waiting"}`, this.place(from), this.place(to), FIELD_RIM);
      })));
    const pulls = now.pulls?.map(([, , , vain]) => Boolean(vain)) ?? [];
    const seen = { real: true, fake: true, ghost: moved, zoom: moved && zoom > 1, pull: pulls.includes(false), vain: pulls.includes(true) };
    for (const [name, entry] of Object.entries(this.named)) entry.hidden = !seen[name];
    for (const [what, group] of [["real", this.real], ["fakes", moved ? this.ghosts : this.fakes]])
      group.classList.toggle("judged", Boolean(now.judged?.includes(what)));
    const words = now.words || now.says;
    this.words.replaceChildren(...words.split("`").map((part, i) => (i % 2 ? make("code", {}, part) : part)));
    this.svg.setAttribute("aria-label", [now.words.replaceAll("`", ""), now.says, filled(FIELD_UI.zoomTold, { zoom })].join(" ").trim());
  }

  // Fakes glide to where they go, where one wants motion.
  put(points) {
    if (this.fakes.childElementCount !== points.length)
      this.fakes.replaceChildren(...points.map(() => fieldMark("fake", 0, 0)));
    points.forEach((point, i) => {
      const [x, y] = this.place(point);
      this.fakes.children[i].style.transform = `translate(${x}px, ${y}px)`;
    });
  }

  // What D says, as a map with lines of equal height.
  hill(state) {
    if (!this.hills.has(state)) {
      const { letters, side, grids } = this.field;
      const heights = Array.from(grids[state], (letter) => letters.indexOf(letter) / (letters.length - 1));
      const layers = Array.from({ length: FIELD_BANDS - 1 }, (_, i) =>
        draw("path", { class: "band", d: fieldRegion(heights, side, (i + 1) / FIELD_BANDS) }));
      const low = draw("rect", { class: "low", width: FIELD_WIDTH, height: FIELD_HEIGHT });
      this.hills.set(state, { hill: draw("g", {}, low, ...layers), heights });
    }
    const { hill, heights } = this.hills.get(state);
    [Math.min(...heights), Math.max(...heights)].forEach((extreme, i) => this.label(this.says[i], heights.indexOf(extreme)));
    return hill;
  }

  // A label stands where D says the least, or the most, and within the map.
  label(element, place) {
    const { side } = this.field;
    const within = (part, air) => `clamp(${air}px, ${100 * part}%, 100% - ${air}px)`;
    element.style.left = within((place % side) / (side - 1), 34);
    element.style.top = within(1 - Math.floor(place / side) / (side - 1), 12);
  }

  legend() {
    const sample = (mark, box = "-10 -10 20 20") => draw("svg", { viewBox: box, "aria-hidden": "true" }, mark);
    const entry = (text, ...mark) => make("li", {}, ...mark, ` ${text}`);
    const arrow = (kind) => sample(fieldArrow(kind, [-18, 0], [18, 0], 0), "-20 -10 40 20");
    this.named = { // what is there to be seen at a moment is named at it
      real: entry(FIELD_UI.real, sample(fieldMark("real", 0, 0))),
      fake: entry(FIELD_UI.fake, sample(fieldMark("fake", 0, 0))),
      ghost: entry(FIELD_UI.old, sample(fieldMark("ghost", 0, 0))),
      zoom: entry(filled(FIELD_UI.zoom, this.field)),
      pull: entry(FIELD_UI.pull, arrow("pull")),
      vain: entry(FIELD_UI.vain, arrow("pull vain")),
    };
    return make("ul", { class: "field-legend" }, ...Object.values(this.named));
  }
}

// Real points are round, fakes stand on a corner, and where they were is hollow. None of these points
// anywhere: arrows do.
function fieldMark(kind, x, y) {
  const shape = kind === "real" ? draw("circle", { r: 7 }) : draw("path", { d: "M0-9L9 0L0 9L-9 0z" });
  const mark = draw("g", { class: kind }, shape);
  mark.style.transform = `translate(${x}px, ${y}px)`;
  return mark;
}

// An arrow from the rim of what stands at its start, as long as the way is; or, where `rim` is negative,
// from rim to rim.
function fieldArrow(kind, [x, y], [toX, toY], rim) {
  const way = Math.hypot(toX - x, toY - y);
  const length = rim < 0 ? way + 2 * rim : way;
  if (way < 0.5 || length < 1) return draw("g", {});
  const [ux, uy] = [(toX - x) / way, (toY - y) / way];
  const start = Math.abs(rim);
  const head = Math.min(16, Math.max(12, 0.6 * length));
  const at = (along, across) => `${x + ux * (start + along) - uy * across} ${y + uy * (start + along) + ux * across}`;
  const shaft = draw("path", { class: "shaft", d: `M${at(0, 0)}L${at(Math.max(length - head, 0), 0)}` });
  const tip = draw("path", { class: "tip", d: `M${at(length - head, head / 2)}L${at(length, 0)}L${at(length - head, -head / 2)}z` });
  return draw("g", { class: kind }, shaft, tip);
}

// Where the heights, row by row from the bottom, are at least `level`: a path of closed lines.
function fieldRegion(heights, side, level) {
  const height = (i, j) => (i < 0 || j < 0 || i >= side || j >= side ? -1 : heights[j * side + i]);
  const inside = (i, j) => height(i, j) >= level;
  const clip = (i) => Math.min(Math.max(i, 0), side - 1); // around the map stands a rim without width
  const crossing = ([i, j], [k, l]) => {
    const part = (level - height(i, j)) / (height(k, l) - height(i, j));
    const mix = (a, b) => clip(a) + part * (clip(b) - clip(a));
    const [x, y] = [mix(i, k) / (side - 1), mix(j, l) / (side - 1)];
    return `${(x * FIELD_WIDTH).toFixed(1)} ${((1 - y) * FIELD_HEIGHT).toFixed(1)}`;
  };
  // Around a cell, anticlockwise: the line goes from where one leaves the region to where one comes
  // back into it. `next`: from each crossing of an edge to the one after it.
  const next = new Map();
  const points = new Map();
  for (let j = -1; j < side; j++)
    for (let i = -1; i < side; i++) {
      const corners = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]];
      const edges = corners.map((corner, n) => [corner, corners[(n + 1) % 4]]);
      edges.forEach(([from, to], n) => {
        if (!inside(...from) || inside(...to)) return;
        const back = [1, 2, 3].map((m) => edges[(n + m) % 4]).find(([a, b]) => !inside(...a) && inside(...b));
        next.set(`${from},${to}`, `${back[1]},${back[0]}`);
        points.set(`${from},${to}`, crossing(from, to));
      });
    }
  let path = "";
  while (next.size) {
    let [at] = next.keys();
    const line = [];
    while (next.has(at)) {
      line.push(points.get(at));
      const to = next.get(at);
      next.delete(at);
      at = to;
    }
    path += `M${line.join("L")}z`;
  }
  return path;
}
