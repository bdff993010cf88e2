// Start reveal.js, fit every slide to its sheet, keep keys and focus apart.
(() => {
  "use strict";
  const STEP = 0.05;
  const SMALLEST = { "--blocks": 0.7, "--text": 0.75 }; // of 20 px code and 26 px text
  const LARGEST_IMAGE = 1.6; // a drawing grows to fill its slide, but not into a poster

  const overflows = (sheet) =>
    sheet.scrollHeight > sheet.clientHeight + 1 ||
    sheet.scrollWidth > sheet.clientWidth + 1 ||
    [...sheet.querySelectorAll("pre, .table, .gl-table .box, table")].some(
      (block) => block.scrollWidth > block.clientWidth + 1 && getComputedStyle(block).display !== "inline",
    );

  // Pictures take what the rest of the slide leaves, in equal parts.
  const fitImages = (sheet) => {
    const images = [...sheet.querySelectorAll(".output img")].filter(
      (image) => image.naturalWidth && !image.closest("[data-gl-explorer]"),
    );
    for (const image of images) image.style.setProperty("height", "40px", "important");
    const room = sheet.clientHeight - sheet.lastElementChild.getBoundingClientRect().bottom / scale() +
      sheet.getBoundingClientRect().top / scale() - padding(sheet);
    for (const image of images) {
      const height = Math.max(120, 40 + room / images.length);
      const width = Math.min(image.closest(".output").clientWidth - 16, image.naturalWidth * LARGEST_IMAGE);
      const ratio = image.naturalHeight / image.naturalWidth;
      image.style.setProperty("height", `${Math.floor(Math.min(height, width * ratio))}px`, "important");
    }
  };
  const scale = () => (window.Reveal && Reveal.isReady() ? Reveal.getScale() : 1);
  const padding = (sheet) => parseFloat(getComputedStyle(sheet).paddingBottom);

  const fit = (section) => {
    const sheet = section && section.querySelector(":scope > .sheet");
    if (!sheet || !sheet.clientHeight) return;
    const size = { "--blocks": 1, "--text": 1 };
    const apply = () => {
      for (const name in size) sheet.style.setProperty(name, size[name].toFixed(2));
      fitImages(sheet);
    };
    apply();
    for (const name of ["--blocks", "--text"])
      while (overflows(sheet) && size[name] > SMALLEST[name] + 1e-6) {
        size[name] = Math.max(SMALLEST[name], size[name] - STEP);
        apply();
      }
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
  Reveal.initialize({
    width: 1280, height: 720, margin: 0, minScale: 0.2, maxScale: 3, center: false,
    hash: true, respondToHashChanges: true, navigationMode: "linear", slideNumber: "c/t", transition: "none",
    backgroundTransition: "none", pdfSeparateFragments: false, pdfMaxPagesPerSlide: 1,
    scrollActivationWidth: null, plugins: [window.RevealNotes],
  }).then(() => {
    if (printing) {
      Promise.all([...document.querySelectorAll(".slides section")].map(imagesOf)).then(() => {
        document.querySelectorAll(".slides section").forEach(fit);
        document.documentElement.dataset.ready = "print";
      });
      return;
    }
    fitNow(Reveal.getCurrentSlide());
    Reveal.on("slidechanged", (event) => fitNow(event.currentSlide));
    Reveal.on("resize", () => fitNow(Reveal.getCurrentSlide()));
    document.addEventListener("gl-changed", (event) => fitNow(event.target.closest("section")));
    document.documentElement.dataset.ready = "deck";
  });
  window.glFit = fit; // for the check that nothing overflows
})();
