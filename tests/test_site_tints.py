"""One symbol, one tint: its places in formulas, code and figures light up together, and at rest nothing is coloured."""

import colorsys
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kfac_lite import style

from .browsing import ROOT, axe, opened, show_in, until, visit
from .test_style import contrast

pytestmark = [pytest.mark.no_gauge]

SHEET = (ROOT / "book" / "static" / "tints.css").read_text(encoding="utf-8")
HUES = {name: int(hue) for name, hue in re.findall(r'\[data-tint="(\w+)"\] \{ --hue: (\d+); \}', SHEET)}
SHADES = re.findall(r"--(tint|tint-edge): hsl\(var\(--hue\) (\d+)% (\d+)%\)", SHEET)


def shade(hue: int, saturation: str, lightness: str) -> str:
    channels = colorsys.hls_to_rgb(hue / 360, int(lightness) / 100, int(saturation) / 100)
    return "#" + "".join(f"{round(255 * c):02x}" for c in channels)


def test_each_symbol_has_a_tint_of_its_own():
    assert list(HUES) == ["Omega", "gamma", "Phi", "tau", "W", "A", "G", "gap"]
    assert min(abs(a - b) for a in HUES.values() for b in HUES.values() if a != b) >= 30
    assert [name for name, *_ in SHADES] == ["tint", "tint-edge"] * 2


@pytest.mark.parametrize("name", HUES)
@pytest.mark.parametrize("theme", style.INKS)
def test_what_is_lit_can_be_read_and_its_edge_be_seen(theme: str, name: str):
    shades = SHADES[:2] if theme == "light" else SHADES[2:]
    tint, edge = (shade(HUES[name], *numbers) for _, *numbers in shades)
    inks = style.INKS[theme]
    assert contrast(inks["ink"], tint) >= 4.5
    assert contrast(edge, inks["paper"]) >= 3 and contrast(edge, tint) >= 3


class Lit:
    """A page of the book on which symbols can be lit."""

    def __init__(self, tab: Any):
        self.tab = tab

    def name(self) -> str | None:
        return self.tab.evaluate("document.documentElement.dataset.tint ?? null")

    def becomes(self, name: str | None) -> None:
        until(self.tab, f"(document.documentElement.dataset.tint ?? null) === {'null' if name is None else repr(name)}")

    def count(self, inside: str) -> int:
        return self.tab.locator(f"{inside} .tinted").count()

    def point(self, selector: str) -> None:
        place = self.tab.locator(selector).first
        place.scroll_into_view_if_needed()
        place.hover()


@pytest.fixture(scope="module")
def lit(browser: Any, site: Path) -> Iterator[Lit]:
    tab = opened(browser, f"{site.as_uri()}/chapters/3-1-coordinate-free-multilayer-perceptrons.html")
    until(tab, "document.querySelector('.notation-opener') !== null")
    tab.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
    yield Lit(tab)
    assert tab.complaints == []
    tab.context.close()


def number(tab: Any, name: str) -> int:
    return tab.evaluate("name => notation.cards.findIndex(card => card.name === name)", name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Omega", "gamma", "Phi", "tau"])
def test_pointing_at_a_symbol_of_equation_3_3_lights_its_places(lit: Lit, name: str):
    tab = lit.tab
    assert lit.name() is None and lit.count("article") == 0  # at rest the page is ink on paper
    lit.point(f"#equation-eq-3-3 .notation-{number(tab, name)}")
    lit.becomes(name)
    for equation in ("#equation-eq-3-3", "#equation-eq-3-4"):
        assert lit.count(equation) >= 1
    words = tab.locator(".cell_input .tinted").all_inner_texts()
    assert words and {word.partition("_")[0] for word in words} == {name}
    look = "word => getComputedStyle(word).backgroundColor"
    assert tab.locator(".cell_input .tinted").first.evaluate(look) != "rgba(0, 0, 0, 0)"
    handles = tab.locator(".live-figure .handle.tinted").evaluate_all("all => all.map(h => h.dataset.handle)")
    assert (
        handles
        == {
            "Omega": ["alpha-1", "alpha-2"],
            "gamma": ["alpha-0"],
            "Phi": ["zeta-1", "zeta-2"],
            "tau": ["zeta-0"],
        }[name]
    )
    shown = tab.locator("#equation-eq-3-3 .tinted").first.evaluate(
        "place => { const look = getComputedStyle(place); return [look.backgroundColor, look.boxShadow]; }"
    )
    assert shown[0] not in ("rgba(0, 0, 0, 0)", "rgb(255, 255, 255)") and shown[1] != "none"  # never colour alone
    tab.mouse.move(2, 2)
    lit.becomes(None)
    assert lit.count("article") == 0


@pytest.mark.slow
def test_a_word_of_code_lights_the_equations(lit: Lit):
    lit.point('.cell_input .tint-word[data-tint="gamma"]')
    lit.becomes("gamma")
    assert lit.count("#equation-eq-3-3") >= 1 and lit.count("#equation-eq-3-4") >= 1
    lit.point('.cell_input .tint-word[data-tint="W"]')
    lit.becomes("W")
    assert lit.count("#equation-eq-3-3") >= 1
    lit.tab.mouse.move(2, 2)
    lit.becomes(None)


@pytest.mark.slow
def test_the_keyboard_lights_symbols_by_the_list_and_by_handles_and_adds_no_stop(lit: Lit):
    tab = lit.tab
    assert tab.locator(".tint-word[tabindex], .notation[tabindex]").count() == 0
    tab.evaluate(
        "document.querySelector('#equation-eq-3-3').closest('section').querySelector('.notation-opener').focus()"
    )
    tab.keyboard.press("Enter")
    seen = set()
    for _ in range(30):
        seen.add(lit.name())
        tab.keyboard.press("ArrowDown")
    assert {"Omega", "gamma", "Phi", "tau", "W"} <= seen
    tab.keyboard.press("Escape")
    lit.becomes(None)
    ask = tab.locator(".live-figure[data-name=renaming]").get_by_role("button", name="without a guess")
    ask.focus()
    tab.keyboard.press("Enter")
    while not tab.evaluate("document.activeElement.matches('[data-handle=zeta-0]')"):
        tab.keyboard.press("Tab")
    lit.becomes("tau")
    assert lit.count("#equation-eq-3-4") >= 1
    tab.keyboard.press("Tab")
    lit.becomes("Phi")


# Of each chapter: where a symbol's places are, in formulas (by the labels of equations; "" for those without a number),
# in words of code, and in figures by their names. Where the letters mean something else they do not light.
PLACES: dict[str, dict[str, tuple[set[str], set[str], set[str]]]] = {
    "1-introduction": {
        "A": ({""}, {"A"}, set()),
        "G": ({""}, {"G"}, set()),
        "gap": (set(), {"gap", "gaps"}, {"units"}),
    },
    "2-1-natural-gradient-and-k-fac": {
        "Omega": ({"2-11"}, {"Omega"}, set()),
        "gamma": ({"2-11"}, {"gamma"}, set()),
        "Phi": ({"2-11"}, {"Phi"}, set()),
        "tau": ({"2-11"}, {"tau"}, set()),
        "W": ({"2-7", "2-11"}, {"W"}, set()),
        "A": ({"2-8", "2-9"}, {"A"}, set()),
        "G": ({"2-8", "2-9"}, {"G"}, set()),
        "gap": (set(), {"gap", "gaps"}, {"rulers"}),
    },
    "3-1-coordinate-free-multilayer-perceptrons": {
        "Omega": ({"3-3", "3-4", ""}, {"Omega"}, {"renaming"}),
        "tau": ({"3-3", "3-4", ""}, {"tau"}, {"renaming"}),
        "W": ({"3-2", "3-3", ""}, {"W", "W1", "W2"}, {"renaming"}),
    },
    "3-2-optimization": {
        "Omega": (set(), {"Omega"}, {"damping", "equal"}),
        "gamma": (set(), {"gamma"}, {"damping", "equal"}),
        "gap": ({""}, {"gap", "gaps"}, {"damping"}),
    },
    "3-4-independence-metric": {
        "A": ({""}, {"A"}, set()),
        "G": ({""}, {"G"}, set()),
    },
    "3-5-k-fac-metric": {
        "Omega": ({""}, {"Omega"}, set()),
        "Phi": ({""}, {"Phi"}, set()),
        "A": ({""}, {"A"}, set()),
        "G": ({""}, {"G"}, set()),
        "gap": (set(), {"gap", "gaps"}, {"whitening"}),
    },
    "4-convolutional-networks": {
        "Omega": ({""}, {"Omega"}, set()),
        "gamma": ({""}, {"gamma"}, set()),
        "Phi": ({"4-4"}, set(), set()),
        "tau": ({"4-4"}, set(), set()),
        "W": ({"4-2", "4-3", "4-4"}, {"W"}, set()),
        "gap": (set(), {"gap", "gaps"}, {"border"}),
    },
    "5-recurrent-networks": {
        "Omega": (set(), {"Omega"}, {"lengths"}),
        "gamma": (set(), {"gamma"}, {"lengths"}),
        "W": ({"5-1", "5-2", "5-3", "5-4", ""}, {"W"}, set()),
        "gap": (set(), {"gap", "gaps"}, {"lengths"}),
    },
}
LIT = """() => {
    const all = (selector, tell) => [...new Set([...document.querySelectorAll(selector)].map(tell))];
    return [
        all("article div.math .tinted", e => e.closest("div.math").id.replace("equation-eq-", "")),
        all(".cell_input .tinted", e => e.textContent.replace(/_\\d$/, "")),
        all(".live-figure .tinted", e => e.closest(".live-figure").dataset.name),
    ];
}"""


@pytest.fixture(scope="module")
def window(browser: Any, site: Path) -> Iterator[Any]:
    window = opened(browser, f"{site.as_uri()}/404.html")
    yield window
    window.context.close()


@pytest.fixture(scope="module", params=PLACES)
def chapter(request: pytest.FixtureRequest, window: Any, site: Path) -> tuple[str, Lit]:
    """Each chapter is opened once, with its questions answered, so that its figures stand as they will be read."""
    tab = visit(window, f"{site.as_uri()}/chapters/{request.param}.html")
    until(tab, "window.tints !== undefined && document.querySelector('.notation-opener') !== null")
    answer = "acts => acts.filter(act => /without a guess/.test(act.textContent)).forEach(act => act.click())"
    tab.eval_on_selector_all(".live-act", answer)
    return request.param, Lit(tab)


# Of what is lit: how many have no ground of the tint's, how many parts of figures no halo, and the least contrast.
LOOKS = """() => {
    const light = colour => {
        const linear = x => x <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4;
        const [r, g, b] = colour.match(/[\\d.]+/g).map(x => linear(x / 255));
        return .2126 * r + .7152 * g + .0722 * b;
    };
    const looks = [...document.querySelectorAll("article .tinted")].map(e => [e, getComputedStyle(e)]);
    const words = looks.filter(([e]) => !e.closest("svg"));
    const ratios = words.map(([_, look]) => [light(look.color), light(look.backgroundColor)].sort((a, b) => b - a))
        .map(([bright, dark]) => (bright + .05) / (dark + .05));
    return [
        words.filter(([_, look]) => look.backgroundColor === "rgba(0, 0, 0, 0)" || look.boxShadow === "none").length,
        looks.filter(([e, look]) => e.matches("g:not(.handle)") && look.filter === "none").length,
        Math.min(...ratios),
    ];
}"""


@pytest.mark.slow
def test_in_each_chapter_a_symbol_lights_in_formulas_code_and_figures(chapter: tuple[str, Lit]):
    """In both themes, readable, and never by colour alone."""
    page, lit = chapter
    found = {}
    for name in PLACES[page]:
        lit.tab.evaluate("name => tints.shine(name)", name)
        found[name] = tuple(map(set, lit.tab.evaluate(LIT)))
    for theme in style.INKS:
        show_in(lit.tab, theme)
        for name in PLACES[page]:
            lit.tab.evaluate("name => tints.shine(name)", name)
            bare, flat, least = lit.tab.evaluate(LOOKS)
            assert (bare, flat) == (0, 0) and least >= 4.5, (theme, name)
        assert axe(lit.tab, among=".tinted", only=["color-contrast"]) == []
    show_in(lit.tab, "light")
    lit.tab.evaluate("tints.shine(null)")
    assert found == PLACES[page]


@pytest.mark.slow
def test_in_each_chapter_a_symbol_is_lit_by_pointing_at_its_places(chapter: tuple[str, Lit]):
    page, lit = chapter
    pointed = 0
    for name, (equations, words, figures) in PLACES[page].items():
        places = [f"#equation-eq-{label} .notation-{number(lit.tab, name)}" for label in sorted(equations - {""})[:1]]
        if words:
            places.append(f'.cell_input .tint-word[data-tint="{name}"]')
        if name in ("Omega", "gamma") and figures:  # what moves it; what shows it may be as thin as a line
            places.append(f".live-figure .handle[data-handle={'kappa-1' if name == 'Omega' else 'kappa-0'}]")
        for place in places:
            seen = lit.tab.locator(place).locator("visible=true")
            if not seen.count():  # in a fold
                continue
            lit.tab.mouse.move(2, 2)
            lit.becomes(None)
            seen.first.scroll_into_view_if_needed()
            seen.first.hover()
            lit.becomes(name)
            pointed += 1
    lit.tab.mouse.move(2, 2)
    lit.becomes(None)
    assert pointed >= 2


@pytest.mark.slow
def test_a_chapter_has_nothing_to_complain_of(chapter: tuple[str, Lit]):
    assert chapter[1].tab.complaints == []


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_a_phone_nothing_grows_while_a_symbol_is_lit(browser: Any, site: Path, theme: str):
    address = f"{site.as_uri()}/chapters/3-1-coordinate-free-multilayer-perceptrons.html"
    tab = opened(browser, address, width=390, theme=theme)
    until(tab, "window.tints !== undefined && document.querySelector('.notation-opener') !== null")
    for name in ("Omega", "W"):
        tab.evaluate("name => tints.shine(name)", name)
        assert tab.locator("article .tinted").count() > 5
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert axe(tab, only=["color-contrast"]) == []
    tab.context.close()
