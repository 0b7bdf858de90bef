"""Execute the chapters and write them as they are committed: `python book/notebooks.py [file ...]`.

Executed in order in a fresh kernel, executions numbered 1 to n, text outputs kept (nbval compares them),
pictures, html and widgets dropped (the build makes them again), and nothing of this machine in the metadata.
Run twice, it leaves the same bytes; a notebook that nothing has changed since is not executed again.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

from build import BUILD, changed, code_files, executed, execution_cache
from environment import ROOT, fingerprint, isolate, locked

KEPT = ("text/plain", "text/latex", "text/markdown", "application/json")
CELL_METADATA = ("tags", "mystnb", "jupyter", "nbval")
Node = dict[str, Any]

# Where the book has a repository, each chapter begins with this; the tag says which cell is whose.
COLAB = """# On Colab this fetches the package; elsewhere it does nothing.
import sys

if "google.colab" in sys.modules:
    %pip install -q "kfac_lite[book] @ git+{repository}"
"""


class NotebookError(Exception):
    """What a committed notebook must not hold."""


def joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)


def lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def normal_outputs(outputs: list[Node], count: int) -> list[Node]:
    """Neighbouring pieces of one stream joined, pictures and html dropped, text kept."""
    result: list[Node] = []
    for output in outputs:
        kind = output["output_type"]
        if kind == "stream":
            text = joined(output["text"])
            if output["name"] == "stderr":
                raise NotebookError(f"cell [{count}] writes to stderr: {text.strip()[:200]}")
            if result and result[-1]["output_type"] == "stream":
                text = "".join(result.pop()["text"]) + text
            result.append({"name": "stdout", "output_type": "stream", "text": lines(text)})
        elif kind == "error":
            result.append({key: output[key] for key in ("ename", "evalue", "output_type", "traceback")})
        else:
            data = {
                mime: lines(joined(value)) if mime.startswith("text/") else value
                for mime, value in output["data"].items()
                if mime in KEPT
            }
            if data:
                normal: Node = {"data": data, "metadata": {}, "output_type": kind}
                if kind == "execute_result":
                    normal["execution_count"] = count
                result.append(normal)
    for output in result:
        address = re.search(r"\bat 0x[0-9a-f]{6,}", json.dumps(output))
        if address:
            raise NotebookError(f"cell [{count}] shows a memory address ({address[0]}), which differs in each run")
    return result


def normalised(notebook: Node) -> Node:
    """The notebook as it is committed; a function of its sources and text outputs alone."""
    cells: list[Node] = []
    count = 0
    taken: set[str] = set()
    for position, cell in enumerate(notebook["cells"]):
        source = joined(cell["source"])
        name = cell.get("id") or hashlib.sha256(f"{position}{source}".encode()).hexdigest()[:8]
        if name in taken:
            name = hashlib.sha256(f"{position}{name}".encode()).hexdigest()[:8]
        taken.add(name)
        normal: Node = {
            "cell_type": cell["cell_type"],
            "id": name,
            "metadata": {key: cell["metadata"][key] for key in CELL_METADATA if cell["metadata"].get(key)},
            "source": lines(source),
        }
        if cell.get("attachments"):
            normal["attachments"] = cell["attachments"]
        if cell["cell_type"] == "code":
            ran = bool(source.strip())
            count += ran
            if source.rstrip().endswith(";"):
                raise NotebookError(
                    f"cell [{count}] ends with ';', which nbval does not heed: assign the value instead"
                )
            normal["execution_count"] = count if ran else None
            normal["outputs"] = normal_outputs(cell["outputs"], count) if ran else []
        cells.append(normal)
    kept = {key: notebook["metadata"][key] for key in ("mystnb", "substitutions") if key in notebook["metadata"]}
    return {
        "cells": cells,
        "metadata": {
            **kept,
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def repository() -> str:
    """The address in _config.yml; "" as long as there is none."""
    import yaml

    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    return config["sphinx"]["config"]["book_repository"]


def for_colab(notebook: Node, address: str) -> Node:
    """The notebook with the cell that Colab needs as its first code cell; without it where there is no address."""
    cells = [cell for cell in notebook["cells"] if "colab" not in cell["metadata"].get("tags", [])]
    if address:
        first = next((n for n, cell in enumerate(cells) if cell["cell_type"] == "code"), len(cells))
        cell = {"cell_type": "code", "id": "colab", "execution_count": None, "outputs": []}
        cell["metadata"] = {"tags": ["colab", "remove-cell"]}
        cells.insert(first, {**cell, "source": COLAB.format(repository=address).rstrip("\n")})
    return {**notebook, "cells": cells}


def written(notebook: Node, address: str | None = None) -> str:
    notebook = for_colab(notebook, repository() if address is None else address)
    return json.dumps(normalised(notebook), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main(paths: list[Path]) -> None:
    code = fingerprint(code_files(), sys.version, Path(__file__).read_bytes())
    stamp = lambda path: BUILD / ".notebooks" / path.name
    with locked("notebooks"):
        old = [path for path in paths if changed(stamp(path), fingerprint([path], code))]
        for path in paths:
            if path not in old:
                print(f"{path.name}: as it was")
        for path, notebook, stopped in executed(old, execution_cache()):
            if stopped:
                sys.exit(f"{path.name}: {stopped}")
            try:
                text = written(notebook)
            except NotebookError as error:
                sys.exit(f"{path.name}: {error}")
            before = path.read_text(encoding="utf-8")
            if text != before:
                path.write_text(text, encoding="utf-8", newline="\n")
            print(f"{path.name}: executed, {'written' if text != before else 'unchanged'}", flush=True)
            stamp(path).parent.mkdir(parents=True, exist_ok=True)
            stamp(path).write_text(fingerprint([path], code), encoding="utf-8")


if __name__ == "__main__":
    isolate()
    named = [Path(name).resolve() for name in sys.argv[1:]]
    main(named or sorted((ROOT / "chapters").glob("*.ipynb")))
