"""Pictures and tables of what `benchmarks/` has measured: bytes, seconds, losses, with the machine in words.

The numbers belong to one machine and one day. So they are drawn, and shown as tables of a page, but are no text that
a test could compare: what an output says in words is what it shows, not how much.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.ticker import FixedLocator, NullLocator

from . import style
from .plots import Picture, _decades, _panels

__all__ = ["Table", "ends", "exponents", "growth", "load", "race", "rates", "steps"]

DASHES: dict[str, Any] = {"Muon": (4, 2), "exact, by examples": (1.2, 1.2), "K-FAC, damping 0.1": (4, 2)}


def _whose(name: str) -> str:
    """An option behind the name changes no colour."""
    return name.partition(",")[0]


class Table:
    """Rows of words, the first one the head; `says` is what they are about."""

    def __init__(self, rows: Sequence[Sequence[str]], says: str):
        self.rows, self.says = rows, says

    def _repr_html_(self) -> str:
        cells = lambda row, kind: "".join(f"<{kind}>{html.escape(cell)}</{kind}>" for cell in row)
        head, *body = self.rows
        rows = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in body)
        return (
            f'<table class="table dataframe"><thead><tr>{cells(head, "th")}</tr></thead><tbody>{rows}</tbody></table>'
        )

    def __repr__(self) -> str:
        return f"<table: {self.says}>"


def load(path: str | Path) -> dict[str, Any]:
    """What a study has written."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def growth(results: dict[str, Any], what: str) -> Picture:
    """`what`, "seconds" or "bytes", of a step against the width, a line for each method, on logarithms."""
    shown = {"seconds": "seconds a step", "bytes": "megabytes"}[what]
    methods = results["methods"]
    picture = Picture(4.4, f"{shown} against the width: {', '.join(methods)}")
    unit = 1e6 if what == "bytes" else 1.0
    with matplotlib.rc_context(style.RC):
        (ax,) = _panels(picture, 1, 1, left=0.135, right=0.66, bottom=0.75, top=0.25, gap=0)
        ax.set(xscale="log", yscale="log", xlabel="width w", ylabel=shown)
        ends = []
        for name, method in methods.items():
            y = [value / unit for value in method[what]]
            ax.plot(
                method["widths"],
                y,
                ".-",
                color=style.line(_whose(name)),
                lw=style.LINE_WIDTH,
                dashes=DASHES.get(name, ()),
            )
            ends.append((y[-1], name, method["widths"][-1]))
        low, high = ax.get_ylim()
        _decades(ax, low, high)
        ax.xaxis.set_major_locator(FixedLocator([8, 32, 128, 512, 2048]))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xticklabels(["8", "32", "128", "512", "2048"])
        for y, name, x in ends:
            ax.annotate(name, (x, y), (9, 0), textcoords="offset points", va="center", annotation_clip=False)
    return picture


def exponents(results: dict[str, Any]) -> Table:
    """The fitted exponents, and the widths that were fitted."""
    rows = [
        ["", "widths", "time ~ width to the", "~ parameters to the", "memory ~ width to the", "~ parameters to the"]
    ]
    for name, method in results["methods"].items():
        widths = method["widths"][-3:]
        fitted = [f"{value:.1f}" for value in method["exponents"].values()]
        rows.append([name, f"{widths[0]} to {widths[-1]}", *fitted])
    return Table(rows, "fitted exponents of time and memory")


def race(results: dict[str, Any], problem: str) -> Picture:
    """Training loss against steps, above, and against the processor's seconds, below: a band from the best to the worst
    of the starts, and on it the one in the middle."""
    runs, every = results["problems"][problem]["runs"], results["every"]
    picture = Picture(6.6, f"training loss of the {problem} network: {', '.join(runs)}")
    values = [loss for run in runs.values() for losses in run["train"] for loss in losses]
    low, high = min(values) / 1.5, 1.3 * max(run["train"][0][0] for run in runs.values())
    with matplotlib.rc_context(style.RC):
        panels = _panels(picture, 2, 1, left=0.135, right=0.62, bottom=0.75, top=0.55, gap=1.35)
        for ax, against in zip(panels, ("steps", "seconds")):
            ax.set(yscale="log", ylim=(low, high), ylabel="training loss")
            ax.set_xlabel("step" if against == "steps" else "seconds of the processor")
            ax.set_title(f"against {against}", loc="left")
            _decades(ax, low, high)
            if low > 5:
                ax.yaxis.set_major_locator(FixedLocator([10, 15, 20, 30, 45]))
                ax.set_yticklabels(["10", "15", "20", "30", "45"])
            for name, run in runs.items():
                columns = list(zip(*run["train"]))
                seconds = [sorted(each)[len(each) // 2] for each in zip(*run["seconds"])]
                x = [every * i for i in range(len(columns))] if against == "steps" else seconds
                ordered = [sorted(column) for column in columns]
                best, worst = ([c[i] for c in ordered] for i in (0, -1))
                ax.fill_between(x, best, worst, color=style.band(_whose(name)), lw=0, alpha=0.6)
                middle = [c[len(c) // 2] for c in ordered]
                ax.plot(x, middle, color=style.line(_whose(name)), lw=style.LINE_WIDTH, dashes=DASHES.get(name, ()))
            ax.set_xlim(0)
            _names(ax, {name: sorted(losses[-1] for losses in run["train"])[1] for name, run in runs.items()})
    return picture


def _names(ax: Any, ends: dict[str, float]) -> None:
    """At the right, in the order of the ends, with a piece of each line."""
    transform = ax.transData + ax.transAxes.inverted()
    at = {name: min(max(float(transform.transform((0, y))[1]), 0.02), 0.98) for name, y in ends.items()}
    order, place = sorted(at, key=lambda name: at[name]), -1.0
    for i, name in enumerate(order):
        place = min(max(at[name], place + 0.13), 0.98 - 0.13 * (len(order) - 1 - i))
        dashes, colour = DASHES.get(name, ()), style.line(_whose(name))
        line: dict[str, Any] = {"transform": ax.transAxes, "clip_on": False, "dashes": dashes, "color": colour}
        ax.plot([1.02, 1.08], [place, place], lw=style.LINE_WIDTH, **line)
        ax.text(1.1, place, name, transform=ax.transAxes, va="center")


def steps(results: dict[str, Any]) -> Table:
    """Milliseconds and megabytes of a step, and its time as a multiple of others', timed in turns with it."""
    found = [row for steps in results["steps"].values() for row in steps.values()]
    others = sorted(dict.fromkeys(other for row in found for other in row), key=lambda other: other == "own products")
    others.remove("ms")
    rows = [["inverses", "", "ms a step", *(f"× {other}" for other in others), "peak MB"]]
    for every, steps in results["steps"].items():
        for name, row in steps.items():
            ratios = [f"{row[other]:.2f}" if other in row and other != name else "" for other in others]
            peak = results["memory"][every].get(name)
            first = f"every {every}" if name == next(iter(steps)) else ""
            rows.append([first, name, f"{row['ms']:.1f}", *ratios, "" if peak is None else f"{peak:.0f}"])
    return Table(rows, "what a step costs")


def ends(results: dict[str, Any]) -> Table:
    """The losses at the end, from the best start to the worst, and milliseconds of a step."""
    rows = [["", "", "rate", "training loss", "held-out loss", "ms a step"]]
    for problem, found in results["problems"].items():
        for name, run in found["runs"].items():
            span = lambda key, run=run: sorted(losses[-1] for losses in run[key])
            train, there = span("train"), span("held_out")
            ms = 1000 * sorted(each[-1] for each in run["seconds"])[1] / found["steps"]
            rows.append([
                problem if name == next(iter(found["runs"])) else "", name, f"{run['rate']:.2g}",
                f"{train[0]:.2g} to {train[-1]:.2g}", f"{there[0]:.2g} to {there[-1]:.2g}", f"{ms:.1f}",
            ])  # fmt: skip
    return Table(rows, "losses at the end and the time of a step")


def rates(results: dict[str, Any]) -> Table:
    """Every rate that was tried, and the training loss at its end."""
    rows = [["", "", "training loss at the end, by rate"]]
    for problem, found in results["problems"].items():
        for name, run in found["runs"].items():
            end = {rate: "broke" if loss is None else f"{loss:.2g}" for rate, loss in run["tried"].items()}
            tried = ", ".join(f"{rate}: {loss}" for rate, loss in end.items())
            rows.append([problem if name == next(iter(found["runs"])) else "", name, tried])
    return Table(rows, "all rates that were tried")
