"""Table 1: every name in the code is there and is what the table says; symbols are found in formulas (paper: 1.1)."""

import json
import re
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from py_mini_racer import MiniRacer

import kfac_lite as k
from kfac_lite.coordinates import mlp

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "book" / "ext"))
import notation  # noqa: E402


def world() -> dict:
    """The names that the page introduces."""
    iota = k.Parameterization.from_widths(2, 3, 1)
    net = k.MLP(iota, k.tanh)
    kappa = k.skewed(net, 10, seed=1)
    draw = torch.Generator().manual_seed(0)
    normal = lambda *shape: torch.randn(*shape, generator=draw, dtype=torch.float64)
    likelihood = k.Bernoulli(iota.outputs)
    targets = (normal(6, 1) > 0).double()
    h = k.Objective(net, likelihood, iota.inputs.point(normal(6, 2)), targets)
    omega = iota.weights.point([normal(3, 3), normal(1, 4)])
    network, x, y = h.in_basis(kappa)
    alpha = h.inputs.at(0)
    zeta = omega.parts[0](alpha)
    i, n, omega_i = 1, 0, omega.parts[0]
    A = torch.eye(2, dtype=torch.float64)
    names = dict(k=k, mlp=mlp, torch=torch, iota=iota, net=net, kappa=kappa, likelihood=likelihood, h=h, omega=omega)
    names |= dict(network=network, x=x, y=y, w=kappa.weights[omega], zeta=zeta, i=i, n=n, omega_i=omega_i)
    return names | dict(alpha=net.activate(1, zeta), a=normal(5, 3), generator=draw, A=A, G=A, targets=targets)


KINDS = {
    "h.inputs": k.Point,
    "net.activate(i, zeta)": k.Point,
    "omega_i(alpha)": k.Point,
    "omega.parts[i - 1]": k.Point,
    "omega": k.Point,
    "net(omega, h.inputs)": k.Point,
    "h(omega)": torch.Tensor,
    "k.fisher(h, omega)": k.Metric,
    "k.kfac(h, omega)": k.Metric,
    "h.d(omega)": k.Covector,
    "h.batch([n]).d(omega)": k.Covector,
    "h.batch([n]).d(omega).parts[i - 1]": k.Covector,
    "net.home.inputs.space": k.AffineSpace,
    "net.home.outputs.space": k.AffineSpace,
    "net.home.activations[i].space": k.AffineSpace,
    "net.home.preactivations[i - 1].space": k.AffineSpace,
    "net.space.factors[i - 1]": k.AffineMaps,
    "net.space": k.Product,
}


def evaluated(code: str, names: dict):
    if code == "omega_i(alpha)":
        names = names | {"alpha": names["h"].inputs}
    if code == "kappa.activations[i][alpha]":
        names = names | {"alpha": names["net"].activate(1, names["zeta"])}
    if code == "k.second_moment(alpha)":
        names = names | {"alpha": names["h"].inputs}
    if code == "k.expected(g)":
        z = names["kappa"].preactivations[0]
        names = names | {"g": k.from_matrix(z, torch.eye(3, dtype=torch.float64).expand(4, 3, 3))}
    if code.startswith("k.kronecker"):
        g = k.euclidean(names["kappa"].preactivations[0])
        names = names | {"A": k.second_moment(names["h"].inputs), "G": g}
    return eval(code, names)


@pytest.mark.parametrize("entry", notation.ENTRIES, ids=lambda entry: entry.name)
def test_table_1_every_name_in_the_code_is_there_and_is_of_its_kind(entry: notation.Entry):
    names = world()
    for code in filter(None, (entry.code, entry.arrays)):
        value = evaluated(code, names)
        assert value is not None
        if code in KINDS:
            assert isinstance(value, KINDS[code]), code


def test_table_1_both_columns_are_one_object():
    """What stands in the right column is the left one's, read in kappa."""
    names = world()
    h, kappa, omega = names["h"], names["kappa"], names["omega"]
    close = lambda a, b: torch.allclose(a, b, rtol=1e-9, atol=1e-9)
    assert close(kappa.inputs[h.inputs], names["x"])
    assert close(evaluated("h(omega)", names), evaluated("mlp.loss(network, w, x, y)", names))
    losses = evaluated("likelihood.loss(net(omega, h.inputs), targets)", names)
    assert close(losses[0], evaluated("mlp.loss(network, w, x[:1], y[:1])", names))
    out = evaluated("mlp.forward(network, w, x)[0]", names)
    assert close(mlp.outputs(names["network"], out)[0], names["likelihood"].basis[names["net"](omega, h.inputs)])
    gradient = evaluated("mlp.gradient(network, w, x[:1], y[:1])", names)
    for mine, theirs in zip(gradient, kappa.weights[evaluated("h.batch([n]).d(omega)", names)]):
        assert close(mine, theirs)
    F = evaluated("kappa.weights[k.fisher(h, omega)]", names)
    assert close(F, mlp.fisher(names["network"], names["w"], names["x"]))
    A = evaluated("k.second_moment(alpha)", names)
    assert close(kappa.inputs[A], evaluated("mlp.factors(network, w, x)[i - 1][0]", names))


def test_the_changes_of_basis_are_those_of_equation_3_2():
    """Omega and gamma lead from iota to kappa on activations, Phi and tau from kappa to iota on pre-activations."""
    names = world()
    iota, kappa, zeta = names["iota"], names["kappa"], names["zeta"]
    a = names["net"].activate(1, zeta)
    by = {entry.name: evaluated(entry.arrays, names) for entry in notation.ENTRIES if entry.called and entry.arrays}
    close = lambda a, b: torch.allclose(a, b, rtol=1e-9, atol=1e-9)
    assert close(kappa.activations[1][a], by["Omega"] @ iota.activations[1][a] + by["gamma"])
    assert close(iota.preactivations[0][zeta], by["Phi"] @ kappa.preactivations[0][zeta] + by["tau"])


@pytest.mark.no_gauge
def test_table_1_has_the_papers_rows():
    assert sum(not entry.own for entry in notation.ENTRIES) == 25
    rows = notation.table([entry for entry in notation.ENTRIES if not entry.own])
    assert len(rows) == 27
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 4 for row in rows)


@cache
def engine(page: str) -> MiniRacer:
    racer = MiniRacer()
    stubs = "const document = { addEventListener() {} }; const addEventListener = () => {}; const window = globalThis;"
    racer.eval(f"{stubs} window.notationCards = {json.dumps([*map(notation.packed, notation.cards(page))])};")
    racer.eval((ROOT / "book/static/notation.js").read_text(encoding="utf-8"))
    return racer


@pytest.mark.no_gauge
@pytest.mark.parametrize("page", ["chapters/2-1-natural-gradient-and-k-fac", "chapters/3-2-optimization"])
def test_a_page_unpacks_the_cards_that_it_is_given(page: str):
    assert json.loads(str(engine(page).eval("JSON.stringify(window.notation.cards)"))) == notation.cards(page)


def marked(tex: str, page: str = "chapters/3-2-optimization") -> list[tuple[str, str]]:
    """(what is marked, the name of its card), in order."""
    out = str(engine(page).call("window.markNotation", tex))
    names = [card["name"] for card in notation.cards(page)]
    found = []
    for match in re.finditer(r"\\class\{notation notation-(\d+)\}\{", out):
        depth, end = 1, match.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(out[end], 0)
            end += 1
        found.append((out[match.end() : end - 1], names[int(match[1])]))
    return found


WEIGHTS = "the-weight-space-of-layer-i-in-a-product-with-activations-its-weight-matrix"
PARAMETER, INPUT = "the-parameter-of-the-network-all-its-maps", "an-input"
LAYER_MAP = "the-map-of-layer-i-its-weights-and-biases"
PRODUCT = (r"\otimes", "tensor-product-and-kronecker-product")


@pytest.mark.no_gauge
@pytest.mark.parametrize(
    ("tex", "wanted"),
    [
        (r"\omega", [(r"\omega", PARAMETER)]),
        (r"\omega_{i-1}^\ddagger", [(r"\omega_{i-1}^\ddagger", LAYER_MAP)]),
        (r"\basis{\omega}_\kappa", [(r"\omega", PARAMETER)]),
        (r"\frac\omega2", [(r"\omega", PARAMETER)]),
        (r"f(\xi, \omega)", [("f", "the-output-of-the-network"), (r"\xi", INPUT), (r"\omega", PARAMETER)]),
        (r"\text{the } \xi \text{ of } \omega_1", [(r"\xi", INPUT), (r"\omega_1", LAYER_MAP)]),
        (r"\operatorname{rho}(p)", []),
        (r"A \otimes G", [(r"\otimes", "tensor-product-and-kronecker-product")]),
        (r"\bar a_{i-1}", [(r"\bar a_{i-1}", "homogenised-activations")]),
        (r"\varphi_* v", []),
        (r"(W_i\ \ b_i)", [("W_i", WEIGHTS), ("b_i", LAYER_MAP)]),
        (r"\alpha_t + \alpha", []),
        (r"T_\omega^* M", [(r"\omega", PARAMETER)]),  # the star is that of T, not of omega
        (r"\Psi_\xi^*", [(r"\xi", INPUT)]),
        (r"a_ \omega^2", [(r"\omega", PARAMETER)]),
        (r"\tilde\omega_1", [(r"\omega", LAYER_MAP)]),
        (r"\omega_1^2", [(r"\omega_1^2", LAYER_MAP)]),
    ],
)  # fmt: skip
def test_symbols_are_found_in_formulas(tex: str, wanted: list):
    assert marked(tex) == wanted


@pytest.mark.no_gauge
@pytest.mark.parametrize(
    ("page", "tex", "wanted"),
    [
        ("2-1-natural", r"A_{i-1} \otimes G_i", [("A_{i-1}", "A"), PRODUCT, ("G_i", "G")]),
        ("2-1-natural", r"V = G^{-1}\, \nabla_{\bar W} h\; A^{-1}", [("G^{-1}", "G"), ("A^{-1}", "A")]),
        ("2-1-natural", r"u^\top G v", []),  # any ruler
        ("3-4-independence", r"(A \otimes G)", [("A", "A"), PRODUCT, ("G", "G")]),
        ("3-4-independence", r"\mathbb E[G(z)]", []),  # one datum's
        ("3-4-independence", r"\dim A + 1", []),  # the space
        ("3-5-k-fac", "A", [("A", "A")]),
        ("3-5-k-fac", "A = A_{i-1}", [("A_{i-1}", "the-space-of-activations-of-layer-i")]),
        ("3-1-coordinate", r"\Phi_i W_i^\ddagger", [(r"\Phi_i", "Phi"), (r"W_i^\ddagger", WEIGHTS)]),
        ("3-1-coordinate", r"\gamma_{i-1}", [(r"\gamma_{i-1}", "gamma")]),
        ("a-tangent", r"\mathbb E[\gamma]", []),
    ],
)
def test_a_letter_means_what_its_page_says(page: str, tex: str, wanted: list):
    found = [what for what in marked(tex, f"chapters/{page}") if "bar W" not in what[0]]
    assert found == wanted


@pytest.mark.no_gauge
def test_a_page_is_given_the_cards_of_its_own_symbols_only():
    given = notation.cards("chapters/2-2-5-metrics", [r"f(\xi, \omega)", "J^\\top G J"])
    assert [card["name"] for card in given] == [INPUT, PARAMETER, "the-output-of-the-network"]
    assert notation.cards("chapters/2-2-5-metrics", ["u + v"]) == []
    every = notation.cards("chapters/2-2-5-metrics")
    assert len({card["name"] for card in every}) == len(every) > 20


@pytest.mark.no_gauge
def test_every_symbol_of_table_1_is_found_where_the_table_stands():
    for entry in notation.ENTRIES:
        if not entry.patterns_on("notation"):
            continue
        for tex in filter(None, (entry.intrinsic, entry.numbers)):
            names = {name for _, name in marked(tex, "chapters/notation")}
            alias = {"weights-and-biases-of-layer-i-as-one-matrix"} if "W_i" in tex else set()
            assert entry.name in names or names & alias or r"(W_i" in tex, (entry.name, tex, names)


@pytest.mark.no_gauge
@pytest.mark.parametrize(
    "path",
    sorted(path for path in (ROOT / "chapters").iterdir() if path.suffix in (".ipynb", ".md")),
    ids=lambda path: path.name,
)
def test_no_bracket_of_a_formula_is_taken_for_an_option(path: Path):
    r"""`\begin{aligned} [W]_H` is typeset as _H: the first bracket says how the lines are placed. Write {}[W]_H."""
    option = r"\\begin\{(aligned|gathered|alignedat)\}(\{\d\})?\s*\[(?![tcb]\])"
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    assert not re.search(option, text)
    assert re.search(option, "\\begin{aligned}\n[W]_H &= 1") and not re.search(option, "\\begin{aligned}[t] x")


@pytest.mark.no_gauge
def test_a_marked_formula_is_the_same_formula():
    """Taking the marks out again leaves the TeX as it was, in all chapters."""
    for path in sorted((ROOT / "chapters").glob("*.ipynb")):
        text = "\n".join(
            "".join(cell["source"])
            for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
            if cell["cell_type"] == "markdown"
        )
        page = f"chapters/{path.stem}"
        for tex in re.findall(r"\$\$(.+?)\$\$|(?<!\$)\$([^$\n]+)\$(?!\$)", text, re.S):
            tex = tex[0] or tex[1]
            out = str(engine(page).call("window.markNotation", tex))
            back = re.sub(r"\\mathbin\{(\\class\{notation notation-\d+\}\{\\otimes\})\}", r"{\1}", out)
            while (start := re.search(r"\{\\class\{notation notation-\d+\}\{", back)) is not None:
                depth, end = 1, start.end()
                while depth:
                    depth += {"{": 1, "}": -1}.get(back[end], 0)
                    end += 1
                assert back[end] == "}"
                back = back[: start.start()] + back[start.end() : end - 1] + back[end + 1 :]
            assert back == tex
