"""Programs of `kfac_lite.live` in V8, in this process, and how far they are from torch."""

import json
from functools import cache
from typing import Any

import torch
from py_mini_racer import MiniRacer
from torch import Tensor
from torch.utils._pytree import tree_leaves

from kfac_lite import live

# A browser has it; V8 alone has not.
ATOB = """
globalThis.atob = (text) => {
  const signs = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const bits = [...text.replace(/=/g, "")].map((c) => signs.indexOf(c).toString(2).padStart(6, "0")).join("");
  return bits.match(/.{8}/g).map((byte) => String.fromCharCode(parseInt(byte, 2))).join("");
};"""


@cache
def engine() -> MiniRacer:
    made = MiniRacer()
    made.eval(ATOB)
    return made


def literal(x: Tensor) -> str:
    """Every number as a literal that reads back as the same number."""
    names = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
    return f"[{','.join(names.get(repr(v), repr(v)) for v in x.flatten().tolist())}]"


def evaluate(text: str) -> Any:
    return json.loads(str(engine().eval(f"JSON.stringify((function () {{{text}}})())")))


def numbers(rows: list[str], compiled: live.Compiled) -> list[Tensor]:
    values = [[float(v) for v in row.split(",")] if row else [] for row in rows]
    return [
        torch.tensor(v, dtype=torch.float64).reshape(o.shape) for v, o in zip(values, compiled.outputs, strict=True)
    ]


SHOW = 'const show = (p) => [p.outputs.map((x) => Array.from(x, String).join(",")), p.fault()];'


def run(compiled: live.Compiled, *args: Any) -> tuple[list[Tensor], Any]:
    """The outputs of a program in the page, and its fault."""
    values = ",".join(map(literal, tree_leaves(args)))
    rows, fault = evaluate(f"{SHOW} const p = ({compiled.source})(); p.run([{values}]); return show(p);")
    return numbers(rows, compiled), fault


def distance(found: list[Tensor], wanted: Any) -> float:
    """The largest difference, relative to the largest number of each output; infinite where NaN meets a number."""
    worst = 0.0
    for a, b in zip(found, tree_leaves(wanted), strict=True):
        b = b.detach()
        assert a.shape == b.shape
        if a.numel():
            gap = torch.where((a == b) | (a.isnan() & b.isnan()), 0.0, (a - b).abs() / b.abs().max().clamp(min=1e-300))
            worst = max(worst, float(gap.nan_to_num(nan=torch.inf).max()))
    return worst


def gap(fn: Any, *args: Any) -> float:
    """How far the compiled function is from torch, on its own examples."""
    found, fault = run(live.compile(fn, *args), *args)
    assert fault is None
    return distance(found, fn(*args))
