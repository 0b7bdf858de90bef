"""LiveFigure: torch functions, controls and views as one figure, linked to Python in Jupyter and alone on a page.

In Jupyter it is an ipywidget: every control is a synced trait. Its HTML copy, which the built book shows, needs neither
Python nor a network. Both run the same front-end module (`runtime/`) and the same compiled programs.

>>> import torch
>>> from kfac_lite.live import Line, LiveFigure, Panel, Slider, Words
>>> def halves(x):
...     return {"path": torch.stack([x, x / 2, x / 4]), "half": x / 2}
>>> figure = LiveFigure(
...     halves,
...     controls=[Slider("x", 0.0, 1.0, value=0.5)],
...     views=[[Panel(Line("path"), x=(0, 2), y=(0, 1)), Words("Half of it is {half:.2f}.")]],
...     name="halves",
...     alt="A number, its half, and the half of that",
... )
>>> figure
LiveFigure('halves', x=0.5)
>>> figure.x = 0.25
>>> figure.values()["half"].item()
0.125
"""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import anywidget
import traitlets

from . import page, still
from .asking import Goal, Predict
from .controls import Control
from .graph import Graph
from .links import FromLink, remember
from .views import Panel, Words, names, texts
from .views import spec as spec_of

__all__ = ["LiveFigure"]

TRAITS: dict[str, Callable[..., Any]] = {
    "slider": traitlets.Float,
    "scrubber": traitlets.Int,
    "toggle": traitlets.Bool,
    "choice": traitlets.Int,
    "handle": traitlets.List,
    "frame": traitlets.List,
}


class LiveFigure(anywidget.AnyWidget):
    """A figure that computes in the page what its functions compute in torch.

    functions: torch functions, and `Run`s of them, wired by the names of their parameters (see `graph`).
    controls: what the reader moves; each becomes a trait of this name, so `observe` and `ipywidgets.link` work.
    views: rows of `Panel` and `Words`. name: a word for addresses. alt: what the picture shows, for those who cannot
    see it. presets: {words: {control: value}}. spoken: the read-out that a screen reader hears after a change.
    ghost: {control: value}, to which the figure moves by itself, once, until it is touched.
    When a cell is run again, the figure that it made before is closed.

    Raises ValueError for names that nothing gives, `CompileError` for a function that has no program.
    """

    if TYPE_CHECKING:  # its controls

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    _made: ClassVar[dict[tuple[str, str], tuple[str, "LiveFigure"]]] = {}

    def __init__(
        self,
        *functions: Any,
        controls: Sequence[Control] = (),
        views: Sequence[Sequence[Any]],
        name: str,
        alt: str,
        title: str = "",
        question: str = "",
        presets: dict[str, dict[str, Any]] | None = None,
        spoken: str = "",
        ghost: dict[str, Any] | None = None,
    ):
        if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
            raise ValueError(f"name={name!r}: write small letters, digits and hyphens; it stands in addresses")
        self.controls = {control.name: control for control in controls}
        self.identifier, self.alt, self.title, self.question = name, alt, title, question
        self.rows = spread(views)
        self.presets = {words: dict(values) for words, values in (presets or {}).items()}
        initial = {control.name: control.spec()["value"] for control in controls}
        self.initial = dict(initial)
        traits = {}
        for control in controls:
            if not control.name.isidentifier() or hasattr(type(self), control.name) or control.name in ("rows", "alt"):
                raise ValueError(f"a control cannot be called {control.name!r}: choose another word, without spaces")
            traits[control.name] = TRAITS[control.kind](default_value=initial[control.name]).tag(sync=True)
        self.graph = Graph(functions, {c.name: c.tensor(initial[c.name]) for c in controls})
        self.rows = [[v.fit(self.graph.values) if isinstance(v, Predict | Goal) else v for v in r] for r in self.rows]
        self.spec = {
            "name": name,
            "alt": alt,
            "title": title,
            "question": question,
            "controls": [control.spec() for control in controls],
            "presets": {words: self.checked(values) for words, values in self.presets.items()},
            "ghost": self.checked(ghost or {}),
            "spoken": spoken,
            "rows": [[spec_of(view) for view in row] for row in self.rows],
            **self.graph.spec(),
        }
        self.check_views(spoken)
        self._esm = page.module(self.spec, self.graph.programs)
        self._css = page.css()
        self.add_traits(**traits)
        super().__init__()
        for control in self.controls:
            self._cross_validation_lock = False
            self._register_validator(self._checked, (control,))
        self.replace()
        remember(self)

    def replace(self) -> None:
        """Close the figure of this name that an earlier run of the same cell has made, else every run would add one."""
        cell, run = running()
        old_run, old = LiveFigure._made.get((cell, self.identifier), (run, None))
        if old is not None and old_run != run:
            old.layout.close()
            old.close()
        if cell:
            LiveFigure._made[cell, self.identifier] = run, self

    def _checked(self, _: Any, proposal: Any) -> Any:
        """Keep a control within its bounds when Python or the page sets it."""
        try:
            return self.controls[proposal["trait"].name].check(proposal["value"])
        except ValueError as error:
            raise traitlets.TraitError(str(error)) from None

    def checked(self, values: dict[str, Any]) -> dict[str, Any]:
        for name in values:
            if name not in self.controls:
                raise ValueError(f"there is no control {name!r}; there are: {', '.join(self.controls)}")
        return {name: self.controls[name].check(value) for name, value in values.items()}

    def check_views(self, spoken: str) -> None:
        """Every name that a view reads is there. Raises ValueError."""
        there = {*self.graph.values}
        labels = {*self.presets} | {getattr(c, "label", "") for c in self.controls.values()}
        for view in [view for row in self.rows for view in row]:
            for name in names(view):
                if name not in there:
                    raise ValueError(f"{type(view).__name__} shows {name!r}; there are: {', '.join(sorted(there))}")
            for text in texts(view):
                page.check_text(text, there, labels)
        page.check_text(spoken, there, labels)

    def state(self) -> dict[str, Any]:
        """The present value of every control."""
        return {name: getattr(self, name) for name in self.controls}

    from_link = FromLink()

    def values(self, **controls: Any) -> dict[str, Any]:
        """Every named value at the present controls, or at others, computed by torch from scratch."""
        state = self.state() | self.checked(controls)
        return self.graph.evaluate({name: self.controls[name].tensor(value) for name, value in state.items()})

    def html(self) -> str:
        """The figure for a page without Python: a still picture, and the script that brings it to life."""
        state = self.state()
        ghost = self.spec["ghost"] if state == self.initial else {}
        spec = {**self.spec, "ghost": ghost, "state": state}
        return page.html(spec, self.graph.programs, still.picture(self, self.values(**ghost)))

    def __repr__(self) -> str:
        state = ", ".join(f"{name}={value!r}" for name, value in self.state().items())
        return f"LiveFigure({self.identifier!r}{', ' if state else ''}{state})"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        return {**bundle[0], "text/plain": repr(self), "text/html": self.html()}, bundle[1]


def running() -> tuple[str, str]:
    """The notebook cell that runs and this run of it, by the front end's names; empty where it does not tell."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    message = getattr(shell, "get_parent", dict)() or {}
    return message.get("metadata", {}).get("cellId", ""), message.get("header", {}).get("msg_id", "")


def spread(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """The rows with every width given: words and goals without one take the columns that their row leaves."""
    for view in (view for row in rows for view in row):
        if not isinstance(view, Panel | Words | Predict | Goal):
            what = f"a row holds Panel and Words, not {type(view).__name__}"
            raise TypeError(f"{what}; besides them Predict and Goal. Put marks inside a Panel")
    fixed = [sum(view.span or 0 for view in row) for row in rows]
    loose = [sum(view.span is None for view in row) for row in rows]
    columns = max((taken + free for taken, free in zip(fixed, loose, strict=True)), default=1)
    return [
        [view if view.span else replace(view, span=(columns - taken) // free) for view in row]
        for row, taken, free in zip(rows, fixed, loose, strict=True)
    ]
