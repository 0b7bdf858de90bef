"""kfac_lite.optim as a torch optimizer: closures, state, schedulers, copies, and parameters that come and go."""

import copy
import gc
import io
import pickle
import subprocess
import sys
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from kfac_lite.optim import KFAC

from .optim_truth import close, model_of, nll, normal, one_step
from .test_optim_numbers import same

pytestmark = pytest.mark.no_gauge
OPTIONS: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "damping": 0.1, "likelihood": "gaussian", "inverse_every": 3}


def perceptron() -> Any:
    return model_of(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def train(model: Any, opt: Any, steps: Any = range(5), dtype: torch.dtype = torch.float64) -> None:
    for step in steps:
        x = normal(step, 9, 3).to(dtype)
        one_step(opt, model, x, x[:, :2], "gaussian")


def trained(steps: Any = range(5), model: Any = None, **more: Any) -> tuple[Any, Any]:
    model = model or perceptron()
    opt = KFAC(model, **{**OPTIONS, **more})
    train(model, opt, steps)
    return model, opt


def everything(model: Any, opt: Any) -> Any:
    return model.state_dict(), opt.state_dict()


def hooks(model: Any) -> int:
    count = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
    return count + sum(len(p._post_accumulate_grad_hooks or ()) for p in model.parameters())


# P1: closures ----------------------------------------------------------------------------------------------------


def test_a_closure_is_the_plain_loop_bit_for_bit_also_under_no_grad():
    plain = everything(*trained())
    for outer in (torch.enable_grad, torch.no_grad):
        model = perceptron()
        opt = KFAC(model, **OPTIONS)
        for step in range(5):
            x = normal(step, 9, 3)

            def closure(model=model, opt=opt, x=x):
                opt.zero_grad()
                loss = nll("gaussian", model(x), x[:, :2])
                loss.backward()
                return loss

            with outer():
                loss = opt.step(closure)
            assert loss.requires_grad and float(loss.detach()) > 0
        assert same(plain, everything(model, opt))


def test_a_closure_may_return_nothing_and_a_step_without_backward_is_told():
    model = perceptron()
    opt = KFAC(model, **OPTIONS)
    x = normal(1, 9, 3)
    assert opt.step(lambda: nll("gaussian", model(x), x[:, :2]).backward()) is None
    opt.zero_grad()
    for closure in (None, lambda: nll("gaussian", model(x), x[:, :2])):
        with pytest.raises(RuntimeError, match=r"no parameter has a gradient. Call loss.backward\(\) before"):
            opt.step(closure)


# P3: state -------------------------------------------------------------------------------------------------------

RESUME = """
import sys, torch
from torch import nn
sys.path.insert(0, sys.argv[1])
torch.set_num_threads(1)
from kfac_lite.optim import KFAC
saved = torch.load(sys.argv[2])
model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).bfloat16()
model.load_state_dict(saved["model"])
opt = KFAC(model, lr=1.0, momentum=0.5, damping=0.3, likelihood="gaussian", inverse_every=3)
opt.load_state_dict(saved["opt"])
factors = opt.factors()
for x in saved["data"]:
    opt.zero_grad()
    (model(x) - x[:, :2]).pow(2).sum().backward()
    opt.step()
torch.save({"factors": factors, "model": model.state_dict(), "opt": opt.state_dict()}, sys.argv[2])
"""


def test_float32_factors_of_a_bfloat16_model_survive_a_file_and_another_process(tmp_path):
    """Saved on two threads, loaded by torch.load's careful default on one; the next steps are bit-equal."""
    from pathlib import Path

    torch.set_num_threads(2)
    try:
        model, opt = perceptron().bfloat16(), None
        opt = KFAC(model, **OPTIONS)
        train(model, opt, dtype=torch.bfloat16)
        data = [normal(step, 9, 3).bfloat16() for step in range(5, 10)]
        saved = {"model": model.state_dict(), "opt": opt.state_dict(), "data": data}
        torch.save(saved, tmp_path / "state.pt")
    finally:
        torch.set_num_threads(1)
    factors = opt.factors()
    assert all(M.dtype == torch.float32 for pair in factors.values() for M in pair)
    for x in data:
        opt.zero_grad()
        (model(x) - x[:, :2]).pow(2).sum().backward()
        opt.step()
    root = str(Path(__file__).parent.parent)
    subprocess.run([sys.executable, "-W", "error", "-c", RESUME, root, str(tmp_path / "state.pt")], check=True)
    there = torch.load(tmp_path / "state.pt")
    assert same(there["factors"], factors)
    assert same((there["model"], there["opt"]), everything(model, opt))


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"inverse_every": 1},
        {"damping_form": "exact"},
        {"fisher": "exact", "factor_every": 2},
        {"damping": lambda step: 0.1 / (1 + step), "decay": lambda step: 1 - 1 / (1 + step)},
    ],
)
def test_resumption_is_bit_equal_at_every_step(more: dict[str, Any]):
    whole = everything(*trained(range(8), **more))
    for split in range(8):
        model, opt = trained(range(split), **more)
        buffer = io.BytesIO()
        torch.save((model.state_dict(), opt.state_dict()), buffer)
        buffer.seek(0)
        weights, state = torch.load(buffer)
        model = perceptron()
        model.load_state_dict(weights)
        opt = KFAC(model, **{**OPTIONS, **more})
        opt.load_state_dict(state)
        train(model, opt, range(split, 8))
        assert same(everything(model, opt), whole)


def test_resumption_is_bit_equal_with_layers_that_follow_sgd_and_with_half_a_layer_frozen():
    def fresh() -> tuple[Any, Any]:
        model = model_of(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
        model[2].bias.requires_grad_(False)
        with pytest.warns(UserWarning, match="LayerNorm"):
            return model, KFAC(model, **OPTIONS)

    model, opt = fresh()
    train(model, opt, range(8))
    for split in range(1, 8):
        first, first_opt = fresh()
        train(first, first_opt, range(split))
        second, second_opt = fresh()
        second.load_state_dict(first.state_dict())
        second_opt.load_state_dict(copy.deepcopy(first_opt.state_dict()))
        train(second, second_opt, range(split, 8))
        assert same(everything(second, second_opt), everything(model, opt))


def test_a_state_of_another_model_is_refused_by_name():
    _, opt = trained()
    state = opt.state_dict()
    _, other = trained(model=model_of(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.Linear(4, 2)))
    with pytest.raises(ValueError, match=r"differ in 3\.bias, 3\.weight"):
        other.load_state_dict(state)
    _, other = trained(model=model_of(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)))
    with pytest.raises(ValueError, match=r"layer '0': the state's factor G is \(1, 4, 4\) .* wants \(1, 5, 5\)"):
        other.load_state_dict(state)
    _, other = trained(range(0), model=perceptron().float())
    with pytest.raises(ValueError, match=r"torch.float64, and the model wants .* torch.float32"):
        other.load_state_dict(state)


def test_learning_rate_schedulers_drive_it_and_resume():
    def both(model):
        opt = KFAC(model, **OPTIONS)
        return opt, torch.optim.lr_scheduler.CosineAnnealingLR(opt, 8)

    def go(model, opt, schedule, steps):
        for step in steps:
            train(model, opt, [step])
            schedule.step()

    model = perceptron()
    opt, schedule = both(model)
    go(model, opt, schedule, range(8))
    whole = everything(model, opt)
    assert opt.param_groups[0]["lr"] < 1e-12
    model = perceptron()
    opt, schedule = both(model)
    go(model, opt, schedule, range(3))
    states = copy.deepcopy((model.state_dict(), opt.state_dict(), schedule.state_dict()))
    model = perceptron()
    opt, schedule = both(model)
    for thing, state in zip((model, opt, schedule), states):
        thing.load_state_dict(state)
    go(model, opt, schedule, range(3, 8))
    assert same(everything(model, opt), whole)


# P5: twice, deleted, copied --------------------------------------------------------------------------------------


def test_building_it_again_takes_the_hooks_of_the_one_before():
    fresh = everything(*trained())
    model = perceptron()
    first = KFAC(model, **OPTIONS)
    train(model, first, [7])
    count = hooks(model)
    model.load_state_dict(perceptron().state_dict())
    second = KFAC(model, **OPTIONS)
    third = KFAC(model, **OPTIONS)
    train(model, third)
    assert hooks(model) == count
    assert same(everything(model, third), fresh)
    for old in (first, second):
        with pytest.raises(RuntimeError, match="another KFAC was built for this model"):
            old.step()


def test_deleting_it_leaves_no_hook():
    model, opt = trained()
    schedule = torch.optim.lr_scheduler.StepLR(opt, 1)
    assert hooks(model) > 0
    del opt, schedule
    gc.collect()
    assert hooks(model) == 0
    model(normal(1, 9, 3)).sum().backward()


def test_a_copied_or_pickled_model_does_not_feed_the_optimizer_of_the_original():
    model, opt = trained()
    before = opt.state_dict()
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), torch.load(buffer, weights_only=False)):
        nll("gaussian", other(normal(1, 9, 3)), normal(2, 9, 2)).backward()
        assert not any(layer.uses or layer.touched for layer in opt._layers)
        assert same(opt.state_dict(), before)
        # and may have an optimizer of its own
        own = KFAC(other, **OPTIONS)
        train(other, own, [5])
        assert own.factors().keys() == opt.factors().keys()
    train(model, opt, range(5, 8))
    assert same(everything(model, opt), everything(*trained(range(8))))


def test_a_copied_or_pickled_pair_goes_on_by_itself():
    whole = everything(*trained(range(8)))
    for duplicate in (copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))):
        model, opt = trained()
        twin, twin_opt = duplicate((model, opt))
        assert twin_opt.model is twin
        train(twin, twin_opt, range(5, 8))
        assert same(everything(twin, twin_opt), whole)
        assert not any(layer.uses for layer in opt._layers)
        train(model, opt, range(5, 8))
        assert same(everything(model, opt), whole)


# P7: parameters that come and go ---------------------------------------------------------------------------------


class Heads(nn.Module):
    """A trunk, a head for every batch, and one for every other batch."""

    def __init__(self):
        super().__init__()
        self.trunk, self.a, self.b, self.never = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, x, second: bool = False):
        h = torch.tanh(self.trunk(x))
        return {"a": self.a(h), "b": self.b(h)} if second else {"a": self.a(h)}


def heads() -> Any:
    return model_of(Heads())[0]  # type: ignore[index]


TWO: dict[str, Any] = {**OPTIONS, "likelihood": {"a": "gaussian", "b": "categorical"}}


def train_heads(model: Any, opt: Any, steps: Any) -> None:
    for step in steps:
        x = normal(step, 9, 3)
        opt.zero_grad()
        out = model(x, step % 2 == 1)
        loss = nll("gaussian", out["a"], x[:, :2])
        if "b" in out:
            loss = loss + nn.functional.cross_entropy(out["b"], torch.arange(9) % 2)
        loss.backward()
        opt.step()


def test_a_head_without_gradient_stands_still_with_its_momentum_and_its_factors_keep():
    model = heads()
    opt = KFAC(model, **TWO)
    train_heads(model, opt, range(4))
    b = copy.deepcopy((model.b.state_dict(), opt.factors()["b"], opt.state_dict()["state"]["layers"]["b"]))
    train_heads(model, opt, [4])
    assert same(b, (model.b.state_dict(), opt.factors()["b"], opt.state_dict()["state"]["layers"]["b"]))
    assert "never" not in opt.factors()
    # right after a batch without it
    other = heads()
    other.load_state_dict(model.state_dict())
    resumed = KFAC(other, **TWO)
    resumed.load_state_dict(copy.deepcopy(opt.state_dict()))
    train_heads(model, opt, range(5, 9))
    train_heads(other, resumed, range(5, 9))
    assert same(everything(model, opt), everything(other, resumed))


def test_a_layer_that_is_never_used_is_told_once():
    model = heads()
    opt = KFAC(model, **{**TWO, "lr": 0.01})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train_heads(model, opt, range(19))
    with pytest.warns(UserWarning, match=r"no gradient in 20 steps, and stand still: never.weight, never.bias\."):
        train_heads(model, opt, [19])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train_heads(model, opt, range(20, 45))


def test_two_outputs_have_their_own_likelihoods_or_are_refused():
    model = heads()
    opt = KFAC(model, **TWO, fisher="exact")
    train_heads(model, opt, [1])
    factors = opt.factors()
    start = heads()
    h = torch.tanh(start.trunk(normal(1, 9, 3)))
    p = torch.softmax(start.b(h), -1).detach()
    close(factors["a"][1], torch.eye(2).double())
    close(factors["b"][1], (torch.diag_embed(p) - p[:, :, None] * p[:, None]).mean(0))
    back = [(m.weight * (1 - h**2)[:, None]).detach() for m in (start.a, start.b)]
    metrics = [torch.eye(2).double().expand(9, 2, 2), torch.diag_embed(p) - p[:, :, None] * p[:, None]]
    pulled = torch.stack([J.mT @ g @ J for J, g in zip(back, metrics)])
    close(factors["trunk"][1], pulled.sum(0).mean(0))
    single = KFAC(model, **OPTIONS)
    with pytest.raises(ValueError, match=r"returned \['a'\], .* return a dict, and write likelihood=\{"):
        model(normal(1, 9, 3))
    del single


def test_a_head_that_the_likelihood_does_not_name_follows_sgd_with_a_warning():
    model = heads()
    opt = KFAC(model, **{**OPTIONS, "likelihood": {"a": "gaussian"}})
    start = model.b.weight.detach().clone()
    with pytest.warns(UserWarning, match="layer 'b' does not act on the outputs that likelihood names"):
        train_heads(model, opt, [1])
    torch.testing.assert_close(model.b.weight, start - 0.1 * model.b.weight.grad)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train_heads(model, opt, [3])


@pytest.mark.parametrize("frozen", ["layer", "weight", "bias"])
def test_a_frozen_layer_stands_still_and_thaws(frozen: str):
    model = perceptron()
    parts = {"layer": model[0].parameters(), "weight": [model[0].weight], "bias": [model[0].bias]}[frozen]
    parts = list(parts)
    opt = KFAC(model, **{**OPTIONS, "inverse_every": 10})
    for p in parts:
        p.requires_grad_(False)
    start = [p.detach().clone() for p in parts]
    train(model, opt, range(3))
    assert same(start, [p.detach() for p in parts])
    assert ("0" in opt.factors()) == (frozen != "layer")
    for p in parts:
        p.requires_grad_(True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(model, opt, range(3, 6))
    assert all(not torch.equal(a, p) for a, p in zip(start, parts))


@pytest.mark.parametrize("frozen", ["weight", "bias"])
def test_half_a_block_is_the_block_of_what_trains(frozen: str):
    """With a frozen bias the factor is that of the weight alone, and the reverse."""
    x, y = normal(1, 20, 3), normal(2, 20, 2)
    model: Any = model_of(nn.Linear(3, 2))
    getattr(model[0], frozen).requires_grad_(False)
    opt = KFAC(model, lr=1.0, damping=0, fisher="exact", likelihood="gaussian")
    W, b = model[0].weight.detach().clone(), model[0].bias.detach().clone()
    one_step(opt, model, x, y, "gaussian")
    if frozen == "bias":
        close(model[0].weight.detach(), torch.linalg.lstsq(x, y - b).solution.mT)  # least squares, in one step
    else:
        close(model[0].bias.detach(), (y - x @ W.mT).mean(0))


def test_parameters_can_be_added_and_those_of_another_model_cannot():
    model = perceptron()
    opt = KFAC(model, [{"params": model[0].parameters()}], **OPTIONS)
    train(model, opt, range(2))
    assert list(opt.factors()) == ["0"]
    kept = opt.factors()["0"]
    opt.add_param_group({"params": model[2].parameters(), "lr": 0.01})
    assert same(kept, opt.factors()["0"])
    train(model, opt, range(2, 4))
    assert list(opt.factors()) == ["0", "2"]
    with pytest.raises(ValueError, match="1 of the parameters do not belong to the model"):
        KFAC(model, [nn.Parameter(torch.zeros(1))], **OPTIONS)


def test_a_layer_that_is_called_outside_of_the_models_forward_is_told():
    model = perceptron()
    opt = KFAC(model, **OPTIONS)
    x = normal(1, 9, 3)
    nll("gaussian", model[2](torch.tanh(model[0](x))), x[:, :2]).backward()
    with pytest.warns(UserWarning) as told:
        opt.step()
    assert len(told) == 2 and all("called outside of the model" in str(w.message) for w in told)


def test_a_layer_that_is_called_outside_from_some_step_on_follows_its_older_factors_and_says_so():
    model, opt = trained(range(3), momentum=0.0)
    before, x = opt.factors()["2"], normal(7, 9, 3)
    W = torch.cat([model[2].weight, model[2].bias[:, None]], 1).detach().clone()
    opt.zero_grad()
    model(x).sum().backward()
    opt.zero_grad()
    nll("gaussian", model[2](torch.tanh(model[0](x).detach())), x[:, :2]).backward()
    with pytest.warns(UserWarning, match="layer '2' has a gradient, .* It follows older factors"):
        opt.step()
    assert same(before, opt.factors()["2"])
    A, G = before
    pi = (A.trace() / len(A) / (G.trace() / len(G))).sqrt()
    A = A + 0.1**0.5 * pi * torch.eye(5).double()
    G = G + 0.1**0.5 / pi * torch.eye(2).double()
    D = torch.cat([model[2].weight.grad, model[2].bias.grad[:, None]], 1)
    new = torch.cat([model[2].weight, model[2].bias[:, None]], 1).detach()
    close(W - new, 0.1 * torch.linalg.solve(A, torch.linalg.solve(G, D).mT).mT, 1e-11)


def test_the_two_lines_train_a_classifier_on_features_of_unequal_size_better_than_sgd_at_one_rate():
    """Not a claim about speed: that the pieces work together. The study of rates is another matter."""
    x = normal(1, 200, 5) * torch.tensor([10.0, 1, 1, 0.1, 1]).double()
    y = (x[:, 3] * 10 + x[:, 1] > 0).long()
    end: dict[str, Any] = {}
    for name in ("KFAC", "SGD"):
        model = model_of(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 2))
        if name == "KFAC":
            opt: Any = KFAC(model, lr=0.3, damping=1e-3, likelihood="categorical")
        else:
            opt = torch.optim.SGD(model.parameters(), lr=0.3)
        for _ in range(40):
            opt.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            opt.step()
        end[name] = float(nn.functional.cross_entropy(model(x), y).detach())
    assert end["KFAC"] < end["SGD"]


def test_micro_batches_in_steps_that_renew_no_factor_and_of_a_head_that_is_not_named():
    model = heads()
    opt = KFAC(model, **{**OPTIONS, "likelihood": {"a": "gaussian"}, "factor_every": 3})
    with pytest.warns(UserWarning, match="layer 'b' does not act"):
        for step in range(4):
            opt.zero_grad()
            for part in range(3):
                x = normal(3 * step + part, 9, 3)
                out = model(x, True)
                (nll("gaussian", out["a"], x[:, :2]) / 3 + out["b"].pow(2).mean() / 3).backward()
            opt.step()
            assert len(opt.factors()) == 2 and opt._renewed == 3 * (step // 3)


def test_a_layer_whose_second_use_the_likelihood_does_not_see_keeps_its_factors():
    class Side(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.a = nn.Linear(3, 3), nn.Linear(3, 2)

        def forward(self, x):
            return {"a": self.a(torch.tanh(self.fc(x))), "side": self.fc(2 * x)}

    for fisher in ("mc", "exact"):
        model: Any = model_of(Side())[0]  # type: ignore[index]
        opt = KFAC(model, **{**OPTIONS, "likelihood": {"a": "gaussian"}, "fisher": fisher})
        x = normal(1, 9, 3)
        out = model(x)
        (nll("gaussian", out["a"], x[:, :2]) + out["side"].pow(2).mean()).backward()
        opt.step()
        A, _ = opt.factors()["fc"]
        close(A[:3, :3], 5 * x.mT @ x / 9)


@pytest.mark.parametrize("fisher", ["mc", "exact"])
def test_activation_checkpoints_change_nothing(fisher: str):
    from torch.utils.checkpoint import checkpoint

    class Saved(nn.Module):
        def __init__(self, saved):
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh())
            self.out, self.saved = nn.Linear(4, 2), saved

        def forward(self, x):
            h = checkpoint(self.inner, x, use_reentrant=False) if self.saved else self.inner(x)
            return self.out(h)

    ends = []
    for saved in (False, True):
        model: Any = model_of(Saved(saved))[0]  # type: ignore[index]
        opt = KFAC(model, **{**OPTIONS, "fisher": fisher})
        train(model, opt)
        ends.append(everything(model, opt))
    assert same(ends[0], ends[1])


# Mixed precision -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fisher", ["mc", "exact", "empirical"])
def test_under_autocast_factors_are_float32_and_nearly_those_without(fisher: str):
    found = []
    for low in (False, True):
        model = model_of(
            nn.Conv1d(2, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(9, 40), nn.Tanh(), nn.Linear(40, 3)
        ).float()
        opt = KFAC(model, lr=0.05, damping=0.1, likelihood="categorical", fisher=fisher, momentum=0.5)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for step in range(3):
                opt.zero_grad()
                with torch.autocast("cpu", torch.bfloat16, enabled=low):
                    nn.functional.cross_entropy(model(normal(step, 8, 2, 4).float()), torch.arange(8) % 3).backward()
                    opt.step()  # inside as well
        found.append((opt.factors(), [p.detach().clone() for p in model.parameters()]))
        assert all(M.dtype == torch.float32 for pair in opt.factors().values() for M in pair)
        assert all(p.dtype == torch.float32 for p in model.parameters())
    for name in found[0][0]:
        close(found[0][0][name][0], found[1][0][name][0], 0.03)
        if fisher != "mc":  # a target may fall on the other side
            close(found[0][0][name][1], found[1][0][name][1], 0.1)


@pytest.mark.parametrize("fisher", ["mc", "empirical"])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_gradient_scaler_changes_nothing_and_a_step_with_infinities_is_left_out(fisher: str, parts: int):
    ends = []
    for scaled in (False, True):
        model = model_of(nn.Linear(30, 20), nn.Tanh(), nn.Linear(20, 2)).float()
        opt = KFAC(model, lr=0.1, damping=0.1, likelihood="gaussian", fisher=fisher, momentum=0.5)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=scaled)
        for step in range(4):
            opt.zero_grad()
            x = normal(step, 4, 30).float()
            if scaled and step == 2:  # a batch that overflows
                scaler.scale((model(x) * float("inf")).sum()).backward()
                before = everything(model, opt)
                scaler.step(opt)
                scaler.update(1024.0)
                assert same(before, everything(model, opt))
                model.zero_grad()  # of which the optimizer learns nothing
            for part in x.split(4 // parts):
                scaler.scale(((model(part) - part[:, :2]) ** 2).sum() / 8).backward()
            scaler.step(opt)
            scaler.update(1024.0)
        ends.append([p.detach() for p in model.parameters()])
    for left, right in zip(*ends):
        close(left, right, 1e-5)


def test_an_empirical_factor_whose_scale_is_not_known_is_refused():
    model = perceptron().float()
    opt = KFAC(model, lr=0.1, fisher="empirical")
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(model(normal(1, 4, 3).float()).sum()).backward()
    scaler.unscale_(opt)
    with pytest.raises(RuntimeError, match=r"Leave unscale_\(\) out, or write fisher='mc'"):
        scaler.step(opt)
