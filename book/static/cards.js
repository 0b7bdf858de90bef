/* Words that were searched for are not lit inside of formulas, which are TeX until they are typeset. */
document.querySelectorAll(".math").forEach(formula => formula.classList.add("nohighlight"));

/* Hover cards: a link of the text that is pointed at, or focused by keyboard, shows what it leads to. A tap follows it. */
{
const far = {};  // what stands on other pages, by the address in the link; see book/ext/hover_cards.py
window.hoverCards = cards => Object.assign(far, cards);
const WHOLE = "figure, table, p, aside, div.admonition, details, div.citation, div.math";
const LEFT_OUT = ".headerlink, .eqno, script, style";
const isHeading = element => /^H\d$/.test(element.tagName);

/* The elements of this page that say what stands at an id. */
const here = id => {
  let at = document.getElementById(id);
  if (at && at.matches("span:empty")) {  // a second name of what it stands in or before
    const next = at.nextElementSibling;
    at = next && !isHeading(next) ? next : at.parentElement;
  }
  if (!at) return [];
  if (at.matches(WHOLE)) return [at];
  if (at.matches("dt")) return [at, at.nextElementSibling];
  const heading = [...at.children].find(isHeading), next = heading && heading.nextElementSibling;
  return heading ? [heading, ...(next && next.matches("p") ? [next] : [])] : [];
};

const content = link => {
  const address = link.getAttribute("href"), parts = document.createDocumentFragment();
  if (Object.hasOwn(far, address)) parts.append(document.createRange().createContextualFragment(far[address]));
  else if (address.length > 1 && address[0] === "#") {
    parts.append(...here(decodeURIComponent(address.slice(1))).map(part => part.cloneNode(true)));
  }
  parts.querySelectorAll(LEFT_OUT).forEach(part => part.remove());
  parts.querySelectorAll("[id]").forEach(copy => copy.removeAttribute("id"));
  return parts;
};

let card = null, owner = null, wait = 0;
const hide = () => {
  clearTimeout(wait);
  if (card) card.remove();
  card = owner = null;
};

/* Below the line of the link, or above it where there is more room. The card has no gap to the link, so that the
   pointer can go into it. */
const place = (link, y) => {
  card.style.left = card.style.top = "0";
  const lines = [...link.getClientRects()], line = lines.find(box => box.top <= y && y <= box.bottom) || lines[0];
  const size = card.getBoundingClientRect(), width = document.documentElement.clientWidth;
  const left = Math.max(16, Math.min(line.left, width - size.width - 16));
  const above = line.bottom + size.height > innerHeight && line.top >= size.height;
  card.style.left = `${left - size.left}px`;
  card.style.top = `${(above ? line.top - size.height : line.bottom) - size.top}px`;
};

const show = (link, y) => {
  hide();
  const inside = content(link);
  if (!inside.childElementCount) return;
  card = document.createElement("div");
  card.className = "tippy-hold";
  const [box, text] = ["tippy-box", "tippy-content"].map(name => Object.assign(document.createElement("div"), { className: name }));
  text.append(inside);
  box.append(text);
  card.append(box);
  (document.getElementById("main-content") || document.body).append(card);
  owner = link;
  place(link, y);
  const mine = card, ready = window.MathJax && MathJax.startup && MathJax.startup.promise;
  if (ready) ready.then(() => MathJax.typesetPromise([text])).then(() => { if (card === mine) place(link, y); });
};

const linkOf = target => {
  const link = target instanceof Element ? target.closest("article a[href]") : null;
  return link && !link.matches(".headerlink, .sd-stretched-link") ? link : null;
};
document.addEventListener("pointerover", event => {
  if (event.pointerType !== "mouse") return;
  const link = linkOf(event.target);
  clearTimeout(wait);
  if (card && (link === owner || card.contains(event.target))) return;
  if (link) wait = setTimeout(show, 100, link, event.clientY);
  else if (card) wait = setTimeout(hide, 200);
});
document.addEventListener("focusin", event => {
  const link = linkOf(event.target);
  if (link && link.matches(":focus-visible")) show(link);
  else if (card && !card.contains(event.target)) hide();
});
document.addEventListener("keydown", event => { if (event.key === "Escape") hide(); });
}
