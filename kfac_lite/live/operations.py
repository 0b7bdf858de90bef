"""What the compiler knows of torch's operations: one line each.

`FORMULAS` act number by number. `MOVES` compute nothing: they say which number stands where, and torch itself says it,
run on addresses. `MADE` depend on the shape of their argument only.
"""

__all__ = ["EVERYTHING", "FORMULAS", "MADE", "MOVES", "SOLVERS", "TOTALS"]

FORMULAS = {
    "add": "{0}+{1}",
    "sub": "{0}-{1}",
    "mul": "{0}*{1}",
    "div": "{0}/{1}",
    "neg": "-{0}",
    "reciprocal": "1/{0}",
    "abs": "Math.abs({0})",
    "sign": "Math.sign({0})",
    "sqrt": "Math.sqrt({0})",
    "rsqrt": "1/Math.sqrt({0})",
    "exp": "Math.exp({0})",
    "expm1": "Math.expm1({0})",
    "log": "Math.log({0})",
    "log1p": "Math.log1p({0})",
    "log2": "Math.log2({0})",
    "log10": "Math.log10({0})",
    "sin": "Math.sin({0})",
    "cos": "Math.cos({0})",
    "tan": "Math.tan({0})",
    "asin": "Math.asin({0})",
    "acos": "Math.acos({0})",
    "atan": "Math.atan({0})",
    "atan2": "Math.atan2({0},{1})",
    "sinh": "Math.sinh({0})",
    "cosh": "Math.cosh({0})",
    "tanh": "Math.tanh({0})",
    "asinh": "Math.asinh({0})",
    "acosh": "Math.acosh({0})",
    "atanh": "Math.atanh({0})",
    "hypot": "Math.hypot({0},{1})",
    "floor": "Math.floor({0})",
    "ceil": "Math.ceil({0})",
    "trunc": "Math.trunc({0})",
    "sigmoid": "1/(1+Math.exp(-{0}))",
    "relu": "Math.max({0},0)",
    "maximum": "Math.max({0},{1})",
    "minimum": "Math.min({0},{1})",
    "pow": "Math.pow({0},{1})",
    "eq": "+({0}==={1})",
    "ne": "+({0}!=={1})",
    "lt": "+({0}<{1})",
    "le": "+({0}<={1})",
    "gt": "+({0}>{1})",
    "ge": "+({0}>={1})",
    "isnan": "+({0}!=={0})",
    "logical_not": "+!{0}",
    "logical_and": "+!!({0}&&{1})",
    "logical_or": "+!!({0}||{1})",
    "logical_xor": "+(!{0}!==!{1})",
    "bitwise_not": "+!{0}",
    "bitwise_and": "{0}&{1}",
    "bitwise_or": "{0}|{1}",
    "bitwise_xor": "{0}^{1}",
    "where": "{0}?{1}:{2}",
}
# Math.pow is slow where a product will do.
POWERS = {
    0.5: "Math.sqrt({0})",
    1: "{0}",
    2: "{0}*{0}",
    3: "{0}*{0}*{0}",
    4: "{0}*{0}*{0}*{0}",
    -0.5: "1/Math.sqrt({0})",
    -1: "1/{0}",
    -2: "1/({0}*{0})",
}
TOTALS = {"sum": "sum", "prod": "prod", "amax": "max", "amin": "min", "max": "max", "min": "min"}
SOLVERS = {
    "_linalg_solve_ex": "solve",
    "linalg_inv_ex": "solve",
    "linalg_lu_solve": "solve",
    "linalg_solve_triangular": "substitute",
    "linalg_cholesky_ex": "cholesky",
    "linalg_qr": "qr",
    "_linalg_eigh": "eigh",
}
MOVES = frozenset(
    """
    alias clone copy _to_copy view expand permute squeeze squeeze_ unsqueeze slice select cat flip repeat unfold
    diagonal split_with_sizes slice_scatter diagonal_scatter constant_pad_nd index index_select index_put gather scatter
    """.split()  # noqa: SIM905
)
MADE = frozenset(["full_like", "_new_zeros_with_same_feature_meta"])
EVERYTHING = frozenset([*FORMULAS, *TOTALS, *SOLVERS, *MOVES, *MADE, "clamp", "mm", "bmm"])
