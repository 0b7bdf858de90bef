"""Spaces, their elements, differentials and push-forwards (paper: 2.2.1 to 2.2.4, A.1); and the frame behind them."""

import os
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kfac_lite import (
    MLP,
    AffineBasis,
    AffineMaps,
    AffineSpace,
    Covector,
    KindError,
    MapsBasis,
    Parameterization,
    Point,
    Product,
    ProductBasis,
    SpaceError,
    Vector,
    affine_combination,
    differential,
    power,
    pushforward,
    spaces,
    testing,
)

from .comparing import close

# The gauge fixture -----------------------------------------------------------------------------------------------


def test_the_random_frame_is_a_function_of_the_dimension_and_no_near_singular_one(gauge: str):
    for n in range(1, 9):
        (B, c), (again, shift) = spaces._frame(n), spaces._frame(n)
        assert torch.equal(B, again)
        assert torch.equal(c, shift)
        assert torch.linalg.cond(B) <= 10.001
        assert torch.equal(B, torch.eye(n, dtype=torch.float64)) is (gauge == "identity" or n == 0)


def test_a_planted_leak_is_right_in_one_frame_and_wrong_in_the_other(gauge: str):
    """Code that reads `_x` where it should read basis[x]: the fixture is what tells them apart."""
    home = AffineBasis(AffineSpace(3, "A"))
    numbers = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    for x in (home.point(numbers), home.vector(numbers), home.covector(numbers)):
        assert close(home[x], numbers)
        assert close(x._x, numbers) is (gauge == "identity")


class Leaky(MLP):
    """An activation function that acts number by number in the frame, where it should act in the bases of home."""

    def activate(self, i: int, zeta: Point) -> Point:
        return Point(self.home.activations[i].space, self.activations[i - 1].value(zeta._x))


def test_a_planted_leak_in_a_network_is_found(gauge: str):
    home = Parameterization.from_widths(2, 3, 3)
    generator = torch.Generator().manual_seed(1)
    omega = home.weights.point([torch.randn(3, n, generator=generator, dtype=torch.float64) for n in (3, 4)])
    xi = home.inputs.point(torch.randn(5, 2, generator=generator, dtype=torch.float64))
    right, wrong = (home.outputs[net(omega, xi)] for net in (MLP(home), Leaky(home)))
    assert close(right, wrong) is (gauge == "identity")


@given(testing.networks(depth=(1, 1)), st.data())
def test_a_leak_between_spaces_of_one_dimension_is_found_where_home_is_random(net: MLP, data):
    """The frame is a function of the dimension, so to copy `_x` from Z to Y is a leak that only random bases show."""
    omega, xi = data.draw(testing.points(net.home.weights)), data.draw(testing.points(net.home.inputs))
    right, wrong = (net.home.outputs[f(omega, xi)] for f in (net, Leaky(net.home)))
    assert not close(right, wrong, 1e-6)


# Spaces ----------------------------------------------------------------------------------------------------------


def test_a_space_is_the_same_only_as_itself():
    a, b = AffineSpace(2, "A"), AffineSpace(2, "A")
    assert a != b
    assert AffineMaps(a, b) == AffineMaps(a, b) != AffineMaps(b, a)
    assert Product((a, b)) == Product((a, b)) != Product((b, a))
    assert Product([a, b]) == Product((a, b))  # type: ignore[arg-type]
    assert power(a, 2) == Product((a, a))
    assert len({a, b, AffineMaps(a, b), AffineMaps(a, b)}) == 3


@pytest.mark.parametrize("dimension", [-1, 2.0, "2", True, None])
def test_a_dimension_is_a_whole_number(dimension):
    with pytest.raises(SpaceError, match="the dimension is an integer, 0 or more"):
        AffineSpace(dimension)


@pytest.mark.parametrize(
    "make",
    [
        lambda a: AffineMaps(a, Product((a,))),  # type: ignore[arg-type]
        lambda a: AffineMaps(a, AffineMaps(a, a)),  # type: ignore[arg-type]
        lambda a: AffineMaps(3, a),  # type: ignore[arg-type]
        lambda a: Product(()),
        lambda a: Product((a, 3)),  # type: ignore[arg-type]
        lambda a: Product((a, Product((a,)))),  # type: ignore[arg-type]
        lambda a: power(a, 0),
    ],
)
def test_what_is_no_space(make: Callable):
    with pytest.raises(SpaceError, match=r"maps lead from one space to another|a tuple of one or more spaces"):
        make(AffineSpace(2, "A"))


def test_spaces_print_as_the_paper_writes_them():
    a, z = AffineSpace(2, "A"), AffineSpace(3, "Z")
    assert repr(AffineMaps(a, z)) == "Aff(A, Z)"
    assert repr(power(a, 4)) == "A^4"
    assert repr(Product((AffineMaps(a, z), z))) == "Aff(A, Z) x Z"
    basis = MapsBasis(AffineBasis(a), AffineBasis(z))
    assert repr(basis.point(torch.zeros(5, 3, 3).double())) == "<Points of Aff(A, Z), shape (3, 2 + 1), 5 of them>"
    assert repr(AffineBasis(a).covector([0.0, 1.0])) == "<Covector on A, dimension 2>"


# Elements --------------------------------------------------------------------------------------------------------


@given(st.data())
def test_p_plus_q_minus_p_is_q_in_every_basis(data):
    space = data.draw(testing.spaces())
    iota, kappa = data.draw(testing.bases(space)), data.draw(testing.bases(space))
    p, q = data.draw(testing.points(iota)), data.draw(testing.points(iota))
    v = data.draw(testing.vectors(iota))
    assert close(kappa[p + (q - p)], kappa[q])
    assert close(kappa[(p + v) - p], kappa[v])
    assert close(kappa[p - v + v], kappa[p])


@given(st.data())
def test_batches_are_computed_datum_by_datum(data):
    space = data.draw(testing.spaces())
    basis = data.draw(testing.bases(space))
    p, v, phi = (data.draw(draw(basis, (3,))) for draw in (testing.points, testing.vectors, testing.covectors))
    one = data.draw(testing.vectors(basis))
    assert p.batch == (p + v).batch == phi(v).shape == (3,)
    for i in range(3):
        assert close(basis[(p + v).at(i)], basis[p.at(i) + v.at(i)])
        assert close(basis[(p + one).at(i)], basis[p.at(i) + one])
        assert close(phi(v)[i], phi.at(i)(v.at(i)))
        assert close(phi(one)[i], phi.at(i)(one))


def test_batches_that_do_not_fit_are_refused_in_words():
    basis = AffineBasis(AffineSpace(1, "A"))
    p, v = basis.point(torch.zeros(3, 1).double()), basis.vector(torch.zeros(2, 1).double())
    with pytest.raises(SpaceError, match=r"\(3,\) and \(2,\) do not go together"):
        _ = p + v
    maps = MapsBasis(basis, basis).point(torch.zeros(2, 1, 2).double())
    with pytest.raises(SpaceError, match=r"\(2,\) and \(3,\) do not go together"):
        maps(p)


@pytest.mark.parametrize("index", [1, -1, slice(1), [2, 0], torch.tensor([True, False, True]), torch.tensor([2, 2])])
def test_at_chooses_from_a_batch(index):
    basis = AffineBasis(AffineSpace(2, "A"))
    x = torch.arange(6.0, dtype=torch.float64).reshape(3, 2)
    assert close(basis[basis.point(x).at(index)], x[index])


@pytest.mark.parametrize("index", [(0, 1), (slice(None), 0), (..., 0, 0)])
def test_no_index_reaches_the_numbers(index):
    points = AffineBasis(AffineSpace(2, "A")).point(torch.zeros(3, 2).double())
    with pytest.raises(IndexError):
        points.at(index)
    with pytest.raises(SpaceError, match="one element and no batch"):
        points.at(0).at(0)


def test_parts_and_join_are_inverse():
    a, z = AffineBasis(AffineSpace(2, "A")), AffineBasis(AffineSpace(1, "Z"))
    both = ProductBasis((a, z))
    for kind in ("point", "vector", "covector"):
        x = getattr(both, kind)([[1.0, 2.0], [3.0]])
        joined = both.space.join(*x.parts)
        assert type(joined) is type(x)
        assert close(both[joined], both[x])
        assert close(z[x.parts[1]], torch.tensor([3.0], dtype=torch.float64))
    p, q, v = a.point([1.0, 2.0]), z.point([3.0]), z.vector([3.0])
    with pytest.raises(KindError, match="of one kind"):
        both.space.join(p, v)
    with pytest.raises(SpaceError, match="each of its factors in order"):
        both.space.join(q, p)
    with pytest.raises(SpaceError, match="no parts"):
        _ = p.parts
    with pytest.raises(SpaceError, match="do not go together"):
        both.space.join(a.point(torch.zeros(2, 2).double()), z.point(torch.zeros(3, 1).double()))
    assert both.space.join(a.point(torch.zeros(2, 2).double()), q).batch == (2,)


# Affine combinations ---------------------------------------------------------------------------------------------


@given(st.data(), st.lists(st.floats(-3, 3), min_size=1, max_size=4))
def test_an_affine_combination_is_the_same_point_in_every_basis(data, weights):
    space = data.draw(testing.spaces())
    iota, kappa = data.draw(testing.bases(space)), data.draw(testing.bases(space))
    w = torch.tensor([*weights, 1 - sum(weights)], dtype=torch.float64)
    ps = data.draw(testing.points(iota, (len(w),)))
    mean = affine_combination(w, ps)
    again = affine_combination(w.tolist(), [ps.at(i) for i in range(len(w))])
    for basis in (iota, kappa):
        numbers = basis[ps] if isinstance(basis[ps], tuple) else (basis[ps],)
        expected = tuple(torch.tensordot(w, x, 1) for x in numbers)
        for point in (mean, again):
            got = basis[point] if isinstance(basis[point], tuple) else (basis[point],)
            assert close(got, expected)


@pytest.mark.parametrize("weights", [[1.0, 1.0], [0.5, 0.4], [0.0, 0.0], [float("nan"), 1.0], [1.0, 1e-9]])
def test_weights_that_do_not_sum_to_one_give_no_point(weights):
    basis = AffineBasis(AffineSpace(1, "A"))
    p, q = basis.point([1.0]), basis.point([2.0])
    with pytest.raises(KindError, match="depends on where the origin is"):
        affine_combination(weights, [p, q])


def test_affine_combination_takes_points_of_one_space_only():
    basis = AffineBasis(AffineSpace(1, "A"))
    p, v, other = basis.point([1.0]), basis.vector([1.0]), AffineBasis(AffineSpace(1, "B")).point([1.0])
    with pytest.raises(KindError, match="one or more points"):
        affine_combination([0.5, 0.5], [p, v])  # type: ignore[list-item]
    with pytest.raises(KindError, match="one or more points"):
        affine_combination([], [])
    with pytest.raises(SpaceError, match=r"A.*B"):
        affine_combination([0.5, 0.5], [p, other])
    with pytest.raises(SpaceError, match="weights of shape"):
        affine_combination([0.5, 0.25, 0.25], [p, p])
    with pytest.raises(SpaceError, match="weights of shape"):
        affine_combination([1.0], p)
    assert affine_combination([0.5, 0.5], [p, basis.point(torch.zeros(3, 1).double())]).batch == (3,)


# Maps ------------------------------------------------------------------------------------------------------------


@given(st.data())
def test_equation_3_1_a_point_of_aff_a_z_is_the_map_w_a_plus_b_in_every_basis(data):
    a, z = AffineSpace(data.draw(st.integers(1, 4)), "A"), AffineSpace(data.draw(st.integers(1, 4)), "Z")
    source = data.draw(st.sampled_from([a, power(a, 2)]))
    base, target = data.draw(testing.bases(source)), data.draw(testing.bases(z))
    maps = MapsBasis(base, target)  # type: ignore[arg-type]
    omega, alpha = data.draw(testing.points(maps)), data.draw(testing.points(base, (3,)))
    u, change = data.draw(testing.vectors(base)), data.draw(testing.vectors(maps))

    def row(x):  # the numbers of a power, side by side
        return torch.cat(x, -1) if isinstance(x, tuple) else x

    for basis in (maps, MapsBasis(data.draw(testing.bases(source)), data.draw(testing.bases(z)))):  # type: ignore[arg-type]
        assert isinstance(basis.target, AffineBasis)
        W, b = basis[omega][:, :-1], basis[omega][:, -1]
        numbers = row(basis.source[alpha])
        assert close(basis.target[omega(alpha)], numbers @ W.mT + b)
        assert close(basis.target[omega(u)], row(basis.source[u]) @ W.mT)
        dW, db = basis[change][:, :-1], basis[change][:, -1]
        assert close(basis.target[change(alpha)], numbers @ dW.mT + db)
        assert close(basis.target[(omega + change)(alpha) - omega(alpha)], basis.target[change(alpha)], 1e-11)


def test_only_maps_are_applied_and_only_to_their_source():
    a, z = AffineBasis(AffineSpace(2, "A")), AffineBasis(AffineSpace(2, "Z"))
    omega = MapsBasis(a, z).point(torch.zeros(2, 3).double())
    with pytest.raises(SpaceError, match="a map from A was applied to an element of Z"):
        omega(z.point([1.0, 2.0]))
    with pytest.raises(KindError, match="is no map"):
        a.point([1.0, 2.0])(a.point([1.0, 2.0]))


# Differentials ---------------------------------------------------------------------------------------------------


def curved(basis, other):
    """A smooth map from one affine space to another of the same dimension, which no basis makes linear."""
    return lambda p: other.point(torch.sin(basis[p]) + basis[p] ** 2 / 3)


@given(st.data())
def test_a_differential_is_the_first_order_change_and_names_no_basis(data):
    space = AffineSpace(data.draw(st.integers(1, 4)), "A")
    iota, kappa = data.draw(testing.bases(space)), data.draw(testing.bases(space))
    p, v = data.draw(testing.points(iota)), data.draw(testing.vectors(iota))

    def f(q: Point) -> torch.Tensor:
        return torch.sin(iota[q]).prod() + (iota[q] ** 2).sum()

    df = differential(f, p)
    assert isinstance(df, Covector)
    t = 1e-5
    assert close(df(v), (f(p + t * v) - f(p - t * v)) / (2 * t), 1e-7)
    x = kappa[p].requires_grad_()
    (gradient,) = torch.autograd.grad(
        f(kappa.point(x)), x
    )  # the partial derivatives in kappa are its covector's numbers
    assert close(kappa[df], gradient)


def test_the_differential_of_a_constant_is_zero():
    basis = AffineBasis(AffineSpace(2, "A"))
    p = basis.point([1.0, 2.0])
    assert close(basis[differential(lambda q: torch.tensor(3.0, dtype=torch.float64), p)], torch.zeros(2).double())


def test_differentials_refuse_what_is_no_number_and_no_single_point():
    basis = AffineBasis(AffineSpace(2, "A"))
    p = basis.point([1.0, 2.0])
    with pytest.raises(KindError, match="f returns one number; it returned a Tensor of shape"):
        differential(lambda q: basis[q], p)
    with pytest.raises(KindError, match="it returned a Point"):
        differential(lambda q: q, p)  # type: ignore[arg-type,return-value]
    with pytest.raises(KindError, match="p is one point"):
        differential(lambda q: basis[q].sum(), basis.point(torch.zeros(3, 2).double()))
    with pytest.raises(KindError, match="p is one point"):
        differential(lambda q: basis[q].sum(), p - p)  # type: ignore[arg-type]


@given(st.data())
def test_a_push_forward_is_where_a_small_step_lands(data):
    n = data.draw(st.integers(1, 4))
    a, b = AffineSpace(n, "A"), AffineSpace(n, "B")
    iota, kappa = data.draw(testing.bases(a)), data.draw(testing.bases(b))
    p, v = data.draw(testing.points(iota, (3,))), data.draw(testing.vectors(iota))
    phi = curved(iota, kappa)
    pushed = pushforward(phi, p, v)
    assert isinstance(pushed, Vector)
    assert pushed.batch == (3,)
    t = 1e-5
    assert close(kappa[pushed], kappa[phi(p + t * v) - phi(p - t * v)] / (2 * t), 1e-7)


@given(st.data())
def test_push_forwards_compose_and_pair_with_differentials(data):
    """(psi phi)_* = psi_* phi_*, and d(f phi)(v) = df(phi_* v): the chain rule, in no basis."""
    n = data.draw(st.integers(1, 3))
    bases = [data.draw(testing.bases(AffineSpace(n, name))) for name in "ABC"]
    phi, psi = curved(bases[0], bases[1]), curved(bases[1], bases[2])
    p, v = data.draw(testing.points(bases[0])), data.draw(testing.vectors(bases[0]))
    whole = pushforward(lambda q: psi(phi(q)), p, v)
    assert close(bases[2][whole], bases[2][pushforward(psi, phi(p), pushforward(phi, p, v))])

    def f(q: Point) -> torch.Tensor:
        return torch.cos(bases[1][q]).sum()

    assert close(differential(lambda q: f(phi(q)), p)(v), differential(f, phi(p))(pushforward(phi, p, v)))


def test_push_forwards_refuse_other_kinds():
    basis = AffineBasis(AffineSpace(2, "A"))
    p, v, dh = basis.point([1.0, 2.0]), basis.vector([1.0, 2.0]), basis.covector([1.0, 2.0])
    with pytest.raises(KindError, match="a point and a vector"):
        pushforward(lambda q: q, p, dh)  # type: ignore[arg-type]
    with pytest.raises(KindError, match="phi leads from points to points; it returned a Tensor"):
        pushforward(lambda q: basis[q], p, v)  # type: ignore[arg-type,return-value]
    with pytest.raises(SpaceError, match=r"A.*B"):
        pushforward(lambda q: q, p, AffineBasis(AffineSpace(2, "B")).vector([1.0, 2.0]))


def test_corollary_a_2_vectors_are_the_same_at_every_point():
    """The push-forward of a translation is the identity, so a vector at p is one at q."""
    basis = AffineBasis(AffineSpace(2, "A")).changed([[2.0, 1.0], [0.0, 3.0]], [1.0, 1.0])
    p, q, v = basis.point([1.0, 2.0]), basis.point([-4.0, 0.0]), basis.vector([1.0, 5.0])
    moved = pushforward(lambda x: x + (q - p), p, v)
    assert close(basis[moved], basis[v])


def test_torch_runs_on_one_thread():
    assert torch.get_num_threads() == 1
    assert os.environ.get("HYPOTHESIS_PROFILE", "default") in ("default", "thorough")
