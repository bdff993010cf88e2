// Start reveal.js, fit every slide to its sheet, keep keys and focus apart.
(() => {
  "use strict";
  const STEP = 0.05;
  const FOOT = 38; // where the slide's number and the arrows are
  const SMALLEST = { "--blocks": 0.7, "--text": 0.7 }; // of 20 px code and 26 px text
  const LARGEST = { "--blocks": 1.7, "--text": 1.7 };
  const FULL = 0.66; // what is less of the slide's height grows, until it fills that much of it
  const SMALLEST_EXPLORER = 0.7;
  const SMALLEST_IMAGE = 130;
  const LARGEST_IMAGE = 1.6; // a drawing grows to fill its slide, but not into a poster

  const bottom = (sheet) => {
    const parts = [...(sheet.classList.contains("side") ? sheet.querySelectorAll("*") : sheet.children)]
      .filter((part) => part.getClientRects().length);
    return (Math.max(0, ...parts.map((part) => part.getBoundingClientRect().bottom)) - sheet.getBoundingClientRect().top) / scale(sheet);
  };
  const overflows = (sheet) =>
    sheet.scrollHeight > sheet.clientHeight + 1 ||
    bottom(sheet) > sheet.clientHeight - (sheet.matches(".wide") ? 4 : FOOT) ||
    sheet.scrollWidth > sheet.clientWidth + 1 ||
    [...sheet.querySelectorAll("pre, .table, .gl-table .box, table, .part")].some(
      (block) => block.scrollWidth > block.clientWidth + 1 && getComputedStyle(block).display !== "inline",
    );

  const padding = (sheet, side) => parseFloat(getComputedStyle(sheet)[`padding${side}`]);
  const scale = (sheet) => sheet.getBoundingClientRect().width / sheet.offsetWidth;
  const drawings = (sheet) =>
    [...sheet.querySelectorAll(".output img")].filter((image) => image.naturalWidth && !image.closest("[data-gl-explorer]"));

  // A tall drawing stands beside the text, every other below it.
  const choosePlace = (sheet, images) => {
    const tall = images.length === 1 && images[0].naturalHeight > 600 &&
      images[0].naturalHeight > 0.5 * images[0].naturalWidth;
    sheet.classList.toggle("side", tall);
    if (tall) (images[0].closest("figure > div") || images[0]).classList.add("canvas");
  };

  // Pictures take what the rest of the slide leaves, in equal parts, and grow as far as is good.
  const fitImages = (sheet, images) => {
    const side = sheet.classList.contains("side");
    for (const image of images) image.style.setProperty("height", "40px", "important");
    const room = sheet.clientHeight - padding(sheet, "Bottom") - bottom(sheet);
    for (const image of images) {
      const box = side ? sheet.clientWidth - 330 - 22 - padding(sheet, "Left") - padding(sheet, "Right") - 12
        : image.closest(".output").clientWidth - 16;
      const width = Math.min(box, image.naturalWidth * LARGEST_IMAGE);
      const height = side ? sheet.clientHeight - padding(sheet, "Top") - padding(sheet, "Bottom") - 12
        : Math.max(SMALLEST_IMAGE, 40 + room / images.length);
      const ratio = image.naturalHeight / image.naturalWidth;
      image.style.setProperty("height", `${Math.floor(Math.min(height, width * ratio))}px`, "important");
    }
  };

  // The explorer has a slide of its own, all of it; it is made smaller when it grows (a comparison).
  const fitExplorers = (sheet) => {
    const hosts = [...sheet.querySelectorAll("[data-gl-explorer]")];
    sheet.classList.toggle("wide", hosts.length > 0);
    for (let zoom = 1; hosts.length && zoom >= SMALLEST_EXPLORER; zoom -= 0.01) {
      for (const host of hosts) host.style.zoom = zoom.toFixed(2);
      if (bottom(sheet) <= sheet.clientHeight - 4) break;
    }
    const end = sheet.getBoundingClientRect().bottom;
    for (const host of hosts)
      for (const tables of host.querySelector("[data-gl-view]")?.shadowRoot.querySelectorAll(".tables") ?? [])
        if (tables.getBoundingClientRect().bottom > end) tables.closest(".explorer").classList.add("tight");
  };
  const watchExplorers = () => {
    const grown = new ResizeObserver((all) => requestAnimationFrame(() => {
      const section = Reveal.getCurrentSlide();
      if (all.some((entry) => section?.contains(entry.target))) fitExplorers(section.querySelector(":scope > .sheet"));
    }));
    for (const host of document.querySelectorAll("[data-gl-explorer]")) grown.observe(host);
  };

  // Sentences in an output may break; what is set in columns may not.
  const wrapSentences = (sheet) => {
    for (const block of sheet.querySelectorAll("pre.text"))
      block.classList.toggle("wrapped", block.classList.contains("wrapped") || block.scrollWidth > 1.3 * block.clientWidth);
  };

  const fit = (section) => {
    const sheet = section && section.querySelector(":scope > .sheet");
    if (!sheet || !sheet.clientHeight) return;
    const size = { "--blocks": 1, "--text": 1 };
    const images = drawings(sheet);
    const apply = () => {
      for (const name in size) sheet.style.setProperty(name, size[name].toFixed(2));
      if (images.length) fitImages(sheet, images);
    };
    const shrink = () => {
      Object.assign(size, { "--blocks": 1, "--text": 1 });
      apply();
      for (const name of ["--blocks", "--text"])
        while (overflows(sheet) && size[name] > SMALLEST[name] + 1e-6) {
          size[name] = Math.max(SMALLEST[name], size[name] - STEP);
          apply();
        }
    };
    choosePlace(sheet, images);
    sheet.classList.toggle("asking", Boolean(sheet.querySelector(":scope > .beside")));
    apply();
    wrapSentences(sheet);
    fitExplorers(sheet);
    shrink();
    if (sheet.matches(".asking") && overflows(sheet) && hasVerdict(sheet)) {
      sheet.classList.remove("asking");
      shrink();
    }
    grow(sheet, size, apply);
  };
  // The code beside a question goes when the verdicts need its place: by then it has been answered.
  const hasVerdict = (sheet) =>
    [...sheet.querySelectorAll("[data-gl-view]")].some((view) => view.shadowRoot.querySelector(".verdict:not(:empty)"));

  // A short slide is read from the last row: its letters take the room that is left.
  const grow = (sheet, size, apply) => {
    if (sheet.matches(".title, .side, .wide, .asking")) return;
    const larger = (name) => {
      if (bottom(sheet) > FULL * sheet.clientHeight || size[name] > LARGEST[name] - STEP / 2) return false;
      size[name] += STEP;
      apply();
      if (!overflows(sheet)) return true;
      size[name] -= STEP;
      apply();
      return false;
    };
    while (["--text", "--blocks"].map(larger).includes(true));
  };

  const imagesOf = (section) =>
    Promise.all([...section.querySelectorAll("img")].map((image) => image.decode().catch(() => {})));
  const fitNow = (section) => {
    if (!section) return;
    fit(section);
    imagesOf(section).then(() => fit(section));
  };

  document.documentElement.classList.add("scripted");
  const printing = /print-pdf/.test(location.search);
  glExplorers.prepare(printing);
  Reveal.initialize({
    width: 1280, height: 720, margin: 0, minScale: 0.2, maxScale: 3, center: false,
    hash: true, respondToHashChanges: true, navigationMode: "linear", slideNumber: "c/t", transition: "none",
    backgroundTransition: "none", pdfSeparateFragments: false, pdfMaxPagesPerSlide: 1,
    scrollActivationWidth: null, plugins: [window.RevealNotes],
  }).then(() => {
    glTools(Reveal);
    if (printing) {
      Promise.all([...document.querySelectorAll(".slides section")].map(imagesOf)).then(() => {
        document.querySelectorAll(".slides section").forEach(fit);
        document.documentElement.dataset.ready = "print";
      });
      return;
    }
    glExplorers.start(Reveal);
    fitNow(Reveal.getCurrentSlide());
    Reveal.on("slidechanged", (event) => fitNow(event.currentSlide));
    Reveal.on("resize", () => fitNow(Reveal.getCurrentSlide()));
    document.addEventListener("gl-changed", (event) => fitNow(event.target.closest("section")));
    watchExplorers();
    document.documentElement.dataset.ready = "deck";
  });
  window.glFit = fit; // for the check that nothing overflows
})();
