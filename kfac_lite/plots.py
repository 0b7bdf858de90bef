"""Still pictures of runs: loss curves, the plane of the paths, the gaps; and the table, as text (paper: 3.2).

Every function takes runs as a dict of dicts, `runs["SGD"]["logistic"]`: by algorithm, then by basis, each algorithm
with a first basis that is the reference. The reference is drawn as a wide pale band and the others as thin dark lines
on it. Functions are pure: no pyplot, no settings changed, and each returns a new `Picture`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from torch import Tensor

from . import style
from .bases import Basis
from .descent import Trajectory, gap
from .errors import SpaceError
from .likelihoods import Bernoulli, Likelihood, Softmax

__all__ = ["BOUNDS", "Picture", "broke", "curves", "gaps", "plane", "probabilities", "table", "told"]

Runs = Mapping[str, Mapping[str, Trajectory]]

BOUNDS = (1e-12, 1e-9, 1e-6)  # a gap below the last is told as a bound: its digits differ from machine to machine
EPSILON = torch.finfo(torch.float64).eps
BROKEN = 10  # a run has broken when its loss is this many times what it was at the start


class Picture(Figure):
    """A matplotlib figure in the book's style, drawn alike everywhere; `alt` says in words what it shows."""

    def __init__(self, height: float, alt: str):
        with matplotlib.rc_context(style.RC):
            super().__init__(figsize=(style.WIDTH, height))
        self.alt = alt

    def draw(self, renderer: Any) -> None:
        with matplotlib.rc_context(style.RC):
            super().draw(renderer)

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """A transparent PNG, and its width in CSS pixels (with a height as well, phones would stretch it)."""
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=style.DPI, transparent=True, metadata={"Software": None})
        return file.getvalue(), {"width": 680}

    def __repr__(self) -> str:
        return f"<picture: {self.alt}>"

    __str__ = __repr__


def broke(run: Trajectory) -> int | None:
    """The first step after which the loss is no longer finite or ten times what it was at the start; None if never."""
    bad = ~(run.losses <= BROKEN * run.losses[0])
    return int(bad.nonzero()[0]) if bad.any() else None


def curves(runs: Runs) -> Picture:
    """The training loss after each step, on a log axis: one panel an algorithm, one line a basis.

    A run that breaks is drawn until it does, and then said in words.
    """
    _same_bases(runs)
    picture = Picture(3.3 * len(runs) + 0.3, f"training loss of {_and(runs)} in {_count(runs)} bases")
    every = [run for twins in runs.values() for run in twins.values()]
    whole = torch.cat([_kept(run).losses for run in every])
    broken = any(broke(run) is not None for run in every)
    low, high = float(whole.min()) / 1.5, float(whole.max()) * (2 * BROKEN if broken else 1.6)
    with matplotlib.rc_context(style.RC):
        panels = _panels(picture, len(runs), 1, left=0.135, right=0.655, bottom=0.92, top=0.55, gap=0.85)
        for ax, (name, twins) in zip(panels, runs.items()):
            ax.set_yscale("log")
            ax.set_ylim(low, high)
            last = max(run.steps for run in twins.values())
            ax.set_xlim(0, last)
            ends, failed = [], []
            for first, (basis, run) in _first(twins):
                losses, end = _kept(run).losses, broke(run)
                if end is None:
                    ends.append((float(losses[-1]), basis, first))
                else:
                    failed.append(f"{basis}: loss ×{BROKEN} in {end} step{'s'[: end > 1]}")
                    losses = torch.cat([losses, losses.new_full((1,), 2 * high)])
                _stroke(ax, range(len(losses)), losses, name, first)
            _name_ends(ax, ends, name)
            left = [end / last for end in map(broke, twins.values()) if end is not None]
            x = max([end for end in left if end < 0.5], default=0) + 0.03  # right of what leaves the picture early
            for i, words in enumerate(failed):
                ax.annotate(words, (x, 1), (4, -19 * i), "axes fraction", textcoords="offset points", va="top")
            ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
            _title(ax, name)
            _decades(ax, low, high)
            ax.set_ylabel("training loss")
        panels[-1].set_xlabel("step")
    return picture


def probabilities(run: Trajectory, likelihood: Likelihood) -> Tensor:
    """The model's probabilities on the watched inputs, a row a step: (T + 1, n d). For a Gaussian, its means."""
    eta = likelihood._eta(run.outputs).nan_to_num()
    if isinstance(likelihood, Softmax):
        eta = torch.softmax(likelihood._logits(eta), -1)
    elif isinstance(likelihood, Bernoulli):
        eta = torch.sigmoid(eta)
    return eta.flatten(1)


def plane(runs: Runs, likelihood: Likelihood, every: int = 25) -> Picture:
    """The paths of all the runs through the space of functions, seen in the plane in which they are widest.

    A point is the model's probabilities on the watched inputs, and the axes are the two principal directions of all
    the points. (In logits the confident ones of a trained model would flatten all the rest.) `every` so many steps a
    run has a mark: a ring for the reference run, a dot for the others. A run that breaks ends before it does.
    """
    _same_bases(runs)
    picture = Picture(6.0, f"paths of {_and(runs)} in {_count(runs)} bases, as functions")
    keys = [(name, basis) for name, twins in runs.items() for basis in twins]
    points = _principal([probabilities(_kept(runs[name][basis]), likelihood) for name, basis in keys])
    low, high = np.concatenate(points).min(0), np.concatenate(points).max(0)
    middle, half = (low + high) / 2, (high - low) / 2 * 1.15
    ends: list[tuple[Any, str, list[str]]] = []
    with matplotlib.rc_context(style.RC):
        (ax,) = _panels(picture, 1, 1, left=0.015, right=0.985, bottom=0.45, top=0.12, gap=0)
        ax.set(xlim=(middle[0] - half[0], middle[0] + half[0]), ylim=(middle[1] - half[1], middle[1] + half[1]))
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(visible=True, color=style.INKS["light"]["rule"])
        for (name, basis), xy in zip(keys, points):
            first = basis == next(iter(runs[name]))
            _stroke(ax, xy[:, 0], xy[:, 1], name, first)
            dots = xy[every::every]
            look: dict = {"ms": 11, "mfc": "white", "mew": 2} if first else {"ms": 5}
            ax.plot(dots[:, 0], dots[:, 1], "o", color=style.line(name), zorder=3 if first else 4, **look)
            if broke(runs[name][basis]) is not None:
                continue
            for end, whose, names in ends:
                if whose == name and np.abs((end - xy[-1]) / half).max() < 1e-3:
                    names.append(basis)
                    break
            else:
                ends.append((xy[-1], name, [basis]))
        ax.plot(*points[0][0], "s", color=style.PICTURE_INK, ms=8, zorder=5)
        _label(ax, points[0][0], "start", below=True)
        for end, name, names in ends:
            words = f"all {_count(runs)} bases" if len(names) == _count(runs) else ", ".join(names)
            _label(ax, end, f"{name}, {words}", left=end[0] > middle[0])
        failed = [f"{name}, {basis}: broke" for name, basis in keys if broke(runs[name][basis]) is not None]
        ax.set_xlabel("\n".join(failed), loc="right")
    return picture


def gaps(runs: Runs, controls: Mapping[str, Trajectory], basis: Basis, control_of: str = "K-FAC") -> Picture:
    """Every gap after each step, on a log axis of its own, with a row below for gaps that are exactly 0.

    runs: as everywhere; a gap is a run's distance from its algorithm's reference, relative to the distance moved.
    controls: for every basis a run of `control_of` in that same basis, from a start moved by rounding. The grey band
        spans a tenth of its distance from the unmoved run to ten times that distance.
    """
    _same_bases(runs)
    names = list(next(iter(runs.values())))[1:]
    rows = (len(names) + 1) // 2
    picture = Picture(3.1 * rows + 1.0, f"gaps of {_and(runs)} in {len(names)} bases, beside the control")
    bottom, floor, top = 3e-19, 1e-17, 1e5
    with matplotlib.rc_context(style.RC):
        panels = _panels(picture, rows, min(2, len(names)), left=0.14, right=0.98, bottom=0.8, top=0.45, gap=0.75)
        for number, (ax, twin) in enumerate(zip(panels, names)):
            ax.set_yscale("log")
            ax.set(ylim=(bottom, top))
            ax.yaxis.set_major_locator(FixedLocator([1e-18, 1e-16, 1e-12, 1e-8, 1e-4, 1]))
            ax.yaxis.set_minor_locator(NullLocator())
            ax.set_yticklabels(["0", *(f"$10^{{{k}}}$" for k in (-16, -12, -8, -4)), "1"])
            ax.axhline(floor, color=style.INKS["light"]["rule"], lw=style.PIXEL)
            ax.axhline(EPSILON, color=style.PICTURE_INK, lw=style.PIXEL, dashes=(4, 3))
            control = gap(controls[twin], runs[control_of][twin], basis)
            steps = range(1, len(control) + 1)
            span = control.clamp(min=EPSILON / 10)
            ax.fill_between(steps, span / 10, span * 10, color=style.band("control"), lw=0)
            for name, twins in runs.items():
                measured = gap(twins[twin], next(iter(twins.values())), basis)
                seen = torch.where(measured == 0, 1e-18, measured.clamp(min=3 * floor, max=top))
                ax.plot(steps, seen, color=style.line(name), lw=style.LINE_WIDTH, zorder=3)
                if number == 0:
                    y = max(float(seen.max()), 10 * float(span.max()) if name == control_of else 0)
                    words = f"{name}, on its control" if name == control_of else name
                    ax.text(len(control) / 2, 2 * y, words, ha="center", va="bottom", weight="bold")
            if number == 0:
                ax.text(len(control) / 2, EPSILON, "machine precision", ha="center", va="top", fontsize=12)
            ax.set_xlim(0, len(control))
            ax.set_xticks([0, len(control) // 2, len(control)])
            for tick, side in zip(ax.get_xticklabels(), ("left", "center", "right")):
                tick.set_horizontalalignment(side)
            ax.set_title(twin, loc="left")
            if number % 2:
                ax.tick_params(labelleft=False)
            else:
                ax.set_ylabel("gap")
            if number + 2 >= len(names):
                ax.set_xlabel("step")
    return picture


def told(
    run: Trajectory,
    reference: Trajectory,
    basis: Basis,
    *,
    control: Trajectory | None = None,
    bounds: Sequence[float] = BOUNDS,
) -> str:
    """The gap at the end in words that are the same on every machine: a bound, or one digit.

    "diverges" where the loss ends at more than ten times its start. control: a run in the same basis from a start moved
    by rounding; where that alone moves the end by 1e-3 or more, there are "no digits left".
    """
    if not bool(run.losses[-1] <= BROKEN * run.losses[0]):
        return "diverges"
    if control is not None and float(gap(control, run, basis)[-1]) >= 1e-3:
        return "no digits left"
    end = float(gap(run, reference, basis)[-1])
    for bound in bounds:
        if end < bound:
            return f"< {bound:.0e}".replace("e-0", "e-")
    return f"{float(f'{end:.1g}'):g}"  # 10, not 1e+01


def table(rows: Mapping[str, Mapping[str, str]]) -> str:
    """Rows of words under the names of their columns, as text; a missing entry stays empty."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    cells = [["", *columns], *([name, *(row.get(column, "") for column in columns)] for name, row in rows.items())]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in cells]
    return "\n".join([lines[0], "-" * (sum(widths) + 2 * len(columns)), *lines[1:]])


# How things are drawn --------------------------------------------------------------------------------------------


def _panels(picture: Picture, rows: int, columns: int, left, right, bottom, top, gap) -> list[Axes]:
    """Equal panels; left and right in shares of the width, the rest in inches, gap being between two rows."""
    height = picture.get_figheight()
    each = (height - bottom - top - gap * (rows - 1)) / rows
    grid = picture.add_gridspec(
        rows,
        columns,
        left=left,
        right=right,
        bottom=bottom / height,
        top=1 - top / height,
        hspace=gap / each,
        wspace=0.08,
    )
    return [picture.add_subplot(grid[i, j]) for i in range(rows) for j in range(columns)]


def _stroke(ax: Axes, x: Any, y: Any, name: str, reference: bool) -> None:
    """The grammar of the book: the reference is a wide pale band, everything else a thin dark line on it."""
    if reference:
        ax.plot(x, y, color=style.band(name), lw=style.BAND_WIDTH, zorder=1)
    else:
        ax.plot(x, y, color=style.line(name), lw=style.LINE_WIDTH, zorder=2)


def _title(ax: Axes, name: str) -> None:
    """The algorithm's name above its panel, behind a swatch that is the grammar in small."""
    height = ax.get_position().height * ax.figure.get_figheight()  # type: ignore[union-attr]
    y = 1 + 0.22 / height
    for width, colour in ((style.BAND_WIDTH, style.band(name)), (style.LINE_WIDTH, style.line(name))):
        ax.plot([0.012, 0.07], [y, y], color=colour, lw=width, transform=ax.transAxes, clip_on=False)
    ax.text(0.1, y, name, transform=ax.transAxes, va="center", weight="bold")


def _name_ends(ax: Axes, ends: list[tuple[float, str, bool]], name: str) -> None:
    """Names beside the ends of the lines, spread so that none hides another, each with a thread to its end."""
    low, high = np.log(ax.get_ylim())
    height = ax.get_position().height * ax.figure.get_figheight()  # type: ignore[union-attr]
    step = 0.27 / height
    ends = sorted(ends, key=lambda end: -round(float(np.log(end[0])), 6))[::-1]  # ties as given, not by rounding
    at = [(np.log(y) - low) / (high - low) for y, *_ in ends]
    places = list(at)
    for _ in range(200):  # push neighbours apart, and everything into the panel
        for i in range(len(places) - 1):
            overlap = step - (places[i + 1] - places[i])
            if overlap > 0:
                places[i] -= overlap / 2
                places[i + 1] += overlap / 2
        places = [min(max(place, 0.03 + i * step), 1 - (len(places) - 1 - i) * step) for i, place in enumerate(places)]
    for start, place, (_, words, first) in zip(at, places, ends):
        colour, width = (style.band(name), 4) if first else (style.line(name), 1)
        ax.plot(
            [1.03, 1.11],
            [start, place],
            color=colour,
            lw=width * style.PIXEL,
            transform=ax.transAxes,
            clip_on=False,
            zorder=1 if first else 2,
        )
        ax.text(1.135, place, words, transform=ax.transAxes, va="center")


def _decades(ax: Axes, low: float, high: float) -> None:
    powers = [k for k in range(-16, 17) if low <= 10.0**k <= high]
    ax.yaxis.set_major_locator(FixedLocator([10.0**k for k in powers]))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_yticklabels([f"{10.0**k:g}" if abs(k) < 4 else f"$10^{{{k}}}$" for k in powers])


def _label(ax: Axes, xy: Any, words: str, left: bool = False, below: bool = False) -> None:
    shift = (0, -11) if below else (-12 if left else 12, 0)
    sides: dict = {"ha": "center", "va": "top"} if below else {"ha": "right" if left else "left", "va": "center"}
    halo = [withStroke(linewidth=4, foreground=style.INKS["light"]["paper"])]
    ax.annotate(words, xy, shift, textcoords="offset points", zorder=6, path_effects=halo, **sides)


def _principal(paths: list[Tensor]) -> list[np.ndarray]:
    """Every path in the two principal directions of all their points, the first path's end to the right and up."""
    whole = torch.cat(paths)
    whole = whole - whole.mean(0)
    values, vectors = torch.linalg.eigh(whole @ whole.mT)
    xy = (vectors[:, -2:] * values[-2:].clamp(min=0).sqrt()).flip(1)
    first = len(paths[0])
    sign = torch.where(xy[first - 1] < xy[0], -1.0, 1.0)
    return [part.numpy() for part in (xy * sign).split([len(path) for path in paths])]


def _kept(run: Trajectory) -> Trajectory:
    """The run up to the last step before it breaks."""
    end = broke(run)
    return run if end is None else Trajectory(run.outputs.at(slice(end)), run.losses[:end], run.omega)


def _first(twins: Mapping[str, Trajectory]) -> list[tuple[bool, tuple[str, Trajectory]]]:
    return [(i == 0, item) for i, item in enumerate(twins.items())]


def _same_bases(runs: Runs) -> None:
    names = [list(twins) for twins in runs.values()]
    if not names or not names[0] or any(other != names[0] for other in names):
        raise SpaceError(f"pictures compare runs in the same bases, the reference first; got {dict(zip(runs, names))}")


def _count(runs: Runs) -> int:
    return len(next(iter(runs.values())))


def _and(names: Any) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
