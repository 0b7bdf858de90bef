"""Residues are a field, linear algebra over them is what Fractions say, and nothing inexact gets in (paper: none)."""

import math
import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.linalg import LinAlgError  # pyright: ignore[reportAttributeAccessIssue]

from kfac_lite.exact import LONGEST_SUM, P, Residues, residue, residues

pytestmark = pytest.mark.no_gauge

extremes = st.sampled_from([0, 1, 2, P - 1, P - 2, 2**16 - 1, 2**16, 2**30])
entry = extremes | st.integers(0, P - 1)
ratio = st.fractions(max_denominator=10**6)
number = ratio | st.integers() | st.floats(allow_nan=False, allow_infinity=False)


def vectors(count: int):
    """That many arrays of one length."""
    row = st.tuples(*[entry] * count)
    return st.lists(row, min_size=1, max_size=6).map(lambda rows: [residues(list(v)) for v in zip(*rows, strict=True)])


def matrix(rows: int, columns: int, entries: st.SearchStrategy = entry):
    row = st.lists(entries, min_size=columns, max_size=columns)
    return st.lists(row, min_size=rows, max_size=rows)


def same(a: Any, b: Any) -> bool:
    return a.shape == b.shape and torch.equal(a, b)


# The field ---------------------------------------------------------------------------------------------------------


@given(vectors(3))
def test_residues_are_a_field(abc):
    a, b, c = abc
    assert same(a + b, b + a) and same(a * b, b * a)
    assert same((a + b) + c, a + (b + c)) and same((a * b) * c, a * (b * c))
    assert same(a * (b + c), a * b + a * c)
    assert same(a + 0, a) and same(a * 1, a) and same(a - a, torch.zeros_like(a)) and same(-a, 0 - a)
    assume(bool((b != 0).all()))
    assert same(a / b * b, a) and same(b / b, torch.ones_like(b)) and same(1 / b, b**-1)


@given(vectors(2), number)
def test_operators_say_what_python_integers_say(ab, q):
    (a, b), s = ab, residue(q)
    x, y = a.r.tolist(), b.r.tolist()
    pairs = list(zip(x, y, strict=True))
    assert (a + b).r.tolist() == [(i + j) % P for i, j in pairs]
    assert (a - b).r.tolist() == [(i - j) % P for i, j in pairs]
    assert (a * b).r.tolist() == [i * j % P for i, j in pairs]
    assert (a + q).r.tolist() == (q + a).r.tolist() == [(i + s) % P for i in x]
    assert (a - q).r.tolist() == (-(q - a)).r.tolist() == [(i - s) % P for i in x]
    assert (a * q).r.tolist() == (q * a).r.tolist() == [i * s % P for i in x]
    for k in range(6):
        assert (a**k).r.tolist() == [pow(i, k, P) for i in x]


@given(ratio, ratio)
def test_the_residue_of_fractions_is_a_homomorphism(p, q):
    assert residue(p + q) == (residue(p) + residue(q)) % P
    assert residue(p * q) == residue(p) * residue(q) % P
    if q:
        assert same(residues(p) / q, residues(p / q))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_is_exactly_the_fraction_that_it_stores(x):
    assert residue(x) == residue(Fraction(x))


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5), st.data())
def test_matmul_says_what_python_integers_say(m, n, k, data):
    A, B = data.draw(matrix(m, n)), data.draw(matrix(n, k))
    C = [[sum(a * b for a, b in zip(row, column, strict=True)) % P for column in zip(*B, strict=True)] for row in A]
    assert (residues(A) @ residues(B)).r.tolist() == C
    assert (residues([A, A]) @ residues(B)).r.tolist() == [C, C]


def test_the_longest_sum_of_the_largest_products_is_right_and_a_longer_one_refused():
    largest: Any = Residues(torch.full((LONGEST_SUM + 1,), P - 1))  # -1, whose square is 1
    fits = largest[1:]
    assert int((fits @ fits).r) == LONGEST_SUM
    assert (LONGEST_SUM * (2**16 - 1) + 2**16) * (P - 1) < 2**63 < (LONGEST_SUM * (2**16 - 1) + 2**17) * P
    with pytest.raises(OverflowError, match=f"@ over {LONGEST_SUM + 1} terms may leave 64 bits: add up parts"):
        _ = largest @ largest


# Linear algebra and the moving of entries, beside Fractions ----------------------------------------------------------


def fraction_matrix(numbers) -> np.ndarray:
    return np.array([[Fraction(x) for x in row] for row in numbers], dtype=object)


@given(st.integers(1, 4), st.data())
def test_solve_and_inv_undo_the_product_and_agree_with_fractions(n, data):
    A = fraction_matrix(data.draw(matrix(n, n, st.integers(-5, 5))))
    X = fraction_matrix(data.draw(matrix(n, 3, ratio)))
    R = residues(A)
    try:
        inverse = torch.linalg.inv(R)
    except LinAlgError:
        assert round(np.linalg.det(A.astype(float))) == 0
        return
    assert same(torch.linalg.solve(R, residues(A @ X)), residues(X))
    assert same(inverse @ R, residues(torch.eye(n))) and same(R @ inverse, residues(torch.eye(n)))


@given(matrix(2, 3, ratio), matrix(3, 2, ratio))
def test_entries_move_and_add_as_those_of_fractions(a, b):
    A, B = fraction_matrix(a), fraction_matrix(b)
    x, y = residues(A), residues(B)
    assert same(torch.kron(x, y), residues(np.kron(A, B)))
    assert same(x.sum(), residues(A.sum())) and same(x.sum(0), residues(A.sum(0)))
    assert same(torch.sum(x, dim=1), residues(A.sum(1)))
    assert same(x.mT, residues(A.T)) and same(x[:, 1:], residues(A[:, 1:])) and same(x[0], residues(A[0]))
    assert same(x.reshape(3, 2), residues(A.reshape(3, 2))) and same(x.flatten(), residues(A.reshape(-1)))
    assert same(x[0].diag(), residues(np.diag(A[0]))) and same(x.diagonal(), residues(A.diagonal()))
    assert same(torch.cat([x, y.mT]), residues(np.concatenate([A, B.T])))
    assert same(torch.cat((x, y.mT), dim=-1), residues(np.concatenate([A, B.T], -1)))
    assert same(x[:, None].expand(2, 4, 3), residues(np.broadcast_to(A[:, None], (2, 4, 3))))
    assert same(torch.nn.functional.pad(x, (1, 2)), residues(np.pad(A, [(0, 0), (1, 2)])))
    half = np.full((2, 1), 0.5)
    assert same(torch.nn.functional.pad(x, (0, 1), value=0.5), residues(np.concatenate([A, half], 1)))
    assert same(torch.zeros_like(x), residues(np.zeros((2, 3)))) and same(torch.ones_like(x), residues(np.ones((2, 3))))


@pytest.mark.parametrize("numbers", [[[1, 2], [3, 4]], [], [[]], 7, [Fraction(1, 3), 0.5], [-1, 2**80]])
def test_residues_keep_the_shape(numbers):
    x = residues(numbers)
    assert x.shape == np.array(numbers, dtype=object).shape
    assert residues(x) is x


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_any_real_tensor_goes_over_exactly(dtype):
    x = torch.tensor([[0, 1, 0.1], [1.5, 3, -2]]).to(dtype)
    assert same(residues(x), residues(x.double()))
    assert same(residues(x), residues([[Fraction(v) for v in row] for row in x.tolist()]))


def test_numpy_arrays_and_numbers_go_over_exactly():
    x = np.array([0.1, 0.25])
    assert same(residues(x), residues(torch.from_numpy(x)))
    assert same(residues(x) * np.float64(0.1), residues(x) * 0.1) and same(np.int64(3) * residues(x), residues(x) * 3)
    assert same(np.float32(0.1) * residues(1), residues(float(np.float32(0.1))))


def test_equality_is_entry_by_entry():
    x = residues([1, 0.5, 3])
    assert (x == residues([1, 0.5, 4])).tolist() == [True, True, False]
    assert (x != 0.5).tolist() == [True, False, True]
    assert not torch.equal(x, x[:2]) and torch.equal(x, x)


def test_residues_print_as_what_makes_them():
    x = residues([[1, -1], [0, 1]])
    assert repr(x) == f"residues([[         1, {P - 1}],\n          [         0,          1]])"
    assert same(eval(repr(x)), x)


# Refusals ------------------------------------------------------------------------------------------------------------

X = residues([[1, 2], [3, 5]])
FLOATS = torch.ones(2, 2, dtype=torch.float64)
MIXED = "exact and rounded numbers do not mix. Write residues(...) around it."
FIELD = "of Residues: a field has + - * / and what they make, no limits and no order. Write "

REFUSED = {
    "tanh": (lambda: torch.tanh(X), TypeError, f"tanh {FIELD}a polynomial, such as square or cubic units."),
    "sqrt": (lambda: torch.sqrt(X), TypeError, f"sqrt {FIELD}the weight beside the square, as in (weight * D).mT @ D."),
    "method": (lambda: X.sigmoid(), TypeError, f"sigmoid {FIELD}a polynomial, such as square or cubic units."),
    "softmax": (lambda: torch.softmax(X, -1), TypeError, f"softmax {FIELD}Gaussian outputs on one-hot targets."),
    "softplus": (lambda: torch.nn.functional.softplus(X), TypeError, "softplus of Residues"),
    "lstsq": (lambda: torch.linalg.lstsq(X, X), TypeError, f"lstsq {FIELD}torch.linalg.solve(A, B), which is"),
    "eigh": (lambda: torch.linalg.eigh(X), TypeError, f"eigh {FIELD}torch.linalg.solve(A, B), which is elimination."),
    "mean": (lambda: X.mean(), TypeError, f"mean {FIELD}x.sum(0) / len(x)."),
    "other": (lambda: torch.median(X), TypeError, f"median {FIELD}it with operators, solve and inv."),
    "order": (lambda: X < 3, TypeError, f"order {FIELD}x == y, or torch.equal(x, y)."),
    "reflected order": (lambda: FLOATS[0, 0].item() <= X, TypeError, f"order {FIELD}x == y, or torch.equal(x, y)."),
    "size": (lambda: abs(X), TypeError, f"abs {FIELD}x == y, or torch.equal(x, y)."),
    "root": (lambda: X**0.5, TypeError, "residues to the power 0.5: a field has no roots. Write an integer exponent."),
    "number": (lambda: float(X[0, 0]), TypeError, f"conversion {FIELD}x.r, the integers from 0 to P - 1"),
    "item": (lambda: X[0, 0].item(), TypeError, f"item {FIELD}x.r, the integers from 0 to P - 1 that stand for x."),
    "numpy": (lambda: np.asarray(X), TypeError, f"conversion {FIELD}x.r, the integers from 0 to P - 1"),
    "dtype": (lambda: torch.ones_like(X, dtype=torch.float64), TypeError, "Residues around a torch.float64 tensor"),
    "+ tensor": (lambda: X + FLOATS, TypeError, f"Residues beside a torch.float64 tensor: {MIXED}"),
    "tensor +": (lambda: FLOATS + X, TypeError, f"Residues beside a torch.float64 tensor: {MIXED}"),
    "@ tensor": (lambda: X @ FLOATS, TypeError, f"Residues beside a torch.float64 tensor: {MIXED}"),
    "tensor @": (lambda: FLOATS.float() @ X, TypeError, f"Residues beside a torch.float32 tensor: {MIXED}"),
    "tensor ==": (lambda: FLOATS == X, TypeError, f"Residues beside a torch.float64 tensor: {MIXED}"),
    "== tensor": (lambda: X == FLOATS, TypeError, f"Residues beside a torch.float64 tensor: {MIXED}"),
    "integer tensor": (lambda: X * FLOATS.long(), TypeError, f"Residues beside a torch.int64 tensor: {MIXED}"),
    "array": (lambda: np.ones((2, 2)) * X, TypeError, f"Residues beside a ndarray: {MIXED}"),
    "array @": (lambda: np.ones((2, 2)) @ X, TypeError, f"Residues beside a ndarray: {MIXED}"),
    "cat": (lambda: torch.cat([X, FLOATS]), TypeError, f"Residues beside a torch.float64 tensor: {MIXED}"),
    "solve": (lambda: torch.linalg.solve(FLOATS, X), TypeError, f"Residues beside a torch.float64 tensor: {MIXED}"),
    "wrap": (lambda: Residues(FLOATS), TypeError, "Residues around a torch.float64 tensor: they wrap int64. Write"),
    "text": (lambda: X + "1", TypeError, f"Residues beside a str: {MIXED}"),
    "attribute": (lambda: X.dtype, AttributeError, "Residues have no dtype: they have r, shape, mT and the exact"),
    "nan": (lambda: residues([1.0, math.nan]), ValueError, "the residue of nan, which is no fraction: take it out"),
    "infinity": (lambda: residue(-math.inf), ValueError, "the residue of -inf, which is no fraction"),
    "nan beside": (lambda: X * math.nan, ValueError, "the residue of nan, which is no fraction"),
    "complex": (lambda: residues(1j * FLOATS), TypeError, "the residue of 1j: write residue(number) or"),
    "denominator": (lambda: residue(Fraction(1, P)), ZeroDivisionError, f"P = {P} divides its denominator"),
    "/ 0": (lambda: X / 0, ZeroDivisionError, "division of residues by an entry that is 0"),
    "/ P": (lambda: X / P, ZeroDivisionError, "division of residues by an entry that is 0"),
    "/ residues": (lambda: X / residues([1, 0]), ZeroDivisionError, "division of residues by an entry that is 0"),
    "0 ** -1": (lambda: residues([0]) ** -1, ZeroDivisionError, "division of residues by an entry that is 0"),
    "singular": (
        lambda: torch.linalg.solve(residues([[1, 2], [0.5, 1]]), X),
        LinAlgError,
        "a singular matrix of residues: column 1 depends on those before it",
    ),
    "singular inv": (lambda: torch.linalg.inv(X * 0), LinAlgError, "column 0 depends on those before it"),
    "shapes": (
        lambda: torch.linalg.solve(X, X[0]),
        ValueError,
        "solve of shapes (2, 2) and (2,): they must be (n, n) and (n, k)",
    ),
    "oblong inv": (lambda: torch.linalg.inv(X[:1]), ValueError, "they must be (n, n) and (n, k)"),
}


@pytest.mark.parametrize("attempt, error, words", REFUSED.values(), ids=REFUSED.keys())
def test_what_has_no_exact_meaning_is_refused_with_words(attempt, error, words):
    with pytest.raises(error, match=re.escape(words)):
        attempt()
