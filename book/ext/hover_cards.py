"""The hover cards' texts, in a tenth of what sphinx-tippy writes: cards.js copies what stands on the page itself.

sphinx-tippy finds what each link leads to, and writes a script for tippy.js, one a page. Here that script becomes a
call of cards.js, with the texts of other pages alone.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from sphinx.errors import ExtensionError

DEAD = re.compile(r'<a class="headerlink".*?</a>|<span class="eqno">.*?</span>|<script\b.*?</script>', re.DOTALL)
NEEDLESS = re.compile(
    r' (?:id="[^"]*"|style="margin-top: 0;")| class="(?:reference internal|docutils literal notranslate|pre)"'
)


def slim(html: str) -> str:
    """A card's text without what it does not show: links to headings, ids, and classes that have no look there."""
    html = NEEDLESS.sub("", DEAD.sub("", html)).replace(" notranslate nohighlight", "")
    return re.sub(r"<span>([^<]*)</span>", r"\1", html)


def call(script: str) -> str:
    """The script of a page for cards.js. Raises ExtensionError where sphinx-tippy writes another form."""
    if not script.strip():
        return ""
    found = re.match(r"selector_to_html = (\{.*\})$", script, re.MULTILINE)
    if found is None:
        raise ExtensionError(f"sphinx-tippy writes another script than hover_cards.py knows: {script[:80]!r}")
    texts = {}
    for selector, html in sorted(json.loads(found[1]).items()):
        address = re.fullmatch(r'a\[href="(.+)"\]', selector)
        if address is None:
            raise ExtensionError(f"a hover card of sphinx-tippy for {selector!r}, which cards.js has no place for")
        if not address[1].startswith("#"):
            texts[address[1]] = slim(html)
    return f"hoverCards({json.dumps(texts, ensure_ascii=False)});\n"


def rewrite(app: Any, exception: Any) -> None:
    if exception is None and app.builder.format == "html":
        for page in getattr(app.env, "tippy_data", {"pages": {}})["pages"].values():
            path = Path(page["js_path"])
            if path.exists():
                path.write_text(call(path.read_text(encoding="utf-8")), encoding="utf-8")


def setup(app: Any) -> dict[str, Any]:
    app.connect("build-finished", rewrite, priority=600)  # after sphinx-tippy, at 500
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
