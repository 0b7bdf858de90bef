r"""Table 1, once: each symbol's meaning and its name in the code, as a table on a page and as a card on every formula.

`{notation-table}` prints the table, labelled `tab-1`. On every page book/static/notation.js finds the symbols in the
TeX of the formulas, by patterns, before they are typeset, and shows the card of the one that is pointed at;
by keyboard a button of each section opens the list of its symbols. The formulas themselves hold nothing of this, and a
page is given the cards of its own symbols only. The rows and the patterns are in symbols.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective
from symbols import ENTRIES, Entry

LABELS = ("without coordinates", "in a basis")
TABLES = ("/notation", "/what-may-be-added-to-what")


def table(entries: Sequence[Entry]) -> list[str]:
    """The rows as a Markdown table."""
    lines = ["| | without coordinates | in a basis |", "|---|---|---|"]
    for e in entries:
        pairs = ((e.intrinsic, e.code), (e.numbers, e.arrays))
        cells = [e.meaning, *(f"${tex}$ <br> `{code}`" if tex and code else "" for tex, code in pairs)]
        lines.append("| " + " | ".join(c.replace("|", r"\|") for c in cells) + " |")
    return lines


class NotationTable(SphinxDirective):
    """`{notation-table}`: the paper's Table 1. With the argument `more`, what this book adds to it."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        more = bool(self.arguments)
        lines = table([e for e in ENTRIES if e.own == more])
        if not more:
            caption = "Objects, their numbers, and what the code calls them"
            lines = [f"```{{table}} {caption}", ":name: tab-1", "", *lines, "```"]
        holder = nodes.container(classes=["notation-table"])
        self.state.nested_parse(StringList(lines, source=self.get_source_info()[0]), self.content_offset, holder)
        return [holder]


def cards(pagename: str, formulas: Iterable[str] | None = None) -> list[dict[str, Any]]:
    """What notation.js needs on this page: the entries that its formulas (all entries, if None) can hold."""
    page = pagename.rpartition("/")[2]
    text = None if formulas is None else "\n".join(formulas)
    found = []
    for e in ENTRIES:
        patterns = e.patterns_on(page)
        if not patterns or (text is not None and not any(re.search(p, text) for p in patterns)):
            continue
        names = zip(LABELS, (e.code, e.arrays))
        rows = [[label, code] for label, code in names if code]
        found.append(
            {"name": e.name, "meaning": e.meaning[0].upper() + e.meaning[1:], "rows": rows, "patterns": patterns}
        )
    return found


def packed(card: dict[str, Any]) -> list[str]:
    """A card as the page has it; notation.js unpacks it."""
    code = dict(card["rows"])
    own = re.sub(r"[^a-z]+", "-", card["meaning"].lower()).strip("-")
    name = "" if card["name"] == own else card["name"]
    return [name, card["meaning"], *(code.get(label, "") for label in LABELS), *card["patterns"]]


def on_page(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    formulas = [] if doctree is None else [m.astext() for m in doctree.findall(nodes.math)]
    formulas += [] if doctree is None else [m.astext() for m in doctree.findall(nodes.math_block)]
    here = cards(pagename, formulas)
    if here or pagename.endswith(TABLES):
        app.add_css_file("notation.css")
    if here:
        body = json.dumps([packed(card) for card in here], ensure_ascii=False, separators=(",", ":")).replace(
            "</", r"<\/"
        )
        app.add_js_file(None, body=f"window.notationCards = {body};", priority=399)
        app.add_js_file("notation.js", priority=400, loading_method="defer")  # before MathJax, at 500


def setup(app: Any) -> dict[str, Any]:
    app.add_directive("notation-table", NotationTable)
    app.connect("html-page-context", on_page)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
