"""Saving, restoring and copying the optimizer, by the names of the model; and what is checked before a step."""

import copy
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from .damping import KINDS
from .layers import Layer, mirrored

__all__ = ["load", "overflowed", "rebuild", "refuse_not_finite", "restore", "same_groups", "state_dict"]


def same_groups(layers: list[Layer], groups: dict[int, Any]) -> None:
    """A block has one momentum and one damping."""
    for layer in layers:
        for p in layer.parameters[1:]:
            first, second = groups[id(layer.parameters[0])], groups[id(p)]
            for name in ("momentum", "damping"):
                if first[name] != second[name]:
                    raise ValueError(
                        f"layer {layer.name!r}: its weight and its bias are one block, and their parameter groups have "
                        f"{name} {first[name]} and {second[name]}. Only lr and weight_decay may differ."
                    )


# Not finite ------------------------------------------------------------------------------------------------------


def refuse_not_finite(layers: list[Layer], step: int) -> None:
    """Raise before anything has changed."""
    found = [(layer, what, s) for layer in layers for what, s in sizes(layer)]
    finite = torch.stack([s.double() for _, _, s in found]).isfinite().tolist() if found else []
    if all(finite) and all(math.isfinite(s) for layer in layers for s in layer.examined):
        return
    found = [(layer, what) for layer in layers for what, s in sizes(layer, whole=True) if not bool(s.isfinite())]
    if not found:
        return
    layer, what = found[0]
    outputs = [eta for other in layers for during in other.seen for eta in during.outputs]
    before = not all(bool(eta.isfinite().all()) for eta in outputs)
    named = {
        "A": "the factor A, the covariance of its inputs,",
        "G": "the factor G, the covariance of its derivatives,",
    }
    raise ValueError(
        f"step {step}, layer {layer.name!r}: {named.get(what, 'its gradient')} is NaN or infinite. "
        + ("The model's outputs, hence the loss, were already so in this batch. " if before else "")
        + "Parameters and running averages are as before this step. Look for bad data, or for an lr that is too large."
    )


def sizes(layer: Layer, whole: bool = False) -> Iterator[tuple[str, Tensor]]:
    """Numbers that are finite only if a layer's gradients and the entries of its factors are, and what they are of.

    Sums of squares bound every entry of a factor. What `examined` has been through already is left out.
    """
    whole = whole or not layer.examined
    for use in layer.uses:
        for what, tensor in (("A", use.x), ("G", use.g), ("G", use.Dz)):
            if tensor is not None and (whole or tensor is use.g):
                yield what, size(tensor.to(layer.dtype))
        if use.square is not None:
            yield "G", use.square.diagonal(dim1=-2, dim2=-1).sum()
    for S, what in zip(layer.sums or (), "AG"):
        yield what, S.diagonal(dim1=-2, dim2=-1).sum()
    for p in layer.parameters:
        if p.grad is not None and whole:
            yield "gradient", size(p.grad.to(layer.dtype))


def size(tensor: Tensor) -> Tensor:
    flat = tensor.reshape(-1)
    return torch.dot(flat, flat)


def overflowed(opt: Any) -> bool:
    """Undo the loss scale of a torch GradScaler; or say that it has found infinities, so that this step is left out."""
    found, scale = getattr(opt, "found_inf", None), getattr(opt, "grad_scale", None)
    if found is None:
        return False
    if bool(found):
        return True
    if scale is None:
        if opt._arguments["fisher"] == "empirical":
            raise RuntimeError(
                "the empirical Fisher is made of the loss's derivatives, and scaler.unscale_() has undone their scale "
                "in the gradients alone. Leave unscale_() out, or write fisher='mc'."
            )
        return False
    back = 1 / float(scale)
    for group in opt.param_groups:
        for p in group["params"]:
            if p.grad is not None:
                p.grad.mul_(back)
    for layer in opt._layers:
        for use in layer.uses:
            if use.Dz is not None:
                use.Dz = use.Dz * back
        if layer.sums is not None and opt._arguments["fisher"] == "empirical":
            layer.sums[1].mul_(back * back)
    return False


# State -----------------------------------------------------------------------------------------------------------


def state_dict(opt: Any) -> dict[str, Any]:
    layers = {}
    for layer in opt._layers:
        if layer.A is None and layer.velocity is None:
            continue
        state: dict[str, Any] = {"refreshed": layer.refreshed}
        if layer.A is not None:
            state.update(A=mirrored(layer.A), G=mirrored(layer.G))
        if layer.velocity is not None and opt._groups[id(layer.parameters[0])]["momentum"]:
            state["velocity"] = layer.velocity.clone()
        if layer.solver is not None:
            state["columns"] = [layer.solved.start, layer.solved.stop]
            state["kind"] = type(layer.solver).__name__.lower()
            state["solver"] = {key: value.clone() for key, value in layer.solver._asdict().items()}
        layers[layer.name] = state
    others = {opt._names[id(p)]: state["momentum"].clone() for p, state in opt.state.items() if "momentum" in state}
    groups = []
    for group in opt.param_groups:
        plain = {key: value for key, value in group.items() if key != "params" and not callable(value)}
        groups.append({**plain, "params": [opt._names[id(p)] for p in group["params"]]})
    state = {"step": opt._steps, "renewed": opt._renewed, "layers": layers, "momentum": others}
    return {"state": state, "param_groups": groups}


def load(opt: Any, saved: dict[str, Any]) -> None:
    groups = saved["param_groups"]
    mine = [[opt._names[id(p)] for p in group["params"]] for group in opt.param_groups]
    theirs = [list(group["params"]) for group in groups]
    if mine != theirs:
        different = sorted({n for names in mine for n in names} ^ {n for names in theirs for n in names})
        raise ValueError(
            "this state belongs to other parameter groups"
            + (
                f": it and the model differ in {', '.join(different)}"
                if different
                else ", in another order or division"
            )
        )
    restore(opt, saved["state"])
    for group, other in zip(opt.param_groups, groups):
        group.update({key: copy.deepcopy(value) for key, value in other.items() if key != "params"})


def restore(opt: Any, state: dict[str, Any]) -> None:
    """The state of the layers and parameters that there are, bit for bit."""
    layers = {layer.name: layer for layer in opt._layers}
    if unknown := set(state["layers"]) - set(layers):
        raise ValueError(f"this state has layers that the model does not have: {', '.join(sorted(unknown))}")
    for name, saved in state["layers"].items():
        layer = layers[name]
        for key, empty in zip("AG", layer.zeros()):
            if key in saved and (saved[key].shape != empty.shape or saved[key].dtype != empty.dtype):
                raise ValueError(
                    f"layer {name!r}: the state's factor {key} is {tuple(saved[key].shape)} of {saved[key].dtype}, "
                    f"and the model wants {tuple(empty.shape)} of {empty.dtype}"
                )
    for name, layer in layers.items():
        saved = state["layers"].get(name, {})
        here = lambda tensor, at=layer.weight.device: None if tensor is None else tensor.detach().clone().to(at)
        layer.clear()
        layer.A, layer.G, layer.velocity = (here(saved.get(key)) for key in ("A", "G", "velocity"))
        layer.refreshed, layer.solver, layer.solved = saved.get("refreshed", -1), None, slice(0)
        if "solver" in saved:
            layer.solver = KINDS[saved["kind"]](**{key: here(value) for key, value in saved["solver"].items()})
            layer.solved = slice(*saved["columns"])
    names = dict(opt.model.named_parameters(remove_duplicate=False))
    for p in list(opt.state):
        opt.state[p].pop("momentum", None)
    for name, momentum in state["momentum"].items():
        opt.state[names[name]]["momentum"] = momentum.detach().clone().to(names[name].device)
    opt._steps, opt._renewed = state["step"], state["renewed"]
    opt._since = opt._steps
    opt._prepare()


def rebuild(kind: type, model: Any, groups: list[Any], arguments: dict[str, Any], state: dict[str, Any]) -> Any:
    """A copy, on a copy of the model or on the model that was unpickled with it."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it has to say was said
        opt = kind(model, groups, **arguments)
    opt.load_state_dict(state)
    return opt
