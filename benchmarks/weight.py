"""What the book adds to each page, in bytes: the page's own HTML, and those of its scripts and styles that are ours.

Ours is what comes from book/static, the icons among it, and each page's hover cards. The theme and its extensions,
MathJax, fonts and pictures are not counted.

    make book; .venv/bin/python benchmarks/weight.py
"""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
HTML, STATIC = ROOT / "_build/html", ROOT / "book/static"
BAR = 250_000


def pages() -> list[str]:
    """The names in the table of contents."""
    text = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    return re.findall(r"^\s*(?:- )?(?:file|root): *(\S+)", text, re.M)


def parts(page: Path) -> dict[str, int]:
    """The bytes of a built page and of each file of ours that it loads."""
    text = page.read_text(encoding="utf-8")
    found = {page.name: len(text.encode())}
    for link in re.findall(r'<(?:script|link)\b[^>]*?(?:src|href)="([^":]+\.(?:js|css))(?:\?[^"]*)?"', text):
        file = (page.parent / link).resolve()
        _, is_static, inside = file.as_posix().rpartition("/_static/")
        if is_static and ((STATIC / inside).is_file() or inside.startswith("tippy/")):
            found[inside] = file.stat().st_size
    return found


if __name__ == "__main__":
    for name in pages():
        all_parts = parts(HTML / f"{name}.html")
        html, *others = all_parts.values()
        print(f"{Path(name).name:52} {(html + sum(others)) / 1000:6.0f} kB, {html / 1000:.0f} in the page itself")
