"""One palette, one font and one line scale for every picture in the book, still or moving.

Colour belongs to the optimizers and to nothing else (the Okabe-Ito set, which colour-blind readers can tell apart).
The reference run, in the basis iota, is a wide pale band; a run in another basis kappa is a thin dark line on it, so
that two runs that coincide are seen to be two. Nothing here imports a plotting library: `RC` is a plain dict.
"""

__all__ = ["BAND_WIDTH", "COLOURS", "DPI", "FONT", "GREY", "INKS", "LINE_WIDTH", "RC", "WIDTH", "band", "line", "mix"]

COLOURS = {"SGD": "#d55e00", "K-FAC": "#0072b2", "natural gradient": "#009e73"}
GREY = "#7d8790"  # every other optimizer, until it has a name of its own

INKS = {
    "light": {"paper": "#ffffff", "ink": "#1c2127", "soft": "#59636e", "rule": "#d9dee3", "faint": "#f5f6f8"},
    "dark": {"paper": "#14181d", "ink": "#e6e9ec", "soft": "#9aa4ae", "rule": "#343b43", "faint": "#1b2026"},
}
BAND = {"light": 0.42, "dark": 0.46}  # the share of the optimizer's colour in a band, the rest being paper
LINE = 0.62  # the same in a line, the rest being black on light paper and white on dark

WIDTH = 6.8  # inches of a still picture, which fills the text column of 640 CSS pixels
DPI = 200  # sharp on screens with two dots a pixel
PIXEL = 72 * WIDTH / 640  # points in one CSS pixel there
BAND_WIDTH, LINE_WIDTH = 10 * PIXEL, 1.75 * PIXEL  # points
FONT = ["DejaVu Sans"]  # comes with matplotlib, so that a picture is the same on every machine
PICTURE_INK = "#3b434c"  # still reads when the dark theme inverts the picture


def mix(colour: str, other: str, share: float) -> str:
    """The solid colour with this share of `colour`, the rest being `other`; both as "#rrggbb"."""
    channels = [(int(colour[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(share * a + (1 - share) * b):02x}" for a, b in channels)


def band(name: str, theme: str = "light") -> str:
    """The pale colour of the reference run of this optimizer; grey for a name without a colour."""
    return mix(COLOURS.get(name, GREY), INKS[theme]["paper"], BAND[theme])


def line(name: str, theme: str = "light") -> str:
    """The dark colour (in the dark theme: the light one) of a run of this optimizer in another basis."""
    return mix(COLOURS.get(name, GREY), "#000000" if theme == "light" else "#ffffff", LINE)


# matplotlib's settings. 15 points are the size of the text on a desktop, and 10 CSS pixels on a phone 390 wide.
RC: dict = {
    "figure.facecolor": "none",
    "figure.dpi": DPI,
    "axes.facecolor": "none",
    "savefig.facecolor": "auto",
    "font.family": "sans-serif",
    "font.sans-serif": FONT,
    "font.size": 15,
    "axes.titlesize": 15,
    "axes.labelsize": 15,
    "xtick.labelsize": 13.5,
    "ytick.labelsize": 13.5,
    "text.color": PICTURE_INK,
    "axes.labelcolor": PICTURE_INK,
    "axes.edgecolor": PICTURE_INK,
    "xtick.color": PICTURE_INK,
    "ytick.color": PICTURE_INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": PIXEL,
    "xtick.major.width": PIXEL,
    "ytick.major.width": PIXEL,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "mathtext.default": "regular",
    "lines.solid_capstyle": "round",
    "lines.solid_joinstyle": "round",
    "legend.frameon": False,
}
