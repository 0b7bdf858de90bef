"""The right-hand column of the paper's Table 1: textbook code on arrays, which knows no spaces.

Every function is pure and is written with operators and a few torch functions, so that one source runs in torch
(float64 and float32), over a prime field (`kfac_lite.exact`), and compiled to JavaScript in the pages of the book.
That is why there is no `eye`, no dtype argument and no square root: constants are made from an input, means are sums
divided by `len(x)`, and an expected outer product is a sum of weighted squares.
"""

from . import charts, conv, likelihoods, mlp, recurrent, sharing, updates

__all__ = ["charts", "conv", "likelihoods", "mlp", "recurrent", "sharing", "updates"]
