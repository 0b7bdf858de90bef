"""Make the environment `.venv`, or repair it; do nothing where it is as it should be.

`make` runs this before everything else. By hand, with any Python that pyproject.toml admits:

    python3.11 book/environment.py

The environment holds this package (editable) with all its extras, at the versions of constraints.txt. A stamp,
written last, records what it was made from: the requirements, the pins, the interpreter and the folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
CACHE = ROOT / ".cache"
STAMP = VENV / "made.json"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

# What a shell may have set for other Pythons, and would change what runs here.
AMBIENT = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONWARNINGS", "PYTHONWARNDEFAULTENCODING")


def isolate() -> None:
    """Let everything that this process starts run alike on every machine, and write inside this folder only.

    One thread: sums over several threads differ in their last digits. The folders of Jupyter, IPython and
    matplotlib move into the tree, so that neither the user's own settings and kernels nor a HOME that cannot be
    written reach a page.
    """
    for name in (*AMBIENT, "MPLBACKEND", "JUPYTER_PATH"):
        os.environ.pop(name, None)
    os.environ.update(
        PYTHONUTF8="1",
        OMP_NUM_THREADS="1",
        MKL_NUM_THREADS="1",
        OPENBLAS_NUM_THREADS="1",
        IPYTHONDIR=str(CACHE / "ipython"),
        MPLCONFIGDIR=str(CACHE / "matplotlib"),
        JUPYTER_CONFIG_DIR=str(CACHE / "jupyter" / "config"),
        JUPYTER_DATA_DIR=str(CACHE / "jupyter" / "data"),
        JUPYTER_RUNTIME_DIR=str(CACHE / "jupyter" / "runtime"),
        JUPYTER_PLATFORM_DIRS="1",
        JUPYTER_PREFER_ENV_PATH="1",
    )
    for name in ("ipython/profile_default", "matplotlib", "jupyter/config", "jupyter/data", "jupyter/runtime"):
        (CACHE / name).mkdir(parents=True, exist_ok=True)
    # Errors only: a kernel warns at each start that it talks over TCP, which here never leaves the machine.
    kernel = CACHE / "ipython" / "profile_default" / "ipython_kernel_config.py"
    if not kernel.exists():
        kernel.write_text("get_config().IPKernelApp.log_level = 40\n", encoding="utf-8")


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Let one process at a time do `name` in this folder; the others wait, and then find it done."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"{name}.lock").open("w", encoding="utf-8") as file:
        try:
            import fcntl
        except ImportError:  # Windows: nothing guards against two commands at once
            yield
        else:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def fingerprint(paths: Iterable[Path], *more: object) -> str:
    """A hash of the files' names and bytes, whatever the order in which they are given."""
    digest = hashlib.sha256(repr(more).encode())
    for path in sorted(set(paths)):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def recipe() -> dict[str, str]:
    """What the environment is made from; where the stamp says otherwise, it is made again."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    requirements = json.dumps([project["build-system"], project["project"]], sort_keys=True)
    return {
        "python": "{}.{}.{}".format(*sys.version_info[:3]),
        "base": sys.base_prefix,
        "folder": str(ROOT),
        "packages": fingerprint([ROOT / "constraints.txt"], requirements),
    }


def stamped() -> dict[str, str]:
    try:
        return json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def why_not(log: str) -> str:
    """The cause of a failed installation in one line, from pip's own log."""
    missing = re.findall(r"No matching distribution found for (\S+)", log)
    what = f"could not install {missing[-1]}" if missing else "could not install the packages"
    unreachable = (
        r"NewConnectionError|NameResolution|ConnectTimeout|ReadTimeout|ProxyError|Connection (refused|aborted)"
    )
    if re.search(unreachable, log):
        return f"{what}: the package index cannot be reached. Is there a network? Then run the same command again."
    errors = re.findall(r"ERROR: (.+)", log)
    return f"{what}: {errors[0].rstrip('.') if errors else 'pip stopped'}. Mended? Then run the same command again."


class Refused(Exception):
    """pip stopped in good order: what was installed before is whole."""


def pip(*arguments: str, aloud: bool) -> None:
    log = CACHE / "pip.log"
    log.unlink(missing_ok=True)
    environ = {name: value for name, value in os.environ.items() if name not in ("PIP_TARGET", "PIP_PREFIX")}
    environ.update(PIP_USER="0", PIP_REQUIRE_VIRTUALENV="0", PIP_DISABLE_PIP_VERSION_CHECK="1")
    command = [PYTHON, "-m", "pip", "install", "--log", log, "--constraint", "constraints.txt", *arguments]
    if not aloud:
        command.append("--quiet")
    if subprocess.run(command, cwd=ROOT, env=environ).returncode:
        raise Refused(why_not(log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""))


def make() -> None:
    old, new = stamped(), recipe()
    if old == new and PYTHON.exists():
        return
    # An environment without its stamp is half-made, and one with another interpreter or folder is another one.
    anew = not PYTHON.exists() or any(old.get(key) != new[key] for key in ("python", "base", "folder"))
    if anew:
        print(
            "Making the environment in .venv: the first time this takes some minutes, most of them for torch.",
            flush=True,
        )
        shutil.rmtree(VENV, ignore_errors=True)
        base = getattr(sys, "_base_executable", sys.executable)
        if subprocess.run([base, "-m", "venv", VENV], cwd=ROOT).returncode:
            sys.exit(f"{base} could not make an environment: does it have its venv module?")
    else:
        print("The packages that are asked for have changed: bringing .venv up to date.", flush=True)
    # While pip works there is no stamp: an environment that was cut off here is made anew.
    STAMP.unlink(missing_ok=True)
    try:
        pip("hatchling", "editables", aloud=False)
        pip("--no-build-isolation", "--editable", ".[book,dev]", aloud=anew and sys.stdout.isatty())
    except Refused as refusal:
        if not anew:
            stamp({**new, "packages": "not yet"})
        sys.exit(str(refusal))
    for path in VENV.glob("[Ll]ib/**/site-packages/*kfac_lite.pth"):
        # Python reads this file in the locale's encoding: under LC_ALL=C a folder named büch would stop it.
        path.write_text(os.path.relpath(ROOT, path.parent) + "\n", encoding="ascii")
    stamp(new)


def stamp(recipe: dict[str, str]) -> None:
    half = STAMP.with_suffix(".half")
    half.write_text(json.dumps(recipe, indent=1), encoding="utf-8")
    half.replace(STAMP)


def pins() -> None:
    """Write constraints.txt anew from what the environment holds (after pip install --upgrade by hand)."""
    listed = subprocess.run(
        [PYTHON, "-m", "pip", "list", "--format", "json", "--exclude-editable"], check=True, capture_output=True
    )
    # A local version (torch's +cpu) says which build this machine took, not which release was tested.
    lines = [
        f"{package['name'].lower().replace('_', '-')}=={package['version'].split('+')[0]}"
        for package in json.loads(listed.stdout)
        if package["name"] not in ("kfac_lite", "pip")
    ]
    head = "# Every package at the version that was tested. Written by: python book/environment.py pins\n"
    (ROOT / "constraints.txt").write_text(head + "\n".join(sorted(lines)) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    for name in (*AMBIENT, "VIRTUAL_ENV"):
        os.environ.pop(name, None)
    os.environ["PYTHONUTF8"] = "1"
    if sys.argv[1:] == ["pins"]:
        pins()
    else:
        with locked("environment"):
            make()
