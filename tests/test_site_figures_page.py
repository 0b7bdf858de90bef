"""The two figures of the page about the figures: your browser's slope is torch's, and a singular matrix is said."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.func import grad

from .browsing import opened, show_in, until

pytestmark = [pytest.mark.no_gauge, pytest.mark.slow]


@pytest.fixture(scope="module")
def page(site: Path, browser: Any) -> Iterator[Any]:
    page = opened(browser, (site / "chapters" / "how-the-figures-work.html").as_uri())
    yield page
    assert not page.complaints
    page.context.close()


def drawn(page: Any, figure: str, name: str) -> list[float]:
    find = "([figure, name]) => [...document.querySelector(`[data-name=${figure}]`).figure.value(name)[0]]"
    return page.evaluate(find, [figure, name])


def test_the_browser_s_slope_is_torch_s(page: Any):
    for key in ("ArrowRight", "PageDown", "End", "Home"):
        page.locator("[data-name=slope] input[name=x]").press(key)
        page.locator("[data-name=slope] input[name=weight]").press(key)
        (x,), (weight,) = drawn(page, "slope", "x"), drawn(page, "slope", "weight")
        wanted = grad(lambda x, weight=weight: torch.tanh(weight * x - 0.3))(torch.tensor(x, dtype=torch.float64))
        assert drawn(page, "slope", "slope")[0] == pytest.approx(float(wanted), rel=1e-12)


def test_a_singular_matrix_is_said_and_the_figure_goes_on(page: Any):
    figure, slider = page.locator("[data-name=singular]"), page.locator("[data-name=singular] input[name=s]")
    words = figure.locator(".live-fault")
    slider.press("Home")
    for n in range(1, 6):
        slider.press("ArrowRight")
        (s,) = drawn(page, "singular", "s")
        assert s == pytest.approx(n / 4)
        assert slider.input_value() == str(n) and slider.get_attribute("aria-valuetext") == f"{s:.2f}"
        # It stands in a sentence, and waits for its turn.
        until(page, f"document.querySelector('[data-name=singular] [data-of=s]').textContent === '{s:.2f}'")
        assert ("faulty" in figure.get_attribute("class")) == (n == 4)
        if n == 4:
            assert "linalg.solve meets a matrix that cannot be inverted (cell line" in words.text_content()
            assert "in `solved`: return" in words.text_content()
        else:
            assert not words.text_content()
            M = torch.tensor([[1, s], [s, 1]], dtype=torch.float64)
            x = torch.linalg.solve(M, torch.tensor([1, 0.5], dtype=torch.float64))
            assert drawn(page, "singular", "x") == pytest.approx(x.tolist(), rel=1e-12)


def test_a_heat_map_takes_the_ink_of_the_theme(site: Path, browser: Any):
    """It is drawn when what it shows has changed, and when the theme has."""
    tab = opened(browser, (site / "chapters" / "3-5-k-fac-metric.html").as_uri())
    ink = """() => {
      const canvas = document.querySelector("canvas.live-heat"), at = [0, 0, canvas.width, canvas.height];
      const pixels = canvas.getContext("2d").getImageData(...at).data, full = [];
      for (let i = 0; i < pixels.length; i += 4) if (pixels[i + 3] > 200) full.push(pixels[i]);
      return full.reduce((sum, red) => sum + red, 0) / full.length;
    }"""
    show_in(tab, "light")
    assert tab.evaluate(ink) < 80
    show_in(tab, "dark")
    assert tab.evaluate(ink) > 180
    tab.context.close()
