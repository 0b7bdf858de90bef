"""What has no meaning in any basis, and the words that say so: what was tried, why, and the line to write instead.

Points, vectors, covectors and metrics have no numbers of their own. `_WithoutNumbers` refuses everything that would
need some; `_refuse` refuses an operator on two things, with the reason that belongs to their kinds.
"""

from __future__ import annotations

import numbers
import textwrap
from typing import Any, Never, NoReturn, TypeAlias

import numpy as np
import torch
from torch import Tensor

from .errors import KindError, SpaceError

__all__ = ["Number"]

Number: TypeAlias = "float | int | np.number[Any] | Tensor"

_TWO_STEPS = (
    "A covector eats directions and is none; a metric makes it one. Write\n    point - lr * g.sharp(dh)\n"
    "or, if you mean the basis you are in,\n    point - lr * euclidean(basis).sharp(dh)"
)
_NO_ORIGIN = (
    "a multiple of a point depends on where the origin is. Choose one and write origin + c * (point - origin), or use "
    "affine_combination."
)
_ADD = {
    ("Point", "Point"): "the sum of two points depends on where the origin is. Write q - p for the vector from p to q, "
    "or affine_combination([0.5, 0.5], [p, q]) for the midpoint.",
    ("Point", "Covector"): _TWO_STEPS,
    ("Vector", "Covector"): "a vector and a covector change oppositely under a change of basis, so their sum would be "
    "another one in every basis. Write v + g.sharp(dh) for a vector, or g.flat(v) + dh for a covector.",
    ("Point", "number"): "a number has no direction. Write point + c * v with a vector v.",
    ("Vector", "number"): "a number has no direction. Write v + c * u with a vector u. (Python's sum starts from the "
    "number 0: write sum(vs[1:], vs[0]).)",
    (
        "Covector",
        "number",
    ): "a number is no covector. Write phi(v) + c, which adds numbers. (Python's sum starts from the "
    "number 0: write sum(phis[1:], phis[0]).)",
}
_METRIC = (
    "a metric pairs vectors. Write g(u, v) for a number, g.flat(v) for a covector, g.sharp(dh) for a vector, and "
    "c * g with a number c >= 0 for a metric."
)
_ADD_METRIC = (
    "only metrics are added to one, and nothing is taken from it. Write g + c * d with a number c >= 0, and g.flat(v) "
    "or g.sharp(dh) to apply it."
)
_REMARK_3_12 = (
    "a number is a metric only in some basis (Remark 3.12). Write g + c * euclidean(basis), which says in which."
)
_REASON: dict[tuple[str, str, str], str] = {
    ("+", "Metric", "number"): _REMARK_3_12,
    ("+", "number", "Metric"): _REMARK_3_12,
    ("-", "Metric", "number"): _REMARK_3_12,
    ("-", "number", "Metric"): _REMARK_3_12,
    ("-", "Metric", "Metric"): "a difference may give a direction a negative length, and is no metric then. Write "
    "g(u, v) - d(u, v), which takes numbers from one another.",
    ("-", "Point", "Covector"): _TWO_STEPS,
    ("-", "Vector", "Point"): "a point cannot be taken from a vector. Write p - q for a vector, or p - v for a point.",
    ("*", "Vector", "Vector"): "vectors have no product without a metric. Write g(u, v).",
    ("*", "Covector", "Covector"): "covectors have no product without a metric. Write g(g.sharp(a), g.sharp(b)).",
    ("*", "Covector", "Vector"): "a covector is applied to a vector. Write phi(v).",
    ("/", "Vector", "Vector"): "vectors cannot be divided. Write g(u, v) / g(v, v) with a metric g.",
}
for (_a, _b), _text in _ADD.items():
    for _pair in {(_a, _b), (_b, _a)}:
        _REASON["+", *_pair] = _text
        if _pair[0] != _pair[1]:
            _REASON.setdefault(("-", *_pair), _text)
_REASON["*", "Vector", "Covector"] = _REASON["*", "Covector", "Vector"]
_REASON |= {("@", a, b): text for (op, a, b), text in _REASON.items() if op == "*"}


def _name(x: object) -> str:
    """The kind of anything, as error messages put it."""
    if isinstance(x, _WithoutNumbers):
        return x._kind()
    if _is_number(x):
        return "number"
    if isinstance(x, Tensor | np.ndarray):
        dtype = str(x.dtype).removeprefix("torch.")
        return f"{type(x).__name__} of shape {tuple(x.shape)}" if x.ndim else f"{dtype} {type(x).__name__}"
    return type(x).__name__


def _is_number(x: object) -> bool:
    """A real number: Python's, numpy's, or a 0-dimensional array. Booleans and complex numbers are none."""
    if isinstance(x, Tensor):
        return x.dim() == 0 and not x.dtype.is_complex and x.dtype != torch.bool
    if isinstance(x, np.ndarray):
        return x.ndim == 0 and x.dtype.kind in "iuf"
    return isinstance(x, numbers.Real) and not isinstance(x, bool | np.bool_)


def _number(c: Any) -> Any:
    """A number as torch wants it."""
    return c if isinstance(c, Tensor) else float(c)


def _refuse(op: str, left: object, right: object) -> NoReturn:
    a, b = _name(left), _name(right)
    reason = _REASON.get((op, a, b))
    if reason is None:
        kinds = {_name(x) for x in (left, right) if isinstance(x, _WithoutNumbers)}
        strange = [x for x in (left, right) if not isinstance(x, _WithoutNumbers) and not _is_number(x)]
        if strange:
            (x,) = strange
            axes = getattr(x, "ndim", 0) or isinstance(x, list | tuple)
            make = (
                "from_matrix(basis, x)" if "Metric" in kinds else "basis.point(x), basis.vector(x) or basis.covector(x)"
            )
            reason = (
                f"{_name(x)} holds numbers of some basis, and a {kinds.pop()} has none. Say which: {make} makes an "
                "element, basis[x] makes numbers."
                if axes
                else f"a {_name(x)} has no meaning here. Numbers are real and have no axes."
            )
        elif "Metric" in kinds:
            reason = _ADD_METRIC if op in "+-" else _METRIC
        elif kinds == {"Point"} or (op in "*/" and "Point" in kinds):
            reason = _NO_ORIGIN
        elif op == "/":
            reason = "only vectors, covectors and metrics are divided, and only by numbers. Write v / c."
        else:
            reason = "this has no meaning in any basis. If you mean the numbers of one, write basis[x]."
    raise KindError(_wrap(f"{a} {op} {b}: {reason}"))


def _wrap(message: str) -> str:
    """Lines that fit a page, the first one behind "KindError: ", with the line breaks of the message kept."""
    first, *rest = message.split("\n")
    fill = textwrap.TextWrapper(72, break_on_hyphens=False, break_long_words=False).fill
    lines = [fill("KindError: " + first).removeprefix("KindError: "), *map(fill, rest)]
    return "\n".join(lines)


class _WithoutNumbers:
    """What has no numbers of its own, so that most operators have no meaning for it; each refusal says so in words."""

    __slots__ = ()
    __array_ufunc__ = None  # numpy hands its operators over to ours
    __hash__ = None  # type: ignore[assignment]

    def _kind(self) -> str:
        """Point, Vector, Covector or Metric."""
        return type(self).__name__

    def _leak(self, what: str) -> NoReturn:
        raise KindError(
            f"{what} of a {_name(self)}: it has no numbers of its own. Choose a basis: basis[{_letter(self)}]"
        )

    def __array__(self, *_: Any, **__: Any) -> Never:
        self._leak("an array")

    def __iter__(self) -> Never:
        self._leak("a list")

    def __len__(self) -> Never:
        self._leak("the length")

    def __getitem__(self, _: Never) -> Never:
        self._leak("an entry")

    def __float__(self) -> Never:
        self._leak("the value")

    __int__ = __complex__ = __index__ = __float__

    def __bool__(self) -> Never:
        self._leak("the truth")

    def __abs__(self) -> Never:
        raise KindError(f"abs of a {_name(self)}: only vectors have a length, and it needs a metric. Write g.norm(v)")

    def __eq__(self, other: object) -> Never:
        raise KindError(
            f"{_name(self)} == {_name(other)}: equal up to which rounding, measured in what? Choose a basis and "
            "compare numbers, torch.equal(basis[x], basis[y]), or for vectors a metric, g.norm(u - v) < tolerance"
        )

    def __ne__(self, other: object) -> Never:
        self.__eq__(other)

    def __lt__(self, other: Never) -> Never:
        raise KindError(
            f"{_name(self)} < {_name(other)}: there is no order without numbers. Compare those: g.norm(u) < g.norm(v)"
        )

    __le__ = __gt__ = __ge__ = __lt__

    def __matmul__(self, other: Never) -> Never:
        _refuse("@", self, other)

    def __rmatmul__(self, other: Never) -> Never:
        _refuse("@", other, self)

    def __pow__(self, other: Never) -> Never:
        _refuse("**", self, other)

    def __rpow__(self, other: Never) -> Never:
        _refuse("**", other, self)

    def __floordiv__(self, other: Never) -> Never:
        _refuse("//", self, other)

    def __rfloordiv__(self, other: Never) -> Never:
        _refuse("//", other, self)

    def __mod__(self, other: Never) -> Never:
        _refuse("%", self, other)

    def __rmod__(self, other: Never) -> Never:
        _refuse("%", other, self)

    def __rtruediv__(self, other: Never) -> Never:
        _refuse("/", other, self)


def _letter(x: _WithoutNumbers) -> str:
    return {"Point": "point", "Vector": "v", "Covector": "dh", "Metric": "g"}[x._kind()]


def _broadcast(what: str, *batches: tuple[int, ...]) -> torch.Size:
    """The common batch, or a `SpaceError`."""
    try:
        return torch.broadcast_shapes(*batches)
    except RuntimeError:
        raise SpaceError(
            f"{what}: batches of {' and '.join(map(str, map(tuple, batches)))} do not go together"
        ) from None
