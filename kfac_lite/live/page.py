"""The text that a page needs: styles, the shared runtime, and one figure's data and programs.

The runtime is a handful of ES modules. They are joined here into one text, since a page under a strict policy can load
neither modules nor blobs: in the book it stands in a script of the page, in Jupyter it is the widget's module.
"""

import json
import re
from collections.abc import Iterable
from functools import cache
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

from .. import style

__all__ = ["css", "html", "module", "runtime"]

HERE = Path(__file__).parent / "runtime"
# In order: each uses only those before it.
MODULES = (
    "numbers",
    "engine",
    "controls",
    "drag",
    "draw",
    "marks",
    "words",
    "panel",
    "predict",
    "goal",
    "address",
    "prose",
    "figure",
)


@cache
def runtime() -> str:
    """The runtime's modules as one text without imports and exports, which defines `render` and `start`."""
    parts = []
    for name in MODULES:
        text = (HERE / f"{name}.js").read_text(encoding="utf-8")
        text = re.sub(r"^import .*?;\n", "", text, flags=re.MULTILINE)
        text = re.sub(r"^export (?=async function|function|const|class)", "", text, flags=re.MULTILINE)
        parts.append(squeezed(text))
    return "\n".join(parts)


# Strings, templates and regular expressions stay as they are; comments and spaces that separate nothing go.
TOKEN = re.compile(
    r"""(?P<kept>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`"""
    r"""|(?<=[(,=])\s*/(?![/*\s])(?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/\w*)"""
    r"""|(?P<comment>//[^\n]*)|(?P<space>\s+)|(?P<other>[\w$]+|.)""",
    re.DOTALL,
)


def squeezed(text: str) -> str:
    """A module without comments and without the spaces that a reader needs and a browser does not."""
    tokens = [(m.lastgroup, m.group()) for m in TOKEN.finditer(text) if m.lastgroup != "comment"] + [("other", "")]
    result = ""
    for (kind, token), (_, following) in pairwise(tokens):
        before, after = result[-1:], following[:1]
        if kind != "space":
            result += token
        elif "\n" in token:
            result += "" if before in tuple("{;,(=>[?:&|+\n") or after in tuple("})].?:,") else "\n"
        elif re.match(r"[\w$]{2}", before + after) or before + after in ("++", "--"):
            result += " "
    return result


@cache
def css() -> str:
    """The figure's styles, with the inks and the optimizers' colours of `style`."""
    text = (HERE / "figure.css").read_text(encoding="utf-8")
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    text = re.sub(r"\s*([{};,])\s*", r"\1", re.sub(r"\s+", " ", text))
    light, dark = palette("light"), palette("dark")
    themes = 'html[data-theme="dark"], [data-jp-theme-light="false"], .vscode-dark, .vscode-high-contrast'
    return (
        f":is(.live-figure, .live-still) {{ {light} }}\n"
        f"@media screen {{ :is({themes}) :is(.live-figure, .live-still) {{ {dark} }} }}\n" + text
    )


def palette(theme: str) -> str:
    """Custom properties: inks, and for every optimizer its palette colour, band and line."""
    inks = style.INKS[theme]
    names = {"sgd": "SGD", "kfac": "K-FAC", "natural": "natural gradient", "other": ""}
    words = [f"--live-{name}: {value};" for name, value in inks.items()]
    words.append(f"--live-grey-band: {style.mix(inks['ink'], inks['paper'], 0.17)};")
    for name, optimizer in names.items():
        plain = style.COLOURS.get(optimizer, style.GREY)
        if theme == "dark":
            plain = style.mix(plain, "#ffffff", 0.82)
        words.append(f"--live-{name}: {plain};")
        words.append(f"--live-{name}-band: {style.band(optimizer, theme)};")
        words.append(f"--live-{name}-line: {style.line(optimizer, theme)};")
    return " ".join(words)


def inline(value: Any) -> str:
    """JSON that may stand in a script element."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")


def module(spec: dict[str, Any], programs: Iterable[str]) -> str:
    """The front-end module of one figure, for anywidget."""
    figure = f"{{spec: {inline(spec)}, programs: [{', '.join(programs)}]}}"
    return (
        f"{runtime()}\nconst figure = {figure};\nexport default {{ render: (context) => render(context, figure) }};\n"
    )


def html(spec: dict[str, Any], programs: Iterable[str], still: str) -> str:
    """A figure that runs by itself. The styles and the runtime are the same text in every figure of a page."""
    linked = "This copy runs by itself. To link it to Python, run the cell in Jupyter with anywidget installed."
    return (
        f'<style class="live-style">{css()}</style>'
        f'<div class="live-host">{still}</div>'
        f'<p class="live-unlinked">{escape(linked)}</p>'
        f'<script class="live-runtime">window.liveFigures ??= (() => {{\n{runtime()}\n'
        "return { start };\n})();</script>"
        f"<script>liveFigures.start(document.currentScript, {inline(spec)}, [{', '.join(programs)}]);</script>"
    )


def check_text(text: str, values: Iterable[str], buttons: Iterable[str]) -> None:
    """Every read-out and button in a text is there. Raises ValueError."""
    values, buttons = set(values), set(buttons)
    for name, form in re.findall(r"\{(\w+)(?::([^}]*))?\}", text):
        if name not in values:
            raise ValueError(f"{{{name}}} in a text: there are {', '.join(sorted(values))}")
        if form and not re.fullmatch(r"gap|power|d|s|\.\d+[fg]", form):
            raise ValueError(f"{{{name}:{form}}} in a text: write a format such as .2f, .3g, d, gap, power or s")
    for words in re.findall(r"\[([^\]]+)\]", text):
        if words not in buttons:
            raise ValueError(f"[{words}] in a text is no preset or toggle; there are: {', '.join(sorted(buttons))}")
