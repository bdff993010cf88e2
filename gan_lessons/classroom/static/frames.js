// Pictures that Python made, one after the other: a slider, a play button, a choice of series.

const PAUSE = 450; // milliseconds between two pictures

class Frames {
  // model: get(name), set(name, value), on(event, call), off(event, call)
  constructor(model, host) {
    this.model = model;
    this.host = host;
    this.data = model.get("data");
    this.ui = this.data.ui;
    this.root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
    this.build();
    this.follow = () => this.update();
    for (const name of ["strategy", "frame"]) model.on(`change:${name}`, this.follow);
    this.followIndex = () => {
      const key = this.data.order[model.get("index")];
      if (key) model.set("strategy", key);
    };
    model.on("change:index", this.followIndex);
    this.stopWatching = watchTheme(host, this.section);
    this.update();
  }

  build() {
    const { order, titles, labels, slider } = this.data;
    this.choices = new Map(order.map((key) => [key,
      make("button", { type: "button", onclick: () => this.model.set("strategy", key) }, titles[key])]));
    this.button = make("button", { type: "button", class: "play", onclick: () => this.toggle() });
    this.slider = make("input", { type: "range", min: "0", max: String(labels.length - 1), step: "1", "aria-label": slider });
    this.slider.addEventListener("input", () => {
      this.pause();
      this.model.set("frame", Number(this.slider.value));
    });
    this.place = make("output", {});
    this.image = make("img", { onload: () => this.choosePlace() });
    this.told = make("p", { class: "told", "aria-live": "polite" });
    const choices = order.length > 1 ? make("div", { class: "choices", role: "group" }, ...this.choices.values()) : null;
    const bar = make("div", { class: "bar" }, this.button, this.slider, this.place);
    this.section = make("section", { class: "frames", role: "group", "aria-label": slider },
      make("div", { class: "body" }, choices, bar, this.image, this.told));
    this.section.addEventListener("keydown", (event) => keepSliderKeys(event, this.host, this.root));
    this.root.replaceChildren(make("style", {}, this.data.css), this.section);
  }

  // On a slide a picture that is not wide stands beside the rest.
  choosePlace() {
    const beside = this.image.naturalWidth < 1.3 * this.image.naturalHeight;
    if (beside === this.section.classList.contains("beside")) return;
    this.section.classList.toggle("beside", beside);
    this.host.dispatchEvent(new CustomEvent("gl-changed", { bubbles: true })); // a slide fits it anew
  }

  frame() {
    return Math.min(Math.max(this.model.get("frame") ?? 0, 0), this.data.labels.length - 1);
  }

  update() {
    const { order, images, texts, labels, slider } = this.data;
    const at = Math.max(order.indexOf(this.model.get("strategy")), 0);
    if (this.model.get("index") !== undefined) this.model.set("index", at);
    const key = order[at];
    const frame = this.frame();
    for (const [name, choice] of this.choices) choice.setAttribute("aria-pressed", String(name === key));
    const place = filled(this.ui.place, { slider, label: labels[frame] });
    this.slider.value = String(frame);
    this.slider.setAttribute("aria-valuetext", place);
    this.place.textContent = place;
    this.image.src = images[key][frame];
    this.image.alt = texts[key][frame];
    this.told.textContent = texts[key][frame];
    this.button.textContent = `${this.timer ? "❚❚" : "▶"} ${this.timer ? this.ui.pause : this.ui.play}`;
  }

  toggle() {
    if (this.timer) {
      this.pause();
      return;
    }
    const last = this.data.labels.length - 1;
    if (this.frame() >= last) this.model.set("frame", 0);
    this.told.setAttribute("aria-live", "off"); // a screen reader could not keep up
    this.timer = setInterval(() => {
      if (!this.host.isConnected || this.frame() >= last) this.pause();
      else this.model.set("frame", this.frame() + 1);
    }, PAUSE);
    this.update();
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
    this.told.setAttribute("aria-live", "polite");
    this.update();
  }

  destroy() {
    clearInterval(this.timer);
    for (const name of ["strategy", "frame"]) this.model.off(`change:${name}`, this.follow);
    this.model.off("change:index", this.followIndex);
    this.stopWatching();
  }
}

function render({ model, el }) {
  const host = make("div", { "data-gl-view": true });
  el.append(host);
  const frames = new Frames(model, host);
  return () => frames.destroy();
}

export default { render };
