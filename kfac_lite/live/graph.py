"""Functions wired by the names of their parameters, computed by torch and compiled for the page (paper: none).

A parameter is the name of a control, or of a value that an earlier function returned. So a figure is a list of torch
functions in order, and what a reader moves has only those computed again that depend on it.
"""

import inspect
import json
import struct
import warnings
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from .compile import compile as compile_

__all__ = ["Best", "Call", "Graph", "Run", "change", "grid", "pick"]


class Run:
    """`steps` times state = step(state, ...); the name holds all states, each with a leading axis of steps + 1.

    `start` is the name of an earlier value, or tensors. A state is a tensor or a list, tuple or dict of tensors.
    `where` says which value a parameter takes that is not named after one: Run("w", step, "w0", basis="kappa").
    """

    def __init__(self, name: str, step: Callable[..., Any], start: Any, steps: int = 100, **where: str):
        self.name, self.step, self.start, self.steps, self.where = name, step, start, steps, where


class Call:
    """One result of a function that is used more than once: Call("loss_there", loss, w="w_there") names it."""

    def __init__(self, name: str, function: Callable[..., Any], **where: str):
        self.name, self.function, self.where = name, function, where


@dataclass(frozen=True, eq=False)
class Best:
    """The largest number in the value `of` that the reader has reached since the figure was opened; at first 0."""

    name: str
    of: str


@dataclass(frozen=True)
class Node:
    """A function, a run, a best or a constant: what it reads and what it gives, by name."""

    kind: str
    reads: tuple[str, ...]
    gives: tuple[str, ...]
    work: Any  # the function, the Run, the Best
    program: int | None = None

    def spec(self, values: dict[str, Any]) -> dict[str, Any]:
        data: dict[str, Any] = {"kind": self.kind, "reads": self.reads, "gives": self.gives}
        if self.program is not None:
            data["program"] = self.program
        if isinstance(self.work, Run):
            data["steps"] = self.work.steps
            start = self.work.start
            data["start"] = start if isinstance(start, str) else [literal(x) for x in pytree.tree_leaves(start)]
        if self.kind == "constant":
            data["values"] = [[literal(x) for x in pytree.tree_leaves(values[name])] for name in self.gives]
        return data


def literal(x: Tensor) -> list[float | str] | str:
    """Numbers as JSON that reads back as the same numbers; what JSON has no word for is a string.

    Where it is shorter, all of them as one string: their eight bytes each, the lowest first, in base 64.
    """
    numbers = x.flatten().tolist()
    plain = [v if v == v and abs(v) != torch.inf and str(v) != "-0.0" else str(v) for v in numbers]
    text = b64encode(struct.pack(f"<{len(numbers)}d", *numbers)).decode()
    return text if len(text) < len(json.dumps(plain, separators=(",", ":"))) else plain


class Graph:
    """The functions of a figure in order, with their programs. `controls` says which tensors there are at first."""

    def __init__(self, functions: Iterable[Any], controls: dict[str, Tensor]):
        self.controls = tuple(controls)
        self.nodes: list[Node] = []
        self.programs: list[str] = []
        self.compiled: dict[Any, int] = {}
        self.values: dict[str, Any] = dict(controls)
        for work in functions:
            self.add(work)

    def add(self, work: Any) -> None:
        if isinstance(work, Run):
            name, reads = work.name, self.parameters(work.step, work.where, skip=1)
            if isinstance(work.start, str):
                self.known(work.start, f"Run({name!r})")
            start = self.values[work.start] if isinstance(work.start, str) else work.start
            example = pytree.tree_map(torch.clone, start)
            program = self.compile(work.step, example, *(self.values[r] for r in reads))
            node = Node("run", reads, (name,), work, program)
        elif isinstance(work, Best):
            self.known(work.of, f"Best({work.name!r})")
            node = Node("best", (work.of,), (work.name,), work)
        elif isinstance(work, Call):
            reads = self.parameters(work.function, work.where)
            program = self.compile(work.function, *(self.values[r] for r in reads))
            node = Node("function", reads, (work.name,), work, program)
        elif callable(work):
            reads = self.parameters(work, {})
            program = self.compile(as_dict(work), *(self.values[r] for r in reads)) if reads else None
            gives = tuple(named(work, work(*(self.values[r] for r in reads))))
            node = Node("function" if reads else "constant", reads, gives, work, program)
        else:
            raise TypeError(f"{work!r}: write a function of tensors, or Run(name, step, start, steps)")
        for name in node.gives:
            if not name.isidentifier():
                raise ValueError(
                    f"{name!r}: values of a figure have names such as w_0, so that functions can take them"
                )
            if name in self.values:
                raise ValueError(f"the figure has two values of the name {name!r}: give one of them another name")
        self.nodes.append(node)
        self.values |= evaluate(node, self.values)

    def known(self, name: str, reader: str) -> str:
        if name not in self.values:
            there = ", ".join(self.values) or "none"
            raise ValueError(
                f"{reader} reads {name!r}, which is neither a control nor a value of an earlier function; there are: "
                f"{there}. Write one of these names, or put the function that returns {name!r} before it."
            )
        return name

    def parameters(self, fn: Callable[..., Any], where: dict[str, str], skip: int = 0) -> tuple[str, ...]:
        """The values that `fn` reads: its parameters, but for those with defaults that nothing is named after."""
        found = list(inspect.signature(fn).parameters.values())[skip:]
        called = f"`{getattr(fn, '__name__', type(fn).__name__)}`"
        for name in where:
            if name not in [p.name for p in found]:
                raise ValueError(f"{called} has no parameter {name!r}; it has {', '.join(p.name for p in found)}")
        return tuple(
            self.known(where.get(p.name, p.name), called)
            for p in found
            if p.kind is p.POSITIONAL_OR_KEYWORD and (p.default is p.empty or where.get(p.name, p.name) in self.values)
        )

    def compile(self, fn: Callable[..., Any], *examples: Any) -> int:
        """The number of the program; the same function on the same shapes is compiled once."""
        leaves, structure = pytree.tree_flatten(examples)
        key = (getattr(fn, "function", fn), structure.__repr__(), tuple(x.shape for x in leaves))
        if key not in self.compiled:
            self.compiled[key] = len(self.programs)
            with warnings.catch_warnings():  # a function may use a part of what a name holds
                warnings.filterwarnings("ignore", r"input \d+\[.* changes nothing")
                self.programs.append(compile_(lambda *args: fn(*args), *examples).source)  # a default is no control
        return self.compiled[key]

    def evaluate(self, controls: dict[str, Tensor]) -> dict[str, Any]:
        """All values, by torch, from scratch."""
        values: dict[str, Any] = dict(controls)
        for node in self.nodes:
            values |= evaluate(node, values)
        return values

    def spec(self) -> dict[str, Any]:
        """What the page must know, besides the programs."""
        shapes = {name: [list(x.shape) for x in pytree.tree_leaves(value)] for name, value in self.values.items()}
        return {"values": shapes, "nodes": [node.spec(self.values) for node in self.nodes]}


class as_dict:
    """A function whose result has names."""

    def __init__(self, function: Callable[..., Any]):
        self.function = function

    def __call__(self, *args: Any) -> dict[str, Any]:
        return named(self.function, self.function(*args))


def named(fn: Any, result: Any) -> dict[str, Any]:
    """What a function returned, by name: a dict as it is, anything else under the function's name."""
    if isinstance(result, dict):
        return result
    name = getattr(fn, "__name__", "")
    if not name.isidentifier():
        raise ValueError(f"{fn!r} has no name to call its result by: let it return a dict {{name: tensor}}")
    return {name: result}


def evaluate(node: Node, values: dict[str, Any]) -> dict[str, Any]:
    args = [values[name] for name in node.reads]
    if isinstance(node.work, Run):
        start = node.work.start
        state = values[start] if isinstance(start, str) else start
        states = [state]
        for _ in range(node.work.steps):
            states.append(node.work.step(states[-1], *args))
        shapes = [[x.shape for x in pytree.tree_leaves(s)] for s in states[:2]]
        if shapes[0] != shapes[-1]:
            raise ValueError(f"Run({node.work.name!r}): a step must give a state of the same shapes, not {shapes[1]}")
        return {node.work.name: pytree.tree_map(lambda *x: torch.stack(x), *states)}
    if isinstance(node.work, Best):
        return {node.work.name: torch.zeros((), dtype=torch.float64)}
    if isinstance(node.work, Call):
        return {node.work.name: node.work.function(*args)}
    return named(node.work, node.work(*args))


# For the functions of a figure -----------------------------------------------------------------------------------


def pick(states: Any, t: Tensor) -> Any:
    """The states of a Run at step t, which may be a control."""

    def at(x: Tensor) -> Tensor:
        here = (torch.arange(len(x), dtype=torch.float64) == t).reshape(-1, *[1] * (x.ndim - 1))
        return torch.where(here, x, torch.zeros_like(x)).sum(0)

    return pytree.tree_map(at, states)


def grid(x: Tensor, y: Tensor) -> Tensor:
    """(m, n, 2): the points of a grid with sides x, (n,), and y, (m,), as `Level` wants them: the lowest row first.

    Let a function of its own return the grid, and flatten it where a network takes rows of points: then the page's
    programs need no table of places.
    """
    return torch.stack([x.expand(len(y), len(x)), y[:, None].expand(len(y), len(x))], -1)


def change(frame: Tensor) -> tuple[Tensor, Tensor]:
    """(Omega, gamma) from home's numbers to a frame's, (2, 3) = (E | o): a' = Omega a + gamma = E^-1 (a - o)."""
    Omega = torch.linalg.inv(frame[:, :2])
    return Omega, -(Omega @ frame[:, 2])
