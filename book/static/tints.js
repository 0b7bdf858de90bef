/* One symbol, one tint: its places in formulas, code and figures light up together. notation.js finds a symbol in the
   formulas and says which is lit, by pointer, tap or keyboard; a word of code and a part of a figure light it too. */
{
const WEIGHTS = ["weights-and-biases-of-layer-i-as-one-matrix", "the-weight-space-of-layer-i-in-a-product-with-activations-its-weight-matrix", "the-weight-space-of-the-network-in-w-a-b-the-matrix-of-one-layer"];
/* cards: the names of the symbol's cards; code: its words; values: what figures call it; handles: what moves it there. */
const TINTS = {
  Omega: { cards: ["Omega"], code: ["Omega"], values: ["=Omega"], handles: ["alpha-1", "alpha-2", "kappa-1", "kappa-2", "kappa_A-1", "kappa_A-2"] },
  gamma: { cards: ["gamma"], code: ["gamma"], values: ["=gamma"], handles: ["alpha-0", "kappa-0", "kappa_A-0"] },
  Phi: { cards: ["Phi"], code: ["Phi"], values: ["=Phi"], handles: ["zeta-1", "zeta-2", "kappa_Z-1", "kappa_Z-2"] },
  tau: { cards: ["tau"], code: ["tau"], values: ["=tau"], handles: ["zeta-0", "kappa_Z-0"] },
  W: { cards: WEIGHTS, code: ["W", "W1", "W2"], values: ["=W", "=W1", "=W2", "=b1", "=b2"], handles: [] },
  A: { cards: ["A"], code: ["A"], values: ["=A"], handles: [] },
  G: { cards: ["G"], code: ["G"], values: ["=G"], handles: [] },
  gap: { cards: [], code: ["gap", "gaps"], values: ["^=gap", "$=apart", "^=end_", "$=_end", "=at_start", "=identity", "=carried", "=control"], handles: [] },
};
const names = Object.keys(TINTS), html = document.documentElement;
const selectors = {};
const inFigure = name => selectors[name] ??= TINTS[name].handles.map(handle => `[data-handle="${handle}"]`).concat(TINTS[name].values.flatMap(value => {
  const [, how, word] = value.match(/^([$^]?=)(.*)$/);
  return [`[data-of${how}"${word}"]`, `[data-shows${how}"${word}"]`];
})).map(part => `.live-figure ${part}`).join();
const inFormulas = name => TINTS[name].cards.map(card => window.notation ? window.notation.cards.findIndex(c => c.name === card) : -1)
  .filter(at => at >= 0).map(at => `article .notation-${at}`).concat(`article .tint-${name}`);
const placesOf = name => [...inFormulas(name), `.tint-word[data-tint="${name}"]`, inFigure(name)].join();

let lit = null;
const shine = name => {
  if (name === lit) return;
  document.querySelectorAll(".tinted").forEach(place => place.classList.remove("tinted"));
  lit = name;
  if (!name) return delete html.dataset.tint;
  html.dataset.tint = name;
  document.querySelectorAll(placesOf(name)).forEach(place => place.classList.add("tinted"));
};
window.tints = { names, shine, placesOf };

/* What else can be pointed at, or focused by keyboard: words of code, parts of figures, marked parts of formulas. */
/* (The arrows of a basis are \u03a9's where the page speaks of \u03a9.) */
const spoken = name => document.querySelector([...inFormulas(name), `.tint-word[data-tint="${name}"]`].join()) !== null;
const nameOf = target => target instanceof Element
  ? target.closest(".tint-word")?.dataset.tint ?? names.find(name => target.closest(`${inFigure(name)}, article .tint-${name}`) && spoken(name)) ?? null : null;
let here = null;
document.addEventListener("notation", ({ detail: card }) => {
  if (card) here = null;
  shine(card ? names.find(name => TINTS[name].cards.includes(card.name)) ?? null : here);
});
const follow = target => {
  const name = nameOf(target);
  if (name) shine(here = name);
  else if (here) { here = null; shine(null); }
};
document.addEventListener("pointerover", event => { if (event.pointerType === "mouse" && !event.buttons) follow(event.target); });
document.addEventListener("focusin", event => { if (event.target.matches(":focus-visible")) follow(event.target); });
document.addEventListener("focusout", () => follow(null));
document.addEventListener("click", event => follow(event.target));
document.addEventListener("keydown", event => { if (event.key === "Escape") follow(null); });

/* The words of code, but for comments and strings. */
const which = new Map(names.flatMap(name => TINTS[name].code.map(word => [word, name])));
const words = new RegExp(`\\b((?:${[...which.keys()].join("|")})(?:_\\d)?)\\b`);
const mark = pre => {
  const walk = document.createTreeWalker(pre, NodeFilter.SHOW_TEXT), found = [];
  while (walk.nextNode()) if (words.test(walk.currentNode.data) && !walk.currentNode.parentElement.closest("pre span:is([class^=c], [class^=s])")) found.push(walk.currentNode);
  for (const text of found) {
    text.replaceWith(...text.data.split(words).map((part, i) => i % 2
      ? Object.assign(document.createElement("span"), { className: "tint-word", textContent: part }) : part));
  }
  for (const word of pre.querySelectorAll(".tint-word")) word.dataset.tint = which.get(word.textContent.replace(/_\d$/, ""));
};
document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("article .cell_input pre").forEach(mark));
}
