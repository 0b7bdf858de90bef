"""The engineer's door: K-FAC for torch models, two lines away from a loop with SGD."""

from .kfac import KFAC

__all__ = ["KFAC"]
