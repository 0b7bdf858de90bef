"""Seeing the model at work: what every layer was applied to, and the derivatives of the model's own log-likelihood.

A forward pass counts as training when `backward()` reaches the layer's parameters through it. Nothing else does:
passes under `no_grad`, evaluation, a loss that is thrown away, derivatives taken by `autograd.grad`. What a pass has
seen hangs on its graph and goes when the graph goes.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from . import likelihoods, recurrent
from .layers import Layer, Tap, add_square
from .options import in_replica, refuse_replicas

__all__ = ["Pass", "Recorder", "Use"]


class Pass:
    """One forward pass of the model: its examples, and whether their outputs were finite."""

    def __init__(self, real: Tensor | None) -> None:
        self.examples, self.real = 0, real
        self.sampling = False
        self.outputs: list[Tensor] = []
        self.uses: list[Use] = []


class Use:
    """One application of a layer in a forward pass. As a hook of z it learns Dz, the loss's derivative."""

    def __init__(self, layer: Layer, x: Tensor, z: Tensor, during: Pass):
        self.layer, self.during = layer, during
        # A convolution's (n, channels, places) may look like (n, T, channels).
        self.real = during.real if isinstance(layer.modules[0], nn.Linear) and fits(during.real, x) else None
        # Data may lie in a buffer that the next batch overwrites before step(); activations belong to the graph.
        self.x = self.of_real(x.detach().clone() if x.grad_fn is None else x.detach())
        self.version = self.x._version
        self.rows = z.numel() // layer.weight.shape[0] if self.real is None else int(self.real.sum())
        self.z_dtype = z.dtype
        self.edge: Any = get_gradient_edge(z)
        self.g: Tensor | None = None  # sampled derivatives
        self.square: Tensor | None = None  # or their enumerated squares, summed over rows
        self.Dz: Tensor | None = None
        self.counts, self.fired = False, 0

    def __call__(self, grad: Tensor) -> None:
        if self.during.sampling:
            return
        self.fired += 1
        grad = self.of_real(grad.detach())
        self.Dz = self.Dz + grad if self.counts and self.Dz is not None else grad
        if not self.counts and self not in self.layer.touched:
            self.layer.touched.append(self)

    def of_real(self, tokens: Tensor) -> Tensor:
        """Without the padding, where there is any."""
        return tokens if self.real is None else tokens[self.real]


class Recorder:
    """The hooks of one optimizer."""

    def __init__(self, model: nn.Module, layers: list[Layer], options: Any):
        self.layers, self.options = layers, options
        self.of: dict[int, list[Layer]] = {}
        for layer in layers:
            for module in layer.modules:
                self.of.setdefault(id(module), []).append(layer)
        self.by_parameter = {id(p): layer for layer in layers for p in layer.parameters}
        self.current: Pass | None = None
        self.handles: list[Any] = []
        self.attached = True
        self.step = self.passes = 0
        self.probed = self.wanted = True
        self.surprises: list[str] = []
        self.real: Tensor | None = None  # which tokens are no padding
        self.keep: list[Use] | None = None  # for a check: all that was seen
        for module in model.modules():
            expel(module)
        self.handles.append(model.register_forward_pre_hook(Tap(self.begin)))
        for module in model.modules():
            if id(module) in self.of:
                self.handles.append(module.register_forward_hook(Tap(self.used), with_kwargs=True))
        self.handles.append(model.register_forward_hook(Tap(self.end), always_call=True))
        self.watched: set[int] = set()

    def detach(self) -> None:
        self.attached = False
        for layer in self.layers:
            layer.clear()
        remove(self.handles)

    # In the order in which a step meets them

    def begin(self, module: nn.Module, inputs: Any) -> None:
        """Before the model's forward."""
        self.current = None
        if not torch.is_grad_enabled():
            return
        if in_replica():
            refuse_replicas()
        self.current = Pass(self.real)
        for layer in self.layers:
            layer.touched.clear()

    def used(self, module: nn.Module, inputs: tuple, named: dict[str, Any], output: Any) -> Any:
        """After the forward of a layer. What it returns, if anything, takes the place of the output."""
        layers, during = self.of[id(module)], self.current
        if during is None or not any(p.requires_grad for layer in layers for p in layer.parameters):
            return None
        if foreign(next(tensors(output))):
            return None
        if isinstance(module, nn.RNNCell):
            return recurrent.cell(module, layers[0], self.note, *inputs, **renamed(named, "x", "h"))
        if isinstance(module, nn.RNN):
            return recurrent.unrolled(module, layers, self.note, *inputs, **renamed(named, "x", "hx"))
        z = self.note(layers[0], inputs[0] if inputs else named["input"], output)
        return None if z is output else z

    def note(self, layer: Layer, x: Tensor, z: Tensor) -> Tensor:
        """Remember that a layer was applied to x and gave z; go on with the z that is returned."""
        trained = [p for p in layer.parameters if p.requires_grad]
        if not trained or not z.requires_grad or self.current is None:
            return z
        if id(trained[0]) not in self.watched:
            self.watched.add(id(trained[0]))
            self.handles.append(trained[0].register_post_accumulate_grad_hook(Tap(self.arrived)))
        if z._base is not None:
            # An in-place function would cut the graph behind a view, and with it the way to z.
            z = torch.ops.aten._unsafe_view(z, z.shape)
        use = Use(layer, x, z, self.current)
        z.register_hook(use)
        self.current.uses.append(use)
        return z

    def end(self, module: nn.Module, inputs: Any, output: Any) -> None:
        """After the model's forward: send back targets that the model itself draws, to the pre-activations only."""
        during, self.current = self.current, None
        if during is None:
            return
        uses, during.uses = during.uses, []
        if self.keep is not None:
            self.keep += uses
        try:
            if uses and output is not None:
                self.sample(during, uses, output)
        finally:
            for use in uses:
                use.edge = None

    def sample(self, during: Pass, uses: list[Use], output: Any) -> None:
        likelihood = self.options["likelihood"]
        if self.options["fisher"] == "empirical":
            during.examples = len(next(tensors(output), ()))
        else:
            found = likelihoods.pairs(likelihood, output)
            if not found:
                return
            during.examples = len(found[0][0])
            during.outputs = [eta.detach() for eta, _ in found]
            if self.wanted:
                during.sampling = True
                try:
                    getattr(self, self.options["fisher"])(found, uses)
                finally:
                    during.sampling = False

    def mc(self, found: list[tuple[Tensor, str]], uses: list[Use]) -> None:
        # A function of the step, so that passes that do not count change nothing.
        generator = torch.Generator(device=found[0][0].device)
        generator.manual_seed(self.options["seed"] * 1_000_003 + self.step * 1009 + self.passes)
        cotangents = [masked(likelihoods.sampled(eta, name, generator), uses[0].during.real) for eta, name in found]
        for use, g in zip(uses, sent_back([eta for eta, _ in found], uses, cotangents)):
            use.g = None if g is None else use.of_real(g)

    def exact(self, found: list[tuple[Tensor, str]], uses: list[Use]) -> None:
        each = [eta[0].numel() for eta, _ in found]
        if sum(each) > self.options["exact_limit"]:
            raise ValueError(
                f"fisher='exact' takes one backward pass for each of an example's {sum(each)} outputs, and exact_limit "
                f"is {self.options['exact_limit']}. Write fisher='mc' (one pass, and the same in expectation), or "
                f"exact_limit={sum(each)} if you mean it."
            )
        real = uses[0].during.real
        for eta, name in found:
            for D in likelihoods.enumerated(eta, name):
                for use, g in zip(uses, sent_back([eta], uses, [masked(D, real)])):
                    if g is not None:
                        if use.square is None:
                            use.square = use.layer.zeros()[1]
                        add_square(use.square, use.layer.outputs_of(use.of_real(g)), 1.0, 1.0)

    def arrived(self, parameter: Tensor) -> None:
        """After backward() has added to a layer's gradient."""
        layer = self.by_parameter[id(parameter)]
        layer.backwards += 1
        if layer.uses and layer.touched:
            if self.wanted and not layer.blind:
                self.fold(layer)  # a micro-batch before this one
            layer.uses = []
        for use in layer.touched:
            use.counts = True
            layer.uses.append(use)
            if use.during not in layer.seen:
                layer.seen[use.during] = use.during.examples
        self.passes = max(self.passes, len(layer.seen))
        layer.touched.clear()
        empirical = self.options["fisher"] == "empirical"
        if self.wanted and not empirical:
            layer.blind = all(use.g is None and use.square is None for use in layer.uses)
        # Only the rows of Dz that may still be wanted are kept.
        if self.probed and layer.probe() and not layer.explained():
            self.surprises.append(layer.name)
        if not empirical and not layer.cheaper():
            for use in layer.uses:
                use.Dz = None

    # Folding a batch into sums ---------------------------------------------------------------------------------------

    def fold(self, layer: Layer) -> None:
        """Put away what a micro-batch has shown, so that its activations can go."""
        if layer.sums is None:
            layer.sums = layer.zeros()
        self.add(layer, *layer.sums, 1.0, 1.0, 1.0)

    def add(self, layer: Layer, A: Tensor, G: Tensor, beta: float, alpha: float, alpha_g: float) -> None:
        """A <- beta A + alpha (sum of a a^T over the rows that were seen), and G likewise."""
        for use in layer.uses:
            if use.x._version != use.version:
                raise RuntimeError(
                    f"the input of layer {layer.name!r} was changed in place after its forward pass, so its covariance "
                    "would be that of other numbers. Change it after step(), or change a copy."
                )
            add_square(A, layer.inputs_of(use.x), beta, alpha)
            if use.square is not None:
                G.mul_(beta).add_(use.square, alpha=alpha_g)
            else:
                g = use.Dz if self.options["fisher"] == "empirical" else use.g
                if g is None:  # it does not act on the outputs that likelihood names
                    G.mul_(beta)
                else:
                    add_square(G, layer.outputs_of(g), beta, alpha_g)
            layer.rows += use.rows
            beta = 1.0


def sent_back(outputs: list[Tensor], uses: list[Use], cotangents: list[Tensor]) -> Any:
    edges = [use.edge for use in uses]
    return torch.autograd.grad(outputs, edges, cotangents, retain_graph=True, allow_unused=True)


def fits(real: Tensor | None, tokens: Tensor) -> bool:
    """Whether a mask (n, T) belongs to (n, T, channels)."""
    return real is not None and tokens.dim() > real.dim() and tokens.shape[: real.dim()] == real.shape


def masked(D: Tensor, real: Tensor | None) -> Tensor:
    """Nothing is drawn for padding."""
    return D * real[..., None].to(D.dtype) if real is not None and fits(real, D) else D


def renamed(named: dict[str, Any], x: str, h: str) -> dict[str, Any]:
    return {{"input": x, "hx": h}[key]: value for key, value in named.items()}


def tensors(output: Any) -> Any:
    values = output.values() if isinstance(output, dict) else output if isinstance(output, tuple | list) else [output]
    return (value for value in values if isinstance(value, Tensor))


def foreign(z: Tensor) -> bool:
    """Inside a transform of torch.func, where nothing is recorded."""
    return torch._C._functorch.is_functorch_wrapped_tensor(z)  # pyright: ignore[reportAttributeAccessIssue]


def remove(handles: list[Any]) -> None:
    for handle in handles:
        handle.remove()
    handles.clear()


def expel(module: nn.Module) -> None:
    """Take away the hooks of an optimizer that was built before, or of the model that this one is a copy of."""
    for hooks in (module._forward_hooks, module._forward_pre_hooks):
        for key, hook in list(hooks.items()):
            if isinstance(hook, Tap):
                recorder = getattr(hook.method() if hook.method else None, "__self__", None)
                if recorder is not None:
                    recorder.detach()
                hooks.pop(key, None)
                module._forward_hooks_always_called.pop(key, None)
