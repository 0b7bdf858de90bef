"""The digits on which the book's experiment runs: real pixels, cleaned so that their second moments can be inverted."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Digits", "batches", "digit_images", "digits"]


class Digits(NamedTuple):
    """Images as rows of pixels in [0, 1], or as (n, 8, 8, 1), and one-hot classes; float64 throughout."""

    inputs: Tensor  # (1000, 47)
    targets: Tensor  # (1000, 10)
    held_out_inputs: Tensor  # (797, 47)
    held_out_targets: Tensor  # (797, 10)


def digits(train: int = 1000, spread: float = 0.1) -> Digits:
    """8 by 8 handwritten digits, in the order in which they come, the first `train` to learn from.

    Pixels are divided by 16; those with a standard deviation of at most `spread` on the training images are dropped:
    47 of 64 stay. (To drop only the constant ones leaves a second moment of condition 7e6.)

    The 1797 images are those that scikit-learn ships too: E. Alpaydin and C. Kaynak, Optical Recognition of
    Handwritten Digits, UCI Machine Learning Repository, 1998, doi:10.24432/C50P49, test set; licence CC BY 4.0.
    """
    images, classes = _digits(train)
    x = images.flatten(1)
    x = x[:, x[:train].std(0) > spread]
    return Digits(x[:train], classes[:train], x[train:], classes[train:])


def digit_images(train: int = 1000) -> Digits:
    """The same digits with all their pixels, as images of one channel, (n, 8, 8, 1): for convolution.

    `images[..., 0]`, (n, 8, 8), are sequences of eight rows of eight pixels: for recurrence.
    """
    images, classes = _digits(train)
    x = images[..., None]
    return Digits(x[:train], classes[:train], x[train:], classes[train:])


def _digits(train: int) -> tuple[Tensor, Tensor]:
    """All images, (1797, 8, 8), with pixels in [0, 1], and their one-hot classes, (1797, 10)."""
    with np.load(Path(__file__).with_name("digits.npz")) as file:
        images = torch.as_tensor(file["images"].reshape(-1, 8, 8) / 16)
        classes = torch.as_tensor(file["classes"], dtype=torch.int64)
    if not 2 <= train < len(images):
        raise ValueError(f"train={train}: keep at least 2 and fewer than all {len(images)} images")
    return images, torch.nn.functional.one_hot(classes, 10).to(torch.float64)


def batches(count: int, size: int, steps: int, seed: int) -> Tensor:
    """One stream of indices, (steps, size), drawn without replacement within a batch; all twins share it."""
    if not 1 <= size <= count:
        raise ValueError(f"a batch of {size} out of {count} data: choose between 1 and {count}")
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randperm(count, generator=generator)[:size] for _ in range(steps)])
