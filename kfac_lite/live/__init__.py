"""Live figures: torch functions, compiled to the JavaScript of a page and drawn there.

`compile` needs torch only. `LiveFigure` is an ipywidget, so the first use of that name loads anywidget and ipywidgets;
nothing else here does.
"""

from typing import TYPE_CHECKING, Any

from .asking import Goal, Predict
from .compile import Compiled, compile
from .controls import Choice, Frame, Handle, Scrubber, Slider, Toggle
from .graph import Best, Call, Run, change, grid, pick
from .trace import CompileError
from .views import (
    Arrow,
    Axes,
    Drag,
    Ellipse,
    Heat,
    Label,
    Level,
    LevelLines,
    Line,
    Panel,
    Points,
    Rule,
    Trajectory,
    Words,
)

if TYPE_CHECKING:
    from .figure import LiveFigure

__all__ = [
    "Arrow",
    "Axes",
    "Best",
    "Call",
    "Choice",
    "CompileError",
    "Compiled",
    "Drag",
    "Ellipse",
    "Frame",
    "Goal",
    "Handle",
    "Heat",
    "Label",
    "Level",
    "LevelLines",
    "Line",
    "LiveFigure",
    "Panel",
    "Points",
    "Predict",
    "Rule",
    "Run",
    "Scrubber",
    "Slider",
    "Toggle",
    "Trajectory",
    "Words",
    "change",
    "compile",
    "grid",
    "pick",
]


def __getattr__(name: str) -> Any:
    if name != "LiveFigure":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from .figure import LiveFigure
    except ImportError as error:
        raise ImportError(f"LiveFigure is a widget and needs {error.name}. Write: pip install anywidget") from error
    return LiveFigure
