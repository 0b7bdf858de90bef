"""Every page of the book on a phone, below a sub-path, in both themes; its folds by mouse and keys; no scripts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .browsing import COLOURS, PAGES, axe, open_folds, opened, reachable, show_in, soup, visit

pytestmark = [pytest.mark.no_gauge, pytest.mark.slow]


def folds_work(page) -> None:
    """By mouse, Enter and Space (case B1: one that is broken must not switch off the others)."""
    arrow = "folds => folds.map(f => getComputedStyle(f.querySelector('summary'), '::before').content)"
    assert set(page.eval_on_selector_all("article details", arrow)) <= {'""'}  # each shows that it can be opened
    assert page.locator("details.solution[open]").count() == 0
    visible = page.locator("article details:visible").all()
    for fold in dict.fromkeys((*visible[:2], *visible[-1:])):
        before, is_open = fold.evaluate("fold => fold.open"), "fold => fold.open"
        fold.locator("> summary").click(position={"x": 10, "y": 10})
        assert fold.evaluate(is_open) is not before
        fold.locator("> summary").press("Enter")
        assert fold.evaluate(is_open) is before
        fold.locator("> summary").press("Space")
        assert fold.evaluate(is_open) is not before


@pytest.fixture(scope="module")
def window(browser: Any, server: str) -> Iterator[Any]:
    window = opened(browser, f"{server}404.html", width=390, theme="dark")
    yield window
    window.context.close()


@pytest.fixture(scope="module")
def bare(browser: Any, site: Path) -> Iterator[Any]:
    """A window of a browser that runs no scripts."""
    window = opened(browser, f"{site.as_uri()}/404.html", width=390, script=False)
    yield window
    window.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_below_a_sub_path_in_both_themes(window: Any, server: str, name: str):
    page = visit(window, f"{server}{name}.html", width=390, theme="dark")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    folds_work(page)
    open_folds(page)
    reachable(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert axe(page, left_out=["mjx-container"]) == []  # formulas are as at the desk
    show_in(page, "light")
    assert axe(page, left_out=["mjx-container"], only=COLOURS) == []
    assert page.complaints == []


@pytest.mark.parametrize("name", PAGES)
def test_without_scripts_a_page_is_text_with_folds(bare: Any, site: Path, name: str):
    page = bare
    page.goto(f"{site.as_uri()}/{name}.html")
    assert page.locator("article h1").first.is_visible()
    written = len(soup(site / f"{name}.html").select_one("article").get_text(" ", strip=True))  # type: ignore[union-attr]
    assert len(page.locator("article").text_content()) >= 0.9 * written
    for fold in page.locator("article details:visible").all()[:2]:
        before = fold.get_attribute("open")
        fold.locator("> summary").click(position={"x": 10, "y": 10})
        assert (fold.get_attribute("open") is None) is (before is not None)
    for figure in page.locator("article .live-figure").all():
        still = figure.locator("noscript, img, svg").first
        assert still.count()
    assert page.locator(".pst-js-only:visible").count() == 0
