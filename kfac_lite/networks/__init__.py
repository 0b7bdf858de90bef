"""Networks without coordinates: fixed functions between affine spaces, and affine maps to be learnt (paper: 3.1)."""

from ..coordinates.mlp import Activation, Network, cubic, identity, logistic, sine, softplus, square, tanh
from .base import Net, Uses
from .conv import Average, ConvNet, Filter
from .mlp import MLP
from .recurrent import RNN

__all__ = [
    "MLP",
    "RNN",
    "Activation",
    "Average",
    "ConvNet",
    "Filter",
    "Net",
    "Network",
    "Uses",
    "cubic",
    "identity",
    "logistic",
    "sine",
    "softplus",
    "square",
    "tanh",
]
