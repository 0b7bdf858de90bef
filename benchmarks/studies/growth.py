"""How time and memory of a step grow with the width: SGD, K-FAC, and the exact natural gradient.

    nice .venv/bin/python benchmarks/studies/growth.py --write      # about three minutes

A perceptron 64-w-w-10, tanh, cross-entropy, 64 examples a batch, so P = w^2 + 76 w + 10 parameters. The exact natural
gradient forms the Fisher matrix of all of them, P^2 numbers, and solves with it; for so few examples it could also
solve in the space of the examples' outputs ("exact, by examples"), where a matrix J of 640 times P numbers takes its
place, which is right for one batch alone and cannot be averaged over batches. K-FAC renews its factors at every step
and their inverses at every tenth, and its time is the mean over ten.

Seconds are those of the processor, one thread. Memory is the peak of a process above what it held before the first
step. Exponents are slopes of least squares on logarithms over the last three widths of each, by w and by P. The width
at which the exact one's matrix no longer fits into a memory is computed from P^2.
"""

import argparse
import gc
import math
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measuring import finish, say
from torch import nn

from kfac_lite.optim import KFAC

BATCH, CLASSES, LR, DAMPING = 64, 10, 1e-3, 1e-3
Step = Callable[[], None]


def setting(w: int) -> tuple[nn.Sequential, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, w), nn.Tanh(), nn.Linear(w, w), nn.Tanh(), nn.Linear(w, CLASSES))
    return model, torch.rand(BATCH, 64), torch.randint(0, CLASSES, (BATCH,))


def parameters(w: int) -> int:
    return w * w + 76 * w + 10


def loop(w: int, make: Callable[[nn.Module], torch.optim.Optimizer]) -> Step:
    model, x, y = setting(w)
    opt = make(model)

    def step() -> None:
        opt.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        opt.step()

    return step


def scores(w: int) -> Callable[[], tuple[Any, torch.Tensor, torch.Tensor]]:
    """J (examples times outputs, P), with J^T J the Fisher matrix of the batch, and the gradient (P,).

    Written by hand: an example's gradient by a weight is the outer product of its derivative and its input.
    """
    model, x, y = setting(w)
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    one = torch.ones(BATCH, 1)

    @torch.no_grad()
    def compute() -> tuple[Any, torch.Tensor, torch.Tensor]:
        a = [x]
        for layer in layers[:-1]:
            a.append(torch.tanh(layer(a[-1])))
        p = torch.softmax(layers[-1](a[-1]), 1)
        # Rows of D are sqrt(p_c) (p - e_c), for which sum_c D D^T is the Fisher matrix of the logits.
        D = (p[:, None] - torch.eye(CLASSES)) * p.sqrt()[..., None]  # (n, c, 10)
        D = torch.cat([D, (p - nn.functional.one_hot(y, CLASSES))[:, None]], 1) / BATCH**0.5
        J = torch.empty(BATCH, CLASSES + 1, parameters(w))
        at = J.shape[-1]
        for i in (2, 1, 0):
            abar = torch.cat([a[i], one], 1)
            size = D.shape[-1] * abar.shape[-1]
            torch.mul(D[..., None], abar[:, None, None, :], out=J[..., at - size : at].unflatten(-1, (-1, len(abar.T))))
            at -= size
            if i:
                D = D @ layers[i].weight * (1 - a[i] ** 2)[:, None]
        return layers, J[:, :CLASSES].flatten(0, 1), J[:, CLASSES].sum(0) / BATCH**0.5

    return compute


def moved(layers: Any, direction: torch.Tensor) -> None:
    parts = direction.split([layer.weight.numel() + layer.bias.numel() for layer in layers])
    for layer, part in zip(layers, parts):
        M = part.view(len(layer.bias), -1)
        layer.weight.data.sub_(M[:, :-1], alpha=LR)
        layer.bias.data.sub_(M[:, -1], alpha=LR)


def exact(w: int) -> Step:
    compute = scores(w)

    def step() -> None:
        layers, J, gradient = compute()
        F = J.T @ J
        F.diagonal().add_(DAMPING)
        moved(layers, torch.cholesky_solve(gradient[:, None], torch.linalg.cholesky(F, out=F))[:, 0])

    return step


def by_examples(w: int) -> Step:
    compute = scores(w)

    def step() -> None:
        layers, J, gradient = compute()
        K = J @ J.T
        K.diagonal().add_(DAMPING)
        inner = torch.cholesky_solve((J @ gradient)[:, None], torch.linalg.cholesky(K))[:, 0]
        moved(layers, (gradient - J.T @ inner) / DAMPING)

    return step


METHODS: dict[str, tuple[Callable[[int], Step], list[int]]] = {
    "SGD": (
        lambda w: loop(w, lambda model: torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9)),
        [32, 64, 128, 256, 512, 1024, 2048],
    ),
    "K-FAC": (
        lambda w: loop(w, lambda model: KFAC(model, lr=LR, momentum=0.9, damping=DAMPING, likelihood="categorical")),
        [32, 64, 128, 256, 512, 1024, 2048],
    ),
    "natural gradient": (exact, [8, 16, 24, 32, 48, 64]),
    "exact, by examples": (by_examples, [32, 64, 128, 256, 512]),
}


def time_of(name: str, w: int) -> float:
    """Processor seconds of a step: the least of three means over ten steps, or of two steps where it is slow."""
    step = METHODS[name][0](w)
    began = time.process_time()
    step()
    first = time.process_time() - began
    many = 10 if name in ("SGD", "K-FAC") or first < 0.2 else 1
    means = [first] if first > 1 else []
    for _ in range(3 if first < 1 else 1):
        if name == "K-FAC":
            gc.collect()
        began = time.process_time()
        for _ in range(many):
            step()
        means.append((time.process_time() - began) / many)
    return min(means)


def peak(name: str, w: int, pipe: Any) -> None:
    """Send the peak above idle, in bytes, of this process."""
    torch.set_num_threads(1)
    step = METHODS[name][0](w)
    status = lambda: Path("/proc/self/status").read_text().splitlines()
    held = lambda key: int(next(line for line in status() if line.startswith(key)).split()[1])
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = held("VmRSS")
    for _ in range(12 if name in ("SGD", "K-FAC") else 1):
        step()
    pipe.send(1024 * (held("VmHWM") - before))


def memory_of(name: str, w: int) -> float:
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=peak, args=(name, w, there))
    child.start()
    found = here.recv()
    child.join()
    return float(found)


def fitted(widths: list[int], seconds: list[float], bytes_: list[float]) -> dict[str, Any]:
    """What is kept of a method: its measurements, and the exponents by the width and by the number of parameters."""
    P = [parameters(w) for w in widths]
    exponents = {
        f"{what} by {by}": exponent(x, y)
        for what, y in (("time", seconds), ("memory", bytes_))
        for by, x in (("width", widths), ("parameters", P))
    }
    return {"widths": widths, "parameters": P, "seconds": seconds, "bytes": bytes_, "exponents": exponents}


def exponent(widths: list[int], values: list[float]) -> float:
    """The slope over the last three, on logarithms."""
    x, y = ([math.log(v) for v in series[-3:]] for series in (widths, values))
    mx, my = sum(x) / 3, sum(y) / 3
    return sum((a - mx) * (b - my) for a, b in zip(x, y)) / sum((a - mx) ** 2 for a in x)


def last_width(budget: float) -> int:
    """The greatest width whose Fisher matrix, P^2 numbers of four bytes, fits into so many bytes."""
    w = 1
    while 4 * parameters(w + 1) ** 2 <= budget:
        w += 1
    return w


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of a step against the width.")
    parser.add_argument("--write", action="store_true", help="keep the results for the page")
    options = parser.parse_args()
    torch.set_num_threads(1)
    began, results = time.process_time(), {}
    for name, (_, widths) in METHODS.items():
        seconds, bytes_ = [], []
        for w in widths:
            say(f"{name}: width {w}")
            seconds.append(time_of(name, w))
            bytes_.append(memory_of(name, w))
        results[name] = fitted(widths, seconds, bytes_)
        say("")
        print(f"{name:20}{results[name]['exponents']}")
        for w, s, b in zip(widths, seconds, bytes_):
            print(f"{w:8}{1000 * s:12.2f} ms{b / 1e6:10.1f} MB")
    fits = {f"{gigabytes} GB": last_width(gigabytes * 1e9) for gigabytes in (1, 16, 80)}
    print(f"the Fisher matrix fits up to width: {fits}")
    minutes = (time.process_time() - began) / 60
    finish("growth", {"batch": BATCH, "methods": results, "fits": fits, "processor_minutes": minutes}, options.write)


if __name__ == "__main__":
    main()
