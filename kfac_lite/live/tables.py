"""Tables of addresses, for loops whose addresses are no formula of the indices: written by what they are made of."""

import json
from typing import Any

import numpy as np

__all__ = ["TABLES", "literal", "rule"]

# What reads the rules, one behind the other, into the table T of a program.
TABLES = """
  const T = new Int32Array({size});
  let end = 0;
  for (const [size, lags, news] of {rules}) {{
    const t = T.subarray(end, end += size);
    for (let n = 0, i = 0; n < news.length; n += 2) t[i += news[n]] = news[n + 1];
    for (const lag of lags) for (let i = lag; i < size; i++) t[i] += t[i - lag];
  }}"""


def rule(at: np.ndarray) -> tuple[int, list[int], list[int]]:
    """A table of addresses as (size, lags, news), which is much shorter.

    Addresses mostly go on in steps, so their differences over some lag (1, or the length of a row) are mostly 0, and
    the differences of these more so. What is left are the news, pairs (how far from the one before, what): written into
    an empty table and added up over the lags, the last one first, they are the table again.
    """
    x, lags = at.flatten(), []
    divisors = [n for n in range(1, len(x) + 1) if len(x) % n == 0]  # what the length of a row can be
    cost = len(literal(news := changes(x)))
    while True:
        tries = [(len(literal(changes(difference(x, lag)))) + 2, lag) for lag in divisors]
        if min(tries)[0] >= cost:
            return len(x), lags[::-1], news
        cost, lag = min(tries)
        x = difference(x, lag)
        lags.append(lag)
        news = changes(x)


def difference(x: np.ndarray, lag: int) -> np.ndarray:
    return np.concatenate([x[:lag], x[lag:] - x[:-lag]])


def changes(x: np.ndarray) -> list[int]:
    (spots,) = x.nonzero()
    return np.stack([np.diff(spots, prepend=0), x[spots]], 1).flatten().tolist()


def literal(x: Any) -> str:
    """JSON that may stand in a script element."""
    return json.dumps(x, separators=(",", ":")).replace("<", "\\u003c")
