"""The built book in a browser: every page, from a file and below a sub-path, wide and narrow, light and dark."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
import yaml
from bs4 import BeautifulSoup

pytestmark = [pytest.mark.no_gauge, pytest.mark.slow]

ROOT = Path(__file__).parent.parent
HTML = ROOT / "_build" / "html"
AXE = ROOT / "book/node_modules/axe-core/axe.min.js"
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
PAGES = [TOC["root"], *(chapter["file"] for chapter in TOC["chapters"])]
WIDTHS = (1280, 390)
THEMES = ("light", "dark")
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


@pytest.fixture(scope="module")
def site() -> Path:
    subprocess.run([sys.executable, "book/build.py", "book"], cwd=ROOT, check=True, capture_output=True)
    return HTML


@pytest.fixture(scope="module")
def browser(site: Path) -> Iterator:
    executable = find_browser()
    if executable is None:
        say = "No Chromium or Chrome here, and none could be fetched: install one, then run make test again."
        pytest.fail(say) if os.environ.get("CI") else pytest.skip(say)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
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


def opened(browser, address: str, width: int = 1280, theme: str = "light", script: bool = True):
    """The page, ready, with what it complained about and what it asked elsewhere in `page.complaints`."""
    viewport = {"width": width, "height": 900}
    context = browser.new_context(
        viewport=viewport, color_scheme=theme, java_script_enabled=script, reduced_motion="reduce"
    )
    page = context.new_page()
    page.complaints = []
    page.on("console", lambda message: message.type in ("error", "warning") and page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("requestfailed", lambda request: page.complaints.append(f"failed: {request.url}"))
    here = ("data:", "blob:", "file:" if address.startswith("file:") else "/".join(address.split("/")[:3]))
    page.on("request", lambda request: request.url.startswith(here) or page.complaints.append(f"asks {request.url}"))
    page.goto(address)
    if script:
        page.wait_for_function("!window.MathJax?.startup || document.readyState == 'complete'")
        page.evaluate("window.MathJax?.startup?.promise")
    return page


def soup(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


# -- what the files hold


@pytest.mark.parametrize("name", PAGES)
def test_ids_are_single_and_no_title_holds_tex(site: Path, name: str):
    page = soup(site / f"{name}.html")
    ids = [element["id"] for element in page.select("[id]")]
    assert sorted(ids) == sorted(set(ids))
    titles = page.select("title, h1, h2, h3, nav a, .prev-next-area")
    assert not [title for title in titles if re.search(r"\\[a-zA-Z(\[]|\$", title.get_text())]
    for image in page.select("article img"):
        assert image.get("alt") and not str(image["alt"]).endswith(".png"), image


def test_every_link_and_anchor_leads_somewhere(site: Path):
    ids: dict[Path, set] = {}
    broken = []
    for path in sorted(site.rglob("*.html")):
        for link in soup(path).select("a[href]"):
            target = urljoin(path.as_uri(), str(link["href"]))
            if not target.startswith("file:"):
                broken.append((path.name, target)) if not target.startswith(("https://", "mailto:")) else None
                continue
            file, anchor = urldefrag(target)
            there = Path(unquote(urlsplit(file).path))
            if not there.is_file():
                broken.append((path.name, target))
            elif anchor and there.suffix == ".html":
                known = ids.setdefault(there, {str(element["id"]) for element in soup(there).select("[id]")})
                if unquote(anchor) not in known:
                    broken.append((path.name, target))
    assert not broken


def test_no_page_names_a_remote_script_style_or_picture(site: Path):
    for path in site.rglob("*.html"):
        page = soup(path)
        for element in page.select("script[src], link[href], img[src], iframe[src]"):
            address = str(element.get("src") or element.get("href"))
            assert "//" not in address, (path.name, address)
        if page.select("article"):
            assert page.select('meta[http-equiv="Content-Security-Policy"]'), path.name
            assert "require.min.js" not in str(page) and "thebe" not in str(page).lower()
    assert (site / "_static/scripts/fontawesome.js").stat().st_size < 25_000


# -- what a reader meets


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_everywhere(browser, site: Path, server: str, name: str):
    """From a file and below a sub-path: no outside request, no complaint, no TeX, no sideways scroll, axe clean."""
    for width in WIDTHS:
        for theme in THEMES:
            base = server if (width, theme) == (1280, "light") else f"{site.as_uri()}/"
            page = opened(browser, f"{base}{name}.html", width, theme)
            text = page.evaluate("document.querySelector('article').innerText")
            prose = page.evaluate(
                "[...document.querySelectorAll('article :is(p, li, h1, h2, h3, summary)')]"
                ".filter(e => !e.closest('pre, code')).map(e => { const c = e.cloneNode(true);"
                " c.querySelectorAll('pre, code, mjx-container').forEach(x => x.remove()); return c.textContent })"
            )
            assert text.strip()
            assert not [piece for piece in prose if re.search(r"\\\(|\\\[|\\[a-z]{3,}|\$", piece)]
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
            page.evaluate("dispatchEvent(new Event('resize'))")
            page.evaluate(AXE.read_text(encoding="utf-8"))
            found = page.evaluate("axe.run({iframes: false, preload: false})")["violations"]
            said = [(v["id"], [node["html"][:160] for node in v["nodes"][:4]]) for v in found]
            assert not said, (width, theme, json.dumps(said, indent=1))
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.complaints == [], (width, theme)
            page.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_folds_open_by_mouse_and_keyboard(browser, site: Path, name: str):
    page = opened(browser, f"{site.as_uri()}/{name}.html")
    arrow = "folds => folds.map(f => getComputedStyle(f.querySelector('summary'), '::before').content)"
    assert set(page.eval_on_selector_all("article details", arrow)) <= {'""'}  # each shows that it can be opened
    for fold in page.locator("article details:visible").all()[:3]:
        before = fold.evaluate("fold => fold.open")
        fold.locator("> summary").click(position={"x": 10, "y": 10})
        assert fold.evaluate("fold => fold.open") is not before
        fold.locator("> summary").press("Enter")
        assert fold.evaluate("fold => fold.open") is before
        fold.locator("> summary").press("Space")
        assert fold.evaluate("fold => fold.open") is not before
    solutions = page.locator("details.solution")
    assert not [solution for solution in solutions.all() if solution.evaluate("fold => fold.open")]
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("article details:not([open])").count() == 0
    assert not page.locator(".bd-sidebar-primary").is_visible()
    page.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_deep_link_opens_the_fold_that_it_points_into(browser, site: Path, name: str):
    inside = soup(site / f"{name}.html").select("details [id], details[id]")
    for element in [*inside[:1], *inside[-1:]]:
        page = opened(browser, f"{site.as_uri()}/{name}.html#{element['id']}")
        page.wait_for_function("id => document.getElementById(id).checkVisibility()", arg=element["id"])
        assert page.evaluate("id => document.getElementById(id).closest('details').open", element["id"])
        page.context.close()


@pytest.mark.parametrize("theme", THEMES)
def test_hover_cards_are_readable_and_closable(browser, site: Path, theme: str):
    page = opened(browser, f"{site.as_uri()}/chapters/1-introduction.html", theme=theme)
    link = page.locator("article a.reference.internal[href$='#thm-3-1']").first
    assert link.inner_text() == "Theorem 3.1"
    link.evaluate(
        "link => { for (let f = link.closest('details'); f; f = f.parentElement.closest('details')) f.open = true }"
    )
    link.scroll_into_view_if_needed()
    link.focus()
    card = page.locator(".tippy-box")
    card.wait_for()
    assert "Theorem 3.1" in card.inner_text() and "\\(" not in card.inner_text()
    paper, ink = card.evaluate("card => [getComputedStyle(card).backgroundColor, getComputedStyle(card).color]")
    assert (paper, ink) == {
        "light": ("rgb(255, 255, 255)", "rgb(28, 33, 39)"),
        "dark": ("rgb(20, 24, 29)", "rgb(230, 233, 236)"),
    }[theme]
    page.keyboard.press("Escape")
    card.wait_for(state="hidden")
    assert link.evaluate("link => document.activeElement === link")
    assert page.complaints == []
    page.context.close()


@pytest.mark.parametrize("query", ["Theorem 3.1", "Ω", "K-FAC", "natural gradient"])
def test_search_finds(browser, site: Path, server: str, query: str):
    for base in (server, f"{site.as_uri()}/"):
        page = opened(browser, f"{base}search.html?q={query}")
        page.wait_for_function(
            "document.querySelector('#search-results p.search-summary')?.innerText.match(/\\d+ page|found/)"
        )
        page.wait_for_timeout(300)
        found = page.locator("#search-results ul.search li").all_inner_texts()
        assert found, query
        if query == "Theorem 3.1":
            assert page.locator("#search-results ul.search a[href*='3-2-optimization.html#thm-3-1']").count()
        assert not [one for one in found if re.search(r"\\\(|\\[a-z]{3,}", one)], found
        assert page.complaints == []
        page.context.close()


def test_there_is_one_search_box(site: Path):
    for name in PAGES:
        assert len(soup(site / f"{name}.html").select(".search-button-field")) == 1


def test_a_lost_address_leads_home(browser, server: str):
    page = opened(browser, f"{server}chapters/no/such/page.html")
    page.wait_for_function("root => document.getElementById('home').href === root + 'index.html'", arg=server)
    page.context.close()


def test_without_scripts_the_text_and_its_folds_are_there(browser, site: Path):
    page = opened(browser, f"{site.as_uri()}/chapters/3-2-optimization.html", script=False)
    assert page.locator("article h1").inner_text().startswith("3.2 Optimization")
    page.context.close()
