// Boots the widgets of one kind in an exported page, and keeps what was answered over a reload.
// The module's text is put in below.
(() => {
  const { render } = /* __MODULE__ */;
  // For as long as the window is open. A page from disk may be refused a storage: then nothing is
  // kept there. Chromium also empties that of a page from disk in about one reload of twenty, if the
  // page had read it before it was complete; the window's own name outlives every reload.
  const fromDisk = location.protocol === "file:";
  const named = () => {
    try {
      return JSON.parse(window.name)["gan-lessons"];
    } catch {}
  };
  const stored = (place) => {
    const value = fromDisk ? named()?.[place] : undefined;
    if (value !== undefined) return value;
    try {
      return JSON.parse(sessionStorage.getItem(place));
    } catch {
      return null;
    }
  };
  const store = (place, value) => {
    if (fromDisk && (named() || !window.name))
      window.name = JSON.stringify({ "gan-lessons": { ...named(), [place]: value } });
    try {
      sessionStorage.setItem(place, JSON.stringify(value));
    } catch {}
  };
  // Views of one page that share a group follow each other, as jslinked ones do in a notebook.
  const modelOf = (data, state, kept, host) => {
    const heard = {};
    const place = (name) => ["gan-lessons", location.pathname, host.dataset.glGroup, data.prompt, name].join(" ");
    for (const name of kept) state[name] = stored(place(name)) ?? state[name];
    const model = {
      get: (name) => (name === "data" ? data : state[name]),
      set: (name, value) => {
        if (state[name] === value) return;
        state[name] = value;
        if (kept.includes(name)) store(place(name), value);
        for (const call of heard[`change:${name}`] ?? []) call();
        if (host.dataset.glGroup)
          document.dispatchEvent(new CustomEvent("gan-lessons", {
            detail: { group: host.dataset.glGroup, name, value } }));
      },
      on: (event, call) => (heard[event] ??= new Set()).add(call),
      off: (event, call) => heard[event]?.delete(call),
    };
    document.addEventListener("gan-lessons", ({ detail }) => {
      if (detail.group === host.dataset.glGroup && detail.name in state) model.set(detail.name, detail.value);
    });
    return model;
  };
  // Pages of which one for each strategy is there: those of the strategy that is shown now.
  if (!document.glPages) {
    document.glPages = true;
    document.addEventListener("gan-lessons", ({ detail }) => {
      if (detail.name !== "strategy") return;
      for (const page of document.querySelectorAll("[data-gl-page]"))
        if (page.dataset.glGroup === detail.group) page.hidden = page.dataset.glPage !== detail.value;
    });
  }
  // Of data in which something recurs it stands in `repeats`, once; see repeats.py.
  const whole = (data, [mark, values]) => {
    const known = [];
    const put = (value) => {
      if (Array.isArray(value)) return value.map(put);
      if (value === null || typeof value !== "object") return value;
      if (Object.hasOwn(value, mark)) return known[value[mark]];
      return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, put(one)]));
    };
    for (const value of values) known.push(put(value));
    return put(data);
  };
  // In a page to read, what takes long to draw waits until one comes near it, or prints.
  const late = new Map();
  const draw = (host) => {
    near.unobserve(host);
    host.removeAttribute("data-gl-late");
    late.get(host)?.();
    late.delete(host);
  };
  const near = new IntersectionObserver(
    (seen) => seen.filter((one) => one.isIntersecting).forEach(({ target }) => draw(target)),
    { rootMargin: "50% 0px" });
  addEventListener("beforeprint", () => [...late.keys()].forEach(draw));
  for (const host of document.querySelectorAll("[data-gl-__KIND__]:not([data-gl-ready])")) {
    const script = host.querySelector('script[type="application/json"]');
    if (!script) continue; // not all of it is in the page yet
    host.setAttribute("data-gl-ready", "");
    const { data: told, repeats, state, kept } = JSON.parse(script.textContent);
    const data = repeats ? whole(told, repeats) : told;
    host.glStart = { data, state: { ...state } }; // for what else in the page asks
    for (const still of host.querySelectorAll("[data-gl-still]")) still.hidden = true;
    const model = modelOf(data, state, kept, host);
    late.set(host, () => render({ model, el: host }));
    if (host.matches(".page [data-gl-late]")) near.observe(host);
    else draw(host);
  }
})();
