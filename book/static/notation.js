/* Symbols of Table 1 in formulas: found in the TeX before it is typeset, lit up together, explained on a card. */
{
/* A page says of each card as little as it can: the name where it is not the meaning's own, and no labels. */
const cards = (window.notationCards || []).map(([name, meaning, code, arrays, ...patterns]) => ({
  name: name || meaning.toLowerCase().replace(/[^a-z]+/g, "-").replace(/^-|-$/g, ""),
  meaning,
  rows: [["without coordinates", code], ["in a basis", arrays]].filter(row => row[1]),
  patterns,
}));
const scripts = /(?:\s*'|\s*[_^]\s*(?:\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}|\\[A-Za-z]+|[^\s{}\\]))*/y;
const rules = cards.flatMap((card, at) => card.patterns.map(text => [new RegExp(text, "y"), at]));
const words = /\\(?:text|operatorname\*?|begin|end|tag|label|class|mathrm|mathsf|hspace)\s*\{[^{}]*\}(?:\[[^\]]*\])?/y;
const asks = /(?:[_^]|\\(?:hat|bar|tilde|vec|dot|overline|underline|widehat|widetilde|sqrt|d?frac|tfrac|mathbf|boldsymbol|basis))\s*$/;  // an argument without braces
const command = /\\(?:[A-Za-z]+|.)/sy;

const taken = (pattern, tex, at) => {
  pattern.lastIndex = at;
  const found = pattern.exec(tex);
  return found ? found[0] : null;
};

/* TeX in which each known symbol, with its scripts, carries a class; a binary operator keeps its spaces. */
const marked = tex => {
  let out = "", at = 0;
  while (at < tex.length) {
    let symbol = null, which = -1;
    for (const [pattern, card] of rules) {
      if ((symbol = taken(pattern, tex, at)) !== null) { which = card; break; }
    }
    if (symbol) {
      const whole = asks.test(out) ? symbol : symbol + taken(scripts, tex, at + symbol.length);  // T_\omega^* is (T_\omega)^*
      const inside = `\\class{notation notation-${which}}{${whole}}`;
      out += symbol === "\\otimes" ? `\\mathbin{${inside}}` : `{${inside}}`;
      at += whole.length;
      continue;
    }
    const plain = taken(words, tex, at) || taken(command, tex, at) || tex[at];
    out += plain;
    at += plain.length;
  }
  return out;
};
window.markNotation = marked;

/* MathJax has its settings by now and starts after this script. */
if (cards.length && window.MathJax && !window.MathJax.version) {
  const startup = window.MathJax.startup = window.MathJax.startup || {};
  const ready = startup.ready;
  startup.ready = () => {
    (ready || (() => window.MathJax.startup.defaultReady()))();
    for (const jax of window.MathJax.startup.input || []) {
      if (jax.name === "TeX") jax.preFilters.add(({ math }) => { math.math = marked(math.math); });
    }
    window.MathJax.startup.promise.then(listSymbols);
  };
}

/* ---------- Light. One door for all who light a symbol, and one event for all who follow it. */
let lit = -1;
const light = which => {
  if (which === lit) return;
  document.querySelectorAll(".notation-lit").forEach(place => place.classList.remove("notation-lit"));
  lit = which;
  if (lit >= 0) document.querySelectorAll(`.notation-${lit}`).forEach(place => place.classList.add("notation-lit"));
  document.dispatchEvent(new CustomEvent("notation", { detail: cards[lit] || null }));
};
window.notation = { cards, light: name => light(cards.findIndex(card => card.name === name)), dark: () => light(-1) };

const made = (tag, more = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), more);
  element.append(...children);
  return element;
};
const codeOf = card => made("dl", {}, ...card.rows.flatMap(([label, code]) =>
  [made("dt", { textContent: label }), made("dd", {}, made("code", { textContent: code }))]));

/* ---------- By pointer and touch: a card beside the symbol */
let box = null;
const symbolOf = target => target instanceof Element ? target.closest(".notation") : null;
const numberOf = symbol => +[...symbol.classList].find(name => /^notation-\d+$/.test(name)).slice(9);

const hide = () => {
  if (!box || box.hidden) return;
  light(-1);
  box.hidden = true;
};

const show = symbol => {
  const which = numberOf(symbol), card = cards[which];
  if (!box) {
    box = made("div", { className: "notation-card" });
    box.setAttribute("role", "tooltip");
    (document.getElementById("main-content") || document.body).append(box);
  }
  box.replaceChildren(made("p", { textContent: card.meaning }), codeOf(card));
  box.hidden = false;
  light(which);
  const at = symbol.getBoundingClientRect(), size = box.getBoundingClientRect();
  const left = Math.max(8, Math.min(at.left, document.documentElement.clientWidth - size.width - 8));
  const above = at.top - size.height - 8;
  box.style.left = `${left}px`;
  box.style.top = `${above > 8 ? above : at.bottom + 8}px`;
};

let wait = 0;
document.addEventListener("pointerover", event => {
  const symbol = symbolOf(event.target);
  clearTimeout(wait);
  if (symbol) { if (event.pointerType === "mouse") wait = setTimeout(show, 150, symbol); }
  else if (event.pointerType === "mouse") wait = setTimeout(hide, 100);
});
document.addEventListener("click", event => {
  const symbol = symbolOf(event.target);
  if (symbol && !symbol.closest("a")) show(symbol); else hide();
});
document.addEventListener("keydown", event => { if (event.key === "Escape") hide(); });
addEventListener("scroll", hide, { passive: true });

/* ---------- By keyboard: one stop a section, which opens the list of the symbols in it */
const headed = element => {
  let section = element.closest("section");
  while (section && !section.querySelector(":scope > :is(h1, h2, h3, h4)")) section = section.parentElement.closest("section");
  return section;
};

/* The symbol once more: as it is drawn, and as it is spoken. */
const copyOf = symbol => {
  const set = symbol.closest("mjx-container");
  const drawn = made("mjx-math", { className: "MJX-TEX" }, symbol.cloneNode(true));
  drawn.setAttribute("aria-hidden", "true");
  const copy = made("mjx-container", { className: "MathJax" }, drawn);
  copy.setAttribute("jax", "CHTML");
  copy.style.cssText = "position: relative; font-size: 107.6%";
  const which = [...set.querySelectorAll("mjx-math .notation")].indexOf(symbol);
  const said = set.querySelectorAll("mjx-assistive-mml .notation")[which];
  if (said) {
    const math = document.createElementNS("http://www.w3.org/1998/Math/MathML", "math");
    math.append(said.cloneNode(true));
    copy.append(made("mjx-assistive-mml", {}, math));
  }
  copy.querySelectorAll(".notation").forEach(mark => mark.removeAttribute("class"));
  return copy;
};

const opener = (section, found) => {
  const title = section.querySelector(":scope > :is(h1, h2, h3, h4)");
  const name = `Symbols in \u201c${title.firstChild.textContent.trim()}\u201d`;
  const button = made("button", { type: "button", className: "notation-opener", textContent: name });
  button.setAttribute("aria-expanded", "false");
  const holder = made("div", { className: "notation-here" }, button);
  let list = null;
  const close = () => {
    const shut = list;
    list = null;  // first, for the list loses the focus as it goes
    shut?.remove();
    light(-1);
    button.setAttribute("aria-expanded", "false");
  };
  const open = () => {
    const entries = [...found].sort(([a], [b]) => a - b).map(([which, symbol]) => {
      const code = codeOf(cards[which]);
      const entry = made("button", { type: "button" }, copyOf(symbol), " ", made("span", { textContent: cards[which].meaning }));
      code.id = `notation-code-${which}`;
      entry.setAttribute("aria-describedby", code.id);
      const row = made("li", {}, entry, code);
      entry.addEventListener("focus", () => { hide(); light(which); row.scrollIntoView({ block: "nearest" }); });
      return row;
    });
    list = made("div", { className: "notation-list" },
      made("p", { textContent: `${name}. Go through them by arrow keys; their places light up. Escape closes.` }),
      made("ul", {}, ...entries));
    list.setAttribute("role", "group");
    list.setAttribute("aria-label", name);
    holder.append(list);
    button.setAttribute("aria-expanded", "true");
    title.scrollIntoView();  // the list covers the lower part of the window
    list.querySelector("button").focus({ preventScroll: true });
  };
  button.addEventListener("click", () => list ? close() : open());
  holder.addEventListener("keydown", event => {
    if (!list) return;
    const stops = [...list.querySelectorAll("button")], at = stops.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: stops.length - 1 }[event.key];
    if (event.key === "Escape") { button.focus(); close(); }
    else if (to === undefined) return;
    else if (stops[to]) stops[to].focus();
    event.preventDefault();
  });
  holder.addEventListener("focusout", event => { if (list && !holder.contains(event.relatedTarget)) close(); });
  title.after(holder);
};

const listSymbols = () => {
  const sections = new Map();
  for (const symbol of document.querySelectorAll("article mjx-math .notation")) {
    const section = headed(symbol), which = numberOf(symbol);
    if (!section) continue;
    if (!sections.has(section)) sections.set(section, new Map());
    if (!sections.get(section).has(which)) sections.get(section).set(which, symbol);
  }
  sections.forEach((found, section) => opener(section, found));
};
}
