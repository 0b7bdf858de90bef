"""What a reader sees: panels with marks in them, and words. Everything is data; the page draws it (paper: none).

Wherever a mark takes a value, write the name of a control or of something that the figure's functions return, or a
tensor that stays as it is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import torch
from torch import Tensor

__all__ = [
    "Arrow",
    "Axes",
    "Drag",
    "Ellipse",
    "Heat",
    "Label",
    "Level",
    "LevelLines",
    "Line",
    "Mark",
    "Panel",
    "Points",
    "Rule",
    "Trajectory",
    "Words",
]

Value = str | Tensor | float | Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What all marks have: whose colour, which role, when it is shown, and whether it can be lifted off."""

    kind: ClassVar[str]
    values: ClassVar[tuple[str, ...]] = ()  # the fields that are values
    colour: str | None = None  # an optimizer's name, "soft", or None for ink
    role: str = "plain"  # "band": the reference run; "line": the other; "ring" and "dot" on trajectories
    show: str | None = None  # visible while this value is not 0
    lift: str | None = None  # beside its place while this value is not 0


@dataclass(frozen=True)
class Line(Mark):
    """(n, 2) points joined, or (n,) heights over `x`, which counts from 0 if it is not given."""

    kind = "line"
    values = ("y", "x")
    y: Value
    x: Value | None = None
    dot: str | None = None  # a dot at the step of this scrubber
    skip: int = 0  # so many values at the start are not drawn


@dataclass(frozen=True)
class Points(Mark):
    """(n, 2) points; those with a 1 in `hollow`, (n,), are rings."""

    kind = "points"
    values = ("xy", "hollow")
    xy: Value
    hollow: Value | None = None
    size: float = 3.6


@dataclass(frozen=True)
class Level(Mark):
    """Where a field, (n n,) in the order of `grid` over the panel's range, is `at`."""

    kind = "level"
    values = ("z",)
    z: Value
    at: float = 0.0


@dataclass(frozen=True)
class Heat(Mark):
    """A matrix as a picture, its first row on top: greys, or with low < 0 squares, full if positive and else hollow."""

    kind = "heat"
    values = ("z",)
    z: Value
    low: float = 0.0
    high: float = 1.0


@dataclass(frozen=True)
class Arrow(Mark):
    """An arrow (2,), or several (k, 2), from the point `at`."""

    kind = "arrow"
    values = ("v", "at")
    v: Value
    at: Value = (0.0, 0.0)
    label: str = ""


@dataclass(frozen=True)
class LevelLines(Mark):
    """A covector (2,): the lines on which it is -count, ..., count, as seen from the point `at`."""

    kind = "levels"
    values = ("alpha", "at")
    alpha: Value
    at: Value = (0.0, 0.0)
    count: int = 6


@dataclass(frozen=True)
class Ellipse(Mark):
    """The vectors of length `radius` in a metric (2, 2), from the point `at`; two parallel lines if degenerate."""

    kind = "ellipse"
    values = ("g", "at")
    g: Value
    at: Value = (0.0, 0.0)
    radius: float = 1.0


@dataclass(frozen=True)
class Trajectory(Mark):
    """(n, 2): a thin line with a ring (the reference run) or a dot (the other) every so many steps."""

    kind = "trajectory"
    values = ("xy",)
    xy: Value
    every: int = 10
    dot: str | None = None  # a larger mark at the step of this scrubber


@dataclass(frozen=True)
class Axes(Mark):
    """The grid and the arrows of a frame (2, 3), over the home arrows as pale bands."""

    kind = "axes"
    values = ("frame",)
    frame: Value
    names: tuple[str, str] = ("ι", "κ")


@dataclass(frozen=True)
class Drag(Mark):
    """The handle, or the handles, of a control."""

    kind = "drag"
    control: str = ""


@dataclass(frozen=True)
class Label(Mark):
    """Words at a point; `{name:format}` in them is a read-out. After "|" may stand what a narrow panel shows."""

    kind = "label"
    values = ("at",)
    text: str = ""
    at: Value = (0.0, 0.0)
    anchor: str = "start"  # "middle", "end", or "auto": on the side where there is room


@dataclass(frozen=True)
class Rule(Mark):
    """A straight line at x or at y, from side to side."""

    kind = "rule"
    values = ("x", "y")
    x: Value | None = None
    y: Value | None = None
    label: str = ""
    dash: bool = False


@dataclass(frozen=True)
class Words:
    """A paragraph a line. `{name:format}` is a read-out, `[words]` the button of a preset or of a toggle.

    **Bold**, =the reference run=, marked as a band, and _the other run_, as a line. `more` puts the paragraph there.
    Without `span` the paragraph has the columns that its row leaves.
    """

    kind: ClassVar[str] = "words"
    text: str
    span: int | None = None
    order: int = 0
    half: bool = False
    more: bool = False


@dataclass(frozen=True, init=False)
class Panel:
    """A picture: marks over ranges of x and y that stay as they are."""

    kind: ClassVar[str] = "panel"
    marks: tuple[Mark, ...]
    title: str = ""
    note: str = ""  # softly after the title
    colour: str | None = None  # a swatch of this optimizer's band and line before the title
    x: tuple[float, float] = (-1.0, 1.0)
    y: tuple[float, float] = (-1.0, 1.0)
    xlabel: str = ""
    ylabel: str = ""
    scale: str = "linear"
    ticks: bool | None = None
    ratio: float = 1.0
    span: int = 1
    half: bool = False
    order: int = 0
    readout: str = ""
    scrub: str | None = None
    label: str = ""
    key: bool = field(default=False)  # names band and line in a corner

    def __init__(self, *marks: Mark, **options: Any):
        known = {f.name: f.default for f in fields(self) if f.name != "marks"}
        for name in options:
            if name not in known:
                raise TypeError(f"Panel has no option {name!r}. There are: {', '.join(known)}")
        for mark in marks:
            if not isinstance(mark, Mark):
                raise TypeError(f"a Panel holds marks such as Line and Points, not {type(mark).__name__}")
        object.__setattr__(self, "marks", marks)
        for name, value in (known | options).items():
            object.__setattr__(self, name, value)
        if self.scale not in ("linear", "log", "gap"):
            raise ValueError(f"scale={self.scale!r}: write linear, log or gap")
        if self.scale == "log" and not 0 < self.y[0] < self.y[1]:
            raise ValueError(f"y={self.y}: a log scale needs 0 < low < high")


def constant(x: Any) -> dict[str, Any]:
    """A tensor that stays as it is, for the page."""
    x = torch.as_tensor(x, dtype=torch.float64)
    return {"shape": list(x.shape), "data": x.flatten().tolist()}


def spec(view: Any) -> dict[str, Any]:
    """A view, or a mark, as JSON; what is as it is by default is left out."""
    data: dict[str, Any] = {"kind": view.kind}
    values: tuple[str, ...] = getattr(view, "values", ())
    for f in fields(view):
        value = getattr(view, f.name)
        if f.name == "marks":
            data["marks"] = [spec(mark) for mark in value]
        elif f.name in values and value is not None:
            data[f.name] = value if isinstance(value, str) else constant(value)
        elif value is not None and not (isinstance(value, str) and value == ""):
            data[f.name] = value
    return view.spec(data) if hasattr(view, "spec") else data


def names(view: Any) -> Iterator[str]:
    """The values that a view reads by name, outside of its words."""
    if isinstance(view, Panel):
        yield from ([view.scrub] if view.scrub else [])
        for mark in view.marks:
            yield from names(mark)
    elif isinstance(view, Mark):
        read = [getattr(view, name) for name in (*view.values, "show", "lift", "dot") if hasattr(view, name)]
        yield from (value for value in read if isinstance(value, str))
        if isinstance(view, Drag):
            yield view.control
    elif hasattr(view, "names"):
        yield from view.names()


def texts(view: Any) -> Iterator[str]:
    """The texts of a view in which there may be read-outs."""
    if isinstance(view, Panel):
        yield view.readout
        yield from (mark.text for mark in view.marks if isinstance(mark, Label))
    elif hasattr(view, "texts"):
        yield from view.texts()
    else:
        yield view.text
