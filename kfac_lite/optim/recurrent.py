"""The recurrence of `nn.RNN` and `nn.RNNCell`, written out: z_t = W h_{t-1} + V x_t + b, h_t = phi(z_t) (eq. 5.1, 5.2).

torch computes a whole sequence in one operation that shows no z_t. A step of training therefore runs the same maps once
more, one time after the other, and what they give takes the place of torch's outputs. (h, x, 1) is what the one map
(W V b) of a layer and direction is applied to, T times.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from .layers import Layer

__all__ = ["cell", "unrolled"]

Note = Callable[[Layer, Tensor, Tensor], Tensor]


def cell(module: Any, layer: Layer, note: Note, x: Tensor, h: Tensor | None = None) -> Tensor:
    """The output of an `nn.RNNCell`; `note` is given the layer, (h, x) and z."""
    if h is None:
        h = x.new_zeros(*x.shape[:-1], module.hidden_size)
    return advance(layer, F.linear(x, module.weight_ih, module.bias_ih), h, x, module.nonlinearity, note)


def advance(layer: Layer, from_input: Tensor, h: Tensor, x: Tensor, nonlinearity: str, note: Note) -> Tensor:
    bias = layer.biases[0] if layer.biases else None
    z = note(layer, torch.cat([h, x], -1), from_input + F.linear(h, layer.weights[0], bias))
    return torch.tanh(z) if nonlinearity == "tanh" else torch.relu(z)


def unrolled(module: Any, layers: Sequence[Layer], note: Note, x: Any, hx: Any = None) -> tuple[Any, Tensor]:
    """The outputs and last states of an `nn.RNN`, in torch's shapes, packed sequences included."""
    nonlinearity = "tanh" if module.mode == "RNN_TANH" else "relu"
    packed = isinstance(x, PackedSequence)
    single = not packed and x.dim() == 2
    if packed:
        steps = list(x.data.split(x.batch_sizes.tolist()))
    else:
        x = x.unsqueeze(0 if module.batch_first else 1) if single else x
        steps = list(x.unbind(1 if module.batch_first else 0))
    if hx is None:
        hx = steps[0].new_zeros(len(layers), len(steps[0]), module.hidden_size)
    elif single:
        hx = hx[:, None]
    elif packed and x.sorted_indices is not None:
        hx = hx.index_select(1, x.sorted_indices)
    last = []
    width = 2 if module.bidirectional else 1
    for i in range(module.num_layers):
        sides = []
        for d in range(width):
            at = i * width + d
            given = [F.linear(step, layers[at].weights[1], *layers[at].biases[1:]) for step in steps]
            run = backward if d else forward
            side, h = run(steps, given, hx[at], lambda u, h, v, at=at: advance(layers[at], u, h, v, nonlinearity, note))
            sides.append(side)
            last.append(h)
        steps = [torch.cat(pair, -1) if width == 2 else pair[0] for pair in zip(*sides)]
    h_n = torch.stack(last)
    if packed:
        output: Any = PackedSequence(torch.cat(steps), x.batch_sizes, x.sorted_indices, x.unsorted_indices)
        return output, h_n if x.unsorted_indices is None else h_n.index_select(1, x.unsorted_indices)
    output = torch.stack(steps, 1 if module.batch_first else 0)
    return (output.squeeze(0 if module.batch_first else 1), h_n[:, 0]) if single else (output, h_n)


def forward(steps: list[Tensor], given: list[Tensor], h: Tensor, advance: Callable) -> tuple[list[Tensor], Tensor]:
    """Sequences are sorted by length, longest first, so those that have ended are the last rows."""
    outputs, ended = [], []
    for x, u in zip(steps, given):
        ended.append(h[len(x) :])
        h = advance(u, h[: len(x)], x)
        outputs.append(h)
    return outputs, torch.cat([h, *reversed(ended)])


def backward(steps: list[Tensor], given: list[Tensor], start: Tensor, advance: Callable) -> tuple[list[Tensor], Tensor]:
    """From the end: a shorter sequence joins when its last element comes."""
    outputs: list[Tensor] = []
    h = start[:0]
    for x, u in zip(reversed(steps), reversed(given)):
        h = advance(u, torch.cat([h, start[len(h) : len(x)]]), x)
        outputs.insert(0, h)
    return outputs, h
