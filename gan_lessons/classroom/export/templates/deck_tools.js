// What a teacher may want to change on screen: light, dark or high contrast, and a magnifying glass.
// Each is a button in the lower left corner, and a key.
(() => {
  "use strict";
  const THEMES = { light: "Light", dark: "Dark", bright: "High contrast" };
  const PLACE = "gan-lessons theme";
  const LARGER = 2;
  const QUIET = 2500; // milliseconds after the last move of the mouse

  // What was chosen last; a page from disk may be refused a memory. Else a deck of the site is as dark as the
  // pages around it, and a teacher's own starts light: a projector wants that.
  const atFirst = () => {
    try {
      const chosen = localStorage.getItem(PLACE);
      if (chosen) return chosen;
    } catch {}
    return root.dataset.theme === "reader" && matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  };
  const remember = (name) => {
    try {
      localStorage.setItem(PLACE, name);
    } catch {}
  };

  const root = document.documentElement;
  const reveal = document.querySelector(".reveal");
  const button = (title, click) => {
    const made = document.createElement("button");
    made.type = "button";
    made.title = title;
    made.addEventListener("click", click);
    return made;
  };

  const show = (name) => {
    root.dataset.theme = name in THEMES ? name : "light";
    theme.textContent = `◐ ${THEMES[root.dataset.theme]} (T)`;
  };
  const nextTheme = () => {
    const names = Object.keys(THEMES);
    show(names[(names.indexOf(root.dataset.theme) + 1) % names.length]);
    remember(root.dataset.theme);
  };
  const theme = button("Light, dark or high contrast", nextTheme);

  // The button waits for the place to magnify; the key takes where the mouse is.
  let mouse = { clientX: innerWidth / 2, clientY: innerHeight / 2 };
  const magnified = () => reveal.style.transform !== "";
  const magnify = ({ clientX, clientY }) => {
    reveal.style.transformOrigin = `${clientX}px ${clientY}px`;
    reveal.style.transform = `scale(${LARGER})`;
    say();
  };
  const end = () => {
    root.classList.remove("choosing");
    reveal.style.transform = "";
    say();
  };
  const choose = () => {
    root.classList.add("choosing");
    say();
  };
  const glass = button("Magnify a part of the slide; Escape ends it", () => (magnified() || root.classList.contains("choosing") ? end() : choose()));
  const say = () => {
    const text = root.classList.contains("choosing") ? "click on the part" : magnified() ? "as before" : "Magnify";
    glass.textContent = `⌕ ${text} (M)`;
  };

  const bar = document.createElement("div");
  bar.className = "tools";
  bar.setAttribute("role", "group");
  bar.setAttribute("aria-label", "How the slides are shown");
  bar.append(theme, glass);
  document.body.append(bar);
  show(/print-pdf/.test(location.search) ? "light" : atFirst());
  say();

  document.addEventListener("click", (event) => {
    if (!root.classList.contains("choosing") || bar.contains(event.target)) return;
    event.preventDefault();
    event.stopPropagation();
    root.classList.remove("choosing");
    magnify(event);
  }, true);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !(magnified() || root.classList.contains("choosing"))) return;
    event.stopPropagation(); // it would show the overview
    end();
  }, true);
  let still;
  document.addEventListener("mousemove", (event) => {
    mouse = event;
    root.classList.add("moving");
    clearTimeout(still);
    still = setTimeout(() => root.classList.remove("moving"), QUIET);
  });
  window.glTools = (deck) => {
    deck.addKeyBinding({ keyCode: 84, key: "T", description: "Light, dark or high contrast" }, nextTheme);
    deck.addKeyBinding({ keyCode: 77, key: "M", description: "Magnify where the mouse is" }, () => (magnified() ? end() : magnify(mouse)));
    deck.on("slidechanged", end);
  };
})();
