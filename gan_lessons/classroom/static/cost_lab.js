// The cost lab's front end: it shows numbers that Python counted, and computes only their ratios.

// What stands on the controls; names in braces are filled in.
const UI = {
  title: "What a step costs, for nets of any size",
  width_g: "Width of G's layers",
  width_d: "Width of D's layers",
  bars: "FLOPs of one step",
  g_forward: "G forward",
  g_backward: "G backward",
  d_forward: "D forward",
  d_backward: "D backward",
  symbols: {
    g_forward: "G →",
    g_backward: "G ←",
    d_forward: "D →",
    d_backward: "D ←",
  },
  number: "{flops} · {ratio} ×",
  best: "G {g} wide, D {d} wide: {best} needs the fewest FLOPs. (×: compared with {reference}.)",
  bestTied: "G {g} wide, D {d} wide: {best} need the fewest FLOPs. (×: compared with {reference}.)",
  and: " and ",
  map: "FLOPs of {first} compared with {second}",
  corner: "D \\ G",
  less: "{first} needs fewer",
  more: "{first} needs more",
};

const PARTS = ["g_forward", "g_backward", "d_forward", "d_backward"];
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

function flopsText(n) {
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]])
    if (n >= size) return `${(n / size).toFixed(1)} ${letter}`;
  return String(n);
}

class CostLab {
  // model: get(name), set(name, value), on(event, call), off(event, call)
  constructor(model, host) {
    this.model = model;
    this.host = host;
    this.data = model.get("data");
    this.root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
    this.build();
    this.follow = () => this.update();
    for (const name of ["strategy", "width_g", "width_d"]) model.on(`change:${name}`, this.follow);
    this.followIndex = () => {
      const key = this.data.order[model.get("index")];
      if (key) model.set("strategy", key);
    };
    model.on("change:index", this.followIndex);
    this.stopWatching = watchTheme(host, this.section);
    this.update();
  }

  build() {
    this.told = make("p", { class: "told", "aria-live": "polite" });
    this.detail = make("p", { class: "detail" });
    const left = make("div", { class: "left" }, this.sliders(), this.bars(), this.legend());
    const columns = make("div", { class: "columns" }, left, this.map());
    this.section = make("section", { class: "lab", role: "group", "aria-label": UI.title },
      this.told, columns, this.detail);
    this.section.addEventListener("keydown", (event) => keepSliderKeys(event, this.host, this.root));
    this.root.replaceChildren(make("style", {}, CSS), this.section);
  }

  sliders() {
    const box = make("div", { class: "sliders" });
    this.slider = {};
    this.output = {};
    for (const name of ["width_g", "width_d"]) {
      const slider = make("input", { type: "range", min: "0", max: String(this.data.widths.length - 1), step: "1" });
      slider.addEventListener("input", () => this.model.set(name, Number(slider.value)));
      this.slider[name] = slider;
      this.output[name] = make("output", {});
      box.append(make("label", {}, make("span", {}, UI[name]), slider, this.output[name]));
    }
    return box;
  }

  bars() {
    this.rows = new Map();
    const box = make("div", { class: "bars", role: "group", "aria-label": UI.bars });
    for (const key of this.data.order) {
      const parts = PARTS.map((part) => make("span", { class: `part ${part}` }, make("i", {}, UI.symbols[part])));
      const choice = make("button", { type: "button", onclick: () => this.model.set("strategy", key) }, this.data.titles[key]);
      const number = make("span", { class: "number" });
      const bar = make("div", { class: "bar" }, ...parts);
      const row = make("div", { class: "row" }, choice, bar, number);
      this.rows.set(key, { row, choice, bar, parts, number });
      box.append(row);
    }
    return box;
  }

  legend() {
    const entries = PARTS.map((part) =>
      make("li", {}, make("span", { class: `part ${part}` }, make("i", {}, UI.symbols[part])), UI[part]));
    return make("ul", { class: "legend" }, ...entries);
  }

  // S1 against S3 for every pair of widths: where is the crossing?
  map() {
    const [first, second] = this.data.compared;
    this.cells = [];
    if (!first) return null;
    const { widths } = this.data;
    const body = make("tbody");
    for (let d = widths.length - 1; d >= 0; d--) {
      const line = make("tr", {}, make("th", { scope: "row" }, String(widths[d])));
      widths.forEach((_, g) => {
        const ratio = this.total(first, g, d) / this.total(second, g, d);
        const cell = make("td", { class: ratio < 1 ? "less" : "more" }, ratio.toFixed(2));
        cell.addEventListener("click", () => {
          this.model.set("width_g", g);
          this.model.set("width_d", d);
        });
        this.cells.push([cell, g, d]);
        line.append(cell);
      });
      body.append(line);
    }
    const head = make("tr", {}, make("th", { scope: "col", class: "corner" }, UI.corner),
      ...widths.map((w) => make("th", { scope: "col" }, String(w))));
    const names = { first: this.data.short[first], second: this.data.short[second] };
    const table = make("table", {}, make("caption", {}, filled(UI.map, names)), make("thead", {}, head), body);
    const key = make("ul", { class: "legend" },
      make("li", {}, make("span", { class: "mark less" }, "< 1"), filled(UI.less, names)),
      make("li", {}, make("span", { class: "mark more" }, "> 1"), filled(UI.more, names)));
    return make("div", { class: "map" }, table, key);
  }

  // State, which lives in the model alone. Nothing is sent to a kernel.

  width(name) {
    return Math.min(Math.max(this.model.get(name) ?? 0, 0), this.data.widths.length - 1);
  }

  total(key, g, d) {
    return sum(this.data.flops[key][g][d]);
  }

  update() {
    const at = this.data.order.indexOf(this.model.get("strategy"));
    // A menu in a notebook links to the index; in an exported page there is none.
    if (at >= 0 && this.model.get("index") !== undefined) this.model.set("index", at);
    const g = this.width("width_g");
    const d = this.width("width_d");
    for (const [name, at] of [["width_g", g], ["width_d", d]]) {
      this.slider[name].value = String(at);
      this.output[name].textContent = String(this.data.widths[at]);
      this.slider[name].setAttribute("aria-valuetext", String(this.data.widths[at]));
    }
    const { order, reference } = this.data;
    const totals = new Map(order.map((key) => [key, this.total(key, g, d)]));
    const most = Math.max(...totals.values());
    for (const key of order) this.updateRow(key, this.data.flops[key][g][d], most, totals.get(reference));
    for (const [cell, cg, cd] of this.cells) {
      const now = cg === g && cd === d;
      cell.classList.toggle("now", now);
      if (now) cell.setAttribute("aria-current", "true");
      else cell.removeAttribute("aria-current");
    }
    this.tell(g, d, totals);
  }

  updateRow(key, parts, most, reference) {
    const { row, choice, bar, parts: elements, number } = this.rows.get(key);
    const total = sum(parts);
    const chosen = key === this.model.get("strategy");
    row.classList.toggle("chosen", chosen);
    choice.setAttribute("aria-pressed", String(chosen));
    elements.forEach((element, i) => {
      element.style.width = `${(100 * parts[i]) / most}%`;
      element.title = `${UI[PARTS[i]]}: ${flopsText(parts[i])}`;
    });
    bar.setAttribute("role", "img");
    bar.setAttribute("aria-label", PARTS.map((part, i) => `${UI[part]} ${flopsText(parts[i])}`).join(", "));
    number.textContent = filled(UI.number, { flops: flopsText(total), ratio: (total / reference).toFixed(2) });
  }

  tell(g, d, totals) {
    const { order, titles, widths, reference } = this.data;
    const least = Math.min(...totals.values());
    const best = order.filter((key) => totals.get(key) === least).map((key) => titles[key]);
    const values = { g: widths[g], d: widths[d], best: best.join(UI.and), reference: this.data.short[reference] };
    this.told.textContent = filled(best.length > 1 ? UI.bestTied : UI.best, values);
    const key = this.model.get("strategy");
    const formula = this.data.formulas[key];
    this.detail.replaceChildren();
    if (!totals.has(key) || !formula) return;
    const { forward, first } = this.data;
    const sizes = [["F_G", forward.g[g]], ["I_G", first.g[g]], ["F_D", forward.d[d]], ["I_D", first.d[d]]];
    this.detail.append(make("b", {}, titles[key]), ` ${formula} = ${totals.get(key).toLocaleString("en")} FLOPs`,
      make("br"), sizes.map(([name, n]) => `${name} = ${n.toLocaleString("en")}`).join(" · "));
  }

  destroy() {
    for (const name of ["strategy", "width_g", "width_d"]) this.model.off(`change:${name}`, this.follow);
    this.model.off("change:index", this.followIndex);
    this.stopWatching();
  }
}

function render({ model, el }) {
  const host = make("div", { "data-gl-view": true });
  el.append(host);
  const lab = new CostLab(model, host);
  return () => lab.destroy();
}

export default { render };
