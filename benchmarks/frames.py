"""Frame time of the hero in the built book, and of the same figure in Python; what a page weighs; when it lives.

The page is driven in headless Chromium: real pointer moves on an arrow's handle, each waited for before the next. A
frame lasts from the entry of the first listener to the end of a forced layout. Not in it are rendering, the way from
the mouse to the page, and the numbers in sentences, which follow ten times a second in an animation frame. CPU time is
that of the page's main thread, for script, style and layout, which a busy machine disturbs less than wall time. The
same figure in Python is the figure's own functions in torch, on one thread, and matplotlib with its lines updated in
place (`set_data`, `canvas.draw`): what `ipywidgets.interact` would call for every move. What it would add, a picture's
way from the kernel to the page, is left out, in Python's favour.

    make bench          # or, after make book: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/frames.py

Then the same for the figures of all pages: the first handle of each is dragged, or the thumb of its first slider, and
beside the times stands what the page weighs. Prints tables and asserts nothing but that the page and torch compute the
same numbers.
"""

import math
import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import contourpy
import matplotlib
import torch
import weight
from playwright.sync_api import sync_playwright

from kfac_lite.live import hero

matplotlib.use("agg")
from matplotlib import pyplot

INDEX = weight.HTML / "chapters" / "index.html"
WARM_UP, FRAMES, SOME, LOADS = 30, 200, 60, 5
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]
WATCH = """
window.frames_ = [];
let entered = 0;
addEventListener("pointermove", () => { entered = performance.now(); }, { capture: true });
addEventListener("pointermove", () => {
  const figure = document.querySelector(".live-figure");
  figure.getBoundingClientRect();
  figure.querySelector("path").getBBox();
  frames_.push(performance.now() - entered);
});
"""


# The page ---------------------------------------------------------------------------------------------------------


def path(count: int) -> Iterator[tuple[float, float]]:
    """A closed curve of pointer places around the handle, in pixels, no two alike."""
    for i in range(count):
        turn = 2 * math.pi * i / 67
        yield 34 * math.sin(turn) + 6 * math.sin(0.37 * i), 26 * math.sin(2 * turn) + 6 * math.cos(0.53 * i)


def until(page: Any, expression: str, pause: float = 0.02) -> None:
    end = time.monotonic() + 30
    while not page.evaluate(expression):
        if time.monotonic() > end:
            raise SystemExit(f"the page did not come to {expression}")
        time.sleep(pause)


def opened(browser: Any) -> Any:
    page = browser.new_page(viewport={"width": 1280, "height": 1000}, reduced_motion="reduce")
    page.goto(INDEX.as_uri())
    until(page, "performance.getEntriesByName('live-figure-warm:hero').length")
    return page


def drag(page: Any, count: int, session: Any) -> tuple[list[float], list[float]]:
    """Wall and CPU time of every move, in ms."""

    box = page.locator(".live-figure [data-handle=kappa-1]").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.evaluate("frames_.length = 0")
    cpu = []
    for n, (dx, dy) in enumerate(path(count), 1):
        before = spent(session)
        page.mouse.move(x + dx, y + dy)
        until(page, f"frames_.length >= {n}", 0.001)
        cpu.append(spent(session) - before)
    page.mouse.up()
    return page.evaluate("frames_"), cpu


def whole(page: Any, count: int) -> list[float]:
    """Everything from scratch, also what a drag of the basis does not touch, drawn and laid out."""
    return page.evaluate(
        """count => Array.from({ length: count }, () => {
          const root = document.querySelector(".live-figure"), began = performance.now();
          root.figure.recompute();
          root.getBoundingClientRect();
          root.querySelector("path").getBBox();
          return performance.now() - began;
        })""",
        count,
    )


def reached(page: Any) -> dict[str, list[float]]:
    """What the page has computed at the end of the drag."""
    read = "name => [...document.querySelector('.live-figure').figure.value(name)[0]]"
    return {name: page.evaluate(read, name) for name in ("kappa", "gap_sgd", "gap_kfac", "f_sgd")}


def loads(browser: Any) -> list[float]:
    """From DOMContentLoaded to the first live figure, in ms; negative if it is first."""
    found = []
    for _ in range(LOADS):
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.goto(INDEX.as_uri())
        until(page, "performance.getEntriesByName('live-figure:hero').length")
        found.append(
            page.evaluate(
                "performance.getEntriesByName('live-figure:hero')[0].startTime"
                " - performance.getEntriesByType('navigation')[0].domContentLoadedEventStart"
            )
        )
        page.close()
    return found


# Every page -------------------------------------------------------------------------------------------------------

OPEN = """() => {
  document.querySelectorAll("details").forEach((fold) => { fold.open = true; });
  document.querySelectorAll(".live-predict .live-act:not([hidden])").forEach((answer) => answer.click());
  return [...document.querySelectorAll(".live-figure")].map((root) => root.figure.spec.name);
}"""
SPOT = """name => {
  const root = [...document.querySelectorAll(".live-figure")].find((root) => root.figure.spec.name === name);
  const seen = (e) => e.checkVisibility() && !e.closest("[inert], [hidden], .live-predict") && !e.disabled;
  const of = (selector) => [...root.querySelectorAll(selector)].find(seen);
  const part = of("[data-handle]") || of("input[type=range]");
  if (!part) return null;
  part.scrollIntoView({ block: "center" });
  const box = part.getBoundingClientRect(), slider = part.matches("input");
  const share = slider ? (part.value - part.min) / (part.max - part.min) : 0.5;
  window.frames_ = [];
  let entered = 0;
  const type = slider ? "input" : "pointermove";
  addEventListener(type, () => { entered = performance.now(); }, { capture: true });
  addEventListener(type, () => {
    root.getBoundingClientRect();
    root.querySelector("path")?.getBBox();
    frames_.push(performance.now() - entered);
  });
  const x = slider ? box.x + 10 + share * (box.width - 20) : box.x + box.width / 2;
  return { slider, x, y: box.y + box.height / 2, width: box.width };
}"""


def spent(session: Any) -> float:
    """CPU time of the page's main thread so far, for script, style and layout, in ms."""
    metrics = {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}
    return 1000 * (metrics["ScriptDuration"] + metrics["LayoutDuration"] + metrics["RecalcStyleDuration"])


def moves(page: Any, name: str, session: Any) -> tuple[list[float], list[float]] | None:
    """Wall and CPU time, in ms, of moves on a figure's first handle or slider; None where nothing can be dragged."""
    spot = page.evaluate(SPOT, name)
    if spot is None:
        return None
    page.mouse.move(spot["x"], spot["y"])
    page.mouse.down()
    cpu = []
    for n, (dx, dy) in enumerate(path(WARM_UP + SOME)):
        before, done = spent(session), page.evaluate("frames_.length")
        far = (n % 40 - 20) / 50 * spot["width"] if spot["slider"] else dx
        page.mouse.move(spot["x"] + far, spot["y"] + dy)
        page.evaluate("() => new Promise((later) => requestAnimationFrame(() => setTimeout(later)))")
        if page.evaluate("frames_.length") > done:  # a slider at its end does not move
            cpu.append(spent(session) - before)
    page.mouse.up()
    wall = page.evaluate("frames_")
    cold = min(WARM_UP, len(wall) // 3)
    return (wall[cold:], cpu[min(cold, len(cpu) // 3) :]) if wall and cpu else None


def every_page(browser: Any) -> Iterator[tuple[str, str, Any]]:
    """The pages with figures, their figures, and how long a move takes in each."""
    for name in weight.pages():
        file = weight.HTML / f"{name}.html"
        if "liveFigures.start" not in file.read_text(encoding="utf-8"):
            continue
        page = browser.new_page(viewport={"width": 1280, "height": 1000}, reduced_motion="reduce")
        page.goto(file.as_uri())
        figures = page.evaluate(OPEN)
        until(page, f"{figures}.every((name) => performance.getEntriesByName('live-figure-warm:' + name).length)")
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        for figure in figures:
            yield Path(name).name, figure, moves(page, figure, session)
        page.close()


# The same in Python -----------------------------------------------------------------------------------------------


def in_python() -> tuple[Callable[[list], None], Callable[[list], None], Callable[[], dict[str, Any]]]:
    """A frame after a drag of the basis, a frame from scratch, and the values of the last one."""
    figure = hero.figure()
    graph = figure.graph
    values: dict[str, Any] = figure.values()
    moved, depend = {"kappa"}, []
    for node in graph.nodes:
        start = getattr(node.work, "start", None)
        if moved & {*node.reads} or (isinstance(start, str) and start in moved):
            moved |= {*node.gives}
            depend.append(node)
    computing = [node for node in graph.nodes if node.kind != "constant"]

    picture, axes = pyplot.subplot_mosaic("abc;dee", figsize=(9.2, 5.6), dpi=100)
    side = values["side"].numpy()
    lines = {
        name: axes[where].plot([], [], lw=width)[0]
        for where, key in (("b", "sgd"), ("c", "kfac"))
        for name, width in ((f"field_{key}_iota", 9), (f"field_{key}", 1.75))
    }
    gaps = {name: axes["e"].semilogy(values[name], lw=1.75)[0] for name in ("control", "gap_sgd", "gap_kfac")}
    arrows = axes["a"].plot([], [], lw=3)[0]
    hidden, inputs, classes = values["hidden"], values["X"], values["Y"][:, 0]
    for where, data in (("a", hidden), ("b", inputs), ("c", inputs)):
        axes[where].scatter(*data.T, c=classes, s=12)
    for where, reach in (("a", 2), ("b", hero.RANGE), ("c", hero.RANGE)):
        axes[where].set(xlim=(-reach, reach), ylim=(-reach, reach))
    axes["d"].axis("off")
    words = axes["d"].text(0, 0.5, "")
    axes["e"].set(ylim=(1e-17, 1e2))

    def draw() -> None:
        for name, line in lines.items():
            z = values[name].reshape(len(side), len(side)).numpy()
            pieces = contourpy.contour_generator(side, side, z).lines(0.0)
            gap = torch.full((1, 2), torch.nan, dtype=torch.float64).numpy()
            points = [row for piece in pieces for row in (*piece, *gap)] or [*gap]
            line.set_data(*zip(*points))
        for name, line in gaps.items():
            line.set_ydata(values[name].numpy())
        E = values["kappa"]
        o = E[:, 2]
        arrows.set_data(*torch.stack([o + E[:, 0], o, o + E[:, 1]], 1).numpy())
        words.set_text(f"SGD {values['gap_sgd_now']:.1g}, K-FAC {values['gap_kfac_now']:.1g}")
        picture.canvas.draw()

    def frame(kappa: list, nodes: list) -> None:
        from kfac_lite.live.graph import evaluate

        values["kappa"] = torch.tensor(kappa, dtype=torch.float64)
        for node in nodes:
            values.update(evaluate(node, values))
        draw()

    return (lambda kappa: frame(kappa, depend)), (lambda kappa: frame(kappa, computing)), (lambda: values)


def bases(count: int) -> Iterator[list]:
    for i in range(count):
        turn = 2 * math.pi * i / count
        yield [[1 + 0.2 * math.sin(turn), 0.0, 0.1], [0.3 * math.cos(turn), 1.0, -0.1]]


def timed(frame: Callable[[list], None], count: int) -> tuple[list[float], list[float]]:
    """Wall and CPU time of every frame, in ms."""
    wall, cpu = [], []
    for kappa in bases(count):
        began, spent = time.perf_counter(), time.thread_time()
        frame(kappa)
        wall.append(1000 * (time.perf_counter() - began))
        cpu.append(1000 * (time.thread_time() - spent))
    return wall, cpu


# The table --------------------------------------------------------------------------------------------------------


def row(name: str, times: list[float]) -> None:
    print(f"{name:52} {min(times):8.1f} {statistics.median(times):8.1f} {p95(times):8.1f} {len(times):7}")


def p95(times: list[float]) -> float:
    return sorted(times)[math.ceil(0.95 * len(times)) - 1]


def main() -> None:
    torch.set_num_threads(1)
    if not INDEX.exists():
        raise SystemExit(f"{INDEX} is missing: run make book first")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    executable = next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        lives = loads(browser)
        page = opened(browser)
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.evaluate(WATCH)
        first, _ = drag(page, WARM_UP, session)
        wall, cpu = drag(page, FRAMES, session)
        scratch = whole(page, FRAMES)
        page_values = reached(page)
        version = browser.version
        all_pages = list(every_page(browser))
        browser.close()

    drawn, everything, values = in_python()
    drawn(torch.tensor(page_values.pop("kappa"), dtype=torch.float64).reshape(2, 3).tolist())
    for name, found in page_values.items():
        wanted = values()[name].flatten()
        apart = (torch.tensor(found, dtype=torch.float64) - wanted).abs().max() / wanted.abs().max().clamp(min=1e-3)
        assert apart < 1e-9, f"{name}: the page and torch are apart by {apart:.1e}: these are not the same figure"
    timed(drawn, 3)
    (python, python_cpu), (python_scratch, _) = timed(drawn, 20), timed(everything, 10)

    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    print(f"The hero: Chromium {version}, torch {torch.__version__}, {os.cpu_count()} cores, load {load}")
    print(f"{'one frame, in ms':52} {'best':>8} {'median':>8} {'p95':>8} {'frames':>7}")
    row("page, a drag: handler to forced layout, wall", wall)
    row("page, a drag: script, style and layout, CPU", cpu)
    row("page, everything from scratch, wall", scratch)
    row("Python, the same drag: torch and canvas.draw, wall", python)
    row("Python, the same drag, CPU of this thread", python_cpu)
    row("Python, everything from scratch, wall", python_scratch)
    print(f"first frames of the page: {' '.join(f'{t:.0f}' for t in first[:8])} ms (not counted above)")
    pairs = (
        ("a drag, CPU", python_cpu, cpu),
        ("a drag, wall", python, wall),
        ("from scratch", python_scratch, scratch),
    )
    for name, slow, fast in pairs:
        best, median = min(slow) / min(fast), statistics.median(slow) / statistics.median(fast)
        print(f"Python / page, {name}: {median:.0f} times by the medians, {best:.0f} by the best")
    print(f"first figure live after DOMContentLoaded: {' '.join(f'{t:.0f}' for t in lives)} ms")
    print(f"\n{'every figure, a move, p95 in ms':52} {'wall':>8} {'CPU':>8}")
    for name, figure, times in all_pages:
        told = "nothing to drag" if times is None else " ".join(f"{p95(x):8.1f}" for x in times)
        print(f"{f'{name}: {figure}'[:52]:52} {told}")
    print(f"\n{'what the book adds to a page, in kB':52}")
    for name in weight.pages():
        print(f"{Path(name).name:52} {sum(weight.parts(weight.HTML / f'{name}.html').values()) / 1000:8.0f}")


if __name__ == "__main__":
    main()
