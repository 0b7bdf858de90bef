"""A compiled function computes in the page what it computes in torch; and what it cannot, it refuses (paper: none)."""

import linecache
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap
from torch.nn import functional as F

from kfac_lite import live
from kfac_lite.live import CompileError, operations
from kfac_lite.live.build import Builder

from .live_page import distance, evaluate, literal, run

L: Any = torch.linalg
pytestmark = pytest.mark.no_gauge


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=torch.float64)


def positive(n: int, *batch: int) -> Tensor:
    root = draw(*batch, n, n)
    return root @ root.mT + n * torch.ones(n, dtype=torch.float64).diag()


# x fits a written-out extent, X a loop; P has both kinds; Q is a batch longer than what is written out.
x, X, P, Q = draw(3), draw(7), draw(6, 3), draw(5, 3, 3) + 4 * torch.ones(3, dtype=torch.float64).diag()
A, B, S = draw(3, 3) + 3 * torch.ones(3, dtype=torch.float64).diag(), draw(3, 2), positive(3)
INDEX = torch.tensor([0, 0, 2])


def in_place(x: Tensor) -> Tensor:
    y = x.clone()
    y[0] = 5.0
    y[1:].mul_(2).add_(x[0])
    z = torch.zeros_like(x)
    z += y
    x.neg_()
    return z * x


OPERATIONS: dict[str, tuple[Any, ...]] = {
    "plus": (lambda X: X + X * 2 + 1 + torch.add(X, 2, alpha=0.5), X),
    "minus": (lambda X: X * X - X - torch.rsub(X, 1) - torch.sub(X, X * X, alpha=3), X),
    "times": (lambda P: P * P[0] * 3 * P[:, :1], P),
    "divide": (lambda X: X / (X * X + 1) / 3 + 1 / X, X),
    "signs": (lambda X: (-X, X.abs(), X.sign(), X.sgn(), X.floor(), X.ceil(), X.trunc()), X),
    "roots": (lambda X: (X.abs().sqrt(), X.abs().rsqrt(), X.reciprocal()), X),
    "exp": (lambda X: (X.exp(), X.expm1(), X.abs().log(), X.abs().log1p(), X.abs().log2(), X.abs().log10()), X),
    "trigonometry": (lambda X: (X.sin(), X.cos(), X.tan(), X.tanh().asin(), X.tanh().acos(), X.atan()), X),
    "hyperbolic": (lambda X: (X.sinh(), X.cosh(), X.tanh(), X.asinh(), (X.abs() + 1).acosh(), X.tanh().atanh()), X),
    "two arguments": (lambda X: (torch.atan2(X, X + 2), torch.hypot(X, X + 1), X.maximum(X * X), X.minimum(X * X)), X),
    "sigmoid, relu": (lambda X: (X.sigmoid(), X.relu(), F.softplus(X), F.elu(X), F.silu(X), F.logsigmoid(X)), X),
    "powers": (lambda X: (X**1, X**2, X**3, X**4, X**-1, X**-2, X.abs() ** 0.5, X.abs() ** -0.5), X),
    "other powers": (lambda X: (X**5, X.abs() ** 2.5, 2.0**X, X.abs() ** X), X),
    "compare": (
        lambda X: [
            y.double() for y in (X.eq(X[0]), X.ne(X[0]), X.lt(X[0]), X.le(X[0]), X.gt(X[0]), X.ge(X[0]), X.isnan())
        ],
        X,
    ),
    "logic": (lambda X: [y.double() for y in ((X > 0) & (X < 1), (X > 0) | (X < -1), (X > 0) ^ (X > 1), ~(X > 0))], X),
    "more logic": (
        lambda X: [f(X, X > 0).double() for f in (torch.logical_and, torch.logical_or, torch.logical_xor)],
        X,
    ),
    "not": (lambda X: torch.logical_not(X.relu()).double(), X),
    "where": (lambda X: (torch.where(X > 0, X, -2 * X), X.masked_fill(X > 0, 0.5), X.clamp(0, 1), X.clamp(max=0.5)), X),
    "fixed where": (lambda X: (X.masked_fill(torch.arange(7) > 3, 0.5), torch.where(INDEX > 1, X[:3], X[4:])), X),
    "sums": (
        lambda P: (P.sum(), P.sum(0), P.sum(-1, keepdim=True), P[None, :, :, None].expand(4, 6, 3, 5).sum((0, 3))),
        P,
    ),
    "means": (lambda P: (P.mean(), P.mean(0), P.var(0), P.std(1, correction=0), P.cumsum(0), P.cumsum(1)), P),
    "extremes": (lambda P: (P.amax(0), P.amin(1), P.max(), P.min(), P.amax((0, 1), keepdim=True)), P),
    "products": (lambda P: (P[:, 0].prod(), P[0].prod()), P),
    "slopes of extremes": (grad(lambda P: P.max() + P.amax(0).sum()), P),
    "matrix products": (lambda A, B, P: (A @ B, P @ A, P.mT @ P, P @ P.mT, A @ A[0], A[0] @ A[1]), A, B, P),
    "batches": (lambda Q, P: (Q @ Q.mT, Q @ P[0], torch.einsum("bij,kj->bki", Q, P)), Q, P),
    "linear": (
        lambda A, P: (F.linear(P, A, A[0]), torch.addmm(A, A, A, alpha=2, beta=0.5), torch.outer(A[0], P[0])),
        A,
        P,
    ),
    "kron": (torch.kron, A, B),
    "norms": (lambda P: (L.norm(P), P.norm(dim=1), L.vector_norm(P, ord=1)), P),
    "views": (
        lambda P: (P.mT.flatten(), P.reshape(2, 9), P[None].squeeze(0).unsqueeze(1), P.view(3, 6).mT.movedim(0, 1)),
        P,
    ),
    "slices": (lambda P: (P[1], P[::2], P[:, -1:], P.narrow(0, 1, 3), *P.split(4), *P.unbind(1), *P.chunk(3)), P),
    "joins": (
        lambda A, B: (torch.cat([A, B, torch.ones_like(A[:, :1])], 1), torch.stack([A, A.mT]), torch.block_diag(A, B)),
        A,
        B,
    ),
    "turns": (
        lambda P: (P.flip(0), P.roll(1), P.roll(2, 0), P.repeat(2, 1), P.rot90(), P.expand(2, 6, 3), P.tile(1, 2)),
        P,
    ),
    "diagonals": (
        lambda A: (A.diagonal(), A.diagonal(1), A[0].diag(), torch.diag_embed(A), A.trace(), A.tril(), A.triu(1)),
        A,
    ),
    "windows": (lambda X: (X.unfold(0, 3, 2), F.pad(X, (1, 2)), F.pad(X, (1, 2), value=3.0)), X),
    "slopes of windows": (grad(lambda X: (X.unfold(0, 2, 1) ** 2).sum() + (F.pad(X, (1, -1)) ** 3).sum()), X),
    "patches": (lambda P: F.unfold(P[None, None] * P, (2, 2)), P),
    "slopes of patches": (grad(lambda P: (F.unfold(P[None, None], (2, 2), padding=1) ** 3).sum()), P),
    "indices": (lambda P: (P[INDEX], P[INDEX, INDEX], P.index_select(0, INDEX), P.gather(0, INDEX[None])), P),
    "slopes of indices": (grad(lambda P: (P[INDEX] ** 3).sum() + P.gather(0, INDEX[None]).sum()), P),
    "writes": (
        lambda x: (torch.zeros_like(X).scatter(0, INDEX[1:], x[1:]), torch.zeros_like(X).index_add(0, INDEX, x)),
        x,
    ),
    "in place": (in_place, X),
    "diagonal in place": (lambda A: A.clone().zero_() + torch.zeros_like(A).diagonal_scatter(A[0]), A),
    "pieces in place": (lambda P: (P.slice_scatter(P[:2] * 2, 0, 1, 3), P.select_scatter(P[0], 0, 2)), P),
    "softmax": (lambda P: (P.softmax(0), P.log_softmax(1), P.logsumexp(0)), P),
    "slopes of softmax": (jacrev(lambda X: X.log_softmax(0)), X),
    "losses": (
        grad(lambda X: F.binary_cross_entropy_with_logits(X, torch.ones_like(X)) + F.mse_loss(X, X * X)),
        X,
    ),
    "solve": (lambda A, B: (L.solve(A, B), L.solve(A, B[:, 0]), L.solve(A, B.mT, left=False)), A, B),
    "pivots": (lambda M, B: L.solve(M, B), torch.tensor([[0, 1, 2], [1, 0, 3], [4, -3, 8]], dtype=torch.float64), B),
    "solve batches": (lambda Q, P: (L.solve(Q, Q.mT), L.solve(Q, P[:5]), vmap(L.solve, (None, 1))(Q[0], P.mT)), Q, P),
    "slopes of solve": (grad(lambda A, B: (L.solve(A, B) ** 2).sum(), argnums=(0, 1)), A, B),
    "tangents of solve": (lambda A, B: (jacfwd(L.solve)(A, B), jacfwd(L.solve, argnums=1)(A, B[:, 0])), A, B),
    "tangents of solve from the right": (jacfwd(lambda A, B: L.solve(A, B, left=False)), A, B.mT),
    "tangents of slopes of solve": (hessian(lambda A: L.solve(A, A[0]).sum()), A),
    "tangents of inverse and roots": (lambda S: (jacfwd(L.inv)(S), jacfwd(L.cholesky)(S)), S),
    "modules": (torch.nn.Linear(3, 2, dtype=torch.float64), x),
    "inverse": (lambda A, Q: (L.inv(A), L.inv(Q)), A, Q),
    "slopes of inverse": (grad(lambda A: (L.inv(A) ** 2).sum()), A),
    "cholesky": (
        lambda S: (L.cholesky(S), L.cholesky(S, upper=True)),
        S,
    ),
    "slopes of cholesky": (grad(lambda S: L.cholesky(S).sum()), S),
    "triangles": (lambda A, B: [triangle(A, B, u, l, n) for u in (0, 1) for l in (0, 1) for n in (0, 1)], A, B),
    "slopes of triangles": (grad(lambda A, B: L.solve_triangular(A, B, upper=True).sum()), A, B),
    "qr": (lambda P, Q: (L.qr(P, mode="r").R, L.qr(P.mT, mode="r").R, L.qr(Q, mode="r").R), P, Q),
    "eigh": (lambda S, Q: (L.eigvalsh(S), through_eigh(S), through_eigh(Q @ Q.mT)), S, Q),
    "slopes of eigenvalues": (grad(lambda S: (L.eigvalsh(S) ** 2).sum()), S),
    "forward mode": (lambda X: jvp(lambda X: X.tanh() * X, (X,), (X * 2,)), X),
    "jacobians": (
        lambda x: (jacfwd(lambda x: x + 1.0)(x), jacrev(torch.sin)(x), hessian(lambda x: (x**3).sum())(x)),
        x,
    ),
    "jacobian by datum": (vmap(jacrev(lambda row: torch.tanh(row @ row.new_ones(3, 2)))), P),
    "a number": (lambda s: s * s, torch.tensor(2.0, dtype=torch.float64)),
    "no numbers": (lambda x: (x[:0] * 2, x[:0].sum() + x), x),
    "what comes in goes out": (lambda x, X: (X, x, x * 1, x + 0, X.flip(0)), x, X),
    "constants": (lambda x: (x, torch.full_like(x, -0.0), x.new_tensor([1e-300, -1.5, 3.0]), x.new_zeros(2)), x),
    "infinite constants": (lambda x: torch.where(x < 9, x, x.new_tensor([torch.inf, -torch.inf, torch.nan])), x),
}


def triangle(A: Tensor, B: Tensor, upper: int, left: int, ones: int) -> Tensor:
    return L.solve_triangular(A, B if left else B.mT, upper=bool(upper), left=bool(left), unitriangular=bool(ones))


def through_eigh(S: Tensor) -> Tensor:
    """The vectors have no sign, a function of the matrix does."""
    values, V = L.eigh(S)
    return (V * values.sqrt()[..., None, :]) @ V.mT


@cache
def compiled(name: str) -> live.Compiled:
    fn, *args = OPERATIONS[name]
    return live.compile(fn, *args)


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations(name: str):
    fn, *args = OPERATIONS[name]
    found, fault = run(compiled(name), *args)
    assert fault is None
    assert distance(found, fn(*args)) <= 1e-13


def test_every_operation_is_tested():
    assert {operation for name in OPERATIONS for operation in compiled(name).operations} == set(operations.EVERYTHING)


# The text ------------------------------------------------------------------------------------------------------------


def test_the_text_is_for_a_page_with_a_strict_policy():
    for name in OPERATIONS:
        source = compiled(name).source
        assert not re.search(
            r"\beval\b|new Function|import|Worker|WebAssembly|fetch|\bdocument\b|\bwindow\b|</", source
        )


def test_a_line_of_the_function_cannot_end_the_script():
    program = live.compile(lambda x: torch.sin(x) + len("</script><!--"), x)
    assert "script>" in program.source and "</script" not in program.source and "<!--" not in program.source


def test_functions_are_short():
    """An engine never optimises a huge one, and a matrix of 4 x 4 x 4 derivatives is long when it is written out."""
    program = live.compile(jacfwd(torch.tanh), draw(3, 4, 4))
    bodies = re.findall(r"^  function f\d+\(\) .*$", program.source, re.MULTILINE)
    assert len(bodies) > 1 and max(map(len, bodies)) <= 2000
    assert distance(run(program, draw(3, 4, 4))[0], jacfwd(torch.tanh)(draw(3, 4, 4))) <= 1e-14


def test_the_compiler_needs_no_widgets():
    heavy = "{'anywidget', 'ipywidgets', 'matplotlib', 'py_mini_racer'}"
    code = f"import sys, kfac_lite.live; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_programs_have_heaps_of_their_own_and_outputs_are_not_inputs():
    swap = live.compile(lambda x, y: (y, x, y[:1] + x), draw(2), draw(2))
    text = f"""
    const make = {swap.source};
    const p = make(), q = make();
    p.run([[1, 2], [3, 4]]);
    q.run([[5, 6], [7, 8]]);
    for (const t of [1, 2, 3]) {{ p.inputs[0].set(p.outputs[0]); p.inputs[1].set(p.outputs[1]); p.step(); }}
    return [p, q].map((x) => x.outputs.map((y) => Array.from(y)));
    """
    assert evaluate(text) == [[[1, 2], [3, 4], [4, 5]], [[7, 8], [5, 6], [12, 13]]]


def test_what_a_program_says_of_itself():
    c = draw(3)
    program = live.compile(lambda state, rate: {"w": state["w"] - rate * c, "n": rate + 1}, {"w": x}, x[0])
    assert program.inputs == (("0['w']", (3,)), ("1", ()))
    assert program.outputs == (("['w']", (3,)), ("['n']", ()))
    assert program.operations == ("add", "mul", "sub")
    assert [torch.equal(constant.value, c) for constant in program.constants] == [True]
    assert "in a lambda: program = live.compile(lambda state, rate" in program.constants[0].line
    with pytest.raises(AttributeError):
        program.source = ""  # pyright: ignore[reportAttributeAccessIssue]
    assert "function" not in repr(program)


def test_data_are_cells_and_their_loop_is_one():
    """For every datum: forward, backward, add up. The basis of a small network costs no loop of its own."""
    data = draw(32, 2)
    program = live.compile(grad(lambda W: torch.tanh(data @ W).sum()), draw(2, 2))
    assert program.source.count("for(let") == 1


def test_common_values_are_computed_once():
    program = live.compile(lambda x: torch.tanh(x) * 2 + torch.tanh(x.flip(0)).flip(0) + torch.tanh(x[None])[0] ** 2, X)
    assert program.source.count("Math.tanh") == 2  # of x, and of x backwards
    gram = live.compile(lambda P: P.mT @ P, P)
    assert gram.source.count("+=") == 6  # of 9: it is symmetric


def test_numbers_survive_as_text():
    values = torch.tensor([0.1, -0.0, 5e-324, 1.7976931348623157e308, -1 / 3, 1e22, 123456789.0], dtype=torch.float64)
    found, _ = run(live.compile(lambda X: X + values, X * 0), X * 0)
    assert torch.equal(found[0], values)
    signs, _ = run(live.compile(lambda X: 1 / (values.new_tensor([-0.0, 0.0, -0.0, 0, 0, 0, 0]) * X.abs().exp()), X), X)
    assert signs[0].tolist()[:3] == [-torch.inf, torch.inf, -torch.inf]


# What goes wrong in the page ------------------------------------------------------------------------------------------


def test_a_singular_solve_names_its_line_and_the_program_recovers():
    def step(M):
        inverse = L.inv(M @ M.mT)
        return inverse @ M

    program = live.compile(step, A)
    text = f"""
    const p = ({program.source})(), faults = [];
    for (const M of [{literal(A)}, [1, 2, 3, 2, 4, 6, 1, 1, 1], {literal(A)}]) {{ p.run([M]); faults.push(p.fault()); }}
    return faults;
    """
    fine, singular, again = evaluate(text)
    assert fine is None and again is None
    assert singular["kind"] == "singular" and singular["operation"] == "linalg.inv"
    assert re.fullmatch(r"test_live_compile.py line \d+, in `step`: inverse = L.inv\(M @ M.mT\)", singular["line"])


SINGULAR = {
    "solve": (lambda M: L.solve(M, M[:, :1]), torch.outer(x, x)),
    "solve with inf": (lambda M: L.solve(M, M[:, :1] * 0), A * torch.inf),
    "scaled columns": (lambda M: L.solve(M * torch.logspace(-200, 200, 3, dtype=torch.float64), M), torch.outer(x, x)),
    "cholesky": (L.cholesky, -S),
    "triangle": (lambda M: L.solve_triangular(M, M, upper=True), A * (1 - torch.ones_like(x).diag())),
    "qr": (lambda M: L.qr(M, mode="r").R, A * torch.nan),
    "eigh": (L.eigvalsh, A * torch.nan),
}


@pytest.mark.parametrize("name", SINGULAR)
def test_no_solver_is_silent(name: str):
    fn, M = SINGULAR[name]
    _, fault = run(live.compile(fn, S), M)
    assert fault["kind"] == "singular"


def test_scales_alone_are_not_singular():
    scales = torch.logspace(-150, 150, 3, dtype=torch.float64)
    for M in (A * scales, A * scales[:, None], A * 1e-200):
        found, fault = run(live.compile(L.solve, M, B), M, B)
        assert fault is None
        assert distance(found, L.solve(M, B)) <= 1e-12


def test_a_number_that_is_none_names_the_line_it_comes_from():
    def step(x):
        y = torch.log(x)
        return L.solve(S, y) + 1

    program = live.compile(step, x.abs())
    _, fault = run(program, -x.abs())
    assert fault["kind"] == "not finite" and fault["operation"] == "log"
    assert fault["line"].endswith("in `step`: y = torch.log(x)")
    _, fault = run(program, x * torch.nan)
    assert (fault["operation"], fault["line"]) == ("input 0", "")


# Refusals -------------------------------------------------------------------------------------------------------------

c = torch.ones(3, dtype=torch.float64)
single, key = torch.ones(3), torch.tensor([0, 1, 2])


def loop(x):
    for _ in range(int(x[0])):
        x = x + 1
    return x


def shown(x):
    print(x)
    return x


def told(x):
    return x, f"{x.sum():.3f}"


def chosen(x):
    if x.sum() > 0:
        return x
    return -x


REFUSED = {
    # L1: captured tensors
    "add_": (lambda x: c.add_(x), "captured"),
    "mul_": (lambda x: (c.mul_(2), x)[1], "captured"),
    "__setitem__": (lambda x: (c.__setitem__(0, x[0]), x)[1], "captured"),
    "add_ to a view": (lambda x: (c.view(-1).add_(x), x)[1], "captured"),
    "copy_": (lambda x: (c.copy_(x), x)[1], "captured"),
    "the function writes out": (lambda x: torch.add(x, 1, out=c), "captured"),
    "unsqueeze_": (lambda x: x + c.unsqueeze_(0)[0], "captured"),
    "resize_": (lambda x: (c.resize_(2), x)[1], "captured"),
    "the function sets": (lambda x: (c.set_(torch.zeros(2, dtype=torch.float64)), x)[1], "captured"),  # type: ignore[arg-type]
    "mul_ in jacfwd": (jacfwd(lambda x: (c.mul_(2), x * c)[1]), "captured"),
    "mul_ in grad": (grad(lambda x: (c.mul_(2) * x).sum()), "captured"),
    "mul_ in vmap": (vmap(lambda x: c.mul_(x)), "captured"),
    # L2: what a trace cannot hold
    "Tensor.__bool__": (chosen, "a condition would have to know"),
    "Tensor.__bool__ in grad": (grad(lambda x: chosen(x).sum()), "a condition would have to know"),
    "Tensor.__bool__ in vmap": (vmap(chosen), "a condition would have to know"),
    "Tensor.__bool__ in max": (lambda x: max(x), "a condition would have to know"),
    "equal": (lambda x: x if torch.equal(x, c) else -x, "whatever the numbers are"),
    "allclose": (lambda x: x if torch.allclose(x, c) else -x, "whatever the numbers are"),
    "Tensor.item in in": (lambda x: x if 1.0 in x else -x, "whatever the numbers are"),
    "Tensor.__float__": (lambda x: x * float(x.sum()), "whatever the numbers are"),
    "Tensor.__float__ in vmap": (vmap(lambda x: x * float(x)), "whatever the numbers are"),
    "Tensor.item": (lambda x: x * x.max().item(), "whatever the numbers are"),
    "Tensor.__index__": (lambda x: x * [1, 2, 3][x.sum().long()], "whatever the numbers are"),
    "Tensor.__int__": (loop, "whatever the numbers are"),
    "Tensor.tolist": (lambda x: x * x.tolist()[0], "whatever the numbers are"),
    "Tensor.numpy": (lambda x: x * torch.from_numpy(x.numpy()), "whatever the numbers are"),
    "Tensor.item in an index": (lambda x: x[x.argmin()], "a sum with weights that are 0 or 1"),
    "argmax": (lambda x: x.gather(0, x.argmax(0, keepdim=True)), "as weights"),
    "gather": (lambda x: x.gather(0, (x > 0).long()), "the index depends on the numbers"),
    "index with numbers": (lambda x: x[(x > 0).long()], "the index depends on the numbers"),
    "index_select": (lambda x: x.index_select(0, (x > 0).long()), "the index depends on the numbers"),
    "index_put": (lambda x: x.index_put(((x > 0).long(),), x), "the index depends on the numbers"),
    "index_add": (lambda x: x.index_add(0, (x > 0).long(), x), "the index depends on the numbers"),
    "scatter": (lambda x: x.scatter(0, (x > 0).long(), x), "the index depends on the numbers"),
    "embedding": (lambda x: F.embedding((x > 0).long(), x[:, None]), "that are 0 or 1"),
    "Tensor.__repr__": (shown, "nothing to print"),
    "Tensor.__format__": (told, "nothing to print"),
    "randn": (lambda x: x + torch.randn(3), "random"),
    "rand": (lambda x: x + torch.rand(3, generator=torch.Generator().manual_seed(0)).double(), "random"),
    "randperm": (lambda x: x[torch.randperm(3)], "random"),
    "rand_like": (lambda x: x + torch.rand_like(x), "random"),
    "bernoulli": (lambda x: F.dropout(x), "random"),
    "bernoulli_": (lambda x: x * torch.empty_like(x).bernoulli_(0.5), "random"),
    "index": (lambda x: x[x > 0], "the shape depends"),
    "_unique2": (lambda x: torch.unique(x), "the shape depends"),
    "nonzero": (lambda x: x[:1] * x.nonzero(), "the shape depends"),
    "masked_select": (lambda x: x.masked_select(x > 0), "the shape depends"),
    "repeat_interleave": (lambda x: x.repeat_interleave((x > 0).long()), "the shape depends"),
    # T4: the wrong kind of number
    "mul": (lambda x: x * single, "torch.float32"),
    "mul with ones": (lambda x: x * torch.ones(3), "torch.float32"),
    "_to_copy": (lambda x: x.float().double(), "torch.float32"),
    "_to_copy to long": (lambda x: x * x.long(), "torch.floor(x)"),
    "_to_copy in an index": (lambda x: x[x[:1].long()], "torch.floor(x)"),
    "output": (lambda x: x.float(), "torch.float32"),
    "output of bool": (lambda x: x > 0, "torch.bool"),
    "output of complex": (lambda x: torch.fft.fft(x), "torch.complex128"),
    "output [0]": (lambda x: (1.0, x), "1.0 is no tensor"),
    # and what the page does not have
    "convolution": (lambda x: F.conv1d(x[None, None], x[None, None, :2]), "no such operation"),
    "convolution in grad": (grad(lambda x: F.conv1d(x[None, None], x[None, None, :2]).sum()), "by unfold"),
    "cumprod": (grad(lambda x: x.prod()), "written out"),
    "max": (lambda x: x.max(0).values, "x.amax(dim)"),
    "round": (lambda x: x.round(), "torch.floor(x + 0.5)"),
    "erf": (lambda x: x.erf(), "a combination of what it has: abs acos"),
    "sort": (lambda x: x.sort()[0], "no such operation"),
    "linalg.svd": (lambda x: L.svdvals(torch.outer(x, x)), "no such operation"),
    "linalg.det": (lambda x: L.det(torch.outer(x, x)), "no such operation"),
    "linalg.matrix_exp": (lambda x: torch.matrix_exp(torch.outer(x, x)), "no such operation"),
    "linalg.qr": (lambda x: L.qr(torch.outer(x, x)).Q, "R only"),
    "floor_divide": (lambda x: x // 2, "no such operation"),
    "div": (lambda x: torch.div(x, 2, rounding_mode="trunc"), "no such operation"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_the_operation_the_line_and_a_way_out(name: str):
    fn, reason = REFUSED[name]
    with pytest.raises(CompileError) as caught:
        live.compile(fn, x)
    message = str(caught.value)
    first, *_ = message.split(":")
    assert name.startswith(first)
    assert reason in " ".join(message.split())
    assert "\nWrite\n    " in message
    if not first.startswith("output"):
        assert re.search(r"\n    (in the derivative of )?test_live_compile.py line \d+, in (a lambda|`\w+`): ", message)
    assert max(map(len, message.split("\n"))) <= 160
    assert c.shape == (3,) and torch.equal(c, torch.ones(3, dtype=torch.float64)) and torch.equal(x, draw(3))


@pytest.mark.parametrize(
    "wrong", [x.to(torch.complex128), x.half(), x.float(), x.long(), x > 0], ids=lambda x: str(x.dtype)
)
def test_inputs_are_float64(wrong: Tensor):
    with pytest.raises(
        CompileError, match=rf"input 1\['w'\]: the dtype is {wrong.dtype}; a\s+page\s+computes\s+in\s+float64"
    ):
        live.compile(lambda x, state: x, x, {"w": wrong})


@pytest.mark.parametrize("wrong", [0.1, 3, None, "tanh", [0.1]])
def test_a_control_is_a_tensor(wrong: Any):
    with pytest.raises(
        CompileError, match=r"is no tensor, and would be frozen into the\s+program\s+Write\s+torch.tensor"
    ):
        live.compile(lambda x, rate: x, x, wrong)


def test_a_control_that_changes_nothing_is_told():
    with pytest.warns(UserWarning, match="input 1 changes nothing"):
        live.compile(lambda x, rate: x * 2 + 0 * rate, x, x[0])


def test_nothing_to_compute():
    with pytest.raises(CompileError, match="no tensor"):
        live.compile(lambda x: [], x)


def test_mistakes_of_the_function_are_its_own():
    with pytest.raises(RuntimeError, match="size"):
        live.compile(lambda x: x + X, x)
    with pytest.raises(ZeroDivisionError):
        live.compile(lambda x: x * (1 // 0), x)


def test_a_captured_tensor_is_copied_when_the_function_is_compiled():
    k = torch.ones(3, dtype=torch.float64)
    program = live.compile(lambda x: x * k, x)
    k.mul_(5)
    assert torch.equal(program.constants[0].value, torch.ones(3, dtype=torch.float64))
    assert torch.equal(run(program, x)[0][0], x)


def test_the_examples_are_not_changed():
    y = x.clone()
    live.compile(lambda x: x.mul_(2), y)
    assert torch.equal(x, y)


def test_the_line_of_a_cell_and_of_a_derivative(monkeypatch: pytest.MonkeyPatch):
    cell = "import torch\n\ndef step(x):\n    return torch.fft.fft(x).abs() ** 2\n"
    monkeypatch.setitem(linecache.cache, "/tmp/ipykernel_12/34.py", (len(cell), None, cell.splitlines(True), ""))
    names: dict[str, Any] = {}
    exec(compile(cell, "/tmp/ipykernel_12/34.py", "exec"), names)
    with pytest.raises(
        CompileError, match=re.escape("\n    cell line 4, in `step`: return torch.fft.fft(x).abs() ** 2\n")
    ):
        live.compile(names["step"], x)


def slopes_of_slopes(f: Any) -> Any:
    return grad(lambda x: grad(f)(x).sum())


@pytest.mark.parametrize("derivative", [grad, slopes_of_slopes, hessian])
def test_a_derivative_names_the_line_that_is_derived(derivative: Any):
    """On the way back torch runs no line of the user, so the message names the line that it comes back to."""

    def loss(x):
        y = torch.tanh(x)
        return (y * y).prod()

    with pytest.raises(CompileError) as caught:
        live.compile(derivative(loss), x)
    place = r"\n    in the derivative of test_live_compile.py line \d+, in `loss`: return \(y \* y\).prod\(\)\n"
    assert re.search(place, str(caught.value))


def test_where_no_line_is_the_user_s_the_call_is():
    with pytest.raises(CompileError, match=r"\n    test_live_compile\.py line \d+, in `\w+`: live.compile\(torch"):
        live.compile(torch.erf, x)
    with pytest.raises(CompileError, match=r"\n    in the derivative of test_live_compile\.py line \d+, in `\w+`: li"):
        live.compile(grad(torch.prod), x)
    with pytest.raises(CompileError, match=r"captured[^<]+\n    test_live_compile.py line \d+.*\n[^<]+nn.RNN as"):
        live.compile(torch.nn.RNN(3, 2, dtype=torch.float64), x[None])


def test_a_fault_in_a_derivative_names_the_line_that_is_derived():
    def loss(x):
        root = torch.sqrt(x)
        return root.sum()

    _, fault = run(live.compile(grad(loss), x.abs()), 0 * x)
    assert fault["kind"] == "not finite"
    assert re.fullmatch(r"in the derivative of test_live_compile.py line \d+, in `loss`: root = .*", fault["line"])


def test_an_argument_left_to_its_default_is_told():
    def step(x, rate=0.1):
        return x * rate

    with pytest.warns(UserWarning, match=r"rate=0.1 is no input of the program[^<]+torch.tensor\(0.1, dtype="):
        live.compile(step, x)
    live.compile(step, x, x[0])
    live.compile(partial(step, rate=0.2), x)
    live.compile(lambda x, *, rate=0.1: x * rate, x)


# The suite can fail -------------------------------------------------------------------------------------------------

WRONG = {  # a formula that is another one; what is not here gets the other sign
    "eq": "+({0}!=={1})",
    "lt": "+({0}<={1})",
    "le": "+({0}<{1})",
    "gt": "+({0}>={1})",
    "ge": "+({0}>{1})",
    "where": "{0}?{2}:{1}",
}


def caught_by(name: str) -> bool:
    """Does the parity test of this row fail?"""
    fn, *args = OPERATIONS[name]
    found, fault = run(live.compile(fn, *args), *args)
    return fault is not None or distance(found, fn(*args)) > 1e-13


@pytest.mark.parametrize("formula", operations.FORMULAS)
def test_a_wrong_formula_is_caught(formula: str, monkeypatch: pytest.MonkeyPatch):
    rows = [name for name in OPERATIONS if formula in compiled(name).operations]
    monkeypatch.setitem(operations.FORMULAS, formula, WRONG.get(formula, f"1-({operations.FORMULAS[formula]})"))
    assert any(map(caught_by, rows))


@pytest.mark.parametrize("power", operations.POWERS)
def test_a_wrong_power_is_caught(power: float, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(operations.POWERS, power, "-" + operations.POWERS[power].replace("1/", "2/"))
    assert caught_by("powers")


FAULTS = {
    "solve": [("s -= m[A + i", "s += m[A + i"), ("m[A + i * n + j] / p", "m[A + i * n + j] * p")],
    "pivots": [("if (pivot !== j)", "if (false)")],
    "triangles": [("j < i; j++) s -=", "j < i; j++) s +=")],
    "cholesky": [("Math.sqrt(s)", "s"), ("m[x + j * n + i] = 0", "m[x + j * n + i] = 1")],
    "qr": [("-Math.sign", "Math.sign"), ("s / (beta", "s / (2 * beta")],
    "eigh": [
        ("sweep < 60", "sweep < 1"),
        ("(h < 0 ? -1 : 1)", "1"),
        ("=> m[A + i * n + i] - m", "=> -m[A + i * n + i] + m"),
    ],
}


@pytest.mark.parametrize(("name", "right", "wrong"), [(name, *x) for name in FAULTS for x in FAULTS[name]])
def test_a_wrong_solver_is_caught(name: str, right: str, wrong: str):
    fn, *args = OPERATIONS[name]
    source = compiled(name).source
    assert source.count(right) == 1
    found, _ = run(replace(compiled(name), source=source.replace(right, wrong)), *args)
    assert distance(found, fn(*args)) > 1e-13


def test_a_wrong_place_is_caught(monkeypatch: pytest.MonkeyPatch):
    """A slice that starts one too late; a sum that runs over the wrong dimension; a loop that shares too much."""
    move = Builder.move
    with monkeypatch.context() as m:
        m.setattr(
            Builder, "move", lambda self, name, f, args: move(self, name, f, args[:1] if name == "flip" else args)
        )
        with pytest.raises(Exception, match="flip"):
            caught_by("turns")
    with monkeypatch.context() as m:
        m.setattr(Builder, "move", lambda self, name, f, args: args[0] if name == "flip" else move(self, name, f, args))
        assert caught_by("turns")
