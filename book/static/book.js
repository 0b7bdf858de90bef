/* What the pages do beyond the theme: folds that links open, hover cards, wide formulas, search, print. */
{
const each = (selector, act) => document.querySelectorAll(selector).forEach(act);

/* A link into a folded block opens it, and every fold around it. */
const unfold = () => {
  const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  let shut = false;
  for (let fold = target.closest("details"); fold; fold = fold.parentElement.closest("details")) {
    shut ||= !fold.open;
    fold.open = true;
  }
  if (shut) target.scrollIntoView();
};
addEventListener("hashchange", unfold);

/* What is wider than its box can be scrolled by keyboard. */
const reach = () => each("mjx-container[display='true'], .pst-scrollable-table-container, .cell_output .output", box => {
  if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0; else box.removeAttribute("tabindex");
});
addEventListener("resize", reach);

/* On paper every fold is open. */
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  opened.forEach(fold => fold.open = true);
});
addEventListener("afterprint", () => opened.forEach(fold => fold.open = false));

/* Search: formulas are indexed by the names of their letters; from a file there are no excerpts to fetch. */
const greek = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma sigma tau upsilon phi chi psi omega".split(" ");
const named = letter => greek[letter.toLowerCase().charCodeAt(0) - 0x3b1];
const said = tex => tex.replace(/\\([A-Za-z]+)/g, (all, name) => {
  const at = greek.indexOf(name.toLowerCase().replace(/^var/, ""));
  if (at < 0) return "";
  const letter = String.fromCharCode(0x3b1 + at);
  return name[0] < "a" ? letter.toUpperCase() : letter;
}).replace(/[{}$&]|\\./g, "");
const mendSearch = () => {
  if (typeof Search === "undefined") return;
  if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
  const perform = Search.performSearch, text = Search.htmlToText;
  Search.performSearch = query => perform(query.replace(/[\u03b1-\u03c9\u0391-\u03a9]/g, named));
  Search.htmlToText = (html, anchor) => text(html.replace(/\\[([][\s\S]*?\\[)\]]/g, said), anchor);
};

document.addEventListener("DOMContentLoaded", () => {
  mendSearch();
  unfold();
  if (window.tippy) {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches ? { duration: 0 } : {};
    tippy.setDefaultProps({ appendTo: () => document.getElementById("main-content") || document.body, ...still });
    addEventListener("keydown", event => { if (event.key === "Escape") tippy.hideAll(); });
  }
  const typeset = window.MathJax && MathJax.startup && MathJax.startup.promise;
  if (typeset) typeset.then(reach); else addEventListener("load", () => window.MathJax?.startup?.promise?.then(reach));
  reach();
});
}
