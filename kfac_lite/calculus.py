"""df and phi_*: what a smooth function does to directions at a point (paper: 2.2.4)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .errors import KindError
from .refusals import _name
from .spaces import Covector, Point, Space, Vector

__all__ = ["differential", "pushforward"]


def differential(f: Callable[[Point], Tensor], p: Point) -> Covector:
    """df at p, the covector of the first-order change of a number f (2.2.4), by reverse-mode differentiation."""
    if not isinstance(p, Point) or p.batch:
        raise KindError(f"differential(f, p): p is one point of the space on which f is defined; got {p!r}")
    x = p._x.detach().requires_grad_()
    value = f(Point(p.space, x))
    if not isinstance(value, Tensor) or value.dim():
        raise KindError(f"differential(f, p): f returns one number; it returned a {_name(value)}")
    if not value.requires_grad:  # f is constant
        return Covector(p.space, torch.zeros_like(p._x))
    (gradient,) = torch.autograd.grad(value, x, materialize_grads=True)
    return Covector(p.space, gradient)


def pushforward(phi: Callable[[Point], Point], p: Point, v: Vector) -> Vector:
    """phi_* v at p: where a small step v lands (2.2.4), by forward-mode differentiation. On batches, datum by datum."""
    if not isinstance(p, Point) or not isinstance(v, Vector):
        raise KindError(f"pushforward(phi, p, v): a point and a vector at it are wanted; got {_name(p)} and {_name(v)}")
    p._same("and", v)
    space: list[Space] = []

    def on_frames(x: Tensor) -> Tensor:
        q = phi(Point(p.space, x))
        if not isinstance(q, Point):
            raise KindError(f"pushforward(phi, p, v): phi leads from points to points; it returned a {_name(q)}")
        space.append(q.space)
        return q._x

    x, dx = torch.broadcast_tensors(p._x, v._x)
    dy = torch.func.jvp(on_frames, (x,), (dx,))[1]
    return Vector(space[-1], dy)


def _jacobian(phi: Callable[[Point], Point], p: Point) -> tuple[Space, Tensor]:
    """The push-forwards of all frame directions at p: (dimension of p's space, *batch, dimension of phi(p)'s)."""
    directions = torch.eye(p.space.dimension, dtype=torch.float64)
    space: list[Space] = []

    def push(direction: Tensor) -> Tensor:
        w = pushforward(phi, p, Vector(p.space, direction.expand(p._x.shape)))
        space.append(w.space)
        return w._x

    J = torch.func.vmap(push)(directions)
    return space[-1], J
