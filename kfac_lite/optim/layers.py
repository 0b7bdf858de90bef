"""What a layer is to the optimizer: a matrix (W b) per group, applied to rows (a, 1) and giving rows z.

A linear map on extra dimensions has a row a token, a convolution a row an output place, with the patch that the filter
sees there as its a (eq. 4.2, in torch's order: channels first, then offsets, as `weight.flatten(1)` has them).
"""

import math
import weakref
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._compile import _disable_dynamo
from torch.nn import functional as F

__all__ = ["CONVOLUTIONS", "Layer", "Tap", "add_square", "find", "mirrored", "suffixes"]

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
PADDING = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


class Tap:
    """A hook that does not own what it feeds, and that is inert in a copied or pickled module."""

    def __init__(self, method: Callable | None = None):
        self.method = weakref.WeakMethod(method) if method else None  # type: ignore[arg-type]

    @_disable_dynamo  # as in torch's own optimizers: torch.compile leaves this out of its graphs
    def __call__(self, *arguments: Any) -> Any:
        method = self.method() if self.method else None
        return method(*arguments) if method else None

    def __reduce__(self) -> tuple:
        return Tap, ()


class Layer:
    """One block of the metric: the weight and bias of a module, or of several modules that share both.

    A and G are running averages, (g, k, k) and (g, m, m) for g groups of convolution, k with the homogeneous 1. Only
    their lower triangles are kept up to date.
    """

    def __init__(self, name: str, module: Any, trained: set[int], suffix: str = ""):
        self.name, self.modules = name, [module]
        # A recurrent map takes the pair (h, x), and its two biases are one.
        several = ("hh", "ih") if hasattr(module, f"weight_hh{suffix}") else ("",)
        part = lambda kind: [getattr(module, f"{kind}_{which}{suffix}" if which else kind) for which in several]
        self.weights: list[nn.Parameter] = part("weight")
        self.biases: list[nn.Parameter] = part("bias") if has_bias(module) else []
        # Those that the optimizer is to move, weights and biases.
        self.moved = [[p for p in parts if id(p) in trained] for parts in (self.weights, self.biases)]
        self.parameters = self.moved[0] + self.moved[1]
        self.weight = self.weights[0]
        self.groups: int = getattr(module, "groups", 1)
        self.outputs = self.weight.shape[0] // self.groups
        self.inputs = sum(math.prod(weight.shape[1:]) for weight in self.weights)
        self.dtype = torch.promote_types(self.weight.dtype, torch.float32)
        self.A: Any = None
        self.G: Any = None
        self.velocity: Any = None
        self.solver: Any = None
        self.refreshed, self.solved = -1, slice(0)
        self.clear()

    def clear(self) -> None:
        """Forget the batch."""
        self.touched: list[Any] = []
        self.uses: list[Any] = []
        self.sums: tuple[Tensor, Tensor] | None = None
        self.seen: dict[Any, int] = {}  # examples of every forward pass that counts
        self.rows = 0
        self.backwards = 0
        self.blind = False  # the model's distribution does not depend on it
        self.by_rows, self.examined = False, list[float]()

    def zeros(self) -> tuple[Tensor, Tensor]:
        """Empty factors."""
        k = self.inputs + bool(self.biases)
        new = lambda n: torch.zeros(self.groups, n, n, dtype=self.dtype, device=self.weight.device)
        return new(k), new(self.outputs)

    def inputs_of(self, x: Tensor) -> Tensor:
        """The rows a of an input: (g, rows, inputs), without the 1."""
        module, x = self.modules[0], x.to(self.dtype)
        if not isinstance(module, CONVOLUTIONS):
            return x.reshape(1, -1, self.inputs)
        d = len(module.kernel_size)
        if x.dim() == d + 1:
            x = x[None]
        x = padded(x, module)
        for axis, (k, s, step) in enumerate(zip(module.kernel_size, module.stride, module.dilation), 2):
            x = x.unfold(axis, (k - 1) * step + 1, s)[..., ::step]
        # (n, channels, places, offsets) to (g, n places, channels of the group, offsets)
        x = x.unflatten(1, (self.groups, -1))
        order = [1, 0, *range(3, 3 + d), 2, *range(3 + d, 3 + 2 * d)]
        return x.permute(order).reshape(self.groups, -1, self.inputs)

    def outputs_of(self, z: Tensor) -> Tensor:
        """The rows of z, or of its derivative: (g, rows, outputs)."""
        module, z = self.modules[0], z.to(self.dtype)
        if not isinstance(module, CONVOLUTIONS):
            return z.reshape(1, -1, self.outputs)
        d = len(module.kernel_size)
        if z.dim() == d + 1:
            z = z[None]
        z = z.unflatten(1, (self.groups, -1))
        return z.permute(1, 0, *range(3, 3 + d), 2).reshape(self.groups, -1, self.outputs)

    def matrix(self, tensor: Tensor) -> Tensor:
        """A weight or a bias as (g, outputs, columns)."""
        return tensor.reshape(self.groups, self.outputs, -1).to(self.dtype)

    def present(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """The weights, and the biases, that have a gradient."""
        weights, biases = ([p for p in parts if p.grad is not None] for parts in self.moved)
        if 0 < len(weights) < len(self.weights):
            raise ValueError(
                f"layer {self.name!r}: its weights are one block, and only some of them have a gradient. Freeze all of "
                "them, or none."
            )
        return weights, biases

    def gradients(self) -> tuple[Tensor | None, Tensor | None]:
        """Those of the weights, side by side, and of the bias, where there are any: (g, outputs, columns)."""
        weights, biases = ([self.matrix(p.grad) for p in parts if p.grad is not None] for parts in self.present())
        # Two biases act as their sum, and have its derivative each.
        return side_by_side(weights), sum(biases[1:], biases[0]) / len(biases) if len(biases) > 1 else first(biases)

    def gradient(self) -> Tensor:
        found = side_by_side([part for part in self.gradients() if part is not None])
        assert found is not None
        return found

    def moves(self, step: Tensor) -> list[tuple[nn.Parameter, Tensor]]:
        """Every parameter with its part of a step on the columns that have a gradient."""
        found, start = [], 0
        weights, biases = self.present()
        for p in weights:
            width = math.prod(p.shape[1:])
            found.append((p, step[..., start : start + width]))
            start += width
        return found + [(p, step[..., -1] / len(biases) if len(biases) > 1 else step[..., -1]) for p in biases]

    def cheaper(self) -> bool:
        """Whether rows through the inverses take fewer operations than the gradient: few rows, one application."""
        if len(self.uses) != 1 or self.backwards != 1 or isinstance(self.modules[0], CONVOLUTIONS) or not self.precise:
            return False
        o, i, n = self.outputs, self.inputs, self.uses[0].rows
        return n * (o * o + i * i + o * i) < o * i * (o + i)

    @property
    def precise(self) -> bool:
        """Whether backward() worked in the precision of the factors: not in bfloat16, nor under autocast."""
        return self.weight.dtype == self.dtype and all(use.z_dtype == self.dtype for use in self.uses)

    def examine(self) -> None:
        """Whether this step is to take the rows in the place of the gradient, and the numbers that tell."""
        if self.columns() == slice(0, self.inputs + bool(self.biases)) and self.cheaper():
            self.examined = self.compared()
            self.by_rows = self.agree(self.examined)

    def probe(self) -> bool:
        """Whether the weight's gradient is there and can be compared with what was seen."""
        single = len(self.weights) == 1 and self.weight.grad is not None
        return single and self.backwards == 1 and bool(self.uses) and self.precise

    def explained(self) -> bool:
        """Whether the weight's gradient, as it is now, is what came through the applications that were seen.

        Tried on one direction. A penalty in the loss, a use elsewhere, clipping or a hook show here.
        """
        return self.agree(self.compared()[:2])

    def agree(self, compared: list[float]) -> bool:
        loose = 64 * torch.finfo(self.dtype).eps
        return bool(compared) and not any(off > loose * scale for off, scale in zip(compared[::2], compared[1::2]))

    def compared(self) -> list[float]:
        """How far the weight's gradient is from what came through, and the scale of that; and the same for the bias.

        They are finite only if all rows and gradients are. Nothing where there are no rows to compare with.
        """
        weight, bias = self.gradients()
        assert weight is not None
        off, off_bias = weight @ direction(weight), bias
        scale, scale_bias = weight.new_zeros(()), weight.new_zeros(())
        for use in self.uses:
            if use.Dz is None or use.fired != 1:
                return []
            a, Dz = self.inputs_of(use.x), self.outputs_of(use.Dz)
            along = a @ direction(weight)
            off = torch.baddbmm(off, Dz.mT, along, alpha=-1)
            scale = scale + length(Dz) * length(along)
            if off_bias is not None:
                off_bias = off_bias - Dz.sum(-2)[..., None]
                scale_bias = scale_bias + length(Dz) * math.prod(Dz.shape[:-1]) ** 0.5
        found = [length(off), scale]
        if off_bias is not None:
            found += [length(off_bias), scale_bias]
        return torch.stack(found).tolist()

    def columns(self) -> slice:
        """The columns of (W b) that have a gradient."""
        weights, biases = self.present()
        return slice(0 if weights else self.inputs, self.inputs + bool(biases))


def side_by_side(parts: list[Tensor]) -> Tensor | None:
    return torch.cat(parts, -1) if len(parts) > 1 else first(parts)


def first(parts: list[Tensor]) -> Tensor | None:
    return parts[0] if parts else None


def length(tensor: Tensor) -> Tensor:
    return torch.linalg.vector_norm(tensor)


def has_bias(module: Any) -> bool:
    return module.bias is not None and module.bias is not False


def padded(x: Tensor, module: Any) -> Tensor:
    """The input with the border that the convolution adds."""
    if module.padding == "valid":
        return x
    sides = []
    for axis, (k, step) in enumerate(zip(module.kernel_size, module.dilation)):
        if module.padding == "same":
            total = step * (k - 1)
            sides.append((total // 2, total - total // 2))
        else:
            sides.append((module.padding[axis],) * 2)
    if not any(map(any, sides)):
        return x
    return F.pad(x, [side for pair in reversed(sides) for side in pair], mode=PADDING[module.padding_mode])


def direction(weight: Tensor) -> Tensor:
    """A fixed vector without structure, (1, k, 1): the fractional parts of multiples of the golden ratio, centred."""
    return torch.from_numpy(fractions(weight.shape[-1], weight.dtype == torch.float64)).to(weight.device)


@lru_cache(maxsize=64)
def fractions(columns: int, double: bool) -> np.ndarray:
    """As numbers of numpy, which know of no device and no mode of torch."""
    k = np.arange(1, columns + 1)
    return ((k * 0.6180339887498949) % 1 - 0.5).astype(np.float64 if double else np.float32)[None, :, None]


# Covariances -----------------------------------------------------------------------------------------------------


def add_square(S: Tensor, rows: Tensor, beta: float, alpha: float) -> None:
    """S <- beta S + alpha r^T r for rows (g, R, k), in place; rows get a 1 where S has one more row than they have.

    Only the lower triangle is computed, in blocks of columns; for one group without a copy of the rows.
    """
    g, k = rows.shape[0], rows.shape[-1]
    if g > 1:
        if S.shape[-1] > k:
            rows = torch.cat([rows, torch.ones_like(rows[..., :1])], -1)
        S.baddbmm_(rows.mT, rows, beta=beta, alpha=alpha)
        return
    r, T = rows[0], S[0]
    blocks = 4 if k > 600 else 2 if k >= 128 else 1
    width = -(-k // blocks)
    for i in range(0, k, width):
        T[i:k, i : i + width].addmm_(r[:, i:].T, r[:, i : i + width], beta=beta, alpha=alpha)
    if T.shape[-1] > k:
        T[k, :k].mul_(beta).add_(r.sum(0), alpha=alpha)
        T[k, k].mul_(beta).add_(alpha * len(r))


def mirrored(S: Tensor) -> Tensor:
    """The symmetric matrix, a copy, whose lower triangle S holds."""
    return S.tril() + S.tril(-1).mT


# Which layers ----------------------------------------------------------------------------------------------------


def find(model: nn.Module, parameters: Iterable[nn.Parameter]) -> tuple[list[Layer], list[tuple[str, str]]]:
    """The layers of a model whose parameters are wanted, and (name, why not) of every other module with such ones."""
    wanted = {id(p) for p in parameters}
    owners: dict[int, list[tuple[str, nn.Module]]] = {}
    for name, module in model.named_modules():
        for p in module._parameters.values():
            if p is not None and id(p) in wanted:
                owners.setdefault(id(p), []).append((name, module))
    layers: dict[tuple, Layer] = {}
    others: list[tuple[str, str]] = []
    for name, module in model.named_modules():
        own = [p for p in module._parameters.values() if p is not None and id(p) in wanted]
        if not own:
            continue
        reason = untreatable(module)
        peers = {other for p in own for other, _ in owners[id(p)]} - {name}
        if not reason and peers:
            same = {(type(m), id(m._parameters["weight"]), id(m._parameters.get("bias"))) for p in own
                    for _, m in owners[id(p)] if "weight" in m._parameters}  # fmt: skip
            if len(same) > 1 or not isinstance(module, nn.Linear) or "weight" not in module._parameters:
                reason = type(module).__name__
        if reason:
            reason += f", shares a parameter with {', '.join(map(repr, sorted(peers)))}" if peers else ""
            others.append((name, reason))
            continue
        if isinstance(module, nn.RNN):
            for suffix in suffixes(module):
                layers[id(module), suffix] = Layer(f"{name}.{suffix[1:]}".lstrip("."), module, wanted, suffix)
            continue
        key = (id(module), "") if isinstance(module, nn.RNNCell) else (id(module.weight), id(module.bias))
        if key in layers:
            layers[key].modules.append(module)
        else:
            layers[key] = Layer(name, module, wanted)
    return list(layers.values()), others


def untreatable(module: nn.Module) -> str:
    """Why a module is no layer for K-FAC, or nothing."""
    kind = type(module).__name__
    for base in (nn.Linear, *CONVOLUTIONS, nn.RNN, nn.RNNCell):
        if isinstance(module, base):
            names = {"weight", "bias"}
            if isinstance(module, nn.RNN | nn.RNNCell):
                ends = suffixes(module) if isinstance(module, nn.RNN) else [""]
                names = {f"{part}_{which}{end}" for part in names for which in ("ih", "hh") for end in ends}
            if {n for n in names if n.startswith("weight")} - set(module._parameters) or set(
                module._parameters
            ) - names:
                return f"{kind} with parameters of its own"
            if type(module).forward is not base.forward or type(module).__call__ is not nn.Module.__call__:
                return f"{kind} with a forward of its own"
            if isinstance(module, nn.RNN) and module.dropout and module.num_layers > 1:
                return f"{kind} with dropout between its layers"
            return ""
    return kind


def suffixes(module: Any) -> list[str]:
    """_l0, _l0_reverse, _l1, ... of a recurrent module, in the order of its hidden states."""
    directions = ("", "_reverse") if module.bidirectional else ("",)
    return [f"_l{i}{direction}" for i in range(module.num_layers) for direction in directions]
