"""The page of what may be added to what says what the package does, and that is what was decided (paper: 2.2)."""

import json
import re
from pathlib import Path

import pytest

from kfac_lite import kinds

from .test_kinds import ALLOWED, WRITE

PAGE = Path(__file__).parent.parent / "chapters" / "what-may-be-added-to-what.ipynb"
APPLIED = {("Covector", "()", "Vector"): "number"}


@pytest.mark.parametrize("op", kinds.OPERATORS)
def test_the_table_is_the_one_that_was_decided(op: str):
    """`ALLOWED` was written by hand; the table was found by trying."""
    table = kinds.table(op)
    found = {(left, op, right): cell.result for (left, right), cell in table.cells.items() if cell.result}
    wanted = {key: kind for key, kind in (ALLOWED | APPLIED).items() if key[1] == op}
    found = {key: "number" if "Tensor" in kind else kind for key, kind in found.items()}
    assert found == wanted


@pytest.mark.parametrize("op", kinds.OPERATORS)
def test_every_empty_cell_says_what_was_tried_and_what_to_write(op: str):
    for cell in kinds.table(op).cells.values():
        assert bool(cell.result) != bool(cell.error)
        if cell.error:
            assert " ".join(cell.error.split()).startswith(f"{cell.tried}: ")
            assert WRITE.search(cell.reason), cell


@pytest.mark.no_gauge
def test_the_page_shows_every_table_as_the_package_makes_it():
    cells = json.loads(PAGE.read_text(encoding="utf-8"))["cells"]
    shown = [
        "".join(output["data"]["text/markdown"])
        for cell in cells
        for output in cell.get("outputs", [])
        if "text/markdown" in output.get("data", {})
    ]
    assert shown == [kinds.table(op)._repr_markdown_() for op in kinds.OPERATORS]
    for op, text in zip(kinds.OPERATORS, shown):
        for cell in kinds.table(op).cells.values():
            assert (f"**{cell.result}**" if cell.result else f"`{cell.tried}`") in text


@pytest.mark.no_gauge
@pytest.mark.parametrize("op", kinds.OPERATORS)
def test_the_html_of_a_table_says_the_same(op: str):
    table = kinds.table(op)
    html = table._repr_html_()
    assert html.count("<li id=") == len(table.reasons)
    for i, reason in enumerate(table.reasons, 1):
        cells = sum(cell.reason == reason for cell in table.cells.values() if cell.error)
        assert len(re.findall(rf'href="#(kinds-\w+-{i})"', html)) == cells  # the number in the cell leads to the reason
    assert html.count("<b>") == sum(bool(cell.result) for cell in table.cells.values())
    assert set(re.findall(r'href="#([^"]+)"', html)) == set(re.findall(r'id="([^"]+)"', html))
    assert html.count("<code>") == sum(bool(cell.error) for cell in table.cells.values())


def test_a_cell_that_changes_is_noticed(monkeypatch: pytest.MonkeyPatch):
    """The control: were points added, the table would say so, and would not be the one that was decided."""
    monkeypatch.setitem(kinds.OPERATORS, "+", lambda a, b: 1.0)
    assert kinds.attempt("+", "Point", "Point").result == "number"
