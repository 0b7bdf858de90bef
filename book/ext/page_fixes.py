"""What the theme and the extensions leave for us to mend in each page (and in headings, before there are pages).

* headings hold no TeX: tab, search results and previous/next show plain text, so `$\\Omega$` there becomes Ω;
* an error may be worded as its author likes, with quotes that are no Python;
* solutions and other blocks of class dropdown become <details>, which work by keyboard, in print and without scripts;
* ids twice on a page, roles and labels that assistive technology stumbles over, and widget states go;
* a chapter's question and its line of time and goal get their look;
* K-FAC does not break at its hyphen;
* the search finds names with accents as they are typed without them;
* the addresses of the repository and of the site give buttons and canonical links, where they are set.
"""

from __future__ import annotations

import os
import re
import unicodedata
from typing import Any

from bs4 import BeautifulSoup, Tag
from bs4.element import NavigableString
from code_links import link_cells
from docutils import nodes
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

log = logging.getLogger(__name__)


def plain(tex: str) -> str | None:
    """A formula of letters as text; None where it is more than that."""

    def letter(match: re.Match[str]) -> str:
        size = "CAPITAL" if match[1][0].isupper() else "SMALL"
        try:
            return unicodedata.lookup(f"GREEK {size} LETTER {match[1].upper().replace('LAMBDA', 'LAMDA')}")
        except KeyError:
            return match[0]

    text = re.sub(r"\\([A-Za-z]+) ?", letter, tex).strip()
    return None if re.search(r"[\\^_{}$]", text) else text


class PlainHeadings(SphinxTransform):
    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        for title in self.document.findall(nodes.title):
            if not isinstance(title.parent, nodes.section):
                continue
            for formula in list(title.findall(nodes.math)):
                text = plain(formula.astext())
                if text is None:
                    log.warning("a heading holds a formula that has no plain text: %s", formula, location=title)
                else:
                    formula.replace_self(nodes.Text(text))


class Errors(SphinxTransform):
    """Errors of cells are coloured as far as they are Python, without a warning where they are words."""

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        for block in self.document.findall(nodes.literal_block):
            if block.get("language") == "ipythontb":
                block["force"] = True


def folds(page: BeautifulSoup) -> None:
    """<div class="admonition dropdown"><p class="admonition-title">... as <details><summary>..."""
    for block in page.select("div.admonition.dropdown, div.admonition.toggle"):
        title = block.find("p", class_="admonition-title", recursive=False)
        if not isinstance(title, Tag):
            title = page.new_tag("p", attrs={"class": "admonition-title"})
            title.string = "Proof"
            block.insert(0, title)
        for link in title.find_all("a"):
            link.unwrap()
        title.name = "summary"
        words = page.new_tag("span")  # one item of the line beside the arrow, whatever is in it
        words.extend(list(title.contents))
        title.append(words)
        block.name = "details"
        block["class"] = " ".join([name for name in block["class"] if name not in ("dropdown", "toggle")] + ["fold"])


def repair(page: BeautifulSoup) -> None:
    for script in page.select('script[type="application/vnd.jupyter.widget-state+json"]'):
        script.decompose()
    for element in page.select('[id="proof-content"], [id="proof"], [id="exercise-content"], [id="solution-content"]'):
        del element["id"]
    seen: set[str] = set()
    for element in page.select("[id]"):  # a statement without a number gives its id to its title as well
        if str(element["id"]) in seen:
            del element["id"]
        else:
            seen.add(str(element["id"]))
    for element in page.select('[aria-label="Toggle hidden content"]'):
        del element["aria-label"]
    for element in page.select('[role="list"], [role="doc-biblioentry"], [role="doc-backlink"], [role="note"]'):
        del element["role"]
    for cell in page.find_all("th"):
        if not cell.get_text(strip=True):
            cell.name = "td"
    for pre in page.select("div.highlight pre, div.cell_output pre"):
        pre["tabindex"] = "0"
    for link in page.select("a.reference.internal"):
        if link.string and link.string.endswith(" "):  # "Proposition ", which has no number
            link.string = link.string.rstrip()
    for image in page.select("a.image-reference > img"):
        if isinstance(image.parent, Tag):
            image.parent.unwrap()


# What book.css gives a look of its own in code: keywords, names that are defined, comments, strings, errors.
STYLED = frozenset({"k", "kn", "kc", "kd", "ow", "nf", "nc", "ne", "c", "c1", "cm", "sd", "s1", "s2", "sa", "sf", "si"})


def plain_code(page: BeautifulSoup) -> None:
    """A span a token is most of what code weighs in a page; where the stylesheet gives it no look, text is enough."""
    for span in page.select("div.highlight pre span"):
        if not span.get("id") and not STYLED & set(span.get("class") or ()):
            span.unwrap()


def opening(page: BeautifulSoup) -> None:
    """Give the question under a chapter's title, and the line in italics with its time and goal, their look."""
    title = page.find("h1")
    before: list[Tag] = []
    for line in title.find_next_siblings(limit=4) if isinstance(title, Tag) else ():
        if line.name != "p":
            return
        inside = [child for child in line.children if str(child).strip()]
        if len(inside) == 1 and isinstance(inside[0], Tag) and inside[0].name == "em":
            inside[0].unwrap()
            line["class"] = "facts"
            for paragraph in before:
                paragraph["class"] = "lede"
            return
        before.append(line)


def hyphens(page: BeautifulSoup) -> None:
    for text in page.find_all(string=re.compile("K-FAC")):
        if text.find_parent(["pre", "code", "script", "style", "svg"]) or text.find_parent(class_="math"):
            continue
        for part in re.split("(K-FAC)", text):
            if part == "K-FAC":
                span = page.new_tag("span", attrs={"class": "nb"})
                span.string = part
                text.insert_before(span)
            else:
                text.insert_before(NavigableString(part))
        text.extract()


def mend(body: str, root: str = "") -> str:
    """The page's own part of the html, mended; `root` leads from the page to the book's root."""
    page = BeautifulSoup(body, "html.parser")
    folds(page)
    repair(page)
    opening(page)
    hyphens(page)
    link_cells(page, root)
    plain_code(page)
    return str(page)


def on_page(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    if context.get("body") and not pagename.startswith("source/"):
        context["body"] = mend(context["body"], "../" * pagename.count("/"))


def no_such_page(app: Any) -> list[tuple[str, dict[str, Any], str]]:
    return [("404", {"book_root": app.config.book_site}, "404.html")]


def bare(word: str) -> str:
    """The word without accents, as book.js asks for it."""
    letters = unicodedata.normalize("NFD", word).translate(str.maketrans("łŁøØ", "lLoO"))
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def index_without_accents(app: Any) -> list[Any]:
    """Each word of the search index once more without its accents: Léon is found as Leon."""
    if (indexer := getattr(app.builder, "indexer", None)) is not None:
        for mapping in (indexer._mapping, indexer._title_mapping):
            for word, pages in list(mapping.items()):
                for other in {bare(word), indexer.lang.stem(bare(word))} - {word} if bare(word) != word else ():
                    mapping.setdefault(other, set()).update(pages)
    return []


def addresses(repository: str, site: str, branch: str = "main") -> tuple[dict[str, Any], str]:
    """The theme's options and the base of canonical links, for addresses of which either may be empty."""
    if not repository:
        return {}, site
    options = {
        "repository_url": repository,
        "repository_branch": branch,
        "path_to_docs": "",
        "use_repository_button": True,
        "use_issues_button": True,
    }
    if "github.com/" in repository:
        colab = "https://colab.research.google.com"
        options["launch_buttons"] = {"notebook_interface": "jupyterlab", "colab_url": colab, "thebe": False}
    return options, site


def on_config(app: Any, config: Any) -> None:
    options, site = addresses(config.book_repository, config.book_site)
    config.html_theme_options = {**config.html_theme_options, **options}
    config.html_baseurl = site
    if cache := os.environ.get("BOOK_EXECUTIONS"):  # book/build.py keeps one for each state of the package
        config.nb_execution_cache_path = cache


def setup(app: Any) -> dict[str, Any]:
    app.add_config_value("book_repository", "", "html")
    app.add_config_value("book_site", "", "html")
    app.connect("config-inited", on_config, priority=100)
    app.connect("html-collect-pages", no_such_page)
    app.connect("html-collect-pages", index_without_accents)
    app.connect("html-page-context", on_page, priority=400)  # before the hover cards are made, at 450
    app.add_transform(PlainHeadings)
    app.add_transform(Errors)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
