"""The operations of a trace as lines of arithmetic over addresses.

A tensor is an integer tensor of addresses, of its shape, so whatever only moves numbers is torch itself, run on
addresses. A constant is a cell too, with an address that is not positive: cell 0 holds 0, so what torch pads with is
right. What is left is arithmetic: a line is one formula for the cells of one tensor, or of a slice of it.
"""

import itertools
import math
import operator
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.fx.node import map_arg

from . import operations
from .trace import INSTEAD, Place, Trace, name_of, refuse

__all__ = ["Builder", "Call", "Constant", "Line"]

UNROLL = 4  # extents up to this are written out
MOST = 64  # but no more lines than this for one operation
SHORT = (torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128)
TIMES = ("{0}*{1}", "{0}/{1}")
OTHERS = "sum, mean, amax, amin; @, solve, solve_triangular, inv, cholesky, qr, eigh; views, cat, unfold, fixed indices"
KNOWN = {"{0}*{1}": operator.mul, "{0}/{1}": operator.truediv, "{0}+{1}": operator.add, "{0}-{1}": operator.sub}
PLAIN = (*KNOWN, "{0}")


class Constant(NamedTuple):
    """A tensor that the function captured, as it was when it was compiled, and the line that uses it."""

    value: Tensor
    line: str


@dataclass(eq=False)
class Cells:
    """Numbers that the program computes: where they stand."""

    at: Tensor  # int64, of the tensor's shape

    @property
    def shape(self) -> torch.Size:
        return self.at.shape


@dataclass(eq=False)
class Line:
    """target = formula(operands), for all indices of the loops; or the sum or the maximum over the last one."""

    loops: tuple[int, ...]
    target: np.ndarray  # addresses, of the shape of the loops, or of all but the last of them for a total
    formula: str
    operands: list[np.ndarray]  # addresses, of the shape of the loops
    total: str
    place: Place


@dataclass(eq=False)
class Call:
    """target = function(operands), a function of linalg.js on matrices that stand row by row."""

    function: str
    operands: list[np.ndarray]
    target: np.ndarray
    sizes: Sequence[int]
    place: Place


class Builder:
    """The operations of a trace as lines over addresses."""

    def __init__(self, traced: Trace):
        self.traced = traced
        self.pool = [0.0]  # the constant at address -i
        self.pooled: dict[bytes, Any] = {struct.pack("d", 0.0): 0}
        self.top = 1  # the first free address
        self.lines: list[Line | Call] = []
        self.seen: dict[Any, Any] = {}
        self.made: dict[int, Place] = {}  # where a line comes from, by its first cell
        self.used: set[str] = set()
        self.functions: set[str] = set()
        self.captured: list[Constant] = []
        self.place = Place("", "")
        self.inputs = [self.region(shape) for _, shape in traced.inputs]
        placeholders = iter(self.inputs)
        results: list[Any] = []
        env: dict[Any, Any] = {}
        for node in traced.graph.nodes:
            self.place = node.meta.get("custom", {}).get("place") or Place(name_of(node.target), "")
            if node.op == "placeholder":
                env[node] = Cells(torch.from_numpy(next(placeholders)))
            elif node.op == "get_attr":
                env[node] = traced.captured[node.target].detach().clone()
                self.check(node, env[node])
                if self.place.operation != "lift_fresh":  # which is a literal of the function's own
                    self.captured.append(Constant(env[node], self.place.line))
            elif node.op == "call_function":
                args, kwargs = map_arg((node.args, node.kwargs), env.__getitem__)
                env[node] = self.operation(node, args, kwargs)
                self.check(node, env[node])
            elif node.op == "output":
                results = [env[x] for x in node.args[0]]
        self.place = Place("output", "")
        self.outputs = [self.copy(self.address(x)) for x in results]

    def check(self, node: Any, x: Any) -> None:
        """float64 throughout; masks, and what is counted with them, may be what torch makes them."""
        dtype = node.meta["val"].dtype if isinstance(x, Cells) else torch.float64
        if (
            name_of(node.target) == "_to_copy"
            and dtype == torch.int64
            and node.args[0].meta["val"].dtype == torch.float64
        ):
            refuse(self.place, "numbers are rounded to torch.int64; a page has float64 only", "torch.floor(x)")
        if dtype not in (torch.float64, torch.bool, torch.int64):
            refuse(self.place, f"the dtype is {dtype}; a page computes in float64 only", "x.double() in its place")

    # Cells -------------------------------------------------------------------------------------------------------

    def region(self, shape: Sequence[int]) -> np.ndarray:
        """Fresh cells, row by row."""
        n = int(np.prod(shape, dtype=int))
        self.top += n
        return np.arange(self.top - n, self.top).reshape(shape)

    def constant(self, x: Any) -> Tensor:
        """The addresses of a tensor, or of a number, that is known: one cell if all its entries are equal."""
        x = torch.as_tensor(x, dtype=None if isinstance(x, Tensor) else torch.float64)
        if x.dtype in SHORT and bool((x != 0).any()):
            refuse(
                self.place,
                f"a tensor of {x.dtype} meets numbers of float64",
                "dtype=torch.float64, or torch.ones_like(x)",
            )
        x = x.to(torch.float64).resolve_conj().resolve_neg().contiguous()
        flat = x.flatten().numpy()
        if flat.size == 0 or (flat.view(np.int64) == flat.view(np.int64)[0]).all():
            flat = flat[:1]
        key = flat.tobytes()
        if key not in self.pooled:
            self.pool.extend(flat[::-1].tolist())
            self.pooled[key] = torch.arange(len(flat)) + 1 - len(self.pool)
        at = torch.as_tensor(self.pooled[key])
        return at.expand(x.numel()).reshape(x.shape) if at.numel() == 1 else at.reshape(x.shape)

    def address(self, x: Any) -> Tensor:
        return x.at if isinstance(x, Cells) else self.constant(x)

    def literal(self, at: np.ndarray) -> float | None:
        """The number that stands in all these cells, if it is known."""
        first = at.flat[0]
        if first > 0 or (at > 0).any():
            return None
        number = self.pool[-first]
        same = (at == first).all() or all(struct.pack("d", self.pool[-i]) == struct.pack("d", number) for i in at.flat)
        return number if same else None

    # Operations --------------------------------------------------------------------------------------------------

    def operation(self, node: Any, args: tuple, kwargs: dict) -> Any:
        """What a node of the graph is: a constant, cells that stand elsewhere already, or new lines."""
        name = name_of(node.target)
        if node.target is operator.getitem:
            return args[0][args[1]]
        if name in ("_linalg_check_errors", "copy_"):  # our own solvers report; inputs stay as set
            return None
        if any(isinstance(x, Cells) for x in flatten([args, list(kwargs.values())])):
            self.used.add(name)
            if name not in operations.MADE:
                return self.compute(name, node, args, kwargs)
            args = tuple(torch.zeros(x.shape, dtype=torch.float64) if isinstance(x, Cells) else x for x in args)
        return node.target(*args, **kwargs)

    def compute(self, name: str, node: Any, args: tuple, kwargs: dict) -> Any:
        if name in operations.SOLVERS:
            return self.solver(name, args, kwargs)
        if name == "where" and isinstance(args[0], Tensor):
            return Cells(torch.where(args[0], self.address(args[1]), self.address(args[2])))
        if name in operations.MOVES:
            return self.move(name, node.target, args)
        if name in ("mm", "bmm"):
            a, b = (self.address(x) for x in args)
            return self.total("sum", [a[..., :, None, :], b.mT[..., None, :, :]], 1)
        if name in operations.TOTALS and (len(args) < 2 or isinstance(args[1], list | tuple)):
            return self.reduce(operations.TOTALS[name], *args, **kwargs)
        if name == "clamp":
            low, high = [*args[1:], None, None][:2]
            low, high = kwargs.get("min", low), kwargs.get("max", high)
            x = args[0] if low is None else self.elementwise(operations.FORMULAS["maximum"], args[0], low)
            return x if high is None else self.elementwise(operations.FORMULAS["minimum"], x, high)
        if name == "pow" and args[1] in operations.POWERS if isinstance(args[-1], int | float) else False:
            return self.elementwise(operations.POWERS[args[1]], args[0])
        if name in operations.FORMULAS and not kwargs.get("rounding_mode"):
            if kwargs.get("alpha", 1) != 1:
                args = (args[0], self.elementwise("{0}*{1}", args[1], kwargs["alpha"]))
            return self.elementwise(operations.FORMULAS[name], *args)
        known = f"a combination of what it has: {' '.join(sorted(operations.FORMULAS))}; {OTHERS}"
        refuse(self.place, "the page has no such operation", INSTEAD.get(name, known))

    def move(self, name: str, target: Any, args: tuple) -> Any:
        """Torch itself, on addresses."""
        if name in ("alias", "clone", "_to_copy"):
            return args[0]
        if name == "squeeze_":  # in torch's own linear; it changes no number
            target = getattr(torch.ops.aten.squeeze, target._overloadname)
        if name == "copy":
            return Cells(self.address(args[1]).expand(args[0].shape))
        if name == "view":
            return Cells(self.address(args[0]).reshape(args[1]))
        if name == "index_put":
            return self.put(*args)
        if name in ("index", "index_select", "gather", "scatter") and any(
            isinstance(i, Cells) for i in flatten(args[1:3])
        ):
            refuse(self.place, "the index depends on the numbers", INSTEAD["index"])
        if name == "constant_pad_nd":
            args = (*args[:2], int(self.constant(args[2] if len(args) > 2 else 0.0)))

        def addresses(x: Any) -> Any:
            if isinstance(x, list | tuple):
                return [addresses(y) for y in x]
            known = isinstance(x, Tensor) and x.dtype == torch.float64
            return self.address(x) if known or isinstance(x, Cells) else x

        moved = target(*(addresses(x) for x in args))
        return [Cells(x) for x in moved] if isinstance(moved, list | tuple) else Cells(moved)

    def put(self, x: Any, indices: list, values: Any, accumulate: bool = False) -> Cells:
        """x with values put, or added, where the indices say: a cell that gets several is their sum."""
        if any(isinstance(i, Cells) for i in indices):
            refuse(self.place, "the index depends on the numbers", INSTEAD["index"])
        at, values = self.address(x), self.address(values)
        spots = torch.arange(at.numel()).reshape(at.shape)[tuple(slice(None) if i is None else i for i in indices)]
        values = values.expand(spots.shape).flatten()
        if not accumulate:
            return Cells(at.flatten().index_put((spots.flatten(),), values).reshape(at.shape))
        contributions: list[list[int]] = [[a] if a else [] for a in at.flatten().tolist()]
        for spot, value in zip(spots.flatten().tolist(), values.tolist()):
            contributions[spot].append(value)
        most = max(map(len, contributions))
        padded = torch.tensor([c + [0] * (most - len(c)) for c in contributions])
        return self.total("sum", [padded.reshape(*at.shape, most)], 1)

    def reduce(self, kind: str, x: Any, dims: Any = None, keepdim: bool = False, **_: Any) -> Cells:
        at = self.address(x)
        dims = sorted(d % max(at.ndim, 1) for d in dims or range(at.ndim))
        if not dims:
            return Cells(at)
        kept = [d for d in range(at.ndim) if d not in dims]
        result = self.total(kind, [at.permute(kept + dims)], len(dims)).at
        return Cells(result.reshape([1 if d in dims else n for d, n in enumerate(at.shape)]) if keepdim else result)

    def elementwise(self, formula: str, *args: Any) -> Cells:
        operands = [x.numpy() for x in torch.broadcast_tensors(*map(self.address, args))]
        shape = operands[0].shape
        target = np.empty(shape, np.int64)
        loops, parts = split(shape)
        for part in parts:
            target[part] = self.line(loops, formula, [x[part] for x in operands])
        return Cells(torch.from_numpy(target))

    def total(self, kind: str, factors: list[Tensor], last: int) -> Cells:
        """The sum (or maximum) of the product of the factors over the last dimensions, short ones written out."""
        operands = [x.numpy() for x in torch.broadcast_tensors(*factors)]
        shape, over = operands[0].shape[:-last], operands[0].shape[-last:]
        if 0 in over and kind == "sum":
            return Cells(torch.zeros(shape, dtype=torch.int64))
        target = np.empty(shape, np.int64)
        inner, terms = split(over, 16)
        outer, parts = split(shape, MOST // len(terms))
        loops = (*outer, *([int(np.prod(inner))] if inner else []))
        for part in parts:
            cells = [[x[(*part, *term)].reshape(loops) for x in operands] for term in terms]
            target[part] = self.sum_of_products(loops, cells, kind, bool(inner))
        return Cells(torch.from_numpy(target))

    def sum_of_products(self, loops: tuple[int, ...], terms: list[list[np.ndarray]], kind: str, looped: bool) -> Any:
        """One line; a factor 1 is left out, and so is a term with a factor 0."""
        formula, operands = [], []
        for factors in terms:
            known = [self.literal(x) for x in factors]
            if kind == "sum" and 0.0 in known:
                continue
            factors = [x for x, number in zip(factors, known) if number != 1.0] or factors[:1]
            factors.sort(key=lambda x: x.tobytes())
            formula.append("*".join(f"{{{len(operands) + i}}}" for i in range(len(factors))))
            operands += factors
        if not formula:
            return 0
        if all(self.literal(x) is not None for x in operands) and kind == "sum" and (looped or len(operands) > 1):
            return self.fold(terms, loops[-1] if looped else 1)
        if kind != "sum":
            joined = "*".join(formula) if kind == "prod" else f"Math.{kind}({','.join(formula)})"
            formula = [joined] if len(formula) > 1 else formula
        return self.line(loops, "+".join(formula), operands, kind if looped else "")

    def fold(self, terms: list[list[np.ndarray]], times: int) -> int:
        return int(self.constant(times * sum(math.prod(self.literal(x) or 0.0 for x in factors) for factors in terms)))

    def line(self, loops: tuple[int, ...], formula: str, operands: list[np.ndarray], total: str = "") -> Any:
        """The addresses of what a formula makes of its operands: of old cells, where nothing is to be computed."""
        if formula in PLAIN and not total:
            one, other = operands[0], operands[-1]
            a, b = self.literal(one), self.literal(other)
            if formula == "{0}" or (b == 0 and formula in ("{0}+{1}", "{0}-{1}")) or (b == 1 and formula in TIMES):
                return one
            if (a == 0 and formula == "{0}+{1}") or (a == 1 and formula == "{0}*{1}"):
                return other
            if formula == "{0}*{1}" and 0 in (a, b):
                return 0
            if a is not None and b and formula in KNOWN:
                return np.full(loops, int(self.constant(KNOWN[formula](a, b))))
            if formula in ("{0}+{1}", "{0}*{1}"):
                operands = sorted(operands, key=lambda x: x.tobytes())
        key = (formula, loops, total, *(x.tobytes() for x in operands))
        if key not in self.seen:
            target = self.region(loops[:-1] if total else loops)
            self.lines.append(Line(loops, target, formula, operands, total, self.place))
            self.seen[key] = target
            self.made[int(target.flat[0])] = self.place
        return self.seen[key]

    def copy(self, at: Tensor) -> np.ndarray:
        """The same numbers in fresh cells, row by row."""
        target, source = self.region(at.shape), at.numpy()
        loops, parts = split(source.shape)
        for part in parts:
            place = self.made.get(int(source[part].flat[0]), self.place)
            self.lines.append(Line(loops, target[part], "{0}", [source[part]], "", place))
        return target

    # Linear algebra ----------------------------------------------------------------------------------------------

    def solver(self, name: str, args: tuple, kwargs: dict) -> Any:
        function = operations.SOLVERS[name]
        a = self.address(args[0])
        n = a.shape[-1]
        eye = torch.eye(n, dtype=torch.float64)
        if name == "linalg_inv_ex":
            return Cells(self.call("solve", [a, self.constant(eye)], (n, -1))), None
        if name == "_linalg_solve_ex":
            b = self.address(args[1])
            vector = b.ndim == 1 or (b.ndim == a.ndim - 1 and b.shape == a.shape[:-1])
            left = kwargs.get("left", args[2] if len(args) > 2 else True)
            x = self.divide(a, b[..., None] if vector else b, left)
            # In the place of its factors stands the matrix itself; only derivatives ask for them, in linalg_lu_solve.
            pivots = torch.zeros(a.shape[:-1], dtype=torch.int32)
            return Cells(x[..., 0] if vector else x), Cells(a), pivots, None
        if name == "linalg_lu_solve":
            a = a.mT if kwargs.get("adjoint") else a
            return Cells(self.divide(a, self.address(args[2]), kwargs.get("left", True)))
        if function == "substitute":
            b = self.address(args[1])
            if kwargs.get("unitriangular"):
                a = torch.where(eye.bool(), self.constant(1.0), a)
            if not kwargs.get("left", True):  # x a = b
                x, upper = (a.mT, b.mT), not kwargs["upper"]
            else:
                x, upper = (a, b), kwargs["upper"]
            a, b = (y.flip(-2) for y in x) if upper else x
            x = self.call("substitute", [a.flip(-1) if upper else a, b], (n, -1))
            x = x.flip(-2) if upper else x
            return Cells(x if kwargs.get("left", True) else x.mT)
        if function == "cholesky":
            x = self.call("cholesky", [a], (n, n))
            return (Cells(x.mT if kwargs.get("upper", len(args) > 1 and args[1]) else x), None)
        if function == "qr":
            if kwargs.get("mode", args[1] if len(args) > 1 else "reduced") != "r":
                refuse(self.place, "the page makes R only", "torch.linalg.qr(A, mode='r').R")
            return None, Cells(self.call("qr", [a], (min(a.shape[-2:]), n)))
        x = self.call("eigh", [a.tril() + a.tril(-1).mT], (n + 1, n))
        return Cells(x[..., 0, :]), Cells(x[..., 1:, :])

    def divide(self, a: Tensor, b: Tensor, left: bool) -> Tensor:
        """a^-1 b, or b a^-1."""
        n = a.shape[-1]
        return self.call("solve", [a, b], (n, -1)) if left else self.call("solve", [a.mT, b.mT], (n, -1)).mT

    def call(self, function: str, arguments: list[Tensor], shape: tuple[int, int]) -> Tensor:
        """One function of linalg.js for all matrices of a batch, on copies, for it may use them up."""
        batch = torch.broadcast_shapes(*(x.shape[:-2] for x in arguments))
        matrices = [x.expand(*batch, *x.shape[-2:]) for x in arguments]
        key = (function, *(x.numpy().tobytes() for x in matrices), matrices[0].shape)
        if key not in self.seen:
            self.functions.add(function)
            columns = matrices[-1].shape[-1] if shape[1] < 0 else shape[1]
            regions = [self.copy(x) for x in matrices]
            target = self.region((*batch, shape[0], columns))
            sizes = matrices[-1].shape[-2:] if function in ("solve", "substitute", "qr") else shape[1:]
            count = int(np.prod(batch, dtype=int)) if matrices[0].numel() else 0
            for i in range(count):
                index = np.unravel_index(i, batch)
                inputs = [x[index] for x in regions]
                self.lines.append(Call(function, inputs, target[index], sizes, self.place))
            self.seen[key] = torch.from_numpy(target)
        return self.seen[key]


def split(shape: Sequence[int], most: int = MOST) -> tuple[tuple[int, ...], list[tuple]]:
    """The extents that become loops, and an index for every place that is written out; loops have a slice there."""
    written, count = set(), 1
    for d in reversed(range(len(shape))):
        if shape[d] <= UNROLL and count * shape[d] <= most:
            written.add(d)
            count *= shape[d]
    ranges = [range(n) if d in written else [slice(None)] for d, n in enumerate(shape)]
    return tuple(n for d, n in enumerate(shape) if d not in written), list(itertools.product(*ranges))


def flatten(args: Iterable) -> Iterator:
    for x in args:
        if isinstance(x, list | tuple):
            yield from flatten(x)
        else:
            yield x
