// All sections of the site are in the page: [address, page, heading, text]. No index is needed to look
// through half a megabyte; what is searched for stands in the address, so that it can be linked.
const sections = JSON.parse(document.getElementById("sections").textContent);
const [words, count, results] = ["words", "count", "results"].map((id) => document.getElementById(id));
const plain = (text) => text.toLowerCase().normalize("NFKD").replace(/[`*]/g, "");
const texts = sections.map(([, page, heading, text]) => [page, heading, text].map(plain));
const SHOWN = 30, AROUND = 90; // results, and characters to each side of a hit

// 0 where a word is missing; a heading counts more than a page's name, and that more than a mention.
function score([page, heading, text], asked) {
  let sum = 0;
  for (const word of asked) {
    const mentions = text.split(word).length - 1;
    const here = 12 * heading.includes(word) + 3 * page.includes(word) + Math.min(mentions, 6);
    if (!here) return 0;
    sum += here;
  }
  return sum;
}

// The text around the first hit, every hit marked.
function excerpt(text, asked) {
  const first = Math.max(0, Math.min(...asked.map((word) => (plain(text).indexOf(word) + 1 || Infinity) - 1)));
  const from = Number.isFinite(first) ? Math.max(0, first - AROUND) : 0;
  const part = (from ? "… " : "") + text.slice(from, from + 2.5 * AROUND) + (text.length > from + 2.5 * AROUND ? " …" : "");
  const marks = new RegExp(`(${asked.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|")})`, "gi");
  return part.split(marks).map((piece, i) => (i % 2 ? element("mark", {}, piece) : piece));
}

function element(tag, attributes, ...children) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...children);
  return made;
}

function look() {
  const asked = plain(words.value).split(/\s+/).filter(Boolean);
  const found = asked.length
    ? texts.map((text, i) => [score(text, asked), i]).filter(([points]) => points).sort((a, b) => b[0] - a[0] || a[1] - b[1])
    : [];
  results.replaceChildren(...found.slice(0, SHOWN).map(([, i]) => {
    const [address, page, heading, text] = sections[i];
    return element("li", {}, element("a", { href: address }, heading || page), element("span", { className: "where" }, heading ? ` ${page}` : ""),
      element("p", {}, ...excerpt(text, asked)));
  }));
  count.textContent = !asked.length ? "" : found.length ? `${found.length} section${found.length === 1 ? "" : "s"}` : "Nothing has all these words.";
  try {
    history.replaceState(null, "", asked.length ? `#${encodeURIComponent(words.value)}` : location.pathname);
  } catch {
    // where a page may not: it works without
  }
}

function follow() {
  words.value = decodeURIComponent(location.hash.slice(1));
  look();
}
words.addEventListener("input", look);
addEventListener("hashchange", follow);
follow();
