"""flat, sharp, norms, sums, pullbacks, and what a degenerate metric says (paper: 2.2.5, 3.4, 3.5.1)."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kfac_lite import (
    MLP,
    AffineBasis,
    AffineSpace,
    Basis,
    Categorical,
    DegenerateMetricError,
    KindError,
    MapsBasis,
    Metric,
    Objective,
    Parameterization,
    Point,
    ProductBasis,
    Softmax,
    SpaceError,
    TangentBasis,
    additive,
    coordinates,
    differential,
    euclidean,
    expected,
    fisher,
    from_matrix,
    hessian,
    independence,
    kfac,
    kronecker,
    power,
    pullback,
    pushforward,
    second_moment,
    tanh,
    testing,
)
from kfac_lite.coordinates.updates import vec
from kfac_lite.forms import Kronecker

from .comparing import close


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def spd(n: int, seed: int) -> Tensor:
    """A positive-definite matrix of condition at most about 100."""
    R = normal(n, n + 3, seed=seed)
    return R @ R.mT / n + torch.eye(n, dtype=torch.float64) / 10


def long(x: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Numbers as one row in the order of vec: matrices stacked by columns, parts side by side."""
    if isinstance(x, tuple):
        return torch.cat([long(part) for part in x])
    return vec(x) if x.dim() == 2 else x


def change(old: Basis, new: Basis) -> Tensor:
    """The matrix that takes the numbers of vectors in `old` to those in `new`: its columns are the old units in new."""
    return torch.stack([long(new[old.units.at(i)]) for i in range(old.space.dimension)], 1)


@st.composite
def metrics(draw: st.DrawFn, basis: Basis) -> Metric:
    """Positive-definite metrics of every class that the space has, and sums of them."""
    seed = draw(st.integers(0, 2**32 - 1))
    dense = from_matrix(basis, spd(basis.space.dimension, seed))
    choices = [dense, euclidean(basis), euclidean(basis) + dense]
    if isinstance(basis, MapsBasis):
        n, m = basis.source.space.dimension, basis.target.space.dimension
        a = basis.source
        rows = normal(2 * n + 3, n, seed=seed)
        data = a.point(
            rows if isinstance(a, AffineBasis) else list(rows.split([s.space.dimension for s in a.factors], 1))
        )
        z = basis.target.basis if isinstance(basis.target, TangentBasis) else basis.target
        kron = kronecker(second_moment(data), from_matrix(z, spd(m, seed + 1)))
        assert isinstance(kron, Kronecker)
        kron = kron._on(basis.space)  # for maps to Z nothing changes
        choices += [kron, kron + 0.5 * euclidean(basis), euclidean(basis) + kron, kron + dense, kron + kron + kron]
    if isinstance(basis, ProductBasis):
        parts = additive(*(draw(metrics(part)) for part in basis.factors))
        choices += [parts, parts + 0.5 * euclidean(basis), euclidean(basis) + parts, parts + dense]
    return draw(st.sampled_from(choices))


@st.composite
def situations(draw: st.DrawFn) -> tuple[Basis, Basis, Metric]:
    space = draw(testing.spaces(3))
    iota, kappa = draw(testing.bases(space)), draw(testing.bases(space))
    return iota, kappa, draw(metrics(draw(testing.bases(space))))


# The laws --------------------------------------------------------------------------------------------------------


@given(situations(), st.data())
def test_flat_and_sharp_are_inverse(situation, data):
    iota, kappa, g = situation
    v, phi = data.draw(testing.vectors(iota, (2,))), data.draw(testing.covectors(iota))
    assert close(kappa[g.sharp(g.flat(v))], kappa[v], 1e-9)
    assert close(kappa[g.flat(g.sharp(phi))], kappa[phi], 1e-9)


@given(situations(), st.data())
def test_a_metric_is_symmetric_positive_and_bilinear(situation, data):
    iota, _, g = situation
    u, v, w = (data.draw(testing.vectors(iota)) for _ in range(3))
    scale = float(g(u, u) + g(v, v) + g(w, w))
    assert close(g(u, v) / scale, g(v, u) / scale)
    assert g(u, u) > 0
    assert close(g(2 * u - w, v) / scale, (2 * g(u, v) - g(w, v)) / scale)
    assert close(g.norm(u) ** 2, g(u, u))
    assert close(g.flat(v)(u) / scale, g(u, v) / scale)
    assert g(u, v) ** 2 <= g(u, u) * g(v, v) * (1 + 1e-9)


@given(situations(), st.data())
def test_the_matrix_of_a_metric_is_that_of_its_units_and_changes_by_congruence(situation, data):
    iota, kappa, g = situation
    G, G_kappa = iota[g], kappa[g]
    u, v = data.draw(testing.vectors(iota)), data.draw(testing.vectors(iota))
    assert close(g(u, v), long(iota[u]) @ G @ long(iota[v]), 1e-11)
    assert close(long(iota[g.flat(v)]), G @ long(iota[v]), 1e-11)
    B = change(iota, kappa)
    assert close(B.mT @ G_kappa @ B, G, 1e-11)
    assert close(iota[from_matrix(iota, (G + G.mT) / 2)], G, 1e-11)
    assert close(kappa[from_matrix(iota, (G + G.mT) / 2)], G_kappa, 1e-10)


@given(situations(), st.data())
def test_every_class_of_metric_does_what_its_matrix_does(situation, data):
    """Kronecker, additive, euclidean metrics and sums, against the dense metric with the same matrix."""
    iota, kappa, g = situation
    G = iota[g]
    dense = from_matrix(iota, (G + G.mT) / 2)
    phi, v = data.draw(testing.covectors(iota, (2,))), data.draw(testing.vectors(iota, (2,)))
    assert close(kappa[g.flat(v)], kappa[dense.flat(v)], 1e-10)
    back = g.sharp(phi)
    assert close(kappa[dense.flat(back)], kappa[phi], 1e-8)
    for c in (0.25, 3):
        assert close(iota[c * g], c * G)
        assert close(iota[g * c], c * G)
        assert close(iota[g / c], G / c)
        assert close(kappa[(c * g).sharp(phi)], kappa[back / c], 1e-8)


@given(st.data())
def test_sums_of_metrics_add_their_matrices(data):
    space = data.draw(testing.spaces(3))
    iota = data.draw(testing.bases(space))
    g, d = data.draw(metrics(iota)), data.draw(metrics(data.draw(testing.bases(space))))
    assert close(iota[g + 0.3 * d], iota[g] + 0.3 * iota[d])
    assert close(iota[d + g], iota[g] + iota[d])
    phi = data.draw(testing.covectors(iota))
    s = (g + 0.3 * d).sharp(phi)
    assert close(iota[g.flat(s) + 0.3 * d.flat(s)], iota[phi], 1e-8)


@given(st.data())
def test_the_euclidean_metric_has_the_identity_matrix_in_its_basis_and_in_no_other(data):
    space = AffineSpace(data.draw(st.integers(1, 4)), "A")
    iota, kappa = data.draw(testing.bases(space)), data.draw(testing.bases(space))
    g = euclidean(iota)
    assert close(iota[g], torch.eye(space.dimension, dtype=torch.float64))
    B, _ = kappa.to(iota)  # type: ignore[attr-defined]
    assert close(kappa[g], B.mT @ B)
    v = data.draw(testing.vectors(iota))
    assert close(g.norm(v), iota[v].norm())


@given(st.integers(1, 3), st.data())
def test_equation_3_7_an_additive_metric_is_block_diagonal_in_every_induced_basis(count, data):
    basis = ProductBasis(
        [
            data.draw(testing.bases(data.draw(testing.spaces(2).filter(lambda s: s.__class__.__name__ != "Product"))))
            for _ in range(count)
        ]
    )
    parts = [data.draw(metrics(factor)) for factor in basis.factors]
    g = additive(*parts)
    assert close(basis[g], torch.block_diag(*(factor[part] for factor, part in zip(basis.factors, parts, strict=True))))
    u, v = data.draw(testing.vectors(basis)), data.draw(testing.vectors(basis))
    assert close(g(u, v), sum(part(x, y) for part, x, y in zip(parts, u.parts, v.parts, strict=True)), 1e-11)
    phi = data.draw(testing.covectors(basis))
    for factor, part, sharp, x in zip(basis.factors, parts, g.sharp(phi).parts, phi.parts, strict=True):
        assert close(factor[part.flat(sharp)], factor[x], 1e-8)


# Kronecker (case T3) ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m"), [(3, 2), (2, 3), (1, 4), (4, 1)])
def test_case_t3_kronecker_is_a_times_g_with_vec_stacking_columns(n: int, m: int):
    """The matrix is kron(A, G), A of a-bar; asymmetric weights, layers that are not square."""
    a, z = AffineBasis(AffineSpace(n, "A")), AffineBasis(AffineSpace(m, "Z"))
    maps = MapsBasis(a, z)
    x, G, D = normal(8, n), spd(m, 1), normal(m, n + 1, seed=2)
    abar = coordinates.mlp.bar(x)
    A = abar.mT @ abar / 8
    g = kronecker(second_moment(a.point(x)), from_matrix(z, G))
    assert close(maps[g], torch.kron(A, G))
    dense = torch.linalg.solve(torch.kron(A, G), vec(D))
    assert close(vec(maps[g.sharp(maps.covector(D))]), dense, 1e-11)
    assert close(maps[g.flat(maps.vector(D))], G @ D @ A)
    (W,) = coordinates.updates.kfac([torch.zeros(m, n + 1).double()], [D], [(A, G)], lr=-1.0)
    assert close(vec(W), dense, 1e-11)


def test_case_t3_one_datum_fixes_the_order_of_the_factors():
    """(u (x) v)(w) for rank-one factors: g(w, w) = (v^T w abar)^2, in any basis."""
    a, z = AffineBasis(AffineSpace(3, "A")), AffineBasis(AffineSpace(2, "Z"))
    maps = MapsBasis(a, z)
    x, v, w = normal(1, 3), normal(2, seed=1), normal(2, 4, seed=2)
    g = kronecker(second_moment(a.point(x)), from_matrix(z, torch.outer(v, v)))
    expected_square = (v @ w @ coordinates.mlp.bar(x)[0]) ** 2
    assert close(g(maps.vector(w), maps.vector(w)), expected_square)


@given(st.data())
def test_equation_3_6_the_independence_metric_of_one_datum_is_the_pullback_along_evaluation(data):
    """Lemma 3.5: for one point alpha, a (x) a (x) g is ev_alpha^* g, ev_alpha(omega) = omega(alpha)."""
    a, z = AffineSpace(data.draw(st.integers(1, 3)), "A"), AffineSpace(data.draw(st.integers(1, 3)), "Z")
    source = data.draw(st.sampled_from([a, power(a, 2)]))
    base, target = data.draw(testing.bases(source)), data.draw(testing.bases(z))
    maps = MapsBasis(base, target)  # type: ignore[arg-type]
    alphas, omega = data.draw(testing.points(base, (1,))), data.draw(testing.points(maps))
    g = data.draw(metrics(target))
    pulled = maps[pullback(lambda w: w(alphas.at(0)), omega, g)]
    numbers = base[alphas]
    a_bar = torch.cat([*(numbers if isinstance(numbers, tuple) else [numbers]), torch.ones(1, 1).double()], 1)[0]
    assert close(pulled, torch.kron(torch.outer(a_bar, a_bar), target[g]), 1e-11)
    assert close(maps[kronecker(second_moment(alphas), g)], pulled, 1e-11)


@given(st.data())
def test_equation_2_8_a_second_moment_changes_as_homogeneous_coordinates_do(data):
    space = AffineSpace(data.draw(st.integers(1, 4)), "A")
    iota, kappa = data.draw(testing.bases(space)), data.draw(testing.bases(space))
    points = data.draw(testing.points(iota, (2, 3)))  # all leading dimensions are data
    A = second_moment(points)
    for basis in (iota, kappa):
        abar = coordinates.mlp.bar(basis[points]).flatten(0, 1)
        assert close(basis[A], abar.mT @ abar / 6)  # type: ignore[index]


def test_what_a_kronecker_metric_is_made_of():
    a, z = AffineBasis(AffineSpace(2, "A")), AffineBasis(AffineSpace(2, "Z"))
    A = second_moment(a.point(normal(8, 2)))
    with pytest.raises(KindError, match=r"second_moment\(points\) and from_matrix\(basis, G\)"):
        kronecker(torch.eye(3), euclidean(z))  # type: ignore[arg-type]
    with pytest.raises(KindError, match="it takes a second moment and a metric"):
        kronecker(euclidean(a), euclidean(z))  # type: ignore[arg-type]
    with pytest.raises(SpaceError, match=r"expected\(g\)"):
        kronecker(A, from_matrix(z, torch.eye(2, dtype=torch.float64).expand(3, 2, 2)))
    with pytest.raises(SpaceError, match="not one metric on an affine space"):
        kronecker(A, euclidean(MapsBasis(a, z)))
    with pytest.raises(KindError, match="a batch of points"):
        second_moment(a.point([1.0, 2.0]))
    with pytest.raises(KindError, match="a batch of points"):
        second_moment(a.vector([[1.0, 2.0]]))  # type: ignore[arg-type]
    with pytest.raises(SpaceError, match="of an affine space of activations"):
        second_moment(MapsBasis(a, z).point(normal(4, 2, 3)))
    with pytest.raises(SpaceError, match=r"Z cannot read a second moment of A"):
        z[A]


# Batches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_batch_of_metrics_works_datum_by_datum(n: int, count: int):
    """n = count = 1 included, where torch.linalg.solve takes the right-hand side for a batch of vectors."""
    basis = AffineBasis(AffineSpace(n, "A"))
    G = torch.stack([spd(n, seed) for seed in range(count)])
    g = from_matrix(basis, G)
    assert g.batch == (count,)
    for batch in ((), (count,)):
        v = basis.vector(normal(*batch, n))
        phi = basis.covector(normal(*batch, n, seed=1))
        assert g.flat(v).batch == g.sharp(phi).batch == g(v, v).shape == g.norm(v).shape == (count,)
        for i in range(count):
            one = from_matrix(basis, G[i])
            assert close(basis[g.flat(v).at(i)], basis[one.flat(v.at(i) if batch else v)])
            assert close(basis[g.sharp(phi).at(i)], basis[one.sharp(phi.at(i) if batch else phi)], 1e-10)
    assert close(basis[g], G)
    assert close(basis[expected(g)], G.mean(0))
    assert close(basis[g + euclidean(basis)], G + torch.eye(n, dtype=torch.float64))


def test_batches_of_metrics_that_do_not_fit():
    basis = AffineBasis(AffineSpace(2, "A"))
    g = from_matrix(basis, torch.eye(2, dtype=torch.float64).expand(3, 2, 2))
    d = from_matrix(basis, torch.eye(2, dtype=torch.float64).expand(4, 2, 2))
    x = basis.vector(torch.zeros(4, 2).double())
    for f in (lambda: g.flat(x), lambda: g(x, x), lambda: g.sharp(d.flat(x)), lambda: g + d):
        with pytest.raises(SpaceError, match=r"\(3,\) and \(4,\) do not go together"):
            f()
    with pytest.raises(SpaceError, match="not batches or products"):
        additive(g)


# Pullbacks -------------------------------------------------------------------------------------------------------


def curved(source: AffineBasis, target: AffineBasis, seed: int):
    """A smooth map between affine spaces of any dimensions."""
    M = normal(target.space.dimension, source.space.dimension, seed=seed)
    return lambda p: target.point(torch.sin(source[p] @ M.mT) + source[p].sum(-1, keepdim=True) ** 2 / 5)


@st.composite
def maps(draw: st.DrawFn):
    """Three affine spaces with bases, and maps A -> B -> C between them."""
    a, b, c = (draw(testing.bases(AffineSpace(draw(st.integers(1, 3)), name))) for name in "ABC")
    seed = draw(st.integers(0, 10**6))
    return a, b, c, curved(a, b, seed), curved(b, c, seed + 1)  # type: ignore[arg-type]


@given(maps(), st.data())
def test_pullbacks_compose_the_other_way_round(three, data):
    """(psi phi)^* = phi^* psi^*, for metrics and for covectors."""
    a, _, c, phi, psi = three
    p = data.draw(testing.points(a))
    g, dh = data.draw(metrics(c)), data.draw(testing.covectors(c))
    whole, steps = pullback(lambda q: psi(phi(q)), p, g), pullback(phi, p, pullback(psi, phi(p), g))
    assert close(a[whole], a[steps], 1e-11)
    assert close(a[pullback(lambda q: psi(phi(q)), p, dh)], a[pullback(phi, p, pullback(psi, phi(p), dh))], 1e-11)


@given(maps(), st.data())
def test_a_pullback_is_the_metric_of_pushed_vectors(three, data):
    """(phi^* g)(u, v) = g(phi_* u, phi_* v) and (phi^* dh)(v) = dh(phi_* v)."""
    a, b, _, phi, _ = three
    p, u, v = data.draw(testing.points(a)), data.draw(testing.vectors(a)), data.draw(testing.vectors(a))
    g, dh = data.draw(metrics(b)), data.draw(testing.covectors(b))
    assert close(pullback(phi, p, g)(u, v), g(pushforward(phi, p, u), pushforward(phi, p, v)), 1e-11)
    assert close(pullback(phi, p, dh)(v), dh(pushforward(phi, p, v)), 1e-11)


@given(maps(), st.data())
def test_the_chain_rule_is_a_pullback(three, data):
    a, b, _, phi, _ = three
    p = data.draw(testing.points(a))

    def f(q: Point) -> Tensor:
        return torch.cos(b[q]).sum()

    assert close(a[differential(lambda q: f(phi(q)), p)], a[pullback(phi, p, differential(f, phi(p)))], 1e-11)


@given(maps(), st.data())
def test_pullbacks_of_batches_are_those_of_each_datum(three, data):
    """Batches of points, of what is pulled back, and of both. (A batch of as many covectors as the space has
    dimensions was once taken for one covector.)"""
    a, b, _, phi, _ = three
    n = a.space.dimension
    ps, p = data.draw(testing.points(a, (n,))), data.draw(testing.points(a))
    dhs, dh = data.draw(testing.covectors(b, (n,))), data.draw(testing.covectors(b))
    G = torch.stack([spd(b.space.dimension, seed) for seed in range(n)])
    gs, g = from_matrix(b, G), from_matrix(b, spd(b.space.dimension, 9))
    for points in (ps, p):
        for many, single in ((dhs, dh), (gs, g)):
            for x in (many, single):
                result = pullback(phi, points, x)
                if points is p and x is single:
                    assert result.batch == ()
                    continue
                assert result.batch == (n,)
                for i in range(n):
                    x_i = x if x is single else from_matrix(b, G[i]) if x is gs else dhs.at(i)
                    one = pullback(phi, points.at(i) if points.batch else points, x_i)
                    got = a[result][i] if isinstance(x, Metric) else a[result.at(i)]
                    assert close(got, a[one], 1e-11)


def test_pullback_refuses_in_words():
    a, b = AffineBasis(AffineSpace(2, "A")), AffineBasis(AffineSpace(2, "B"))
    p = a.point([1.0, 2.0])
    with pytest.raises(KindError, match="vectors are pushed forward"):
        pullback(lambda q: q, p, a.vector([1.0, 2.0]))
    with pytest.raises(KindError, match="p is the point to pull back to, not a Vector"):
        pullback(lambda q: q, a.vector([1.0, 2.0]), euclidean(a))  # type: ignore[arg-type]
    with pytest.raises(SpaceError, match="phi leads to A, and what is pulled back lives on B"):
        pullback(lambda q: q, p, euclidean(b))


@given(st.data())
def test_a_hessian_is_a_metric_that_names_no_basis(data):
    """d^2 F(u, u), by second differences; F = the log of a sum of exponentials, which is convex."""
    space = AffineSpace(data.draw(st.integers(1, 3)), "Y")
    iota, kappa = data.draw(testing.bases(space)), data.draw(testing.bases(space))

    def F(y: Point) -> Tensor:
        return torch.logsumexp(iota[y], -1) + (iota[y] ** 2).sum(-1)

    ys, u = data.draw(testing.points(kappa, (3,))), data.draw(testing.vectors(kappa))
    g = hessian(F)(ys)
    t = 1e-4
    for i in range(3):
        y = ys.at(i)
        second = (F(y + t * u) - 2 * F(y) + F(y - t * u)) / t**2
        assert close(g(u, u)[i], second, 1e-5)
        assert close(kappa[hessian(F)(y)], kappa[g][i])


def test_only_convex_functions_have_a_metric():
    basis = AffineBasis(AffineSpace(2, "Y"))
    y = basis.point([1.0, 2.0])
    with pytest.raises(SpaceError, match="F is not convex"):
        hessian(lambda q: basis[q].prod(-1))(y)
    with pytest.raises(KindError, match="it returned a Tensor of shape"):
        hessian(lambda q: basis[q])(y)


@pytest.mark.parametrize(
    ("G", "error", "text"),
    [
        ([[1.0, 0.5], [0.0, 1.0]], SpaceError, "is symmetric"),
        ([[1.0, 2.0], [2.0, 1.0]], SpaceError, "negative eigenvalue"),
        ([[1.0, 2.0, 3.0]], SpaceError, "got shape"),
    ],
)
def test_what_is_no_matrix_of_a_metric(G, error, text):
    with pytest.raises(error, match=text):
        from_matrix(AffineBasis(AffineSpace(2, "A")), G)
    with pytest.raises(KindError, match="it takes the basis in which"):
        from_matrix(Parameterization.from_widths(2, 1), G)  # type: ignore[arg-type]


# Degenerate metrics ----------------------------------------------------------------------------------------------


def assert_degenerate(g: Metric, phi, basis: Basis, text: str) -> None:
    """sharp raises, the text gives this cause, and the null direction is one: not zero, and of length zero."""
    with pytest.raises(DegenerateMetricError) as info:
        g.sharp(phi)
    said = " ".join(str(info.value).split())
    assert "is degenerate: a direction has length zero" in said
    assert text in said
    null = info.value.null_direction
    unit = null / euclidean(basis).norm(null)  # type: ignore[operator]
    largest = torch.linalg.eigvalsh(basis[g])[-1]
    assert g(unit, unit) <= 1e-12 * largest
    assert long(basis[g.flat(unit)]).norm() <= 1e-7 * largest


@given(st.data())
def test_a_degenerate_metric_shows_a_direction_of_length_zero(data):
    space = AffineSpace(data.draw(st.integers(2, 5)), "A")
    basis = data.draw(testing.bases(space))
    rank = data.draw(st.integers(0, space.dimension - 1))
    R = normal(space.dimension, rank, seed=data.draw(st.integers(0, 1000)))
    assert_degenerate(
        from_matrix(basis, R @ R.mT), data.draw(testing.covectors(basis)), basis, "Too few data, or a map"
    )


def test_a_change_of_frame_keeps_the_rank_of_a_matrix():
    """In one of a hundred bases of condition 10 the rounding of a congruence makes a singular matrix of size 2 one of
    condition 1e13, whose sharp is noise."""
    space = AffineSpace(2, "A")
    start = AffineBasis(space)
    for seed in range(400):
        basis = start.changed(*testing.change(2, 10.0, generator(seed)))
        r = normal(2, 1, seed=seed + 1)
        with pytest.raises(DegenerateMetricError, match=r"is\s+degenerate"):
            from_matrix(basis, r @ r.mT).sharp(basis.covector([1.0, 2.0]))


def problem(n: int = 12, likelihood: type = Categorical, seed: int = 0, widths=(2, 3, 2)) -> tuple[Objective, Point]:
    home = Parameterization.from_widths(*widths)
    net = MLP(home, tanh)
    model = likelihood(home.outputs)
    omega = home.weights.point([normal(b, a + 1, seed=seed + b) for a, b in itertools.pairwise(widths)])
    inputs = home.inputs.point(normal(n, widths[0], seed=seed))
    return Objective(net, model, inputs, model.sample(net(omega, inputs), generator(seed))), omega


def test_full_softmax_says_use_categorical():
    h, omega = problem(likelihood=Softmax)
    g = kfac(h, omega)
    text = "adding one number to all of them changes no probability: use Categorical"
    assert_degenerate(g.parts[1], h.d(omega).parts[1], h.net.home.weights.factors[1], text)  # type: ignore[attr-defined]
    with pytest.raises(DegenerateMetricError, match="Categorical"):
        g.sharp(h.d(omega))
    y = h.net(omega, h.inputs).at(0)
    metric, outputs = h.likelihood.metric(y), h.net.home.outputs
    assert_degenerate(metric, outputs.covector([1.0, 0.0]), outputs, text)
    with pytest.raises(DegenerateMetricError) as info:
        metric.sharp(outputs.covector([1.0, 0.0]))
    null = outputs[info.value.null_direction]  # all logits up by one number
    assert close(null / null[0], torch.ones(2).double(), 1e-6)


def test_too_few_data_are_counted():
    h, omega = problem()
    few = h.batch([0, 1])
    g = kfac(few, omega)
    basis = h.net.home.weights.factors[0]
    assert_degenerate(
        g.parts[0],  # type: ignore[attr-defined]
        h.d(omega).parts[0],
        basis,
        "Layer 1: The second moment of the activations of A0 is singular. Too few data: there are 2 data, and 3 in "
        "general position are needed.",
    )
    assert_degenerate(fisher(few, omega), h.d(omega), h.net.home.weights, "Too few data")


def test_inputs_in_a_hyperplane_are_named():
    h, omega = problem()
    x = h.net.home.inputs[h.inputs]
    flat = h.net.home.inputs.point(torch.stack([x[:, 0], 2 * x[:, 0] + 1], 1))
    g = kronecker(second_moment(flat), euclidean(h.net.home.preactivations[0]))
    basis = h.net.home.weights.factors[0]
    assert_degenerate(g, h.d(omega).parts[0], basis, "The second moment of the activations of A0 is singular")


def test_a_dead_unit_is_found():
    """A unit whose outgoing weights are zero: its pre-activation changes nothing."""
    h, omega = problem()
    home = h.net.home
    W1, W2 = home.weights[omega]
    W2 = W2.clone()
    W2[:, 1] = 0
    dead = home.weights.point([W1, W2])
    g = independence(h, dead, 1)
    text = (
        "Layer 1: The expected metric on Z1 is singular. Unit 1 is dead, counted from 0: no slope, or no weight onward"
    )
    assert_degenerate(g, h.d(dead).parts[0], home.weights.factors[0], text)
    with pytest.raises(DegenerateMetricError) as info:
        g.sharp(h.d(dead).parts[0])
    null = home.weights.factors[0][info.value.null_direction]
    assert close(null[[0, 2]] / null.abs().max(), torch.zeros(2, 3).double(), 1e-6)  # only the dead unit's row


def test_zero_times_a_metric_is_degenerate():
    basis = MapsBasis(AffineBasis(AffineSpace(1, "A")), AffineBasis(AffineSpace(2, "Z")))
    phi = basis.covector(normal(2, 2))
    for g in (0 * euclidean(basis), 0 * from_matrix(basis, spd(4, 0)), 0 * euclidean(basis) + 0 * euclidean(basis)):
        with pytest.raises(DegenerateMetricError, match=r"is\s+degenerate"):
            g.sharp(phi)


def test_a_metric_of_nan_says_so():
    basis = AffineBasis(AffineSpace(2, "A"))
    g = float("inf") * euclidean(basis) + from_matrix(basis, spd(2, 0))
    with pytest.raises(DegenerateMetricError, match="NaN or infinity"):
        g.sharp(basis.covector([1.0, 2.0]))


@pytest.mark.parametrize("seed", range(5))
def test_no_alarm_at_condition_1e8_of_a_factor(seed: int):
    """The digits' twins at condition 1000 have such factors: eigenvalues from 1e-8 to 1 are a metric."""
    n = 5
    Q = torch.linalg.qr(normal(n, n, seed=seed)).Q
    basis, z = AffineBasis(AffineSpace(n, "A")), AffineBasis(AffineSpace(n, "Z"))
    G = Q @ torch.logspace(-8, 0, n, dtype=torch.float64).diag() @ Q.mT
    G = (G + G.mT) / 2
    g = from_matrix(z, G)
    phi = z.covector(normal(n, seed=seed + 1))
    assert close(z[g.flat(g.sharp(phi))], z[phi], 1e-6)
    x = normal(50, n, seed=seed) @ (Q @ torch.logspace(-4, 0, n, dtype=torch.float64).diag())
    maps = MapsBasis(basis, z)
    kron = kronecker(second_moment(basis.point(x)), g)
    assert torch.linalg.cond(basis[second_moment(basis.point(x))]) > 1e7  # type: ignore[index]
    kron.sharp(maps.covector(normal(n, n + 1)))


@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_no_alarm_for_a_coordinate_in_tiny_or_huge_units(unit: float):
    """Metres for picometres: in the identity frame a relative eigenvalue of 1e-24, and nothing is degenerate."""
    start = AffineBasis(AffineSpace(2, "A"))
    if not torch.equal(start._B, torch.eye(2, dtype=torch.float64)):
        return  # in a random frame the coordinate is mixed with the other, and 1e-24 is below rounding
    g = from_matrix(start, [[1.0, 0.5 * unit], [0.5 * unit, unit**2]])
    v = start.vector([1.0, 1.0 / unit])
    assert close(
        start[g.sharp(g.flat(v))] * torch.tensor([1.0, unit], dtype=torch.float64), torch.ones(2).double(), 1e-10
    )


def test_a_sum_with_a_definite_metric_has_a_sharp():
    """Damping mends what is degenerate, whichever of the two is."""
    h, omega = problem()
    few, home = h.batch([0, 1]), h.net.home
    g = kfac(few, omega)
    damping = 1e-3 * euclidean(home.weights)
    for total in (g + damping, damping + g):
        v = total.sharp(h.d(omega))
        for D, expected_D in zip(home.weights[g.flat(v) + damping.flat(v)], home.weights[h.d(omega)], strict=True):
            assert close(D, expected_D, 1e-9)


def test_two_degenerate_metrics_may_have_a_sharp_together():
    """A and A' singular in different directions: the sum is solved densely."""
    a, z = AffineBasis(AffineSpace(1, "A")), AffineBasis(AffineSpace(1, "Z"))
    maps = MapsBasis(a, z)
    one, two = (kronecker(second_moment(a.point([[x]])), euclidean(z)) for x in (1.0, -1.0))
    phi = maps.covector([[1.0, 3.0]])
    for g in (one, two):
        with pytest.raises(DegenerateMetricError, match=r"is\s+degenerate"):
            g.sharp(phi)
    assert close(maps[(one + two).flat((one + two).sharp(phi))], maps[phi])
    with pytest.raises(DegenerateMetricError, match=r"is\s+degenerate"):
        (one + one).sharp(phi)


def test_metrics_print_kind_and_space():
    a, z = AffineBasis(AffineSpace(2, "A")), AffineBasis(AffineSpace(2, "Z"))
    maps = MapsBasis(a, z)
    assert repr(euclidean(a)) == "<euclidean metric on A, dimension 2>"
    kron = kronecker(second_moment(a.point(normal(5, 2))), euclidean(z))
    assert repr(kron) == "<kronecker metric on Aff(A, Z), dimension 6>"
    assert repr(second_moment(a.point(normal(5, 2)))) == "<second moment of 5 points of A>"
    assert "Aff(A, Z)" in repr(euclidean(maps) + kron)
    assert repr(from_matrix(a, torch.eye(2, dtype=torch.float64).expand(3, 2, 2))).endswith("dimension 2, 3 of them>")
