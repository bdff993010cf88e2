// Words of the text around that name a line of the step, as a link to "#at=g_loss.backward()".
// While the pointer or the focus is on them, the explorer below (else above) shows that line; a click
// stays there. The other way round, what the explorer has come to is marked in the text.

const WORDS = 'a[href^="#at="]';
const WORDS_MEAN = "Show this line in the picture";

const lineOf = (words) => decodeURIComponent(words.hash.slice("#at=".length));

// The explorer that these words are about; where a page draws it later, its place.
function explorerOf(words) {
  const all = [...document.querySelectorAll("[data-gl-explorer], [data-gl-view]")]
    .filter((host) => host.matches("[data-gl-explorer]") || "explorerMoment" in host);
  const isBelow = (host) => words.compareDocumentPosition(host) & Node.DOCUMENT_POSITION_FOLLOWING;
  return all.find(isBelow) ?? all.at(-1);
}

// The moment at which the line that holds this text has just run; undefined where there is none.
function momentOf(film, text) {
  const line = film.source.findIndex((written) => written.includes(text)) + 1;
  const found = film.moments.findIndex((moment) => line && moment.line <= line && line <= moment.last);
  return found < 0 ? undefined : found;
}

// Let the words move this explorer. Returns what ends that.
function followText(explorer) {
  const { host } = explorer;
  let left; // the moment that was shown before words showed another
  const mine = ({ target }) => {
    const words = target.closest?.(WORDS);
    return words && explorerOf(words)?.contains(host) ? words : null;
  };
  const light = (event) => {
    const words = mine(event);
    const moment = words ? momentOf(explorer.film, lineOf(words)) : undefined;
    if (moment === undefined) return;
    left ??= explorer.moment;
    explorer.set("moment", moment);
  };
  const dim = (event) => {
    if (left === undefined || !mine(event)) return;
    explorer.set("moment", left);
    left = undefined;
  };
  const stay = (event) => {
    const words = mine(event);
    if (!words) return;
    event.preventDefault();
    event.stopPropagation(); // a notebook would look for a heading of that name
    if (momentOf(explorer.film, lineOf(words)) === undefined) explorer.set("what_if", "");
    light(event);
    left = undefined;
    host.scrollIntoView({ block: "nearest" });
  };
  const mark = () => {
    for (const words of document.querySelectorAll(WORDS)) {
      if (!mine({ target: words })) continue;
      words.title = WORDS_MEAN;
      if (momentOf(explorer.film, lineOf(words)) === explorer.moment) words.setAttribute("aria-current", "true");
      else words.removeAttribute("aria-current");
    }
  };
  const heard = { pointerover: light, pointerout: dim, focusin: light, focusout: dim, click: stay };
  for (const [event, call] of Object.entries(heard)) document.addEventListener(event, call, true);
  host.addEventListener("explorer:moment", mark);
  mark();
  return () => {
    for (const [event, call] of Object.entries(heard)) document.removeEventListener(event, call, true);
  };
}
