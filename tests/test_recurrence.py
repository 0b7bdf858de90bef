"""Section 5: true recurrence, factors against sums over data and times, and the theorems, for all recurrent nets."""

from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

import kfac_lite as k
from kfac_lite import testing
from kfac_lite.coordinates import mlp, recurrent, updates

from . import shared_weights as shared
from .comparing import close

LENGTHS = [1, 2, 5]
EVERY = {"one output": False, "an output at every time": True}
JOINT = {"two maps": False, "one map": True}


def network(
    T: int, joint: bool = False, widths: tuple[int, ...] = (2, 3, 2), origin: bool = False, every: bool = False
) -> k.RNN:
    """`origin`: whether the initial state is the origin of home, or a point somewhere else."""
    home = k.Parameterization.from_widths(*widths)
    start = shared.normal(torch.Generator().manual_seed(7), widths[1])
    return k.RNN(home, T, k.tanh, None if origin else home.activations[1].point(start), joint, every)


def by_definition(p: Any, w: Any, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Outputs at home, z_1 ... z_T and the outputs' z of each time, and what the maps were applied to, in a loop."""
    net = p.arrays[0]
    hidden, output = net.layers
    ones = torch.ones(len(x), 1, dtype=torch.float64)
    a, zetas, ends, states, inputs, read = net.start.expand(len(x), -1), [], [], [], [], []
    for t in range(x.shape[1]):
        states.append(torch.cat([a, ones], 1))
        inputs.append(torch.cat([x[:, t], ones], 1))
        if len(w) == 3:
            z = a @ w[0][:, :-1].mT + w[0][:, -1] + (x[:, t] @ w[1][:, :-1].mT + w[1][:, -1])
        else:
            z = torch.cat([a, x[:, t]], 1) @ w[0][:, :-1].mT + w[0][:, -1]
        zetas.append(z)
        a = hidden.phi.value(z @ hidden.Phi.mT + hidden.tau) @ hidden.Omega.mT + hidden.gamma
        if p.net.every or t == x.shape[1] - 1:
            read.append(torch.cat([a, ones], 1))
            ends.append(read[-1] @ w[-1].mT)
    y = [(z @ output.Phi.mT + output.tau) @ output.Omega.mT + output.gamma for z in ends]
    eta = torch.stack([torch.linalg.solve(output.Omega, (y - output.gamma).mT).mT for y in y], 1)
    states, inputs = torch.stack(states, 1), torch.stack(inputs, 1)
    step = [states, inputs] if len(w) == 3 else [torch.cat([states[..., :-1], inputs], -1)]
    return eta if p.net.every else eta[:, 0], [*zetas, *ends], [*step, torch.stack(read, 1)]


def truth(p: Any) -> Any:
    """The sums over data, targets and times, with a graph of its own at every time."""
    w = [W.clone().requires_grad_() for W in p.arrays[1]]
    eta, zetas, applied = by_definition(p, w, p.arrays[2])
    n, T = p.arrays[2].shape[:2]
    A: list[Any] = [sum(torch.outer(a[i, t], a[i, t]) for i in range(n) for t in range(a.shape[1])) for a in applied]
    G: list[Any] = [0] * len(applied)
    F: Any = 0
    for i in range(n):
        targets = shared.every_sequence if p.net.every else shared.every_target
        for weight, y in targets(p.likelihood, eta[i]):
            L = -shared.log_probability(p.likelihood, eta[i], y).sum()
            Dz = [D[i] for D in torch.autograd.grad(L, zetas, retain_graph=True)]
            score = []
            for j, a in enumerate(applied):
                D = Dz[:T] if j < len(applied) - 1 else Dz[T:]
                G[j] = G[j] + weight * sum(torch.outer(d, d) for d in D)
                score.append(sum(torch.kron(a[i, t], d) for t, d in enumerate(D)))
            F = F + weight * torch.outer(torch.cat(score), torch.cat(score))
    times = [T] * (len(applied) - 1) + [applied[-1].shape[1]]
    return (
        [a.detach() / (n * t) for a, t in zip(A, times, strict=True)],
        [g / (n * t) for g, t in zip(G, times, strict=True)],
        F.detach() / n,
        times,
    )


# The network ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("T", LENGTHS)
@pytest.mark.parametrize("maps", JOINT)
@pytest.mark.parametrize("outputs", EVERY)
def test_equation_5_1_the_same_map_is_applied_t_times_to_what_it_made(outputs, maps, T):
    p = shared.problem(network(T, JOINT[maps], every=EVERY[outputs]))
    net, w, x = p.arrays
    eta, zetas, applied = by_definition(p, w, x)
    a, (over_time, us, _) = recurrent.forward(net, w, x)
    shared.close(mlp.outputs(net, a)[0], eta)
    for ours, theirs in zip(over_time, applied, strict=True):
        shared.close(ours, theirs)
    for u, z in zip(us, zetas, strict=False):
        shared.close(u, z @ net.layers[0].Phi.mT + net.layers[0].tau)
    shared.close(p.kappa.outputs[p.net(p.omega, p.h.inputs)], a)
    typed = p.net.uses(1, p.omega, p.h.inputs)
    assert typed.alpha.batch == (len(x), T)
    shared.close(p.kappa.preactivations[0][typed.zeta], torch.stack(zetas[:T], 1))


@given(testing.objectives(testing.recurrent_networks()), st.data())
def test_equation_5_2_the_twin_s_weights_are_those_of_the_induced_basis(problem, data):
    h, omega = problem
    h = k.Objective(h.net, k.Gaussian(h.net.home.outputs), h.inputs, h.net(omega, h.inputs))
    kappa = data.draw(testing.parameterizations(h.net.home))
    net, *_ = h.in_basis(kappa)
    w = recurrent.twin(net, list(h.net.home.weights[omega]), *h.net.home.inputs.to(kappa.inputs))
    for W, V in zip(w, kappa.weights[omega], strict=True):
        shared.close(W, V)


def test_equation_5_2_the_input_map_gives_vectors_so_no_shift_of_the_pre_activations_touches_it():
    net = network(3)
    home = net.home
    omega = shared.problem(net).omega
    shifted = home.changed({}, {1: (torch.eye(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64))})
    (W, V, _), (W2, V2, _) = home.weights[omega], shifted.weights[omega]
    assert close(V, V2)
    assert close(W2 - W, torch.tensor([[0.0, 0.0, 0.0, 1.0]] * 3).double())  # b takes it
    nu, xi = omega.parts[1], home.inputs.point(torch.ones(4, 2).double())
    assert isinstance(nu(xi), k.Vector) and nu(xi).space is home.preactivations[0].space
    assert isinstance(nu(xi - xi), k.Vector) and repr(nu.space) == "Aff(A0, TZ1)"


# The factors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", shared.LIKELIHOODS)
@pytest.mark.parametrize("T", LENGTHS)
@pytest.mark.parametrize("maps", JOINT)
@pytest.mark.parametrize("outputs", EVERY)
def test_equation_5_3_the_factors_are_the_sums_written_out_over_data_and_times(outputs, maps, T, likelihood):
    T = min(T, 3) if EVERY[outputs] else T  # the sum runs over all sequences of targets
    p = shared.problem(network(T, JOINT[maps], every=EVERY[outputs]), likelihood, n=3)
    A, G, F, times = truth(p)
    for (ours_A, ours_G), EA, EG, count in zip(recurrent.factors(*p.arrays), A, G, times, strict=True):
        shared.close(ours_A, count * EA)
        shared.close(ours_G, EG)
    shared.close(recurrent.fisher(*p.arrays), F, 1e-11)
    net, w, x = p.arrays
    ours = shared.flat(recurrent.gradient(net, w, x, p.y))
    auto = torch.func.grad(lambda v: recurrent.loss(net, shared.unflat(v, w), x, p.y))(shared.flat(w))
    shared.close(ours, auto, 1e-11)


def test_remark_5_1_the_cross_terms_between_times_are_dropped_and_with_one_step_there_are_none():
    """One datum and one time: exact. With five times the block is another matrix than T A (x) G, and than its terms."""
    for T, exact in ((1, True), (5, False)):
        p = shared.problem(network(T, joint=True), n=1)
        (A, G), *_ = recurrent.factors(*p.arrays)
        block = truth(p)[2][: len(A) * len(G), : len(A) * len(G)]  # the sums written out, cross terms and all
        shared.close(recurrent.fisher(*p.arrays)[: len(block), : len(block)], block)
        error = float((torch.kron(A, G) - block).norm() / block.norm())
        assert (error < 1e-12) if exact else (error > 0.1)


@pytest.mark.parametrize("T", LENGTHS)
@pytest.mark.parametrize("maps", JOINT)
def test_equation_5_4_the_step_is_the_dense_solve_with_the_block_diagonal_matrix(maps, T):
    """T = 1 with alpha_0 fixed has a second moment of rank 1, so there the two-map network has no step."""
    p = shared.problem(network(T, JOINT[maps]), n=60)
    net, w, x = p.arrays
    D, factors = recurrent.gradient(net, w, x, p.y), recurrent.factors(net, w, x)
    if T == 1:
        assert torch.linalg.matrix_rank(factors[0][0]) == (3 if JOINT[maps] else 1)
        with pytest.raises(k.DegenerateMetricError, match=r"(?is)layer\s1: .*is\s+singular"):
            k.KFAC(1.0)(p.h, p.omega)
        return
    block = torch.block_diag(*(torch.kron(A, G) for A, G in factors))
    step = shared.flat(w) - shared.flat(updates.kfac(w, D, factors, 1.0))
    assert (block @ step - shared.flat(D)).norm() < 1e-12 * block.norm() * step.norm()
    again = shared.flat(w) - shared.flat(p.kappa.weights[k.KFAC(1.0)(p.h, p.omega)])
    assert (block @ again - shared.flat(D)).norm() < 1e-12 * block.norm() * again.norm()


@pytest.mark.parametrize("maps", JOINT)
@pytest.mark.parametrize("outputs", EVERY)
def test_equation_5_5_for_every_output_metric(outputs, maps):
    p = shared.problem(network(4, JOINT[maps], every=EVERY[outputs]), "categorical", n=5)
    net, w, x = p.arrays
    home = p.net.home.outputs
    log_partition = lambda y: torch.logsumexp(torch.cat([home[y], torch.zeros(1, dtype=torch.float64)]), 0)
    carried = torch.linalg.inv(net.layers[-1].Omega)
    own = lambda a: (carried.mT @ carried).expand(len(a), 2, 2)
    gauss_newton = recurrent.pullback_factors(net, w, x, own), recurrent.pullback_matrix(net, w, x, own)
    fisher = recurrent.factors(net, w, x), recurrent.fisher(net, w, x)
    metrics: list[tuple[Any, Any]] = [
        (p.h.likelihood.metric, fisher),
        (lambda y: k.euclidean(home), gauss_newton),
        (k.hessian(log_partition), fisher),
    ]
    for metric, (factors, full) in metrics:
        for i, (A, G) in enumerate(factors, 1):
            ours = p.kappa.weights.factors[i - 1][k.independence(p.h, p.omega, i, metric)]
            shared.close(ours, torch.kron(A, G), 1e-10)
        shared.close(p.kappa.weights[k.expected_pullback(p.h, p.omega, metric)], full, 1e-10)


def test_the_two_ones_of_two_maps_move_the_same_thing_and_one_map_has_no_such_direction():
    """b and c: the exact Fisher metric has a null direction for each unit, and K-FAC's metric none."""
    for maps, missing in (("two maps", 3), ("one map", 0)):
        p = shared.problem(network(4, JOINT[maps]), n=60)
        F = recurrent.fisher(*p.arrays)
        scale = F.diagonal().sqrt()
        assert int(torch.linalg.matrix_rank(F / scale / scale[:, None])) == len(F) - missing
        assert k.nondegeneracy(k.kfac(p.h, p.omega))
        if missing:
            with pytest.raises(k.DegenerateMetricError, match=r"is\s+degenerate"):
                k.NaturalGradient(0.1)(p.h, p.omega)


def test_an_output_at_every_time_is_t_networks_that_share_their_maps():
    """f_t of the long network is the output of the network of length t, and its loss is the sum of theirs."""
    p = shared.problem(network(4, every=True), n=6)
    net, w, x = p.arrays
    long, _ = recurrent.forward(net, w, x)
    total, F = 0, torch.zeros(1, dtype=torch.float64)
    for t in range(1, 5):
        short = net._replace(every=False)
        shared.close(recurrent.forward(short, w, x[:, :t])[0], long[:, t - 1])
        total = total + recurrent.loss(short, w, x[:, :t], p.y[:, t - 1])
        F = F + recurrent.fisher(short, w, x[:, :t])  # targets at different times are independent: no cross terms
    assert float(recurrent.loss(net, w, x, p.y)) == pytest.approx(float(total), rel=1e-13)
    assert float(p.h(p.omega)) == pytest.approx(float(total), rel=1e-12)
    shared.close(recurrent.fisher(net, w, x), F)


def test_gaussian_outputs_of_every_time_make_the_block_of_their_own_map_exact():
    """D o_t and D o_s are uncorrelated there, and do not depend on the state: T E_T[aa] (x) G is Fisher's block."""
    p = shared.problem(network(5, every=True), "gaussian", n=7)
    *_, (A, G) = recurrent.factors(*p.arrays)
    F = recurrent.fisher(*p.arrays)
    shared.close(F[-len(A) * len(G) :, -len(A) * len(G) :], torch.kron(A, G))


# The theorems --------------------------------------------------------------------------------------------------------


@st.composite
def twins(draw: st.DrawFn) -> Any:
    problem = draw(testing.objectives(testing.recurrent_networks()))
    net: Any = problem.h.net
    home = net.home
    kappa = draw(testing.parameterizations(home))
    (x, a, _), (z, end) = (
        [old.to(new) for old, new in zip(home.activations, kappa.activations, strict=True)],
        [new.to(old)[0] for old, new in zip(home.preactivations, kappa.preactivations, strict=True)],
    )
    state, inputs = mlp.homogeneous(*a), mlp.homogeneous(*x)
    bars = [mlp.homogeneous(*recurrent.together(a, x)), state] if net.joint else [state, inputs, state]
    return problem, kappa, bars, ([z, end] if net.joint else [z, z, end])


@given(twins())
def test_theorem_5_2_the_twin_computes_the_same_function(case):
    problem, kappa, _, _ = case
    shared.assert_same_function(recurrent, problem, kappa)


@given(twins())
def test_theorem_5_2_the_factors_change_by_congruence_and_the_gradient_as_a_covector(case):
    shared.assert_congruence(recurrent, *case)


@given(twins())
def test_theorem_5_2_every_step_solves_its_equation(case):
    problem, kappa, _, _ = case
    assume(shared.assert_step_solves(recurrent, problem, kappa))


@given(testing.objectives(testing.recurrent_networks()), st.data())
def test_definition_5_3_the_typed_metric_has_the_factors_as_its_matrix_in_every_basis(problem, data):
    kappa = data.draw(testing.parameterizations(problem[0].net.home))
    shared.assert_typed_metric(recurrent, problem, kappa)


@given(testing.objectives(testing.recurrent_networks()))
def test_theorem_5_4_it_is_a_metric_and_nondegenerate_where_the_pullback_of_one_time_or_of_all_is(problem):
    h, omega = problem
    net, x, _ = h.in_basis(h.net.home)
    exact, start = recurrent.fisher(net, list(h.net.home.weights[omega]), x), 0  # shares no line with `independence`
    for i, basis in enumerate(h.net.home.weights.factors, 1):
        g = basis[k.independence(h, omega, i)]
        assert close(g, g.mT) and torch.linalg.eigvalsh(g).min() >= -1e-12 * g.norm()
        size = basis.space.dimension
        hypotheses = [exact[start : start + size, start : start + size]]
        start += size
        use = h.net.uses(i, omega, h.inputs)
        local = k.curvature.at_each_place(use.rest, use.zeta, h.likelihood.metric(h.net(omega, h.inputs)))
        z = h.net.home.preactivations[0 if i < len(omega.parts) else 1]
        hypotheses += shared.each_place(use, local, basis, z)
        if any(shared.definite(hypothesis) for hypothesis in hypotheses):
            assert shared.definite(g, 1e-13)


@given(testing.objectives(testing.recurrent_networks()))
def test_theorem_5_4_the_report_and_the_refusal_agree(problem):
    """Sequences of one step are among the draws: alpha_0 alone has a second moment of rank 1."""
    h, omega = problem
    report = k.nondegeneracy(k.kfac(h, omega))
    try:
        k.kfac(h, omega).sharp(h.d(omega))
        refused = False
    except k.DegenerateMetricError as error:
        refused = True
        assert "layer" in str(error).lower()
    assert bool(report) == (not refused)
    if h.net.length == 1 and not h.net.joint:  # type: ignore[attr-defined]
        assert refused


def test_theorem_5_4_at_the_first_time_alone_its_hypothesis_always_fails():
    """alpha_0 is one and the same point for all data, so at t = 1 the second moment has rank 1."""
    p = shared.problem(network(5), n=60)
    (over_time, _, _) = recurrent.forward(*p.arrays)[1]
    ranks = [int(torch.linalg.matrix_rank(a.mT @ a)) for a in over_time[0].unbind(1)]
    assert ranks == [1, 4, 4, 4, 4]
    assert k.nondegeneracy(k.kfac(p.h, p.omega))


# What is not carried along -------------------------------------------------------------------------------------------


def differ(p: Any, net: Any, w: Any) -> float:
    """How far the outputs of a network in kappa are from those of the typed network, before any step."""
    home = p.net.home.outputs
    truth = home[p.net(p.omega, p.h.inputs)]
    ours = home[p.kappa.outputs.point(recurrent.forward(net, w, p.arrays[2])[0])]
    return float((ours - truth).norm() / (truth - truth.mean(0)).norm())


@pytest.mark.parametrize("origin", [True, False])
def test_an_initial_state_kept_as_numbers_is_another_function_from_the_start(origin):
    """Even if it is 0, where the basis is shifted; a change of Z does no harm."""
    p = shared.problem(network(3, origin=origin))
    net, w, _ = p.arrays
    at_home = p.net.home.activations[1][p.net.start]
    assert differ(p, net, w) < 1e-12
    assert differ(p, net._replace(start=at_home), w) > 0.05


def separate(update: Any, p: Any, changes: Any, steps: int = 6, lr: float = 0.05) -> tuple[float, float]:
    """How far twins are apart at the start and at the end, one in home and one after these changes of basis."""
    at_home, kappa = p.net.home, p.net.home.changed(*changes)
    one, other = (k.run_in(basis, update, p.h, p.omega, steps, lr=lr) for basis in (at_home, kappa))
    y = at_home.outputs
    start = float((y[one.outputs][0] - y[other.outputs][0]).norm() / y[one.outputs][0].norm())
    return start, float(k.gap(other, one, y).max())


def shift(n: int) -> Any:
    return torch.eye(n, dtype=torch.float64), torch.linspace(0.5, 1.5, n, dtype=torch.float64)


def stretch(n: int) -> Any:
    return torch.diag(torch.linspace(0.5, 2, n, dtype=torch.float64)), None


@pytest.mark.parametrize(
    ("update", "changes", "parts"),
    [
        (updates.kfac, ({0: shift(2), 1: shift(3)}, {1: shift(3)}), False),
        (recurrent.kfac_bare_inputs, ({0: shift(2)},), True),
        (recurrent.kfac_bare_inputs, ({0: stretch(2), 1: shift(3)}, {1: shift(3), 2: shift(2)}), False),
        (updates.kfac_separate_bias, ({0: shift(2)},), True),
        (updates.kfac_separate_bias, ({1: shift(3)},), True),
        (updates.kfac_separate_bias, ({0: stretch(2), 1: stretch(3)}, {1: shift(3)}), False),
    ],
)
def test_the_blocks_of_a_recurrent_network(update, changes, parts):
    """V as a bare linear map (the paper's) parts under a shift of the inputs, a separate bias under any shift of A."""
    p = shared.problem(network(4), n=80)
    start, end = separate(update, p, changes)
    assert start < 1e-12
    assert (end > 1e-2) if parts else (end < 1e-11)


@pytest.mark.parametrize("maps", JOINT)
@pytest.mark.parametrize("outputs", EVERY)
def test_theorem_5_2_twins_stay_together_where_sgd_parts(outputs, maps):
    p = shared.problem(network(4, JOINT[maps], every=EVERY[outputs]), n=80, condition=10.0)
    typed = k.run(k.KFAC(0.05), p.h, p.omega, 8)
    gaps = {}
    for update in (updates.kfac, updates.sgd):
        one, other = (k.run_in(basis, update, p.h, p.omega, 8, lr=0.05) for basis in (p.net.home, p.kappa))
        gaps[update.__name__] = k.gap(other, one, p.net.home.outputs)
        if update is updates.kfac:
            assert float(k.gap(other, typed, p.net.home.outputs).max()) < 1e-10
    assert float(gaps["kfac"].max()) < 1e-10 and float(gaps["sgd"].min()) > 0.1


# At the door ---------------------------------------------------------------------------------------------------------


def test_wrong_things_at_the_door_of_a_recurrent_network():
    home = k.Parameterization.from_widths(1, 2, 2)
    net = k.RNN(home, 3)
    assert repr(net) == "<RNN 1-2-2 over 3 steps>" and net.length == 3
    long = k.RNN(home, 3, every=True)
    assert repr(long) == "<RNN 1-2-2 over 3 steps, an output at each>"
    three, one = torch.zeros(4, 3, 2).double(), torch.zeros(4, 2).double()
    inputs = home.inputs.point(torch.ones(4, 3, 1).double())
    k.Objective(long, k.Bernoulli(home.outputs), inputs, three)
    for net_, targets, said in [(long, one, "with 3 outputs each"), (net, three, r"a batch \(4,\) of them is wanted")]:
        with pytest.raises(k.SpaceError, match=said):
            k.Objective(net_, k.Bernoulli(home.outputs), inputs, targets)
    with pytest.raises(k.SpaceError, match="three widths are wanted"):
        k.RNN(k.Parameterization.from_widths(1, 2), 3)
    for length in (0, -1, 2.5, True, "3"):
        with pytest.raises(k.SpaceError, match="the length T of its sequences is a whole number"):
            k.RNN(home, length)  # type: ignore[arg-type]
    with pytest.raises(k.KindError, match="the initial state is a point of A1, not a Tensor"):
        k.RNN(home, 3, start=torch.zeros(2))  # type: ignore[arg-type]
    with pytest.raises(k.SpaceError, match="the initial state is a point of A1, not of A0"):
        k.RNN(home, 3, start=home.inputs.point([0.0]))
    omega = net.home.weights.point([torch.zeros(b.shape).double() for b in net.home.weights.factors])  # type: ignore[union-attr]
    for batch in [(), (4,), (4, 2), (4, 3, 1)]:
        with pytest.raises(k.SpaceError, match="takes n inputs of 3 points each"):
            net(omega, home.inputs.point(torch.zeros(*batch, 1).double()))
    for i in (0, 4):
        with pytest.raises(k.SpaceError, match="the maps of an RNN are counted from 1 to 3"):
            net.uses(i, omega, home.inputs.point(torch.zeros(1, 3, 1).double()))
    longer = k.RNN(home, 7)  # the same spaces, so the same weights
    assert longer.home.weights.space == net.home.weights.space
    assert longer(omega, home.inputs.point(torch.zeros(2, 7, 1).double())).batch == (2,)
