"""Arrays over Q that answer what `kfac_lite.exact.Residues` answers: the tie between the field's runs and the floats'.

The Fractions grow several times longer with every step, which is why this serves three steps of one small net, and
why the experiment itself is computed modulo a prime.
"""

from fractions import Fraction
from typing import Any

import numpy as np
import torch

fractions = np.vectorize(Fraction, otypes=[object])


class Rationals(np.ndarray):
    """A numpy array of Fractions: operators, `sum`, `reshape`, `mT` and `diagonal` are numpy's own."""

    def flatten(self, start: int = 0) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Torch's: from dimension `start` on."""
        return self.reshape(*self.shape[:start], -1)

    def diag(self) -> Any:
        return rationals(np.diag(self))

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return FUNCTIONS[function](*args, **kwargs or {})


def rationals(array: Any) -> Rationals:
    """The Fractions that a float tensor or an array of numbers stores."""
    return np.asarray(fractions(np.asarray(array))).view(Rationals)


def solve(A: Rationals, B: Rationals) -> Rationals:
    M = np.concatenate([A, B], 1)
    for k in range(len(M)):
        pivot = next(i for i in range(k, len(M)) if M[i, k] != 0)
        M[[k, pivot]] = M[[pivot, k]]
        M[k] = M[k] / M[k, k]
        for i in set(range(len(M))) - {k}:
            M[i] = M[i] - M[i, k] * M[k]
    return M[:, len(M) :].view(Rationals)


FUNCTIONS = {
    torch.cat: lambda arrays, dim=0: np.concatenate(arrays, dim).view(Rationals),
    torch.ones_like: lambda x: rationals(np.ones(x.shape, dtype=int)),
    torch.zeros_like: lambda x: rationals(np.zeros(x.shape, dtype=int)),
    torch.linalg.solve: solve,
    torch.linalg.inv: lambda A: solve(A, rationals(np.eye(len(A), dtype=int))),
}
