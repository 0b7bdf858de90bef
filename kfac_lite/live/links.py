"""Addresses of states, as "copy link" on a page gives them: #name=1,control:numbers,... The 1 is the version."""

import importlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from .controls import Frame

if TYPE_CHECKING:
    from .figure import LiveFigure

__all__ = ["FromLink", "remember"]

BOOK = ("hero", "units", "renaming", "damping", "equal")  # modules of this package that make the figure of their name
made: "WeakValueDictionary[str, LiveFigure]" = WeakValueDictionary()


def remember(figure: "LiveFigure") -> None:
    """The last figure of a name is the one that a link opens."""
    made[figure.identifier] = figure


class FromLink:
    """`figure.from_link(link)` sets this figure; `LiveFigure.from_link(link)` finds the one that the link names.

    The class looks for the figure of that name that was made last, and else makes it, if it is one of the book's own.
    Returns the figure, in the state that the link holds. Raises ValueError where there is no such figure, where the
    link is another figure's, or where it asks for what the controls do not allow.
    """

    def __get__(self, figure: "LiveFigure | None", owner: Any = None) -> "Callable[[str], LiveFigure]":
        def from_link(link: str) -> "LiveFigure":
            found = re.search(r"#([a-z][a-z0-9-]*)=1,(.+)$", link)
            wanted = figure.identifier if figure is not None else "name"
            if found is None or (figure is not None and found[1] != wanted):
                raise ValueError(f"{link!r} holds no state of {wanted!r}: it ends in #{wanted}=1,control:numbers")
            opened = find(found[1]) if figure is None else figure
            for name, value in state(opened, found[2]).items():
                setattr(opened, name, value)
            return opened

        from_link.__doc__ = self.__doc__
        return from_link


def find(name: str) -> "LiveFigure":
    """The figure of this name. Raises ValueError where none was made and the package has none."""
    if name not in made and name not in BOOK:
        there = ", ".join(sorted({*made, *BOOK}))
        raise ValueError(f"no figure {name!r} was made here; run its cell first. There are: {there}")
    return made[name] if name in made else importlib.import_module(f"{__package__}.{name}").figure()


def state(figure: "LiveFigure", text: str) -> dict[str, Any]:
    """{control: value} as the figure's controls allow it."""
    found = {}
    for part in text.split(","):
        name, _, numbers_ = part.partition(":")
        numbers = [float(x) for x in numbers_.split("_")]
        is_frame = isinstance(figure.controls.get(name), Frame)
        found[name] = [numbers[:3], numbers[3:]] if is_frame else numbers if len(numbers) > 1 else numbers[0]
    return figure.checked(found)
