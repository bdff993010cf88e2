// Boots the widgets of one kind in an exported page, with the module's text put in below.
(() => {
  const { render } = /* __MODULE__ */;
  // Views of one page that share a group follow each other, as jslinked ones do in a notebook.
  const modelOf = (data, state, host) => {
    const heard = {};
    const model = {
      get: (name) => (name === "data" ? data : state[name]),
      set: (name, value) => {
        if (state[name] === value) return;
        state[name] = value;
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
  for (const host of document.querySelectorAll("[data-gl-__KIND__]:not([data-gl-ready])")) {
    const script = host.querySelector('script[type="application/json"]');
    if (!script) continue; // not all of it is in the page yet
    host.setAttribute("data-gl-ready", "");
    const { data, state } = JSON.parse(script.textContent);
    for (const still of host.querySelectorAll("[data-gl-still]")) still.hidden = true;
    render({ model: modelOf(data, state, host), el: host });
  }
})();
