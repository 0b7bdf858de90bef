"""How the tests compare numbers: relative to the larger side."""

from typing import Any

import torch


def close(a: Any, b: Any, tolerance: float = 1e-12) -> bool:
    """|a - b| <= tolerance * max(1, |b|) in the largest entry, same shapes; tuples and lists array by array."""
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(close(x, y, tolerance) for x, y in zip(a, b, strict=True))
    a, b = torch.as_tensor(a), torch.as_tensor(b)
    if a.shape != b.shape:
        return False
    return not a.numel() or bool((a - b).abs().max() <= tolerance * max(1.0, float(b.abs().max())))
