"""Is K-FAC worth its step? Loss against steps and against seconds on three small problems of 8 by 8 digits.

    nice .venv/bin/python benchmarks/studies/worth.py --write      # about five minutes

A deep autoencoder (after Martens and Grosse, 2015, section 13, at the size of these digits), a convolutional network
and a recurrent one that reads an image row by row; SGD with momentum, Adam, Muon and K-FAC. The rate of each is found
by the same search: from a first rate, steps of sqrt(10) up and down until the best has a worse one on either side, by
the training loss at the end of a run. All other options are the defaults of their libraries, momentum 0.9 for SGD and
K-FAC; K-FAC runs once with its default damping, 1e-3, and once with 0.1. Then every optimizer runs from three other
starts, which all of them share, batches too.

Seconds are those of the processor, of one thread (`time.process_time`), for the steps alone: other work on the machine
hardly changes them. Losses are of all 1000 training images, and of the 797 held out, which other people wrote.

torch's Muon takes matrices alone. Here it has every weight, a filter bank as the matrix `weight.flatten(1)`, with
`adjust_lr_fn="match_rms_adamw"`, whose rates are Adam's; Adam moves the biases, at the same rate.
"""

import argparse
import itertools
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from measuring import finish, say
from torch import Tensor, nn
from torch.nn import functional as F

from kfac_lite.data import batches, digit_images
from kfac_lite.optim import KFAC

BATCH, EVERY, SEEDS = 100, 10, (0, 1, 2)
WIDTHS = (64, 100, 50, 25, 6, 25, 50, 100, 64)


class Matrix(nn.Module):
    """A convolution whose weight is a matrix, as Muon wants it."""

    def __init__(self, given: nn.Conv2d):
        super().__init__()
        self.weight, self.bias = nn.Parameter(given.weight.detach().flatten(1).clone()), given.bias
        self.shape, self.stride, self.padding = given.weight.shape, given.stride, given.padding

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight.view(self.shape), self.bias, self.stride, self.padding)  # type: ignore


class Rows(nn.Module):
    """Classes from the last state, after eight rows."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.read = nn.RNN(8, 64, batch_first=True), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.read(self.recurrent(x)[0][:, -1])


def autoencoder() -> nn.Module:
    modules: list[nn.Module] = []
    for n, m in itertools.pairwise(WIDTHS):
        modules += [nn.Linear(n, m), nn.Tanh()]
    del modules[7], modules[-1]  # the code and the logits are linear
    return nn.Sequential(*modules)


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(32, 32, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip


def pixels(eta: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(eta, y, reduction="sum") / len(y)


PROBLEMS: dict[str, dict[str, Any]] = {
    "autoencoder": dict(make=autoencoder, shape=(64,), loss=pixels, likelihood="bernoulli", steps=600, own=True),
    "convolutional": dict(
        make=convolutional, shape=(1, 8, 8), loss=F.cross_entropy, likelihood="categorical", steps=200, own=False
    ),
    "recurrent": dict(make=Rows, shape=(8, 8), loss=F.cross_entropy, likelihood="categorical", steps=300, own=False),
}


def data(problem: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    found = digit_images()
    x, there = (t.float().reshape(len(t), *problem["shape"]) for t in (found.inputs, found.held_out_inputs))
    if problem["own"]:
        return x, x, there, there
    return x, found.targets.argmax(1), there, found.held_out_targets.argmax(1)


def start(problem: dict[str, Any], seed: int) -> nn.Module:
    """Normal weights of variance 2 / (inputs + outputs), a recurrence's orthogonal; biases 0."""
    torch.manual_seed(seed)
    model = problem["make"]()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1:
                p.zero_()
            elif "weight_hh" in name:
                nn.init.orthogonal_(p)
            else:
                nn.init.xavier_normal_(p)
    return model


def muon(model: nn.Module, lr: float) -> list[torch.optim.Optimizer]:
    matrices = [p for p in model.parameters() if p.dim() == 2]
    others = [p for p in model.parameters() if p.dim() != 2]
    first = torch.optim.Muon(matrices, lr=lr, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    return [first, torch.optim.Adam(others, lr=lr)]


Make = Callable[[nn.Module, float, str], list[torch.optim.Optimizer]]
OPTIMIZERS: dict[str, tuple[float, Make]] = {
    "SGD": (0.03, lambda model, lr, _: [torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)]),
    "Adam": (0.003, lambda model, lr, _: [torch.optim.Adam(model.parameters(), lr=lr)]),
    "Muon": (0.01, lambda model, lr, _: muon(model, lr)),
    "K-FAC": (0.003, lambda model, lr, likelihood: [KFAC(model, lr=lr, momentum=0.9, likelihood=likelihood)]),
    "K-FAC, damping 0.1": (
        0.01, lambda model, lr, likelihood: [KFAC(model, lr=lr, momentum=0.9, damping=0.1, likelihood=likelihood)]
    ),
}  # fmt: skip


def train(problem: dict[str, Any], name: str, lr: float, seed: int) -> dict[str, list[float]]:
    """Losses after every tenth step, and the processor's seconds until there."""
    x, y, x_there, y_there = data(problem)
    model, loss = start(problem, seed), problem["loss"]
    if name == "Muon" and isinstance(model, nn.Sequential):
        model = nn.Sequential(*(Matrix(m) if isinstance(m, nn.Conv2d) else m for m in model))
    optimizers = OPTIMIZERS[name][1](model, lr, problem["likelihood"])
    stream = batches(len(x), BATCH, problem["steps"], seed)
    found: dict[str, list[float]] = {"train": [], "held_out": [], "seconds": []}
    seconds = 0.0
    for step in range(problem["steps"] + 1):
        if step % EVERY == 0:
            with torch.no_grad():
                found["train"].append(float(loss(model(x), y)))
                found["held_out"].append(float(loss(model(x_there), y_there)))
            found["seconds"].append(seconds)
            if not math.isfinite(found["train"][-1]):
                break
        if step < problem["steps"]:
            began = time.process_time()
            for opt in optimizers:
                opt.zero_grad()
            loss(model(x[stream[step]]), y[stream[step]]).backward()
            try:
                for opt in optimizers:
                    opt.step()
            except ValueError:  # K-FAC refuses a step from numbers that are not finite
                found["train"].append(math.inf)
                break
            seconds += time.process_time() - began
    return found


def end(found: dict[str, list[float]]) -> float:
    """The training loss at the end, the mean of five readings; infinite for a run that broke."""
    last = found["train"][-5:]
    return sum(last) / len(last) if all(map(math.isfinite, last)) else math.inf


def search(problem: dict[str, Any], name: str, what: str) -> tuple[float, dict[float, float]]:
    tried: dict[int, float] = {}
    rate = lambda k: OPTIMIZERS[name][0] * 10 ** (k / 2)

    def loss(k: int) -> float:
        if k not in tried:
            say(f"{what}, {name}: rate {rate(k):.2g}")
            tried[k] = end(train(problem, name, rate(k), seed=100))
        return tried[k]

    best = 0
    for k in (0, -1):
        loss(k)
    while len(tried) < 8:
        best = min(sorted(tried), key=lambda k: tried[k])  # the least of them, where all have broken
        if best - 1 in tried and best + 1 in tried:
            break
        loss(best + 1 if best - 1 in tried else best - 1)
    return rate(best), {rate(k): tried[k] for k in sorted(tried)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Loss against steps and seconds: SGD, Adam, Muon, K-FAC.")
    parser.add_argument("--write", action="store_true", help="keep the results for the page")
    parser.add_argument("--problem", choices=PROBLEMS, help="one of them alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.process_time()
    results: dict[str, Any] = {"every": EVERY, "batch": BATCH, "problems": {}}
    for what in [options.problem] if options.problem else PROBLEMS:
        problem = PROBLEMS[what]
        results["problems"][what] = {"steps": problem["steps"], "runs": {}}
        for name in OPTIMIZERS:
            lr, tried = search(problem, name, what)
            runs = []
            for seed in SEEDS:
                say(f"{what}, {name}: rate {lr:.2g}, start {seed}")
                runs.append(train(problem, name, lr, seed))
            run = {key: [each[key] for each in runs] for key in runs[0]}
            tried = {f"{rate:.2g}": value if math.isfinite(value) else None for rate, value in tried.items()}
            results["problems"][what]["runs"][name] = {"rate": lr, "tried": tried, **run}
            ends = sorted(map(end, runs))
            per = 1000 * sum(each["seconds"][-1] for each in runs) / len(runs) / problem["steps"]
            held = [each["held_out"][-1] for each in runs]
            say("")
            print(
                f"{what:14}{name:18} rate {lr:<8.2g}train {ends[0]:.4g} to {ends[-1]:.4g}   held out "
                f"{min(held):.4g} to {max(held):.4g}   {per:.2f} ms a step   tried {tried}"
            )
    results["processor_minutes"] = (time.process_time() - began) / 60
    finish("worth", results, options.write)


if __name__ == "__main__":
    main()
