"""The paper's numbers, read off the labels: `eq-2-7` prints (2.7), `thm-3-6` prints Theorem 3.6, on every page.

Sphinx counts; this extension overwrites its count with the number in the label, for the labels that
book/items.csv lists. A reference to an item whose chapter is not there yet prints as text ("Theorem 2.1 of the
paper"), and is a link as soon as the label is somewhere. A label that is not the paper's is refused.
Figures and exercises are ours, and are numbered within their chapter.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.index_entries import split_index_msg

log = logging.getLogger(__name__)

KINDS = {
    "eq": "equation", "thm": "theorem", "lem": "lemma", "def": "definition", "rem": "remark",
    "prp": "proposition", "exa": "example", "cor": "corollary", "tab": "table",
}  # fmt: skip
OURS = ("figure", "table", "exercise")  # numbered within their chapter, where they are not the paper's
with open(Path(__file__).parents[1] / "items.csv", encoding="utf-8", newline="") as file:
    ITEMS = {row["label"]: row for row in csv.DictReader(file)}


def name(label: str) -> str:
    """How the text names an item: "Theorem 3.6", or "(2.7)"."""
    kind, number = ITEMS[label]["kind"], ITEMS[label]["number"]
    return f"({number})" if kind == "equation" else f"{kind.title()} {number}"


def refusal(label: str, kind: str, numbered: bool = True) -> str | None:
    """Why an author may not give this label to a block of this kind; None if they may."""
    prefix = label.partition("-")[0]
    if label in ITEMS:
        if ITEMS[label]["kind"] != kind:
            return f"label {label!r} is the paper's {name(label)}, and this is a {kind}"
        return None if numbered else f"label {label!r} is the paper's {name(label)}: leave out :nonumber:"
    if numbered:
        return f"a numbered {kind} has the label {label!r}, which is no item of the paper (our own take :nonumber:)"
    return f"label {label!r} looks like an item of the paper, and is none" if prefix in KINDS else None


def places(env: Any) -> dict[str, tuple[str, str, str]]:
    """Where each of the paper's items stands: label -> (page, Sphinx's kind of counter, id)."""
    found = {
        label: (docname, "displaymath", nodes.make_id(f"equation-{label}"))
        for label, (docname, _) in env.get_domain("math").equations.items()
    }
    found |= {
        label: (proof["docname"], proof["countertype"], label)
        for label, proof in getattr(env, "proof_list", {}).items()
    }
    tables = env.get_domain("std").anonlabels
    found |= {label: (tables[label][0], "table", tables[label][1]) for label in tables if label.startswith("tab-")}
    return {label: place for label, place in found.items() if label in ITEMS}


def chapter(title: str) -> list[str]:
    """The parts of the number with which a chapter's title begins; none where it has no number."""
    found = re.match(r"(\d+(?:\.\d+)*|A)\b", title)
    return found[1].split(".") if found else []


def give_back(app: Any, env: Any) -> list[str]:
    """Before Sphinx counts: its own table, or it would find each number changed and write each page anew."""
    for (docname, figtype, identity), number in getattr(env, "paper_counted", {}).items():
        if identity in env.toc_fignumbers.get(docname, {}).get(figtype, {}):
            env.toc_fignumbers[docname][figtype][identity] = number
    return []


def take_over(app: Any, env: Any) -> list[str]:
    """After Sphinx counted: the paper's numbers, and for what is ours the chapter's and one more (Fig. 3.2.1).

    Where an item of the paper came or went, all pages are written again.
    """
    found, before = places(env), getattr(env, "paper_places", None)
    env.paper_counted = {}
    for label, (docname, figtype, identity) in found.items():
        counted = env.toc_fignumbers.setdefault(docname, {}).setdefault(figtype, {})
        env.paper_counted[docname, figtype, identity] = counted.get(identity, ())
        counted[identity] = tuple(ITEMS[label]["number"].split("."))
    for docname, figtype in itertools.product(env.toc_fignumbers, OURS):
        counted = env.toc_fignumbers[docname].get(figtype, {})
        for place, identity in enumerate(
            [one for one in counted if (docname, figtype, one) not in env.paper_counted], 1
        ):
            env.paper_counted[docname, figtype, identity] = counted[identity]
            counted[identity] = (*chapter(env.titles[docname].astext()), str(place))
    env.paper_places = found
    return [] if before in (None, found) else sorted(env.found_docs)


def to_search(app: Any) -> list[Any]:
    """An entry in the search index for each item, so that "Theorem 3.1" leads to it.

    Index nodes would do in a build from scratch. In a later one Sphinx reads the pages that it does not write back from
    the old index without their entries, so these go in after the pages, before the index is written; and with them
    those of other makers, the glossary's terms.
    """
    if (indexer := getattr(app.builder, "indexer", None)) is not None:
        for docname, listed in app.env.get_domain("index").entries.items():
            entries = indexer._index_entries.setdefault(docname, [])
            for kind, value, identity, main, _ in listed:
                with contextlib.suppress(ValueError):  # an entry of a form that Sphinx leaves out too
                    found = [(words, identity or "", main) for words in split_index_msg(kind, value)]
                    entries += [entry for entry in found if entry not in entries]
        for label, (docname, _, identity) in app.env.paper_places.items():
            entry = (f"{ITEMS[label]['kind'].title()} {ITEMS[label]['number']}", identity, "main")
            entries = indexer._index_entries.setdefault(docname, [])
            if entry not in entries:
                entries.append(entry)
    return []


def check(app: Any, env: Any) -> None:
    for label, (docname, _) in env.get_domain("math").equations.items():
        if why := refusal(label, "equation"):
            log.warning(why, location=docname)
    for label, proof in getattr(env, "proof_list", {}).items():
        if why := refusal(label, proof["realtype"], not proof["nonumber"]):
            log.warning(why, location=proof["docname"])


class NotHereYet(SphinxPostTransform):
    """A reference to an item that no page holds prints as text."""

    default_priority = 5  # before Sphinx resolves references, at 10

    def run(self, **kwargs: Any) -> None:
        found = places(self.env)
        for node in list(self.document.findall(pending_xref)):
            label = node["reftarget"]
            if node["reftype"] in ("ref", "eq", "numref") and label in ITEMS and label not in found:
                said = node.astext()
                shown = f"{name(label)} of the paper" if label in said else said
                node.replace_self(nodes.inline(shown, shown, classes=["of-the-paper"]))


def setup(app: Any) -> dict[str, Any]:
    app.connect("env-get-updated", give_back, priority=100)
    app.connect("env-get-updated", take_over, priority=900)
    app.connect("html-collect-pages", to_search)
    app.connect("env-check-consistency", check)
    app.add_post_transform(NotHereYet)
    return {"version": "1", "env_version": 1, "parallel_read_safe": True, "parallel_write_safe": True}
