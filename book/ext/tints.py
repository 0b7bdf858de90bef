"""One symbol, one tint: book/static/tints.js lights a symbol's places in formulas, code and figures together.

The symbols of the formulas are found by `notation`; a formula that is no single letter is marked by its author, such as
\\class{tint-gap}{...}. The scripts stand on pages that have formulas, and code or a live figure.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes


def on_page(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    body = context.get("body") or ""
    if doctree is None or not ("cell_input" in body or "live-host" in body):
        return
    if next(iter(doctree.findall(lambda n: isinstance(n, nodes.math | nodes.math_block))), None):
        app.add_js_file("tints.js", priority=401, loading_method="defer")  # after notation.js, which it listens to
        app.add_css_file("tints.css")


def setup(app: Any) -> dict[str, Any]:
    app.connect("html-page-context", on_page)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
