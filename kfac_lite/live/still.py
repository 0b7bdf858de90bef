"""A figure as a still picture, for readers whose page runs no scripts: the same marks from the same numbers, as SVG.

A page with scripts replaces it before it is painted. It is drawn for panels 340 pixels wide and scaled by the page.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Any

import torch
from torch import Tensor

from .asking import Predict, of
from .views import Mark, Panel, Words

__all__ = ["number", "picture"]

WIDTH = 340
INKS = {"SGD": "sgd", "K-FAC": "kfac", "natural gradient": "natural", "soft": "soft", "ink": "ink", None: "ink"}
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
ROWS = ((1.0, "1"), (1e-4, "10⁻⁴"), (1e-8, "10⁻⁸"), (1e-12, "10⁻¹²"), (0.0, "0"))


def power(n: int) -> str:
    return "10" + str(n).translate(SUPERSCRIPTS)


def number(v: float, form: str) -> str:
    """A read-out, as the page's `format` writes it."""
    if math.isnan(v):
        return "–"
    if form == "power":
        return power(round(math.log10(v))) if v > 0 else "–"
    if math.isinf(v):
        return "∞" if v > 0 else "−∞"
    if form != "gap":
        text = f"{v:.0f}" if form == "d" else f"{v:{form}}"
        if form.endswith("g"):
            digits, _, n = f"{v:.{int(form[1:-1]) - 1}e}".partition("e")
            if v and not -3 <= int(n) <= 5:
                return (f"{float(digits):g}×" if float(digits) != 1 else "").replace("-", "−") + power(int(n))
            text = f"{float(text):.12g}"
        return (text.replace("-", "") if float(text) == 0 else text).replace("-", "−")
    if v <= 0:
        return "0" if v == 0 else "−" + number(-v, form)
    if v >= 9.95:
        return f"{v:.0f}" if v < 1e4 else power(math.floor(math.log10(v)))
    if v >= 0.095:
        return f"{v:.2f}" if v < 0.995 else f"{v:.1f}"
    n = math.floor(math.log10(v))
    digit = round(v / 10**n)
    n, digit = (n + 1, 1) if digit == 10 else (n, digit)
    return f"{v:.3f}" if n >= -2 else f"{digit}×{power(n)}"


class Picture:
    """One panel: its scales, and its marks as text."""

    def __init__(self, panel: Panel, values: dict[str, Any]):
        self.panel, self.values = panel, values
        plain = panel.scale == "linear" and not (panel.xlabel or panel.ylabel)
        labelled = not plain if panel.ticks is None else panel.ticks
        self.left, self.right, self.top, self.bottom = (46, 8, 28, 26) if labelled else (0, 0, 0, 0)
        self.w, self.h = WIDTH * panel.span, round(WIDTH * panel.span * panel.ratio)
        self.inner, self.height = self.w - self.left - self.right, self.h - self.top - self.bottom
        self.labelled = labelled

    def sx(self, v: float) -> float:
        low, high = self.panel.x
        return self.left + (v - low) / (high - low) * self.inner

    def sy(self, v: float) -> float:
        (low, high), scale = self.panel.y, self.panel.scale
        if scale == "gap":
            low, high = -18.0, 2.0
            v = low if v == 0 else min(high, max(low + 1, math.log10(abs(v)))) if v == v else v
        elif scale == "log":
            low, high, v = math.log10(low), math.log10(high), math.log10(max(v, 1e-300))
        return self.top + (high - v) / (high - low) * self.height

    def value(self, x: Any) -> Tensor:
        return self.values[x] if isinstance(x, str) else torch.as_tensor(x, dtype=torch.float64)

    def at(self, x: Any) -> tuple[float, float]:
        u, v = self.value(x).flatten().tolist()[:2]
        return u, v

    def path(self, points: Sequence[tuple[float, float]], mark: Mark | None = None, more: str = "") -> str:
        """Points of the panel joined; those that are no numbers leave a hole."""
        places = [(self.sx(u), self.sy(v)) for u, v in points]
        d = trace([p if math.isfinite(p[0] + p[1]) else None for p in places])
        return f'<path class="{classes(mark)}{" " + more if more else ""}" d="{d}"/>' if d else ""

    def text(self, x: float, y: float, words: str, anchor: str = "start", more: str = "halo") -> str:
        return f'<text class="{more}" x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(words)}</text>'

    def filled(self, text: str) -> str:
        """A text with its numbers."""

        def written(match: re.Match[str]) -> str:
            value, form = self.values[match[1]], match[2] or ".2f"
            numbers = [number(v, form) for v in value.flatten().tolist()]
            if len(numbers) == 1:
                return numbers[0]
            rows = range(0, len(numbers), value.shape[-1])
            return f"({'; '.join(', '.join(numbers[i : i + value.shape[-1]]) for i in rows)})"

        return re.sub(r"\{(\w+)(?::([^}]*))?\}", written, text)

    def svg(self) -> str:
        shown = [m for m in self.panel.marks if not m.show or float(self.value(m.show).flatten()[0])]
        marks = "".join(DRAW[m.kind](self, m) for m in shown if m.kind in DRAW)
        frame = (
            "" if self.labelled else f'<rect class="pane" x=".5" y=".5" width="{self.w - 1}" height="{self.h - 1}"/>'
        )
        return (
            f'<svg viewBox="0 0 {self.w} {self.h}">{"".join(self.axis()) if self.labelled else ""}{marks}{frame}</svg>'
        )

    def axis(self) -> Iterator[str]:
        panel, right = self.panel, self.left + self.inner
        yield self.text(self.left, 16, panel.ylabel.split("|")[0], more="soft")
        rows = ROWS if panel.scale == "gap" else [(v, f"{v:g}".replace("-", "−")) for v in panel.y]
        for v, words in rows:
            y = self.sy(v)
            yield f'<path class="axis" d="M{self.left} {y:.0f}H{right}"/>'
            yield self.text(self.left - 6, y + 5, words, "end", "soft")
        for v, anchor in zip(panel.x, ("start", "end")):
            yield self.text(self.sx(v), self.h - 8, f"{v:g}".replace("-", "−"), anchor, "soft")
        if panel.xlabel:
            yield self.text(self.left + self.inner / 2, self.h - 8, panel.xlabel, "middle", "soft")


def trace(places: Sequence[tuple[float, float] | None]) -> str:
    """Places in pixels joined, None a hole, as a short path: whole pixels, each from the one before."""
    d, last = "", None
    for place in places:
        if place is None:
            last = None
            continue
        x, y = (round(max(-999.0, min(999.0, v))) for v in place)
        if last is None:
            d += f"M{x} {y}" + ("h0" if len(places) == 1 else "")
        elif (x, y) != last:
            d += f"l{x - last[0]} {y - last[1]}"
        last = (x, y)
    return d.replace(" -", "-")


def classes(mark: Mark | None) -> str:
    if mark is None:
        return "mark c-ink r-line"
    role = {"ring": "band", "dot": "line"}.get(mark.role, mark.role)
    return f"mark c-{INKS.get(mark.colour, 'other')} r-{role}"


def line(p: Picture, mark: Any) -> str:
    y = p.value(mark.y)
    if y.ndim > 1:
        points = y.tolist()
    else:
        x = torch.arange(len(y)) if mark.x is None else p.value(mark.x)
        points = list(zip(x.tolist(), y.tolist()))
    return p.path(points[mark.skip :], mark)


def points(p: Picture, mark: Any) -> str:
    """Round ends of lines without length: all of a kind in one path."""
    xy = p.value(mark.xy).reshape(-1, 2).tolist()
    hollow = [0.0] * len(xy) if mark.hollow is None else p.value(mark.hollow).flatten().tolist()
    ink = INKS.get(mark.colour or "soft", "other")
    dots = ["", ""]
    for (u, v), h in zip(xy, hollow):
        dots[bool(h)] += trace([(p.sx(u), p.sy(v))])
    wide, thin = 2 * mark.size, 2 * mark.size - 3
    text = f'<path class="c-{ink} dots" stroke-width="{wide}" d="{"".join(dots)}"/>'
    return text + (f'<path class="dots in" stroke-width="{thin:.1f}" d="{dots[1]}"/>' if dots[1] else "")


def level(p: Picture, mark: Any) -> str:
    """Marching squares, a cell at a time."""
    z = p.value(mark.z).squeeze(-1) if p.value(mark.z).shape[-1] == 1 else p.value(mark.z)
    z = z.reshape(round(math.sqrt(z.numel())), -1) if z.ndim == 1 else z
    rows, d = (z - mark.at).tolist(), ""
    dx, dy = p.inner / (len(rows[0]) - 1), p.height / (len(rows) - 1)
    for j in range(len(rows) - 1):
        for i in range(len(rows[0]) - 1):
            a, b, c, e = rows[j][i], rows[j][i + 1], rows[j + 1][i + 1], rows[j + 1][i]
            cuts = [(i + a / (a - b), j)] if (a > 0) != (b > 0) else []
            cuts += [(i + 1, j + b / (b - c))] if (b > 0) != (c > 0) else []
            cuts += [(i + e / (e - c), j + 1)] if (c > 0) != (e > 0) else []
            cuts += [(i, j + a / (a - e))] if (e > 0) != (a > 0) else []
            places = [(p.left + u * dx, p.top + p.height - v * dy) for u, v in cuts]
            d += "".join(trace(places[k : k + 2]) for k in range(0, len(places) - 1, 2))
    return f'<path class="{classes(mark)}" d="{d}"/>' if d else ""


def heat(p: Picture, mark: Any) -> str:
    z = p.value(mark.z)
    top = max(abs(mark.low), abs(mark.high))
    w, h, looks = p.inner / z.shape[1], p.height / z.shape[0], {}
    for i, row in enumerate(z.tolist()):
        for j, v in enumerate(row):
            share = (v - mark.low) / (mark.high - mark.low) if mark.low >= 0 else math.sqrt(min(1.0, abs(v) / top))
            style = f' fill-opacity="{max(0.0, min(1.0, share)):.2f}"' if mark.low >= 0 else ""
            side = 1.0 if mark.low >= 0 else 0.92 * share
            look = f'class="c-ink {"point" if v > 0 or mark.low >= 0 else "point-hollow"}"{style}'
            corner = f"M{p.left + (j + 0.5 - side / 2) * w:.1f} {p.top + (i + 0.5 - side / 2) * h:.1f}"
            looks[look] = looks.get(look, "") + f"{corner}h{side * w:.1f}v{side * h:.1f}h{-side * w:.1f}z"
    return "".join(f'<path {look} d="{squares}"/>' for look, squares in looks.items())


def arrow(p: Picture, mark: Any) -> str:
    at, text = p.value(mark.at), ""
    for k, (u, v) in enumerate(p.value(mark.v).reshape(-1, 2).tolist()):
        a, b = at[k].tolist() if at.ndim > 1 else at.tolist()
        text += p.path([(a, b), (a + u, b + v)], mark) + head(p, (a, b), (a + u, b + v), mark)
        if mark.label and not k:
            text += p.text(p.sx(a + u) + 8, p.sy(b + v) - 8, mark.label)
    return text


def head(p: Picture, tail: tuple[float, float], tip: tuple[float, float], mark: Mark | None) -> str:
    x, y = p.sx(tip[0]), p.sy(tip[1])
    turn = math.degrees(math.atan2(y - p.sy(tail[1]), x - p.sx(tail[0])))
    shape = f'<path class="{classes(mark)} head" transform="translate({x:.0f} {y:.0f}) rotate({turn:.0f})"'
    return shape + ' d="M0 0L-12 5L-10 0L-12 -5Z"/>' if math.isfinite(turn) else ""


def levels(p: Picture, mark: Any) -> str:
    (a, b), (u, v) = p.at(mark.alpha), p.at(mark.at)
    square, text = a * a + b * b, ""
    for k in range(-mark.count, mark.count + 1) if square > 1e-12 else ():
        x, y, far = u + k * a / square, v + k * b / square, 9 / math.sqrt(square)
        text += p.path([(x - b * far, y + a * far), (x + b * far, y - a * far)], mark, "fine" if k else "")
    return text


def ellipse(p: Picture, mark: Any) -> str:
    g, (u, v) = p.value(mark.g), p.at(mark.at)
    lengths, axes = torch.linalg.eigh(g)
    if lengths[1] <= 0:
        return ""
    turns = torch.linspace(0, 2 * math.pi, 73, dtype=torch.float64)
    circle = (
        mark.radius * torch.stack([turns.cos(), turns.sin()], 1) / lengths.clamp(min=1e-6 * float(lengths[1])).sqrt()
    )
    return p.path([(u + a, v + b) for a, b in (circle @ axes.mT).tolist()], mark)


def trajectory(p: Picture, mark: Any) -> str:
    path, ring = p.value(mark.xy).tolist(), mark.role == "ring"
    kind, r = f"mark c-{INKS.get(mark.colour, 'other')} {'ring' if ring else 'spot'}", 5.5 if ring else 2.8
    spots = [f'<circle class="{kind}" r="{r}" cx="{p.sx(u):.0f}" cy="{p.sy(v):.0f}"/>' for u, v in path[:: mark.every]]
    return p.path(path, mark) + "".join(spot for spot in spots if "nan" not in spot and "inf" not in spot)


def axes(p: Picture, mark: Any) -> str:
    (a, b, u), (c, d, v) = p.value(mark.frame).tolist()
    x, y = p.sx(0), p.sy(0)
    home = f'<path class="mark c-ink r-band" d="M{p.sx(1):.0f} {y:.0f}H{x:.0f}V{p.sy(1):.0f}"/>'
    arms = "".join(p.path([(u, v), tip]) + head(p, (u, v), tip, None) for tip in ((u + a, v + c), (u + b, v + d)))
    return (
        home + arms + p.text(x - 18, p.sy(1) + 12, mark.names[0]) + p.text(p.sx(u + a) + 10, p.sy(v + c), mark.names[1])
    )


def label(p: Picture, mark: Any) -> str:
    (u, v), anchor = p.at(mark.at), mark.anchor
    if anchor == "auto":
        anchor = "end" if p.sx(u) > p.left + 0.66 * p.inner else "start"
    x = p.sx(u) + ({"end": -10, "start": 10}[anchor] if mark.anchor == "auto" else 0)
    return p.text(x, p.sy(v) + 5, p.filled(mark.text.split("|")[0].replace("**", "")), anchor)


def rule(p: Picture, mark: Any) -> str:
    ends = [(u, float(p.value(mark.y))) for u in p.panel.x] if mark.x is None else None
    ends = ends or [(float(p.value(mark.x)), v) for v in p.panel.y]
    return p.path(ends, mark, "fine")


DRAW: dict[str, Callable[[Picture, Any], str]] = {
    "line": line,
    "points": points,
    "level": level,
    "heat": heat,
    "arrow": arrow,
    "levels": levels,
    "ellipse": ellipse,
    "trajectory": trajectory,
    "axes": axes,
    "label": label,
    "rule": rule,
}


def place(view: Any, row: int, start: int) -> str:
    half = " half" if view.half else ""
    return f'class="live-cell{half}" style="--row:{row};--from:{start};--span:{view.span};--order:{view.order}"'


def picture(figure: Any, values: dict[str, Any]) -> str:
    """The whole figure at these values, as HTML. What a question keeps closed is folded."""
    title = f'<p class="live-title">{escape(figure.title)} <span>{escape(figure.question)}</span></p>'
    asks = any(isinstance(view, Predict) for row in figure.rows for view in row)
    return (
        f'<div class="live-still" role="{"group" if asks else "img"}" aria-label="{escape(figure.alt)}">'
        f"{title if figure.title else ''}{rows(figure.rows, values)}</div>"
    )


def rows(views: list[list[Any]], values: dict[str, Any]) -> str:
    """Rows of views as a grid; after a question the answer, and all rows below it, in a fold."""
    columns = max((sum(view.span for view in row) for row in views), default=1)
    cells, folded = [], ""
    for r, row in enumerate(views, 1):
        start = 1
        for c, view in enumerate(row):
            if getattr(view, "more", False):
                continue
            if isinstance(view, Predict):
                panel = view.answer()
                truth = float(of(view.truth, values).flatten()[0])
                svg = Picture(panel, values).svg() if panel else f"<p>{number(truth, view.form)} {view.unit}</p>"
                beside = rows([row[c + 1 :], *views[r:]], values)
                cells.append(f"<div {place(view, r, start)}><p>{said(view.question, values)}</p></div>")
                folded = f'<details class="fold"><summary>Show the answer</summary>{svg}{beside}</details>'
                break
            if isinstance(view, Panel):
                title = f'<div class="live-head">{escape(view.title)}</div>' if view.title else ""
                cells.append(f"<div {place(view, r, start)}>{title}{Picture(view, values).svg()}</div>")
            else:
                text = view.text if isinstance(view, Words) else view.task
                cells.append(f'<div {place(view, r, start)}><p class="live-words">{said(text, values)}</p></div>')
            start += view.span or 1
        if folded:
            break
    pair = " pair" if columns == 2 else ""
    grid = f'<div class="live-grid{pair}" style="--columns:{columns}">{"".join(cells)}</div>' if cells else ""
    return grid + folded


def said(text: str, values: dict[str, Any]) -> str:
    """A text with its numbers, and without its marks."""
    words = Picture(Panel(), values).filled(text)
    return escape(re.sub(r"\[([^\]]+)\]|\*\*|=(?=\S)|(?<=\S)=|(?<!\w)_|_(?!\w)", lambda m: m[1] or "", words))
