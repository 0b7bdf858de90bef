"""The digits: what the recipe of chapter 3.2 relies on."""

import pytest
import torch

from kfac_lite.data import batches, digit_images, digits


def test_the_digits_are_what_the_recipe_says():
    data = digits()
    assert data.inputs.shape == (1000, 47)
    assert data.held_out_inputs.shape == (797, 47)
    assert data.targets.shape == (1000, 10)
    assert data.held_out_targets.shape == (797, 10)
    for x in data:
        assert x.dtype == torch.float64
        assert float(x.min()) == 0
        assert float(x.max()) == 1
    assert torch.equal(data.targets.sum(1), torch.ones(1000, dtype=torch.float64))
    assert torch.equal(data.inputs * 16, (data.inputs * 16).round())


def test_the_images_are_the_published_ones():
    """How many of each class, and the sum of all pixels, as scikit-learn's copy has them; the first is a 0."""
    images, _, later, _ = data = digit_images()
    targets = torch.cat([data.targets, data.held_out_targets])
    assert targets.sum(0).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert float(16 * torch.cat([images, later]).sum()) == 561718
    assert (16 * images[0, :2, :, 0]).tolist() == [[0, 0, 5, 13, 9, 1, 0, 0], [0, 0, 13, 15, 10, 15, 5, 0]]
    assert data.targets[0].argmax() == 0 and images.shape == (1000, 8, 8, 1)


def test_dropping_the_still_pixels_makes_the_second_moment_invertible():
    def condition(spread: float) -> float:
        x = digits(spread=spread).inputs
        xbar = torch.cat([x, torch.ones_like(x[:, :1])], 1)
        return float(torch.linalg.cond(xbar.T @ xbar / len(x)))

    assert condition(0.1) < 1e5
    assert condition(0.0) > 1e6


def test_the_split_moves():
    data, whole = digits(train=1500), digits()
    assert len(data.inputs) == 1500
    assert len(data.held_out_inputs) == 297
    assert torch.equal(data.targets[:1000], whole.targets)


@pytest.mark.parametrize("train", [0, 1, 1797])
def test_a_split_that_leaves_nothing_is_refused(train: int):
    with pytest.raises(ValueError, match=f"train={train}"):
        digits(train=train)


def test_one_stream_for_all_twins():
    stream = batches(1000, 256, 100, seed=1)
    assert stream.shape == (100, 256)
    assert torch.equal(stream, batches(1000, 256, 100, seed=1))
    assert not torch.equal(stream, batches(1000, 256, 100, seed=2))
    assert all(len(set(row.tolist())) == 256 for row in stream)
    assert torch.equal(batches(1000, 256, 3, seed=1), stream[:3])


@pytest.mark.parametrize("size", [0, 11])
def test_a_batch_that_does_not_fit_is_refused(size: int):
    with pytest.raises(ValueError, match=f"a batch of {size} out of 10"):
        batches(10, size, 1, seed=0)
