"""The two columns of Table 1 against dense truth: Jacobians, sums over targets, Kronecker products written out."""

import itertools
from types import SimpleNamespace

import pytest
import torch

import kfac_lite as k
from kfac_lite.coordinates import mlp, updates

LIKELIHOODS = ["gaussian", "bernoulli", "categorical"]
CLASSES = {"gaussian": k.Gaussian, "bernoulli": k.Bernoulli, "categorical": k.Categorical, "softmax": k.Softmax}


def problem(likelihood: str, widths=(3, 4, 2), n: int = 12, seed: int = 0):
    """A small net whose layers are not square, in two bases; the arrays are those of kappa."""
    generator = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    home = k.Parameterization.from_widths(*widths)
    net = k.MLP(home, k.tanh)
    omega = home.weights.point(
        [normal(*basis.shape) for basis in home.weights.factors if isinstance(basis, k.MapsBasis)]
    )
    d = widths[-1]
    targets = {
        "gaussian": lambda: home.outputs.point(normal(n, d)),
        "bernoulli": lambda: (normal(n, d) > 0).double(),
        "categorical": lambda: torch.nn.functional.one_hot(torch.arange(n) % (d + 1), d + 1).double(),
        "softmax": lambda: torch.nn.functional.one_hot(torch.arange(n) % d, d).double(),
    }[likelihood]()
    h = k.Objective(net, CLASSES[likelihood](home.outputs), home.inputs.point(normal(n, widths[0])), targets)
    kappa = k.skewed(net, 5, seed + 1)
    coordinate_net, x, y = h.in_basis(kappa)
    w = list(kappa.weights[omega])
    return SimpleNamespace(net=net, h=h, omega=omega, kappa=kappa, home=home, arrays=(coordinate_net, w, x), y=y)


def flat(w):
    return torch.cat([updates.vec(W) for W in w])


def unflat(v, like):
    return [updates.unvec(part, W.shape) for part, W in zip(v.split([W.numel() for W in like]), like)]


def log_probability(name, eta, y):
    """From torch.distributions, which shares no line with the package."""
    if name == "gaussian":
        return torch.distributions.Normal(eta, 1.0).log_prob(y).sum(-1)
    if name == "bernoulli":
        return torch.distributions.Bernoulli(logits=eta).log_prob(y).sum(-1)
    logits = torch.cat([eta, torch.zeros_like(eta[..., :1])], -1) if name == "categorical" else eta
    return torch.distributions.Categorical(logits=logits).log_prob(y.argmax(-1))


def every_target(name, d):
    """All targets of a datum; for a Gaussian, the quadrature points at which second moments are exact."""
    if name == "bernoulli":
        return torch.tensor(list(itertools.product([0.0, 1.0], repeat=d)), dtype=torch.float64)
    return torch.eye(d + 1 if name == "categorical" else d, dtype=torch.float64)


def dense_fisher(name, p):
    """Eq. 2.2 by its words: the mean over x and the model's y of the squared gradient of -log p."""
    net, w, x = p.arrays
    d = net.layers[-1].gamma.shape[0]
    total = torch.zeros(len(flat(w)), len(flat(w)), dtype=torch.float64)
    for xi in x:
        eta_of = lambda v, xi=xi: mlp.outputs(net, mlp.forward(net, unflat(v, w), xi[None])[0])[0][0]
        eta = eta_of(flat(w))
        if name == "gaussian":  # y = eta +- sqrt(d) e_k, each with weight 1 / 2d, has the normal's second moments
            unit = d**0.5 * torch.eye(d, dtype=torch.float64)
            cases = [(1 / (2 * d), eta + s * e) for e in unit for s in (1, -1)]
        else:
            cases = [(log_probability(name, eta, y).exp(), y) for y in every_target(name, d)]
        for weight, y in cases:
            score = torch.func.grad(lambda v, y=y, f=eta_of: -log_probability(name, f(v), y.detach()))(flat(w))
            total = total + weight * torch.outer(score, score)
    return total / len(x)


def dense_jacobian(p):
    """d a_L / d vec(w) in the basis of the arrays, (n, d, parameters)."""
    net, w, x = p.arrays
    return torch.func.jacrev(lambda v: mlp.forward(net, unflat(v, w), x)[0])(flat(w))


def block_diagonal(factors):
    return torch.block_diag(*(torch.kron(A, G) for A, G in factors))


@pytest.mark.parametrize("name", [*LIKELIHOODS, "softmax"])
def test_equation_2_1_the_loss_is_the_mean_of_minus_log_p(name):
    p = problem(name)
    net, w, x = p.arrays
    eta, _ = mlp.outputs(net, mlp.forward(net, w, x)[0])
    dense = -log_probability(name, eta, p.y).mean()
    constant = {"gaussian": eta.shape[-1] * torch.log(torch.tensor(2 * torch.pi, dtype=torch.float64)) / 2}.get(name, 0)
    torch.testing.assert_close(mlp.loss(net, w, x, p.y), dense - constant, rtol=1e-12, atol=0)
    torch.testing.assert_close(p.h(p.omega), mlp.loss(net, w, x, p.y), rtol=1e-12, atol=0)


@pytest.mark.parametrize("phi", [k.tanh, k.logistic, k.softplus, k.sine, k.square, k.cubic, k.identity])
def test_every_slope_is_the_derivative_of_its_activation(phi):
    u = torch.linspace(-3, 3, 31, dtype=torch.float64)
    truth = torch.func.vmap(torch.func.grad(phi.value))(u)
    torch.testing.assert_close(phi.slope(u) * torch.ones_like(u), truth, rtol=1e-12, atol=1e-15)


def test_equation_2_7_a_layer_is_w_bar_times_a_bar_and_then_phi():
    p = problem("gaussian", (3, 4, 2))
    net, x, _ = p.h.in_basis(p.home)
    w = p.home.weights[p.omega]
    a = x
    for phi, W in zip((torch.tanh, lambda z: z), w):
        a = phi(a @ W[:, :-1].mT + W[:, -1])  # phi(W a + b), in the textbook's plain form
    torch.testing.assert_close(mlp.forward(net, list(w), x)[0], a, rtol=1e-13, atol=1e-14)


def test_equation_2_11_a_transformed_layer_applies_omega_phi_of_big_phi_z_plus_tau_plus_gamma():
    p = problem("gaussian", (3, 4, 2))
    net, w, x = p.arrays
    a = x
    for (_, Omega, gamma, Phi, tau), phi, W in zip(net.layers, (torch.tanh, lambda z: z), w):
        z = a @ W[:, :-1].mT + W[:, -1]
        a = torch.stack([Omega @ phi(Phi @ z_i + tau) + gamma for z_i in z])
    torch.testing.assert_close(mlp.forward(net, w, x)[0], a, rtol=1e-12, atol=1e-12)
    at_home = p.home.outputs.to(p.kappa.outputs)
    home_net, home_x, _ = p.h.in_basis(p.home)
    home = mlp.forward(home_net, list(p.home.weights[p.omega]), home_x)[0]
    torch.testing.assert_close(a, home @ at_home[0].mT + at_home[1], rtol=1e-10, atol=1e-10)  # one function


@pytest.mark.parametrize("name", [*LIKELIHOODS, "softmax"])
def test_back_propagation_is_the_gradient_and_the_differential_is_the_same_covector(name):
    p = problem(name)
    net, w, x = p.arrays
    truth = torch.func.grad(lambda v: mlp.loss(net, unflat(v, w), x, p.y))(flat(w))
    ours = mlp.gradient(net, w, x, p.y)
    torch.testing.assert_close(flat(ours), truth, rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(flat(p.kappa.weights[p.h.d(p.omega)]), truth, rtol=1e-11, atol=1e-13)
    e = 1e-6  # and by finite differences, which know no derivative rule
    direction = torch.linspace(-1, 1, len(truth), dtype=torch.float64)
    plus, minus = (mlp.loss(net, unflat(flat(w) + s * e * direction, w), x, p.y) for s in (1, -1))
    assert abs((plus - minus) / (2 * e) - truth @ direction) < 1e-7 * truth.norm() * direction.norm()


@pytest.mark.parametrize("name", [*LIKELIHOODS, "softmax"])
def test_equation_2_2_the_fisher_matrix_is_the_sum_over_targets(name):
    p = problem(name, n=5)
    truth = dense_fisher(name, p)
    torch.testing.assert_close(mlp.fisher(*p.arrays), truth, rtol=1e-11, atol=1e-12 * float(truth.abs().max()))


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_equation_2_5_the_fisher_metric_of_equation_2_4_has_the_fisher_matrix(name):
    p = problem(name)
    ours = p.kappa.weights[k.fisher(p.h, p.omega)]
    torch.testing.assert_close(ours, mlp.fisher(*p.arrays), rtol=1e-10, atol=1e-12 * float(ours.abs().max()))


def test_example_3_2_the_output_fisher_metric_pulls_back_to_the_fisher_metric():
    p = problem("categorical", n=1)
    g = p.h.likelihood.metric(p.net(p.omega, p.h.inputs))
    pulled = k.expected(k.pullback(lambda w: p.net(w, p.h.inputs), p.omega, g))
    truth = dense_fisher("categorical", p)
    torch.testing.assert_close(p.kappa.weights[pulled], truth, rtol=1e-10, atol=1e-12 * float(truth.abs().max()))


@pytest.mark.parametrize("name", [*LIKELIHOODS, "softmax"])
@pytest.mark.parametrize("widths", [(3, 4, 2), (2, 5, 3, 4), (4, 2)])
def test_equation_2_8_the_factors_are_the_second_moments(name, widths):
    p = problem(name, widths)
    net, w, x = p.arrays
    seen = mlp.forward(net, w, x)[1]
    ones = torch.ones(len(x), 1, dtype=torch.float64)
    weight, scores = mlp.scores(net, w, x)
    start, a = 0, x
    for (A, G), W, (_, u) in zip(mlp.factors(net, w, x), w, seen, strict=True):
        abar = torch.cat([a, ones], 1)
        torch.testing.assert_close(A, (abar[:, :, None] * abar[:, None, :]).mean(0), rtol=1e-12, atol=1e-14)
        # The last row of vec(DW-bar) is Db = Dz, so G is that block of the second moment of the scores.
        Dz = scores[..., start + W.numel() - W.shape[0] : start + W.numel()]
        dense = (weight[..., None] * Dz[..., :, None] * Dz[..., None, :]).sum(0).mean(0)
        torch.testing.assert_close(G, dense, rtol=1e-11, atol=1e-14)
        start += W.numel()
        layer = net.layers[[id(W2) for W2 in w].index(id(W))]
        a = layer.phi.value(u) @ layer.Omega.mT + layer.gamma


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_definition_3_9_the_k_fac_metric_has_the_block_diagonal_matrix_of_equation_2_9(name):
    p = problem(name, (2, 5, 3, 4))
    ours = p.kappa.weights[k.kfac(p.h, p.omega)]
    truth = block_diagonal(mlp.factors(*p.arrays))
    torch.testing.assert_close(ours, truth, rtol=1e-9, atol=1e-11 * float(truth.abs().max()))


def test_proposition_3_7_each_layer_has_the_matrix_a_times_g_in_every_basis():
    p = problem("categorical")
    for i, (A, G) in enumerate(mlp.factors(*p.arrays), 1):
        ours = p.kappa.weights.factors[i - 1][k.independence(p.h, p.omega, i)]
        torch.testing.assert_close(ours, torch.kron(A, G), rtol=1e-9, atol=1e-11 * float(ours.abs().max()))


def test_equation_3_5_the_independence_metric_is_exact_for_one_datum_and_not_for_many():
    """With one datum the expectation of the product is the product of the expectations; with twelve it is not."""
    for n, same in ((1, True), (12, False)):
        p = problem("gaussian", n=n)
        fisher = k.fisher(p.h, p.omega)
        size = p.kappa.weights.factors[0].space.dimension
        block, ours = p.kappa.weights[fisher][:size, :size], torch.kron(*mlp.factors(*p.arrays)[0])
        error = (block - ours).norm() / block.norm()
        assert (error < 1e-12) if same else (error > 0.05)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_equation_2_3_the_natural_gradient_step_is_the_dense_solve(name):
    p = problem(name, n=40)
    net, w, x = p.arrays
    D = mlp.gradient(net, w, x, p.y)
    F = mlp.fisher(net, w, x)
    v = torch.linalg.solve(F, flat(D))
    backward = lambda v: (F @ v - flat(D)).norm() / (F.norm() * v.norm())
    assert backward(v) < 1e-14
    for update, curvature in (
        (updates.natural_gradient_textbook, F),
        (updates.natural_gradient, mlp.scores(net, w, x)),
    ):
        new = update(w, D, curvature, 1.0)
        assert backward(flat(w) - flat(new)) < 1e-13
    new = k.NaturalGradient(1.0)(p.h, p.omega)
    assert backward(flat(w) - flat(p.kappa.weights[new])) < 1e-13


@pytest.mark.parametrize("name", LIKELIHOODS)
@pytest.mark.parametrize("widths", [(3, 2), (2, 3), (3, 4, 2), (2, 5, 3, 4)])
def test_equation_2_10_the_k_fac_step_is_the_dense_solve_with_the_stated_vec(name, widths):
    """vec stacks columns and a block is kron(A, G): true on layers that are wide, and on layers that are tall."""
    p = problem(name, widths, n=40)
    net, w, x = p.arrays
    D = mlp.gradient(net, w, x, p.y)
    factors = mlp.factors(net, w, x)
    F = block_diagonal(factors)
    step = flat(w) - flat(updates.kfac(w, D, factors, 1.0))
    assert (F @ step - flat(D)).norm() < 1e-12 * F.norm() * step.norm()
    typed = flat(w) - flat(p.kappa.weights[k.KFAC(1.0)(p.h, p.omega)])
    assert (F @ typed - flat(D)).norm() < 1e-12 * F.norm() * typed.norm()
    wrong = torch.block_diag(*(torch.kron(G, A) for A, G in factors))
    assert (wrong @ step - flat(D)).norm() > 1e-3 * wrong.norm() * step.norm()


def test_vec_stacks_columns_and_turns_a_product_into_a_kronecker_product():
    generator = torch.Generator().manual_seed(3)
    G, X, A = (torch.randn(*s, generator=generator, dtype=torch.float64) for s in ((3, 3), (3, 2), (2, 2)))
    G, A = G + G.mT, A + A.mT
    torch.testing.assert_close(updates.vec(G @ X @ A), torch.kron(A, G) @ updates.vec(X))
    torch.testing.assert_close(updates.unvec(updates.vec(X), X.shape), X)
    # One datum: vec(Dz a-bar^T) = a-bar (x) Dz, and these are the rows of `scores`.
    p = problem("gaussian", (3, 2), n=1)
    net, w, x = p.arrays
    _, rows = mlp.scores(net, w, x)
    abar = torch.cat([x[0], torch.ones(1, dtype=torch.float64)])
    Dz = rows[0, 0, -2:]
    torch.testing.assert_close(rows[0, 0], torch.kron(abar, Dz))


@pytest.mark.parametrize("metric", [None, "carried"])
def test_damped_k_fac_is_the_dense_solve_with_the_damping_added(metric):
    p = problem("categorical")
    net, w, x = p.arrays
    D, factors = mlp.gradient(net, w, x, p.y), mlp.factors(net, w, x)
    carried, dense = None, torch.eye(len(flat(w)), dtype=torch.float64)
    if metric:
        g = k.euclidean(p.home.weights)
        dense = p.kappa.weights[g]
        carried = carried_factors(p)
    new = updates.kfac_damped(w, D, factors, 1.0, damping=0.1, metric=carried)
    v = torch.linalg.solve(block_diagonal(factors) + 0.1 * dense, flat(D))
    torch.testing.assert_close(flat(w) - flat(new), v, rtol=1e-8, atol=1e-10 * float(v.abs().max()))
    if metric:
        typed = k.KFAC(1.0, damping=0.1 * k.euclidean(p.home.weights))(p.h, p.omega)
        step = flat(w) - flat(p.kappa.weights[typed])
        torch.testing.assert_close(step, v, rtol=1e-8, atol=1e-10 * float(v.abs().max()))


def carried_factors(p):
    """The Euclidean metric of home as factors in kappa: A' = Omega-bar Omega-bar^T, G' = Phi^T Phi, by the law."""
    result = []
    for a, z, a_new, z_new in zip(
        p.home.activations, p.home.preactivations, p.kappa.activations, p.kappa.preactivations
    ):
        bar = mlp.homogeneous(*a.to(a_new))
        Phi, _ = z_new.to(z)
        result.append((bar @ bar.mT, Phi.mT @ Phi))
    return result


def test_example_3_3_gauss_newton_is_the_jacobian_squared_in_the_named_basis():
    p = problem("gaussian")
    net, w, x = p.arrays
    J = dense_jacobian(p)
    identity = lambda a: torch.eye(a.shape[1], dtype=torch.float64).expand(len(a), -1, -1)
    truth = (J.mT @ J).mean(0)
    scale = float(truth.abs().max())
    torch.testing.assert_close(mlp.pullback_matrix(net, w, x, identity), truth, rtol=1e-11, atol=1e-13 * scale)
    ours = k.gauss_newton(p.h, p.omega, output=p.kappa.outputs)
    torch.testing.assert_close(p.kappa.weights[ours], truth, rtol=1e-9, atol=1e-12 * scale)
    other = k.gauss_newton(p.h, p.omega, output=p.home.outputs)
    assert (p.kappa.weights[other] - truth).norm() > 0.1 * truth.norm()
    A_G = mlp.pullback_factors(net, w, x, identity)
    typed = k.kfac(p.h, p.omega, metric=lambda y: k.euclidean(p.kappa.outputs))
    dense = block_diagonal(A_G)
    torch.testing.assert_close(p.kappa.weights[typed], dense, rtol=1e-9, atol=1e-12 * float(dense.abs().max()))


def test_example_3_3_for_a_gaussian_likelihood_gauss_newton_is_the_fisher_metric():
    p = problem("gaussian")
    ours = p.kappa.weights[k.gauss_newton(p.h, p.omega, output=p.home.outputs)]
    fisher = p.kappa.weights[k.fisher(p.h, p.omega)]
    torch.testing.assert_close(ours, fisher, rtol=1e-10, atol=1e-12 * float(fisher.abs().max()))


def test_example_3_4_ggn_is_the_pulled_back_hessian_and_for_the_log_partition_function_the_fisher_metric():
    p = problem("categorical")
    net, w, x = p.arrays
    logits = p.home.outputs
    F = lambda y: torch.logsumexp(torch.cat([logits[y], torch.zeros(1, dtype=torch.float64)]), 0)
    ours = p.kappa.weights[k.ggn(p.h, p.omega, F)]
    torch.testing.assert_close(ours, mlp.fisher(net, w, x), rtol=1e-9, atol=1e-12 * float(ours.abs().max()))
    # In coordinates: the Hessian of F as a function of the numbers in kappa.
    d_eta = torch.linalg.inv(net.layers[-1].Omega)

    def in_kappa(a):
        eta = (a - net.layers[-1].gamma) @ d_eta.mT
        return torch.logsumexp(torch.cat([eta, torch.zeros(1, dtype=torch.float64)]), 0)

    H = lambda a: torch.func.vmap(torch.func.hessian(in_kappa))(a)
    truth = mlp.pullback_matrix(net, w, x, H)
    torch.testing.assert_close(ours, truth, rtol=1e-9, atol=1e-12 * float(truth.abs().max()))


def test_example_3_4_the_metric_is_the_second_order_term_of_the_bregman_divergence_with_grad_f_at_the_second_point():
    """B_F(y, y') = F(y) - F(y') - dF(y')(y - y'); the text at hand has dF(y), which is negative."""
    home = k.Parameterization.from_widths(1, 3)
    basis = home.outputs
    F = lambda y: torch.logsumexp(basis[y], -1) + (basis[y] ** 2).sum(-1)
    y = basis.point([0.3, -0.5, 0.8])
    v = basis.vector([0.2, 0.7, -0.4])
    bregman = lambda y, z: F(y) - F(z) - k.differential(F, z)(y - z)
    printed = lambda y, z: F(y) - F(z) - k.differential(F, y)(y - z)
    g = k.hessian(F)(y)
    for e in (1e-2, 1e-3):
        assert abs(bregman(y + e * v, y) / (e**2 * g(v, v) / 2) - 1) < e
    assert bregman(y + v, y) > 0 > printed(y + v, y)


@pytest.mark.parametrize("name", ["gaussian", "bernoulli", "categorical", "softmax"])
def test_the_module_computes_the_same_function_and_curvlinops_finds_the_same_factors(name):
    from curvlinops import FisherType, KFACLinearOperator

    p = problem(name, (3, 4, 2))
    net, w, x = p.arrays
    module = mlp.as_module(net, w)
    eta, _ = mlp.outputs(net, mlp.forward(net, w, x)[0])
    logits = module(x)
    torch.testing.assert_close(logits[:, : eta.shape[1]].detach(), eta, rtol=1e-12, atol=1e-13)
    assert logits.shape[1] == eta.shape[1] + (name == "categorical")

    # Its loss for targets of unit variance is twice ours, and its mean for several outputs is over all of them.
    outputs = eta.shape[1]
    if name == "gaussian":
        loss, target, factor = torch.nn.MSELoss(reduction="mean"), p.y, outputs / 2
    elif name == "bernoulli":
        loss, target, factor = torch.nn.BCEWithLogitsLoss(reduction="mean"), p.y, outputs
    else:
        loss, target, factor = torch.nn.CrossEntropyLoss(reduction="mean"), p.y.argmax(1), 1
    peer = KFACLinearOperator(
        module,
        loss,
        list(module.parameters()),
        [(x, target)],
        fisher_type=FisherType.TYPE2,
        separate_weight_and_bias=False,
        check_deterministic=False,
    )
    dense = peer @ torch.eye(sum(q.numel() for q in module.parameters()), dtype=torch.float64)
    # It orders a layer's parameters as weight rows, then bias: permute ours to its order.
    order, start = [], 0
    for W in w:
        index = torch.arange(W.numel()).reshape(W.shape[1], W.shape[0]).mT  # place of W[i, j] in vec
        order.append(start + torch.cat([index[:, :-1].flatten(), index[:, -1]]))
        start += W.numel()
    order = torch.cat(order)
    ours = block_diagonal(mlp.factors(net, w, x))[order][:, order]
    torch.testing.assert_close(factor * dense, ours, rtol=1e-9, atol=1e-12 * float(ours.abs().max()))


def test_a_run_whose_curvature_is_singular_at_the_start_says_so_and_one_that_breaks_later_is_marked():
    p = problem("softmax")
    with pytest.raises(k.DegenerateMetricError, match="singular at the start"):
        constant = k.Objective(p.net, p.h.likelihood, p.home.inputs.point(torch.zeros(12, 3).double()), p.h._targets)
        k.run_in(p.home, updates.kfac, constant, p.omega, 2, lr=0.1)
    broken = k.run_in(p.home, updates.sgd, p.h, p.omega, 400, lr=1e200)
    assert broken.diverged and broken.steps == 400


def test_a_run_wants_steps_or_batches_and_a_mean_wants_data():
    p = problem("gaussian")
    for arguments in ({}, {"steps": 2, "batches": [[0, 1]]}):
        with pytest.raises(k.SpaceError, match="steps=100, or batches=stream"):
            k.run(k.SGD(0.1, basis=p.home.weights), p.h, p.omega, **arguments)
        with pytest.raises(k.SpaceError, match="steps=100, or batches=stream"):
            k.run_in(p.home, updates.sgd, p.h, p.omega, lr=0.1, **arguments)
    with pytest.raises(k.SpaceError, match="no data"):
        p.h.batch([])
    with pytest.raises(k.SpaceError, match="no data"):
        k.Objective(p.net, p.h.likelihood, p.h.inputs.at(slice(0)), p.home.outputs.point(torch.zeros(0, 2).double()))
    three = k.run_in(p.home, updates.sgd, p.h, p.omega, lr=0.1, batches=iter([[0, 1], [2, 3], [4]]))
    assert three.steps == 3
