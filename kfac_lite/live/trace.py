"""What a torch function does to its inputs, as a list of torch's own operations; or a refusal that names the line.

A program in a page has no torch behind it: whatever the trace does not hold is gone. So everything that a trace would
freeze without a word is refused here, where the line of the reader's function is still known.
"""

import inspect
import itertools
import linecache
import re
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Never

import torch
import torch.fx.traceback
from torch import Tensor
from torch._C._autograd import _get_sequence_nr as nodes_made  # pyright: ignore[reportMissingImports]
from torch._C._functorch import is_functorch_wrapped_tensor  # pyright: ignore[reportMissingImports]
from torch._decomp import core_aten_decompositions, get_decompositions
from torch.func import functionalize
from torch.fx import Graph
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["CompileError", "Place", "Trace", "name_of", "refuse", "trace"]


class CompileError(ValueError):
    """A function that cannot be compiled: the operation, the line it stands in, and what to write instead."""


class Place(NamedTuple):
    """Where an operation comes from: its name, and the line of the user's function that called it."""

    operation: str
    line: str


class Trace(NamedTuple):
    """The operations in order, and the names and shapes of what goes in and comes out."""

    graph: Graph
    captured: dict[str, Tensor]
    inputs: tuple[tuple[str, tuple[int, ...]], ...]
    outputs: tuple[tuple[str, tuple[int, ...]], ...]


# What to write instead -------------------------------------------------------------------------------------------

FIXED = "a program in a page computes the same operations on the same shapes, whatever the numbers are"
CHOOSE = "torch.where(condition, this, that)"
WEIGHTS = "weights that are 0 or 1"
MUTATED = "a captured tensor, or one made of them alone, would be changed in place, which no page could see"
COPY = "a new tensor, c = c + x, passed in and returned if it changes from step to step; nn.RNN as a loop of steps"
READ = {
    "__bool__": (f"a condition would have to know the number; {FIXED}", CHOOSE),
    "__float__": (FIXED, "the tensor itself; it need not be a number of Python"),
    "__int__": (FIXED, "a number that is known before the compilation"),
    "__index__": (FIXED, f"torch.where, or a sum with {WEIGHTS}"),
    "item": (FIXED, "the tensor itself; it need not be a number of Python"),
    "tolist": (FIXED, "operations on the tensor itself"),
    "numpy": (FIXED, "operations on the tensor itself, in torch"),
    "__array__": (FIXED, "operations on the tensor itself, in torch"),
    "__repr__": ("there is nothing to print yet", "return x, and print what the program returns"),
    "__format__": ("there is nothing to print yet", "return x, and print what the program returns"),
}
INSTEAD = {
    "convolution": "patches by unfold, and a matrix product",
    "max_pool2d_with_indices": "a mean over patches",
    "max": "x.amax(dim)",
    "min": "x.amin(dim)",
    "sort": "torch.where, or amax and amin",
    "topk": "amax",
    "round": "torch.floor(x + 0.5)",
    "remainder": "x - y * torch.floor(x / y)",
    "cumprod": "the product of a few numbers written out, x[0] * x[1], or x.log().sum().exp() where all are positive",
    "embedding": "targets @ table, with targets that are 0 or 1",
    "argmax": "x == x.amax(), as weights",
    "argmin": "x == x.amin(), as weights",
    "linalg_lstsq": "torch.linalg.solve, or qr(R, mode='r') and solve_triangular",
    "linalg_pinv": "torch.linalg.solve",
    "_linalg_svd": "torch.linalg.eigh of A.mT @ A",
    "_linalg_det": "torch.linalg.eigvalsh(A).prod() for a symmetric A, or the formula",
    "_linalg_slogdet": "torch.linalg.cholesky(A).diagonal().log().sum() * 2",
    "linalg_lu_factor_ex": "torch.linalg.solve",
    "index": f"torch.where, or a sum with {WEIGHTS}",
}


def refuse(place: Place, why: str, instead: str, cause: Exception | None = None) -> Never:
    head = f"{shown(place.operation)}: {why}"
    fill = textwrap.TextWrapper(72, break_on_hyphens=False, break_long_words=False).fill
    lines = [fill("CompileError: " + head).removeprefix("CompileError: ")]
    if place.line:
        lines.append("    " + place.line)
    write = textwrap.TextWrapper(72, initial_indent="    ", subsequent_indent="    ").fill(instead)
    raise CompileError("\n".join([*lines, "Write", write])) from cause


# The user's line -------------------------------------------------------------------------------------------------

TORCH, HERE = str(Path(torch.__file__).parent), str(Path(__file__).parent)


def user_line(error: BaseException | None = None) -> str:
    """The innermost line that is neither torch's nor the compiler's: at the farthest, the one that calls `compile`."""
    raised = list(traceback.walk_tb(error and error.__traceback__))[::-1]
    for frame, number in itertools.chain(raised, traceback.walk_stack(sys._getframe())):
        code = frame.f_code
        if code.co_filename.startswith((HERE, TORCH, "<string>")):  # torch writes functions of its own, too
            continue
        cell = re.search(r"ipykernel_\d+|<ipython-input", code.co_filename)
        where = f"{'cell' if cell else Path(code.co_filename).name} line {number}"
        if code.co_name != "<module>":
            where += ", in a lambda" if code.co_name == "<lambda>" else f", in `{code.co_name}`"
        source = linecache.getline(code.co_filename, number).strip()
        source = source if len(source) <= 88 else source[:85] + "..."
        return where + (f": {source}" if source else "")
    return ""


def shown(name: str) -> str:
    """`linalg.solve`, as the user writes it, for torch's _linalg_solve_ex."""
    name = {"_local_scalar_dense": "Tensor.item"}.get(name, name)
    return re.sub(r"^_?linalg_(\w+?)(_ex)?$", r"linalg.\1", name)


def name_of(operation: Any) -> str:
    """`mul` for aten.mul.Tensor."""
    return getattr(getattr(operation, "overloadpacket", operation), "__name__", str(operation))


# Tracing ---------------------------------------------------------------------------------------------------------


class Reads(TorchFunctionMode):
    """Refuses Python's way of looking at numbers that are not known yet, and knows what was changed in place last."""

    def __init__(self):
        super().__init__()
        self.last = "the function"

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name.endswith("_") and name not in ("__get__", "__set__"):
            self.last = name
        if name in READ and is_functorch_wrapped_tensor(args[0]):
            refuse(Place(f"Tensor.{name}", user_line()), *READ[name])
        return func(*args, **(kwargs or {}))


class Watch(TorchDispatchMode):
    """Notes the user's line beside every operation, and refuses what would be frozen or changed without a word.

    On the way back torch runs on its own, far from any line of the user. But it numbers the nodes of its graph when it
    makes them, on the way there, so the line of a derivative is the one that made the node with this number.
    """

    def __init__(self):
        super().__init__()
        self.lines: dict[int, str] = {}
        self.next = nodes_made()

    def line(self) -> str:
        node = torch._C._current_autograd_node()
        line = user_line() if node is None else self.lines.get(node._sequence_nr()) or user_line()
        self.lines.update(dict.fromkeys(range(self.next, nodes_made()), line))
        self.next = nodes_made()
        return line if node is None else f"in the derivative of {line}"

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        place = Place(name_of(func), self.line())
        if torch.Tag.nondeterministic_seeded in func.tags:
            refuse(place, "random numbers would be drawn once and be constants in the page", "noise as an input")
        # functionalize has removed every change of a tensor that the function made; torch's own linear has a squeeze_
        if func._schema.is_mutable and place.operation != "squeeze_":
            refuse(place, MUTATED, COPY)
        masks = place.operation == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])
        if masks or (torch.Tag.dynamic_output_shape in func.tags and place.operation != "index"):
            refuse(place, f"the shape depends on the numbers; {FIXED}", CHOOSE + ", which keeps the shape")
        if torch.Tag.data_dependent_output in func.tags:
            refuse(place, FIXED, f"{CHOOSE}; in the place of an index, a sum with {WEIGHTS}")
        with torch.fx.traceback.annotate({"place": place}):
            return func(*args, **(kwargs or {}))


def watched(fn: Callable, args: Any, reads: Reads) -> Any:
    with reads, Watch():
        return fn(*args)


aten = torch.ops.aten


def mean(x: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    dim = list(range(x.ndim)) if dim is None else dim
    total = x.sum(dim, keepdim)
    return total / (x.numel() // max(total.numel(), 1))


def var(x: Tensor, dim: Any = None, *, correction: float | None = None, keepdim: bool = False) -> Tensor:
    dim = list(range(x.ndim)) if dim is None else dim
    total = ((x - mean(x, dim, True)) ** 2).sum(dim, keepdim)
    return total / (x.numel() // max(total.numel(), 1) - (1 if correction is None else correction))


def cumsum(x: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    below = torch.ones_like(x.select(dim, 0)[..., None] + x.new_zeros(x.shape[dim])).new_ones(2 * [x.shape[dim]])
    return (x.movedim(dim, -1)[..., None, :] * below.tril()).sum(-1).movedim(-1, dim)


def vector_norm(x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    dim = list(range(x.ndim)) if dim is None else dim
    return (x * x).sum(dim, keepdim).sqrt() if ord == 2 else (x.abs() ** ord).sum(dim, keepdim) ** (1 / ord)


def addmm(c: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return (c if beta == 1 else beta * c) + (a @ b if alpha == 1 else alpha * (a @ b))


DECOMPOSITIONS: dict[Any, Callable] = {
    **core_aten_decompositions(),
    **get_decompositions([aten._softmax, aten._log_softmax, aten.elu]),
    aten.mean.default: mean,
    aten.mean.dim: mean,
    aten.var.correction: var,
    aten.cumsum.default: cumsum,
    aten.linalg_vector_norm.default: vector_norm,
    aten.addmm.default: addmm,
}
# Errors of torch that say in its own words what is refused here.
CAPTURED = re.compile("mutat(ing|e) a non-functional tensor|would mutate a captured Tensor|vmap: inplace arithmetic")
DATA_DEPENDENT = re.compile(
    r"out of a tracing tensor|data-dependent control flow|calling \.item\(\)|unallocated storage"
)


def trace(fn: Callable, examples: tuple) -> Trace:
    """Trace `fn` once, on copies of the examples, through `grad`, `vmap` and so on, down to few operations."""
    paths, structure = pytree.tree_flatten_with_path(examples)
    names = [pytree.keystr(path).removeprefix("[").replace("]", "", 1) for path, _ in paths]
    for name, (_, x) in zip(names, paths):
        check_input(name, x)
    warn_of_defaults(fn, len(examples))
    results: list[tuple[str, Any]] = []
    reads = Reads()

    def flat(*leaves: Tensor) -> list[Any]:
        found, _ = pytree.tree_flatten_with_path(watched(fn, pytree.tree_unflatten(leaves, structure), reads))
        results[:] = [(pytree.keystr(path), x) for path, x in found]
        for path, x in results:
            check_output(path, x)
        return [x for _, x in results]

    copies = [x.detach().clone() for _, x in paths]
    try:
        with torch.fx.traceback.preserve_node_meta():
            functional = functionalize(flat, remove="mutations")
            module = make_fx(functional, decomposition_table=DECOMPOSITIONS)(*copies)
    except CompileError:
        raise
    except Exception as error:
        line = user_line(error)
        if CAPTURED.search(str(error)):
            refuse(Place(reads.last, line), MUTATED, COPY, error)
        if DATA_DEPENDENT.search(str(error)):
            refuse(Place("the function", line), FIXED, CHOOSE, error)
        raise
    if not results:
        raise CompileError("the function returns no tensor, so there is nothing to compute")
    module.graph.eliminate_dead_code()
    captured = {node.target: getattr(module, node.target) for node in module.graph.nodes if node.op == "get_attr"}
    inputs = tuple((name, tuple(x.shape)) for name, x in zip(names, copies))
    return Trace(module.graph, captured, inputs, tuple((path, tuple(x.shape)) for path, x in results))


def check_input(name: str, x: Any) -> None:
    if not isinstance(x, Tensor):
        reason = f"{x!r} is no tensor, and would be frozen into the program"
        shown = f"{float(x)}" if isinstance(x, int | float) else "..."
        instead = f"torch.tensor({shown}, dtype=torch.float64) for what changes, and close over what never does"
        refuse(Place(f"input {name}", ""), reason, instead)
    if x.dtype != torch.float64:
        refuse(Place(f"input {name}", ""), f"the dtype is {x.dtype}; a page computes in float64 only", "x.double()")


def warn_of_defaults(fn: Callable, given: int) -> None:
    """An argument that is left to its default looks like a control, and is none."""
    try:
        parameters = inspect.signature(fn).parameters
    except (TypeError, ValueError):  # torch's own functions have none
        return
    for name, argument in list(parameters.items())[given:]:
        if argument.kind is argument.POSITIONAL_OR_KEYWORD and type(argument.default) in (int, float):
            frozen = f"{name}={argument.default} is no input of the program, for no example is given for it"
            told = f"torch.tensor({float(argument.default)}, dtype=torch.float64) as an example"
            warnings.warn(f"{frozen}. Write\n    {told},\nor `*, {name}` if it never changes", stacklevel=4)


def check_output(name: str, x: Any) -> None:
    place = Place(f"output{name and ' '}{name}", "")
    if not isinstance(x, Tensor):
        refuse(place, f"{x!r} is no tensor, and would be the same in every frame", "a function of tensors")
    if x.dtype != torch.float64:
        refuse(place, f"the dtype is {x.dtype}; a page computes in float64 only", "x.double()")
