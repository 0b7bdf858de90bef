"""Time of one training step, 784-512-512-10, tanh, batch 256, cross-entropy, float32: K-FAC, SGD, Adam, peers.

Every optimizer runs one cycle (10 steps where inverses are renewed every 10th, 3 where at every step), then the next
one does, and so on, again and again. Printed are the mean over a cycle, its median and lowest tenth over the cycles,
and the median of the ratios of cycles that stood side by side: trust ratios within one run only. On a busy machine
threads wait for each other and ratios are noise; run it on an idle one, or with a priority:

    pip install singd==0.0.5          # the fastest peer on PyPI; not needed for the rest
    .venv/bin/python benchmarks/optim_step.py
    sudo chrt -f 1 .venv/bin/python benchmarks/optim_step.py --cycles 12
    .venv/bin/python benchmarks/optim_step.py --cycles 40 --memory --write   # for the page "The optimizer, measured"

singd with T = 10 touches its factors at every 10th step only; ours renews them at every step. It always takes the
empirical Fisher. curvlinops has no optimizer: its step here makes its factors of the batch and inverts them.
"Own products" are the matrix products, factorisations and solves of our step (mc), timed alone in ready buffers; the
inversions of a cycle are among them. `--memory` adds the peaks above idle, a process for each. Asserts nothing.
"""

import argparse
import gc
import importlib.util
import itertools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent / "studies"))
from measuring import finish, say  # pyright: ignore[reportMissingImports]

from kfac_lite.optim import KFAC

WIDTHS, BATCH, LR, DAMPING = (784, 512, 512, 10), 256, 1e-3, 1e-3
Step = Callable[[], None]


def setting() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(784, 512), nn.Tanh(), nn.Linear(512, 512), nn.Tanh(), nn.Linear(512, 10)
    )  # fmt: skip
    return model, torch.rand(BATCH, 784), torch.randint(0, 10, (BATCH,))


def loop(make: Callable[[nn.Module], torch.optim.Optimizer]) -> Step:
    model, x, y = setting()
    opt = make(model)

    def step() -> None:
        opt.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        opt.step()

    return step


def ours(every: int, fisher: str = "mc") -> Step:
    return loop(
        lambda model: KFAC(
            model, lr=LR, damping=DAMPING, momentum=0.9, fisher=fisher, likelihood="categorical", inverse_every=every
        )
    )


def singd(every: int) -> Step:
    from singd.optim.optimizer import SINGD  # pyright: ignore[reportMissingImports]

    return loop(lambda model: SINGD(model, lr=LR, damping=DAMPING, momentum=0.9, T=every))


def curvlinops() -> Step:
    from curvlinops import FisherType, KFACInverseLinearOperator, KFACLinearOperator

    model, x, y = setting()
    parameters = list(model.parameters())
    loss = nn.CrossEntropyLoss()

    def step() -> None:
        gradient = torch.autograd.grad(loss(model(x), y), parameters)
        metric = KFACLinearOperator(
            model, loss, parameters, [(x, y)], fisher_type=FisherType.MC, separate_weight_and_bias=False,
            check_deterministic=False,
        )  # fmt: skip
        inverse = KFACInverseLinearOperator(metric, damping=DAMPING, use_heuristic_damping=True)
        direction: Any = inverse @ list(gradient)
        with torch.no_grad():
            for p, d in zip(parameters, direction):
                p.sub_(d, alpha=LR)

    return step


def floor(every: int) -> Step:
    """What our step must compute, and nothing else: no autograd, no momentum, no hooks."""
    layers = list(itertools.pairwise(WIDTHS))
    new = torch.randn
    W, a, g = [new(m, n) for n, m in layers], [new(BATCH, n) for n, _ in layers], [new(BATCH, m) for _, m in layers]
    A = [torch.eye(n + 1) for n, _ in layers]
    G = [torch.eye(m) for _, m in layers]
    out, back, grad = (
        [new(BATCH, m) for _, m in layers],
        [new(BATCH, n) for n, _ in layers],
        [new(m, n) for n, m in layers],
    )
    U, V, P = [new(BATCH, m) for _, m in layers], [new(BATCH, n) for n, _ in layers], [new(m, n) for n, m in layers]
    inverses = [[torch.eye(len(S)) for S in pair] for pair in zip(A, G)]
    count = 0

    def lower(S: torch.Tensor, rows: torch.Tensor) -> None:
        n = rows.shape[1]
        width = -(-n // (4 if n > 600 else 2 if n >= 128 else 1))
        for i in range(0, n, width):
            S[i:n, i : i + width].addmm_(rows[:, i:].T, rows[:, i : i + width], beta=0.9, alpha=0.1 / BATCH)

    def factorise(S: torch.Tensor) -> torch.Tensor:
        S = S.clone()
        S.diagonal().add_(1.0)
        return torch.linalg.cholesky(S)

    @torch.no_grad()
    def step() -> None:
        nonlocal count
        for i, (n, m) in enumerate(layers):
            torch.mm(a[i], W[i].T, out=out[i])
            torch.mm(g[i].T, a[i], out=grad[i])
            if i:
                torch.mm(g[i], W[i], out=back[i])  # the loss's derivative
                torch.mm(g[i], W[i], out=back[i])  # the sampled one
            lower(A[i], a[i])
            lower(G[i], g[i])
            few = BATCH * (m * m + n * n + m * n) < m * n * (m + n)
            if count % every == 0:
                inverses[i] = [factorise(A[i]), factorise(G[i])]
                if every > 1:
                    inverses[i] = [torch.cholesky_inverse(L).T for L in inverses[i]]
            L_A, L_G = inverses[i]
            if every == 1 and few:
                solve = torch.linalg.solve_triangular
                abar = torch.cat([a[i], torch.ones(BATCH, 1)], 1)
                w = solve(L_A, solve(L_A.T, abar, upper=True, left=False), upper=False, left=False)
                u = solve(L_G, solve(L_G.T, g[i], upper=True, left=False), upper=False, left=False)
                torch.mm(u.T, w[:, :n], out=P[i])
            elif every == 1:
                torch.cholesky_solve(torch.cholesky_solve(grad[i], L_G).T, L_A[:n, :n])
            elif few:
                torch.mm(g[i], inverses[i][1], out=U[i])
                torch.mm(a[i], inverses[i][0][:n, :n], out=V[i])
                torch.mm(U[i].T, V[i], out=P[i])
            else:
                torch.mm(inverses[i][1], grad[i] @ inverses[i][0][:n, :n], out=P[i])
        count += 1

    return step


def contenders(every: int) -> dict[str, Callable[[], Step]]:
    found: dict[str, Callable[[], Step]] = {
        "SGD": lambda: loop(lambda model: torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9)),
        "Adam": lambda: loop(lambda model: torch.optim.Adam(model.parameters(), lr=LR)),
        "singd (empirical)": lambda: singd(every),
        "kfac_lite, mc": lambda: ours(every),
        "kfac_lite, empirical": lambda: ours(every, "empirical"),
        "own products": lambda: floor(every),
    }
    if every == 1:
        found["curvlinops"] = curvlinops
    return found


def milliseconds(step: Step, steps: int) -> float:
    began = time.perf_counter()
    for _ in range(steps):
        step()
    return 1000 * (time.perf_counter() - began) / steps


def compare(every: int, cycles: int) -> dict[str, dict[str, float]]:
    """Print, and return by name, the milliseconds of a step and its ratios to others."""
    steps, running = (every if every > 1 else 3), {}
    for name, make in contenders(every).items():
        try:
            running[name] = make()
        except ImportError as error:
            print(f"{name}: left out, {error}", file=sys.stderr)
    for step in running.values():
        milliseconds(step, steps)
    times: dict[str, list[float]] = {name: [] for name in running}
    gc.collect()
    gc.disable()
    for cycle in range(cycles):
        say(f"inverses every {every}: cycle {cycle + 1} of {cycles}")
        for name, step in running.items():
            times[name].append(milliseconds(step, steps))
    gc.enable()
    say("")
    ratio = lambda name, other: statistics.median(a / b for a, b in zip(times[name], times[other]))
    peers = [name for name in ("singd (empirical)", "curvlinops") if name in times]
    print(f"\ninverses every {every}: ms a step, mean over a cycle of {steps}; {cycles} cycles")
    print(
        f"{'':22}{'median':>8}{'lowest tenth':>14}{'x SGD':>8}"
        + "".join(f"{'x ' + name.split()[0]:>14}" for name in peers)
        + f"{'x own products':>16}"
    )
    found = {}
    for name, values in times.items():
        tenth, ms = sorted(values)[len(values) // 10], statistics.median(values)
        ratios = {other: ratio(name, other) for other in ("SGD", *peers, "own products")}
        found[name] = {"ms": ms, **ratios}
        row = f"{name:22}{ms:8.1f}{tenth:14.1f}" + "".join(
            f"{ratios[other]:{width}.2f}" for other, width in zip(ratios, (8, *(14 for _ in peers)))
        )
        print(row + (f"{ratios['own products']:16.2f}" if name.startswith("kfac_lite") else ""))
    return found


def peak(name: str, every: int) -> None:
    """Print the peak of this process above what it held before its first step, in MB."""
    step = contenders(every)[name]()
    status = lambda: Path("/proc/self/status").read_text().splitlines()
    held = lambda key: int(next(line for line in status() if line.startswith(key)).split()[1])
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = held("VmRSS")
    for _ in range(2 * every + 3):
        step()
    print(f"{(held('VmHWM') - before) / 1024:.0f}")


def memory() -> dict[int, dict[str, float]]:
    """Print, and return by name, the peaks in MB with inverses every 10 and every 1."""
    print(f"\npeak memory above idle, MB\n{'':22}{'every 10':>9}{'every 1':>9}")
    found: dict[int, dict[str, float]] = {10: {}, 1: {}}
    for name in contenders(1):
        for every in found:
            command = [sys.executable, __file__, "--peak", name, "--every", str(every)]
            run = subprocess.run(command, capture_output=True, text=True)
            if run.stdout.strip():  # a peer may be missing, or have no such schedule
                found[every][name] = float(run.stdout)
        print(f"{name:22}" + "".join(f"{mb[name]:9.0f}" if name in mb else f"{'-':>9}" for mb in found.values()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Time K-FAC's step beside SGD, Adam and other implementations.")
    parser.add_argument("--cycles", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--every", type=int, help="1 or 10 alone")
    parser.add_argument("--memory", action="store_true", help="peak memory too")
    parser.add_argument("--write", action="store_true", help="keep the results for the page")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak:
        return peak(options.peak, options.every)
    if options.write and (options.every or not options.memory or importlib.util.find_spec("singd") is None):
        parser.error("the page shows the whole table: --write goes with --memory, without --every, and needs singd")
    print(f"torch {torch.__version__}, {options.threads} threads, {os.cpu_count()} processors")
    every = (options.every,) if options.every else (10, 1)
    results: dict[str, Any] = {"cycles": options.cycles, "steps": {n: compare(n, options.cycles) for n in every}}
    if options.memory:
        results["memory"] = memory()
    finish("step", results, options.write, f"{options.threads} threads")


if __name__ == "__main__":
    main()
