"""What a reader moves: each control is a named tensor for the figure's functions, and a trait of the figure.

A control says once what values it allows. The page keeps the reader inside with the same rule, in its setters.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor

__all__ = ["Choice", "Control", "Frame", "Handle", "Scrubber", "Slider", "Toggle"]


@dataclass(frozen=True)
class Control:
    """What all controls have: a name, and a value that is checked whenever it is set."""

    kind: ClassVar[str]
    name: str

    def check(self, value: Any) -> Any:
        """The value as it is kept. Raises ValueError where the control does not allow it."""
        raise NotImplementedError

    def tensor(self, value: Any) -> Tensor:
        """The value as the functions of the figure get it, float64."""
        return torch.tensor(value, dtype=torch.float64)

    def spec(self) -> dict[str, Any]:
        """What the page must know, as JSON."""
        return {"kind": self.kind} | {f.name: getattr(self, f.name) for f in fields(self)}

    def refuse(self, value: Any, rule: str) -> ValueError:
        return ValueError(f"{self.name} = {value!r}: {rule}")


def number(control: Control, value: Any) -> float:
    try:
        value = float(value)
    except (TypeError, ValueError):
        raise control.refuse(value, "this control is a number") from None
    if not math.isfinite(value):
        raise control.refuse(value, "this control is a finite number")
    return value


@dataclass(frozen=True)
class Slider(Control):
    """A number between two bounds; with `log`, its positions are even in the logarithm."""

    kind = "slider"
    low: float
    high: float
    value: float | None = None  # the middle, if none is given
    step: float | None = None
    label: str = ""
    unit: str = ""
    digits: int = 2
    log: bool = False
    more: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            rule = "0 < low < high" if self.log else "low < high"
            raise ValueError(f"Slider({self.name!r}, {self.low}, {self.high}): write bounds with {rule}")
        middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        object.__setattr__(self, "value", self.check(middle if self.value is None else self.value))

    def check(self, value: Any) -> float:
        value = number(self, value)
        if not self.low <= value <= self.high:
            raise self.refuse(value, f"between {self.low} and {self.high}")
        return value


@dataclass(frozen=True)
class Scrubber(Control):
    """A step of the runs, 0 to `steps`, with play and pause."""

    kind = "scrubber"
    steps: int
    value: int = 0
    label: str = "step"
    more: bool = False

    def __post_init__(self) -> None:
        self.check(self.value)

    def check(self, value: Any) -> int:
        if number(self, value) != round(float(value)) or not 0 <= value <= self.steps:
            raise self.refuse(value, f"a whole number from 0 to {self.steps}")
        return int(value)


@dataclass(frozen=True)
class Toggle(Control):
    """On or off; for the functions 1 or 0."""

    kind = "toggle"
    label: str = ""
    value: bool = False
    more: bool = False

    def check(self, value: Any) -> bool:
        if value not in (True, False, 0, 1):
            raise self.refuse(value, "True or False")
        return bool(value)


@dataclass(frozen=True)
class Choice(Control):
    """One of several words; for the functions its place in the list, from 0."""

    kind = "choice"
    options: Sequence[str]
    value: int = 0
    label: str = ""
    more: bool = False

    def __post_init__(self) -> None:
        self.check(self.value)

    def check(self, value: Any) -> int:
        if number(self, value) not in range(len(self.options)):
            raise self.refuse(value, f"a place from 0 to {len(self.options) - 1}: {', '.join(self.options)}")
        return int(value)


@dataclass(frozen=True)
class Handle(Control):
    """A point that is dragged in a panel, (2,); `Drag(name)` puts it there."""

    kind = "handle"
    value: Sequence[float] = (0.0, 0.0)
    x: tuple[float, float] = (-2.0, 2.0)
    y: tuple[float, float] = (-2.0, 2.0)
    label: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", self.check(self.value))

    def check(self, value: Any) -> list[float]:
        if len(value) != 2:
            raise self.refuse(value, "two numbers")
        u, v = (number(self, x) for x in value)
        if not (self.x[0] <= u <= self.x[1] and self.y[0] <= v <= self.y[1]):
            raise self.refuse(value, f"x between {self.x[0]} and {self.x[1]}, y between {self.y[0]} and {self.y[1]}")
        return [u, v]


HOME = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))


@dataclass(frozen=True)
class Frame(Control):
    """Two arrows and an origin in a plane, (2, 3): the columns E_1, E_2, o of a' -> E a' + o, from its numbers to home.

    The arrows keep a length and an angle between them, so that E has an inverse at every place of the handles.
    """

    kind = "frame"
    value: Sequence[Sequence[float]] = HOME
    label: str = ""
    length: tuple[float, float] = (0.4, 2.0)
    angle: float = 30.0  # degrees that the arrows stay from parallel
    reach: float = 1.0  # of the origin, in both directions

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", self.check(self.value))

    def check(self, value: Any) -> list[list[float]]:
        if [len(row) for row in value] != [3, 3]:
            raise self.refuse(value, "two rows of three numbers, the columns being two arrows and the origin")
        rows = [[number(self, x) for x in row] for row in value]
        (a, b, p), (c, d, q) = rows
        slack = 1e-9
        for u, v in ((a, c), (b, d)):
            if not self.length[0] - slack <= math.hypot(u, v) <= self.length[1] + slack:
                raise self.refuse(value, f"arrows of length {self.length[0]} to {self.length[1]}")
        if (a * d - b * c) / math.hypot(a, c) / math.hypot(b, d) < math.sin(math.radians(self.angle)) - slack:
            raise self.refuse(value, f"the second arrow stays {self.angle:g}° or more to the left of the first")
        if max(abs(p), abs(q)) > self.reach:
            raise self.refuse(value, f"an origin within {self.reach} of home's in both directions")
        return rows
