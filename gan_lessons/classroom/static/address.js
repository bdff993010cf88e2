// The address of a saved page says what is shown: page.html#strategy=detach&at=8&whatif=no_detach.
// What is shown is written into it, so that it can be copied at any moment.

const ADDRESS = {
  strategy: "The address asks for strategy={value}, which is not here; these are: {known}.",
  whatif: "The address asks for whatif={value}, which {strategy} does not have; these are there: {known}.",
  noWhatif: "The address asks for whatif={value}, but nothing has been tried on {strategy}.",
  at: "The address asks for at={value}; {strategy} has moments 1 to {count}.",
  compare: "The address asks for compare={value}, which cannot stand beside {strategy}; these can: {known}.",
  name: "The address has {name}=, which this page does not know; it knows strategy, at, whatif and compare.",
  label: "About the address of this page",
  link: "Copy the link to this step",
  frame: "Copy the frame for a page of your own",
  copied: "Copied.",
  byHand: "Copy this",
};
const ADDRESS_MS = 250; // browsers complain where an address changes with every key

// What the address asks for, as the view's own state; `wrong`: a sentence for each thing that cannot be.
function readAddress(hash, data, state) {
  const asked = new URLSearchParams(hash.replace(/^#/, ""));
  const wrong = [];
  const say = (text, values) => wrong.push(filled(ADDRESS[text], values));
  for (const name of new Set(asked.keys()))
    if (!["strategy", "at", "whatif", "compare"].includes(name)) say("name", { name });
  const found = { ...state, what_if: "" };
  const value = (name) => asked.get(name) || null;
  if (value("strategy") && !data.order.includes(value("strategy")))
    say("strategy", { value: value("strategy"), known: data.order.join(", ") });
  else found.strategy = value("strategy") ?? state.strategy;
  const { strategy } = found;
  const variants = data.variants[strategy] ?? [];
  const variant = variants.find(({ key }) => key === value("whatif"));
  if (value("whatif") && !variant)
    say(variants.length ? "whatif" : "noWhatif", { value: value("whatif"), strategy, known: variants.map(({ key }) => key).join(", ") });
  else found.what_if = variant?.key ?? "";
  const stops = addressStops(data, found);
  const at = value("at");
  if (at && !(/^\d+$/.test(at) && stops[at - 1] !== undefined))
    say("at", { value: at, strategy, count: stops.length });
  found.moment = stops[at - 1] ?? stops[0];
  const others = data.order.filter((key) => key !== strategy);
  if (value("compare") && !others.includes(value("compare")))
    say("compare", { value: value("compare"), strategy, known: others.join(", ") || "none" });
  else found.compare = value("compare") ?? state.compare;
  return { found, wrong };
}

// The moments that are numbered: as in the explorer, those of lines that change something.
function addressStops(data, { strategy, what_if: whatIf }) {
  const variant = (data.variants[strategy] ?? []).find(({ key }) => key === whatIf);
  const { moments } = { ...data.films[strategy], ...variant?.film };
  const all = moments.map((_, i) => i);
  const loud = all.filter((i) => !moments[i].silent);
  return loud.length ? loud : all;
}

// A line that changes nothing goes by the number of the one before it.
function writeAddress(data, now) {
  const { strategy, moment, what_if: whatIf, compare } = now;
  const at = Math.max(1, addressStops(data, now).filter((i) => i <= moment).length);
  const asked = new URLSearchParams({ strategy, at });
  if (whatIf) asked.set("whatif", whatIf);
  if (compare) asked.set("compare", compare);
  return `#${asked}`;
}

// Buttons that copy the address of what is shown, alone or in an iframe.
function copying(address) {
  const said = make("span", { role: "status" });
  const button = (text, made) =>
    make("button", { type: "button", onclick: async () => {
      try {
        await navigator.clipboard.writeText(made());
        said.textContent = ADDRESS.copied;
      } catch { // a frame or a browser that does not let us: the reader copies
        const field = make("input", { readonly: true, value: made(), "aria-label": ADDRESS.byHand });
        said.replaceChildren(field);
        field.select();
      }
    } }, text);
  const frame = () => make("iframe", { src: address(), title: document.title, width: "100%", height: 720 }).outerHTML;
  return make("p", { class: "copying" }, button(ADDRESS.link, address), button(ADDRESS.frame, frame), said);
}

// Follow the address, and let it follow the explorer of this page.
function follow() {
  const host = document.querySelector("[data-gl-group]");
  const { data, state } = host.glStart;
  const group = host.dataset.glGroup;
  const now = { ...state };
  const told = make("div", { role: "alert", "aria-label": ADDRESS.label });
  host.before(told);
  host.after(copying(() => location.href.replace(/#.*$/, "") + writeAddress(data, now)));
  let later = null;
  let listening = true;
  document.addEventListener("gan-lessons", ({ detail }) => {
    if (detail.group !== group || !(detail.name in now)) return;
    now[detail.name] = detail.value;
    if (!listening) return;
    clearTimeout(later);
    later = setTimeout(() => {
      try {
        history.replaceState(null, "", writeAddress(data, now));
      } catch {
        // a frame that may not: the page goes on without
      }
    }, ADDRESS_MS);
  });
  const go = () => {
    clearTimeout(later); // what the reader has typed stays
    const { found, wrong } = readAddress(location.hash, data, state);
    told.replaceChildren(...wrong.map((sentence) => make("p", { class: "address" }, sentence)));
    listening = false;
    for (const name of ["strategy", "what_if", "compare", "moment"])
      document.dispatchEvent(new CustomEvent("gan-lessons", { detail: { group, name, value: found[name] } }));
    listening = true;
  };
  addEventListener("hashchange", go);
  if (location.hash.length > 1) go();
  // The page is its explorer, whose keys work at once; in a frame they stay with the page around it.
  if (window.top === window.self)
    [host, ...host.querySelectorAll("*")].find((e) => e.shadowRoot)
      ?.shadowRoot.querySelector(".explorer").focus({ preventScroll: true });
}

export default { follow };
