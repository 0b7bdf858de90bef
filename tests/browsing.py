"""What the tests of built pages share: the site, a browser, a server below a sub-path, pages that keep their faults.

tests/conftest.py hands the fixtures to every test module. Several workers may ask for the site at once.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from bs4 import BeautifulSoup

ROOT = Path(__file__).parent.parent
HTML = ROOT / "_build" / "html"
AXE = ROOT / "book/node_modules/axe-core/axe.min.js"
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
PAGES = [TOC["root"], *(chapter["file"] for chapter in TOC["chapters"])]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def system_browser() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    return next(filter(None, map(shutil.which, names)), None)


def find_browser() -> str | None:
    """The system's Chromium or Chrome, else the system's package, else Playwright's own download."""
    if found := system_browser():
        return found
    if hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"], capture_output=True)
        if found := system_browser():
            return found
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    if not Path(own).exists():
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], capture_output=True)
    return own if Path(own).exists() else None


def run_book() -> None:
    done = subprocess.run([sys.executable, "book/build.py", "book"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.fail(f"the book was not built:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")


@pytest.fixture(scope="session")
def site() -> Path:
    """The built book. Of the workers of one run the first builds it; the others wait, and use what it built.

    For whoever works on the tests, SITE_AS_BUILT=1 takes what stands in _build, and SITE_AS_BUILT=FOLDER a copy of it.
    """
    if as_built := os.environ.get("SITE_AS_BUILT"):
        return HTML if as_built == "1" else Path(as_built).resolve()
    if run := os.environ.get("PYTEST_XDIST_TESTRUNUID"):
        sys.path.insert(0, str(ROOT / "book"))
        from environment import CACHE, locked

        with locked("site-under-test"):
            stamp = CACHE / "site-under-test"
            if not stamp.exists() or stamp.read_text(encoding="utf-8") != run:
                run_book()
                stamp.write_text(run, encoding="utf-8")
    else:
        run_book()
    return HTML


@lru_cache
def executable() -> str | None:
    return find_browser()


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Chromium. A module's own: while Playwright holds this thread's event loop, notebooks should not run in it."""
    if executable() is None:
        say = "No Chromium or Chrome here, and none could be fetched: install one, then run make test again."
        pytest.fail(say) if os.environ.get("CI") else pytest.skip(say)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(site: Path) -> Iterator[str]:
    """The book below a sub-path, with its 404 page, as Pages serves it."""

    class Handler(SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            path = urlsplit(path).path
            inside = path.removeprefix("/some/book/") if path.startswith("/some/book/") else "outside the book"
            return super().translate_path("/" + inside)

        def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
            body = (site / "404.html").read_bytes()
            self.send_response(code)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site)))
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}/some/book/"
    http.shutdown()
    http.server_close()


def opened(browser, address: str, width: int = 1280, theme: str = "light", script: bool = True, **more):
    """The page in a context of its own, typeset; `page.complaints` has what it complained of and asked elsewhere.

    `more` goes to Playwright's new_context (has_touch=True, say).
    """
    viewport = {"width": width, "height": 900}
    options = {"viewport": viewport, "color_scheme": theme, "java_script_enabled": script, "reduced_motion": "reduce"}
    context = browser.new_context(**{**options, **more})
    page = context.new_page()
    page.complaints, page.fresh = [], True
    page.on("console", lambda said: said.type in ("error", "warning") and page.complaints.append(complaint(said)))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("requestfailed", lambda request: cut_off(request) or page.complaints.append(failure(request)))
    here = ("data:", "blob:", "file:" if address.startswith("file:") else "/".join(address.split("/")[:3]))
    page.on("request", lambda request: request.url.startswith(here) or page.complaints.append(f"asks {request.url}"))
    page.goto(address)
    if script:
        typeset(page)
    return page


def cut_off(request) -> bool:
    """Whether it ended because the test went on to another page: an icon is asked for after all else, say."""
    return request.failure == "net::ERR_ABORTED"


def failure(request) -> str:
    return f"failed: {request.url} ({request.failure})"


def complaint(said) -> str:
    """An error or warning of the page's console, and what it is about: the file that was not found, say."""
    return f"{said.text} [{said.location['url']}:{said.location['lineNumber']}]"


def visit(page, address: str, width: int = 1280, theme: str = "light"):
    """The page in a window that is open already, which is cheaper; as `opened` shows it, whatever was done before.

    After the first page what it still asks for is waited for, which may be an icon: a request that ends later would be
    taken for this page's. The book's own pages have their icons, so after them there is nothing to wait for.
    """
    if page.fresh:
        page.wait_for_load_state("networkidle")
    page.fresh = False
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(media="screen", color_scheme=theme)
    page.complaints.clear()
    page.goto(address)
    typeset(page)
    return page


def typeset(page) -> None:
    """Wait until the page is loaded, its formulas are set and its faces are there."""
    page.wait_for_load_state("load")
    page.evaluate("window.MathJax?.startup?.promise")
    page.evaluate("document.fonts.ready.then(() => {})")


def until(page, expression: str, argument: object = None, seconds: float = 30) -> None:
    """Wait until it is true. What happens a moment later is waited for by this, never by a number of milliseconds.

    (The page's policy lets Playwright ask once, and with a string poll never.)
    """
    end = time.monotonic() + seconds
    while not page.evaluate(expression, argument):
        assert time.monotonic() < end, f"it did not come to be so: {expression}"
        page.wait_for_timeout(20)


SETTLED = """async () => {
    const frame = () => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
    await frame();
    await document.fonts.ready;
    await Promise.allSettled(document.getAnimations().map(one => one.finished));
    await frame();
}"""


def settled(page) -> None:
    """Wait until what was changed has been drawn: observers have been told, faces are there, no colour still fades."""
    page.evaluate(SETTLED)


UNREACHABLE = """[...document.querySelectorAll('article *')].filter(e => {
    const way = getComputedStyle(e).overflowX;
    return (way == 'auto' || way == 'scroll') && e.scrollWidth > e.clientWidth + 1 && e.checkVisibility()
        && e.tabIndex < 0 && !e.querySelector('a, button, input, [tabindex]')
}).map(e => e.outerHTML.slice(0, 120))"""


def reachable(page) -> None:
    """Wait until all that is too wide can be scrolled by keyboard. (The theme looks a moment after a change.)"""
    settled(page)
    until(page, f"{UNREACHABLE}.length === 0")


# What may change with the colours alone. (A formula's own text is clipped away; what is seen is drawn in glyphs.)
COLOURS = ["color-contrast", "link-in-text-block"]  # the rules that another theme may break


def axe(
    page, left_out: Sequence[str] = (), among: str = "html", only: Sequence[str] = ()
) -> list[tuple[str, list[str]]]:
    """What axe-core finds wrong with the page as it stands: pairs of a rule and the elements that break it."""
    if not page.evaluate("Boolean(window.axe)"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    options: dict[str, Any] = {"iframes": False, "preload": False, "resultTypes": ["violations"]}
    if only:
        options["runOnly"] = list(only)
    context = {"exclude": list(left_out)} if left_out else {"include": [among]}
    found = page.evaluate("([context, options]) => axe.run(context, options)", [context, options])["violations"]
    return [(v["id"], [node["html"][:160] for node in v["nodes"][:4]]) for v in found]


def show_in(page, theme: str, width: int | None = None) -> None:
    """The open page in this theme, and at this width."""
    if width:
        page.set_viewport_size({"width": width, "height": 900})
    page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    settled(page)


def open_folds(page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    page.evaluate("dispatchEvent(new Event('resize'))")


@lru_cache(maxsize=64)
def soup(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
