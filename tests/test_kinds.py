"""What may be combined with what: every kind, every operator, every other kind (paper: 2.2.1 to 2.2.5).

A cell of the table is either allowed, and then it has the right kind and the right numbers in a basis, or it raises
KindError with a text that names both kinds and says what to write.
"""

import math
import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from kfac_lite import (
    KFAC,
    SGD,
    AffineBasis,
    AffineMaps,
    AffineSpace,
    Covector,
    KindError,
    MapsBasis,
    Metric,
    Point,
    ProductBasis,
    SpaceError,
    Vector,
    additive,
    affine_combination,
    euclidean,
    from_matrix,
    second_moment,
)

OPERATORS: dict[str, Callable] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "@": operator.matmul,
    "**": operator.pow,
    "//": operator.floordiv,
    "%": operator.mod,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
NUMBERS: dict[str, Any] = {
    "int": 2,
    "float": 2.0,
    "np.float64": np.float64(2),
    "np.float32": np.float32(2),
    "np.int64": np.int64(2),
    "0-dimensional array": np.array(2.0),
    "0-dimensional tensor": torch.tensor(2.0),
    "0-dimensional integer tensor": torch.tensor(2),
}
STRANGE: dict[str, Any] = {
    "ndarray": np.array([1.0, 2.0]),
    "tensor": torch.tensor([1.0, 2.0], dtype=torch.float64),
    "list": [1.0, 2.0],
    "tuple": (1.0, 2.0),
    "str": "a",
    "None": None,
    "bool": True,
    "complex": 2j,
    "boolean tensor": torch.tensor(True),
    "complex tensor": torch.tensor(2j),
    "complex array": np.array(2j),
}
OURS = {"Point": Point, "Vector": Vector, "Covector": Covector, "Metric": Metric}
# Kind by kind; every space but numbers and the paired covector(vector), which is a call.
ALLOWED = {
    ("Point", "-", "Point"): "Vector",
    ("Point", "-", "Vector"): "Point",
    ("Point", "+", "Vector"): "Point",
    ("Vector", "+", "Point"): "Point",
    ("Vector", "+", "Vector"): "Vector",
    ("Vector", "-", "Vector"): "Vector",
    ("Covector", "+", "Covector"): "Covector",
    ("Covector", "-", "Covector"): "Covector",
    ("Metric", "+", "Metric"): "Metric",
    **{(kind, op, "number"): kind for kind in ("Vector", "Covector", "Metric") for op in "*/"},
    **{("number", "*", kind): kind for kind in ("Vector", "Covector", "Metric")},
}
WRITE = re.compile(r"[Ww]rite |Say which: |Compare |Choose |Numbers are real")


class World:
    """Two elements of every kind on one space, and a basis to read them in that is none that made them."""

    def __init__(self) -> None:
        self.space = AffineSpace(2, "A")
        start = AffineBasis(self.space)
        iota = start.changed([[2.0, 1.0], [0.0, 1.0]], [1.0, -1.0])
        self.kappa = start.changed([[0.0, 1.0], [-3.0, 1.0]], [0.5, 4.0])
        self.left = {
            "Point": iota.point([1.0, 2.0]),
            "Vector": iota.vector([3.0, -1.0]),
            "Covector": iota.covector([0.5, 2.0]),
            "Metric": from_matrix(iota, [[2.0, 1.0], [1.0, 3.0]]),
        }
        self.right = {
            "Point": iota.point([-2.0, 5.0]),
            "Vector": iota.vector([1.0, 7.0]),
            "Covector": iota.covector([-1.0, 4.0]),
            "Metric": euclidean(iota),
        }

    def numbers(self, x: Any) -> Any:
        return self.kappa[x] if isinstance(x, Point | Vector | Covector | Metric) else float(x)


def close(a: Any, b: Any) -> bool:
    return torch.allclose(torch.as_tensor(a), torch.as_tensor(b), rtol=1e-13, atol=1e-13)


def refused(f: Callable[[], Any]) -> str:
    """The text of the KindError that f raises, on one line."""
    with pytest.raises(KindError) as info:
        f()
    return " ".join(str(info.value).split())


def kind_of(name: str) -> str:
    return name if name in OURS else "number" if name in NUMBERS else name


@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.parametrize("left", [*OURS, *NUMBERS, *STRANGE])
def test_every_operator_on_every_pair_of_kinds(left: str, op: str):
    world = World()
    rights = [*OURS, *NUMBERS, *STRANGE] if left in OURS else list(OURS)
    if (left, op) == ("str", "%"):
        return  # Python's formatting of strings: "a" % anything is not ours to refuse
    for right in rights:
        a = (world.left | NUMBERS | STRANGE)[left]
        b = (world.right | NUMBERS | STRANGE)[right]
        kind = ALLOWED.get((kind_of(left), op, kind_of(right)))
        if kind is None:
            text = refused(lambda: OPERATORS[op](a, b))  # noqa: B023
            assert WRITE.search(text), f"{left} {op} {right}: it does not say what to write: {text}"
            names = {name for name in (left, right) if name in OURS}
            assert all(name in text.split(":")[0] for name in names), text
        else:
            result = OPERATORS[op](a, b)
            assert isinstance(result, OURS[kind]), f"{left} {op} {right} is a {type(result).__name__}"
            assert result.space is world.space
            assert close(world.numbers(result), OPERATORS[op](world.numbers(a), world.numbers(b))), (
                f"{left} {op} {right}"
            )


@pytest.mark.parametrize("op", ["+", "-", "*", "/", "@", "**", "//", "%"])
@pytest.mark.parametrize("kind", OURS)
def test_a_refusal_begins_with_what_was_tried(kind: str, op: str):
    world = World()
    others = {**world.right, "number": 2.0, "list": [1.0], "str": "a", "NoneType": None, "bool": True, "complex": 2j}
    others |= {"Tensor of shape (2,)": STRANGE["tensor"], "ndarray of shape (2,)": STRANGE["ndarray"]}
    for name, other in others.items():
        if (kind, op, name) not in ALLOWED:
            assert refused(lambda: OPERATORS[op](world.left[kind], other)).startswith(f"{kind} {op} {name}: ")  # noqa: B023
        if (name, op, kind) not in ALLOWED and name not in OURS and (name, op) != ("str", "%"):
            assert refused(lambda: OPERATORS[op](other, world.left[kind])).startswith(f"{name} {op} {kind}: ")  # noqa: B023


def test_augmented_assignment_is_the_same_table():
    world = World()
    p, v, dh = (world.left[kind] for kind in ("Point", "Vector", "Covector"))
    q = p
    q += v
    assert close(world.kappa[q], world.kappa[p] + world.kappa[v])
    with pytest.raises(KindError, match="Point - Covector"):
        q -= dh
    with pytest.raises(KindError, match=r"Point \* number"):
        q *= 2
    x = np.ones(2)
    with pytest.raises(TypeError):  # numpy itself refuses, in words of its own
        x += v
    t = torch.ones(2, dtype=torch.float64)
    with pytest.raises(KindError, match="Tensor of shape"):
        t += v


UNARY: dict[str, Callable] = {
    "-": operator.neg,
    "+": operator.pos,
    "abs": abs,
    "float": float,
    "int": int,
    "complex": complex,
    "bool": bool,
    "index": operator.index,
    "iter": iter,
    "list": list,
    "len": len,
    "[0]": lambda x: x[0],
    "np.asarray": np.asarray,
    "np.array of two": lambda x: np.array([x, x]),
    "np.asarray(dtype)": lambda x: np.asarray(x, dtype=float),
    "torch.as_tensor": torch.as_tensor,
    "torch.tensor": torch.tensor,
    "math.sqrt": math.sqrt,
    "np.linalg.norm": np.linalg.norm,
}


@pytest.mark.parametrize("op", UNARY)
@pytest.mark.parametrize("kind", OURS)
def test_every_function_of_one_element(kind: str, op: str):
    world = World()
    x = world.left[kind]
    if op == "+" and kind != "Point":
        assert close(world.kappa[+x], world.kappa[x])
    elif op == "-" and kind in ("Vector", "Covector"):
        assert close(world.kappa[-x], -world.kappa[x])
        assert isinstance(-x, OURS[kind])
    else:
        text = refused(lambda: UNARY[op](x))
        assert kind in text
        assert WRITE.search(text), text
        if op not in ("-", "+", "abs"):
            assert "Choose a basis: basis[" in text


QUIET: list[Callable] = [
    *(hash, round, np.exp, np.sum, torch.exp),
    *(lambda x: np.add(x, 1), lambda x: torch.stack([x]), lambda x: 2.0 in x, lambda x: divmod(x, 2), lambda x: x | x),
]


@pytest.mark.parametrize("f", QUIET)
@pytest.mark.parametrize("kind", OURS)
def test_no_other_function_takes_an_element_quietly(kind: str, f: Callable):
    with pytest.raises(TypeError):
        f(World().left[kind])


@pytest.mark.parametrize("kind", OURS)
def test_nothing_that_is_printed_shows_numbers(kind: str):
    """repr, str and format say kind, space and shape; a number such as 1.25 would be one of somebody's basis."""
    x = World().left[kind]
    for text in (repr(x), str(x), f"{x}"):
        assert kind.lower() in text.lower()
        assert " A" in text
        assert not re.search(r"\d\.\d", text)


def test_case_t1_a_numpy_scalar_does_not_swallow_the_type():
    world = World()
    v, dh, point = (world.left[kind] for kind in ("Vector", "Covector", "Point"))
    for c in (2, 2.0, np.float64(2), np.float32(2), np.array(2.0), torch.tensor(2.0)):
        for kind, product in ((Vector, c * v), (Vector, v * c), (Covector, c * dh), (Covector, dh * c)):
            assert type(product) is kind
            assert torch.equal(world.kappa[product], world.kappa[2 * (v if kind is Vector else dh)])
        assert torch.equal(world.kappa[v / c], world.kappa[v / 2])
    for op in (lambda: np.array([1.0, 2.0]) * v, lambda: np.float64(2) * point, lambda: v * torch.ones(3)):
        assert "choose a basis" not in refused(op).lower()


def test_scalars_keep_float64():
    world = World()
    for c in (np.float32(0.1), torch.tensor(0.1), torch.tensor(0.1, dtype=torch.float16), 1, 10**20):
        assert world.kappa[c * world.left["Vector"]].dtype == torch.float64


# The texts -------------------------------------------------------------------------------------------------------

# An expression, and below it the whole text of its KindError.
SNAPSHOT = r"""
p - dh
    Point - Covector: A covector eats directions and is none; a metric makes it one. Write point - lr * g.sharp(dh)
    or, if you mean the basis you are in, point - lr * euclidean(basis).sharp(dh)
p + dh
    Point + Covector: A covector eats directions and is none; a metric makes it one. Write point - lr * g.sharp(dh)
    or, if you mean the basis you are in, point - lr * euclidean(basis).sharp(dh)
dh + p
    Covector + Point: A covector eats directions and is none; a metric makes it one. Write point - lr * g.sharp(dh)
    or, if you mean the basis you are in, point - lr * euclidean(basis).sharp(dh)
p - 0.1 * dh
    Point - Covector: A covector eats directions and is none; a metric makes it one. Write point - lr * g.sharp(dh)
    or, if you mean the basis you are in, point - lr * euclidean(basis).sharp(dh)
p + p
    Point + Point: the sum of two points depends on where the origin is. Write q - p for the vector from p to q, or
    affine_combination([0.5, 0.5], [p, q]) for the midpoint.
2 * p
    number * Point: a multiple of a point depends on where the origin is. Choose one and write origin + c * (point -
    origin), or use affine_combination.
p * 2
    Point * number: a multiple of a point depends on where the origin is. Choose one and write origin + c * (point -
    origin), or use affine_combination.
p / 2
    Point / number: a multiple of a point depends on where the origin is. Choose one and write origin + c * (point -
    origin), or use affine_combination.
-p
    -Point: a multiple of a point depends on where the origin is. Choose one and write origin + c * (point - origin),
    or use affine_combination.
1 - p
    number - Point: a number has no direction. Write point + c * v with a vector v.
v - p
    Vector - Point: a point cannot be taken from a vector. Write p - q for a vector, or p - v for a point.
v + dh
    Vector + Covector: a vector and a covector change oppositely under a change of basis, so their sum would be
    another one in every basis. Write v + g.sharp(dh) for a vector, or g.flat(v) + dh for a covector.
v * v
    Vector * Vector: vectors have no product without a metric. Write g(u, v).
v @ v
    Vector @ Vector: vectors have no product without a metric. Write g(u, v).
dh * dh
    Covector * Covector: covectors have no product without a metric. Write g(g.sharp(a), g.sharp(b)).
dh * v
    Covector * Vector: a covector is applied to a vector. Write phi(v).
dh @ v
    Covector @ Vector: a covector is applied to a vector. Write phi(v).
v * dh
    Vector * Covector: a covector is applied to a vector. Write phi(v).
dh(dh)
    Covector(Covector): a covector eats vectors. Turn one into a vector with a metric: write a(g.sharp(b)).
dh(p)
    Covector(Point): a covector eats vectors. Write dh(p - q) with the difference of two points.
v + 1
    Vector + number: a number has no direction. Write v + c * u with a vector u. (Python's sum starts from the number
    0: write sum(vs[1:], vs[0]).)
v * np.ones(2)
    Vector * ndarray of shape (2,): ndarray of shape (2,) holds numbers of some basis, and a Vector has none. Say
    which: basis.point(x), basis.vector(x) or basis.covector(x) makes an element, basis[x] makes numbers.
np.asarray(p)
    an array of a Point: it has no numbers of its own. Choose a basis: basis[point]
float(v)
    the value of a Vector: it has no numbers of its own. Choose a basis: basis[v]
abs(v)
    abs of a Vector: only vectors have a length, and it needs a metric. Write g.norm(v)
p == p
    Point == Point: equal up to which rounding, measured in what? Choose a basis and compare numbers,
    torch.equal(basis[x], basis[y]), or for vectors a metric, g.norm(u - v) < tolerance
g + 1e-3
    Metric + number: a number is a metric only in some basis (Remark 3.12). Write g + c * euclidean(basis), which says
    in which.
1e-3 + g
    number + Metric: a number is a metric only in some basis (Remark 3.12). Write g + c * euclidean(basis), which says
    in which.
sum([g, g])
    number + Metric: a number is a metric only in some basis (Remark 3.12). Write g + c * euclidean(basis), which says
    in which.
-1 * g
    Metric * -1: a metric gives no direction a negative length; scale by c >= 0
g - g
    Metric - Metric: a difference may give a direction a negative length, and is no metric then. Write g(u, v) - d(u,
    v), which takes numbers from one another.
g(dh, v)
    g(u, v) takes a Vector, not a Covector. Write g.sharp(dh), the vector that belongs to dh.
g.sharp(v)
    g.sharp(dh) takes a Covector, not a Vector. Write g.flat(v), the covector that belongs to v.
g.flat(dh)
    g.flat(v) takes a Vector, not a Covector. Write g.sharp(dh), the vector that belongs to dh.
g.flat(p)
    g.flat(v) takes a Vector, not a Point. The difference of two points is a vector: p - q.
g.norm(np.ones(2))
    g(u, v) takes a Vector, not a ndarray of shape (2,). Make one with a basis: basis.vector(x).
KFAC(0.1, damping=1e-3)
    KFAC(damping=number): a number is a metric only in some basis (Remark 3.12). Write damping=1e-3 *
    euclidean(iota.weights), which says in which
basis[2.0]
    basis[number]: a basis reads points, vectors, covectors and metrics
basis.point(p)
    a point of A: got a Point, which is an element already; numbers are wanted
euclidean(1.0)
    euclidean(number): it takes a basis, for only a basis says which vectors are unit vectors
affine_combination([1.0, 1.0], [p, p])
    affine_combination: the weights sum to 2, so the result depends on where the origin is. Divide them by their sum,
    or write origin + the sum of w_i * (p_i - origin)
"""
ENTRY = re.compile(r"^(\S.*)\n((?: {4}.*\n)+)", re.MULTILINE)
TEXTS = {expression: " ".join(text.split()) for expression, text in ENTRY.findall(SNAPSHOT)}


@pytest.mark.parametrize("expression", TEXTS)
def test_the_text_of_a_refusal(expression: str):
    world = World()
    p, v, dh, g = (world.left[kind] for kind in OURS)
    names = {"p": p, "v": v, "dh": dh, "g": g, "np": np, "basis": world.kappa, "KFAC": KFAC}
    names |= {"euclidean": euclidean, "affine_combination": affine_combination}
    assert refused(lambda: eval(expression, names)) == TEXTS[expression]


@pytest.mark.parametrize("what", ["g.sharp(dh)", "euclidean(basis).sharp(dh)"])
def test_the_lines_that_the_message_recommends_run(what: str):
    world = World()
    point, dh, g = (world.left[kind] for kind in ("Point", "Covector", "Metric"))
    step = eval(what, {"g": g, "dh": dh, "euclidean": euclidean, "basis": world.kappa})
    assert what in TEXTS["p - dh"]
    assert isinstance(point - 0.1 * step, Point)


def test_sgd_says_its_basis():
    with pytest.raises(TypeError, match="basis"):
        SGD(0.1)  # type: ignore[call-arg]


# Two spaces ------------------------------------------------------------------------------------------------------


def two_spaces(kind: str) -> tuple[Any, Any]:
    """An element of the kind on A, and one on another space B of the same dimension."""
    made = []
    for name in "AB":
        basis = AffineBasis(AffineSpace(2, name))
        made.append(euclidean(basis) if kind == "Metric" else getattr(basis, kind.lower())([1.0, 2.0]))
    return made[0], made[1]


@pytest.mark.parametrize(("left", "op", "right"), [cell for cell in ALLOWED if "number" not in cell])
def test_two_spaces_do_not_mix(left: str, op: str, right: str):
    with pytest.raises(SpaceError, match=r"\bA\b.*\bB\b"):
        OPERATORS[op](two_spaces(left)[0], two_spaces(right)[1])


def test_what_is_applied_to_something_checks_the_space():
    (dh, _), (v, w), (g, _) = (two_spaces(kind) for kind in ("Covector", "Vector", "Metric"))
    assert v.space is not w.space
    for f in (lambda: dh(w), lambda: g.flat(w), lambda: g(w, w), lambda: g.norm(w)):
        with pytest.raises(SpaceError, match=r"\bA\b.*\bB\b"):
            f()
    with pytest.raises(SpaceError, match=r"\bA\b.*\bB\b"):
        g.sharp(two_spaces("Covector")[1])


def test_spaces_of_one_name_are_told_apart():
    p, q = (AffineBasis(AffineSpace(2, "A")).point([1.0, 2.0]) for _ in range(2))
    with pytest.raises(SpaceError, match="another space of the same name"):
        _ = q - p


def test_a_kind_error_is_a_type_error_and_a_space_error_a_value_error():
    assert issubclass(KindError, TypeError)
    assert issubclass(SpaceError, ValueError)


# Calls -----------------------------------------------------------------------------------------------------------


def test_what_can_be_applied_to_what():
    """On Aff(A, Z): omega(point) is a point of Z, omega(vector) and vector(point) are vectors on Z, dh(v) a number."""
    a, z = AffineBasis(AffineSpace(2, "A")), AffineBasis(AffineSpace(3, "Z"))
    maps = MapsBasis(a, z)
    W = torch.arange(9.0, dtype=torch.float64).reshape(3, 3)
    functions: dict[str, Any] = {"Point": maps.point(W), "Vector": maps.vector(W), "Covector": maps.covector(W)}
    arguments = {
        "Point": a.point([1.0, -2.0]),
        "Vector": a.vector([1.0, -2.0]),
        "Covector": a.covector([1.0, -2.0]),
        "Metric": euclidean(a),
        "Vector on Aff": maps.vector(W + 1),
        **NUMBERS,
        **STRANGE,
    }
    linear, constant = W[:, :2] @ torch.tensor([1.0, -2.0], dtype=torch.float64), W[:, 2]
    allowed = {
        ("Point", "Point"): (Point, linear + constant),
        ("Point", "Vector"): (Vector, linear),
        ("Vector", "Point"): (Vector, linear + constant),
    }
    for f, function in functions.items():
        for x, argument in arguments.items():
            if (f, x) in allowed:
                kind, numbers = allowed[f, x]
                result = function(argument)
                assert type(result) is kind
                assert close(z[result], numbers)
            elif (f, x) == ("Covector", "Vector on Aff"):
                assert close(function(argument), (W * (W + 1)).sum())
            elif (f, x) in {("Covector", "Vector")}:
                with pytest.raises(SpaceError, match="A"):
                    function(argument)
            elif (f, x) == ("Point", "Vector on Aff"):
                with pytest.raises(SpaceError, match=r"a map from A was applied to an element of Aff\(A, Z\)"):
                    function(argument)
            else:
                assert f in refused(lambda: function(argument))  # noqa: B023
    elements: dict[str, Any] = {"Point": a.point([1.0, -2.0]), "Vector": a.vector([1.0, -2.0])}
    for name, element in elements.items():
        for argument in arguments.values():
            assert refused(lambda: element(argument)).startswith(f"{name}(")  # noqa: B023


def test_metrics_take_vectors_and_sharp_takes_covectors():
    world = World()
    g = world.left["Metric"]
    others = {**world.right, **NUMBERS, **STRANGE}
    for name, x in others.items():
        if name != "Vector":
            assert "takes a Vector, not a" in refused(lambda: g.flat(x))  # noqa: B023
            assert "takes a Vector, not a" in refused(lambda: g(x, world.left["Vector"]))  # noqa: B023
            assert "takes a Vector, not a" in refused(lambda: g(world.left["Vector"], x))  # noqa: B023
        if name != "Covector":
            assert "takes a Covector, not a" in refused(lambda: g.sharp(x))  # noqa: B023


def test_metrics_on_different_kinds_of_space_do_not_add():
    a, z = AffineBasis(AffineSpace(1, "A")), AffineBasis(AffineSpace(2, "Z"))
    maps, product = MapsBasis(a, z), ProductBasis((a, z))
    metrics = [euclidean(basis) for basis in (a, z, maps, product)]
    for i, g in enumerate(metrics):
        for j, d in enumerate(metrics):
            if i != j:
                with pytest.raises(SpaceError, match="additive"):
                    _ = g + d
    assert isinstance(additive(metrics[0], metrics[1]) + metrics[3], Metric)


def test_a_second_moment_is_no_metric():
    A: Any = second_moment(AffineBasis(AffineSpace(1, "A")).point([[1.0], [2.0]]))
    g = euclidean(AffineBasis(AffineSpace(1, "A")))
    for f in (lambda: g + A, lambda: A + g, lambda: A * 2, lambda: A + A):
        with pytest.raises(TypeError):
            f()


def test_maps_have_their_own_space():
    a, z = AffineSpace(2, "A"), AffineSpace(2, "Z")
    assert AffineMaps(a, z) == AffineMaps(a, z)
    assert AffineMaps(a, z) != AffineMaps(z, a)
