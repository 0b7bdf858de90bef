"""Names of kfac_lite in code cells lead to their definitions: pages with the package's own source."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from bs4 import BeautifulSoup, Tag
from docutils import nodes
from source_names import PACKAGE, ROOT, Reader, Thing, anchors, lookup, sources
from sphinx.addnodes import download_reference
from sphinx.errors import ExtensionError
from sphinx.transforms import SphinxTransform


def address(root: str, module: str, anchor: str) -> str:
    return f"{root}source/{module}.html" + (f"#{anchor}" if anchor else "")


def link_cells(page: BeautifulSoup, root: str) -> None:
    """In the code cells of a page, <a> around the spans of names that are known; `root` leads to the book's root."""
    reader = Reader()
    for pre in page.select("div.cell_input pre"):
        code = pre.get_text()
        lines = [0]
        for line in code.split("\n"):
            lines.append(lines[-1] + len(line) + 1)
        ends = {}
        for row, column, name, where in reader.read(code):
            line = code[lines[row - 1] : lines[row] - 1].encode()
            ends[lines[row - 1] + len(line[:column].decode())] = (name, where)
        at = 0
        for text in list(pre.find_all(string=True)):
            at += len(text)
            name, where = ends.get(at, ("", ("", "")))
            span = text.parent
            if name and text == name and isinstance(span, Tag) and span.name == "span":
                link = page.new_tag("a", href=address(root, *where))
                span.wrap(link)


def source_pages(app: Any) -> Iterator[tuple[str, dict[str, Any], str]]:
    for module, path in sources().items():
        code = path.read_text(encoding="utf-8")
        html = app.builder.highlighter.highlight_block(code, "python", linenos=False)
        html = html.replace("<pre>", '<pre tabindex="0">', 1)
        before, inside, after = re.split(r'(?<=<pre tabindex="0">)|(?=</pre>)', html)
        rows = inside.split("\n")
        lead = len(code) - len(code.lstrip("\n"))
        for line, name in anchors(module).items():
            rows[line - 1 - lead] = f'<span id="{name}">{rows[line - 1 - lead]}</span>'
        title = path.relative_to(ROOT).as_posix()
        rows[0] = before + rows[0]
        body = f"<section class='source'><h1>{title}</h1>\n{chr(10).join(rows)}{after}</section>"
        yield f"source/{module}", {"title": title, "body": body, "parents": []}, "page.html"


def source_role(
    name: str, rawtext: str, text: str, lineno: int, inliner: Any, options: Any = None, content: Any = None
) -> tuple[list[nodes.Node], list[nodes.Node]]:
    """{source}`spaces.AffineSpace`, or {source}`coordinates.mlp`: a link to the definition."""
    module, anchor = f"{PACKAGE}.{text}", ""
    while module not in sources() and "." in module:
        module, _, last = module.rpartition(".")
        anchor = f"{last}.{anchor}" if anchor else last
    if module == PACKAGE and anchor and isinstance(found := lookup(module, anchor.partition(".")[0]), Thing):
        module = found.module
    if anchor and anchor not in anchors(module).values():
        raise ExtensionError(f"line {lineno}: kfac_lite has no {text!r}")
    env = inliner.document.settings.env
    root = "../" * env.docname.count("/")
    shown = nodes.literal(text, text)
    return [nodes.reference(text, "", shown, refuri=address(root, module, anchor), internal=True)], []


class SourceLinks(SphinxTransform):
    """A link to a file of the package, [spaces.py](../kfac_lite/spaces.py), leads to its page; it is no download."""

    default_priority = 5

    def apply(self, **kwargs: Any) -> None:
        here = (ROOT / self.env.docname).parent
        modules = {path: module for module, path in sources().items()}
        for node in list(self.document.findall(download_reference)):
            module = modules.get((here / node["reftarget"]).resolve())
            if module:
                target = address("../" * self.env.docname.count("/"), module, "")
                node.replace_self(nodes.reference("", "", *node.children, refuri=target, internal=True))


def setup(app: Any) -> dict[str, Any]:
    app.connect("html-collect-pages", source_pages)
    app.add_role("source", source_role)
    app.add_transform(SourceLinks)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
