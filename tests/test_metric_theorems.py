"""Sections 3.4 and 3.5, item by item, from statements that were mended where the text at hand has a gap."""

from itertools import pairwise

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

import kfac_lite as k
from kfac_lite import testing
from kfac_lite.coordinates import mlp, updates


def close(a, b, tolerance=1e-12, size=None):
    size = max(float(a.abs().max()), float(b.abs().max()), 1e-300) if size is None else size
    assert a.shape == b.shape and float((a - b).abs().max()) <= tolerance * size, float((a - b).abs().max() / size)


def normal(generator, *shape):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def rank(G):
    """Of a symmetric matrix, scaled to unit diagonal."""
    scale = G.diagonal().clamp(min=1e-300).sqrt()
    return int(torch.linalg.matrix_rank(G / scale / scale[:, None], rtol=1e-11, hermitian=True))


def least(S):
    """The smallest eigenvalue of a symmetric matrix, scaled to unit diagonal."""
    scale = S.diagonal().clamp(min=1e-300).sqrt()
    return float(torch.linalg.eigvalsh(S / scale / scale[:, None])[0])


@st.composite
def situations(draw, max_data=12):
    """Spaces A and Z in random bases, n data (a, g(z)) with metrics of any rank, and the maps between."""
    n, m, data = draw(st.integers(0, 3)), draw(st.integers(1, 3)), draw(st.integers(1, max_data))
    a, z = (draw(testing.bases(k.AffineSpace(size, name))) for size, name in ((n, "A"), (m, "Z")))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    least = draw(st.integers(0, m))  # so that there are situations in which every metric is nearly definite, too
    r = draw(st.lists(st.integers(least, m), min_size=data, max_size=data))
    R = [normal(generator, m, r_i) for r_i in r]
    G = torch.stack([R_i @ R_i.mT for R_i in R])
    alpha = a.point(normal(generator, data, n))
    return a, z, k.MapsBasis(a, z), alpha, k.from_matrix(z, G), generator


def bars(a, alpha):
    """a-bar of every datum, with a 1 that the tests write themselves."""
    return torch.cat([a[alpha], torch.ones(alpha.batch[0], 1, dtype=torch.float64)], 1)


def expected_pullback(a, z, alpha, g):
    """The matrix of E[psi_a^* g] on Aff(A, Z), datum by datum: J = a-bar^T (x) 1, and nothing of the package."""
    one = torch.eye(z.space.dimension, dtype=torch.float64)
    J = torch.stack([torch.kron(abar[None], one) for abar in bars(a, alpha)])
    return (J.mT @ z[g] @ J).mean(0)


# 3.4 -------------------------------------------------------------------------------------------------------------


@given(situations())
def test_lemma_3_5_the_pullback_along_evaluation_is_the_square_of_a_times_phi(situation):
    """With covectors phi at a fixed z whose squares sum to g(z), psi_a^* g is the sum of the squares of a (x) phi."""
    a, z, maps, alpha, g, generator = situation
    one, metric = alpha.at(0), k.from_matrix(z, z[g][0])
    L = torch.linalg.eigh(z[metric])
    phis = (L.eigenvalues.clamp(min=0).sqrt() * L.eigenvectors).mT  # rows: metric = sum of their squares
    total = torch.zeros(maps.space.dimension, maps.space.dimension, dtype=torch.float64)
    v = maps.vector(normal(generator, *maps.shape))
    omega = maps.point(normal(generator, *maps.shape))
    for row in phis:
        phi = z.covector(row)
        pulled = k.pullback(lambda w: w(one), omega, phi)
        close(pulled(v), phi(v(one)), size=1 + float((row.abs() @ maps[v].abs()).sum()) * 10)
        # psi_a^* phi = a-bar (x) phi: in coordinates the matrix phi a-bar^T, linear in a-bar and so affine in a
        abar = torch.cat([a[one], torch.ones(1, dtype=torch.float64)])
        close(maps[pulled], torch.outer(row, abar), 1e-11, size=1e-300 + float(row.abs().max() * abar.abs().max()) * 10)
        total = total + maps[k.tensor_square(pulled)]
    ours = maps[k.pullback(lambda w: w(one), omega, metric)]
    close(ours, total, 1e-10, size=1e-300 + float(total.abs().max()))


@given(situations())
def test_theorem_3_6_the_independence_metric_is_a_metric(situation):
    """Symmetric, bilinear by construction, and no direction has a negative square."""
    _, _, maps, alpha, g, generator = situation
    ind = k.kronecker(k.second_moment(alpha), k.expected(g))
    u, v = (maps.vector(normal(generator, *maps.shape)) for _ in "uv")
    size = float(ind.norm(u) * ind.norm(v)) + float(maps[ind].abs().max())
    assert abs(float(ind(u, v) - ind(v, u))) <= 1e-11 * size
    eigenvalues = torch.linalg.eigvalsh(maps[ind])
    assert float(eigenvalues[0]) >= -1e-11 * max(float(eigenvalues[-1]), 1e-300)


@given(situations())
def test_theorem_3_6_it_is_nondegenerate_where_the_expected_pullback_is(situation):
    """And the exact condition: A positive definite, and E[g] positive definite."""
    a, z, maps, alpha, g, _ = situation
    exact, ind = expected_pullback(a, z, alpha, g), maps[k.kronecker(k.second_moment(alpha), k.expected(g))]
    full = maps.space.dimension
    n, m = a.space.dimension, z.space.dimension
    abar = bars(a, alpha)
    A, G = abar.mT @ abar / len(abar), z[g].mean(0)
    assert A.shape == (n + 1, n + 1) and G.shape == (m, m)
    smallest = [least(S) for S in (A, G)]
    assume(all(s < 1e-13 or s > 1e-6 for s in smallest))  # no case in which rounding decides
    definite = min(smallest) > 1e-6
    assert (rank(ind) == full) == definite
    if rank(exact) == full:
        assert definite


@given(situations(), st.sampled_from(["A", "G"]))
def test_theorem_3_6_its_proof_a_null_element_of_a_factor_makes_a_null_direction_of_the_pullback(situation, factor):
    """The two lines that mend the proof: l (x) mu in A-hat* (x) TZ = TW, null for any mu, or for any l."""
    a, z, maps, alpha, g, generator = situation
    if factor == "A":  # make the data lie in a hyperplane l = 0 of the homogenised space
        l = normal(generator, a.space.dimension + 1)
        l[-1] = 1.0
        numbers = a[alpha]
        if len(l) == 1:
            return  # dim A = 0: the homogeneous 1 alone never vanishes
        w = l[:-1]
        alpha = a.point(numbers - ((numbers @ w + 1) / (w @ w))[:, None] * w)
        mu = normal(generator, z.space.dimension)
    else:
        mu = normal(generator, z.space.dimension)
        P = torch.eye(len(mu), dtype=torch.float64) - torch.outer(mu, mu) / (mu @ mu)
        g = k.from_matrix(z, P @ z[g] @ P)
        l = normal(generator, a.space.dimension + 1)
    null = maps.vector(torch.outer(mu, l))
    for i in range(alpha.batch[0]):  # for every datum: it is only needed almost surely, which is the same here
        abar = torch.cat([a[alpha][i], torch.ones(1, dtype=torch.float64)])
        value = null(alpha.at(i))  # l(a) mu
        close(z[value], (l @ abar) * mu, 1e-10, size=float(l.abs().max() * abar.abs().max() * mu.abs().max()) * 10)
    G = expected_pullback(a, z, alpha, g)
    ours = maps[k.expected(k.pullback(lambda w: w(alpha), maps.point(torch.zeros(maps.shape).double()), g))]
    close(ours, G, 1e-10, size=1e-300 + float(G.abs().max()))
    v = updates.vec(torch.outer(mu, l))
    assert float(v @ G @ v) <= 1e-10 * float(v @ v) * max(float(G.abs().max()), 1e-300) * len(v)


def test_theorem_3_6_as_printed_its_proof_would_prove_too_much():
    """Read literally, E[a (x) a] is a form on TW (x) T*Z, of dimension (n + 1) m^2, with a = a-bar (x) id: its rank is
    n + 1 there, so it is degenerate for every m >= 2, and the proof would make every expected pullback degenerate."""
    n, m, data = 2, 2, 50
    abar = torch.cat([normal(torch.Generator().manual_seed(0), data, n), torch.ones(data, 1).double()], 1)
    identity = torch.eye(m, dtype=torch.float64).flatten()
    literal = torch.einsum("ni,a,nj,b->iajb", abar, identity, abar, identity).reshape((n + 1) * m * m, -1) / data
    assert literal.shape[0] == 12 and torch.linalg.matrix_rank(literal, hermitian=True) == 3
    a, z = k.AffineBasis(k.AffineSpace(n, "A")), k.AffineBasis(k.AffineSpace(m, "Z"))
    g = k.from_matrix(z, torch.eye(m, dtype=torch.float64).expand(data, m, m))
    assert rank(expected_pullback(a, z, a.point(abar[:, :n]), g)) == 6  # of 6, and not degenerate
    assert k.nondegeneracy(k.kronecker(k.second_moment(a.point(abar[:, :n])), k.expected(g)))


def test_theorem_3_6_its_converse_is_false_smallest_example():
    """Two data a = 0, 1 with g = 1, 0: the pullback sees one of two directions, the product sees both."""
    a, z = k.AffineBasis(k.AffineSpace(1, "A")), k.AffineBasis(k.AffineSpace(1, "Z"))
    maps = k.MapsBasis(a, z)
    alpha, g = a.point([[0.0], [1.0]]), k.from_matrix(z, [[[1.0]], [[0.0]]])
    assert rank(expected_pullback(a, z, alpha, g)) == 1
    ind = k.kronecker(k.second_moment(alpha), k.expected(g))
    assert rank(maps[ind]) == 2
    assert k.nondegeneracy(ind)


def test_theorem_3_6_its_converse_is_false_for_a_real_network():
    """1-2-1, tanh, Gaussian, two data: the exact block of the first layer has rank 2 of 4, A (x) G has rank 4."""
    home = k.Parameterization.from_widths(1, 2, 1)
    tensor = lambda *rows: torch.tensor(rows, dtype=torch.float64)
    omega = home.weights.point([tensor([1.0, 0.3], [-0.7, 0.5]), tensor([0.9, -1.1, 0.2])])
    x, y = home.inputs.point([[0.4], [-1.0]]), home.outputs.point([[0.0], [1.0]])
    h = k.Objective(k.MLP(home), k.Gaussian(home.outputs), x, y)
    F = home.weights[k.fisher(h, omega)]
    assert torch.linalg.matrix_rank(F[:4, :4], rtol=1e-10, hermitian=True) == 2
    assert rank(home.weights.factors[0][k.independence(h, omega, 1)]) == 4


@given(situations())
def test_theorem_3_6_its_converse_holds_where_every_metric_is_definite_or_a_is_a_point(situation):
    a, z, maps, alpha, g, generator = situation
    m = z.space.dimension
    if a.space.dimension:
        R = normal(generator, alpha.batch[0], m, m + 3)
        g = k.from_matrix(z, R @ R.mT)
    exact, ind = expected_pullback(a, z, alpha, g), maps[k.kronecker(k.second_moment(alpha), k.expected(g))]
    assert (rank(exact) == maps.space.dimension) == (rank(ind) == maps.space.dimension)


@given(situations())
def test_proposition_3_7_in_coordinates_it_is_e_of_a_a_t_times_e_of_g_in_every_basis(situation):
    a, z, maps, alpha, g, _ = situation
    abar = bars(a, alpha)
    truth = torch.kron((abar[:, :, None] * abar[:, None, :]).mean(0), z[g].mean(0))
    close(
        maps[k.kronecker(k.second_moment(alpha), k.expected(g))], truth, 1e-10, size=1e-300 + float(truth.abs().max())
    )


@given(testing.objectives(testing.networks(depth=(1, 3), widths=(1, 4))))
def test_remark_3_8_for_a_perceptron_e_of_g_is_e_of_dz_dz_t(problem):
    """The mean over the data of E_y[Dz Dz^T], y from the model: the coordinate code's G, which knows no pullback."""
    h, omega = problem
    home = h.net.home
    net, x, _ = h.in_basis(home)
    factors = mlp.factors(net, list(home.weights[omega]), x)
    for i, (_, G) in enumerate(factors, 1):
        zeta, y = h.net.layers(omega, h.inputs)[i - 1][0], h.net(omega, h.inputs)
        rest = h.net.after(i, omega)
        pulled = k.expected(k.pullback(rest, zeta, h.likelihood.metric(y)))
        close(home.preactivations[i - 1][pulled], G, 1e-9, size=1e-300 + float(G.abs().max()))


@given(situations())
def test_equation_3_5_it_is_the_mean_over_all_pairs_of_a_datum_and_a_metric(situation):
    """E[a (x) a] (x) E[g] pairs every a with every g(z), and not only with its own: in values, and in no basis."""
    _, _, maps, alpha, g, generator = situation
    u, v = (maps.vector(normal(generator, *maps.shape)) for _ in "uv")
    data = range(alpha.batch[0])
    pairs = torch.stack([g(u(alpha.at(i)), v(alpha.at(i))) for i in data])  # (data of a, data of g)
    size = torch.stack([g.norm(u(alpha.at(i))) * g.norm(v(alpha.at(i))) for i in data]).mean()
    ours = k.kronecker(k.second_moment(alpha), k.expected(g))(u, v)
    assert abs(float(ours - pairs.mean())) <= 1e-10 * float(size)


# When the product is exact ---------------------------------------------------------------------------------------


def net_problem(widths, phi=k.tanh, likelihood: type = k.Gaussian, n=60, seed=0, spoil=None, data=None):
    generator = torch.Generator().manual_seed(seed)
    home = k.Parameterization.from_widths(*widths)
    net = k.MLP(home, phi)
    w = [normal(generator, b, a + 1) for a, b in pairwise(widths)]
    omega = home.weights.point(spoil(w) if spoil else w)
    x = normal(generator, n, widths[0]) if data is None else data
    points, model = home.inputs.point(x), likelihood(home.outputs)
    return k.Objective(net, model, points, model.sample(net(omega, points), generator)), omega


def errors(h, omega):
    """How far A (x) G is from the exact block of the Fisher metric, layer by layer, relative to the block."""
    bases = h.net.home.weights.factors
    F = h.net.home.weights[k.fisher(h, omega)]
    found, start = [], 0
    for i, basis in enumerate(bases, 1):
        block = F[start : start + basis.space.dimension, start : start + basis.space.dimension]
        found.append(float((block - basis[k.independence(h, omega, i)]).norm() / block.norm()))
        start += basis.space.dimension
    return found


EXACT = {
    "one datum": dict(widths=(3, 4, 2), n=1),
    "all inputs equal": dict(widths=(2, 4, 2), data=torch.tensor([[0.3, -1.0]]).double().expand(20, 2)),
    "deep and linear, Gaussian": dict(widths=(3, 4, 3, 2), phi=k.identity),
}


@pytest.mark.parametrize("case", EXACT)
def test_equation_3_5_cases_in_which_the_product_is_the_exact_block(case):
    assert max(errors(*net_problem(**EXACT[case]))) < 1e-12


def test_equation_3_5_the_last_layer_under_a_gaussian_is_exact_and_the_hidden_one_is_not():
    hidden, last = errors(*net_problem((3, 4, 2)))
    assert last < 1e-13 and hidden > 0.1


def test_equation_3_5_softmax_with_uniform_predictions_is_exact_in_the_last_layer():
    h, omega = net_problem((3, 4, 2), likelihood=k.Categorical, spoil=lambda w: [w[0], 0 * w[1]])
    F = h.net.home.weights[k.fisher(h, omega)]
    last = h.net.home.weights.factors[1]
    close(F[16:, 16:], last[k.independence(h, omega, 2)])
    assert float(F[:16, :16].abs().max()) == 0  # nothing leads back to the hidden layer


@pytest.mark.parametrize(
    "case",
    [
        dict(widths=(3, 4, 3, 2), phi=k.identity, likelihood=k.Categorical),
        dict(widths=(3, 4, 2)),
        dict(widths=(3, 4, 2), n=3000),
    ],
)
def test_equation_3_5_cases_in_which_it_is_not_exact_and_more_data_do_not_help(case):
    assert errors(*net_problem(**case))[0] > 0.05


def test_equation_2_9_f_is_not_block_diagonal_and_yet_for_a_deep_linear_net_the_step_is_l_times_natural():
    """Two square linear layers: each block alone does the whole job, so K-FAC moves the function twice as far."""
    h, omega = net_problem((2, 2, 2), phi=k.identity)
    basis = h.net.home.weights
    F = basis[k.fisher(h, omega)]
    assert F[:6, 6:].norm() > 0.2 * torch.block_diag(F[:6, :6], F[6:, 6:]).norm()
    y, x = h.net.home.outputs, h.inputs
    D = torch.cat([updates.vec(W) for W in basis[h.d(omega)]])
    step = torch.linalg.pinv(F, rtol=1e-10, hermitian=True) @ D
    natural = basis.vector([part.reshape(3, 2).mT for part in step.split(6)])
    push = lambda v: y[k.pushforward(lambda w: h.net(w, x), omega, v)]
    close(push(k.kfac(h, omega).sharp(h.d(omega))), 2 * push(natural), 1e-8)


# 3.5 -------------------------------------------------------------------------------------------------------------


@given(testing.objectives(testing.networks(depth=(1, 3), widths=(1, 3)), more_data=(0, 12)), st.booleans())
def test_theorem_3_10_it_is_a_metric_and_nondegenerate_where_each_expected_pullback_is(problem, few):
    """And exactly where all A and all G are definite; the report is that condition."""
    h, omega = problem
    h = h.batch([0]) if few else h
    g, bases = k.kfac(h, omega), h.net.home.weights.factors
    matrix = h.net.home.weights[g]
    eigenvalues = torch.linalg.eigvalsh(matrix)
    assert float(eigenvalues[0]) >= -1e-12 * float(eigenvalues[-1]) and torch.allclose(matrix, matrix.mT, rtol=1e-10)
    net, x, _ = h.in_basis(h.net.home)
    w = list(h.net.home.weights[omega])
    F = mlp.fisher(net, w, x)  # of the coordinate code, which shares no line with kfac
    smallest = [least(S) for pair in mlp.factors(net, w, x) for S in pair]
    if all(s < 1e-13 or s > 1e-6 for s in smallest):  # rounding decides nothing
        assert bool(k.nondegeneracy(g)) == (min(smallest) > 1e-6)
    start, each = 0, []
    for basis in bases:  # E[(Psi^i_xi)^* g] on W_i is the i-th diagonal block of E[Psi_xi^* g]
        end = start + basis.space.dimension
        each.append(least(F[start:end, start:end]))
        start = end
    if min(each) > 1e-9:
        assert k.nondegeneracy(g)
        g.sharp(h.d(omega))
    if few:
        assert min(each) < 1e-9 and not k.nondegeneracy(g)
        with pytest.raises(k.DegenerateMetricError, match=r"is\s+degenerate"):
            g.sharp(h.d(omega))


@given(testing.objectives(testing.networks(depth=(2, 3), widths=(1, 3))), st.data())
def test_equation_3_8_and_3_7_the_k_fac_metric_measures_layer_by_layer(problem, data):
    """By push-forwards alone: the mean of g(phi_* u(alpha), phi_* v(alpha)) over all alpha_{i-1} and all (phi^i, g)."""
    h, omega = problem
    layers, basis = h.net.layers(omega, h.inputs), h.net.home.weights
    alphas = [h.inputs, *(alpha for _, alpha in layers)]
    u, v = data.draw(testing.vectors(basis)), data.draw(testing.vectors(basis))
    first, second = torch.cartesian_prod(*2 * [torch.arange(len(h))]).unbind(1)  # all pairs of data
    g = h.likelihood.metric(h.net(omega, h.inputs).at(second))
    total = size = 0.0
    for i, (one, other) in enumerate(zip(u.parts, v.parts, strict=True), 1):
        zeta, alpha = layers[i - 1][0].at(second), alphas[i - 1].at(first)
        a, b = (k.pushforward(h.net.after(i, omega), zeta, w(alpha)) for w in (one, other))
        mean, scale = float(g(a, b).mean()), float((g.norm(a) * g.norm(b)).mean())
        assert abs(float(k.independence(h, omega, i)(one, other)) - mean) <= 1e-10 * scale
        total, size = total + mean, size + scale
    assert abs(float(k.kfac(h, omega)(u, v)) - total) <= 1e-10 * size


def test_definition_3_9_is_no_product_metric_for_a_block_depends_on_the_other_layers():
    h, omega = net_problem((2, 3, 1))
    W1, W2 = h.net.home.weights[omega]
    moved = h.net.home.weights.point([W1, 2 * W2])
    first = h.net.home.weights.factors[0]
    close(first[k.independence(h, moved, 1)], 4 * first[k.independence(h, omega, 1)])


@pytest.mark.no_gauge
def test_remark_3_12_the_gap_of_damping_by_the_identity_is_linear_in_it_on_the_scale_of_the_smallest_eigenvalue():
    """Of A (x) G in the worse of the two bases, which a change of basis can make small."""
    h, omega = net_problem((3, 4, 2), likelihood=k.Categorical)
    home, kappa = h.net.home, k.skewed(h.net, 10, 5)
    smallest = {}
    for name, basis in {"home": home, "kappa": kappa}.items():
        net, x, _ = h.in_basis(basis)
        factors = mlp.factors(net, list(basis.weights[omega]), x)
        smallest[name] = min(float(torch.linalg.eigvalsh(torch.kron(A, G))[0]) for A, G in factors)

    def gap(damping):
        run = lambda basis: k.run_in(basis, updates.kfac_damped, h, omega, 1, lr=0.05, damping=damping)
        return float(k.gap(run(kappa), run(home), home.outputs))

    scale = min(smallest.values())
    small = [gap(c * scale) for c in (1e-3, 1e-4, 1e-5)]
    assert small[0] < 1e-2 and all(9 < a / b < 11 for a, b in pairwise(small))
    assert 0.1 < gap(100 * scale) < 0.5 * 1e5 * small[0]  # beyond the scale no longer linear, and no longer small
