/* What the pages do beyond the theme: folds that links open, wide formulas, search, print. */
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
/* The index holds each word with its accents and without, so a query needs none. */
const bare = text => text.normalize("NFD").replace(/[\u0300-\u036f]/g, "").replace(/ł/g, "l").replace(/Ł/g, "L").replace(/ø/g, "o").replace(/Ø/g, "O");
const mendSearch = () => {
  if (typeof Search === "undefined") return;
  if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
  const perform = Search.performSearch, text = Search.htmlToText;
  Search.performSearch = query => perform(bare(query).replace(/[\u03b1-\u03c9\u0391-\u03a9]/g, named));
  Search.htmlToText = (html, anchor) => text(html.replace(/\\[([][\s\S]*?\\[)\]]/g, said), anchor);
};

/* A word that the search found in folds alone: they open. (The words are marked a moment after they are asked for.) */
const unfoldFound = () => {
  const marks = [...document.querySelectorAll("article .highlighted")];
  if (!marks.length || !marks.every(mark => mark.closest("details:not([open])"))) return;
  for (const mark of marks) {
    for (let fold = mark.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  }
  marks[0].scrollIntoView({ block: "center" });
};

/* A full stop stays on the line of the formula before it, and an opening bracket on that of the formula after it. */
const glue = () => each("article span.math", formula => {
  const text = formula.nextSibling, stop = text && text.nodeType === Node.TEXT_NODE && /^[.,;:!?)]+/.exec(text.data);
  const before = formula.previousSibling, bracket = before && before.nodeType === Node.TEXT_NODE && /[(\u201c]$/.exec(before.data);
  if (!stop && !bracket) return;
  const both = document.createElement("span");
  both.className = "nb";
  formula.before(both);
  if (bracket) both.append(before.splitText(before.data.length - 1));
  both.append(formula);
  if (!stop) return;
  text.splitText(stop[0].length);
  both.append(text);
});

document.addEventListener("DOMContentLoaded", () => {
  glue();
  mendSearch();
  unfold();
  if (!document.getElementById("search-results")) SphinxHighlight.highlightSearchWords();  // which the theme forgets
  setTimeout(unfoldFound, 100);
  const typeset = window.MathJax && MathJax.startup && MathJax.startup.promise;
  if (typeset) typeset.then(reach); else addEventListener("load", () => window.MathJax?.startup?.promise?.then(reach));
  reach();
  each("nav.bd-links a, nav.page-toc a, .prev-next-title", link => {  // the page's own text has this from the build
    if (!link.childElementCount) link.textContent = link.textContent.replace(/K-FAC/g, "K\u2011FAC");
  });
});
}
