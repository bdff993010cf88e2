// What every .grad holds, a row for each net; the bytes that the graph keeps; the counts so far.

const MATRIX = {
  title: "What every .grad holds",
  net: "{net} .grad",
  unfold: "Unfold the parameters of {net}",
  keeps: "memory",
  keepsMeans: "Bytes that the graph keeps for a later backward",
  holds: ".grad holds: {word}",
  norm: "norm {norm}",
  fromCalls: "from backward call {calls}",
  used: "used",
  usedMeans: "a step has used it",
  aside: "a gradient of it is kept aside",
  asideMark: "↧",
  notYet: "not yet",
  goThere: "{text}: {source}. Go there",
  memory: "Memory that the graph keeps after each line of the step, for a later backward",
  memoryWords: ["memory after", "each line"],
  vain: "{vain} of {received} parameter gradients",
  vainSummed: "{vain}, summed {summed} of {received} gradients",
  vainMeans: "Counted: each parameter that a backward call reached, once for each call. Summed: a step used it together with others, or with what was in .grad before",
  peak: "{peakText}, line {peakLine}",
  totals: "So far",
};
const TOTALS = {
  forwards: "forwards",
  backwards: "backwards through",
  flops: "FLOPs",
  vain: "in vain",
  peak: "peak",
};

class Matrix {
  // tell(text): say what is under the pointer. go(moment).
  constructor(data, film, tell, go) {
    this.data = data;
    this.film = film;
    this.tell = tell;
    this.go = go;
    this.places = [];
    this.element = make("div", { class: "matrix", tabindex: "0", role: "group", "aria-label": MATRIX.title }, this.table());
    this.memory = this.strip(go);
    this.totals = make("dl", { class: "totals", "aria-label": MATRIX.totals });
    this.values = Object.fromEntries(Object.entries(TOTALS).map(([key, name]) => {
      const value = make("dd");
      this.totals.append(make("div", { class: key }, make("dt", {}, name), value));
      return [key, value];
    }));
    this.values.vain.parentElement.title = MATRIX.vainMeans;
  }

  table() {
    const corner = make("td", { class: "corner" });
    this.heads = this.film.columns.map((column) => this.head(column));
    const body = make("tbody");
    for (const row of this.film.rows) this.addNet(body, row);
    this.bytes = this.film.columns.map(() => make("td", { class: "bytes" }));
    body.append(make("tr", { class: "keeps" }, make("th", { scope: "row", title: MATRIX.keepsMeans }, MATRIX.keeps), ...this.bytes));
    return make("table", {}, make("thead", {}, make("tr", {}, corner, ...this.heads)), body);
  }

  // What a column is of; a click goes there.
  head({ text, source, verb, whose, moment }) {
    const said = filled(MATRIX.goThere, { text, source });
    const button = make("button", { type: "button", title: said, "aria-label": said, onclick: () => this.go(moment) },
      make("span", {}, verb), make("span", {}, whose));
    return make("th", { scope: "col", style: verb.length === 1 ? "width:43px" : null }, button);
  }

  addNet(body, row) {
    const parts = (row.parts ?? []).map((part) => this.row(part.name, part.cells, `${row.net} ${part.name}`));
    const name = filled(MATRIX.net, { net: row.net });
    const whole = this.row(name, row.cells, row.net);
    whole.className = `whole net${this.film.nets.indexOf(row.net) % 4}`;
    if (parts.length) {
      const button = make("button", { type: "button", class: "unfold", "aria-label": filled(MATRIX.unfold, row), "aria-expanded": "false" });
      button.addEventListener("click", () => {
        const open = parts[0].hidden;
        for (const part of parts) part.hidden = !open;
        button.setAttribute("aria-expanded", String(open));
      });
      whole.firstChild.prepend(button);
      for (const part of parts) {
        part.hidden = true;
        part.className = "part";
      }
    }
    body.append(whole, ...parts);
  }

  row(name, cells, who) {
    const line = make("tr", {}, make("th", { scope: "row" }, name));
    cells.forEach((cell, i) => {
      const place = make("td");
      place.addEventListener("pointerenter", () => this.tell(place.title));
      (this.places[i] ??= []).push([place, cell, who]);
      line.append(place);
    });
    return line;
  }

  strip(go) {
    const peak = Math.max(1, ...this.film.moments.map((m) => m.held));
    const strip = make("div", { class: "memory", role: "img", "aria-label": MATRIX.memory, title: MATRIX.memory },
      make("div", {}, ...MATRIX.memoryWords.map((words) => make("em", {}, words))));
    this.bars = this.film.moments.map((moment, i) => {
      const bar = make("span", {}, make("i", { style: `height:${(100 * moment.held) / peak}%` }));
      bar.addEventListener("click", () => go(i));
      strip.append(bar);
      return bar;
    });
    return strip;
  }

  at(index) {
    const now = this.film.moments[index];
    this.film.columns.forEach((column, c) => {
      const state = column.moment === index ? "now" : column.moment < index ? "past" : "future";
      this.heads[c].className = state;
      if (state === "now") this.heads[c].setAttribute("aria-current", "step");
      else this.heads[c].removeAttribute("aria-current");
      for (const [place, cell, who] of this.places[c] ?? []) this.fillCell(place, cell, who, state);
      this.bytes[c].className = `bytes ${state}`;
      this.bytes[c].textContent = state === "future" ? "" : column.held;
      if (state === "now" && this.heads[c].offsetParent) intoView(this.heads[c]);
    });
    const most = Math.max(...this.film.moments.slice(0, index + 1).map(({ held }) => held));
    this.bars.forEach((bar, i) => {
      const peak = i <= index && most && this.film.moments[i].held === most ? " peak" : "";
      bar.className = (i === index ? "now" : i > index ? "future" : "") + peak;
    });
    const { forwards, backwards, peakText, peakLine } = now.sofar;
    const each = (counts) => this.film.nets.map((net, i) => `${net} ${counts[i]}`).join(" · ");
    this.values.forwards.textContent = each(forwards);
    this.values.backwards.textContent = each(backwards);
    this.values.vain.textContent = filled(now.sofar.summed ? MATRIX.vainSummed : MATRIX.vain, now.sofar);
    this.values.peak.textContent = peakLine ? filled(MATRIX.peak, now.sofar) : peakText;
    const { flops } = this.film.totals; // known of the whole step alone
    this.values.flops.parentElement.hidden = flops == null || index < this.film.moments.length - 1;
    this.values.flops.textContent = flops?.toLocaleString("en") ?? "";
  }

  fillCell(place, [kind, norm, sources, changed, used, aside], who, state) {
    const [symbol, word, , name] = this.data.kinds[kind];
    if (state === "future") {
      place.className = "future";
      place.textContent = "";
      place.title = `${who}: ${MATRIX.notYet}`;
      return;
    }
    place.className = `${state} ${name}${changed ? " changed" : ""}${aside ? " aside" : ""}`;
    place.replaceChildren(make("b", {}, symbol + (used ? this.data.used : "") + (aside ? ` ${MATRIX.asideMark}` : "")), make("span", {}, ` ${used ? MATRIX.used : word}`));
    const told = [filled(MATRIX.holds, { word })];
    if (norm) told.push(filled(MATRIX.norm, { norm }));
    if (sources.length) told.push(filled(MATRIX.fromCalls, { calls: sources.join("+") }));
    if (used) told.push(MATRIX.usedMeans);
    if (aside) told.push(MATRIX.aside);
    place.title = `${who}: ${told.join(", ")}`;
  }
}

// Scroll the matrix sideways until the column is in it.
function intoView(head) {
  const box = head.closest(".matrix");
  const [column, shown] = [head.getBoundingClientRect(), box.getBoundingClientRect()];
  if (column.right > shown.right) box.scrollLeft += column.right - shown.right + 2;
  if (column.left < shown.left) box.scrollLeft -= shown.left - column.left + 2;
}
