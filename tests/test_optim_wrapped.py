"""kfac_lite.optim and a model that is wrapped: compiled, or a DistributedDataParallel."""

import copy
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from kfac_lite.optim import KFAC

from .optim_truth import model_of, normal, one_step
from .test_optim_numbers import same

pytestmark = pytest.mark.no_gauge
OPTIONS: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "damping": 0.1, "likelihood": "gaussian", "inverse_every": 2}


def perceptron() -> Any:
    return model_of(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def steps(forward: Any, opt: Any) -> None:
    for step in range(5):
        x = normal(step, 9, 3)
        one_step(opt, forward, x, x[:, :2], "gaussian")


def plain() -> Any:
    model = perceptron()
    steps(model, KFAC(model, **OPTIONS))
    return model.state_dict()


# What the compiler's front and its graphs do to hooks shows without the code that it would generate.
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("given", ["model", "compiled", "in place before", "in place after"])
def test_a_compiled_model_takes_the_same_steps(given: str, backend: str):
    torch._dynamo.reset()
    model = perceptron()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch's compiler has to say to itself, and hides from its users
        if given.startswith("in place"):
            before = given.endswith("before")
            if before:
                model.compile(backend=backend)
            opt = KFAC(model, **OPTIONS)
            if not before:
                model.compile(backend=backend)
            steps(model, opt)
        else:
            compiled: Any = torch.compile(model, backend=backend)
            opt = KFAC(model if given == "model" else compiled, **OPTIONS)
            steps(compiled, opt)
    assert len(opt.factors()) == 2
    assert same(plain(), model.state_dict())


@pytest.fixture
def one_process(tmp_path: Path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("given", ["wrapped", "inner"])
def test_a_distributed_model_of_one_process_takes_the_same_steps(one_process: None, given: str):
    model = perceptron()
    wrapped = nn.parallel.DistributedDataParallel(model)
    opt = KFAC(wrapped if given == "wrapped" else model, **OPTIONS)
    steps(wrapped, opt)
    assert len(opt.factors()) == 2
    assert same(plain(), model.state_dict())


TWO_PROCESSES = """
import sys, warnings, torch
from torch import nn
sys.path.insert(0, sys.argv[1])
torch.set_num_threads(1)
from kfac_lite.optim import KFAC
rank = int(sys.argv[3])
torch.distributed.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
wrapped = nn.parallel.DistributedDataParallel(model)
start = [p.detach().clone() for p in model.parameters()]
for attempt in (lambda: KFAC(wrapped, lr=0.1, likelihood="gaussian"), lambda: wrapped(torch.ones(5, 3))):
    opt = KFAC(model, lr=0.1, likelihood="gaussian")
    try:
        attempt()
    except ValueError as error:
        print(str(error)[:55])
with torch.no_grad():
    wrapped(torch.ones(5, 3))
assert all(map(torch.equal, start, model.parameters()))
alone = nn.Linear(3, 2)
opt = KFAC(alone, lr=0.1, likelihood="gaussian")
alone(torch.randn(5, 3)).pow(2).sum().backward()
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    opt.step()
print(str(told[0].message)[:38])
torch.distributed.destroy_process_group()
"""


def test_two_real_processes_are_refused_at_construction_and_in_the_forward_pass_and_a_step_warns(tmp_path: Path):
    root = str(Path(__file__).parent.parent)
    run = lambda rank: subprocess.Popen(
        [sys.executable, "-W", "error", "-c", TWO_PROCESSES, root, str(tmp_path / "store"), str(rank)],
        stdout=subprocess.PIPE,
        text=True,
    )
    for process in [run(0), run(1)]:
        text, _ = process.communicate(timeout=300)
        assert process.returncode == 0
        refused = "the model is a DistributedDataParallel of 2 processes. "
        assert text.splitlines() == [refused, refused, "torch.distributed runs 2 processes, and"[:38]]


def test_replicas_in_several_processes_are_refused_or_told(one_process: None, monkeypatch: pytest.MonkeyPatch):
    """The number of processes is pretended: what is tested is that it is asked for."""
    model = perceptron()
    wrapped = nn.parallel.DistributedDataParallel(copy.deepcopy(model))
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda *group: 4)
    with pytest.raises(ValueError, match=r"of 4 processes\. Each would make A and G of its own share"):
        KFAC(wrapped, **OPTIONS)
    opt = KFAC(model, **OPTIONS)
    with pytest.warns(UserWarning, match=r"torch\.distributed runs 4 processes") as told:
        steps(model, opt)
    assert len(told) == 1 and told[0].filename.endswith("optim_truth.py")
