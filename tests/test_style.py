"""The palette: colours that stay apart, a band and a line that can be told from each other and from the paper."""

import ast
import itertools
from pathlib import Path

import pytest

from kfac_lite import style


def luminance(colour: str) -> float:
    """Relative luminance as the WCAG define it."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


NAMES = [*style.COLOURS, "another"]


@pytest.mark.parametrize("theme", style.INKS)
@pytest.mark.parametrize("name", NAMES)
def test_the_line_reads_on_the_band_and_on_the_paper(name: str, theme: str):
    paper, band, line = style.INKS[theme]["paper"], style.band(name, theme), style.line(name, theme)
    assert contrast(line, paper) >= 4.5
    assert contrast(line, band) >= 3
    assert 1.3 <= contrast(band, paper) < contrast(line, paper)


@pytest.mark.parametrize("theme", style.INKS)
def test_words_read_on_the_paper(theme: str):
    inks = style.INKS[theme]
    assert contrast(inks["ink"], inks["paper"]) >= 7
    assert contrast(inks["soft"], inks["paper"]) >= 4.5
    assert contrast(style.PICTURE_INK, style.INKS["light"]["paper"]) >= 7


def inverted(colour: str) -> str:
    """What the dark theme's filter, invert(1) hue-rotate(180deg), makes of a grey: the hue has nothing to turn."""
    return "#" + "".join(f"{255 - int(colour[i : i + 2], 16):02x}" for i in (1, 3, 5))


def test_words_of_a_picture_read_in_the_dark_theme():
    assert contrast(inverted(style.PICTURE_INK), style.INKS["dark"]["paper"]) >= 7


def test_every_optimizer_has_its_own_colour():
    for one, other in itertools.combinations(NAMES, 2):
        assert style.line(one) != style.line(other)
        assert style.band(one) != style.band(other)


def test_mixing():
    assert style.mix("#ff0000", "#0000ff", 1.0) == "#ff0000"
    assert style.mix("#ff0000", "#0000ff", 0.0) == "#0000ff"
    assert style.mix("#000000", "#ffffff", 0.5) == "#808080"


def test_the_words_are_ten_pixels_high_on_a_phone():
    """A phone 390 wide leaves 350 for a picture."""
    sizes = [value for key, value in style.RC.items() if key.endswith("size") and value > 1]
    assert min(sizes) * 350 / (72 * style.WIDTH) >= 9.5


def test_style_imports_nothing():
    assert style.__file__
    tree = ast.parse(Path(style.__file__).read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def test_matplotlib_takes_every_setting():
    import matplotlib

    with matplotlib.rc_context(style.RC):
        assert matplotlib.rcParams["figure.dpi"] == style.DPI
