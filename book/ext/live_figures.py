"""Live figures in the book: what the figures of a page share stands there once, and sentences that move a figure.

* each figure brings its styles and its runtime, and the page keeps the first;
* {live}`0.70 <pairing turn:.2f>` shows a value of the figure, here 0.70 without scripts; a control can be dragged;
* {state}`logistic units <hero kappa:2_0_-1_0_2_-1>` is a link to a state of the figure, as its "copy link" writes it.
"""

from __future__ import annotations

import re
from html import escape
from typing import Any

from docutils import nodes
from sphinx.errors import ExtensionError

SHARED = re.compile(r'<(style|script) class="live-(?:style|runtime)">.*?</\1>', re.DOTALL)


def share(body: str) -> str:
    """The page's HTML with one style and one script that all its figures share."""
    seen: dict[str, str] = {}

    def first(match: re.Match[str]) -> str:
        text = seen.setdefault(match[1], match[0])
        if text != match[0]:
            raise ExtensionError("figures of one page come from two versions of kfac_lite.live: build the page again")
        found.append(match[1])
        return match[0] if found.count(match[1]) == 1 else ""

    found: list[str] = []
    return SHARED.sub(first, body)


ROLE = re.compile(r"(?P<words>.+?) <(?P<figure>[a-z0-9-]+) (?P<rest>[^<>]+)>", re.DOTALL)


def live_role(
    name: str, rawtext: str, text: str, lineno: int, inliner: Any, options: Any = None, content: Any = None
) -> tuple[list[nodes.Node], list[nodes.Node]]:
    """{live}`words <figure value:format>` and {state}`words <figure control:numbers>`."""
    match = ROLE.fullmatch(text)
    value = match and re.fullmatch(r"(\w+):(\.\d[fg]|gap|power|d)", match["rest"])
    if match is None or (name == "live" and not value):
        example = "0.70 <pairing turn:.2f>" if name == "live" else "shear it <hero kappa:1_0.3_0_0_1_0>"
        return [], [inliner.reporter.error(f"{{{name}}}`{text}`: write {{{name}}}`{example}`", line=lineno)]
    words, figure = escape(match["words"]), match["figure"]
    if value:
        data = f'data-figure="{figure}" data-name="{value[1]}" data-form="{value[2]}"'
        html = f'<span class="live-number" {data}>{words}</span>'
    else:
        html = f'<a class="live-state" href="#{figure}=1,{escape(match["rest"])}">{words}</a>'
    return [nodes.raw(rawtext, html, format="html")], []


def check(body: str) -> None:
    """Every figure that a sentence speaks of is on its page. Raises ExtensionError."""
    there = set(re.findall(r'<script>liveFigures\.start\(document\.currentScript, \{"name":"([a-z0-9-]+)"', body))
    named = re.findall(r'class="live-number" data-figure="([a-z0-9-]+)"|class="live-state" href="#([a-z0-9-]+)=', body)
    for figure in {a or b for a, b in named} - there:
        raise ExtensionError(f"a sentence speaks of the live figure {figure!r}; on its page there are {sorted(there)}")


def on_page(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    # Not for a page without Python: the widgets' state, which holds each figure's module once more.
    getattr(app.env, "nb_metadata", {}).get(pagename, {}).get("js_files", {}).pop("ipywidgets_state", None)
    if context.get("body"):
        context["body"] = share(context["body"])
        check(context["body"])


def setup(app: Any) -> dict[str, Any]:
    app.add_role("live", live_role)
    app.add_role("state", live_role)
    app.connect("html-page-context", on_page, priority=300)  # before the other hooks, which then read less
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
