"""Natural gradient and K-FAC without coordinates, beside the same algorithms in coordinates.

Two doors. The book's is this namespace, the typed layer: spaces, points, bases, metrics, networks, and rules of descent
whose arguments name exactly the bases that they depend on. `kfac_lite.coordinates` is the textbook code on arrays that
it is checked against, and `kfac_lite.exact` the finite field in which the two are equal to the last digit.
"""

from .bases import AffineBasis, Basis, MapsBasis, Parameterization, ProductBasis, load, save
from .calculus import differential, pushforward
from .curvature import expected_pullback, fisher, gauss_newton, ggn, independence, kfac
from .descent import KFAC, SGD, Descent, NaturalGradient, Trajectory, gap, run, run_in
from .errors import DegenerateMetricError, KindError, SpaceError
from .likelihoods import Bernoulli, Categorical, Gaussian, Likelihood, Softmax
from .metrics import (
    Metric,
    SecondMoment,
    additive,
    euclidean,
    expected,
    from_matrix,
    hessian,
    kronecker,
    pullback,
    second_moment,
)
from .networks import MLP, Activation, cubic, identity, logistic, sine, softplus, square, tanh
from .objective import Objective
from .reparameterize import centred, logistic_units, normalised, skewed, whitened
from .spaces import (
    AffineMaps,
    AffineSpace,
    Covector,
    Point,
    Product,
    Space,
    Vector,
    affine_combination,
    power,
)

__all__ = [
    "KFAC",
    "MLP",
    "SGD",
    "Activation",
    "AffineBasis",
    "AffineMaps",
    "AffineSpace",
    "Basis",
    "Bernoulli",
    "Categorical",
    "Covector",
    "DegenerateMetricError",
    "Descent",
    "Gaussian",
    "KindError",
    "Likelihood",
    "MapsBasis",
    "Metric",
    "NaturalGradient",
    "Objective",
    "Parameterization",
    "Point",
    "Product",
    "ProductBasis",
    "SecondMoment",
    "Softmax",
    "Space",
    "SpaceError",
    "Trajectory",
    "Vector",
    "additive",
    "affine_combination",
    "centred",
    "cubic",
    "differential",
    "euclidean",
    "expected",
    "expected_pullback",
    "fisher",
    "from_matrix",
    "gap",
    "gauss_newton",
    "ggn",
    "hessian",
    "identity",
    "independence",
    "kfac",
    "kronecker",
    "load",
    "logistic",
    "logistic_units",
    "normalised",
    "power",
    "pullback",
    "pushforward",
    "run",
    "run_in",
    "save",
    "second_moment",
    "sine",
    "skewed",
    "softplus",
    "square",
    "tanh",
    "whitened",
]
