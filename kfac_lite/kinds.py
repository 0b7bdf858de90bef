"""What may be added to what: the table of kinds, found by trying (paper: 2.2.1 to 2.2.5).

>>> from kfac_lite import kinds
>>> kinds.attempt("-", "Point", "Point").result, kinds.attempt("+", "Point", "Point").result
('Vector', '')
>>> print(kinds.attempt("*", "number", "Point").error)
number * Point: a multiple of a point depends on where the
origin is. Choose one and write origin + c * (point - origin), or use
affine_combination.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import cache
from html import escape
from typing import Any, NamedTuple

from .bases import AffineBasis
from .errors import KindError
from .metrics import euclidean
from .refusals import _name
from .spaces import AffineSpace

__all__ = ["KINDS", "OPERATORS", "Cell", "Table", "attempt", "table"]

_NAMES = {"+": "sums", "-": "differences", "*": "products", "/": "quotients", "()": "applications"}

KINDS = ("Point", "Vector", "Covector", "Metric", "number")
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "()": lambda f, x: f(x),
}


class Cell(NamedTuple):
    """The kind of `left op right`, or the text of its KindError; one of the two is empty."""

    left: str
    op: str
    right: str
    result: str
    error: str

    @property
    def tried(self) -> str:
        """What was tried, as the errors put it."""
        return f"{self.left}({self.right})" if self.op == "()" else f"{self.left} {self.op} {self.right}"

    @property
    def reason(self) -> str:
        """The error on one line, without what was tried."""
        return " ".join(self.error.split()).partition(": ")[2]


@cache
def samples() -> dict[str, Any]:
    """An element of every kind, on one plane."""
    basis = AffineBasis(AffineSpace(2, "A"))
    elements = (basis.point([1.0, 2.0]), basis.vector([3.0, 1.0]), basis.covector([1.0, 2.0]), euclidean(basis), 2.0)
    return dict(zip(KINDS, elements))


def attempt(op: str, left: str, right: str) -> Cell:
    """Try an operator on two kinds; "()" applies the first to the second. KeyError for what is no kind."""
    a, b = samples()[left], samples()[right]
    try:
        result = OPERATORS[op](a, b)
    except KindError as error:
        return Cell(left, op, right, "", str(error))
    except TypeError:  # Python's own: a number is no function, and g(u, v) takes two
        return Cell(left, op, right, "", f"{left}({right}): {_NO_CALL[left]}")
    return Cell(left, op, right, _name(result), "")


_NO_CALL = {
    "number": "Python's own TypeError, for a number is no function.",
    "Metric": "Python's own TypeError, for a metric takes two vectors. Write g(u, v), or g.flat(v) for a covector.",
}


class Table:
    """All pairs of kinds under one operator: the kind of the result, or the number of the reason why there is none."""

    def __init__(self, op: str, lefts: Sequence[str] = KINDS, rights: Sequence[str] = KINDS):
        pairs = [(left, right) for left in lefts for right in rights if left != "number" or right != "number"]
        self.op, self.lefts, self.rights = op, tuple(lefts), tuple(rights)
        self.cells = {pair: attempt(op, *pair) for pair in pairs}
        self.reasons = list(dict.fromkeys(cell.reason for cell in self.cells.values() if cell.error))

    def _entry(self, left: str, right: str) -> str:
        cell = self.cells.get((left, right))
        if cell is None:
            return "number"
        return f"**{cell.result}**" if cell.result else f"({self.reasons.index(cell.reason) + 1})"

    def _repr_markdown_(self) -> str:
        sign = {"-": "−", "*": "×", "/": "÷", "()": "of a"}.get(self.op, self.op)
        lines = [f"| {sign} | " + " | ".join(self.rights) + " |", "|---" * (len(self.rights) + 1) + "|"]
        for left in self.lefts:
            lines.append(f"| {left} | " + " | ".join(self._entry(left, right) for right in self.rights) + " |")
        lines.append("")
        for i, reason in enumerate(self.reasons, 1):
            where = ", ".join(f"`{c.tried}`" for c in self.cells.values() if c.reason == reason and c.error)
            lines.append(f"{i}. {where}: {_as_markdown(reason)}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        sign = {"-": "−", "*": "×", "/": "÷", "()": "of a"}.get(self.op, self.op)
        rows = [f"<thead><tr><th>{sign}</th>{_html('th', self.rights)}</tr></thead>"]
        where = f"kinds-{_NAMES.get(self.op, self.op)}"
        for left in self.lefts:
            entries = [self._linked(self._entry(left, right), where) for right in self.rights]
            rows.append(f"<tr><th>{left}</th>{_html('td', entries)}</tr>")
        items = []
        for i, reason in enumerate(self.reasons, 1):
            tried = [f"<code>{c.tried}</code>" for c in self.cells.values() if c.error and c.reason == reason]
            items.append(f'<li id="{where}-{i}">{", ".join(tried)}: {escape(reason)}</li>')
        table = f'<table class="table dataframe">{"".join(rows)}</table>'
        return f'<div class="kinds-table">{table}<ol>{"".join(items)}</ol></div>'

    @staticmethod
    def _linked(entry: str, where: str) -> str:
        """A reason's number leads to the reason."""
        number = entry.strip("()")
        return f'<a href="#{where}-{number}">({number})</a>' if number.isdigit() else entry

    def __repr__(self) -> str:
        return f"<table of {self.op}, {sum(not c.error for c in self.cells.values())} of {len(self.cells)} allowed>"


def _html(tag: str, entries: Sequence[str]) -> str:
    bold = [f"<b>{entry.strip('*')}</b>" if entry.startswith("**") else entry for entry in entries]
    return "".join(f"<{tag}>{entry}</{tag}>" for entry in bold)


def _as_markdown(text: str) -> str:
    """The text with the signs that Markdown would take for its own."""
    return "".join(f"\\{c}" if c in r"\`*_[]<>" else c for c in text)


def table(op: str) -> Table:
    """The whole table of +, -, *, / or (): rows are what stands left, columns what stands right."""
    return Table(op, lefts=[k for k in KINDS if k != "number"] if op == "()" else KINDS)
