"""basis[x] and back, induced bases, changes of basis, save and load (paper: 2.2.3, 3.1, A.3)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kfac_lite import (
    MLP,
    AffineBasis,
    AffineMaps,
    AffineSpace,
    Gaussian,
    KindError,
    MapsBasis,
    Parameterization,
    Point,
    Product,
    ProductBasis,
    SpaceError,
    bases,
    coordinates,
    euclidean,
    from_matrix,
    load,
    power,
    save,
    testing,
)
from kfac_lite.coordinates.mlp import homogeneous

from .comparing import close

KINDS = ("point", "vector", "covector")
DRAW = {"point": testing.points, "vector": testing.vectors, "covector": testing.covectors}


def parts(x: Any) -> tuple[torch.Tensor, ...]:
    return x if isinstance(x, tuple) else (x,)


def eye(n: int) -> torch.Tensor:
    return torch.eye(n, dtype=torch.float64)


# Numbers and elements --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
@given(data=st.data())
def test_numbers_come_back_as_they_went_in(batch, data):
    basis = data.draw(testing.bases(data.draw(testing.spaces())))
    for kind in KINDS:
        x = data.draw(DRAW[kind](basis, batch))
        numbers = basis[x]
        again = getattr(basis, kind)(list(numbers) if isinstance(numbers, tuple) else numbers)
        assert type(again).__name__.lower() == kind
        assert again.batch == batch
        assert close(basis[again], numbers)


@given(st.data())
def test_a_covector_of_a_vector_is_the_same_number_in_every_basis(data):
    """phi(v) = sum of phi_i v_i, in any basis: the test that finds a wrong covector law at once."""
    space = data.draw(testing.spaces())
    iota, kappa = data.draw(testing.bases(space)), data.draw(testing.bases(space))
    v, phi = data.draw(testing.vectors(iota)), data.draw(testing.covectors(iota))
    for basis in (iota, kappa):
        pairing = sum((a * b).sum() for a, b in zip(parts(basis[phi]), parts(basis[v]), strict=True))
        assert close(phi(v), pairing)


@given(st.data())
def test_units_and_dual_units_are_dual(data):
    space = data.draw(testing.spaces())
    basis = data.draw(testing.bases(space))
    table = torch.stack([basis.dual_units(basis.units.at(i)) for i in range(space.dimension)])
    assert close(table, eye(space.dimension))


def test_units_follow_vec_which_stacks_columns():
    z = AffineBasis(AffineSpace(2, "Z"))
    maps = MapsBasis(AffineBasis(AffineSpace(1, "A")), z)
    units = maps[maps.units]
    assert close(units, torch.stack([coordinates.updates.unvec(row, (2, 2)) for row in eye(4)]))
    assert close(units[1], torch.tensor([[0.0, 0.0], [1.0, 0.0]], dtype=torch.float64))
    product = ProductBasis((z, maps))
    assert close(product[product.units.at(3)][1], units[1])


def test_elements_do_not_share_memory_with_numbers():
    """What the caller does to an array afterwards does not reach the element, nor the other way."""
    basis = AffineBasis(AffineSpace(2, "A"))
    x = torch.tensor([1.0, 2.0], dtype=torch.float64)
    y = x.numpy().copy()
    elements = [getattr(basis, kind)(array) for kind in KINDS for array in (x, y)]
    x += 1
    y += 1
    for element in elements:
        got = basis[element]
        assert close(got, torch.tensor([1.0, 2.0], dtype=torch.float64))
        got += 1
        assert close(basis[element], torch.tensor([1.0, 2.0], dtype=torch.float64))


# Changes of basis ------------------------------------------------------------------------------------------------


@given(st.data())
def test_a_change_of_basis_acts_as_it_says(data):
    space = AffineSpace(data.draw(st.integers(1, 5)), "A")
    iota = data.draw(testing.bases(space))
    kappa = data.draw(testing.bases(space))
    Omega, gamma = iota.to(kappa)  # type: ignore[attr-defined]
    p, v, phi = (data.draw(DRAW[kind](iota)) for kind in KINDS)
    assert close(kappa[p], Omega @ iota[p] + gamma)
    assert close(kappa[v], Omega @ iota[v])
    assert close(kappa[phi], torch.linalg.solve(Omega.mT, iota[phi]))
    again = iota.changed(Omega, gamma)  # type: ignore[attr-defined]
    assert close(again[p], kappa[p])
    assert close(again[phi], kappa[phi])
    back, shift = kappa.to(iota)  # type: ignore[attr-defined]
    assert close(back @ Omega, eye(space.dimension))
    assert close(back @ gamma + shift, torch.zeros_like(gamma))


def test_no_shift_keeps_the_origin():
    iota = AffineBasis(AffineSpace(2, "A"))
    kappa = iota.changed([[2.0, 0.0], [1.0, 1.0]])
    assert close(kappa[iota.point([0.0, 0.0])], torch.zeros(2).double())


@pytest.mark.parametrize(
    ("Omega", "gamma", "error", "text"),
    [
        ([[1.0, 2.0], [2.0, 4.0]], None, SpaceError, "Omega is singular"),
        ([[0.0, 0.0], [0.0, 0.0]], None, SpaceError, "Omega is singular"),
        ([[1.0, 2.0, 3.0], [2.0, 4.0, 5.0]], None, SpaceError, r"got shape \(2, 3\); wanted 2 x 2"),
        ([[[1.0, 0.0], [0.0, 1.0]]], None, SpaceError, "one matrix and one shift"),
        ([[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0]], SpaceError, "one matrix and one shift"),
        ([[1.0, 0.0], [0.0, 1.0]], [0.0], SpaceError, "gamma"),
        ([[1, 0], [0, 1]], None, KindError, "int64"),
        ([[1.0, 0.0], [0.0, 1.0]], [0, 1], KindError, "gamma.*int64"),
        ([[float("nan"), 0.0], [0.0, 1.0]], None, SpaceError, r"NaN or infinity at \(0, 0\)"),
        ([[1.0, 0.0], [0.0, 1.0]], [0.0, float("inf")], SpaceError, r"NaN or infinity at \(1,\)"),
    ],
)
def test_what_is_no_change_of_basis(Omega, gamma, error, text):
    with pytest.raises(error, match=text):
        AffineBasis(AffineSpace(2, "A")).changed(Omega, gamma)


def test_a_change_of_tiny_units_is_one():
    """Condition 1e12 is a change of units (kilograms and nanograms), not a singular matrix."""
    iota = AffineBasis(AffineSpace(2, "A"))
    kappa = iota.changed([[1e-6, 0.0], [0.0, 1e6]])
    p = iota.point([1.0, 2.0])
    assert close(iota[kappa.point(kappa[p])], torch.tensor([1.0, 2.0], dtype=torch.float64))


@given(st.data())
def test_equation_2_12_the_basis_of_a_power_is_i_times_b_on_homogeneous_coordinates(data):
    """k points, each with its own 1, change by I (x) [B]_H."""
    n, k = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    space = AffineSpace(n, "A")
    iota, kappa = data.draw(testing.bases(space)), data.draw(testing.bases(space))
    places = power(space, k)
    p = data.draw(testing.points(ProductBasis([iota] * k)))  # type: ignore[list-item]
    assert p.space == places
    bar = coordinates.mlp.bar
    old, new = (torch.cat([bar(x) for x in ProductBasis([basis] * k)[p]]) for basis in (iota, kappa))  # type: ignore
    B, c = iota.to(kappa)  # type: ignore[attr-defined]
    assert close(new, torch.kron(eye(k), homogeneous(B, c)) @ old)


@given(st.data())
def test_maps_from_a_power_have_one_1_for_all_places(data):
    """Homogeneous coordinates of one point of A^k change by [[I (x) B, 1 (x) c], [0, 1]], which 4.4 misprints."""
    n, k = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    space, target = AffineSpace(n, "A"), AffineSpace(2, "Z")
    iota, kappa, z = (data.draw(testing.bases(s)) for s in (space, space, target))
    B, c = iota.to(kappa)  # type: ignore[attr-defined]
    old, new = (MapsBasis(ProductBasis([basis] * k), z) for basis in (iota, kappa))  # type: ignore
    v, phi = data.draw(testing.vectors(old)), data.draw(testing.covectors(old))
    bar = homogeneous(torch.kron(eye(k), B), c.repeat(k))
    assert close(new[v], old[v] @ torch.linalg.inv(bar), 1e-11)
    assert close(new[phi], old[phi] @ bar.mT)


def changes(net: MLP, kappa: Parameterization):
    """(Omega_i, gamma_i) for i = 0, ..., L and (Phi_i, tau_i) for i = 1, ..., L, from home and to home (3.1)."""
    forward = [a.to(b) for a, b in zip(net.home.activations, kappa.activations, strict=True)]
    backward = [b.to(z) for z, b in zip(net.home.preactivations, kappa.preactivations, strict=True)]
    return forward, backward


@given(testing.networks(), st.data())
def test_equation_3_3_the_induced_basis_is_the_printed_formula_and_the_twin_of_the_coordinate_code(net, data):
    kappa = data.draw(testing.parameterizations(net.home))
    omega = data.draw(testing.points(net.home.weights))
    w, typed = net.home.weights[omega], kappa.weights[omega]
    forward, backward = changes(net, kappa)
    for i, (W_bar, typed_bar) in enumerate(zip(w, typed, strict=True)):
        (Omega, gamma), (Phi, tau) = forward[i], backward[i]
        W = torch.linalg.inv(Phi) @ W_bar[:, :-1] @ torch.linalg.inv(Omega)
        b = torch.linalg.inv(Phi) @ (W_bar[:, -1] - tau) - W @ gamma
        assert close(typed_bar, torch.cat([W, b[:, None]], 1), 1e-11)
    network = net.in_basis(kappa, Gaussian(net.home.outputs))
    assert close(coordinates.mlp.twin(network, w, *forward[0]), list(typed), 1e-11)


@given(testing.networks(depth=(1, 3)), st.data())
def test_equation_3_3_the_covector_law_on_weights(net, data):
    """D W_kappa-bar = Phi^T (D W-bar) [Omega]_H^T: covectors change by the transposed inverse of what points do."""
    kappa = data.draw(testing.parameterizations(net.home))
    phi = data.draw(testing.covectors(net.home.weights))
    forward, backward = changes(net, kappa)
    for D, D_kappa, change, (Phi, _) in zip(
        net.home.weights[phi], kappa.weights[phi], forward[:-1], backward, strict=True
    ):
        assert close(D_kappa, Phi.mT @ D @ homogeneous(*change).mT)


@given(testing.networks(), st.data())
def test_equation_3_4_the_activation_function_in_another_basis(net, data):
    """rho_kappa(z) = Omega rho(Phi z + tau) + gamma, both as the induced map and as the layers of `in_basis`."""
    kappa = data.draw(testing.parameterizations(net.home))
    network = net.in_basis(kappa, Gaussian(net.home.outputs))
    forward, backward = changes(net, kappa)
    for i, layer in enumerate(network.layers, 1):
        zeta = data.draw(testing.points(net.home.preactivations[i - 1], (3,)))
        z = kappa.preactivations[i - 1][zeta]
        (Omega, gamma), (Phi, tau) = forward[i], backward[i - 1]
        printed = net.activations[i - 1].value(z @ Phi.mT + tau) @ Omega.mT + gamma
        assert close(kappa.activations[i][net.activate(i, zeta)], printed)
        assert close(coordinates.mlp.activate(layer, z @ layer.Phi.mT + layer.tau), printed)


@given(testing.networks(depth=(2, 2)), st.data())
def test_equation_a_3_and_a_4_the_squares_of_a_layer_commute(net, data):
    """From A to Z by omega, then read in kappa, is to read in kappa and then multiply by (W b)_kappa; and from Z to the
    next A by rho, then read in kappa, is to read at home, apply phi to every number, and change to kappa."""
    kappa = data.draw(testing.parameterizations(net.home))
    omega, alpha = data.draw(testing.points(net.home.weights)), data.draw(testing.points(net.home.inputs))
    W, _ = kappa.weights[omega]
    zeta = omega.parts[0](alpha)
    z = kappa.preactivations[0][zeta]
    assert close(z, W @ coordinates.mlp.bar(kappa.inputs[alpha]), 1e-11)
    (_, (Omega, gamma), _), ((Phi, tau), _) = changes(net, kappa)
    along = Omega @ net.activations[0].value(Phi @ z + tau) + gamma
    assert close(kappa.activations[1][net.activate(1, zeta)], along, 1e-11)


# Errors: the wrong kind of number (case T4) ----------------------------------------------------------------------

GOOD = [[1.0, 2.0], [3.0, 5.0]]
WRONG = {
    "complex128": (np.array(GOOD, complex), KindError, "complex128.*float64 only.*the real numbers that you mean"),
    "complex tensor": (torch.tensor(GOOD).to(torch.complex64), KindError, "complex64.*float64 only"),
    "float32": (np.array(GOOD, np.float32), KindError, r"float32.*float64 only.*x\.astype\(float\)"),
    "float32 tensor": (torch.tensor(GOOD), KindError, r"float32.*float64 only.*x\.double\(\)"),
    "float16": (np.array(GOOD, np.float16), KindError, "float16.*float64 only"),
    "bfloat16 tensor": (torch.tensor(GOOD).bfloat16(), KindError, "bfloat16.*float64 only"),
    "int64": (np.array([[1, 2], [3, 5]]), KindError, "int64.*float64 only"),
    "list of int": ([[1, 2], [3, 5]], KindError, "int64.*float64 only.*1.0 for 1"),
    "bool": (np.array([[True, False], [False, True]]), KindError, "bool.*float64 only"),
    "ragged": ([[1.0, 2.0], [3.0]], KindError, "list is no array of numbers"),
    "str": ("abcd", KindError, "str is no array of numbers"),
    "list of str": ([["1.0", "2.0"], ["3.0", "4.0"]], KindError, "list is no array of numbers"),
    "None": (None, KindError, "NoneType is no array of numbers"),
    "object": (np.array([[1.0, None], [2.0, 3.0]]), KindError, "no array of numbers"),
    "dates": (np.array([["2020-01-01"] * 2] * 2, "datetime64[D]"), KindError, "no array of numbers"),
    "dict": ({0: 1.0}, KindError, "dict is no array of numbers"),
    "NaN": ([[1.0, 2.0], [float("nan"), 5.0]], SpaceError, r"NaN or infinity at \(1, 0\)"),
    "infinity": (torch.tensor([[1.0, 2.0], [3.0, -torch.inf]]).double(), SpaceError, r"NaN or infinity at \(1, 1\)"),
    "too many": ([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], SpaceError, r"got shape \(2, 3\)"),
    "one number": (1.0, SpaceError, r"got shape \(\)"),
    "one row": ([1.0], SpaceError, r"got shape \(1,\)"),
}


def entries() -> dict[str, Any]:
    """Every way for arrays to enter the typed layer that takes a 2 x 2 array here."""
    a, z = AffineBasis(AffineSpace(2, "A")), AffineBasis(AffineSpace(2, "Z"))
    maps, line = MapsBasis(AffineBasis(AffineSpace(1, "A")), z), AffineBasis(AffineSpace(1, "B"))
    made: dict[str, Any] = {"changed": a.changed, "from_matrix": lambda x: from_matrix(a, x)}
    for kind in KINDS:
        made[f"affine {kind}"] = getattr(a, kind)
        made[f"maps {kind}"] = getattr(maps, kind)
        made[f"product {kind}"] = lambda x, kind=kind: getattr(ProductBasis((line, a)), kind)([[[1.0], [1.0]], x])
    return made


@pytest.mark.parametrize("entry", entries())
@pytest.mark.parametrize("wrong", WRONG)
def test_case_t4_a_wrong_kind_of_number_is_a_named_error_at_the_door(entry: str, wrong: str):
    numbers, error, text = WRONG[wrong]
    with pytest.raises(error, match=f"(?s){text}") as info:
        entries()[entry](numbers)
    assert type(info.value) is error
    assert any(name in str(info.value) for name in ("A", "Aff", "metric", "Omega")), "it says where"


@pytest.mark.parametrize(
    "array",
    [
        np.array([[3.0, 4.0], [1.0, 2.0]])[::-1],
        np.broadcast_to(np.array([1.0, 2.0]), (2, 2)),
        np.asfortranarray([[1.0, 2.0], [3.0, 4.0]]),
        np.array([[1.0, 2.0], [3.0, 4.0]], ">f8"),
        [torch.tensor([1.0, 2.0]).double(), torch.tensor([3.0, 4.0]).double()],
        [np.array([1.0, 2.0]), [3.0, 4.0]],
        ((1.0, 2), (3, 4)),
        torch.tensor([[1.0, 3.0], [2.0, 4.0]]).double().mT,
        torch.tensor([[1.0, 2.0], [3.0, 4.0]]).double().requires_grad_(),
    ],
)
def test_every_array_of_float64_is_taken(array):
    basis = AffineBasis(AffineSpace(2, "A"))
    expected = torch.tensor([[x.item() if hasattr(x, "item") else float(x) for x in row] for row in array]).double()
    for kind in KINDS:
        assert close(basis[getattr(basis, kind)(array)], expected)


def test_gradients_flow_through_a_basis():
    basis = AffineBasis(AffineSpace(2, "A")).changed([[2.0, 1.0], [0.0, 1.0]])
    x = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    basis[basis.point(x) + basis.vector(x)].sum().backward()
    assert close(x.grad, 2 * torch.ones(2).double())


def test_a_product_takes_one_array_a_factor_and_one_batch():
    basis = ProductBasis((AffineBasis(AffineSpace(1, "A")), AffineBasis(AffineSpace(2, "B"))))
    for wrong in ([[1.0]], [[1.0], [1.0, 2.0], [3.0]], 1.0, torch.zeros(3).double()):
        with pytest.raises(SpaceError, match="2 arrays in a list are wanted, one a factor"):
            basis.point(wrong)
    with pytest.raises(SpaceError, match=r"batches of \(2,\) and \(3,\); one is wanted"):
        basis.point([torch.zeros(2, 1).double(), torch.zeros(3, 2).double()])
    with pytest.raises(SpaceError, match="part 1: got shape"):
        basis.point([[1.0], [1.0]])


def test_elements_are_no_numbers():
    basis = AffineBasis(AffineSpace(2, "A"))
    p = basis.point([1.0, 2.0])
    for kind in KINDS:
        with pytest.raises(KindError, match="got a Point, which is an element already"):
            getattr(basis, kind)(p)
        with pytest.raises(KindError, match="list is no array of numbers"):
            getattr(basis, kind)([p, p])


def test_a_basis_reads_elements_of_its_own_space():
    a, b = AffineBasis(AffineSpace(2, "A")), AffineBasis(AffineSpace(2, "B"))
    for x in (b.point([1.0, 2.0]), b.vector([1.0, 2.0]), b.covector([1.0, 2.0]), euclidean(b)):
        with pytest.raises(SpaceError, match=r"\bA\b.*\bB\b"):
            a[x]
    for x in (1.0, None, [1.0, 2.0], torch.ones(2)):
        with pytest.raises(KindError, match="a basis reads points, vectors, covectors and metrics"):
            a[x]
    with pytest.raises(SpaceError, match=r"no change leads from a basis of A to one of B"):
        a.to(b)


def test_bases_are_made_of_bases():
    a = AffineBasis(AffineSpace(2, "A"))
    with pytest.raises(KindError, match="MapsBasis"):
        AffineBasis(AffineMaps(a.space, a.space))  # type: ignore[arg-type]
    with pytest.raises(KindError, match="it takes a basis of A, affine or of a power"):
        MapsBasis(a, a.space)  # type: ignore[arg-type]
    with pytest.raises(KindError, match="it takes a basis of A, affine or of a power"):
        MapsBasis(MapsBasis(a, a), a)  # type: ignore[arg-type]
    with pytest.raises(SpaceError, match="holds maps"):
        MapsBasis(ProductBasis((MapsBasis(a, a),)), a)


# Parameterizations -----------------------------------------------------------------------------------------------


def test_a_parameterization_has_bases_of_every_space():
    home = Parameterization.from_widths(2, 3, 1)
    assert [repr(a.space) for a in home.activations] == ["A0", "A1", "A2"]
    assert [repr(z.space) for z in home.preactivations] == ["Z1", "Z2"]
    assert home.weights.space == Product(
        tuple(AffineMaps(a.space, z.space) for a, z in zip(home.activations, home.preactivations, strict=False))
    )
    assert home.inputs is home.activations[0]
    assert home.outputs is home.activations[-1]
    with pytest.raises(SpaceError, match="got 1 and 1"):
        Parameterization(home.activations[:1], home.preactivations[:1])
    with pytest.raises(SpaceError, match="got 1 and 0"):
        Parameterization(home.activations[:1], ())
    with pytest.raises(SpaceError, match="layer 2 has 3 pre-activations and 1 activations"):
        Parameterization(home.activations, home.preactivations[:1] * 2)
    for widths in ((), (2,)):
        with pytest.raises(SpaceError, match="the width of the inputs and of one layer or more"):
            Parameterization.from_widths(*widths)


def test_changed_changes_one_space_and_leaves_the_others():
    home = Parameterization.from_widths(2, 3, 1)
    kappa = home.changed({1: (2 * eye(3), None)}, {2: ([[3.0]], [1.0])})
    assert close(home.activations[1].to(kappa.activations[1])[0], 2 * eye(3))
    assert close(home.preactivations[1].to(kappa.preactivations[1])[1], torch.ones(1).double())
    assert kappa.activations[0] is home.activations[0]
    assert kappa.preactivations[0] is home.preactivations[0]
    for a, z, text in (({3: (eye(1), None)}, None, "A_3 is none of A_0 to A_2"), (None, {0: (eye(3), None)}, "Z_0")):
        with pytest.raises(SpaceError, match=text):
            home.changed(a, z)
    with pytest.raises(SpaceError, match="A_-1 is none"):
        home.changed({-1: (eye(1), None)})


# Save and load ---------------------------------------------------------------------------------------------------


@given(st.data())
def test_what_is_saved_in_a_basis_is_loaded_in_it(tmp_path_factory, data):
    space = data.draw(testing.spaces())
    iota, kappa = data.draw(testing.bases(space)), data.draw(testing.bases(space))
    path = tmp_path_factory.mktemp("saved") / "element"  # no suffix is added
    for kind in KINDS:
        x = data.draw(DRAW[kind](iota, data.draw(st.sampled_from([(), (2,)]))))
        save(path, kappa, x)  # another basis than the one that made it
        again = load(path, kappa)
        assert type(again) is type(x)
        assert close(iota[again], iota[x])
        wrong = load(path, iota)  # numbers of kappa, taken for those of iota: the file cannot know
        assert close(iota[wrong], kappa[x])


def test_a_parameter_is_loaded_into_a_network_built_anew(tmp_path: Path):
    def build():
        home = Parameterization.from_widths(2, 3, 1)
        return home, MLP(home)

    (home, net), (other, again) = build(), build()
    generator = torch.Generator().manual_seed(0)
    omega = home.weights.point(
        [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((3, 3), (1, 4))]
    )
    save(tmp_path / "omega.npz", home.weights, omega)
    loaded = load(tmp_path / "omega.npz", other.weights)
    assert close(
        other.outputs[again(loaded, other.inputs.point([1.0, 2.0]))],
        home.outputs[net(omega, home.inputs.point([1.0, 2.0]))],
    )


def test_what_cannot_be_saved_or_loaded(tmp_path: Path):
    a, b = AffineBasis(AffineSpace(2, "A")), AffineBasis(AffineSpace(2, "B"))
    path = tmp_path / "p.npz"
    for wrong in (euclidean(a), [1.0, 2.0], torch.ones(2)):
        with pytest.raises(KindError, match="points, vectors and covectors can be saved"):
            save(path, a, wrong)  # type: ignore[arg-type]
    with pytest.raises(SpaceError, match="cannot read an element of A"):
        save(path, b, a.point([1.0, 2.0]))
    assert not path.exists()
    save(path, a, a.point([1.0, 2.0]))
    with pytest.raises(SpaceError, match="holds a point of A; this is a basis of B"):
        load(path, b)
    with pytest.raises(SpaceError, match=r"got shape \(2,\); wanted 3"):
        load(path, AffineBasis(AffineSpace(3, "A")))
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.npz", a)
    whole = path.read_bytes()
    others = {"half.npz": whole[: len(whole) // 2], "text.npz": b"hello", "empty.npz": b""}
    for name, content in others.items():
        (tmp_path / name).write_bytes(content)
    np.save(tmp_path / "array.npy", np.zeros(2))
    np.savez(tmp_path / "other.npz", x=np.zeros(2))
    for name in (*others, "array.npy", "other.npz"):
        with pytest.raises(SpaceError, match=f"{name} was not written by kfac_lite.save"):
            load(tmp_path / name, a)
    np.savez(tmp_path / "kind.npz", kind=np.array("metric"), space=np.array("A"), part0=np.zeros(2))
    with pytest.raises(SpaceError, match="holds a 'metric'"):
        load(tmp_path / "kind.npz", a)


def test_the_doctest_of_a_temperature(gauge: str):
    """The one example of a space without an origin that everybody knows."""
    celsius = AffineBasis(AffineSpace(1, "temperature"))
    fahrenheit = celsius.changed([[1.8]], [32.0])
    assert close(fahrenheit[celsius.point([25.0])], torch.tensor([77.0], dtype=torch.float64))
    assert close(fahrenheit[celsius.vector([25.0])], torch.tensor([45.0], dtype=torch.float64))
    assert isinstance(celsius.point([25.0]), Point)
    assert bases.__doc__ and "celsius" in bases.__doc__
