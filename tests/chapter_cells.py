"""The names that some cells of a chapter define, for tests of the functions of its live figures."""

import json
from pathlib import Path
from typing import Any

CHAPTERS = Path(__file__).parents[1] / "chapters"


def chapter(name: str, ids: str) -> dict[str, Any]:
    """Run the code cells with these ids, in the order of the chapter. A missing id is an error."""
    wanted = set(ids.split())
    names: dict[str, Any] = {"__name__": name}
    for cell in json.loads((CHAPTERS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]:
        if cell["id"] in wanted:
            wanted.remove(cell["id"])
            exec(compile("".join(cell["source"]), f"{name}, cell {cell['id']}", "exec"), names)
    assert not wanted, f"{name} has no cells {wanted}"
    return names
