"""Where the K-FAC metric is degenerate (paper: Remark 3.12): what the pseudo-inverse keeps and what it does not."""

from functools import cache
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

import kfac_lite as k
from kfac_lite.coordinates import updates

pytestmark = pytest.mark.no_gauge
STEPS, LR = 20, 0.02


@cache
def problem(likelihood, n):
    generator = torch.Generator().manual_seed(1)
    normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    widths = (4, 5, 3)
    home = k.Parameterization.from_widths(*widths)
    net, model = k.MLP(home), likelihood(home.outputs)
    draw = lambda: home.weights.point([normal(b, a + 1) / (a + 1) ** 0.5 for a, b in pairwise(widths)])
    x = home.inputs.point(normal(n, 4))
    h = k.Objective(net, model, x, model.sample(net(draw(), x), generator))
    twins = {"condition 10": k.skewed(net, 10, 2), "logistic": k.logistic_units(net)}
    return SimpleNamespace(h=h, home=home, omega=draw(), watch=home.inputs.point(normal(50, 4)), twins=twins)


def run(p, basis, update, omega=None, **options):
    return k.run_in(basis, update, p.h, omega or p.omega, STEPS, lr=LR, watch=p.watch, **options)


def parted(p, update, twin, read, omega=None, **options):
    """How far the twin's `read(logits)` are from home's at the end, relative to how far home's moved."""
    home = read(p.home.outputs[run(p, p.home, update, **options).outputs])
    other = read(p.home.outputs[run(p, p.twins[twin], update, omega, **options).outputs])
    return float(((other - home).flatten(1).norm(dim=1)[1:] / (home - home[:1]).flatten(1).norm(dim=1)[1:]).max())


probabilities = lambda logits: torch.softmax(logits, -1)
same = lambda logits: logits


@pytest.mark.parametrize("twin", ["condition 10", "logistic"])
def test_for_a_logit_of_every_class_the_pseudo_inverse_keeps_the_probabilities(twin):
    p = problem(k.Softmax, 60)
    losses = run(p, p.home, updates.kfac_pseudo_inverse).losses
    assert losses[-1] < losses[0]
    assert parted(p, updates.kfac_pseudo_inverse, twin, probabilities) < 1e-10


def test_the_logits_part_by_one_number_for_each_input_that_no_later_step_sees():
    p = problem(k.Softmax, 60)
    assert parted(p, updates.kfac_pseudo_inverse, "condition 10", same) > 0.02
    end = lambda basis: p.home.outputs[run(p, basis, updates.kfac_pseudo_inverse).outputs][-1]
    difference = end(p.twins["condition 10"]) - end(p.home)  # (50, 3)
    assert (difference - difference.mean(1, keepdim=True)).abs().max() < 1e-10 * difference.abs().max().clamp(min=1)
    assert difference.mean(1).std() > 1e-3  # another number for another input


@pytest.mark.parametrize("damping", [1e-6, 1e-2])
def test_remark_3_12_the_identity_added_instead_loses_the_probabilities(damping):
    p = problem(k.Softmax, 60)
    assert parted(p, updates.kfac_damped, "condition 10", probabilities, damping=damping) > 1e-4


def test_only_the_last_factor_is_singular():
    p = problem(k.Softmax, 60)
    report = k.nondegeneracy(k.kfac(p.h, p.omega))
    assert [(layer.A.definite, layer.G.rank) for layer in report.layers] == [(True, 5), (True, 2)]


def test_for_a_lack_of_data_the_pseudo_inverse_does_not_keep_what_is_predicted():
    """Four data in four dimensions: A_0 has rank 4 of 5. The shortest step differs where there are no data."""
    p = problem(k.Categorical, 4)
    report = k.nondegeneracy(k.kfac(p.h, p.omega))
    assert not report.layers[0].A.definite
    gap = parted(p, updates.kfac_pseudo_inverse, "condition 10", probabilities)
    control = parted(problem(k.Categorical, 60), updates.kfac_pseudo_inverse, "condition 10", probabilities)
    assert gap > 0.01 and control < 1e-10


def test_where_nothing_is_singular_the_pseudo_inverse_is_k_fac():
    p = problem(k.Categorical, 60)
    one, other = (run(p, p.home, update) for update in (updates.kfac, updates.kfac_pseudo_inverse))
    assert float(k.gap(other, one, p.home.outputs).max()) < 1e-11


def test_damping_by_a_carried_metric_keeps_the_run_where_the_metric_is_degenerate():
    """The typed run, which has no basis, against the textbook's with the metric carried: lack of data and all."""
    from kfac_lite.coordinates import mlp

    p = problem(k.Categorical, 4)
    typed = k.run(k.KFAC(LR, damping=1e-2 * k.euclidean(p.home.weights)), p.h, p.omega, STEPS, watch=p.watch)
    for basis in (p.home, p.twins["condition 10"]):
        carried = [
            (bar @ bar.mT, Phi.mT @ Phi)
            for a, z, a_new, z_new in zip(
                p.home.activations, p.home.preactivations, basis.activations, basis.preactivations
            )
            for bar, Phi in [(mlp.homogeneous(*a.to(a_new)), z_new.to(z)[0])]
        ]
        twin = run(p, basis, updates.kfac_damped, damping=1e-2, metric=carried)
        assert float(k.gap(twin, typed, p.home.outputs).max()) < 1e-9
