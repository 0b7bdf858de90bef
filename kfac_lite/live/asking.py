"""Views that ask the reader: to predict before the answer is shown, or to drag until something holds (paper: none).

No answer is written here by hand. It is a value of the figure's functions, or a tensor that a cell has computed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from .views import Line, Mark, Panel, Value, constant, names, spec

__all__ = ["Goal", "Predict"]


@dataclass(frozen=True)
class Predict:
    """A question whose answer the reader draws, or sets, before it is shown.

    truth: a value's name or a tensor: (n,) is a curve, which the reader draws, () a number, which the reader sets.
    question: what is asked; **bold** is allowed. What stands after it in the figure is closed until it is answered.
    x, y: the ranges of the picture; `over`, (n,), are the places along x, by default 0, 1, ..., n - 1. For a number,
    y is the range of its slider. scale: "linear", "log", or "gap", which has a row of its own for exactly 0.
    points: how many points of the curve are drawn. given: marks that are seen from the start.
    starts: {words: (n,) or ()}, guesses to choose from, or to start from.
    form, unit: how numbers are written. label: what is guessed, in a few words.

    The gap between guess and truth is shown point by point, and told in words: its mean and its largest, on a scale
    of powers as a factor. What leaves the picture counts as if it were on its edge.

    Raises ValueError for ranges, points or shapes that do not fit.
    """

    kind: ClassVar[str] = "predict"
    values: ClassVar[tuple[str, ...]] = ("truth", "over")
    truth: Value
    question: str
    label: str
    y: tuple[float, float]
    x: tuple[float, float] | None = None
    over: Value | None = None
    scale: str = "linear"
    points: int = 9
    given: Sequence[Mark] = ()
    starts: Mapping[str, Value] = field(default_factory=dict)
    xlabel: str = ""
    colour: str | None = None
    form: str = ""
    unit: str = ""
    ratio: float = 0.55
    span: int = 1
    half: bool = False
    order: int = 0

    def __post_init__(self) -> None:
        if self.scale not in ("linear", "log", "gap"):
            raise ValueError(f"Predict(scale={self.scale!r}): write linear, log or gap")
        low, high = self.y
        if not low < high or (self.scale == "log" and low <= 0):
            rule = "0 < low < high on a log scale" if self.scale == "log" else "low < high"
            raise ValueError(f"Predict(y={self.y}): write y=(low, high) with {rule}")
        form = self.form or {"linear": ".2f", "log": ".2g", "gap": "gap"}[self.scale]
        object.__setattr__(self, "form", form)

    def fit(self, values: Mapping[str, Any]) -> "Predict":
        """The view with what follows from its truth. Raises ValueError where the shapes do not fit."""
        sizes = {"truth": self.truth, "over": self.over} | dict(self.starts)
        shapes = {name: tuple(of(value, values).shape) for name, value in sizes.items() if value is not None}
        n = shapes["truth"]
        if len(n) > 1 or (n and n[0] < 2):
            raise ValueError(f"Predict(truth) has the shape {n}: a curve is (n,) with n > 1, a number is ()")
        for name, shape in shapes.items():
            if shape != n:
                raise ValueError(f"Predict: {name!r} has the shape {shape}, and the truth {n}; give it the truth's")
        if n and not 2 <= self.points <= n[0]:
            raise ValueError(f"Predict(points={self.points}): between 2 and the {n[0]} points of the truth")
        if n and self.x is None:
            over = [0.0, n[0] - 1.0] if self.over is None else of(self.over, values).tolist()
            object.__setattr__(self, "x", (min(over), max(over)))
        return self

    def names(self) -> Iterator[str]:
        """The values that it reads by name."""
        yield from (x for x in (self.truth, self.over, *self.starts.values()) if isinstance(x, str))
        for mark in self.given:
            yield from names(mark)

    def texts(self) -> Iterator[str]:
        yield self.question

    def spec(self, data: dict[str, Any]) -> dict[str, Any]:
        """Its JSON: guesses to start from are values too."""
        starts = {words: x if isinstance(x, str) else constant(x) for words, x in self.starts.items()}
        truth = spec(Line(self.truth, self.over, colour=self.colour, role="line"))
        return data | {"starts": starts, "given": [spec(mark) for mark in self.given], "marks": [truth]}

    def answer(self) -> Panel | None:
        """The picture of the truth, for a page without scripts; None for a number."""
        if self.x is None:
            return None
        line = Line(self.truth, self.over, colour=self.colour, role="line")
        return Panel(
            *self.given, line, x=self.x, y=self.y, scale=self.scale, xlabel=self.xlabel, ratio=self.ratio, ticks=True
        )


@dataclass(frozen=True)
class Goal:
    """A task that the reader does by dragging, and that the figure's program marks.

    value: a number () that the program computes; the task is done while it is at most `below`. task: what is to be
    found; told: what is said when it is found. Both may hold read-outs `{name:format}`, and the task [buttons].
    form, unit: how the number and the bound are written; label: what the number is.
    Without `span` it has the columns that its row leaves.
    """

    kind: ClassVar[str] = "goal"
    values: ClassVar[tuple[str, ...]] = ("value",)
    value: str
    below: float
    task: str
    told: str
    form: str = ".2f"
    unit: str = ""
    label: str = "how far"
    span: int | None = None
    half: bool = False
    order: int = 0

    def __post_init__(self) -> None:
        if not self.below >= 0:
            raise ValueError(f"Goal(below={self.below}): a task that can be done needs a bound of 0 or more")

    def fit(self, values: Mapping[str, Any]) -> "Goal":
        shape = tuple(of(self.value, values).shape)
        if shape != ():
            raise ValueError(f"Goal({self.value!r}) has the shape {shape}: what is marked is one number, of shape ()")
        return self

    def names(self) -> Iterator[str]:
        yield self.value

    def texts(self) -> Iterator[str]:
        yield from (self.task, self.told)

    def spec(self, data: dict[str, Any]) -> dict[str, Any]:
        return data


def of(value: Any, values: Mapping[str, Any]) -> Tensor:
    """The tensor that a name stands for, or that stands there itself. Raises ValueError for other things."""
    if isinstance(value, str):
        if not isinstance(values.get(value), Tensor):
            there = ", ".join(sorted(name for name, x in values.items() if isinstance(x, Tensor)))
            raise ValueError(f"{value!r} is no tensor of this figure; there are: {there}")
        return values[value]
    return torch.as_tensor(value, dtype=torch.float64)
