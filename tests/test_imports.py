"""Imports run downward only, the coordinate code knows no spaces, and `import kfac_lite` is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.no_gauge
PACKAGE = Path(__file__).parent.parent / "kfac_lite"

# The left column: each module may import those before it.
ORDER = [
    *("errors", "refusals", "spaces", "calculus", "bases", "forms", "metrics", "kinds", "nondegeneracy", "likelihoods"),
    *("networks", "objective", "reparameterize", "curvature", "descent", "plots", "planes"),
]
# What knows no spaces: torch, numpy, errors and what stands beside it in the same folder.
KNOWS_NO_SPACES = ["coordinates", "exact", "live", "optim", "audit", "style", "data"]
# The strategies draw objectives, so they stand above them; measured draws pictures of what benchmarks wrote.
ABOVE = {"testing": ORDER[: ORDER.index("descent")], "measured": ["plots", "style"]}
MAY_IMPORT_COORDINATES = {"networks", "descent", "live"}
HEAVY = ("matplotlib", "ipywidgets", "anywidget", "sklearn", "hypothesis", "IPython", "scipy", "pandas")


def modules() -> dict[str, Path]:
    """Every module of the package, `coordinates.mlp` for kfac_lite/coordinates/mlp.py."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")
        if name:
            found[name] = path
    return found


def imports(path: Path, name: str) -> set[str]:
    """The modules of kfac_lite that a file imports, at the top or inside a function."""
    package = (name if path.name == "__init__.py" else name.rpartition(".")[0]).split(".")
    package = [part for part in package if part]
    found: set[str] = set()
    known = modules()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split(".")[0] == "kfac_lite"]
            found |= {name.removeprefix("kfac_lite").lstrip(".") for name in names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            for alias in node.names:
                inner = ".".join([*base, alias.name])
                found.add(inner if inner in known else ".".join(base))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "kfac_lite":
            base = node.module.split(".")[1:]
            for alias in node.names:
                inner = ".".join([*base, alias.name])
                found.add(inner if inner in known else ".".join(base))
    return found


def offences(name: str, imported: set[str]) -> set[str]:
    """Which of these imports the module may not have."""
    top = name.split(".")[0]
    if top in ORDER:
        allowed = {*ORDER[: ORDER.index(top)], "style"} | ({top} if (PACKAGE / top).is_dir() else set())
        allowed |= {"coordinates"} if top in MAY_IMPORT_COORDINATES else set()
    elif top in KNOWS_NO_SPACES:
        allowed = {"errors", "style", top} | ({"coordinates"} if top in MAY_IMPORT_COORDINATES else set())
    else:
        allowed = set(ABOVE[top])
    return {module for module in imported if module.split(".")[0] not in allowed}


@pytest.mark.parametrize("name", modules())
def test_imports_run_downward_only(name: str):
    top = name.split(".")[0]
    assert top in {*ORDER, *KNOWS_NO_SPACES, *ABOVE}, f"say in ORDER or beside it where {top} stands"
    assert offences(name, imports(modules()[name], name)) == set()


def test_every_part_of_the_order_exists():
    """A module that was renamed would drop out of the order without a word."""
    there = {name.split(".")[0] for name in modules()}
    assert set(ORDER) <= there


@pytest.mark.parametrize(
    ("name", "line", "offence"),
    [
        ("spaces", "from .bases import Basis", "bases"),
        ("spaces", "from . import metrics", "metrics"),
        ("errors", "import kfac_lite.spaces", "spaces"),
        ("metrics", "from kfac_lite.descent import run", "descent"),
        ("metrics", "from kfac_lite import objective", "objective"),
        ("metrics", "def f():\n    from .curvature import kfac", "curvature"),
        ("curvature", "from .coordinates import mlp", "coordinates.mlp"),
        ("bases", "from . import coordinates", "coordinates"),
        ("coordinates.mlp", "from ..spaces import Point", "spaces"),
        ("coordinates.mlp", "from .. import bases", "bases"),
        ("exact", "from .coordinates import mlp", "coordinates.mlp"),
        ("live.compile", "from ..metrics import Metric", "metrics"),
        ("descent", "from .plots import curves", "plots"),
        ("descent", "from . import KFAC", ""),
    ],
)
def test_an_import_upward_would_be_found(tmp_path: Path, name: str, line: str, offence: str):
    path = tmp_path / "module.py"
    path.write_text(line + "\n", encoding="utf-8")
    assert offences(name, imports(path, name)) == {offence}


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("descent", "from .coordinates import mlp, updates"),
        ("networks", "from . import coordinates"),
        ("coordinates.mlp", "from . import likelihoods\nfrom ..errors import SpaceError"),
        ("metrics", "import torch\nfrom .spaces import Point"),
    ],
)
def test_an_import_downward_is_let_pass(tmp_path: Path, name: str, line: str):
    path = tmp_path / "module.py"
    path.write_text(line + "\n", encoding="utf-8")
    assert offences(name, imports(path, name)) == set()


def loaded(statement: str) -> set[str]:
    """The packages that a fresh interpreter has loaded after a statement."""
    code = f"import sys\nsys.path.insert(0, {str(PACKAGE.parent)!r})\n{statement}\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in run.stdout.split()}


def test_import_kfac_lite_loads_nothing_heavy():
    there = loaded("import kfac_lite")
    assert "torch" in there
    assert not there & set(HEAVY)


def test_something_heavy_would_be_found():
    assert {"matplotlib"} <= loaded("import kfac_lite, kfac_lite.plots") & set(HEAVY)


def test_without_hypothesis_the_strategies_say_what_to_install():
    code = """
import sys
sys.modules["hypothesis"] = None
try:
    import kfac_lite.testing
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "kfac_lite.testing is made of hypothesis strategies. Write: pip install hypothesis"
