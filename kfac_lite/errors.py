"""The three ways in which coordinate-free code can be wrong."""

__all__ = ["DegenerateMetricError", "KindError", "SpaceError"]


class KindError(TypeError):
    """An operation between kinds (point, vector, covector, number) that has no meaning in any basis."""


class SpaceError(ValueError):
    """Elements of two different spaces, or numbers that do not fit the space, were combined."""


class DegenerateMetricError(ValueError):
    """A degenerate metric has no `sharp`: some direction has length zero.

    `null_direction` is a vector of length zero; look at it in a basis of yours: `basis[error.null_direction]`.
    `report` is the `nondegeneracy.LayerReport` of the layer that failed, with ranks and eigenvalues, or None.
    """

    def __init__(self, message: str, null_direction: object = None, report: object = None):
        super().__init__(message)
        self.null_direction, self.report = null_direction, report
