// Shapes as text. One decimal of a CSS pixel is enough, and short paths are fast ones.

const NS = "http://www.w3.org/2000/svg";
export const round = (v) => Math.round(Math.max(-9999, Math.min(9999, v)) * 10) / 10;

export function shape(tag, attributes = {}, ...children) {
  const el = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) el.setAttribute(name, value);
  el.append(...children);
  return el;
}

// Attributes and words are set when they change: to set them costs a browser style and layout even if they are the same.
export function put(el, name, value) {
  const kept = (el.kept ??= {});
  if (kept[name] === value) return;
  kept[name] = value;
  el.setAttribute(name, value);
}

export function write(el, words) {
  if (el.words === words) return;
  el.words = words;
  const [text, more] = el.childNodes;
  if (text?.nodeType === 3 && !more) text.data = words; // a new node would wake every :has() rule above it
  else el.textContent = words;
}

export function look(el, name, value) {
  if (el.style[name] !== value) el.style[name] = value;
}

export function element(tag, attributes = {}, ...children) {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) el.setAttribute(name, "");
    else if (value !== false && value !== undefined) el.setAttribute(name, value);
  }
  el.append(...children);
  return el;
}

// n points joined; a number that is none leaves a hole.
export function joined(n, x, y) {
  let d = "", pen = "M";
  for (let i = 0; i < n; i++) {
    const u = x(i), v = y(i);
    if (Number.isNaN(u) || Number.isNaN(v)) { pen = "M"; continue; }
    d += pen + round(u) + " " + round(v);
    pen = "L";
  }
  return d || "M0 0";
}

// Where a field, rows from below, is `at`: marching squares with linear interpolation, over w by h pixels.
const cuts = new Float64Array(8); // of one square: an array a square would be most of what a frame leaves to be swept up
export function contour(z, columns, rows, w, h, at) {
  const u = w / (columns - 1), v = h / (rows - 1);
  let d = "", n = 0;
  const cut = (x, y) => { cuts[n++] = x; cuts[n++] = y; };
  for (let j = 0; j < rows - 1; j++)
    for (let i = 0; i < columns - 1; i++) {
      const k = j * columns + i;
      const a = z[k] - at, b = z[k + 1] - at, c = z[k + columns + 1] - at, e = z[k + columns] - at;
      const above = (a > 0) + (b > 0) + (c > 0) + (e > 0);
      if (above === 0 || above === 4 || Number.isNaN(a + b + c + e)) continue;
      n = 0;
      if (a > 0 !== b > 0) cut(i + a / (a - b), j);
      if (b > 0 !== c > 0) cut(i + 1, j + b / (b - c));
      if (c > 0 !== e > 0) cut(i + e / (e - c), j + 1);
      if (e > 0 !== a > 0) cut(i, j + a / (a - e));
      for (let q = 0; q < n; q += 4)
        d += `M${round(cuts[q] * u)} ${round(h - cuts[q + 1] * v)}L${round(cuts[q + 2] * u)} ${round(h - cuts[q + 3] * v)}`;
    }
  return d || "M0 0";
}

// Even steps of 1, 2 or 5 times a power of ten, about `count` of them and two at least.
export function ticks(low, high, count) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((s) => s * power >= rough * 0.999);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(Number((k * step).toPrecision(12)));
  return found.length < 2 ? ticks(low, high, 2 * count) : found;
}
