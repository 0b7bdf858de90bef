"""The built book as files: ids, links, titles, what pages load; and, in a browser, its search and its lost page."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, unquote, urldefrag, urljoin, urlsplit

import pytest

from .browsing import PAGES, ROOT, opened, soup, until

pytestmark = [pytest.mark.no_gauge, pytest.mark.slow]


@pytest.mark.parametrize("name", PAGES)
def test_ids_are_single_and_no_title_holds_tex(site: Path, name: str):
    page = soup(site / f"{name}.html")
    ids = [element["id"] for element in page.select("[id]")]
    assert sorted(ids) == sorted(set(ids))
    titles = page.select("title, h1, h2, h3, nav a, .prev-next-area")
    assert not [title for title in titles if re.search(r"\\[a-zA-Z(\[]|\$", title.get_text())]
    for image in page.select("article img"):
        assert image.get("alt") and not str(image["alt"]).endswith(".png"), image


def links(path: Path) -> tuple[set[str], set[str]]:
    """A page's links and ids, by the letters of the file (the source's pages are large, and many)."""
    text = path.read_text(encoding="utf-8")
    ids = set(re.findall(r'<[^<>]*?\sid="([^"]*)"', text))
    return {link.replace("&amp;", "&") for link in re.findall(r'<a [^<>]*?href="([^"]*)"', text)}, ids


def test_every_link_and_anchor_leads_somewhere(site: Path):
    pages = {path: links(path) for path in sorted(site.rglob("*.html"))}
    broken = []
    for path, (hrefs, _) in pages.items():
        for target in (urljoin(path.as_uri(), href) for href in hrefs):
            if not target.startswith("file:"):
                if not target.startswith(("https://", "mailto:")):
                    broken.append((path.name, target))
                continue
            file, anchor = urldefrag(target)
            there = Path(unquote(urlsplit(file).path))
            known = pages.get(there, (set(), set()))[1] if there.is_file() else None
            state = "=1," in anchor  # of a live figure, which its sentence was checked to have on its page
            if known is None or (anchor and not state and there.suffix == ".html" and unquote(anchor) not in known):
                broken.append((path.name, target))
    assert not broken


def test_case_B13_a_page_loads_what_it_asked_for_once_and_nothing_else(site: Path):
    """jupyter-book adds every script below a folder named _static to every page: so there is none in the sources."""
    assert not (ROOT / "_static").exists()
    shared: set[str] = set()
    for path in site.rglob("*.html"):
        page = soup(path) if "source" not in path.parts else None
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|img|iframe)[^<>]*? src="(?:[a-z]+:)?//', text), path.name
        assert not re.findall(r'<link[^<>]*? href="(?:[a-z]+:)?//', text), path.name
        if "<article" in text:
            assert 'http-equiv="Content-Security-Policy"' in text, path.name
        if page is None or not page.select("article"):
            continue
        scripts = [str(script["src"]).split("?")[0] for script in page.select("script[src]")]
        styles = [str(style["href"]).split("?")[0] for style in page.select('link[rel~="stylesheet"]')]
        assert len(set(scripts)) == len(scripts) and len(set(styles)) == len(styles), path.name
        assert not [script for script in scripts if "vendor/" in script], path.name
        assert sum("mathjax" in script for script in scripts) <= 1
        shared |= {Path(script).name for script in scripts if "tippy/" not in script}
        assert "require.min.js" not in str(page) and "thebe" not in str(page).lower()
    assert len(shared) <= 20, shared
    assert (site / "_static/scripts/fontawesome.js").stat().st_size < 25_000


def test_there_is_one_search_box(site: Path):
    for name in PAGES:
        assert len(soup(site / f"{name}.html").select(".search-button-field")) == 1


def test_names_in_code_cells_lead_to_their_definitions(site: Path):
    page = soup(site / "chapters/3-2-optimization.html")
    found = {str(link["href"]) for link in page.select("div.cell_input a")}
    for name in ("bases.html#Parameterization.from_widths", "forms.html#Metric.sharp", "descent.html#KFAC"):
        assert f"../source/kfac_lite.{name}" in found
    assert not list(site.rglob("_downloads/**/*.py"))  # a link to a file of the package leads to its page as well
    definition = soup(site / "source/kfac_lite.descent.html").find(id="KFAC")
    assert definition is not None and definition.get_text().startswith("def KFAC(")


# -- in a browser


ANSWERED = """() => {
    const said = document.querySelector('#search-results p.search-summary');
    return said && /\\d+ page|found|did not/.test(said.innerText);
}"""
EXCERPTS = (
    "() => [...document.querySelectorAll('#search-results ul.search > li')].every(li => li.querySelector('p.context'))"
)


@pytest.fixture(scope="module")
def search(browser, site: Path, server: str) -> Iterator[Callable]:
    """Asks the search page of the book from its file, and below a sub-path; each is one window."""
    windows = {}

    def ask(query: str, from_file: bool = True):
        address = f"{site.as_uri()}/" if from_file else server
        if from_file not in windows:
            windows[from_file] = opened(browser, f"{address}search.html")
        page = windows[from_file]
        page.goto(f"{address}search.html?q={quote(query)}")
        if query:
            until(page, ANSWERED)
        return page

    yield ask
    for page in windows.values():
        page.context.close()


@pytest.mark.parametrize("query", ["Theorem 3.1", "Theorem 3.10", "Ω", "K-FAC", "natural gradient", "Leon", "Léon"])
@pytest.mark.parametrize("from_file", [True, False])
def test_case_B10_search_finds(search: Callable, query: str, from_file: bool):
    page = search(query, from_file)
    if not from_file:
        until(page, EXCERPTS)
    results = page.locator("#search-results ul.search > li")
    found = results.all_inner_texts()
    assert found, query
    places = results.locator("> a").evaluate_all("all => all.map(a => a.href)")
    assert sorted(places) == sorted(set(places))  # one entry a place
    if query == "Theorem 3.1":
        assert page.locator("#search-results ul.search a[href*='3-2-optimization.html#thm-3-1']").count()
    assert not [one for one in found if re.search(r"\\\(|\\[a-z]{3,}", one)], found
    assert page.complaints == []


@pytest.mark.parametrize("query", ["Lukasz", "Łukasz", "ŁUKASZ"])
def test_case_B10_a_name_with_a_stroke_is_found_as_it_is_typed(search: Callable, query: str):
    """The index holds it without the stroke too (test_words_with_accents...); here it is put there by hand."""
    page = search("")
    page.evaluate("() => { Search._index.terms.lukasz = 0; }")
    page.evaluate("query => { Search.performSearch(query); }", query)
    until(page, ANSWERED)
    assert page.locator("#search-results ul.search > li").count() == 1
    assert page.complaints == []


@pytest.mark.parametrize("query", ["", "qwxyz"])
def test_case_B10_search_for_nothing_is_no_error(search: Callable, query: str):
    page = search(query)
    assert page.locator("#search-results ul.search > li").count() == 0
    assert page.complaints == []


@pytest.mark.parametrize("from_file", [True, False])
def test_case_B10_a_word_inside_a_folded_solution_is_found_and_its_fold_opens(search: Callable, from_file: bool):
    page = search("refuted", from_file)
    page.locator("#search-results ul.search a[href*='3-1-coordinate']").first.click()
    page.wait_for_selector("article .highlighted")
    until(page, "document.querySelector('article .highlighted').closest('details.solution').open")
    closed = page.evaluate("[...document.querySelectorAll('details.solution')].filter(fold => !fold.open).length")
    assert closed >= 3  # and no other


def test_a_lost_address_leads_home(browser, server: str):
    page = opened(browser, f"{server}chapters/no/such/page.html")
    page.wait_for_function("root => document.getElementById('home').href === root + 'index.html'", arg=server)
    page.context.close()
