"""kfac_lite.optim: what enters the statistics and on which scale, and what is said when the numbers are bad."""

import copy
import gc
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from kfac_lite.errors import DegenerateMetricError
from kfac_lite.optim import KFAC

from .optim_truth import close, model_of, nll, normal, one_step

pytestmark = pytest.mark.no_gauge


def perceptron() -> Any:
    return model_of(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def same(a: Any, b: Any) -> bool:
    """Bit for bit, for nested state."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) and a.dtype == b.dtype if isinstance(a, torch.Tensor) else a == b


@pytest.mark.parametrize("fisher", ["exact", "mc"])
@pytest.mark.parametrize("n", [1, 8, 64])
def test_factors_do_not_depend_on_the_loss_and_the_step_scales_with_its_gradient(fisher: str, n: int):
    """S1: mean, sum, a multiple, and torch's squared error, which divides by 3 N for three outputs."""
    x, y = normal(1, n, 3), normal(2, n, 3)
    losses: dict[float, Any] = {
        1.0: lambda eta: nll("gaussian", eta, y),
        float(n): lambda eta: n * nll("gaussian", eta, y),
        7.0: lambda eta: 7 * nll("gaussian", eta, y),
        2 / 3: lambda eta: nn.functional.mse_loss(eta, y),
    }
    found = {}
    for scale, loss in losses.items():
        model: Any = model_of(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))
        start = model[0].weight.detach().clone()
        opt = KFAC(model, lr=1.0, damping=0.1, fisher=fisher, likelihood="gaussian")
        loss(model(x)).backward()
        opt.step()
        found[scale] = opt.factors(), (start - model[0].weight.detach()) / scale
    first, step = found[1.0]
    for factors, other in found.values():
        close(step, other)
        assert same(factors, first)


@pytest.mark.parametrize("fisher", ["exact", "empirical"])
@pytest.mark.parametrize("to_none", [True, False])
@pytest.mark.parametrize("parts", [(8, 8, 8, 8), (20, 12)])
def test_accumulated_micro_batches_are_one_batch(parts: tuple[int, ...], to_none: bool, fisher: str):
    """S4: weights by samples; the uneven split too."""
    x, y = normal(1, 32, 3), normal(2, 32, 2)
    ends = []
    for split in ((32,), parts):
        model = perceptron()
        opt = KFAC(model, lr=0.1, momentum=0.5, damping=0.1, fisher=fisher, likelihood="gaussian", decay=0.7)
        for step in range(3):
            opt.zero_grad(set_to_none=to_none)
            for u, v in zip(x.split(list(split)), y.split(list(split))):
                (nll("gaussian", model(u + step), v) * len(u) / 32).backward()
            opt.step()
        ends.append((model(x).detach(), opt.factors()))
    close(ends[0][0], ends[1][0])
    for name, pair in ends[0][1].items():
        for left, right in zip(pair, ends[1][1][name]):
            close(left, right)


@pytest.mark.parametrize("fisher", ["exact", "mc", "empirical"])
@pytest.mark.parametrize("scaled", [False, True])
def test_two_losses_sent_back_one_after_the_other_are_their_sum(fisher: str, scaled: bool):
    """One forward pass, backward() twice; the first layer has few rows, the second many."""
    x, y = normal(1, 9, 30), normal(2, 9, 2)
    ends = []
    for together in (True, False):
        model = model_of(nn.Linear(30, 20), nn.Tanh(), nn.Linear(20, 2))
        opt = KFAC(model, lr=0.1, momentum=0.5, damping=0.1, fisher=fisher, likelihood="gaussian", decay=0.7)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=scaled)
        for step in range(3):
            opt.zero_grad()
            eta = model(x + step)
            losses = nll("gaussian", eta, y), 0.3 * eta.pow(4).mean()
            if together:
                scaler.scale(losses[0] + losses[1]).backward()
            else:
                scaler.scale(losses[0]).backward(retain_graph=True)
                scaler.scale(losses[1]).backward()
            scaler.step(opt)
            scaler.update(1024.0)
        ends.append((opt.factors(), model(x).detach()))
    close(ends[0][1], ends[1][1])
    for name, pair in ends[0][0].items():
        for left, right in zip(pair, ends[1][0][name]):
            close(left, right)


def test_micro_batches_draw_targets_of_their_own():
    x = normal(1, 4, 3)
    opt = KFAC(model := perceptron(), lr=0.0, damping=0.1, likelihood="gaussian")
    for _ in range(2):
        (nll("gaussian", model(x), normal(2, 4, 2)) / 2).backward()
    opt.step()
    one = KFAC(model := perceptron(), lr=0.0, damping=0.1, likelihood="gaussian")
    one_step(one, model, x, normal(2, 4, 2), "gaussian")
    assert not torch.allclose(opt.factors()["2"][1], one.factors()["2"][1])


def test_targets_depend_on_the_seed_and_the_step_and_on_nothing_else():
    x, y = normal(1, 9, 3), normal(2, 9, 2)

    def drawn(seed: int) -> list[torch.Tensor]:
        model, found = perceptron(), []
        opt = KFAC(model, lr=0.0, damping=0.1, likelihood="gaussian", decay=0.0, seed=seed)
        for _ in range(2):
            torch.rand(7)
            one_step(opt, model, x, y, "gaussian")
            found.append(opt.factors()["2"][1])
        return found

    first, again, other = drawn(3), drawn(3), drawn(4)
    assert same(first, again)
    assert not torch.allclose(first[0], first[1])
    assert not any(torch.allclose(a, b) for a, b in zip(first, other))


def fails(model: nn.Module, x: torch.Tensor) -> None:
    with pytest.raises(RuntimeError):
        model(x)


INTERRUPTIONS: dict[str, Any] = {
    "no_grad": lambda model, x: torch.no_grad()(model)(x),
    "eval": lambda model, x: (model.eval()(x), model.train()),
    "inference": lambda model, x: torch.inference_mode()(model)(x),
    "discarded": lambda model, x: model(x).sum(),
    "input gradient": lambda model, x: torch.autograd.grad(model(u := x.clone().requires_grad_()).sum(), u),
    "error": lambda model, x: fails(model, x[:, :2]),
    "two": lambda model, x: (model(x), model(x[:3])),
}


def interrupted(name: str, when: str) -> tuple[Any, Any]:
    model = perceptron()
    opt = KFAC(model, lr=0.1, momentum=0.9, damping=0.1, likelihood="gaussian", inverse_every=3)
    for step in range(12):
        x = normal(step, 9, 3)
        opt.zero_grad()
        if name and when == "before":
            INTERRUPTIONS[name](model, x)
        loss = nll("gaussian", model(x), x[:, :2])
        loss.backward()
        if name and when == "after backward":
            INTERRUPTIONS[name](model, x)
        opt.step()
    return model.state_dict(), opt.state_dict()


@pytest.mark.parametrize("when", ["before", "after backward"])
@pytest.mark.parametrize("name", INTERRUPTIONS)
def test_evaluation_between_steps_changes_no_bit(name: str, when: str):
    """S5: a forward pass counts when backward() reaches the parameters through it, and then only."""
    assert same(interrupted(name, when), interrupted("", ""))


def test_evaluation_and_forgotten_graphs_leak_nothing():
    model = perceptron()
    opt = KFAC(model, lr=0.1, damping=0.1, likelihood="gaussian")
    x = normal(1, 9, 3)
    one_step(opt, model, x, x[:, :2], "gaussian")

    def alive() -> int:
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    for name in INTERRUPTIONS:
        if name != "error":
            INTERRUPTIONS[name](model, x)
    before = alive()
    for _ in range(80):
        for name in INTERRUPTIONS:
            if name != "error":
                INTERRUPTIONS[name](model, x)
    assert alive() == before
    for _ in range(20):
        one_step(opt, model, x, x[:, :2], "gaussian")
    assert abs(alive() - before) <= 4  # gradients


def test_without_the_garbage_collector_a_forgotten_graph_goes_at_once():
    model, x = perceptron(), normal(1, 9, 3)
    opt = KFAC(model, lr=0.1, damping=0.1, likelihood="gaussian")
    uses = lambda: sum(type(thing).__name__ == "Use" for thing in gc.get_objects())
    gc.collect()
    gc.disable()
    try:
        out = model(x)
        assert uses() == 2
        del out
        assert uses() == 0
    finally:
        gc.enable()
    assert opt.factors() == {}


def test_zero_grad_between_forward_and_backward_and_a_skipped_batch():
    """Both orders of the textbook loop; and a batch whose gradient was thrown away does not count."""
    ends = []
    for order in ("first", "between", "skipped"):
        model = perceptron()
        opt = KFAC(model, lr=0.1, damping=0.1, likelihood="gaussian")
        for step in range(3):
            x = normal(step, 9, 3)
            if order == "first":
                opt.zero_grad()
            if order == "skipped":
                nll("gaussian", model(x * 3), x[:, :2]).backward()
                opt.zero_grad()
            loss = nll("gaussian", model(x), x[:, :2])
            if order == "between":
                opt.zero_grad()
            loss.backward()
            opt.step()
            if order == "skipped":
                opt.zero_grad()
        ends.append(opt.state_dict())
    assert same(ends[0], ends[1]) and same(ends[0], ends[2])


def test_reading_is_not_training():
    """S7: gradients, factors, random state and the next direction are as before; what is returned is a copy."""
    model, x, y = perceptron(), normal(1, 9, 3), normal(2, 9, 2)
    for fisher in ("exact", "mc"):
        opt = KFAC(model, lr=0.0, damping=0.1, fisher=fisher, likelihood="gaussian", decay=0.5)
        random = torch.get_rng_state()
        opt.zero_grad()
        nll("gaussian", model(x), y).backward()
        gradients = [p.grad.clone() for p in model.parameters()]
        assert opt.factors() == {}
        opt.state_dict()
        opt.step()
        first = opt.factors()
        velocity = [layer.velocity.clone() for layer in opt._layers]
        assert same(first, opt.factors())
        for A, G in opt.factors().values():
            A.zero_()
            G.mul_(float("nan"))
        state = opt.state_dict()
        state["state"]["layers"]["0"]["A"].zero_()
        assert same(first, opt.factors())
        assert same(gradients, [p.grad for p in model.parameters()])
        one_step(opt, model, x, y, "gaussian")
        if fisher == "exact":
            for layer, before in zip(opt._layers, velocity):
                close(layer.velocity, before)
        assert torch.equal(random, torch.get_rng_state())


@pytest.mark.parametrize("what", ["nan", "huge", "gradient", "overflow"])
def test_numbers_that_are_not_finite_are_named_and_nothing_has_changed(what: str):
    """S9: the layer, the factor, the step; and whether the loss was bad before."""
    model, y = perceptron(), normal(2, 9, 2)
    opt = KFAC(model, lr=0.1, momentum=0.9, damping=0.1, likelihood="gaussian")
    for step in range(3):
        one_step(opt, model, normal(step, 9, 3), y, "gaussian")
    x = normal(4, 9, 3)
    if what == "nan":
        x[0, 0] = float("nan")
    elif what == "huge":
        x *= 1e200
    elif what == "overflow":
        opt.param_groups[0]["lr"] = 1e308
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            one_step(opt, model, x, 1e6 * y, "gaussian")  # a gradient so large that the weights overflow
    opt.zero_grad()
    ((model(x) - y) ** 2).sum().backward()
    if what == "gradient":
        model[2].bias.grad[0] = float("inf")
    before = copy.deepcopy((model.state_dict(), opt.state_dict()))
    message = {
        "nan": r"step 3, layer '0': the factor A, .* NaN or infinite. The model's outputs, .* already",
        "huge": r"step 3, layer '0': the factor A, .* NaN or infinite. Parameters",
        "gradient": r"step 3, layer '2': its gradient is NaN or infinite. Parameters",
        "overflow": r"step 4, layer '.': .* NaN or infinite. The model's outputs, .* an lr that is too large",
    }[what]
    with pytest.raises(ValueError, match=message):
        opt.step()
    after = model.state_dict(), opt.state_dict()
    assert same(before, after) if what != "overflow" else same(before[1], after[1])
    if what != "overflow":
        one_step(opt, model, normal(4, 9, 3), y, "gaussian")  # goes on


class Spoiled(torch.autograd.Function):
    """The identity, whose derivative is NaN the first time that it is asked for: that of the drawn targets."""

    @staticmethod
    def forward(ctx: Any, z: torch.Tensor) -> torch.Tensor:
        ctx.asked = 0
        return z.clone()

    @staticmethod
    def backward(ctx: Any, *D: torch.Tensor) -> torch.Tensor:
        ctx.asked += 1
        return D[0] * float("nan") if ctx.asked == 1 else D[0]


class Spoiler(nn.Module):
    on = False

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return Spoiled.apply(z) if self.on else z  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize("what", ["input", "weight", "bias", "weight overflows", "drawn"])
def test_numbers_that_are_not_finite_are_found_where_rows_stand_for_the_gradient(what: str):
    """S9 again: with few rows their look at the gradient is what finds them, and it is one look for both."""
    model: Any = model_of(nn.Linear(30, 20), nn.Tanh(), Spoiler(), nn.Linear(20, 2))
    x, y = normal(1, 4, 30), normal(2, 4, 2)
    opt = KFAC(model, lr=0.1, momentum=0.9, damping=0.1, likelihood="gaussian")
    one_step(opt, model, x, y, "gaussian")
    if what == "input":
        x = x.clone()
        x[1, 2] = float("nan")
    model[2].on = what == "drawn"
    opt.zero_grad()
    ((model(x) - y) ** 2).sum().backward()
    if what in ("weight", "weight overflows"):
        model[0].weight.grad[3, 4] = float("nan") if what == "weight" else 1e200
    if what == "bias":
        model[0].bias.grad[3] = float("-inf")
    assert opt._layers[0].cheaper()
    before = copy.deepcopy((model.state_dict(), opt.state_dict()))
    named = {"input": "the factor A", "drawn": "the factor G"}.get(what, "its gradient")
    with pytest.raises(ValueError, match=f"step 1, layer '0': {named}.* is NaN or infinite"):
        opt.step()
    assert same(before, (model.state_dict(), opt.state_dict()))


def test_a_singular_factor_without_damping_names_layer_rank_direction_and_a_safe_damping():
    n = 40
    x, y = normal(1, n, 3), torch.arange(n) % 3

    def refused(model: Any, x: Any, **more: Any) -> str:
        opt = KFAC(model, lr=0.1, **{"damping": 0, "fisher": "exact", "likelihood": "categorical", **more})
        opt.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        start = copy.deepcopy(model.state_dict())
        with pytest.raises(DegenerateMetricError) as error:
            opt.step()
        assert same(start, model.state_dict())
        return str(error.value)

    logits = refused(model_of(nn.Linear(3, 3)), x)
    assert "layer '0': the factor G" in logits and "rank 2 of 3" in logits
    assert "All outputs together, with equal weights, have derivative zero." in logits
    dead = x.clone()
    dead[:, 1] = 0
    assert "the factor A" in refused(model_of(nn.Linear(3, 2), nn.Linear(2, 3)), dead)
    assert "Input 1 is zero for every example." in refused(model_of(nn.Linear(3, 3)), dead)
    dead[:, 1] = 2.0
    constant = refused(model_of(nn.Linear(3, 3)), dead)
    assert "rank 3 of 4" in constant and "(the constant 1)" in constant and "(input 1)" in constant
    normed = model_of(nn.Linear(3, 4), nn.LayerNorm(4, elementwise_affine=False), nn.Tanh(), nn.Linear(4, 3))
    text = refused(normed, x)
    assert "layer '0': the factor G" in text and "rank 3 of 4" in text and "layer normalisation" in text
    # The damping that it names is enough.
    damping = float(text.split("damping=")[1].split(" ")[0])
    normed = model_of(*[copy.deepcopy(part) for part in normed])
    opt = KFAC(normed, lr=0.1, damping=damping, fisher="exact", likelihood="categorical")
    nn.functional.cross_entropy(normed(x), y).backward()
    opt.step()
    assert all(p.isfinite().all() for p in normed.parameters())
    single = model_of(nn.Linear(3, 3)).float()
    assert "singular to rounding" in refused(single, x.float())


def test_no_choice_of_units_makes_an_undamped_factor_singular_or_hides_that_it_is():
    x, y = normal(1, 30, 3), normal(2, 30, 2)
    ends = []
    for units in ([1.0, 1.0, 1.0], [1e-20, 1.0, 1e3]):
        by = torch.tensor(units).double()
        model: Any = model_of(nn.Linear(3, 2))
        with torch.no_grad():
            model[0].weight.div_(by)
        opt = KFAC(model, lr=0.5, damping=0, fisher="exact", likelihood="gaussian")
        one_step(opt, model, x * by, y, "gaussian")
        ends.append(model(x * by).detach())
    close(ends[0], ends[1], 1e-9)
    x[:, 1] = 2 * x[:, 0]
    for unit in (1e-10, 1.0, 1e5, 1e10):
        model = model_of(nn.Linear(3, 2))
        opt = KFAC(model, lr=0.5, damping=0, fisher="exact", likelihood="gaussian")
        nll("gaussian", model(unit * x), y).backward()
        with pytest.raises(DegenerateMetricError, match=r"layer '0': the factor A, "):
            opt.step()


def one_layer_step(dtype: torch.dtype, damping: float, form: str, every: int) -> torch.Tensor:
    """Both factors singular: fewer examples than inputs, and logits for every class. Numbers that float32 holds."""
    model: Any = model_of(nn.Linear(100, 5)).float().to(dtype)
    x, start = normal(1, 64, 100).float().to(dtype), model[0].weight.detach().double().clone()
    opt = KFAC(model, lr=1.0, damping=damping, damping_form=form, fisher="exact", likelihood="categorical",
               inverse_every=every)  # fmt: skip
    nn.functional.cross_entropy(model(x), torch.arange(64) % 5).backward()
    opt.step()
    return start - model[0].weight.detach().double()


@pytest.mark.parametrize("every", [1, 10])
@pytest.mark.parametrize("form", ["factored", "exact"])
def test_with_the_damping_that_the_error_names_a_step_is_accurate_and_far_below_it_is_not(form: str, every: int):
    """The step in float32 beside the one in float64, relative to its length; sqrt(eps) is what is promised."""
    named = {}
    for dtype in (torch.float32, torch.float64):
        with pytest.raises(DegenerateMetricError) as error:
            one_layer_step(dtype, 0, form, every)
        named[dtype] = float(str(error.value).split("damping=")[1].split(" ")[0])
    damping, eps = named[torch.float32], torch.finfo(torch.float32).eps

    def error_of(damping: float) -> float:
        truth = one_layer_step(torch.float64, damping, form, every)
        return float((one_layer_step(torch.float32, damping, form, every) - truth).norm() / truth.norm())

    assert error_of(damping) < eps**0.5
    assert error_of(1e-4 * damping) > 0.05
    # The same rule in float64, to the one digit that is printed, upwards.
    ratio = named[torch.float64] / damping
    assert 0.4 < ratio / (torch.finfo(torch.float64).eps / eps) ** 0.5 < 2.5


def test_the_safe_damping_is_relative_to_the_metric_and_a_factor_of_zeros_asks_for_any():
    from kfac_lite.optim.damping import least_safe, rounded_up

    A, G, bar = (normal(seed, 2, n, n + 3) for seed, n in ((1, 4), (2, 3), (3, 4)))
    A, G = A @ A.mT, G @ G.mT
    units = torch.eye(4).double(), torch.eye(3).double()
    eps = torch.finfo(torch.float64).eps
    blocks = [torch.linalg.eigvalsh(torch.kron(a, g))[-1] for a, g in zip(A, G)]
    enough = least_safe(A, G, None)
    assert enough == pytest.approx(eps**0.5 * float(max(blocks)), rel=1e-12)
    bar = bar[:, :, :4] + 3 * units[0]
    assert least_safe(bar @ A @ bar.mT, 4 * G, (bar @ bar.mT, 2 * units[1].expand(2, 3, 3))) == pytest.approx(
        2 * enough, rel=1e-9
    )
    printed = {1.1e-8: "2e-08", 2e-8: "2e-08", 9.5e-8: "1e-07", 1.0: "1e+00", 31.0: "4e+01"}
    assert all(rounded_up(number) == text for number, text in printed.items())
    model: Any = model_of(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        model[0].bias.fill_(-1e3)  # never active, so no output depends on it
    opt = KFAC(model, lr=0.1, damping=0, fisher="exact", likelihood="gaussian")
    x = normal(1, 9, 3)
    nll("gaussian", model(x), x[:, :2]).backward()
    with pytest.raises(DegenerateMetricError, match=r"layer '0': the factor G, .* Write a damping above 0, or remove"):
        opt.step()


def test_a_factor_too_large_for_its_damping_is_told_apart_from_a_singular_one():
    model = model_of(nn.Linear(60, 2)).float()
    opt = KFAC(model, lr=0.1, damping=1e-9, likelihood="gaussian")
    model(1e6 * normal(1, 2, 60).float()).sum().backward()
    with pytest.raises(DegenerateMetricError, match=r"not positive definite to rounding, .* the run diverges") as error:
        opt.step()
    opt = KFAC(model, lr=0.1, damping=float(str(error.value).split("damping=")[1].split()[0]), likelihood="gaussian")
    opt.zero_grad()
    model(1e6 * normal(1, 2, 60).float()).sum().backward()
    opt.step()
    assert all(p.isfinite().all() for p in model.parameters())


def test_dtypes_that_the_formulas_are_not_made_for_are_refused_at_construction():
    """T4."""
    for dtype in (torch.complex128, torch.complex64):
        with pytest.raises(
            TypeError, match=r"'weight' is torch.complex\d+. K-FAC's formulas hold for real .* model.to"
        ):
            KFAC(nn.Linear(2, 2, dtype=dtype), lr=0.1, likelihood="gaussian")
    integers = nn.Linear(2, 2)
    integers.weight = nn.Parameter(torch.ones(2, 2, dtype=torch.int64), requires_grad=False)
    with pytest.raises(TypeError, match=r"torch.int64"):
        KFAC(integers, lr=0.1, likelihood="gaussian")
    for dtype, factor in (
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.float32),
    ):
        model = perceptron().to(dtype)
        opt = KFAC(model, lr=0.1, damping=0.1, likelihood="gaussian", momentum=0.9)
        for _ in range(2):
            one_step(opt, model, normal(1, 9, 3).to(dtype), normal(2, 9, 2).to(dtype), "gaussian")
        assert {M.dtype for pair in opt.factors().values() for M in pair} == {factor}
        assert model[0].weight.dtype == dtype


@pytest.mark.parametrize(
    ("error", "match", "options"),
    [
        (ValueError, "likelihood says from which distribution", {}),
        (ValueError, "none of categorical, bernoulli, gaussian", {"likelihood": "poisson"}),
        (ValueError, "'mc', 'exact', 'empirical'", {"likelihood": "gaussian", "fisher": "true"}),
        (ValueError, "damping = -1", {"likelihood": "gaussian", "damping": -1}),
        (ValueError, "damping is 0", {"likelihood": "gaussian", "damping": 0, "metric": {}}),
        (ValueError, "metric has no pair .*'0', '2'", {"likelihood": "gaussian", "metric": {}}),
        (ValueError, "decay = 1", {"likelihood": "gaussian", "decay": 1}),
        (ValueError, "inverse_every = 0", {"likelihood": "gaussian", "inverse_every": 0}),
        (ValueError, "kl_clip = 0", {"likelihood": "gaussian", "kl_clip": 0}),
        (TypeError, "lr_scheduler", {"likelihood": "gaussian", "lr": lambda step: 0.1}),
        (ValueError, "none of 'factored', 'exact'", {"likelihood": "gaussian", "damping_form": "eigen"}),
    ],
)
def test_arguments_are_checked_at_construction(error: type, match: str, options: Any):
    with pytest.raises(error, match=match):
        KFAC(perceptron(), **{"lr": 0.1, **options})


def test_outputs_that_do_not_fit_the_likelihood_are_refused_with_what_to_write():
    x = normal(1, 5, 3)
    for model, likelihood, match in [
        (
            model_of(nn.Linear(3, 1)),
            "categorical",
            r"returned \(5, 1\). For one logit a row write likelihood='bernoulli'",
        ),
        (model_of(nn.Linear(3, 1), nn.Flatten(0)), "categorical", r"returned \(5,\)"),
        (model_of(nn.Linear(3, 2)), {"a": "gaussian"}, r"likelihood is a dict, and the model returned Tensor"),
    ]:
        opt = KFAC(model, lr=0.1, likelihood=likelihood)
        with pytest.raises(ValueError, match=match):
            model(x)

    class Loss(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, x):
            return self.fc(x).sum()

    model: Any = Loss().double()
    opt = KFAC(model, lr=0.1, likelihood="gaussian")
    with pytest.raises(ValueError, match="returned a number"):
        model(x)
    with pytest.raises(TypeError, match="takes the model itself, not generator"):
        KFAC(model.parameters(), lr=0.1, likelihood="gaussian")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has no shape yet"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        KFAC(nn.LazyLinear(2), lr=0.1, likelihood="gaussian")
    del opt


def test_the_exact_fisher_states_its_cost_and_refuses_more_than_100_outputs():
    model = model_of(nn.Linear(3, 101))
    opt = KFAC(model, lr=0.1, fisher="exact", likelihood="categorical")
    with pytest.raises(ValueError, match=r"101 outputs, and exact_limit is 100. Write fisher='mc' .* exact_limit=101"):
        model(normal(1, 5, 3))
    opt = KFAC(model, lr=0.1, fisher="exact", likelihood="categorical", exact_limit=101)
    one_step(opt, model, normal(1, 5, 3), torch.arange(5), "categorical")
    assert "0" in opt.factors()


def test_a_bernoulli_model_may_return_a_vector_and_tokens_may_stand_between():
    flat, wide = model_of(nn.Linear(3, 1), nn.Flatten(0)), model_of(nn.Linear(3, 1))
    x, y = normal(1, 9, 3), (normal(2, 9) > 0).double()
    for model in (flat, wide):
        opt = KFAC(model, lr=0.1, damping=0.1, fisher="exact", likelihood="bernoulli")
        nn.functional.binary_cross_entropy_with_logits(model(x).flatten(), y).backward()
        opt.step()
    close(flat(x).detach(), wide(x)[:, 0].detach(), 0)
    # Places of one example are independent given the outputs: with one layer, |T| times the factors of their rows.
    x, rows = normal(1, 6, 4, 3), normal(1, 6, 4, 3).flatten(0, 1)
    factors = []
    for data in (x, rows):
        model = model_of(nn.Linear(3, 3))
        opt = KFAC(model, lr=0.1, damping=0.1, fisher="exact", likelihood="categorical")
        nn.functional.cross_entropy(model(data).flatten(0, -2), torch.arange(24) % 3).backward()
        opt.step()
        factors.append(opt.factors()["0"])
    close(factors[0][0], 4 * factors[1][0])
    close(factors[0][1], factors[1][1])
