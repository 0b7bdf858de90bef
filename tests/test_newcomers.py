"""Machines and folders that differ from ours, and environments that were cut off (cases M3 and M4)."""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from .test_toolchain import ROOT, code, environment, notebooks, tracked

pytestmark = pytest.mark.no_gauge


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project in a folder with a space, an umlaut and brackets, with an environment that borrows our packages."""
    there = tmp_path_factory.mktemp("disk") / "My Drive" / "büch (2)"
    for path in tracked(
        "book/*.py", "pyproject.toml", "constraints.txt", "_config.yml", "_toc.yml", "kfac_lite/__init__.py"
    ):
        copy = there / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    venv.create(there / ".venv", with_pip=False)
    (ours,) = {path for path in map(Path, sys.path) if path.name == "site-packages" and path.is_relative_to(sys.prefix)}
    (site,) = (there / ".venv").glob("[Ll]ib/**/site-packages")
    (site / "borrowed").symlink_to(ours)  # the path to them may not be ASCII, and the C locale could not read it here
    (site / "borrowed.pth").write_text("borrowed\n", encoding="ascii")
    return there


MACHINES = {
    "the C locale and no HOME": {"LC_ALL": "C"},
    "a HOME that cannot be written": {"HOME": "/proc", "LANG": "C.UTF-8"},
    "warnings for default encodings": {"LC_ALL": "C", "PYTHONWARNDEFAULTENCODING": "1", "PYTHONWARNINGS": "error"},
    "another environment that is active": {"VIRTUAL_ENV": "/opt/other", "PYTHONPATH": "/opt/other", "LANG": "C"},
}


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell's environment")
@pytest.mark.parametrize("case", MACHINES)
def test_case_M3_a_chapter_is_executed_and_normalised(elsewhere: Path, case: str):
    chapter = elsewhere / "chapters" / f"{list(MACHINES).index(case)}.ipynb"
    chapter.parent.mkdir(exist_ok=True)
    source = "import os\nprint(os.path.basename(os.path.dirname(os.getcwd())), 'Ω')"
    chapter.write_text(notebooks.written({"cells": [code(source)], "metadata": {}}, ""), encoding="utf-8")
    before = {path for path in elsewhere.rglob("*") if ".cache" not in path.parts}
    run = [elsewhere / ".venv" / "bin" / "python", "book/notebooks.py", chapter]
    done = subprocess.run(run, cwd=elsewhere, env={"PATH": os.defpath, **MACHINES[case]}, capture_output=True)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    (cell,) = json.loads(chapter.read_text(encoding="utf-8"))["cells"]
    assert cell["outputs"] == [{"name": "stdout", "output_type": "stream", "text": ["büch (2) Ω\n"]}]
    new = {path.relative_to(elsewhere).parts[0] for path in {*elsewhere.rglob("*")} - before}
    assert new <= {"_build", ".cache", "book", "kfac_lite"}  # what Python compiled is beside its source


@pytest.mark.parametrize("name", ["Makefile", "book/python.sh", ".ci/run", "chapters/index.ipynb", "_toc.yml"])
def test_case_M3_line_ends_stay_as_they_are_where_git_turns_them(name: str):
    if not (shutil.which("git") and (ROOT / ".git").exists()):
        pytest.skip("no checkout of git's")
    said = subprocess.run(["git", "check-attr", "eol", "text", name], cwd=ROOT, capture_output=True, text=True).stdout
    assert "eol: lf" in said or "text: unset" in said, said


# -- half-made environments


class Machine:
    """An empty folder, with a stand-in for pip that is cut off, refuses, or installs; `log` has what was done."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch):
        self.log: list[str] = []
        self.failure: BaseException | None = None
        self.venv = folder / ".venv"
        self.stamp, self.python = self.venv / "made.json", self.venv / "bin" / "python"
        paths = {"ROOT": folder, "VENV": self.venv, "CACHE": folder / ".cache", "STAMP": self.stamp}
        for name, value in (paths | {"PYTHON": self.python}).items():
            patch.setattr(environment, name, value)
        patch.setattr(environment.subprocess, "run", self.make_venv)
        patch.setattr(environment, "pip", self.pip)

    def make_venv(self, command: list, **_: object) -> subprocess.CompletedProcess:
        self.log.append("venv")
        self.python.parent.mkdir(parents=True)
        self.python.touch()
        return subprocess.CompletedProcess(command, 0)

    def pip(self, *packages: str, aloud: bool) -> None:
        self.log.append("pip")
        (self.venv / "half-installed").touch()
        if self.failure:
            raise self.failure

    def make(self) -> list[str]:
        self.log.clear()
        environment.make()
        return self.log


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    return Machine(tmp_path, monkeypatch)


def test_case_M4_an_environment_that_was_cut_off_is_made_anew(machine: Machine):
    machine.failure = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        machine.make()
    assert (machine.venv / "half-installed").exists() and not machine.stamp.exists()
    (machine.venv / "half-installed").rename(machine.venv / "half")
    machine.failure = None
    assert machine.make() == ["venv", "pip", "pip"]
    assert not (machine.venv / "half").exists() and machine.stamp.exists()
    assert machine.make() == []  # as it should be


def test_case_M4_changed_pins_bring_the_environment_up_to_date(machine: Machine, tmp_path: Path):
    machine.make()
    with (tmp_path / "constraints.txt").open("a", encoding="utf-8") as pins:
        pins.write("another==1.0\n")
    machine.failure = environment.Refused("could not install another==1.0: the package index cannot be reached.")
    with pytest.raises(SystemExit, match=r"could not install another==1\.0"):
        machine.make()
    machine.failure = None
    assert machine.make() == ["pip", "pip"]  # what was installed before is kept
    assert machine.make() == []


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell's")
@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ("*ensurepip*) exit 1 ;; *requires*) echo 3.11.2; exit 0 ;;", "cannot make environments: install its venv"),
        ("*requires*) echo '3.9.1, and this needs 3.11 to 3.13'; exit 1 ;;", "No suitable Python: python3 is 3.9.1"),
    ],
)
def test_case_M4_a_python_that_will_not_do_is_named(tmp_path: Path, answers: str, said: str):
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python3"
    python.write_text(f'#!/bin/sh\ncase "$2" in {answers} esac\nexit 1\n', encoding="utf-8")
    python.chmod(0o755)
    (tmp_path / "bin" / "basename").symlink_to(str(shutil.which("basename")))
    (tmp_path / "book").mkdir()
    for name in ("pyproject.toml", "book/python.sh"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    run = [str(shutil.which("sh")), "book/python.sh", "book/environment.py"]
    done = subprocess.run(run, cwd=tmp_path, env={"PATH": str(tmp_path / "bin")}, capture_output=True, text=True)
    assert done.returncode == 1 and said in done.stderr
