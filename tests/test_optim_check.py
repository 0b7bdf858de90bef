"""kfac_lite.optim: `opt.check`, the answer to "is the scale right for my model?"."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from kfac_lite.optim import KFAC

from .optim_truth import model_of, nll, normal, sums_written_out
from .test_optim_numbers import same

pytestmark = pytest.mark.no_gauge


def dense_blocks(model: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """E[s s^T] of a categorical model by autograd, in the order (rows of W, b)."""
    found: dict[str, Any] = {}
    eta = model(x)
    p = torch.softmax(eta.detach(), -1)
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv1d):
            F: Any = 0
            parameters: Any = [module.weight, module.bias]
            for i in range(len(x)):
                for c in range(eta.shape[1]):
                    loss = nn.functional.cross_entropy(eta[i], torch.tensor(c))
                    grads = torch.autograd.grad(loss, parameters, retain_graph=True)
                    s = torch.cat([grads[0].flatten(1), grads[1][:, None]], 1).flatten()
                    F = F + p[i, c] * torch.outer(s, s) / len(x)
            found[name] = F
    return found


def test_the_errors_are_those_of_the_dense_blocks_written_out():
    model = model_of(nn.Conv1d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3))
    x = normal(1, 5, 1, 3)
    report = KFAC(model, lr=0.1, likelihood="categorical").check(x)
    dense, factors = dense_blocks(model, x), sums_written_out(model, ["0", "3", "5"], x, "categorical")
    alone = dense_blocks(model, x[:1]), sums_written_out(model, ["0", "3", "5"], x[:1], "categorical")
    assert [layer.name for layer in report.layers] == ["0", "3", "5"]
    for layer in report.layers:
        A, G = factors[layer.name]
        F = dense[layer.name]
        assert layer.batch == pytest.approx(float((torch.kron(G, A) - F).norm() / F.norm()), rel=1e-9)
        assert layer.scale == pytest.approx(float(A.trace() * G.trace() / F.trace()), rel=1e-9)
        A, G = alone[1][layer.name]
        F = alone[0][layer.name]
        assert layer.one == pytest.approx(float((torch.kron(G, A) - F).norm() / F.norm()), rel=1e-9, abs=1e-7)
    assert [layer.times for layer in report.layers] == [2, 1, 1]
    assert "cross terms" in report.layers[0].cause and report.layers[0].one > 0.01
    assert report.layers[1].cause == report.layers[2].cause == "" and report.right
    text = str(report)
    assert text.splitlines()[0].startswith("layer") and "  5 examples" in text and "nan" not in text
    assert text.splitlines()[2] == "    cross terms between its places are left out (Remark 4.1)"


@pytest.mark.parametrize(
    ("likelihood", "loss", "scale"),
    [
        ("gaussian", lambda y: lambda eta: nn.functional.mse_loss(eta, y), 2 / 3),
        ("gaussian", lambda y: lambda eta: nn.functional.mse_loss(eta, y, reduction="sum"), 12.0),
        ("gaussian", lambda y: lambda eta: nll("gaussian", eta, y), 1.0),
        ("categorical", lambda y: lambda eta: nn.functional.cross_entropy(eta, y.argmax(1)), 1.0),
        ("categorical", lambda y: lambda eta: 7 * nn.functional.cross_entropy(eta, y.argmax(1)), 7.0),
        (
            "bernoulli",
            lambda y: lambda eta: nn.functional.binary_cross_entropy_with_logits(eta, (y > 0).double()),
            1 / 3,
        ),
    ],
)
def test_the_scale_of_the_loss_is_found_from_its_second_derivative(likelihood: str, loss: Any, scale: float):
    model, x, y = model_of(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)), normal(1, 6, 3), normal(2, 6, 3)
    report = KFAC(model, lr=0.1, likelihood=likelihood).check(x, loss=loss(y))
    assert report.loss_scale == pytest.approx(scale, rel=1e-9) and report.right
    assert "times the mean over the examples of -log p" in str(report)
    other = {"gaussian": "categorical", "categorical": "bernoulli", "bernoulli": "gaussian"}[likelihood]
    wrong = KFAC(model, lr=0.1, likelihood=other).check(x, loss=loss(y))
    assert not wrong.right and f"likelihood={other!r}" in wrong.notes[0]
    assert wrong.loss_scale is None and "times the mean" not in str(wrong)


def test_what_is_wrong_in_a_model_is_named():
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)

        def forward(self, x):
            x = torch.tanh(self.a(torch.tanh(self.a(x)) if False else x)) + x @ self.a.weight.T
            return self.c(nn.functional.linear(x, self.b.weight))

    x = normal(1, 6, 3)
    report = KFAC(model_of(Hidden()), lr=0.1, likelihood="gaussian").check(x)
    causes = {layer.name: layer.cause for layer in report.layers}
    assert causes["0.a"].startswith("wrong: the weight also acts outside")
    assert causes["0.b"] == "wrong: its forward was not seen; it follows SGD"
    assert causes["0.c"] == "" and not report.right
    lines = str(report).splitlines()
    assert max(map(len, lines)) <= 80 and " ".join(" ".join(lines).split()).count(causes["0.a"]) == 1

    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, x):
            return self.fc(x).transpose(0, 1)

    report = KFAC(model_of(Turned()), lr=0.1, likelihood="gaussian").check(normal(1, 6, 4, 3))
    assert "returned 4 rows for 6 entries" in report.notes[0]
    model = model_of(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    with pytest.warns(UserWarning, match="BatchNorm1d"):
        opt = KFAC(model, lr=0.1, likelihood="gaussian")
    report = opt.check(x)
    assert any("depend on other examples" in note for note in report.notes)
    assert all(layer.one != layer.one and not layer.cause for layer in report.layers) and not report.right
    assert str(report).splitlines()[1].split()[2] == "-" and "one example alone" in str(report)
    model.eval()
    assert opt.check(x).right


def test_a_check_changes_nothing():
    model = model_of(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2)).float()
    opt = KFAC(model, lr=0.1, damping=0.1, likelihood="gaussian")
    x = normal(1, 6, 3).float()
    model(x).pow(2).mean().backward()
    before = copy.deepcopy((model.state_dict(), opt.state_dict(), [p.grad for p in model.parameters()]))
    random = torch.get_rng_state()
    opt.check(x, loss=lambda eta: eta.pow(2).mean())
    assert same(before, (model.state_dict(), opt.state_dict(), [p.grad for p in model.parameters()]))
    assert torch.equal(random, torch.get_rng_state())
    opt.step()
    assert opt.factors()["0"][0].shape == (4, 4)
    with pytest.raises(ValueError, match="name their distribution"):
        KFAC(model, lr=0.1, fisher="empirical").check(x)


def test_what_a_model_takes_beside_its_examples_is_handed_on():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, x, power, by):
            return by * self.fc(x) ** power

    opt = KFAC(model_of(Scaled())[0], lr=0.1, likelihood="gaussian")  # type: ignore[index]
    report = opt.check(normal(1, 5, 3), 1, torch.tensor(2.0))
    assert report.right and report.examples == 5
    assert opt.check(normal(1, 5, 3), 1, torch.tensor(2.0), examples=1).layers[0].one < 1e-6


def test_recurrent_and_grouped_layers_and_two_outputs_are_checked():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.rnn = nn.Conv1d(2, 4, 1, groups=2), nn.RNN(4, 3, batch_first=True)
            self.a, self.b = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, x):
            h = self.rnn(self.conv(x).mT)[1][0]
            return {"a": self.a(h), "b": self.b(h)}

    opt = KFAC(model_of(Net())[0], lr=0.1, likelihood={"a": "gaussian", "b": "categorical"})  # type: ignore[index]
    one = opt.check(normal(1, 5, 2, 1))
    assert one.right and max(layer.one for layer in one.layers if layer.name != "conv") < 1e-6
    several = opt.check(normal(1, 5, 2, 4))
    assert [layer.name for layer in several.layers] == ["conv", "rnn.l0", "a", "b"]
    assert [layer.times for layer in several.layers] == [4, 4, 1, 1]
