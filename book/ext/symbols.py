"""The rows of Table 1, and of the words of this book beside it: TeX, code, and what finds each symbol in a formula.

A pattern is read by Python and by the page. It says which scripts or brackets a letter needs to mean the entry.
`not_on` names the pages, by the beginning of their names, on which the letter means something else, `here` the
patterns that hold on some pages only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

BACKGROUND, OWN = ("2-2-", "a-"), ("4-", "5-", "a-reading")  # the letters of sections 4 and 5 are their own
TABLE = ("notation",)
BARE = ("2-1-", "3-2-", "3-5-", *TABLE)
LAYER = r"(?=_(?:[iL1-9]|\{[iL](?:[-+]1)?\}))"  # a subscript that counts layers
MAP = r"(?=_(?:[iL0-9]|\{[iL](?:[-+]1)?\}))"


@dataclass(frozen=True)
class Entry:
    """A row of Table 1: TeX and code without coordinates, TeX and code in a basis; "" where there is none."""

    meaning: str
    intrinsic: str
    code: str
    numbers: str
    arrays: str
    patterns: Sequence[str] = ()
    not_on: Sequence[str] = ()
    own: bool = False  # not in the paper's table: a word of this book
    bare: str = ""  # the letter by itself, which means the entry on the pages `bare_on` only
    bare_on: Sequence[str] = ()
    here: Mapping[str, Sequence[str]] = field(default_factory=dict)  # more patterns, by the beginning of a page's name
    called: str = ""  # a shorter name

    @property
    def name(self) -> str:
        return self.called or re.sub(r"[^a-z]+", "-", self.meaning.lower()).strip("-")

    def patterns_on(self, page: str) -> list[str]:
        """What finds the entry in the TeX of this page."""
        bare = alone(self.bare) if self.bare and page.startswith(tuple(self.bare_on)) else []
        return [
            *(() if page.startswith(tuple(self.not_on)) else (*self.patterns, *bare)),
            *(p for start, more in self.here.items() if page.startswith(start) for p in more),
        ]


def alone(letter: str) -> list[str]:
    """The letter without scripts, and neither a script itself nor a function."""
    return [rf"(?<![_^{{]){letter}(?![A-Za-z_^(])"]


ENTRIES = (
    Entry(
        "an input",
        r"\xi",
        "h.inputs",
        "x",
        "kappa.inputs[h.inputs]",
        [r"\\xi", r"x(?=\s*,\s*w\))"],
        bare="x",
        bare_on=BARE,
    ),
    Entry(
        "a target",
        r"\upsilon",
        "targets",
        "y",
        "h.in_basis(kappa)[2]",
        [r"\\upsilon", r"y(?=\s*,\s*f\()"],
        bare="y",
        bare_on=TABLE,
    ),
    Entry(
        "activations of layer i",
        r"\alpha_i",
        "net.activate(i, zeta)",
        "a_i",
        "kappa.activations[i][alpha]",
        [r"\\alpha" + MAP, rf"a{MAP}"],
        OWN,
    ),
    Entry("homogenised activations", "", "", r"\bar a_i", "mlp.bar(a)", [r"\\bar(?:\s*a|\{a\}|\\alpha)(?![A-Za-z])"]),
    Entry(
        "pre-activations of layer i",
        r"\zeta_i",
        "omega_i(alpha)",
        "z_i",
        "kappa.preactivations[i - 1][zeta]",
        [r"\\zeta", rf"z{MAP}"],
        OWN,
    ),
    Entry(
        "the map of layer i: its weights and biases",
        r"\omega_i",
        "omega.parts[i - 1]",
        r"(W_i\ \ b_i)",
        "kappa.weights[omega][i - 1]",
        [rf"\\omega{LAYER}", rf"b{LAYER}"],
    ),
    Entry(
        "weights and biases of layer i as one matrix",
        "",
        "",
        r"\bar W_i",
        "kappa.weights[omega][i - 1]",
        [r"\\bar(?:\s*W|\{W\})"],
    ),
    Entry(
        "the activation function of layer i",
        r"\rho_i",
        "lambda zeta: net.activate(i, zeta)",
        r"\varphi_i",
        "network.layers[i - 1].phi",
        [r"\\rho(?![A-Za-z])", rf"\\(?:var)?phi{LAYER}"],
        OWN,
    ),
    Entry(
        "the parameter of the network: all its maps",
        r"\omega",
        "omega",
        "w",
        "kappa.weights[omega]",
        [r"\\omega(?![A-Za-z_])", r"(?:(?<=[hfFp]\()|(?<=x,)|(?<=x, ))w(?=\))"],
        ("a-", "2-2-3-"),
        bare="w",
        bare_on=BARE,
    ),
    Entry(
        "the output of the network",
        r"f(\xi, \omega)",
        "net(omega, h.inputs)",
        "f(x, w)",
        "mlp.forward(network, w, x)[0]",
        [r"f(?=\((?:\\xi|x)\s*,)", r"f(?=_\{?\\xi)"],
    ),
    Entry(
        "the loss of one datum",
        r"L(\upsilon, f(\xi, \omega))",
        "likelihood.loss(net(omega, h.inputs), targets)",
        "L(y, f(x, w))",
        "mlp.loss(network, w, x[:1], y[:1])",
        [r"(?:\\mathcal\s*)?L(?=\((?:y|\\upsilon)\s*,)"],
    ),
    Entry(
        "the objective: the mean loss over the data",
        r"h(\omega)",
        "h(omega)",
        "h(w)",
        "mlp.loss(network, w, x, y)",
        [r"h(?=\((?:\\omega|w)\))"],
    ),
    Entry(
        "the predictive distribution",
        r"P_{\upsilon \mid \xi}(\omega)",
        "likelihood.sample(net(omega, h.inputs), generator)",
        r"P_{y \mid x}(w)",
        "likelihood.sample(net(omega, h.inputs), generator)",
        [r"P(?=_\{(?:\\upsilon|y))"],
    ),
    Entry(
        "its density, for a Gaussian up to a constant",
        r"p(\upsilon \mid \xi, \omega)",
        "(-likelihood.loss(net(omega, h.inputs), targets)).exp()",
        r"p(y \mid x, w)",
        "(-mlp.loss(network, w, x[:1], y[:1])).exp()",
        [r"p(?=\((?:\\upsilon|y)\s*(?:\||\\mid))"],
    ),
    Entry(
        "the Fisher metric, and its matrix",
        r"g_F(\omega)",
        "k.fisher(h, omega)",
        "F(w)",
        "kappa.weights[k.fisher(h, omega)]",
        [r"g(?=_F|_\{F\}|_\{\\(?:text|mathrm)\{F\}\})", r"F(?=\(w\))"],
    ),
    Entry(
        "the differential of one datum's loss by the map of layer i",
        r"d\mathcal L_{\omega_i}",
        "h.batch([n]).d(omega).parts[i - 1]",
        r"\mathcal D \bar W_i",
        "mlp.gradient(network, w, x[:1], y[:1])[i - 1]",
        [r"d\\mathcal\s*L(?=_\{\\omega_)", r"(?:\\mathcal\s*)?D\s*(?=\\bar\s*W)"],
    ),
    Entry(
        "the differential of one datum's loss",
        r"d\mathcal L_\omega",
        "h.batch([n]).d(omega)",
        r"\mathcal D w",
        "mlp.gradient(network, w, x[:1], y[:1])",
        [r"d\\mathcal\s*L", r"\\mathcal\s*D\s*(?=w)"],
    ),
    Entry(
        "the K-FAC metric, and its matrix",
        r"g_{\text{K-FAC}}(\omega)",
        "k.kfac(h, omega)",
        r"\hat F(w)",
        "kappa.weights[k.kfac(h, omega)]",
        [r"g(?=_\{\\(?:text|mathrm)\{K)", r"\\hat(?:\s*F|\{F\})"],
    ),
    Entry(
        "tensor product, and Kronecker product",
        r"\otimes",
        "k.kronecker(A, G)",
        r"\otimes",
        "torch.kron(A, G)",
        [r"\\otimes"],
    ),
    Entry(
        "the second moment of a layer's homogenised inputs, a factor of K-FAC",
        "",
        "k.second_moment(alpha)",
        "A_{i-1}",
        "mlp.factors(network, w, x)[i - 1][0]",
        own=True,
        here={
            "notation": [r"A(?=_\{i-1\})"],
            "1-": [r"A(?=\s*\\otimes|\^\{-1\})", *alone("A")],
            "3-2-": [r"A(?=\^\{-1\}|, G)"],
            "4-": [r"A(?=\s*\\otimes G|_t \\otimes G|\^\{-1\})"],
            "5-": [r"A(?=\s*\\otimes G)"],
            "2-1-": [rf"A{MAP}", r"A(?=\s*\\otimes)", r"A(?=\^\{-1\}|\^\\top|, G)", *alone("A")],
            "3-4-": [r"A(?=\s*(?:\\otimes\s*G|\\lambda))"],
            "3-5-": [
                r"A(?=\^\\dagger|_\{i-1\}\s*\\bar)",
                r"A(?=\^\\dagger\)\^\{-1\}|\^\{-1\})",
                r"(?<![_^{])A(?![A-Za-z_^(]| = A_)",
            ],
        },
        called="A",
    ),
    Entry(
        "the mean metric on the pre-activations of layer i, the other factor",
        "",
        "k.expected(g)",
        "G_i",
        "mlp.factors(network, w, x)[i - 1][1]",
        own=True,
        here={
            "notation": [rf"G{LAYER}"],
            "1-": [r"G(?=\^\{-1\})", r"(?<=\\otimes )G", *alone("G")],
            "3-2-": [r"G(?=\^\{-1\} D A)", r"(?<=A, )G"],
            "4-": [r"(?<=\\otimes )G", r"G(?=\^\{-1\})", *alone("G")],
            "5-": [r"(?<=\\otimes )G"],
            "2-1-": [
                rf"G{LAYER}",
                r"G(?=\s*\\otimes| V A|\^\{-1\}\\, \\nabla_)",
                r"(?<=\\otimes )G",
                r"(?<=A, )G",
                r"(?<=\}\\, )G",
            ],
            "3-4-": [r"(?<=\\otimes )G(?!\()", r"G(?=\s*\\mu)"],
            "3-5-": [rf"G{LAYER}", r"G(?=\^\\dagger|\^\{-1\})", *alone("G")],
        },
        called="G",
    ),
    Entry("the space of inputs", "X", "net.home.inputs.space", "", "", [r"X(?=\s*=\s*A_0)"], bare="X", bare_on=BARE),
    Entry("the space of outputs", "Y", "net.home.outputs.space", "", "", [r"Y(?![A-Za-z_^(])"], BACKGROUND),
    Entry(
        "the space of activations of layer i",
        "A_i",
        "net.home.activations[i].space",
        "",
        "",
        [rf"A{MAP}(?!_0\^|_\{{i-1\}}\^)"],
        ("2-1-", "2-2-", *OWN),
    ),
    Entry(
        "the space of pre-activations of layer i",
        "Z_i",
        "net.home.preactivations[i - 1].space",
        "",
        "",
        [rf"Z{LAYER}"],
        OWN,
    ),
    Entry(
        "the weight space of layer i (in a product with activations: its weight matrix)",
        "W_i",
        "net.space.factors[i - 1]",
        "",
        "",
        [rf"W{LAYER}"],
        OWN,
        here={"4-": [r"W(?=_l(?:\\,| & b|\]_H|\^\\ddagger\]))"]},
    ),
    Entry(
        "the weight space of the network (in W a + b: the matrix of one layer)",
        "W",
        "net.space",
        "",
        "",
        [r"W(?![A-Za-z_])"],
        (*BACKGROUND, *OWN),
        here={"5-": [r"W(?= a_|\^\\ddagger a|\\ b\)|\\ V)"]},
    ),
    Entry(
        "the differential of the objective: a covector",
        "dh(\\omega)",
        "h.d(omega)",
        r"\nabla h(w)",
        "kappa.weights[h.d(omega)]",
        [r"dh(?![A-Za-z])", r"\\nabla\s*h(?![A-Za-z])"],
        BACKGROUND,
        own=True,
    ),
    Entry(
        "the matrix of the change from ι to κ on the activations of layer i",
        "",
        "",
        r"\Omega_i",
        "iota.activations[i].to(kappa.activations[i])[0]",
        [r"\\Omega(?![A-Za-z])"],
        own=True,
        called="Omega",
    ),
    Entry(
        "the shift of the change from ι to κ on the activations of layer i",
        "",
        "",
        r"\gamma_i",
        "iota.activations[i].to(kappa.activations[i])[1]",
        [rf"\\gamma{MAP}"],
        own=True,
        here={start: [r"\\gamma(?![A-Za-z])"] for start in ("1-", "4-", "5-")},
        called="gamma",
    ),
    Entry(
        "the matrix of the change from κ to ι on the pre-activations of layer i",
        "",
        "",
        r"\Phi_i",
        "kappa.preactivations[i - 1].to(iota.preactivations[i - 1])[0]",
        [r"\\Phi(?![A-Za-z])"],
        own=True,
        called="Phi",
    ),
    Entry(
        "the shift of the change from κ to ι on the pre-activations of layer i",
        "",
        "",
        r"\tau_i",
        "kappa.preactivations[i - 1].to(iota.preactivations[i - 1])[1]",
        [rf"\\tau{LAYER}"],
        own=True,
        here={start: [r"\\tau(?![A-Za-z])"] for start in ("4-", "5-")},
        called="tau",
    ),
    Entry(
        "the numbers of an object in a basis",
        "",
        "",
        r"\basis{\omega}_\kappa",
        "kappa.weights[omega]",
        own=True,
    ),
)
