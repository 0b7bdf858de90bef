"""Section 3.3 and Remark 3.11: any metric on the outputs, and which of them notices an output change of basis."""

from functools import cache, partial
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import kfac_lite as k
from kfac_lite import testing
from kfac_lite.coordinates import mlp, updates

STEPS, LR = 20, 0.1


def problem(likelihood: type = k.Categorical, widths=(3, 4, 2), n=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    home = k.Parameterization.from_widths(*widths)
    net = k.MLP(home, k.tanh)
    shapes = [(b, a + 1) for a, b in pairwise(widths)]
    omega = home.weights.point([normal(*s) / s[1] ** 0.5 for s in shapes])
    model, x = likelihood(home.outputs), home.inputs.point(normal(n, widths[0]))
    other = home.weights.point([2 * normal(*s) / s[1] ** 0.5 for s in shapes])
    h = k.Objective(net, model, x, model.sample(net(other, x), generator))
    watch = home.inputs.point(normal(30, widths[0]))
    return SimpleNamespace(h=h, omega=omega, home=home, net=net, watch=watch)


def near(a, b, tolerance=1e-10):
    assert a.shape == b.shape and float((a - b).abs().max()) <= tolerance * float(b.abs().max())


# A metric of one's own -------------------------------------------------------------------------------------------


def test_a_users_own_output_metric_is_one_line():
    """The recipe of chapter 3.3: robust regression, say, weighs each datum by how far off it is."""
    p = problem(k.Gaussian)
    basis, y = p.home.outputs, p.h._targets
    weight = lambda z: (1 / (1 + (basis[z] - y) ** 2)).diag_embed()

    mine = lambda z: k.from_matrix(basis, weight(z))

    kappa = k.skewed(p.net, 10, 1)
    arrays, x, _ = p.h.in_basis(kappa)
    w = list(kappa.weights[p.omega])
    change = torch.linalg.inv(basis.to(kappa.outputs)[0])
    in_kappa = lambda a: change.mT @ weight(kappa.outputs.point(a)) @ change  # the law of a 2-tensor
    factors = mlp.pullback_factors(arrays, w, x, in_kappa)
    ours = kappa.weights[k.kfac(p.h, p.omega, metric=mine)]
    near(ours, torch.block_diag(*(torch.kron(A, G) for A, G in factors)), 1e-9)
    typed = k.run(k.KFAC(LR, metric=mine), p.h, p.omega, STEPS, watch=p.watch)
    twin = k.run_in(
        kappa,
        updates.kfac,
        p.h,
        p.omega,
        STEPS,
        lr=LR,
        watch=p.watch,
        curvature=partial(mlp.pullback_factors, metric=in_kappa),
    )
    assert float(k.gap(twin, typed, basis).max()) < 1e-9 and typed.losses[-1] < typed.losses[0]


@given(st.data())
def test_example_3_4_the_bregman_divergence_is_what_f_lies_above_its_tangent_and_names_no_basis(data):
    home = data.draw(testing.parameterizations([1, data.draw(st.integers(1, 4))]))
    basis, other = home.outputs, data.draw(testing.bases(home.outputs.space))
    F = lambda y: torch.logsumexp(basis[y], -1) + (basis[y] ** 4).sum() / 12
    y, z = (data.draw(testing.points(other)) for _ in "yz")
    B = k.bregman(F, y, z)
    gradient = torch.func.grad(lambda numbers: torch.logsumexp(numbers, -1) + (numbers**4).sum() / 12)(basis[z])
    size = 1 + float(F(y).abs() + F(z).abs()) + float((gradient.abs() * (basis[y] - basis[z]).abs()).sum())
    assert abs(B - (F(y) - F(z) - gradient @ (basis[y] - basis[z]))) < 1e-12 * size
    assert -1e-12 * size <= B and abs(k.bregman(F, z, z)) < 1e-12 * size
    # With dF at the first point, as the text at hand prints it, the sign is wrong: it is -B(z, y).
    printed = F(y) - F(z) - k.differential(F, y)(y - z)
    assert abs(printed + k.bregman(F, z, y)) < 1e-11 * (size + float(k.bregman(F, z, y)))


def test_example_3_4_the_expansion_has_a_half_and_the_hessian_in_the_first_argument():
    basis = k.Parameterization.from_widths(1, 2).outputs
    F = lambda y: (basis[y] ** 4).sum() + basis[y].prod() ** 2
    z, v = basis.point([0.7, -0.4]), basis.vector([0.3, 0.5])
    errors = [float(k.bregman(F, z + e * v, z) / e**2 - k.hessian(F)(z)(v, v) / 2) for e in (1e-2, 5e-3)]
    assert abs(errors[0]) < 0.02 and abs(errors[0] / errors[1] - 2) < 0.1  # the next term is of third order
    # a strictly convex function may have a singular Hessian, and then its GGN is degenerate
    flat = k.hessian(lambda y: (basis[y] ** 4).sum())(basis.point([0.0, 1.0]))
    with pytest.raises(k.DegenerateMetricError, match=r"is\s+degenerate"):
        flat.sharp(basis.covector([1.0, 0.0]))


def test_example_3_4_what_is_no_point():
    basis = k.Parameterization.from_widths(1, 2).outputs
    F, y = lambda y: (basis[y] ** 2).sum(), basis.point([1.0, 2.0])
    with pytest.raises(k.KindError, match="z is one point"):
        k.bregman(F, y, basis.point([[1.0, 2.0]]))
    with pytest.raises(k.KindError, match="y is one point"):
        k.bregman(F, basis.vector([1.0, 2.0]), y)  # type: ignore[arg-type]


# Remark 3.11: covectors sampled ----------------------------------------------------------------------------------


@pytest.mark.no_gauge
@pytest.mark.parametrize("name", ["full rank", "rank 1", "tiny and huge units"])
def test_remark_3_11_the_mean_square_of_sampled_covectors_is_the_metric(name):
    """Each entry of the mean is within 5 standard errors: for a normal phi its variance is G_ii G_jj + G_ij^2."""
    basis = k.Parameterization.from_widths(1, 3).outputs
    R = torch.tensor([[1.0, 0.2, -0.5], [0.3, 1.5, 0.4], [0.0, -0.7, 0.8]], dtype=torch.float64)
    R = {"full rank": R, "rank 1": R[:1], "tiny and huge units": R * torch.tensor([1e-6, 1.0, 1e6]).double()}[name]
    G, count = R.mT @ R, 20000
    g = k.from_matrix(basis, G.expand(count, 3, 3))
    phi = k.sample_covectors(g, torch.Generator().manual_seed(0))
    assert phi.batch == (count,)
    error = (basis[k.expected(k.tensor_square(phi))] - G).abs()
    diagonal = G.diagonal()
    standard = ((diagonal[:, None] * diagonal + G**2) / count).sqrt()
    assert (error <= 5 * standard + 1e-12 * (diagonal[:, None] * diagonal).sqrt()).all()
    assert error.max() > 1e-5 * standard.max()  # it did sample
    mean = basis[phi].mean(0).abs()
    assert (mean <= 5 * (diagonal / count).sqrt()).all()


@given(testing.objectives(testing.networks(depth=(1, 3), widths=(1, 3)), more_data=(0, 2)), st.data())
def test_remark_3_11_covectors_may_be_pulled_back_before_they_are_squared(problem, data):
    """Psi^*(phi (x) phi) = (Psi^* phi) (x) (Psi^* phi), a datum at a time: so the mean over phi is Psi^* g."""
    h, omega = problem
    basis, Y = h.net.home.weights, h.net.home.outputs
    psi = lambda w: h.net(w, h.inputs)
    phi = data.draw(testing.covectors(Y, (len(h),)))
    pulled = k.pullback(psi, omega, phi)
    squares, after = basis[k.tensor_square(pulled)], basis[k.pullback(psi, omega, k.tensor_square(phi))]
    near(squares, after, 1e-11)
    u, v = data.draw(testing.vectors(basis)), data.draw(testing.vectors(basis))
    moved = [k.pushforward(psi, omega, w) for w in (u, v)]
    truth = phi(moved[0]) * phi(moved[1])
    size = (Y[phi].abs() * Y[moved[0]].abs()).sum(-1) * (Y[phi].abs() * Y[moved[1]].abs()).sum(-1)
    assert ((k.tensor_square(pulled)(u, v) - truth).abs() <= 1e-11 * size + 1e-300).all()


@pytest.mark.no_gauge
def test_remark_3_11_the_mean_of_sampled_k_fac_is_k_fac():
    """Entry by entry within 5 standard errors of 400 metrics, the standard error being that of the samples."""
    p = problem(n=8)
    generator = torch.Generator().manual_seed(0)
    metric = k.sampled(p.h.likelihood.metric, generator)
    draws = [[G for _, G in factors_of(k.kfac(p.h, p.omega, metric), p)] for _ in range(400)]
    for i, (A, G) in enumerate(factors_of(k.kfac(p.h, p.omega), p)):
        samples = torch.stack([draw[i] for draw in draws])
        error, standard = (samples.mean(0) - G).abs(), samples.std(0) / len(samples) ** 0.5
        assert (error <= 5 * standard).all() and standard.min() > 0
        near(factors_of(k.kfac(p.h, p.omega, metric), p)[i][0], A)  # nothing of A is sampled
        wrong = (samples.mean(0) - 1.5 * G).abs()  # half as much again would be seen
        assert (wrong > 5 * standard).any()


def factors_of(g, p):
    """(A, G) of every layer in the home basis, up to a factor between them that is fixed by A's corner being 1."""
    pairs = []
    for part, basis in zip(g.parts, p.home.weights.factors, strict=True):
        m, n = basis.shape
        blocks = basis[part].reshape(n, m, n, m)
        pairs.append((blocks[:, 0, :, 0] / blocks[-1, 0, -1, 0], blocks[-1, :, -1, :]))
    return pairs


@pytest.mark.no_gauge
def test_remark_3_11_a_seed_gives_the_same_sample_and_the_next_call_another():
    p = problem(n=4)
    g = p.h.likelihood.metric(p.net(p.omega, p.h.inputs))
    draw = lambda seed: p.home.outputs[k.sample_covectors(g, torch.Generator().manual_seed(seed))]
    assert torch.equal(draw(1), draw(1)) and not torch.equal(draw(1), draw(2))
    generator = torch.Generator().manual_seed(1)
    one, two = (p.home.outputs[k.sample_covectors(g, generator)] for _ in range(2))
    assert not torch.equal(one, two)


def test_tensor_square_is_the_product_of_two_values_and_gives_eq_2_4():
    """The Fisher metric as the mean square of dL, over all data and all targets with their probabilities."""
    p = problem(k.Bernoulli, (2, 2, 1), n=6)
    h, basis = p.h, p.home.weights
    u, v = basis.units.at(0), basis.units.at(4)
    total = None
    for i in range(len(h)):
        one = h.inputs.at([i])
        probability = torch.sigmoid(p.home.outputs[p.net(p.omega, one)])[0, 0]
        for target, weight in ((0.0, 1 - probability), (1.0, probability)):
            L = k.Objective(p.net, h.likelihood, one, torch.tensor([[target]], dtype=torch.float64))
            dL = L.d(p.omega)
            square = k.tensor_square(dL)
            near(square(u, v), dL(u) * dL(v), 1e-12)
            term = float(weight / len(h)) * square
            total = term if total is None else total + term
    near(basis[total], basis[k.fisher(h, p.omega)], 1e-10)


def test_what_is_not_sampled_or_squared():
    basis = k.Parameterization.from_widths(1, 2).outputs
    with pytest.raises(k.KindError, match=r"it takes a metric and a torch\.Generator"):
        k.sample_covectors(k.euclidean(basis), 0)  # type: ignore[arg-type]
    with pytest.raises(k.KindError, match="a sum of squares of covectors"):
        k.tensor_square(basis.vector([1.0, 2.0]))  # type: ignore[arg-type]


# Negative controls: an output change of basis --------------------------------------------------------------------

ROTATION = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
SHIFT = torch.tensor([1.0, -2.0], dtype=torch.float64)
ONE = torch.eye(2, dtype=torch.float64)
OUTPUT_CHANGES = {
    "shift": (ONE, SHIFT),
    "rotation": (ROTATION, None),
    "rigid motion": (ROTATION, SHIFT),
    "twice": (2 * ONE, None),
    "twice a rotation": (2 * ROTATION, None),
    "scale": (torch.tensor([2.0, 0.5], dtype=torch.float64).diag(), None),
    "general": (torch.tensor([[1.0, 0.7], [-0.3, 1.6]], dtype=torch.float64), SHIFT),
}
RIGID = ["shift", "rotation", "rigid motion"]


def own_identity(a):
    """The textbook's Gauss-Newton: the identity matrix, whatever the basis."""
    return torch.eye(a.shape[1], dtype=torch.float64).expand(len(a), -1, -1)


def own_log_partition(a):
    """The textbook's GGN with the formula of F applied to whatever numbers the outputs have: F is not carried."""
    return torch.func.vmap(torch.func.hessian(lambda eta: torch.logsumexp(mlp.likelihoods.with_zero(eta[None])[0], 0)))(
        a
    )


def carried_log_partition(h, kappa):
    """F carried as a function: in the numbers of kappa it is another formula, with the change of basis inside."""
    Omega, gamma = h.likelihood.basis.to(kappa.outputs)
    back = torch.linalg.inv(Omega)
    F = lambda a: torch.logsumexp(mlp.likelihoods.with_zero(((a - gamma) @ back.mT)[None])[0], 0)
    return lambda a: torch.func.vmap(torch.func.hessian(F))(a)


def twins_gap(p, kappa, in_home, in_kappa, lr=LR, lr_kappa=None):
    """The largest gap over the steps between textbook K-FAC at home and in kappa, under these output metrics."""
    run = lambda basis, metric, lr: k.run_in(
        basis,
        updates.kfac,
        p.h,
        p.omega,
        STEPS,
        lr=lr,
        watch=p.watch,
        curvature=partial(mlp.pullback_factors, metric=metric),
    )
    home = run(p.home, in_home, lr)
    assert home.losses[-1] < home.losses[0]
    return float(k.gap(run(kappa, in_kappa, lr_kappa or lr), home, p.home.outputs).max())


@cache
def shared():
    return problem()


@pytest.mark.no_gauge
@pytest.mark.parametrize("name", OUTPUT_CHANGES)
def test_example_3_3_gauss_newton_breaks_under_an_output_change_unless_it_is_a_rigid_motion(name):
    p = shared()
    Omega, gamma = OUTPUT_CHANGES[name]
    # rho_L is the identity from Z_L to Y in home: both are rewritten, or only Y: the gap is the same
    for preactivations in ({}, {2: (Omega, gamma)}):
        kappa = p.home.changed(activations={2: (Omega, gamma)}, preactivations=preactivations)
        gap = twins_gap(p, kappa, own_identity, own_identity)
        assert gap < 1e-12 if name in RIGID else 0.1 < gap < float("inf")


@pytest.mark.no_gauge
def test_example_3_3_twice_a_rotation_is_gauss_newton_at_another_rate():
    """The metric is 4 times the other, so a rate 4 times the rate is the same path."""
    p = shared()
    kappa = p.home.changed(activations={2: OUTPUT_CHANGES["twice a rotation"]})
    assert twins_gap(p, kappa, own_identity, own_identity, LR, 4 * LR) < 1e-12


@pytest.mark.no_gauge
@pytest.mark.parametrize("condition", [1.0, 10.0, 100.0])
def test_example_3_3_gauss_newton_holds_under_all_other_changes_of_basis(condition):
    p = shared()
    general = k.skewed(p.net, condition, 3)
    others = k.Parameterization((*general.activations[:-1], p.home.outputs), general.preactivations)
    assert twins_gap(p, others, own_identity, own_identity) < 1e-9


@pytest.mark.no_gauge
@pytest.mark.parametrize("name", OUTPUT_CHANGES)
def test_example_3_3_in_one_named_basis_and_carried_gauss_newton_holds_under_every_change(name):
    p = shared()
    kappa = p.home.changed(activations={2: OUTPUT_CHANGES[name]})
    back = torch.linalg.inv(OUTPUT_CHANGES[name][0])
    assert twins_gap(p, kappa, own_identity, lambda a: (back.mT @ back).expand(len(a), 2, 2)) < 1e-12


@pytest.mark.no_gauge
@pytest.mark.parametrize("name", [*OUTPUT_CHANGES, "all spaces"])
def test_example_3_4_ggn_holds_under_every_change_where_f_is_carried_as_a_function(name):
    p = shared()
    kappa = k.skewed(p.net, 10, 3) if name == "all spaces" else p.home.changed({2: OUTPUT_CHANGES[name]})
    carried = carried_log_partition(p.h, kappa)
    assert twins_gap(p, kappa, own_log_partition, carried) < 1e-11
    # the same formula in other numbers is another function, even under a rigid motion
    assert twins_gap(p, kappa, own_log_partition, own_log_partition) > 0.03
    # the typed run is the third trajectory; it names no basis of Y
    F = lambda y: torch.logsumexp(mlp.likelihoods.with_zero(p.home.outputs[y][None])[0], 0)
    typed = k.run(k.KFAC(LR, metric=k.hessian(F)), p.h, p.omega, 5, watch=p.watch)
    twin = k.run_in(
        kappa,
        updates.kfac,
        p.h,
        p.omega,
        5,
        lr=LR,
        watch=p.watch,
        curvature=partial(mlp.pullback_factors, metric=carried),
    )
    assert float(k.gap(twin, typed, p.home.outputs).max()) < 1e-11


@pytest.mark.no_gauge
def test_example_3_4_under_a_bent_chart_of_the_outputs_ggn_breaks_and_the_fisher_metric_does_not():
    """The Hessian of F in bent numbers has dF times the second derivative of the chart too; a pulled-back g has not."""
    y = torch.tensor([0.4, -0.3], dtype=torch.float64)
    F = lambda eta: torch.logsumexp(mlp.likelihoods.with_zero(eta[None])[0], 0)
    chart = lambda u: torch.sinh(u)  # eta = sinh(u)
    u = torch.asinh(y)
    J = torch.func.jacfwd(chart)(u)
    bent, carried = torch.func.hessian(lambda u: F(chart(u)))(u), J.mT @ torch.func.hessian(F)(y) @ J
    assert (bent - carried).norm() > 0.05 * carried.norm()
    second = (torch.func.grad(F)(y) * torch.sinh(u)).diag()  # dF times the second derivative of sinh
    near(bent, carried + second, 1e-12)
    affine = lambda u: 2 * u + 1
    near(torch.func.hessian(lambda u: F(affine(u)))((y - 1) / 2), 4 * torch.func.hessian(F)(y), 1e-12)
    # Fisher: the mean square of dL, by the chain rule alone
    p = torch.softmax(mlp.likelihoods.with_zero(y[None])[0], 0)
    minus_log_p = lambda eta: F(eta) - mlp.likelihoods.with_zero(eta[None])[0]
    fisher = lambda f, at: sum(
        weight * torch.outer(s, s) for weight, s in zip(p, torch.func.jacfwd(lambda u: minus_log_p(f(u)))(at))
    )
    near(fisher(chart, u), carried, 1e-12)
