"""What the arguments may be, said at construction."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .likelihoods import LIKELIHOODS

__all__ = ["checked", "due", "in_replica", "processes", "refuse_replicas"]

FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def due(every: int | Callable[[int], int], step: int, last: int) -> bool:
    """Whether something that was done last at one step (-1: never) is to be done again."""
    return last < 0 or step - last >= (every(step) if callable(every) else every)


def processes() -> int:
    """How many torch.distributed runs; 1 where it runs none."""
    there = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if there else 1


def refuse_replicas() -> None:
    """Raise ValueError where a DistributedDataParallel averages gradients over several processes."""
    if processes() > 1:
        raise ValueError(
            f"the model is a DistributedDataParallel of {processes()} processes. Each would make A and G of its own "
            "share of the batch, and the replicas would part: K-FAC here is for one process. Train on one, or take SGD."
        )


def in_replica() -> bool:
    """Whether a DistributedDataParallel is at work on what it wraps; torch has no public word for it."""
    return getattr(nn.parallel.DistributedDataParallel, "_active_ddp_module", None) is not None


def checked(model: Any, options: dict[str, Any]) -> None:
    """Raise ValueError, TypeError for what cannot work, and say what to write."""
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"KFAC takes the model itself, not {type(model).__name__}, for it looks at its layers: KFAC(model, lr=...)"
        )
    if isinstance(model, nn.parallel.DistributedDataParallel):
        refuse_replicas()
    for name, p in model.named_parameters():
        if isinstance(p, nn.parameter.UninitializedParameter):
            raise ValueError(f"parameter {name!r} has no shape yet. Run a batch through the model first.")
        if p.dtype not in FLOATS:
            raise TypeError(
                f"parameter {name!r} is {p.dtype}. K-FAC's formulas hold for real numbers: write "
                "model.to(torch.float32), float64 or bfloat16."
            )
    one_of("fisher", options, ("mc", "exact", "empirical"))
    one_of("damping_form", options, ("factored", "exact"))
    one_of("reduction", options, ("mean", "sum"))
    likelihood = options["likelihood"]
    if likelihood is None and options["fisher"] != "empirical":
        raise ValueError(
            'likelihood says from which distribution targets are drawn. Write likelihood="categorical" beside '
            'nn.CrossEntropyLoss, "bernoulli" beside nn.BCEWithLogitsLoss, "gaussian" beside nn.MSELoss.'
        )
    for name in likelihood.values() if isinstance(likelihood, dict) else [likelihood]:
        if name is not None and name not in LIKELIHOODS:
            raise ValueError(f"likelihood {name!r} is none of {', '.join(LIKELIHOODS)}")
    for name in ("lr", "damping", "weight_decay", "momentum"):
        value = options[name]
        if not callable(value) and not 0 <= value < float("inf"):
            raise ValueError(f"{name} = {value}: it must be a number that is not negative")
    if callable(options["lr"]):
        raise TypeError("lr is a number. For a schedule take one of torch.optim.lr_scheduler.")
    if not callable(options["decay"]) and not 0 <= options["decay"] < 1:
        raise ValueError(f"decay = {options['decay']}: it must be at least 0 and below 1")
    for name in ("factor_every", "inverse_every"):
        if not callable(options[name]) and (options[name] != int(options[name]) or options[name] < 1):
            raise ValueError(f"{name} = {options[name]}: it is a number of steps, 1 or more")
    if options["kl_clip"] is not None and not options["kl_clip"] > 0:
        raise ValueError(f"kl_clip = {options['kl_clip']}: it must be positive, or None for no trust region")
    if options["metric"] is not None and not options["damping"]:
        raise ValueError("metric says what damping is a multiple of, and damping is 0")


def one_of(name: str, options: dict[str, Any], choices: tuple[str, ...]) -> None:
    if options[name] not in choices:
        raise ValueError(f"{name}={options[name]!r} is none of {', '.join(map(repr, choices))}")
