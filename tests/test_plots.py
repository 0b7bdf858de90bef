"""Pictures and tables of runs: pure functions, coincidence seen, divergence said in words."""

import io

import matplotlib
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import FigureBase
from matplotlib.text import Text

import kfac_lite as k
from kfac_lite import plots, style
from kfac_lite.descent import Trajectory

T, N = 20, 6
Y = k.AffineBasis(k.AffineSpace(2, "Y"))
LIKELIHOOD = k.Categorical(Y)


def trajectory(seed: int = 0, noise: float = 0.0, losses: torch.Tensor | None = None) -> Trajectory:
    """A run of T steps that moves steadily, and noise beside it."""
    draw = torch.Generator().manual_seed(seed)
    path = torch.linspace(0, 1, T + 1, dtype=torch.float64)[:, None, None] * torch.ones(N, 2, dtype=torch.float64)
    path = path + noise * torch.randn(T + 1, N, 2, generator=draw, dtype=torch.float64)
    fall = torch.logspace(0, -2, T + 1, dtype=torch.float64) if losses is None else losses
    point = k.Parameterization.from_widths(1, 1).weights.point([torch.zeros(1, 2, dtype=torch.float64)])
    return Trajectory(Y.point(path), fall, point)


def failing(step: int) -> Trajectory:
    losses = torch.ones(T + 1, dtype=torch.float64)
    losses[step:] = torch.nan
    return trajectory(losses=losses)


HOME = trajectory()
RUNS = {
    "SGD": {"home": HOME, "other": trajectory(1, 0.3), "worse": failing(4)},
    "K-FAC": {"home": HOME, "other": trajectory(2, 1e-13), "worse": trajectory(3, 1e-11)},
}
CONTROLS = {name: trajectory(9, 3e-13) for name in RUNS["SGD"]}
PICTURES = {
    "curves": lambda: plots.curves(RUNS),
    "plane": lambda: plots.plane(RUNS, LIKELIHOOD, every=5),
    "gaps": lambda: plots.gaps(RUNS, CONTROLS, Y),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_a_function_of_its_runs(name: str):
    settings = dict(matplotlib.rcParams)
    one, other = PICTURES[name](), PICTURES[name]()
    first, sizes = one._repr_png_()
    assert first == other._repr_png_()[0]
    assert first.startswith(b"\x89PNG")
    assert sizes == {"width": 100 * style.WIDTH}
    assert one is not other
    assert dict(matplotlib.rcParams) == settings
    assert one.get_figwidth() == style.WIDTH
    assert repr(one) == str(one) == f"<picture: {one.alt}>"
    assert "SGD and K-FAC" in one.alt


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_the_same_whatever_settings_the_reader_has(name: str):
    plain = PICTURES[name]()._repr_png_()[0]
    with matplotlib.rc_context({"font.size": 4, "axes.facecolor": "black", "text.color": "red", "axes.grid": False}):
        assert PICTURES[name]()._repr_png_()[0] == plain


def texts(picture: FigureBase) -> list[Text]:
    return [text for text in picture.findobj(Text) if isinstance(text, Text) and text.get_text()]


@pytest.mark.parametrize("name", PICTURES)
def test_every_word_stands_inside_the_picture(name: str):
    picture = PICTURES[name]()
    picture.savefig(io.BytesIO(), format="png")
    width, height = picture.bbox.size
    for text in texts(picture):
        if text.get_visible() and (text.axes is None or text in text.axes.texts):
            box = text.get_window_extent()
            assert box.x0 >= 0, text
            assert box.y0 >= 0, text
            assert box.x1 <= width, text
            assert box.y1 <= height, text


def strokes(axes, colour: str) -> list:
    return [
        line for line in axes.lines if to_hex(line.get_color()) == colour and line.get_transform() == axes.transData
    ]


@pytest.mark.parametrize("name", ["curves", "plane"])
def test_the_reference_is_a_wide_band_under_thin_solid_lines(name: str):
    picture = PICTURES[name]()
    for number, algorithm in enumerate(RUNS):
        axes = picture.axes[number] if name == "curves" else picture.axes[0]
        (band,) = strokes(axes, style.band(algorithm))
        lines = [line for line in strokes(axes, style.line(algorithm)) if line.get_linestyle() != "None"]
        lines = [line for line in lines if line.get_marker() == "None"]
        assert len(lines) == 2
        for line in lines:
            assert line.get_linestyle() == "-"
            assert line.get_linewidth() < band.get_linewidth() / 4
            assert line.get_zorder() > band.get_zorder()


def words(picture: FigureBase | None) -> list[str]:
    assert picture is not None
    return [text.get_text() for text in texts(picture)]


def test_a_run_that_breaks_is_drawn_until_then_and_said_in_words():
    picture = plots.curves(RUNS)
    assert "worse: loss ×10 in 4 steps" in words(picture)
    assert sorted(len(line.get_xdata()) for line in strokes(picture.axes[0], style.line("SGD"))) == [5, T + 1]
    assert "SGD, worse: broke" in words(plots.plane(RUNS, LIKELIHOOD))


def test_runs_that_end_together_get_one_label():
    assert "K-FAC, all 3 bases" in words(plots.plane(RUNS, LIKELIHOOD))


def test_a_gap_of_exactly_zero_has_a_row_of_its_own():
    runs = {"K-FAC": {"home": HOME, "same": HOME}}
    axes = plots.gaps(runs, {"home": HOME, "same": trajectory(9, 1e-15)}, Y).axes[0]
    (line,) = [line for line in strokes(axes, style.line("K-FAC")) if len(line.get_xdata()) == T]
    assert set(line.get_ydata()) == {1e-18}
    assert axes.get_yticks()[0] == 1e-18
    assert axes.get_yticklabels()[0].get_text() == "0"
    assert "machine precision" in words(axes.figure)


def test_the_plane_is_wide_where_the_paths_are():
    """Distances in the plane are those of the probabilities, when these lie in a plane."""
    paths = [plots.probabilities(run, LIKELIHOOD) for run in RUNS["K-FAC"].values()]
    xy = torch.cat([torch.as_tensor(part) for part in plots._principal(paths)])
    whole = torch.cat(paths)
    assert torch.allclose(torch.cdist(xy, xy), torch.cdist(whole, whole), atol=1e-6)
    assert (xy[T] >= xy[0]).all()


def test_probabilities_follow_the_likelihood():
    classes = plots.probabilities(HOME, LIKELIHOOD).unflatten(1, (N, 3))
    assert classes.shape == (T + 1, N, 3)
    assert torch.allclose(classes.sum(-1), torch.ones(T + 1, N, dtype=torch.float64))
    assert plots.probabilities(HOME, k.Bernoulli(Y))[0] == pytest.approx([0.5] * 2 * N)
    assert torch.equal(plots.probabilities(HOME, k.Gaussian(Y)), Y[HOME.outputs].flatten(1))


@pytest.mark.parametrize("runs", [{}, {"SGD": {}}, {"SGD": {"home": HOME}, "K-FAC": {"other": HOME}}])
def test_runs_in_different_bases_are_no_picture(runs: dict):
    with pytest.raises(k.SpaceError, match="pictures compare runs in the same bases"):
        plots.curves(runs)


def test_breaking_is_ten_times_the_start_or_no_number():
    assert plots.broke(HOME) is None
    assert plots.broke(failing(4)) == 4
    assert plots.broke(trajectory(losses=torch.linspace(1, 12, T + 1, dtype=torch.float64))) == 17


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (HOME, "< 1e-12"),
        (trajectory(1, 1e-10), "< 1e-9"),
        (trajectory(1, 1e-7), "< 1e-6"),
        (failing(4), "diverges"),
    ],
)
def test_a_gap_is_told_as_a_bound(run: Trajectory, said: str):
    assert plots.told(run, HOME, Y) == said


def test_a_gap_with_meaning_is_told_as_one_digit():
    shifted = Trajectory(Y.point(Y[HOME.outputs] * 1.27), HOME.losses, HOME.omega)
    assert plots.told(shifted, HOME, Y) == "0.3"
    assert plots.told(shifted, HOME, Y, control=shifted) == "0.3"
    assert plots.told(HOME, HOME, Y, bounds=[1e-3]) == "< 1e-3"
    far = Trajectory(Y.point(Y[HOME.outputs] * 13), HOME.losses, HOME.omega)
    assert plots.told(far, HOME, Y) == "10"


def test_where_the_control_moves_as_far_no_digit_is_told():
    run = trajectory(1, 1e-2)
    assert plots.told(run, HOME, Y, control=trajectory(2, 1e-2)) == "no digits left"


def test_a_table_is_text():
    rows = {"SGD": {"tanh": "0.7", "whitened": "diverges"}, "K-FAC, float32": {"tanh": "< 1e-3"}}
    assert plots.table(rows).splitlines() == [
        "                tanh    whitened",
        "--------------------------------",
        "SGD             0.7     diverges",
        "K-FAC, float32  < 1e-3",
    ]
