"""Compute-only frame time of a figure of the hero's size: the compiled program in V8, and the same functions in torch.

One frame is what a drag recomputes: K-FAC and SGD, each in two coordinate systems, 100 steps (2-2-1, Bernoulli,
32 points). Nothing is drawn. Prints the best and the median of the frames, and their ratio; asserts nothing.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/compile.py
"""

import statistics
import time
from collections.abc import Callable

import torch
from py_mini_racer import MiniRacer

from kfac_lite import live
from kfac_lite.coordinates import likelihoods, mlp, updates

STEPS, FRAMES, WARM_UP = 100, 60, 6


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


x = normal(32, 2)
y = (normal(32, 1) + x[:, :1] > 0).double()
one, none = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
start = [normal(2, 3), normal(1, 3)]
eye, zero = torch.ones(2, dtype=torch.float64).diag(), torch.zeros(2, dtype=torch.float64)
BASES = [(eye, zero), (eye + 0.4 * normal(2, 2), normal(2))]
lr = torch.tensor(0.03, dtype=torch.float64)


def network(Omega, gamma):
    hidden = mlp.Layer(mlp.tanh, Omega, gamma, eye, zero)
    return mlp.Network((hidden, mlp.Layer(mlp.identity, one, none, one, none)), likelihoods.bernoulli)


def kfac(w, Omega, gamma, lr):
    net = network(Omega, gamma)
    return updates.kfac(w, mlp.gradient(net, w, x, y), mlp.factors(net, w, x), lr)


def sgd(w, Omega, gamma, lr):
    return updates.sgd(w, mlp.gradient(network(Omega, gamma), w, x, y), None, lr)


def torch_frame() -> None:
    for step in (kfac, sgd):
        for Omega, gamma in BASES:
            w = start
            for _ in range(STEPS):
                w = step(w, Omega, gamma, lr)


def page_frame() -> Callable[[], object]:
    """The same in V8; one call computes one frame."""
    engine = MiniRacer()
    flat = lambda tensors: [t.flatten().tolist() for t in tensors]
    runs = [flat([*start, Omega, gamma, lr]) for Omega, gamma in BASES]
    for step in (kfac, sgd):
        began = time.perf_counter()
        program = live.compile(step, start, *BASES[1], lr)
        took = time.perf_counter() - began
        print(f"{step.__name__:5} compiled in {took:.2f} s to {len(program.source) / 1000:.1f} kB")
        engine.eval(f"const {step.__name__} = ({program.source})();")
    engine.eval(f"""
    const runs = {runs};
    function frame() {{
      for (const p of [kfac, sgd]) for (const values of runs) {{
        p.run(values);
        for (let t = 1; t < {STEPS}; t++) {{
          p.inputs[0].set(p.outputs[0]);
          p.inputs[1].set(p.outputs[1]);
          p.step();
          if (p.fault()) throw new Error(JSON.stringify(p.fault()));
        }}
      }}
    }}
    """)
    return lambda: engine.eval("frame()")


def milliseconds(frame: Callable[[], object], count: int) -> list[float]:
    times = []
    for _ in range(count):
        began = time.perf_counter()
        frame()
        times.append(1000 * (time.perf_counter() - began))
    return times


def main() -> None:
    torch.set_num_threads(1)
    frame = page_frame()
    first = milliseconds(frame, WARM_UP)
    page, eager = milliseconds(frame, FRAMES), milliseconds(torch_frame, 5)
    print("first frames in the page:", " ".join(f"{t:.1f}" for t in first), "ms")
    for name, times in [("page", page), ("torch", eager)]:
        print(f"{name:5} best {min(times):7.2f} ms, median {statistics.median(times):7.2f} ms a frame")
    best, median = min(eager) / min(page), statistics.median(eager) / statistics.median(page)
    print(f"torch / page: best {best:.0f}, median {median:.0f}")


if __name__ == "__main__":
    main()
