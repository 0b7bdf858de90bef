"""Is the scale right for my model? Factors against the dense Fisher blocks of a few examples, and the loss's scale.

The dense block of a layer is E[s s^T], with s = vec(d(-log p) / d(W b)) of one example, y from the model (eq. 2.2). Its
distance from A (x) G is computed from inner products; no block is ever formed.
"""

import copy
import math
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from . import likelihoods
from .layers import Layer, add_square, mirrored

__all__ = ["LayerCheck", "Report", "check"]

WIDE = 80  # columns of a printed report
ROUNDING = 1e-6  # the error is the root of a difference, and so rounds to no less than some 1e-8


@dataclass
class LayerCheck:
    """What was found for a layer.

    times: how often it was applied for an example (places, tokens, times).
    one: relative error of A (x) G, in the Frobenius norm, for one example: 0 for a layer that was applied once, NaN
        where the model takes no single example.
    batch: the same for the examples together: what assuming independence costs (2.1.3, 4.3).
    scale: trace(A) trace(G) over the trace of the dense block; 1 for one example and one application.
    """

    name: str
    times: float = 0.0
    one: float = float("nan")
    batch: float = float("nan")
    scale: float = float("nan")
    cause: str = ""


@dataclass
class Report:
    """Printed, a table. `right` says whether nothing was found that is wrong in the model or the loss.

    loss_scale: which multiple of the mean of -log p the loss is; None where it is none, or was not given.
    """

    examples: int
    layers: list[LayerCheck]
    loss_scale: float | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def right(self) -> bool:
        return not self.notes and not any(layer.cause.startswith("wrong") for layer in self.layers)

    def __str__(self) -> str:
        width = max([len(layer.name) for layer in self.layers] + [5])
        lines = [f"{'layer':{width}}  times  one example  {self.examples:3} examples  scale"]
        for layer in self.layers:
            one, batch = map(shown, (layer.one, layer.batch))
            numbers = f"{layer.times:7.4g}  {one:>11}  {batch:>12}  {layer.scale:5.2f}"
            lines.append(f"{layer.name:{width}}{numbers}")
            lines += textwrap.wrap(layer.cause, WIDE, initial_indent="    ", subsequent_indent="    ")
        if self.loss_scale is not None:
            lines.append(f"loss: {self.loss_scale:.4g} times the mean over the examples of -log p")
        for note in self.notes:
            lines += textwrap.wrap(f"note: {note}", WIDE, subsequent_indent="    ")
        return "\n".join(lines)


def shown(error: float) -> str:
    return "-" if math.isnan(error) else f"{error:.1e}" if error >= ROUNDING else f"< {ROUNDING:.0e}"


def check(opt: Any, inputs: tuple, loss: Callable | None, most: int) -> Report:
    """The report, from a copy of the model in float64."""
    model = copy.deepcopy(opt.model).double().requires_grad_()
    inputs = tuple(x.double() if isinstance(x, Tensor) and x.is_floating_point() else x for x in inputs)
    options = {**opt._arguments, "fisher": "exact", "metric": None, "exact_limit": float("inf")}
    if options["likelihood"] is None:
        raise ValueError("check draws targets from the model: name their distribution, KFAC(..., likelihood=...)")
    few = lambda n: tuple(x[:n] if isinstance(x, Tensor) and x.dim() else x for x in inputs)
    with torch.random.fork_rng(), torch.enable_grad():
        report, found = examine(type(opt), model, few(most), options)
        own = {layer.name for layer in opt._layers}
        report.layers = [layer for layer in report.layers if layer.name in own]
        single: Report | None = report
        if report.examples > 1:
            single = None
            try:
                single, _ = examine(type(opt), model, few(1), options)
            except ValueError as error:  # batch normalisation refuses a single example
                report.notes.append(f"one example alone cannot be computed: {error}")
        alone = {layer.name: layer.batch for layer in single.layers} if single else {}
        for layer in report.layers:
            layer.one = alone.get(layer.name, float("nan"))
            explain(layer)
        mixed(model, few(most), report)
        if loss is not None and found:
            scale_of(loss, found, report)
    return report


def examine(kind: type, model: Any, inputs: tuple, options: dict[str, Any]) -> tuple[Report, list[tuple[Tensor, str]]]:
    """Factors and dense blocks of these examples. `batch` is filled in."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opt = kind(model, **options)
    recorder = opt._recorder
    kept: list[Any] = []
    recorder.keep = kept
    output = model(*inputs)
    found = likelihoods.pairs(options["likelihood"], output)
    n = len(found[0][0])
    given = [len(x) for x in inputs if isinstance(x, Tensor) and x.dim()]
    report = Report(n, [])
    if given and n != given[0]:
        report.notes.append(
            f"the model returned {n} rows for {given[0]} entries of its input's first axis. An example must be an "
            "entry of the first axis of the output, or every factor has the scale of another number of examples."
        )
    uses = {id(layer): [use for use in kept if use.layer is layer] for layer in opt._layers}
    scores: dict[int, list[Tensor]] = {id(layer): [] for layer in opt._layers}
    for eta, name in found:
        for D in likelihoods.enumerated(eta, name):
            for i in range(n):
                only = torch.zeros_like(D)
                only[i] = D[i]
                for layer in opt._layers:
                    if uses[id(layer)]:
                        scores[id(layer)].append(score(layer, eta, only))
    for layer in opt._layers:
        report.layers.append(compare(layer, uses[id(layer)], scores[id(layer)], n))
    return report, found


def score(layer: Layer, eta: Tensor, D: Tensor) -> Tensor:
    grads = torch.autograd.grad(eta, [*layer.weights, *layer.biases[:1]], D, retain_graph=True, allow_unused=True)
    parts = [
        layer.matrix(torch.zeros_like(p) if g is None else g)
        for p, g in zip([*layer.weights, *layer.biases[:1]], grads)
    ]
    return torch.cat(parts, -1)


def compare(layer: Layer, uses: list[Any], scores: list[Tensor], n: int) -> LayerCheck:
    if not uses:
        return LayerCheck(layer.name, cause="wrong: its forward was not seen; it follows SGD")
    rows = sum(use.rows for use in uses)
    A, G = layer.zeros()
    for use in uses:
        add_square(A, layer.inputs_of(use.x), 1.0, 1 / n)
        G += 0 if use.square is None else use.square / rows
    A, G = mirrored(A), mirrored(G)
    S = torch.stack(scores)  # (c n, groups, m, k)
    gram = torch.einsum("agmk,bgmk->gab", S, S) / n
    dense = (gram**2).sum()
    cross = (S * (G @ S @ A)).sum() / n
    ours = ((A**2).sum((-1, -2)) * (G**2).sum((-1, -2))).sum()
    trace = lambda M: M.diagonal(dim1=-2, dim2=-1).sum(-1)
    zero = float(dense) == 0
    error = 0.0 if zero else float((ours - 2 * cross + dense).clamp(min=0).sqrt() / dense.sqrt())
    scale = float("nan") if zero else float((trace(A) * trace(G)).sum() / (S**2).sum() * n)
    return LayerCheck(layer.name, rows / n, float("nan"), error, scale)


def explain(layer: LayerCheck) -> None:
    if layer.cause:
        return
    if layer.times <= 1 and layer.one > ROUNDING:
        layer.cause = "wrong: the weight also acts outside of its forward, or the examples are mixed"
    elif layer.times > 1:
        layer.cause = "cross terms between its places are left out (Remark 4.1)"


def mixed(model: Any, inputs: tuple, report: Report) -> None:
    """Whether the outputs of one example depend on another example."""
    if not inputs or not isinstance(inputs[0], Tensor) or not inputs[0].is_floating_point() or len(inputs[0]) < 2:
        return
    x = inputs[0].clone().requires_grad_()
    output = model(x, *inputs[1:])
    first = next(iter(output.values())) if isinstance(output, dict) else output
    (grad,) = torch.autograd.grad((first[0] * torch.arange(1, first[0].numel() + 1).view_as(first[0])).sum(), x)
    if bool(grad[1:].abs().max() > 1e-12 * grad.abs().max()):
        report.notes.append(
            "the outputs of one example depend on other examples (batch normalisation in training mode does that). The "
            "Fisher metric is that of independent examples."
        )


def scale_of(loss: Callable, found: list[tuple[Tensor, str]], report: Report) -> None:
    """Natural parameters: the second derivative of -log p is the Fisher metric, whatever the targets are."""
    for eta, name in found:
        point = eta.detach().clone().requires_grad_()
        (D,) = torch.autograd.grad(loss(point), point, create_graph=True)
        v = torch.cos(torch.arange(point.numel(), dtype=point.dtype)).view_as(point)
        (H,) = torch.autograd.grad(D, point, v, allow_unused=True) if D.requires_grad else (None,)
        F = torch.zeros_like(v)
        for D_c in likelihoods.enumerated(point, name):
            F += D_c * (D_c * v).reshape(len(v), -1).sum(1).view(-1, *[1] * (v.dim() - 1))
        H = torch.zeros_like(v) if H is None else H
        scale = float((H * F).sum() / (F * F).sum()) * len(point)
        if (H * len(point) - scale * F).norm() <= 1e-6 * (H.norm() * len(point) + 1e-300) and scale:
            report.loss_scale = scale
        else:
            report.notes.append(
                f"the loss is not a multiple of the mean of -log p for likelihood={name!r}: its second derivative is "
                "another one. Is the likelihood the one of the loss?"
            )
