// Every element of the current slide that leaves it or is cut off by a box of its own, and text
// that is too small, in the shadows of questions and explorers too. What is drawn small inside a
// picture (an <img>) is the picture's own affair.
smallest => {
  const found = [], slide = Reveal.getCurrentSlide(), sheet = slide.querySelector('.sheet');
  const scale = Reveal.getScale(), frame = sheet.getBoundingClientRect();
  const name = element => {
    const classes = [...element.classList].filter(c => c !== 'visible').map(c => '.' + c).join('');
    const text = element.textContent.trim().replace(/\\s+/g, ' ').slice(0, 50);
    return `<${element.localName}${classes}> "${text}"`;
  };
  for (const host of sheet.querySelectorAll('[data-gl-explorer]'))
    if (parseFloat(host.style.zoom || 1) < 0.9) found.push(`${name(host)} needs a slide of its own`);
  const seen = new Set();
  const tell = (element, text) => {
    if (seen.has(text)) return;
    seen.add(text); found.push(`${name(element)} ${text}`);
  };
  const all = root => [...root.querySelectorAll('*')].flatMap(element =>
    element.shadowRoot ? [element, ...all(element.shadowRoot)] : [element]);
  const hostOf = element => element.getRootNode().host;
  // In CSS pixels of the slide, however it was made smaller: by a zoom, or by a drawing's own scale.
  const sizeOf = element => {
    const size = parseFloat(getComputedStyle(element).fontSize);
    const drawn = element.ownerSVGElement?.closest('svg') && element.getScreenCTM;
    return drawn ? size * Math.abs(element.getScreenCTM().d) / scale : size * (element.currentCSSZoom ?? 1);
  };
  // In an explorer, code is read as code is elsewhere, and the stage from the last row.
  const least = element =>
    !hostOf(element)?.closest('[data-gl-explorer]') ? smallest
      : element.closest('.stage') ? Math.max(smallest, 18)
      : element.closest('.code') && !element.matches('.no, .if') ? Math.max(smallest, 16) : smallest;
  const isNote = element => element.closest('math, .running, sup, sub') || element.closest('svg') && !hostOf(element);
  for (const element of all(sheet)) {
    const style = getComputedStyle(element), box = element.getBoundingClientRect();
    if (!box.width || !box.height || style.visibility === 'hidden' && !element.closest('.fragment')) continue;
    if (!element.checkVisibility()) continue;  // in a <details> that is closed
    const foot = sheet.matches('.wide') ? 0 : 36;  // the slide's number and the arrows
    const below = Math.round((box.bottom - frame.bottom) / scale) + foot;
    const right = Math.round((box.right - frame.right) / scale);
    if (below > 0 && element !== sheet) tell(element, `is ${below} px too low on the slide`);
    if (right > 0) tell(element, `is ${right} px right of the slide`);
    if (/auto|scroll|hidden|clip/.test(style.overflowX + style.overflowY) && !element.closest('svg, math')) {
      const x = element.scrollWidth - element.clientWidth, y = element.scrollHeight - element.clientHeight;
      const has = element.innerText?.trim() || element.querySelector('img, svg, input, button');
      if (has && (x > 1 || y > 1)) tell(element, `hides ${x} x ${y} px of its content`);
    }
    const own_box = /block|grid|flex|list-item|table-cell/.test(style.display) && style.overflowX === 'visible';
    if (own_box && element.scrollWidth > element.clientWidth + 2 && !element.closest('svg, math, table'))
      tell(element, `is ${element.scrollWidth - element.clientWidth} px wider than its place`);
    const own = [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    const size = own && !isNote(element) ? sizeOf(element) : smallest;
    if (own && !isNote(element) && size < least(element) - 0.05)
      tell(element, `has text of ${size.toFixed(1)} px, at least ${least(element)} can be read`);
  }
  return found;
}
