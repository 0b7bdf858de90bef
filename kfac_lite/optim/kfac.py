"""The paper's K-FAC as a torch optimizer (eq. 2.8 to 2.10, 4.5, 4.6, 5.3)."""

import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from . import checkpoint
from . import damping as damped
from .check import Report, check
from .layers import Layer, find, mirrored
from .options import checked, due, processes
from .recorder import Recorder, remove

__all__ = ["KFAC"]


class KFAC(torch.optim.Optimizer):
    """K-FAC for the linear, convolution and plain recurrent layers of a model; SGD with momentum for what is left.

        opt = KFAC(model, lr=0.05, damping=1e-3, likelihood="categorical")     # in place of torch.optim.SGD(...)

    A layer's block is A (x) G, weight and bias together: A = |T| E[a-bar a-bar^T] and G = E[Dz Dz^T], the means over
    examples and, where a layer is applied at several places, tokens or times, over those too (eq. 2.8, 4.5, 5.3). A
    step is W <- W - lr G^-1 (gradient) A^-1. An example is an entry of the first axis of what the model returns.

    Treated are nn.Linear, on any extra dimensions, nn.Conv1d to Conv3d, nn.RNN and nn.RNNCell (one map of (h, x) a
    layer and direction; the recurrence is computed once more, step by step). A layer may be applied several times.

    model: returns the natural parameters, an example per entry of the first axis: logits (classes on the last axis) or
        predictions; or a dict of such tensors. Do not call its layers outside of its forward.
    params: which of its parameters to train, as for any torch optimizer, groups too; None for all. A group may have lr,
        momentum, weight_decay and damping of its own; the weight and the bias of one layer share all but lr and decay.
    lr: a number; for a schedule take one of torch.optim.lr_scheduler. The largest that holds grows with the damping.
    damping: a number, or a function of the step's number; 0 for none. It is added to every block as `damping` times the
        identity matrix *in the model's own basis*, so the step then depends on that basis (Remark 3.12), unless
        `metric` says what else to add.
    damping_form: "factored", A + sqrt(damping) pi and G + sqrt(damping) / pi, where pi^2 is the mean eigenvalue of A
        over that of G; or "exact", A (x) G + damping, by an eigendecomposition.
    metric: {layer name: (A', G')}, positive definite, to stand in the place of the identity matrices. A metric that is
        carried along with a change of basis keeps the step invariant; the eigenvalues in pi are then relative to it.
    fisher: "mc", targets drawn from the model's distribution, by one more backward pass, down to pre-activations only;
        "exact", the expectation over those targets, by one pass for every output of an example, refused above
        `exact_limit` outputs; "empirical", the loss's own derivatives.
    likelihood: "categorical", "bernoulli" or "gaussian" (unit variance), of the model's outputs; {key: name} where the
        model returns a dict. Not needed for the empirical Fisher.
    reduction: "mean" where the loss is the mean over the examples of a step of something, "sum" where it is the sum.
        Only the empirical Fisher asks: the others do not look at the loss.
    decay: of the running averages of A and G, which start from the first batch; a number or a function of the step.
    factor_every, inverse_every: renew the factors, and their inverses, after so many steps; numbers or functions of the
        step.
    momentum, weight_decay: a running sum of steps; and decoupled, w <- w - lr weight_decay w.
    kl_clip: None, or the bound of a trust region: a step is shortened so that lr^2 <step, gradient>, twice the
        divergence that the blocks predict for it, stays below. Momentum comes after it.
    seed: of the targets that are drawn, which depend on it and on the number of the step and on nothing else.

    One process: a DistributedDataParallel of several is refused, also in the forward pass of one around the model; a
    step in one of several processes warns, for gradients may be averaged by hand. Treated by
    torch.compile, a model takes the same steps, with its graph broken at every layer.

    Factors are in float32, or float64 where the model is, also for a model in bfloat16, under autocast and with a
    GradScaler. Micro-batches whose gradients add up before a step are one batch. A forward pass counts when backward()
    reaches parameters through it: evaluation, and a loss that is thrown away, change nothing.

    A parameter of no such layer follows w <- w - lr v with v <- momentum v + gradient; a warning at the start names
    those modules. Another names a layer whose gradient did not come through the forward passes that were seen.
    """

    def __init__(
        self,
        model: nn.Module,
        params: Iterable[Any] | None = None,
        *,
        lr: float,
        damping: float | Callable[[int], float] = 1e-3,
        likelihood: str | dict[str, str] | None = None,
        fisher: str = "mc",
        damping_form: str = "factored",
        metric: dict[str, tuple[Tensor, Tensor]] | None = None,
        decay: float | Callable[[int], float] = 0.95,
        factor_every: int | Callable[[int], int] = 1,
        inverse_every: int | Callable[[int], int] = 10,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        kl_clip: float | None = None,
        reduction: str = "mean",
        exact_limit: int = 100,
        seed: int = 0,
    ):
        self._arguments: dict[str, Any] = dict(
            lr=lr, damping=damping, likelihood=likelihood, fisher=fisher, damping_form=damping_form, metric=metric,
            decay=decay, factor_every=factor_every, inverse_every=inverse_every, momentum=momentum,
            weight_decay=weight_decay, kl_clip=kl_clip, reduction=reduction, exact_limit=exact_limit, seed=seed,
        )  # fmt: skip
        checked(model, self._arguments)
        defaults = {key: self._arguments[key] for key in ("lr", "momentum", "weight_decay", "damping")}
        self.model, self._steps = model, 0
        self._recorder: Any = None
        super().__init__(model.parameters() if params is None else params, defaults)
        self._attach()

    def _attach(self) -> None:
        if self._recorder is not None:
            self._recorder.detach()
        parameters = [p for group in self.param_groups for p in group["params"]]
        self._layers, others = find(self.model, parameters)
        self._groups = {id(p): group for group in self.param_groups for p in group["params"]}
        self._names = {id(p): name for name, p in self.model.named_parameters()}
        checkpoint.same_groups(self._layers, self._groups)
        missing = {layer.name for layer in self._layers} - set(self._arguments["metric"] or ())
        if self._arguments["metric"] is not None and missing:
            raise ValueError(f"metric has no pair (A', G') for the layers {sorted(missing)}")
        if strangers := [p for p in parameters if id(p) not in self._names]:
            raise ValueError(f"{len(strangers)} of the parameters do not belong to the model")
        self._warned: set[str] = set()
        self._moved: set[int] = set()
        if others:
            named = ", ".join(f"{name!r} ({why})" for name, why in others)
            warnings.warn(
                f"K-FAC treats Linear, convolution and RNN layers; these follow SGD with the same lr and momentum: "
                f"{named}. "
                "Give them a parameter group of their own for another rate.",
                stacklevel=3,
            )
        self._recorder = Recorder(self.model, self._layers, self._arguments)
        self._prepare()
        self._finalizer = weakref.finalize(self, remove, self._recorder.handles)

    def _prepare(self) -> None:
        """Tell the hooks what the next step needs."""
        recorder = self._recorder
        recorder.step, recorder.passes = self._steps, 0
        recorder.wanted = due(self._arguments["factor_every"], self._steps, self._renewed)
        recorder.probed = self._steps == 0

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Train more parameters, say of layers that were frozen. Layers keep their factors."""
        super().add_param_group(param_group)
        if getattr(self, "_recorder", None) is not None:
            state = self.state_dict()
            self._attach()
            checkpoint.restore(self, state["state"])

    # A step ----------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> Any:  # type: ignore[override]
        """One step from the gradients that `backward()` left; returns what the closure, if any, returned.

        Raises ValueError for factors that are not finite, and DegenerateMetricError for a singular factor; parameters
        are then as before.
        """
        loss = None
        if not self._recorder.attached:
            raise RuntimeError(
                "another KFAC was built for this model, and took this one's hooks away. Use the new one."
            )
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.autocast(self.param_groups[0]["params"][0].device.type, enabled=False):
            self._step()
        return loss

    def _step(self) -> None:
        if checkpoint.overflowed(self):
            for layer in self._layers:
                layer.clear()
            return
        if all(p.grad is None for group in self.param_groups for p in group["params"]):
            raise RuntimeError("no parameter has a gradient. Call loss.backward() before opt.step().")
        layers = [layer for layer in self._layers if any(p.grad is not None for p in layer.parameters)]
        if self._arguments["damping_form"] == "factored":
            for layer in layers:
                layer.examine()
        checkpoint.refuse_not_finite(layers, self._steps)
        seen = [layer for layer in layers if (layer.uses or layer.sums) and not layer.blind]
        if self._recorder.wanted and seen:
            for layer in seen:
                self._renew(layer)
            self._renewed = self._steps
        for layer in layers:
            self._invert(layer)
        self._warn(layers)
        self._move(layers)
        if self._steps == self._since and processes() > 1:
            warnings.warn(
                f"torch.distributed runs {processes()} processes, and A and G are made of this one's batches alone. "
                "Replicas whose gradients are averaged would part; independent models are right.",
                stacklevel=5,
            )
        for layer in self._layers:
            layer.clear()
        self._steps += 1
        if self._steps - self._since == 20:
            self._warn_of_idle()
        self._prepare()

    _step_supports_amp_scaling = True  # torch's GradScaler leaves the scale to us
    _since = 0
    _renewed = -1  # the step at which the factors were renewed last

    def _renew(self, layer: Layer) -> None:
        """The running averages: A <- decay A + (1 - decay) A of this batch; the first batch's own at the first."""
        decay = self._value("decay") if layer.A is not None else 0.0
        if layer.A is None:
            layer.A, layer.G = layer.zeros()
        n = sum(layer.seen.values())
        rows = layer.rows + sum(use.rows for use in layer.uses)
        scale = n * n if self._arguments["fisher"] == "empirical" and self._arguments["reduction"] == "mean" else 1
        alpha, alpha_g = (1 - decay) / n, (1 - decay) * scale / rows
        if layer.sums is None:
            self._recorder.add(layer, layer.A, layer.G, decay, alpha, alpha_g)
            return
        if layer.uses:
            self._recorder.fold(layer)
            layer.uses = []
        A, G = layer.sums
        layer.A.mul_(decay).add_(A, alpha=alpha)
        layer.G.mul_(decay).add_(G, alpha=alpha_g)

    def _invert(self, layer: Layer) -> None:
        if layer.A is None:
            return
        every = self._arguments["inverse_every"]
        columns = layer.columns()
        if layer.solver is not None and layer.solved == columns and not due(every, self._steps, layer.refreshed):
            return
        damping = self._groups[id(layer.parameters[0])]["damping"]
        damping = damping(self._steps) if callable(damping) else damping
        metric = self._arguments["metric"] and self._arguments["metric"][layer.name]
        layer.solver = damped.invert(layer, damping, self._arguments["damping_form"], metric, every == 1)
        layer.refreshed, layer.solved = self._steps, columns

    def _move(self, layers: list[Layer]) -> None:
        moves: list[Any] = []
        for layer in layers:
            if layer.solver is not None:
                moves.append((layer, *self._direction(layer)))
        shorter = 1.0
        if self._arguments["kl_clip"] is not None:
            shorter, moves = self._shortened(moves)
        for layer, left, right in moves:
            group = self._groups[id(layer.parameters[0])]
            if layer.velocity is None:
                A, G = layer.zeros()
                layer.velocity = torch.zeros_like(G[..., :1]) * torch.zeros_like(A[..., :1, :])
            V = layer.velocity[..., layer.solved]
            if left is None:
                V.mul_(group["momentum"]).add_(right, alpha=shorter)
            else:
                product = V[0].addmm_ if len(V) == 1 else V.baddbmm_
                product(*((left[0], right[0]) if len(V) == 1 else (left, right)), beta=group["momentum"], alpha=shorter)
            for p, step in layer.moves(V):
                self._subtract(p, step)
        moved = {id(p) for layer, _, _ in moves for p in layer.parameters}
        self._moved |= {id(p) for group in self.param_groups for p in group["params"] if p.grad is not None}
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None and id(p) not in moved:
                    step = p.grad
                    if group["momentum"]:
                        state = self.state[p]
                        step = state["momentum"] = group["momentum"] * state.get("momentum", 0) + p.grad
                    self._subtract(p, step)

    def _direction(self, layer: Layer) -> tuple[Tensor | None, Tensor]:
        if layer.by_rows:
            use = layer.uses[0]
            return layer.solver.rows(layer.inputs_of(use.x)[0], layer.outputs_of(use.Dz)[0], bool(layer.biases))
        return layer.solver.apply(layer.gradient())

    def _shortened(self, moves: list[Any]) -> tuple[float, list[Any]]:
        """The factor of the trust region, and the moves with their products formed."""
        formed, total = [], 0.0
        for layer, left, right in moves:
            P = right if left is None else left @ right
            formed.append((layer, None, P))
            total += self._groups[id(layer.parameters[0])]["lr"] ** 2 * float((P * layer.gradient()).sum())
        bound = self._arguments["kl_clip"]
        return (min(1.0, (bound / total) ** 0.5) if total > 0 else 1.0), formed

    def _subtract(self, p: Tensor, step: Tensor) -> None:
        group = self._groups[id(p)]
        if group["weight_decay"]:
            p.mul_(1 - group["lr"] * group["weight_decay"])
        p.add_(step.reshape(p.shape), alpha=-float(group["lr"]))

    def _warn(self, layers: list[Layer]) -> None:
        def once(name: str, text: str) -> None:
            if name not in self._warned:
                self._warned.add(name)
                warnings.warn(text, stacklevel=7)

        sgd = "It follows SGD with the same lr and momentum."
        for layer in layers:
            if not layer.uses and not layer.sums:
                once(
                    layer.name,
                    f"layer {layer.name!r} has a gradient, and its forward was never seen within the model's: its "
                    "weight is used without calling the module, or the module is called outside of the model. "
                    + (sgd if layer.A is None else "It follows older factors."),
                )
            elif layer.blind:
                once(
                    layer.name,
                    f"layer {layer.name!r} does not act on the outputs that likelihood names, so its Fisher metric is "
                    f"zero. {sgd}",
                )
        for name in self._recorder.surprises:
            once(
                f"{name}.weight",
                f"the gradient of layer {name!r} is more than what came through its forward: the loss has a penalty on "
                "the weight, or the weight is used elsewhere too. The step takes the whole gradient; A and G know the "
                "forward alone.",
            )
        self._recorder.surprises.clear()

    def _warn_of_idle(self) -> None:
        parameters = [p for group in self.param_groups for p in group["params"]]
        idle = [self._names[id(p)] for p in parameters if p.requires_grad and id(p) not in self._moved]
        if idle:
            warnings.warn(
                f"these parameters had no gradient in 20 steps, and stand still: {', '.join(idle)}. Is the loss "
                "computed from what they make?",
                stacklevel=6,
            )

    def _value(self, name: str) -> Any:
        value = self._arguments[name]
        return value(self._steps) if callable(value) else value

    # What others see -------------------------------------------------------------------------------------------------

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, and the batches that made them."""
        super().zero_grad(set_to_none)
        self._recorder.passes = 0
        for layer in self._layers:
            layer.clear()

    def factors(self) -> dict[str, tuple[Tensor, Tensor]]:
        """(A, G) of every layer by its name in the model: copies, without damping.

        A has the homogeneous 1 last; a convolution's inputs are ordered as in `weight.flatten(1)`. For the block with
        vec stacking the columns of (W b), as in the paper, write torch.kron(A, G). Grouped convolutions have a leading
        axis of groups.
        """
        found = {}
        for layer in self._layers:
            if layer.A is not None and layer.G is not None:
                pair = mirrored(layer.A), mirrored(layer.G)
                found[layer.name] = pair if layer.groups > 1 else (pair[0][0], pair[1][0])
        return found

    @contextmanager
    def padding(self, real: Tensor) -> Iterator[None]:
        """`with opt.padding(real): loss = ...`: tokens (n, T) where `real` is False count nowhere.

        Linear layers on (n, T, channels) leave them out of A and G, and no targets are drawn for them where the model
        returns (n, T, d). Leave them out of the loss as well (`ignore_index`). Convolutions do not look at `real`;
        recurrent layers take a PackedSequence instead.
        """
        if real.dtype != torch.bool or real.dim() < 2:
            raise TypeError(f"padding takes a mask of torch.bool, (n, T), True for what is real; not {real.dtype}, "
                            f"{tuple(real.shape)}")  # fmt: skip
        self._recorder.real = real
        try:
            yield
        finally:
            self._recorder.real = None

    def check(self, *inputs: Any, loss: Callable | None = None, examples: int = 8) -> Report:
        """Hold the factors to the dense Fisher of a few examples, on a copy of the model in float64; print the answer.

        inputs: what the model takes, an example per entry of the first axis; the first `examples` are used. The cost is
            a backward pass for every example, output and layer, and the memory of so many gradients.
        loss: a function of the model's output for these examples, the training loss with its targets (where there is
            one likelihood). The report then says which multiple of the mean of -log p it is, and whether it belongs to
            the likelihood at all.

        Layer by layer: how often it is applied, the relative error of A (x) G for one example and for all, the ratio of
        the traces, and the likely cause. Nothing of the model, the optimizer or the random state changes.
        """
        return check(self, inputs, loss, examples)

    def state_dict(self) -> dict[str, Any]:  # type: ignore[override]
        """Everything that the next step depends on, by the names of the model: tensors, numbers and names only."""
        return checkpoint.state_dict(self)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:  # type: ignore[override]
        """Go on as the optimizer that gave this state would. Factors keep their dtype; functions stay as given."""
        checkpoint.load(self, state_dict)

    def __reduce__(self) -> tuple:
        groups = [{**group, "params": list(group["params"])} for group in self.param_groups]
        return checkpoint.rebuild, (type(self), self.model, groups, self._arguments, self.state_dict())
