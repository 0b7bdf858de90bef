"""One step in a chart of a manifold, straight or along a geodesic (paper: 2.1.2, eq. 2.3 and 2.6).

A chart is a way to write points as numbers w, (d,), that need not be affine: a normal distribution by its mean and its
deviation, or by its mean and the logarithm of its deviation. `metric(w)` is a matrix (d, d), `loss(w)` a number, and
`chart(u)` gives the numbers w of home from those of another chart. Straight steps in two charts part as lr^2, for
"number minus number" is another curve in each; geodesic steps do not part.
"""

from collections.abc import Callable

from torch.func import grad, jacfwd
from torch.linalg import solve

__all__ = ["exponential", "geodesic_step", "in_chart", "natural_gradient", "natural_step"]


def natural_gradient(loss: Callable, metric: Callable, w):
    """G(w)^-1 grad h(w), (d,): the numbers of the vector g^-1 dh in this chart."""
    return solve(metric(w), grad(loss)(w)[:, None])[:, 0]


def natural_step(loss: Callable, metric: Callable, w, lr):
    """w - lr G^-1 grad h (eq. 2.3): straight in this chart, and so another point in each."""
    return w - lr * natural_gradient(loss, metric, w)


def geodesic_step(loss: Callable, metric: Callable, w, lr, steps: int = 50):
    """Exp_w(-lr G^-1 grad h): eq. 2.6, whose text subtracts a point from a point. The same point in every chart."""
    return exponential(metric, w, -lr * natural_gradient(loss, metric, w), steps)


def exponential(metric: Callable, w, v, steps: int = 50):
    """Exp_w(v), where the geodesic from w with velocity v is after time 1: `steps` Runge-Kutta steps of order 4."""
    t = 1 / steps
    for _ in range(steps):
        a1 = acceleration(metric, w, v)
        v2 = v + t / 2 * a1
        a2 = acceleration(metric, w + t / 2 * v, v2)
        v3 = v + t / 2 * a2
        a3 = acceleration(metric, w + t / 2 * v2, v3)
        v4 = v + t * a3
        a4 = acceleration(metric, w + t * v3, v4)
        w, v = w + t / 6 * (v + 2 * v2 + 2 * v3 + v4), v + t / 6 * (a1 + 2 * a2 + 2 * a3 + a4)
    return w


def acceleration(metric: Callable, w, v):
    """-Gamma(v, v): G w'' = (the gradient of v^T G v) / 2 - (the derivative of G along v) v."""
    dG = jacfwd(metric)(w)  # dG[i, j, k] = d G_ij / d w_k
    along = dG @ v
    half = (v[:, None, None] * v[None, :, None] * dG).sum((0, 1)) / 2
    return solve(metric(w), (half - along @ v)[:, None])[:, 0]


def in_chart(metric: Callable, chart: Callable) -> Callable:
    """The same metric in another chart: u -> J^T G(chart(u)) J with J the derivative of `chart` (2.2.5)."""

    def pulled_back(u):
        J = jacfwd(chart)(u)
        return J.mT @ metric(chart(u)) @ J

    return pulled_back
