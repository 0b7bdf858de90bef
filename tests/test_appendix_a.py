"""Tangent spaces, tensor products, and the two squares, for all spaces (paper: appendix A)."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kfac_lite import (
    MLP,
    AffineBasis,
    AffineMaps,
    AffineSpace,
    MapsBasis,
    Point,
    Vector,
    differential,
    pullback,
    pushforward,
    tanh,
    testing,
)

SEEDS = st.integers(0, 2**32 - 1)


def close(a: Tensor, b: Tensor, to: float = 1e-10) -> bool:
    return bool((a - b).abs().max() <= to * (1 + b.abs().max()))


def two_bases(n: int, draw: torch.Generator, name: str = "A") -> tuple[AffineBasis, AffineBasis]:
    start = AffineBasis(AffineSpace(n, name))
    return start, start.changed(*testing.change(n, 10.0, draw))


def normal(draw: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=draw, dtype=torch.float64)


def derivation(v: Vector, p: Point):
    """D_v at p, by Theorem A.1's formula: the derivative at t = 0 of f(p + t v)."""
    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    return lambda f: torch.func.jvp(lambda t: f(p + t * v), (zero,), (one,))[1]


@given(st.integers(1, 5), SEEDS)
def test_theorem_A_1_derivatives_along_vectors_are_all_derivations_and_tell_vectors_apart(n: int, seed: int):
    draw = torch.Generator().manual_seed(seed)
    iota, kappa = two_bases(n, draw)
    p, u, v = iota.point(normal(draw, n)), iota.vector(normal(draw, n)), iota.vector(normal(draw, n))
    f, g = (lambda p: torch.sin(iota[p]).sum()), (lambda p: (kappa[p] ** 2).sum())
    D = derivation(v, p)
    assert close(D(lambda p: f(p) * g(p)), D(f) * g(p) + f(p) * D(g))  # the product rule
    assert close(derivation(2 * u + v, p)(f), 2 * derivation(u, p)(f) + D(f))  # linear in v
    assert close(D(f), differential(f, p)(v))
    for basis in (iota, kappa):  # the coordinate functions read v off, whatever the basis: injective and onto
        read = torch.stack([D(lambda p, i=i: basis[p][i]) for i in range(n)])  # noqa: B023
        assert close(read, basis[v])


@given(st.integers(1, 4), SEEDS)
def test_theorem_A_1_a_bent_chart_gives_no_such_isomorphism(n: int, seed: int):
    """The control: numbers of one vector in a chart that is not affine differ from point to point."""
    draw = torch.Generator().manual_seed(seed)
    iota, paper = AffineBasis(AffineSpace(n)), AffineBasis(AffineSpace(n, "paper"))
    chart = lambda p: paper.point(torch.exp(iota[p]))
    v = iota.vector(1 + torch.rand(n, generator=draw, dtype=torch.float64))
    here, there = iota.point([0.0] * n), iota.point([1.0] * n)
    assert not close(paper[pushforward(chart, here, v)], paper[pushforward(chart, there, v)], 0.1)


@given(st.integers(1, 5), SEEDS)
def test_corollary_A_2_every_point_has_the_same_tangent_vectors_and_no_origin_is_chosen(n: int, seed: int):
    draw = torch.Generator().manual_seed(seed)
    iota, _ = two_bases(n, draw)
    a, b, o = (iota.point(normal(draw, n)) for _ in range(3))
    v = iota.vector(normal(draw, n))
    f = lambda p: torch.sin(iota[p]).sum()
    assert close(derivation(v, a)(f), derivation(v, o + (a - o))(f))  # by way of another point: the same
    moved = pushforward(lambda p: p + (b - a), a, v)  # carried from a to b by a translation
    assert close(iota[moved], iota[v])
    assert isinstance(moved, Vector)
    assert close(iota[(a + v) - a], iota[(b + v) - b])


@given(st.integers(1, 4), st.integers(1, 4), SEEDS)
def test_equation_A_1_a_covector_times_a_vector_is_a_linear_map_in_every_basis(n: int, m: int, seed: int):
    draw = torch.Generator().manual_seed(seed)
    (a, a2), (z, z2) = two_bases(n, draw), two_bases(m, draw, "Z")
    phi, v, u = a.covector(normal(draw, n)), z.vector(normal(draw, m)), a.vector(normal(draw, n))
    product = lambda A, Z: torch.outer(Z[v], A[phi])  # phi (x) v as a matrix
    for A, Z in ((a, z), (a2, z2), (a, z2)):
        assert close(product(A, Z) @ A[u], Z[phi(u) * v])  # it is the map u -> phi(u) v
    # As the linear part of an affine map it is one object, whichever basis made it.
    linear = [
        MapsBasis(A, Z).point(torch.cat([product(A, Z), torch.zeros(m, 1, dtype=torch.float64)], 1))(u)
        for A, Z in ((a, z), (a2, z2))
    ]
    assert close(z[linear[0]], z[linear[1]])
    # The products of the dual basis with a basis, read in the other bases, are n m independent maps: onto.
    units = torch.stack([torch.outer(Z, A) for A in a[a2.dual_units] for Z in z[z2.units]]).flatten(1)
    assert torch.linalg.matrix_rank(units) == n * m
    M = MapsBasis(a2, z2).vector(torch.cat([normal(draw, m, n), torch.zeros(m, 1, dtype=torch.float64)], 1))
    entries = MapsBasis(a2, z2)[M][:, :-1].mT.flatten()  # M is the sum of its entries times these products
    assert close((entries @ units).reshape(m, n), MapsBasis(a, z)[M][:, :-1])


@given(st.integers(1, 4), st.integers(1, 4), SEEDS)
def test_equation_A_1_a_covector_on_weights_is_a_point_times_a_covector(n: int, m: int, seed: int):
    """T*W = A-hat (x) T*Z: the pullback along evaluation at a is g (x) a-bar, read in any basis."""
    draw = torch.Generator().manual_seed(seed)
    (a, a2), (z, z2) = two_bases(n, draw), two_bases(m, draw, "Z")
    weights = MapsBasis(a, z)
    alpha, g = a.point(normal(draw, n)), z.covector(normal(draw, m))
    omega = weights.point(normal(draw, m, n + 1))
    D = pullback(lambda w: w(alpha), omega, g)
    for A, Z in ((a, z), (a2, z2)):
        bar = torch.cat([A[alpha], torch.ones(1, dtype=torch.float64)])
        assert close(MapsBasis(A, Z)[D], torch.outer(Z[g], bar))


@given(st.integers(1, 4), st.integers(1, 4), SEEDS)
def test_equation_A_2_products_of_covectors_are_the_functions_of_products(n: int, m: int, seed: int):
    draw = torch.Generator().manual_seed(seed)
    (a, a2), (z, z2) = two_bases(n, draw), two_bases(m, draw, "Z")
    phi, psi = a.covector(normal(draw, n)), z.covector(normal(draw, m))
    u, v, w = a.vector(normal(draw, n)), z.vector(normal(draw, m)), a.vector(normal(draw, n))
    for A, Z in ((a, z), (a2, z2)):
        function = torch.outer(A[phi], Z[psi])  # phi (x) psi, paired entry by entry with u (x) v
        pairing = lambda T, f=function: (f * T).sum()
        assert close(pairing(torch.outer(A[u], Z[v])), phi(u) * psi(v))
        both = torch.outer(A[u], Z[v]) + 3 * torch.outer(A[w], Z[v])
        assert close(pairing(both), phi(u) * psi(v) + 3 * phi(w) * psi(v))  # linear on sums of products
    # The n m products of dual basis vectors tell the n m products of basis vectors apart: an isomorphism.
    pairs = torch.einsum("ia,jb,ak,bl->ijkl", A._inverse, Z._inverse, A._B, Z._B).reshape(n * m, n * m)
    assert close(pairs, torch.eye(n * m, dtype=torch.float64), 1e-8)


@given(st.integers(1, 4), st.integers(1, 4), SEEDS)
def test_section_A_2_the_second_moment_with_a_in_t_star_w_times_tz_is_degenerate(n: int, m: int, seed: int):
    """With a-bar (x) id in place of a-bar the rank stays n + 1, of (n + 1) m^2: the argument would prove too much."""
    draw = torch.Generator().manual_seed(seed)
    bar = torch.cat([normal(draw, 20, n), torch.ones(20, 1, dtype=torch.float64)], 1)
    tensors = torch.einsum("dn,ij->dnij", bar, torch.eye(m, dtype=torch.float64)).flatten(1)
    assert torch.linalg.matrix_rank(bar.T @ bar / 20) == n + 1
    assert torch.linalg.matrix_rank(tensors.T @ tensors / 20) == n + 1
    assert tensors.shape[1] == (n + 1) * m**2


@given(st.integers(1, 4), SEEDS)
def test_equation_A_3_the_square_of_the_weights_commutes_and_not_with_the_printed_index(n: int, seed: int):
    """Down, along the bottom, up is the way along the top. All widths are n, so that a wrong index has the shape."""
    draw = torch.Generator().manual_seed(seed)
    (a, a2), (z, z2), (after, after2) = (two_bases(n, draw, name) for name in ("A0", "Z1", "A1"))
    maps, maps2 = MapsBasis(a, z), MapsBasis(a2, z2)
    assert maps.space == AffineMaps(a.space, z.space)
    omega = maps.point(normal(draw, n, n + 1))
    (Omega, gamma), (Phi, tau), (wrong, _) = a.to(a2), z2.to(z), after.to(after2)
    W, b = maps[omega][:, :-1], maps[omega][:, -1]
    W2, b2 = maps2[omega][:, :-1], maps2[omega][:, -1]
    x = normal(draw, n)
    around = lambda Omega: Phi @ (W2 @ (Omega @ x + gamma) + b2) + tau
    assert close(around(Omega), W @ x + b, 1e-8)
    assert close(Phi @ W2 @ Omega, W, 1e-8)
    assert close(Phi @ W2 @ gamma + Phi @ b2 + tau, b, 1e-8)
    assert not close(around(wrong), W @ x + b, 1e-8)


@given(st.integers(1, 4), SEEDS)
def test_equation_A_4_the_square_of_the_activation_function_commutes(n: int, seed: int):
    draw = torch.Generator().manual_seed(seed)
    net = MLP(draw_home(n), tanh)
    z, a = net.home.preactivations[0], net.home.activations[1]
    z2, a2 = (basis.changed(*testing.change(n, 10.0, draw)) for basis in (z, a))
    (Phi, tau), (Omega, gamma) = z2.to(z), a.to(a2)
    numbers = normal(draw, 8, n)  # at one point alone the two maps below may meet
    bottom = a2[net.activate(1, z2.point(numbers))]  # one map rho_1, read in kappa
    assert close(torch.tanh(numbers @ Phi.mT + tau) @ Omega.mT + gamma, bottom, 1e-8)
    unit_by_unit = torch.tanh(numbers)
    assert not close(unit_by_unit, bottom, 1e-3)


def draw_home(n: int):
    from kfac_lite import Parameterization

    return Parameterization.from_widths(1, n, 1)
