"""A torch function as JavaScript, for a page that has no torch.

To read the compiler, go with a function through its passes, in this order:

1. `trace`: torch itself lists the operations that the function does, derivatives included, and what a page cannot do
   is refused, with the user's line. The result is a graph of torch's own operations.
2. `build`: each operation becomes lines of arithmetic over one heap of float64 cells. A tensor is a table of the
   addresses of its cells, so views, slices and indices cost nothing; `operations` says what is left, a formula each.
3. `emit`: the lines that nobody reads go, lines that run over the same numbers share a loop, and the text is written,
   with `tables` for addresses that are no formula of a loop's index, and `linalg.js` for solvers.

The chapter "How the figures work" does the same on an example. `graph` makes figures of several functions.

In the page, where `.source` stands in a script of the page itself:

    const program = (SOURCE)();              // a heap of its own; call it again for a second one
    program.run([[1, 2], 0.1])               // sets the inputs, computes, returns the outputs
    program.inputs[1][0] = 0.2               // or set some inputs only: inputs and outputs are Float64Arrays
    program.step()                           // compute, and allocate nothing
    program.inputs[0].set(program.outputs[0])  // the outputs are cells of their own, so feeding back is safe
    program.fault()                          // null, or {kind, operation, line}: a singular solve, or no finite number

Inputs and outputs are the leaves of the arguments and of what is returned, in order, each flat, row by row. A fault is
that of the last step. "singular" names the solve; "not finite" names the first number in the heap that is none, which
is the operation that made it or one that it went into, for numbers that only one loop needs are never in the heap.
A factor that is known to be 0 makes 0, also where torch has 0 * inf = nan.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .build import Builder, Constant
from .emit import write
from .trace import trace

__all__ = ["Compiled", "Constant", "Port", "compile"]


class Port(NamedTuple):
    """An input or an output: where it stands in the arguments or in what is returned, and its shape."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Compiled:
    """A program: `source` is the text of a JavaScript function that makes it (see the module's first lines)."""

    source: str = field(repr=False)
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    operations: tuple[str, ...]
    constants: tuple[Constant, ...] = field(repr=False)


def compile(fn: Callable, *examples: Any) -> Compiled:
    """Compile `fn`, a function of tensors (or of lists, tuples and dicts of them) that returns tensors.

    The examples say the shapes; every one is an input of the program, float64. What the function captures, tensors and
    numbers of Python alike, is copied into the program as it is now: a control of a figure has to be an argument.
    A number among the examples is refused, an argument left to its default and an input that changes nothing are
    warned of. But a number of Python that the function closes over looks like any constant of its own, so
    `lr = 0.1; compile(lambda w: w - lr * w, w)` makes a program that keeps this rate, without a word.
    Raises `CompileError` where torch would do what a program in a page cannot: with the operation, the line of the
    function (of the line that made what is derived, if it is a derivative's), and what to write instead.
    """
    traced = trace(fn, examples)
    builder = Builder(traced)
    return Compiled(
        source=write(builder),
        inputs=tuple(Port(*x) for x in traced.inputs),
        outputs=tuple(Port(*x) for x in traced.outputs),
        operations=tuple(sorted(builder.used)),
        constants=tuple(builder.captured),
    )
