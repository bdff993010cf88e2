// What our front ends share: elements, texts with blanks, keys, and what is behind them.

const make = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

function fill(element, attributes = {}, children = []) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

const filled = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);

function darkBehind(element) {
  for (let at = element; at; at = at.parentElement ?? at.getRootNode().host) {
    const [r, g, b, a = 1] = (getComputedStyle(at).backgroundColor.match(/[\d.]+/g) ?? []).map(Number);
    if (a > 0.5 && r !== undefined) return 0.299 * r + 0.587 * g + 0.114 * b < 128;
  }
  return getComputedStyle(document.documentElement).colorScheme === "dark";
}

// Dark where the page behind us is dark, whoever made it so; "bright" where slides are set to high
// contrast. While a page is read in, this waits for its first paint: each look would have all that is
// there by then styled and laid out once more. Returns what ends the watch.
function watchTheme(host, section) {
  const look = () => {
    section.classList.toggle("dark", darkBehind(host));
    section.classList.toggle("bright", document.documentElement.dataset.theme === "bright");
  };
  const themes = new MutationObserver(look);
  for (const element of [document.documentElement, document.body])
    themes.observe(element, { attributes: true });
  const media = matchMedia("(prefers-color-scheme: dark)");
  media.addEventListener("change", look);
  requestAnimationFrame(look);
  if (document.readyState !== "loading") look();
  return () => {
    themes.disconnect();
    media.removeEventListener("change", look);
  };
}

// The focus goes back to what is around `host`: a slide, or a cell of JupyterLab.
function leave(host, root) {
  root.activeElement?.blur();
  host.closest(".jp-Cell, .jp-Notebook, section, [tabindex]")?.focus({ preventScroll: true });
}

// The keys of sliders are theirs: neither the notebook nor the slide may act on them too.
function keepSliderKeys(event, host, root) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
  if (["Tab", "PageUp", "PageDown"].includes(event.key)) {
    if (event.key !== "Tab") event.preventDefault(); // they turn slides, and move no slider
    return;
  }
  event.stopPropagation();
  if (event.key === "Escape") leave(host, root);
}
