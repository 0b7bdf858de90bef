// Numbers as words: every read-out of a figure is written here.

const raise = (n) => String(n).replace(/./g, (c) => ({ "-": "⁻" })[c] ?? "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]);

// A gap: two digits from 0.095 on, else one digit and a power of ten; exactly 0 is "0".
function gap(v) {
  if (v === 0) return "0";
  if (!(Math.abs(v) < Infinity)) return "∞";
  if (v < 0) return "−" + gap(-v);
  if (v >= 9.95) return v < 1e4 ? v.toFixed(0) : "10" + raise(Math.floor(Math.log10(v)));
  if (v >= 0.095) return v.toFixed(v < 0.995 ? 2 : 1);
  let power = Math.floor(Math.log10(v)), digit = Math.round(v / 10 ** power);
  if (digit === 10) [power, digit] = [power + 1, 1];
  return power >= -2 ? v.toFixed(3) : digit + "×10" + raise(power);
}

export function format(v, form) {
  if (Number.isNaN(v)) return "–";
  if (form === "gap") return gap(v);
  if (form === "power") return v > 0 ? "10" + raise(Math.round(Math.log10(v))) : "–";
  if (!Number.isFinite(v)) return v > 0 ? "∞" : "−∞";
  if (form === "d") return String(Math.round(v)).replace("-", "−");
  const digits = Number(form.slice(1, -1));
  let text = v.toFixed(form.endsWith("g") ? 0 : digits);
  if (form.endsWith("g")) {
    const [first, power] = v.toExponential(digits - 1).split("e").map(Number);
    if (v && (power < -3 || power > 5)) return (first === 1 ? "" : String(first).replace("-", "−") + "×") + "10" + raise(power);
    text = String(Number(v.toPrecision(digits)));
  }
  if (Number(text) === 0) text = text.replace("-", "");
  return text.replace("-", "−");
}

// A number, a vector (a, b), or a matrix (a, b; c, d).
export function formatAll(values, shape, form) {
  if (form === "s") return "";
  if (values.length === 1) return format(values[0], form);
  const row = shape.length > 1 ? shape[shape.length - 1] : values.length, texts = Array.from(values, (v) => format(v, form));
  const rows = [];
  for (let i = 0; i < texts.length; i += row) rows.push(texts.slice(i, i + row).join(", "));
  return `(${rows.join("; ")})`;
}

// How many characters a read-out may take, so that its box keeps its size.
export function widest(shape, form) {
  const one = form === "gap" ? 6.6 : form === "power" ? 4 : form === "d" ? 3 : Number(form.slice(1, -1)) + 2.6;
  const size = shape.reduce((a, b) => a * b, 1);
  return size === 1 ? one : size * (one + 1.6) + 1;
}

// The pieces of a text: {name:format}, [button], **bold**, =band=, _line_, plain.
export function pieces(text) {
  const found = [];
  const pattern = /\{(\w+)(?::([^}]*))?\}|\[([^\]]+)\]|\*\*([^*]+)\*\*|=(?!\s)([^={}]+)(?<!\s)=|(?<!\w)_([^_{}]+)_(?!\w)/g;
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > end) found.push({ text: text.slice(end, match.index) });
    if (match[1]) found.push({ value: match[1], form: match[2] || ".2f" });
    else if (match[3]) found.push({ button: match[3] });
    else if (match[4]) found.push({ mark: "strong", text: match[4] });
    else if (match[5]) found.push({ mark: "band", text: match[5] });
    else found.push({ mark: "line", text: match[6] });
    end = match.index + match[0].length;
  }
  if (end < text.length) found.push({ text: text.slice(end) });
  return found;
}
