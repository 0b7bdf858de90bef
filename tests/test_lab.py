"""A live figure in JupyterLab, driven by a browser: it is a widget, wired to Python both ways (paper: none).

A JupyterLab of the test's own, on this machine's loopback, with an empty folder and empty settings. The reader's side
is the page; Python's side is a second client of the kernel that the page started, as another notebook would be.
"""

import ast
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.blocking.client import BlockingKernelClient

pytestmark = [pytest.mark.no_gauge, pytest.mark.slow]

CELL = """
import torch
from kfac_lite.live import Arrow, Drag, Handle, LiveFigure, Panel, Slider, Words


def turned(v, angle):
    c, s = torch.cos(angle), torch.sin(angle)
    return {"w": torch.stack([c * v[0] - s * v[1], s * v[0] + c * v[1]])}


fig = LiveFigure(
    turned,
    controls=[Handle("v", value=(1.0, 0.5), label="the vector v"), Slider("angle", 0.0, 3.0, value=0.5, label="turn")],
    views=[[Panel(Arrow("v"), Arrow("w"), Drag("v"), x=(-2, 2), y=(-2, 2), title="v and w"), Words("w = {w:.3f}.")]],
    name="turned",
    alt="A vector, and the vector turned",
)
fig
"""
FIGURE = ".jp-OutputArea-output .live-figure"


def eventually(what: Callable[[], Any], seconds: float = 10) -> Any:
    """What `what()` is, as soon as it is true."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not come to be so"
        time.sleep(0.05)
    return found


class Notebook:
    """A notebook of one cell, open in JupyterLab, and a second client of its kernel."""

    def __init__(self, page: Any, client: Any):
        self.page, self.client = page, client

    def run(self) -> None:
        """Run the cell as a reader does, and wait for the figure that this run makes."""
        self.page.evaluate(f"document.querySelector('{FIGURE}')?.setAttribute('data-old', '')")
        self.page.evaluate("() => void jupyterapp.commands.execute('notebook:run-all-cells')")
        # Playwright would hold on to an element that it returned, so it returns none.
        ready = f"!document.querySelector('{FIGURE}[data-old]') && Boolean(document.querySelector('{FIGURE} path'))"
        eventually(lambda: self.page.evaluate(ready), 30)

    def python(self, expression: str, before: str = "") -> Any:
        """An expression's value in the kernel, after a statement."""
        reply = self.client.execute(
            before, user_expressions={"it": expression}, store_history=False, reply=True, timeout=20
        )
        found = reply["content"]["user_expressions"]["it"]
        assert found["status"] == "ok", found
        return ast.literal_eval(found["data"]["text/plain"])

    def drawn(self, name: str) -> list[float]:
        """A value as the page has computed it."""
        return self.page.evaluate(f"name => [...document.querySelector('{FIGURE}').figure.value(name)[0]]", name)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a JupyterLab, and a folder with what it works on and what it says of its kernels."""
    home = tmp_path_factory.mktemp("lab")
    for name in ("config/labconfig", "data", "runtime", "work"):
        (home / name).mkdir(parents=True)
    quiet = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (home / "config/labconfig/page_config.json").write_text(json.dumps(quiet), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    command += ["--IdentityProvider.token=", "--ServerApp.port_retries=0", "--LabApp.expose_app_in_browser=True"]
    command += [f"--ServerApp.root_dir={home / 'work'}", "--LabApp.extension_manager=readonly"]
    folders = {f"JUPYTER_{name.upper()}_DIR": str(home / name) for name in ("config", "data", "runtime")}
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(command, env={**os.environ, **folders}, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}/"

    def answers() -> bool:
        assert server.poll() is None, (home / "log").read_text(encoding="utf-8")
        try:
            return bool(urllib.request.urlopen(address + "api", timeout=5).read())
        except OSError:
            return False

    try:
        eventually(answers, 60)
        yield address, home
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="module")
def notebook(lab: tuple[str, Path], browser: Any) -> Iterator[Notebook]:
    """Its cell has been run."""
    address, home = lab
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [nbformat.v4.new_code_cell(CELL)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), home / "work" / "figure.ipynb")
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.goto(address + "doc/tree/figure.ipynb")
    page.get_by_text("| Idle").wait_for(timeout=60_000)
    (connection,) = (home / "runtime").glob("kernel-*.json")
    client = BlockingKernelClient(connection_file=str(connection))
    client.load_connection_file()
    client.start_channels()
    client.wait_for_ready(timeout=20)
    notebook = Notebook(page, client)
    notebook.run()
    yield notebook
    client.stop_channels()
    page.close()


def test_a_drag_moves_the_trait(notebook: Notebook):
    handle = notebook.page.locator(f"{FIGURE} [data-handle=v]")
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    notebook.page.mouse.move(x, y)
    notebook.page.mouse.down()
    for step in range(1, 6):
        notebook.page.mouse.move(x - 10 * step, y - 6 * step)
    notebook.page.mouse.up()
    v = notebook.drawn("v")
    assert v[0] < 0.9 and v[1] > 0.6
    eventually(lambda: notebook.python("fig.v") == v)
    w = notebook.python("fig.values()['w'].tolist()")
    assert max(abs(a - b) for a, b in zip(notebook.drawn("w"), w, strict=True)) <= 1e-15


def test_the_trait_moves_the_figure(notebook: Notebook):
    w = notebook.python("fig.values()['w'].tolist()", "fig.angle = 2.25; fig.v = [0.25, -1.5]")
    eventually(lambda: notebook.drawn("v") == [0.25, -1.5])
    assert notebook.drawn("angle") == [2.25]
    assert notebook.page.locator(f"{FIGURE} input[name=angle]").get_attribute("aria-valuetext").startswith("2.25")
    assert max(abs(a - b) for a, b in zip(notebook.drawn("w"), w, strict=True)) <= 1e-15


@pytest.mark.parametrize("key", ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"])
def test_arrow_keys_reach_the_slider(notebook: Notebook, key: str):
    """A notebook in command mode takes the arrows for itself, wherever the focus is."""
    notebook.python("0", "fig.angle = 1.5")
    eventually(lambda: notebook.drawn("angle") == [1.5])
    notebook.page.locator(f"{FIGURE} input[name=angle]").focus()
    for _ in range(3):
        notebook.page.keyboard.press(key)
    there = notebook.drawn("angle")[0]
    assert there > 1.5 if key in ("ArrowRight", "ArrowUp") else there < 1.5
    eventually(lambda: notebook.python("fig.angle") == there)
    assert notebook.page.evaluate(f"document.activeElement.closest('{FIGURE}') !== null")


def test_arrow_keys_reach_the_handle(notebook: Notebook):
    notebook.python("0", "fig.v = [0.5, 0.5]")
    eventually(lambda: notebook.drawn("v") == [0.5, 0.5])
    notebook.page.locator(f"{FIGURE} [data-handle=v]").focus()
    notebook.page.keyboard.press("ArrowRight")
    notebook.page.keyboard.press("ArrowDown")
    there = notebook.drawn("v")
    assert there[0] > 0.5 > there[1]
    eventually(lambda: notebook.python("fig.v") == there)


def test_link_and_observe(notebook: Notebook):
    link = "import ipywidgets; seen = []; other = ipywidgets.FloatSlider(max=3.0)"
    notebook.python(
        "0", f"{link}; ipywidgets.link((fig, 'angle'), (other, 'value')); fig.observe(seen.append, 'angle')"
    )
    notebook.python("0", "other.value = 0.75")
    eventually(lambda: notebook.drawn("angle") == [0.75])
    notebook.page.evaluate(f"document.querySelector('{FIGURE}').figure.set('angle', 2.5)")
    eventually(lambda: notebook.python("other.value == 2.5 == seen[-1]['new']"))


def counted(notebook: Notebook) -> dict[str, int]:
    """What the page holds, after its garbage is collected; and the widgets that Python keeps."""
    session = notebook.page.context.new_cdp_session(notebook.page)
    session.send("Performance.enable")
    for _ in range(3):
        session.send("HeapProfiler.collectGarbage")
    metrics = {m["name"]: int(m["value"]) for m in session.send("Performance.getMetrics")["metrics"]}
    session.detach()
    widgets = notebook.python("len(ipywidgets.widgets.widget._instances)", "import ipywidgets")
    return {"nodes": metrics["Nodes"], "listeners": metrics["JSEventListeners"], "widgets": widgets}


def test_running_the_cell_again_leaks_nothing(notebook: Notebook):
    """A figure has some fifty elements and a dozen listeners. JupyterLab itself keeps two of each a run.

    Once, and at no fixed time, it adds some 120 listeners of its own, beside a widget that does nothing too. So what is
    looked at is the round of ten runs in which least was kept: a leak of ours would be in every round.

    The page's heap grows by some 0.3 MB a run all the same, and nothing of ours is in it: a browser keeps the text and
    the code of every module that it has loaded, and anywidget loads the widget's module anew in each run. Snapshots of
    the heap, ten runs apart: ten JSModuleScripts, ten times the text of the module, its compiled code, no elements.
    With a widget that does nothing a run costs 0.14 MB if its module has 49 kB, and 0.07 MB if it is empty.
    """
    notebook.run()
    notebook.run()
    counts = [counted(notebook)]
    for _ in range(3):
        for _ in range(10):
            notebook.run()
        counts.append(counted(notebook))
    grown = {key: [after[key] - before[key] for before, after in pairwise(counts)] for key in counts[0]}
    assert min(grown["nodes"]) < 10 * 5 and min(grown["listeners"]) < 10 * 5, grown
    assert grown["widgets"] == [0, 0, 0]
    assert len(notebook.page.query_selector_all(FIGURE)) == 1
