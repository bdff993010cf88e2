// The moments of an explorer are fragments of its slide.
// What turns the slides (a clicker, the space bar, the speaker view) walks the step, forwards and back. explorer.js says what it has to offer:
// `explorerMoments`, `goTo(k)` and the event `explorer:moment`.
(() => {
  "use strict";
  const HOSTS = "[data-gl-explorer]";
  const viewOf = (host) => host.querySelector("[data-gl-view]");

  // One fragment for each moment but the first, which is there when the slide comes.
  const marks = (host) => [...host.parentElement.querySelectorAll(":scope > .gl-moment")];
  const mark = (host, count) => {
    for (const old of marks(host)) old.remove();
    for (let k = 1; k < count; k++) {
      const fragment = document.createElement("i");
      fragment.className = "fragment gl-moment";
      host.parentElement.append(fragment);
    }
  };
  const passed = (host) => marks(host).filter((fragment) => fragment.classList.contains("visible")).length;

  // The slide has moved: the explorer follows. (One that compares is walked by what it compares.)
  const follow = (section) => {
    for (const host of section?.querySelectorAll(HOSTS) ?? []) host.goTo?.(passed(host));
  };

  // The explorer has moved, by its own keys or a click: the slide follows, so that the next key of
  // a clicker goes on from there.
  const moved = (host, { index, count }) => {
    const section = host.closest("section");
    const other = count !== marks(host).length + 1; // another strategy has other moments
    if (other) mark(host, count);
    if (section !== Reveal.getCurrentSlide() || (!other && index === passed(host))) return;
    Reveal.syncFragments(section);
    const all = marks(host);
    const at = index ? all[index - 1].dataset.fragmentIndex : all[0]?.dataset.fragmentIndex - 1;
    if (all.length) Reveal.navigateFragment(Number(at));
  };

  const walk = () => {
    for (const host of document.querySelectorAll(HOSTS)) {
      if (!host.goTo) continue;
      mark(host, host.explorerMoments);
      host.addEventListener("explorer:moment", ({ detail }) => Reveal.isReady() && moved(host, detail));
    }
  };

  // On paper there is a page for each of the moments that matter: the first backward, the last one
  // (which is cut off, or leaves something in vain), and the last step, or the error.
  const thatMatter = (host) => {
    const { data, state } = host.glStart;
    const moments = data.films[state.strategy].moments.map((moment, i) => ({ ...moment, i }));
    const backwards = moments.filter(({ backward }) => backward !== undefined);
    const ends = moments.filter(({ raised, phase }) => raised || phase.startsWith("step")); // it ends in the step
    const chosen = [backwards[0], backwards.at(-1), ends.at(-1)].filter(Boolean).map(({ i }) => i);
    return [...new Set(chosen)].sort((a, b) => a - b);
  };
  const goToMoment = (host, moment) => {
    let now;
    host.addEventListener("explorer:moment", ({ detail }) => { now = detail.moment; });
    for (let k = host.explorerMoments - 1; k >= 0 && now !== moment; k--) host.goTo(k);
  };
  const copied = (section) => {
    const copy = section.cloneNode(true);
    for (const host of copy.querySelectorAll(HOSTS)) {
      host.removeAttribute("data-gl-ready");
      viewOf(host)?.remove(); // its shadow was not copied: it is made anew
    }
    return copy;
  };
  const start = () => {
    const boot = [...document.scripts].find((script) => script.textContent.includes("[data-gl-explorer]:not([data-gl-ready])"));
    const script = document.createElement("script");
    script.textContent = boot.textContent;
    document.body.append(script);
  };
  const print = () => {
    for (const section of document.querySelectorAll(`.slides section > section:has(${HOSTS})`)) {
      const host = section.querySelector(HOSTS);
      const chosen = host.goTo ? thatMatter(host) : [];
      const pages = [section, ...chosen.slice(1).map(() => copied(section))];
      pages.forEach((page, i) => {
        if (i) {
          pages[i - 1].after(page);
          page.id = `${section.id}-${i + 1}`;
          start();
        }
        if (chosen.length) for (const host of page.querySelectorAll(HOSTS)) if (host.goTo) goToMoment(host, chosen[i]);
      });
    }
  };

  // What the step costs in all would answer the question that follows. And where a step needs more
  // room than a slide has, the bars of the bytes go: the row above them says the same.
  const leaveOut = () => {
    for (const host of document.querySelectorAll(HOSTS)) {
      const style = document.createElement("style");
      const totals = host.closest(".slide-no-totals") ? ".totals, .memory, " : "";
      style.textContent = `${totals}.tight .memory { display: none !important; }`;
      viewOf(host)?.shadowRoot.append(style);
    }
  };

  window.glExplorers = {
    prepare(printing) {
      leaveOut();
      (printing ? print : walk)();
    },
    start(deck) {
      for (const event of ["fragmentshown", "fragmenthidden", "slidechanged"]) deck.on(event, () => follow(deck.getCurrentSlide()));
      follow(deck.getCurrentSlide());
    },
  };
})();
