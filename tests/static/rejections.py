# pyright: reportUnnecessaryTypeIgnoreComment=true
"""What a type checker must refuse, and beside it what it must let pass. Nothing here is ever run.

A comment that ignores an error where there is none is itself an error here, so `make lint` holds these lines too.
"""

from torch import Tensor

from kfac_lite import KFAC, SGD, Covector, Metric, Parameterization, Point, Vector


def refused(point: Point, vector: Vector, covector: Covector, g: Metric, iota: Parameterization) -> None:
    _ = point - covector  # pyright: ignore
    _ = point - 0.1 * covector  # pyright: ignore
    _ = point + covector  # pyright: ignore
    _ = point + point  # pyright: ignore
    _ = 2 * point  # pyright: ignore
    _ = point * 2  # pyright: ignore
    _ = point / 2  # pyright: ignore
    _ = 1 - point  # pyright: ignore
    _ = vector - point  # pyright: ignore
    _ = vector + covector  # pyright: ignore
    _ = covector - vector  # pyright: ignore
    _ = vector * vector  # pyright: ignore
    _ = vector @ vector  # pyright: ignore
    _ = covector @ vector  # pyright: ignore
    _ = covector(covector)  # pyright: ignore
    _ = covector(point)  # pyright: ignore
    _ = covector([1.0])  # pyright: ignore
    _ = point < point  # pyright: ignore
    _ = point[0]  # pyright: ignore
    _ = g + 1e-3  # pyright: ignore
    _ = 1e-3 + g  # pyright: ignore
    _ = g - g  # pyright: ignore
    _ = g(vector, covector)  # pyright: ignore
    _ = g.sharp(vector)  # pyright: ignore
    _ = g.flat(covector)  # pyright: ignore
    _ = SGD(0.1)  # pyright: ignore
    _ = SGD(0.1, iota.weights)  # pyright: ignore
    _ = KFAC(0.1, damping=1e-3)  # pyright: ignore


def accepted(point: Point, vector: Vector, covector: Covector, g: Metric, iota: Parameterization) -> list[object]:
    v: Vector = point - point
    p: Point = point - 0.1 * g.sharp(covector)
    q: Point = vector + point
    w: Vector = 2 * vector - vector / 3
    phi: Covector = 2 * covector + g.flat(vector)
    number: Tensor = phi(v)
    z: Point = point(point)
    d: Metric = g + 1e-3 * g
    return [p, q, w, number, z, d, SGD(0.1, basis=iota.weights), KFAC(0.1, damping=1e-3 * g)]
