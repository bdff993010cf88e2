// Searches all sections of the site, which are in the page: [address, page, heading, text].
// No index is needed to look through half a megabyte; what is searched for stands in the address, so that it can be linked.
const sections = JSON.parse(document.getElementById("sections").textContent);
const [words, count, results] = ["words", "count", "results"].map((id) => document.getElementById(id));
const plain = (text) => text.toLowerCase().normalize("NFKD").replace(/[`*]/g, "");
const texts = sections.map(([, page, heading, text]) => [page, heading, text].map(plain));
const SHOWN = 30, LONG = 230; // results, and characters of an excerpt

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

// The sentence that has the most of the words, and what follows it; every hit marked. Of a long one
// the part around its first hit.
function excerpt(text, asked) {
  const sentences = text.split(/(?<=[.?!])\s+/);
  const has = sentences.map((sentence) => asked.filter((word) => plain(sentence).includes(word)).length);
  const best = has.indexOf(Math.max(...has));
  const told = sentences.slice(best).join(" ");
  const first = Math.min(...asked.map((word) => plain(told).indexOf(word)).filter((at) => at >= 0), Infinity);
  const from = first < LONG * 0.8 || first === Infinity ? 0 : told.lastIndexOf(" ", first - LONG / 3) + 1;
  const to = told.length - from <= LONG ? told.length : told.lastIndexOf(" ", from + LONG);
  const part = (best || from ? "… " : "") + told.slice(from, to) + (to < told.length ? " …" : "");
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
