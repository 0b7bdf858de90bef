"""Vector spaces, affine algebra, derivatives and metrics: the claims of section 2.2, for all bases (paper: 2.2)."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kfac_lite import (
    AffineBasis,
    AffineSpace,
    KindError,
    ProductBasis,
    affine_combination,
    differential,
    euclidean,
    expected,
    from_matrix,
    power,
    pullback,
    pushforward,
)

from .test_appendix_a import SEEDS, close, normal, two_bases


def homogeneous(B: Tensor, c: Tensor) -> Tensor:
    last = torch.zeros(1, len(c) + 1, dtype=torch.float64)
    last[0, -1] = 1
    return torch.cat([torch.column_stack([B, c]), last])


def bar(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones(1, dtype=torch.float64)])


# 2.2.1, 2.2.2


@given(st.integers(1, 5), SEEDS)
def test_section_2_2_1_covectors_change_by_the_inverse_transpose_and_the_pairing_stands_still(n: int, seed: int):
    draw = torch.Generator().manual_seed(seed)
    iota, kappa = two_bases(n, draw)
    v, phi = iota.vector(normal(draw, n)), iota.covector(normal(draw, n))
    B, _ = iota.to(kappa)
    assert close(kappa[v], B @ iota[v])
    assert close(kappa[phi], torch.linalg.inv(B).mT @ iota[phi])
    assert close(kappa[phi] @ kappa[v], phi(v))


@given(st.integers(2, 5), SEEDS)
def test_section_2_2_2_the_double_dual_is_free_and_the_dual_costs_a_choice(n: int, seed: int):
    draw = torch.Generator().manual_seed(seed)
    iota, kappa = two_bases(n, draw)
    v = iota.vector(normal(draw, n))
    for basis in (iota, kappa):  # ev_v, read off on the dual basis, is v
        on_dual = torch.stack([basis.dual_units.at(i)(v) for i in range(n)])
        assert close(iota[basis.vector(on_dual)], iota[v])
    by_numbers = [iota[basis.covector(basis[v])] for basis in (iota, kappa)]
    assert not close(by_numbers[0], by_numbers[1], 1e-6)
    Q, _ = torch.linalg.qr(normal(draw, n, n))
    turned = iota.changed(Q)
    assert close(iota[turned.covector(turned[v])], by_numbers[0])  # B^T B = 1 hides it
    B, _ = iota.to(kappa)
    assert close(by_numbers[1], B.mT @ B @ iota[v])


@given(st.integers(1, 4), SEEDS)
def test_section_2_2_2_a_metric_pays_for_the_dual(n: int, seed: int):
    draw = torch.Generator().manual_seed(seed)
    iota, kappa = two_bases(n, draw)
    M = normal(draw, n, n)
    g = from_matrix(iota, M @ M.mT + torch.eye(n, dtype=torch.float64))
    v = iota.vector(normal(draw, n))
    for basis in (iota, kappa):
        assert close(basis[g.flat(v)], basis[g] @ basis[v])


# 2.2.3


@given(st.integers(1, 4), st.integers(2, 5), SEEDS)
def test_section_2_2_3_weights_that_sum_to_one_need_no_origin_and_others_do(n: int, count: int, seed: int):
    draw = torch.Generator().manual_seed(seed)
    iota, kappa = two_bases(n, draw)
    points = iota.point(normal(draw, count, n))
    w = normal(draw, count)
    w = w + (1 - w.sum()) / count
    o, o2 = iota.point(normal(draw, n)), iota.point(normal(draw, n))

    def combined(w: Tensor, o):
        total = w[0] * (points.at(0) - o)
        for i in range(1, count):
            total = total + w[i] * (points.at(i) - o)
        return o + total

    assert close(iota[combined(w, o)], iota[combined(w, o2)])
    assert close(iota[combined(w, o)], iota[affine_combination(w, points)])
    assert close(kappa[affine_combination(w, points)], w @ kappa[points])
    s = 0.5 * w  # sum 1/2: the result moves by half of what the origin moves
    assert close(iota[combined(s, o2) - combined(s, o)], 0.5 * iota[o2 - o])
    with pytest.raises(KindError, match="sum to"):
        affine_combination(s, points)


@given(st.integers(1, 3), st.integers(1, 4), SEEDS)
def test_equation_2_12_one_homogeneous_1_for_each_place(n: int, places: int, seed: int):
    draw = torch.Generator().manual_seed(seed)
    iota, kappa = two_bases(n, draw)
    matrix = torch.kron(torch.eye(places, dtype=torch.float64), homogeneous(*iota.to(kappa)))
    here, there = ProductBasis([iota] * places), ProductBasis([kappa] * places)
    assert here.space == power(iota.space, places)
    patch = here.point([normal(draw, n) for _ in range(places)])
    before, after = (torch.cat([bar(x) for x in basis[patch]]) for basis in (here, there))
    assert close(matrix @ before, after)


@given(st.integers(1, 3), st.integers(2, 4), SEEDS)
def test_equation_2_12_does_not_fit_a_patch_with_a_single_1(n: int, places: int, seed: int):
    """The erratum of eq. 4.4: its matrix has other columns, and (I (x) B, 1 (x) c) is the one that fits."""
    draw = torch.Generator().manual_seed(seed)
    iota, kappa = two_bases(n, draw)
    B, c = iota.to(kappa)
    eye, ones = torch.eye(places, dtype=torch.float64), torch.ones(places, dtype=torch.float64)
    single = homogeneous(torch.kron(eye, B), torch.kron(ones, c))
    here, there = ProductBasis([iota] * places), ProductBasis([kappa] * places)
    patch = here.point([normal(draw, n) for _ in range(places)])
    before, after = (bar(torch.cat(basis[patch])) for basis in (here, there))
    assert close(single @ before, after)
    assert len(before) == places * n + 1 != torch.kron(eye, homogeneous(B, c)).shape[1]


# 2.2.4


def curved(source: AffineBasis, target: AffineBasis, draw: torch.Generator):
    """A smooth map that is not affine."""
    n, m = source.space.dimension, target.space.dimension
    M, N = normal(draw, m, n), normal(draw, m, n)
    return lambda p: target.point(torch.sin(source[p]) @ M.mT + (source[p] ** 2) @ N.mT)


@given(st.integers(1, 4), st.integers(1, 4), SEEDS)
def test_section_2_2_4_differential_pushforward_and_pullback_are_the_jacobian_in_every_basis(n: int, m: int, seed: int):
    draw = torch.Generator().manual_seed(seed)
    (a, a2), (z, z2) = two_bases(n, draw), two_bases(m, draw, "Z")
    phi, p = curved(a, z, draw), a.point(normal(draw, n))
    v, u = a.vector(normal(draw, n)), z.covector(normal(draw, m))
    h = lambda q: torch.cos(z[q]).sum()
    for A, Z in ((a, z), (a2, z2)):
        J = torch.func.jacfwd(lambda x: Z[phi(A.point(x))])(A[p])  # noqa: B023
        assert close(Z[pushforward(phi, p, v)], J @ A[v])
        assert close(A[pullback(phi, p, u)], J.mT @ Z[u])
    assert close(pullback(phi, p, u)(v), u(pushforward(phi, p, v)))
    chain = pullback(phi, p, differential(h, phi(p)))
    assert close(a2[chain], a2[differential(lambda q: h(phi(q)), p)])
    t = 1e-5
    assert close(z[(phi(p + t * v) - phi(p - t * v)) / (2 * t)], z[pushforward(phi, p, v)], 1e-7)


def test_section_2_2_4_a_fold_has_no_pushed_forward_field():
    a, z = AffineBasis(AffineSpace(2)), AffineBasis(AffineSpace(2, "Z"))
    fold = lambda p: z.point(torch.stack([a[p][0] ** 2, a[p][1]]))
    v = a.vector([1.0, 0.0])
    left, right = a.point([-1.0, 0.0]), a.point([1.0, 0.0])
    assert close(z[fold(left)], z[fold(right)])
    assert close(z[pushforward(fold, left, v)], -z[pushforward(fold, right, v)])


# 2.2.5


@given(st.integers(1, 4), st.integers(1, 5), SEEDS)
def test_section_2_2_5_the_pulled_back_metric_loses_exactly_what_the_map_loses(n: int, m: int, seed: int):
    draw = torch.Generator().manual_seed(seed)
    (a, a2), (z, _) = two_bases(n, draw), two_bases(m, draw, "Z")
    rank = 1 + seed % min(n, m)
    M = normal(draw, m, rank) @ normal(draw, rank, n)
    phi = lambda p: z.point(a[p] @ M.mT)
    S = normal(draw, m, m)
    g = from_matrix(z, S @ S.mT + torch.eye(m, dtype=torch.float64))
    back = pullback(phi, a.point(normal(draw, n)), g)
    for basis in (a, a2):
        assert torch.linalg.matrix_rank(basis[back], rtol=1e-10) == rank
        assert torch.linalg.eigvalsh(basis[back]).min() > -1e-10 * basis[back].abs().max()
    assert close(a[back], M.mT @ z[g] @ M)
    v = a.vector(normal(draw, n))
    assert close(back.norm(v), g.norm(pushforward(phi, a.point(normal(draw, n)), v)), 1e-9)


@given(st.integers(2, 5), st.integers(1, 6), SEEDS)
def test_section_2_2_5_a_mean_of_metrics_is_null_only_where_all_are(n: int, count: int, seed: int):
    draw = torch.Generator().manual_seed(seed)
    iota, _ = two_bases(n, draw)
    rows = normal(draw, count, n)
    mean = expected(from_matrix(iota, rows[:, :, None] * rows[:, None]))
    assert torch.linalg.matrix_rank(iota[mean], rtol=1e-10) == min(n, count)
    null = torch.linalg.svd(rows)[2][count:]
    for v in null:
        assert mean.norm(iota.vector(v)) < 1e-7


@given(st.integers(1, 4), SEEDS)
def test_section_2_2_5_the_gradient_is_the_steepest_of_its_length(n: int, seed: int):
    draw = torch.Generator().manual_seed(seed)
    iota, kappa = two_bases(n, draw)
    df, g = iota.covector(normal(draw, n)), euclidean(kappa)
    up = g.sharp(df)
    best = df(up) / g.norm(up)
    for w in normal(draw, 20, n):
        v = iota.vector(w)
        assert df(v) / g.norm(v) <= best * (1 + 1e-9)
