"""Figures of `kfac_lite.live`: wired by name, within bounds, the same numbers in the page as in torch (paper: none)."""

import json
import math
import re
from typing import Any

import ipywidgets
import pytest
import torch
import traitlets
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._pytree import tree_leaves

from kfac_lite import live
from kfac_lite.live import (
    Call,
    Frame,
    Handle,
    Line,
    LiveFigure,
    Panel,
    Points,
    Run,
    Scrubber,
    Slider,
    Words,
    page,
    still,
)

from .live_page import distance, evaluate

pytestmark = pytest.mark.no_gauge


def halve(x: Tensor) -> dict[str, Tensor]:
    return {"half": x / 2, "pair": torch.stack([x, -x])}


def decay(w: dict[str, Tensor], x: Tensor) -> dict[str, Tensor]:
    return {"a": w["a"] - x * w["b"], "b": w["b"] * (1 - x)}


def shown(w: dict[str, Tensor], t: Tensor) -> Tensor:
    return live.pick(w, t)["a"]


START = {"a": torch.tensor([1.0, 2.0], dtype=torch.float64), "b": torch.tensor([[0.5, -1.0]], dtype=torch.float64)[0]}
X, T = Slider("x", 0.0, 1.0, value=0.25), Scrubber("t", 20, 5)
DRAWN = [[Panel(Line("pair"))]]


def made(*functions: Any, controls: Any = (X, T), views: Any = (), **given: Any) -> LiveFigure:
    options: dict[str, Any] = {"name": "small", "alt": "-"} | given
    return LiveFigure(*functions, controls=controls, views=views or DRAWN, **options)


def small(**options: Any) -> LiveFigure:
    return made(halve, Run("w", decay, START, steps=20), shown, **options)


# -- wired by name


def test_a_figure_has_the_values_that_its_functions_return():
    values = small().values(x=0.5, t=3)
    w = START
    for _ in range(3):
        w = decay(w, torch.tensor(0.5, dtype=torch.float64))
    assert values["half"] == 0.25 and values["pair"].tolist() == [0.5, -0.5]
    assert values["w"]["a"].shape == (21, 2) and torch.equal(values["w"]["a"][3], w["a"])
    assert torch.equal(values["shown"], w["a"])


def test_a_function_that_is_used_twice_is_one_program():
    figure = made(
        halve,
        Run("w", decay, START, 20),
        Run("v", decay, START, 20, x="half"),
        Call("s", shown),
        Call("r", shown, w="v"),
    )
    assert len(figure.graph.programs) == 3
    values = figure.values()
    assert torch.equal(values["w"]["a"][1], decay(START, values["x"])["a"])
    assert torch.equal(values["v"]["a"][1], decay(START, values["half"])["a"])
    assert torch.equal(values["r"], values["v"]["a"][5])


def needs_y(x: Tensor, y: Tensor) -> Tensor:
    return x + y


@pytest.mark.parametrize(
    ("functions", "options", "words"),
    [
        (
            (needs_y,),
            {},
            "`needs_y` reads 'y', which is neither a control nor a value of an earlier function; there are: x, t",
        ),
        ((halve, halve), {}, "two values of the name 'half'"),
        ((lambda x: x,), {}, "has no name to call its result by"),
        ((halve, Run("w", decay, "begin")), {}, "Run('w') reads 'begin'"),
        ((halve, Run("w", decay, START, y="x")), {}, "`decay` has no parameter 'y'"),
        ((halve, 3), {}, "3: write a function of tensors"),
        ((halve,), {"views": [[Panel(Line("quarter"))]]}, "Panel shows 'quarter'; there are: half, pair, t, x"),
        ((halve,), {"views": [[Words("{quarter:gap}")]]}, "{quarter} in a text"),
        ((halve,), {"views": [[Words("{half:%}")]]}, "write a format such as .2f"),
        ((halve,), {"views": [[Words("[go home]")]]}, "[go home] in a text is no preset or toggle"),
        ((halve,), {"views": [[Line("pair")]]}, "a row holds Panel and Words, not Line"),
        ((halve,), {"presets": {"home": {"x": 2.0}}}, "x = 2.0: between 0.0 and 1.0"),
        ((halve,), {"presets": {"home": {"z": 2.0}}}, "there is no control 'z'; there are: x, t"),
        ((halve,), {"name": "My figure"}, "small letters, digits and hyphens"),
        ((halve,), {"controls": (X, T, Slider("layout", 0, 1))}, "a control cannot be called 'layout'"),
        ((halve, Run("w", lambda w: w.sum(), torch.ones(2, dtype=torch.float64))), {}, "a state of the same shapes"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_there_is(functions: Any, options: Any, words: str):
    with pytest.raises((ValueError, TypeError), match=re.escape(words)):
        made(*functions, **options)


def test_words_take_the_columns_that_their_row_leaves():
    panel, words = Panel(Line("pair")), Words("{half}")
    rows = made(
        halve, views=[[panel, panel], [words], [panel, words], [words, words], [Panel(Line("pair"), span=2)]]
    ).rows
    assert [[view.span for view in row] for row in rows] == [[1, 1], [2], [1, 1], [1, 1], [2]]
    assert [view.span for (view,) in made(halve, views=[[words], [words]]).rows] == [1, 1]


def test_case_L1_and_L2_reach_the_author_of_a_figure():
    """The compiler's refusals, with the author's line, whichever way the function came into the figure."""
    captured = torch.ones((), dtype=torch.float64)

    def changed(x: Tensor) -> Tensor:
        return captured.add_(x)

    def branched(w: Tensor, x: Tensor) -> Tensor:
        return w + x if x.sum() > 2 else w

    with pytest.raises(live.CompileError, match=r"in `changed`: return captured.add_\(x\)"):
        made(changed, halve)
    assert captured == 1
    with pytest.raises(live.CompileError, match=r"(?s)in `branched`.*torch\.where"):
        made(halve, Run("w", branched, torch.ones(2, dtype=torch.float64)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.complex128, torch.int64])
def test_case_T4_numbers_of_another_kind_are_refused(dtype: torch.dtype):
    start = torch.ones(2, dtype=dtype)
    with pytest.raises(live.CompileError, match="float64"):
        made(halve, Run("w", lambda w: w, start))


# -- the state


@pytest.mark.parametrize(
    ("control", "good", "bad"),
    [
        (Slider("c", 0, 1), 0.75, [2.0, -0.1, math.nan, "half", None]),
        (Scrubber("c", 10), 7, [11, -1, 2.5]),
        (live.Toggle("c"), True, [2, "yes"]),
        (live.Choice("c", ["a", "b"]), 1, [2, -1, 0.5]),
        (Handle("c"), [1.0, -1.0], [[3.0, 0.0], [0.0], [0.0, math.inf]]),
        (
            Frame("c"),
            [[0.0, -1.0, 0.5], [1.0, 0.0, -1.0]],
            [
                [[1, 0], [0, 1]],
                [[1, 1, 0], [0, 0.1, 0]],
                [[0.1, 0, 0], [0, 1, 0]],
                [[1, 0, 3], [0, 1, 0]],
                [[0, 1, 0], [1, 0, 0]],
            ],
        ),
    ],
)
def test_a_control_is_a_trait_with_bounds(control: Any, good: Any, bad: list[Any]):
    figure = made(halve, controls=(X, control))
    heard = []
    figure.observe(lambda change: heard.append(change["new"]), "c")
    figure.c = good
    assert heard == [good] and figure.state()["c"] == good
    for value in bad:
        with pytest.raises(traitlets.TraitError):
            figure.c = value
    assert heard == [good] and figure.state()["c"] == good


def test_a_figure_can_be_linked_to_another_widget():
    figure, slider = small(), ipywidgets.FloatSlider(min=0, max=1)
    ipywidgets.link((figure, "x"), (slider, "value"))
    slider.value = 0.5
    assert figure.x == 0.5
    figure.x = 0.75
    assert slider.value == 0.75
    assert {"x", "t"} <= set(figure.keys)


def test_the_text_of_a_figure_says_its_state():
    figure = small()
    figure.x = 0.5
    assert repr(figure) == "LiveFigure('small', x=0.5, t=5)"
    bundle = figure._repr_mimebundle_()
    assert bundle is not None
    data, _ = bundle
    assert data["text/plain"] == repr(figure)
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == figure.model_id
    assert '"state":{"x":0.5,"t":5}' in data["text/html"]


# -- the page


ENGINE = page.runtime().split("const NS=")[0]  # the modules that need no document


def in_page(figure: LiveFigure, script: str) -> Any:
    """Run a script in which `engine`, `controls` and `spec` are the figure's, in V8."""
    spec = page.inline(json.loads(json.dumps(figure.spec)))
    return evaluate(f"""
        {ENGINE.replace("const addEventListener", "")}
        const spec = {spec}, engine = makeEngine(spec, [{",".join(figure.graph.programs)}]), controls = {{}};
        for (const c of spec.controls) controls[c.name] = makeControl(c, engine.values[c.name][0]);
        const texts = (arrays) => arrays.map((x) => Array.from(x, String));
        const all = () => Object.fromEntries(Object.entries(engine.values).map(([n, v]) => [n, texts(v)]));
        {script}""")


def parity(figure: LiveFigure, states: list[dict[str, Any]]) -> float:
    """How far the page's values are from torch's, at each state after the one before."""
    moves = json.dumps(states)
    rows = in_page(
        figure,
        f"""
        engine.compute(false);
        return {moves}.map((state) => {{
          for (const [name, value] of Object.entries(state)) {{ controls[name].set(value); engine.touch(name); }}
          const fault = engine.compute(true);
          return [fault, all()];
        }});""",
    )
    worst, now = 0.0, {}
    for state, (fault, found) in zip(states, rows):
        assert fault is None
        now |= state
        for name, wanted in figure.values(**now).items():
            leaves = [] if name.startswith("best") else tree_leaves(wanted)
            numbers = [torch.tensor([float(v) for v in x], dtype=torch.float64) for x in found[name]]
            worst = max(worst, distance([x.reshape(y.shape) for x, y in zip(numbers, leaves)], leaves))
    return worst


def test_the_page_computes_what_torch_computes():
    assert parity(small(), [{"x": 0.5}, {"t": 20}, {"x": 0.0, "t": 0}, {"x": 1.0}]) <= 1e-15


def test_only_what_depends_on_a_control_is_computed_again():
    computed = in_page(
        small(),
        """
        engine.compute(false);
        engine.values.half[0][0] = 99;
        const at = (name, value) => {
          controls[name].set(value);
          engine.touch(name);
          engine.compute(true);
          return engine.values.half[0][0];
        };
        return [at("t", 7), at("x", 0.5)];""",
    )
    assert computed == [99, 0.25]


def rounded(x: Tensor) -> dict[str, Tensor]:
    return {"whole": torch.floor(4 * x), "part": 4 * x}


def later(whole: Tensor) -> Tensor:
    return -whole


def drift(w: Tensor, whole: Tensor) -> Tensor:
    return w + whole


def test_what_came_out_as_it_was_changes_nothing_behind_it():
    """The page knows by the numbers: 99 stands where nothing has been computed again since it was put there."""
    run = Run("w", drift, torch.zeros(1, dtype=torch.float64), steps=2)
    figure = made(halve, rounded, later, run, controls=(X,))
    moves = in_page(
        figure,
        """
        engine.compute(false);
        engine.values.later[0][0] = engine.values.w[0][0] = 99;
        const at = (x) => {
          controls.x.set(x);
          engine.touch("x");
          const before = engine.latest(["later", "w"]);
          engine.compute(true);
          const read = [engine.values.part, engine.values.later, engine.values.w].map((value) => Array.from(value[0]));
          return [...read, engine.latest(["later", "w"]) > before];
        };
        return [at(0.3125), at(0.375), at(0.625), at(0.6875)];""",
    )
    assert moves == [
        [[1.25], [99], [99, 1, 2], False],
        [[1.5], [99], [99, 1, 2], False],
        [[2.5], [-2], [0, 2, 4], True],
        [[2.75], [-2], [0, 2, 4], False],
    ]


def solved(x: Tensor) -> Tensor:
    A = torch.stack([torch.stack([x, x * 0 + 1]), torch.stack([x * 0 + 1, x * 0 + 1])])
    return torch.linalg.solve(A, torch.stack([x, x]))


def logged(x: Tensor) -> Tensor:
    return torch.log(x - 0.5)


def doubled(logged: Tensor) -> Tensor:
    return 2 * logged


@pytest.mark.parametrize(
    ("functions", "good", "bad", "kind", "operation"),
    [
        ((solved,), 0.25, 1.0, "singular", "linalg.solve"),
        ((logged, doubled), 0.75, 0.25, "not finite", "log"),
    ],
)
def test_a_fault_names_its_place_and_goes_away(functions: Any, good: float, bad: float, kind: str, operation: str):
    slider = Slider("x", 0.0, 1.0, value=good)
    figure = made(halve, *functions, controls=(slider,))
    before, fault, after = in_page(
        figure,
        f"""
        const at = (x) => {{ controls.x.set(x); engine.touch("x"); return engine.compute(true); }};
        return [at({good}), at({bad}), at({good})];""",
    )
    assert before is None and after is None
    assert (fault["kind"], fault["operation"]) == (kind, operation)
    assert f"in `{functions[0].__name__}`" in fault["line"]


def grow(w: Tensor, x: Tensor) -> Tensor:
    return w * w * (1 + x)


def length(w: Tensor) -> Tensor:
    return w.sum(-1)


def test_a_run_that_breaks_is_kept_as_far_as_it_came():
    """Nothing finite comes out of what nothing finite went into: that is the run's news, and no fault of the next."""
    figure = made(halve, Run("w", grow, torch.full((1,), 2.0, dtype=torch.float64), steps=20), length, controls=(X,))
    fault, step, kept = in_page(
        figure, "return [engine.compute(false), engine.broken.w, Array.from(engine.values.length[0], String)];"
    )
    assert 5 < step < 15 and fault is None
    assert all(v == "NaN" for v in kept[step:]) and "NaN" not in kept[:step]


# -- bounds are the same in Python and in the page


@given(st.lists(st.floats(-5, 5), min_size=6, max_size=6))
def test_wherever_an_arrow_is_dragged_the_frame_is_one_that_python_allows(numbers: list[float]):
    figure = FRAMED
    moves = json.dumps([[0, numbers[0], numbers[1]], [1, numbers[2], numbers[3]], [2, numbers[4], numbers[5]]])
    plain, again = in_page(
        figure,
        f"""
        {moves}.forEach(([part, u, v]) => controls.kappa.move(part, u, v));
        const plain = controls.kappa.plain;
        controls.kappa.set(plain);
        return [plain, controls.kappa.plain];""",
    )
    assert figure.controls["kappa"].check(plain) == plain
    assert torch.allclose(torch.tensor(plain), torch.tensor(again), rtol=0, atol=1e-12)


def test_a_bound_that_is_met_is_named():
    said = in_page(
        FRAMED,
        """
        const c = controls.kappa;
        return [c.move(1, 0.1, 0), c.move(1, 3, 0), c.move(1, 0.5, 1), c.move(0, 2, 0), c.move(2, 0.3, 1)];""",
    )
    assert said == [
        "shortest arrow: 0.4",
        "longest arrow: 2",
        "the arrows stay 30° from parallel",
        "the origin stays near home’s",
        "",
    ]


def framed(kappa: Tensor) -> dict[str, Tensor]:
    return dict(zip(("Omega", "gamma"), live.change(kappa)))


FRAMED = made(framed, controls=(Frame("kappa", label="κ"),), views=[[Panel(live.Axes("kappa"), live.Drag("kappa"))]])


def test_equation_3_3_change_leads_from_home_to_the_frame():
    """The frame's point a' = Omega a + gamma has home's numbers E a' + o."""
    kappa = torch.tensor([[1.2, -0.3, 0.5], [0.4, 0.9, -0.2]], dtype=torch.float64)
    a = torch.tensor([0.7, -1.1], dtype=torch.float64)
    Omega, gamma = live.change(kappa)
    assert torch.allclose(kappa[:, :2] @ (Omega @ a + gamma) + kappa[:, 2], a, rtol=1e-14, atol=1e-14)


def test_a_grid_and_a_step_are_picked_in_order():
    x, y = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([5.0, 7.0])
    assert live.grid(x, y)[1].tolist() == [[0, 7], [1, 7], [2, 7]]
    states = {"w": torch.arange(6.0, dtype=torch.float64).reshape(3, 2), "v": torch.tensor([math.nan, 1.0, math.inf])}
    assert live.pick(states, torch.tensor(1.0))["w"].tolist() == [2, 3]
    assert live.pick(states, torch.tensor(1.0))["v"] == 1.0


# -- words and addresses


@given(st.floats(1e-18, 1e6) | st.just(0.0), st.sampled_from(["gap", "power", "d", ".2f", ".3f", ".2g"]))
def test_python_writes_numbers_as_the_page_does(v: float, form: str):
    if form == ".2g" and v and abs(v / 10 ** math.floor(math.log10(v)) * 10 % 1 - 0.5) < 1e-6:
        return  # a tie, which the two languages round differently
    digits = {"d": 0, ".2f": 2, ".3f": 3, "gap": 0}.get(form)
    if digits is not None and abs(v * 10**digits % 1 - 0.5) < 1e-6:
        return  # a tie, which the two languages round differently
    assert still.number(v, form) == evaluate(f"{ENGINE} return format({v!r}, {form!r});")


@pytest.mark.parametrize(
    ("v", "words"),
    [
        (0.0, "0"),
        (2.53, "2.5"),
        (0.121, "0.12"),
        (0.0123, "0.012"),
        (8.2e-16, "8×10⁻¹⁶"),
        (9.7e-5, "1×10⁻⁴"),
        (123.4, "123"),
        (math.inf, "∞"),
        (math.nan, "–"),
    ],
)
def test_a_gap_is_one_digit_and_a_power(v: float, words: str):
    literal = {"inf": "Infinity", "nan": "NaN"}.get(repr(v), repr(v))
    assert still.number(v, "gap") == words == evaluate(f"{ENGINE} return format({literal}, 'gap');")


@pytest.mark.parametrize(
    ("v", "words"),
    [
        (1e-6, "10⁻⁶"),
        (1.6e-5, "1.6×10⁻⁵"),
        (-2e-7, "−2×10⁻⁷"),
        (0.0015, "0.0015"),
        (150.0, "150"),
        (2.0, "2"),
        (0.0, "0"),
    ],
)
def test_a_slider_over_powers_writes_powers(v: float, words: str):
    """The damping's slider once said 0.000001."""
    assert still.number(v, ".2g") == words == evaluate(f"{ENGINE} return format({v!r}, '.2g');")


ADDRESS = page.runtime()[page.runtime().index("function written(") : page.runtime().index("const calm=")]


OTHERS = ["", "#thm-3-6", "#other=1,kappa:1"]
UNREADABLE = ["2,kappa:1_0_0_0_1_0", "1,kappa:1_0", "1,kappa:a_0_0_0_1_0", "1,omega:1", "1,kappa"]
WRONG = OTHERS + [f"#small={text}" for text in UNREADABLE]


def test_an_address_brings_the_state_back():
    found = in_page(
        FRAMED,
        f"""
        {ADDRESS}
        controls.kappa.set([[0.62, 0, 0.1], [0.35, 1, -0.1]]);
        const text = written("small", controls);
        const wrong = {json.dumps(WRONG)};
        return [text, read("#" + text, "small", controls), wrong.map((x) => read(x, "small", controls))];""",
    )
    assert found[0] == "small=1,kappa:0.62_0_0.1_0.35_1_-0.1"
    assert found[1] == {"kappa": [0.62, 0, 0.1, 0.35, 1, -0.1]}
    assert found[2] == [None] * 3 + [{}] * 5


def test_a_link_opens_the_same_state_in_a_notebook():
    figure = made(
        framed, controls=(Frame("kappa"), X, T, Handle("p")), views=[[Panel(live.Drag("kappa"), live.Drag("p"))]]
    )
    link = "file:///book/index.html#small=1,kappa:0.62_0_0.1_0.35_1_-0.1,x:0.5,t:7,p:1_-1"
    state = {"kappa": [[0.62, 0, 0.1], [0.35, 1, -0.1]], "x": 0.5, "t": 7, "p": [1, -1]}
    assert figure.from_link(link) is figure and figure.state() == state
    for wrong in (
        "page.html",
        "page.html#other=1,x:0.5",
        "page.html#small=1,x:7",
        "page.html#small=1,z:7",
        "#small=1,x:_",
    ):
        with pytest.raises(ValueError):
            figure.from_link(wrong)
    assert figure.state() == state


# -- what stands in the page


def test_the_page_needs_no_one_else_and_no_eval():
    html = small().html()
    scripts = "".join(re.findall(r"<script.*?</script>", html, re.DOTALL))
    assert not re.findall(r"\beval\(|new Function|\bimport\(|new Worker|blob:|WebAssembly|fetch\(|XMLHttp", scripts)
    assert set(re.findall(r"https?://[^\"' ]*", html)) == {"http://www.w3.org/2000/svg"}
    assert "\nimport " not in page.runtime() and "\nexport " not in page.runtime()


def test_two_figures_share_their_styles_and_runtime_to_the_letter():
    shared = [
        re.findall(r'<(?:style|script) class="live-\w+">.*?</(?:style|script)>', f.html(), re.DOTALL)
        for f in (small(), FRAMED)
    ]
    assert len(shared[0]) == 2 and shared[0] == shared[1]


def test_a_text_cannot_end_the_script_it_stands_in():
    figure = small(title="</script><b>")
    assert "</script><b>" not in figure.html()
    assert "&lt;/script&gt;&lt;b&gt;" in figure.html()


MARKS = (
    live.Line("pair", role="band", colour="SGD"),
    Points("pair2"),
    live.Level("z", colour="K-FAC", at=0.5),
    live.Heat("z", low=0, high=3),
    live.Heat("z", low=-1, high=1),
    live.Arrow("pair2", label="v"),
    live.LevelLines("pair1"),
    live.Ellipse("g"),
    live.Trajectory("pair2", role="ring", colour="natural gradient", every=1),
    live.Trajectory("pair2", role="dot", every=1),
    live.Axes(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])),
    live.Label("x = {x:.2f}", at=(0, 0)),
    live.Rule(y=0, label="zero"),
)


def shapes(x: Tensor) -> dict[str, Tensor]:
    pair = torch.stack([x, 1 - x])
    z = pair[:, None] * torch.stack([x, 2 + x, 3 - x]) + pair[:, None]
    return {
        "pair": pair,
        "pair1": pair,
        "pair2": torch.stack([pair, -pair]),
        "z": z,
        "g": torch.stack([pair, pair.flip(0)]) + 1,
    }


def test_a_still_shows_every_mark():
    figure = made(shapes, controls=(X,), views=[[Panel(mark, title="T") for mark in MARKS]])
    values = figure.values()
    for mark in MARKS:
        drawn = still.Picture(Panel(mark), values).svg()
        assert re.search(r"<(path|circle|rect|text) class=\"[^p]", drawn), mark
        assert "nan" not in drawn and "inf" not in drawn
    html = still.picture(figure, values)
    assert html.count("<svg") == len(MARKS) and 'role="img" aria-label="-"' in html


def test_live_figure_is_loaded_when_it_is_asked_for():
    with pytest.raises(AttributeError, match="no attribute 'LiveFigures'"):
        _ = live.LiveFigures  # type: ignore[attr-defined]
