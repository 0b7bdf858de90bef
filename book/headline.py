"""Draw the README's picture, which is a chapter's own: `python book/headline.py`, in the environment.

It runs the code of chapters/3-2-optimization.ipynb up to the cell that is tagged "headline", and writes what that cell
shows to book/static/headline.png, on white paper, for it may stand on pages of any colour.
"""

from __future__ import annotations

import ast
import contextlib
import json
from pathlib import Path
from typing import Any

from environment import ROOT, isolate

CHAPTER = ROOT / "chapters" / "3-2-optimization.ipynb"
PICTURE = ROOT / "book" / "static" / "headline.png"


def shown(chapter: Path = CHAPTER, tag: str = "headline") -> Any:
    """The value of the first cell with this tag, after the code cells before it have run."""
    names: dict[str, Any] = {"__name__": chapter.stem}
    for cell in json.loads(chapter.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]))
        last = tree.body[-1]
        if tag in cell["metadata"].get("tags", []) and isinstance(last, ast.Expr):
            exec(compile(ast.Module(tree.body[:-1], []), chapter.name, "exec"), names)
            return eval(compile(ast.Expression(last.value), chapter.name, "eval"), names)
        exec(compile(tree, chapter.name, "exec"), names)
    raise LookupError(f"no cell of {chapter.name} is tagged {tag!r}")


def main() -> None:
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.redirect_stdout(None):
        picture = shown()
    picture.savefig(PICTURE, dpi=130, facecolor="white", metadata={"Software": None})
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    isolate()
    main()
