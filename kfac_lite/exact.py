"""+ - * / modulo a prime never round, and an identity of rational functions holds there as it does over R.

Theorem 2.1 (paper: 2.1.4) is such an identity, so `kfac_lite.coordinates` runs on these arrays as it stands, and two
runs are equal or they are not. A float is exactly a fraction m / 2^k: data, weights, bases and learning rate go over
unchanged. What a field lacks is refused: limits (tanh), roots, an order. No residue is near another, so equality is
all that can be read off; two different numbers have the same residue by accident about once in 2^31.

>>> x = residues([[1 / 2, 0.1], [Fraction(1, 3), 4]])
>>> torch.equal(torch.linalg.solve(x, x @ x), x)
True
>>> torch.tanh(x)  # doctest: +ELLIPSIS
Traceback (most recent call last):
TypeError: tanh of Residues: a field has + - * / and what they make, ...
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from numbers import Rational, Real
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor
from torch.linalg import LinAlgError  # pyright: ignore[reportAttributeAccessIssue]

__all__ = ["LONGEST_SUM", "P", "Residues", "residue", "residues"]

P = 2**31 - 1  # a prime; the product of two residues fits into 64 bits
LONGEST_SUM = 2**16  # the largest inner dimension n of @, for (n (2^16 - 1) + 2^16) (P - 1) < 2^63


def residue(number: float | Fraction) -> int:
    """n / d modulo P, from 0 to P - 1, of an int, a Fraction or a float (the fraction m / 2^k that it stores).

    ValueError for nan and infinity, ZeroDivisionError where P divides d, TypeError for what is no real number.

    >>> residue(1 / 2), residue(1 / 2) * 2 % P
    (1073741824, 1)
    >>> residue(0.1) == residue(Fraction(1, 10))  # no float is a tenth
    False
    """
    if not isinstance(number, Real):
        raise TypeError(f"the residue of {number!r}: write residue(number) or residues(array), of real numbers")
    try:
        n, d = (number.numerator, number.denominator) if isinstance(number, Rational) else number.as_integer_ratio()
    except (ValueError, OverflowError):
        raise ValueError(f"the residue of {number}, which is no fraction: take it out of the data first") from None
    if d % P == 0:
        raise ZeroDivisionError(f"the residue of {number}: P = {P} divides its denominator")
    return int(n) * pow(int(d), -1, P) % P


def residues(array: Any) -> Any:  # Residues; Any, because to a type checker torch functions take Tensors only
    """The `Residues` of a tensor, an array, nested lists of ints, floats and Fractions, or a number; of the same shape.

    Raises what `residue` raises, entry by entry.
    """
    if isinstance(array, Residues):
        return array
    array = array if isinstance(array, Tensor) else np.array(array, dtype=object)
    r = torch.tensor([residue(number) for number in array.flatten().tolist()], dtype=torch.int64)
    return Residues(r.reshape(array.shape))


# What is exact, on the representatives 0, ..., P - 1: int64 tensors, or one Python int -----------------------------


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """In halves, a = 2^16 high + low, so that no sum of up to LONGEST_SUM products leaves 64 bits."""
    if a.shape[-1] > LONGEST_SUM:
        raise OverflowError(f"@ over {a.shape[-1]} terms may leave 64 bits: add up parts of at most {LONGEST_SUM}")
    return ((a >> 16) @ b % P << 16) + (a & 0xFFFF) @ b


def power(a: Tensor, k: int) -> Tensor:
    if not isinstance(k, int):
        raise TypeError(f"residues to the power {k!r}: a field has no roots. Write an integer exponent.")
    if k < 0:
        return power(inverse(a), -k)
    if k == 0:
        return torch.ones_like(a)
    half = power(a * a % P, k // 2)
    return half * a % P if k % 2 else half


def inverse(b: Any) -> Any:
    """By Fermat for arrays: b^(P - 1) = 1."""
    if not (b.all() if isinstance(b, Tensor) else b):
        raise ZeroDivisionError("division of residues by an entry that is 0 modulo P")
    return power(b, P - 2) if isinstance(b, Tensor) else pow(b, -1, P)


def solve(A: Tensor, B: Tensor) -> Tensor:
    """A^-1 B by Gauss and Jordan, for A (n, n) and B (n, k): a pivot is zero, or as good as any other."""
    n = len(A)
    if A.shape != (n, n) or B.dim() != 2 or len(B) != n:
        raise ValueError(f"solve of shapes {tuple(A.shape)} and {tuple(B.shape)}: they must be (n, n) and (n, k)")
    M = torch.cat([A, B], 1)
    for k in range(n):
        candidates = M[k:, k].nonzero()
        if not len(candidates):
            raise LinAlgError(f"a singular matrix of residues: column {k} depends on those before it")
        pivot = k + int(candidates[0])
        row = M[pivot, k + 1 :] * pow(int(M[pivot, k]), -1, P) % P
        M[pivot] = M[k]
        M[:, k + 1 :] = (M[:, k + 1 :] - M[:, k, None] * row) % P
        M[k, k + 1 :] = row
    return M[:, n:]


def inv(A: Tensor) -> Tensor:
    return solve(A, torch.ones_like(A[0]).diag())


def pad(x: Tensor, widths: Any, mode: str = "constant", value: float | None = None) -> Tensor:
    return torch.nn.functional.pad(x, widths, mode, residue(value or 0))


# Residues, and what torch may ask of them --------------------------------------------------------------------------


def entries(operand: Any) -> Any:
    """An operand in representatives."""
    if isinstance(operand, Residues):
        return operand.r
    if isinstance(operand, Real):
        return residue(operand)  # pyright: ignore[reportArgumentType]
    kind = f"a {operand.dtype} tensor" if isinstance(operand, Tensor) else f"a {type(operand).__name__}"
    raise TypeError(f"Residues beside {kind}: exact and rounded numbers do not mix. Write residues(...) around it.")


def on_entries(function: Callable) -> Callable[[Any, Any], Residues]:
    return lambda self, operand: Residues(function(self.r, entries(operand)))


def refused(name: str) -> Callable[..., NoReturn]:
    def refuse(*_: Any) -> NoReturn:
        why = "a field has + - * / and what they make, no limits and no order"
        raise TypeError(f"{name} of Residues: {why}. Write {INSTEAD.get(name, 'it with operators, solve and inv')}.")

    return refuse


class Residues:
    """An array over the field of integers modulo P; make one with `residues`.

    `r` holds the representatives: int64, of any shape, from 0 to P - 1. Operators broadcast as torch's do. Ints, floats
    and Fractions may stand beside residues and are converted exactly; tensors may not (TypeError). Division by zero is
    a ZeroDivisionError, a singular matrix a torch.linalg.LinAlgError, too long a sum an OverflowError.
    """

    def __init__(self, r: Tensor):
        if r.dtype != torch.int64:
            raise TypeError(f"Residues around a {r.dtype} tensor: they wrap int64. Write residues(tensor).")
        self.r = r % P

    __add__ = __radd__ = on_entries(operator.add)
    __mul__ = __rmul__ = on_entries(operator.mul)
    __sub__ = on_entries(operator.sub)
    __rsub__ = on_entries(lambda a, b: b - a)
    __truediv__ = on_entries(lambda a, b: a * inverse(b))
    __rtruediv__ = on_entries(lambda a, b: inverse(a) * b)
    __matmul__ = on_entries(matmul)
    __rmatmul__ = on_entries(lambda a, b: matmul(b, a))
    __lt__ = __le__ = __gt__ = __ge__ = refused("order")
    __abs__ = refused("abs")
    __float__ = __int__ = __array__ = refused("conversion")
    __array_ufunc__ = None  # numpy leaves its operators to ours

    def __neg__(self) -> Residues:
        return Residues(-self.r)

    def __pow__(self, k: int) -> Residues:
        return Residues(power(self.r, k))

    def __eq__(self, other: Any) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.r == entries(other)

    def __ne__(self, other: Any) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.r != entries(other)

    def __len__(self) -> int:
        return len(self.r)

    def __getitem__(self, index: Any) -> Residues:
        return Residues(self.r[index])

    def __repr__(self) -> str:
        return repr(self.r).replace("tensor", "residues", 1).replace("\n", "\n  ")

    @property
    def shape(self) -> torch.Size:
        return self.r.shape

    @property
    def mT(self) -> Residues:
        return Residues(self.r.mT)

    def __getattr__(self, name: str) -> Callable:
        """A method asks what the torch function of its name asks: `x.sum(0)` is torch.sum(x, 0)."""
        method = getattr(Tensor, name, None)
        if name.startswith("_") or not callable(method):
            raise AttributeError(f"Residues have no {name}: they have r, shape, mT and the exact methods of a tensor")
        return partial(answer, method, self)

    @classmethod
    def __torch_function__(cls, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return answer(function, *args, **kwargs or {})


OWN = {"solve": solve, "inv": inv, "pad": pad}
# Torch's own, run on the representatives: they move, copy, compare, add or multiply integers.
SAFE = {"cat", "diag", "diagonal", "equal", "expand", "flatten", "kron", "ones_like", "reshape", "sum", "zeros_like"}
INSTEAD = {
    name: instead
    for names, instead in [
        ("tanh sigmoid sin cos exp log", "a polynomial, such as square or cubic units"),
        ("softplus softmax log_softmax", "Gaussian outputs on one-hot targets"),
        ("lstsq eigh svd qr cholesky pinv", "torch.linalg.solve(A, B), which is elimination"),
        ("sqrt", "the weight beside the square, as in (weight * D).mT @ D"),
        ("mean", "x.sum(0) / len(x)"),
        ("order abs max min", "x == y, or torch.equal(x, y)"),
        ("conversion item tolist numpy to", "x.r, the integers from 0 to P - 1 that stand for x"),
    ]
    for name in names.split()
}


def answer(function: Callable, *args: Any, **kwargs: Any) -> Any:
    """What a torch function makes of residues, where that has an exact meaning."""
    name = function.__name__.removeprefix("linalg_")
    arguments, options = integers(args), {key: integers(value) for key, value in kwargs.items()}
    if name not in OWN and name not in SAFE:
        refused(name)()
    result = OWN.get(name, function)(*arguments, **options)
    return Residues(result) if isinstance(result, Tensor) else result


def integers(argument: Any) -> Any:
    """An argument of a torch function in representatives; a dimension or a size stays what it is."""
    if isinstance(argument, (list, tuple)):
        return [integers(part) for part in argument]
    return entries(argument) if isinstance(argument, (Residues, Tensor)) else argument
