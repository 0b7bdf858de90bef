"""Still pictures of a plane: points, arrows, level lines, grids and unit circles of metrics (paper: 2.2, A).

All functions take numbers in the basis of the page, the one whose axes are the picture's, and draw on a matplotlib
`Axes` that `planes` makes. As everywhere in the book, what is the reference is wide and pale and what is compared with
it thin and dark.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from . import style
from .plots import Picture, _label

__all__ = ["arrow", "circle", "dot", "grid", "levels", "planes"]

INK, SOFT, PALE = style.line("plane"), style.GREY, style.band("plane")


def planes(names: Sequence[str], alt: str, extent: float = 3.0, height: float | None = None) -> tuple[Picture, Any]:
    """A picture with a square panel for every name, each showing the plane from -extent to extent."""
    count = len(names)
    with matplotlib.rc_context(style.RC):
        side = (style.WIDTH - 0.3 * (count + 1)) / count
        tall = height or side + 0.7
        picture = Picture(tall, alt)
        panels = []
        for i, name in enumerate(names):
            left = (0.3 + i * (side + 0.3)) / style.WIDTH
            ax = picture.add_axes((left, 0.15 / tall, side / style.WIDTH, (tall - 0.7) / tall))
            reach = extent * (tall - 0.7) / side
            ax.set(xlim=(-extent, extent), ylim=(-reach, reach), xticks=[], yticks=[])
            ax.set_title(name, loc="left", pad=8)
            for spine in ax.spines.values():
                spine.set_visible(True)
                spine.set_edgecolor(style.INKS["light"]["rule"])
            panels.append(ax)
    return picture, panels


def dot(ax: Axes, p: Any, words: str = "", hollow: bool = False, left: bool = False, below: bool = False) -> None:
    """A point, with its name beside it; hollow for what is only computed from a basis."""
    x, y = map(float, p)
    ax.plot([x], [y], "o", ms=8, mfc=style.INKS["light"]["paper"] if hollow else INK, mec=INK, mew=1.6, zorder=6)
    if words:
        _words(ax, (x, y), words, left, below)


def arrow(ax: Axes, start: Any, end: Any, words: str = "", reference: bool = False, left: bool = False) -> None:
    """An arrow between two points: thin and dark, or wide and pale where it is the reference."""
    tail, tip = ((float(x[0]), float(x[1])) for x in (start, end))
    width, colour = (0.55 * style.BAND_WIDTH, PALE) if reference else (1.3 * style.LINE_WIDTH, INK)
    head = "-|>,head_length=0.55,head_width=0.3"
    scale = 22 if reference else 16
    shape = dict(arrowstyle=head, color=colour, lw=width, shrinkA=0, shrinkB=0, mutation_scale=scale, joinstyle="miter")
    ax.annotate("", tip, tail, arrowprops=shape, zorder=3 if reference else 5)
    if words:
        _words(ax, tip, words, left)


def levels(
    ax: Axes, phi: Any, at: Any = (0.0, 0.0), lines: Sequence[float] = range(-12, 13), dark: bool = True
) -> None:
    """The lines on which phi(x - at) is -2, -1, 0, 1, 2 and so on: what a covector looks like."""
    a, b = map(float, phi)
    size = a * a + b * b
    if size == 0:
        return
    along, foot = np.array([-b, a]) / size**0.5, np.array([a, b]) / size
    far = 4 * max(map(abs, (*ax.get_xlim(), *ax.get_ylim())))
    for value in lines:
        middle = np.asarray(at, dtype=float) + value * foot
        ends = np.array([middle - far * along, middle + far * along]).T
        wide = 1.6 if value == 0 else 1.0
        ax.plot(
            *ends, color=INK if dark else SOFT, lw=wide * style.LINE_WIDTH / 1.4, zorder=2, scalex=False, scaley=False
        )


def grid(ax: Axes, move: Callable[[Any], Any], half: int = 3, steps: int = 61, reference: bool = False) -> None:
    """The unit grid from -half to half, each of its lines taken through `move`, (n, 2) -> (n, 2)."""
    t = np.linspace(-half, half, steps)
    for c in range(-half, half + 1):
        for line in (np.stack([t, np.full_like(t, c)], 1), np.stack([np.full_like(t, c), t], 1)):
            moved = np.asarray(move(line), dtype=float)
            colour = PALE if reference else style.INKS["light"]["rule"]
            ax.plot(*moved.T, color=colour, lw=(1.8 if c == 0 else 1.0) * style.PIXEL, zorder=1)


def circle(ax: Axes, at: Any, G: Any, reference: bool = False, far: float = 40.0) -> None:
    """The unit circle of a metric with matrix G, all v with v^T G v = 1; two lines where G has lost a direction."""
    s, U = np.linalg.eigh(np.asarray(G, dtype=float))
    width, colour = (0.7 * style.BAND_WIDTH, PALE) if reference else (style.LINE_WIDTH, INK)
    centre = np.asarray(at, dtype=float)[:, None]
    t = np.linspace(0, 2 * np.pi, 721)
    curves = [np.stack([np.cos(t), np.sin(t)]) / np.sqrt(np.clip(s, 1e-12, None))[:, None]]
    if s[0] < 1e-9 * s[1]:  # open: two parallel lines, as long as `far` allows
        curves = [np.array([[-far, far], [side, side]]) for side in (s[1] ** -0.5, -(s[1] ** -0.5))]
    for curve in curves:
        ax.plot(*(centre + U @ curve), color=colour, lw=width, zorder=3 if reference else 4, scalex=False, scaley=False)


def _words(ax: Axes, at: Any, words: str, left: bool = False, below: bool = False) -> None:
    with matplotlib.rc_context(style.RC):
        _label(ax, at, words, left, below)
