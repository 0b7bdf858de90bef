"""For all tests, the notebooks among them: one thread, folders inside the tree, and what nbval compares."""

import os
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent

# Before torch is imported, and before nbval starts a kernel.
runpy.run_path(str(ROOT / "book" / "environment.py"))["isolate"]()
os.environ.setdefault("PYTHONHASHSEED", "0")

# Committed notebooks hold text alone (book/notebooks.py), so html and pictures have nothing to be compared with;
# text/plain, which every output has as well, is compared strictly.
NOT_STORED = ("text/html", "image/png", "image/jpeg", "image/svg+xml")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    cells = [item for item in items if type(item).__name__ == "IPyNbCell"]
    for notebook in {id(cell.parent): cell.parent for cell in cells}.values():
        notebook.skip_compare += NOT_STORED  # type: ignore[union-attr]
