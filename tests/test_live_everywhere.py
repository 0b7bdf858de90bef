"""Every live figure of the book computes in the page what its functions compute in torch (paper: none).

Of each chapter only those statements run that its figures need, and what these need.
"""

import ast
import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from torch.utils._pytree import tree_leaves

from kfac_lite.live import LiveFigure

from .test_live_figure import in_page

pytestmark = [pytest.mark.no_gauge, pytest.mark.slow]
CHAPTERS = sorted((Path(__file__).parent.parent / "chapters").glob("*.ipynb"))


def names(node: ast.AST, context: type) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, context)}


def binds(statement: ast.stmt) -> set[str]:
    """The names that a statement gives a meaning."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).split(".")[0] for alias in statement.names}
    parts: list[ast.expr] = [
        n for n in ast.walk(statement) if isinstance(n, ast.Subscript | ast.Attribute) and isinstance(n.ctx, ast.Store)
    ]
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        parts.append(statement.value.func)  # a method may change its object
    return names(statement, ast.Store).union(*(names(part, ast.Load) for part in parts))


def is_figure(statement: ast.stmt) -> bool:
    calls = [n.func for n in ast.walk(statement) if isinstance(n, ast.Call)]
    return any(getattr(f, "id", getattr(f, "attr", "")) in ("LiveFigure", "figure") for f in calls)


def needed(statements: list[ast.stmt]) -> list[ast.stmt]:
    """The statements that make figures, and those that they need, in order."""
    imported = set().union(*(binds(s) for s in statements if isinstance(s, ast.Import | ast.ImportFrom)))
    kept = {i for i, statement in enumerate(statements) if is_figure(statement)}
    while True:
        wanted = set().union(*(names(statements[i], ast.Load) for i in kept))
        calls = wanted - imported  # torch.set_printoptions changes nothing that a figure needs
        more = {
            i
            for i, statement in enumerate(statements[: max(kept)])
            if binds(statement) & (calls if isinstance(statement, ast.Expr) else wanted)
        } - kept
        if not more:
            return [statements[i] for i in sorted(kept)]
        kept |= more


def runs(cell: Any) -> bool:
    return cell.cell_type == "code" and "raises-exception" not in cell.metadata.get("tags", [])


def figures(path: Path) -> list[LiveFigure]:
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if runs(cell)]
    statements = [part for source in cells if source[:1] != "%" for part in ast.parse(source).body]
    made: list[LiveFigure] = []
    keep = LiveFigure.__init__

    def noted(self: LiveFigure, *args: Any, **kwargs: Any) -> None:
        keep(self, *args, **kwargs)
        made.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LiveFigure, "__init__", noted)
        exec(compile(ast.Module(needed(statements), []), path.name, "exec"), {"__name__": path.stem})
    return made


WITH_FIGURES = [path for path in CHAPTERS if "LiveFigure(" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", WITH_FIGURES, ids=lambda path: path.stem)
def test_the_figures_of_a_chapter(path: Path):
    found = figures(path)
    assert found
    for figure in found:
        states = [figure.spec["ghost"] or [{}, *figure.presets.values()][-1]]
        rows = in_page(
            figure,
            f"""
            engine.compute(false);
            return {json.dumps(states)}.map((state) => {{
              for (const [name, value] of Object.entries(state)) {{ controls[name].set(value); engine.touch(name); }}
              return [engine.compute(false), all()];
            }});""",
        )
        now: dict[str, Any] = {}
        for state, (fault, drawn) in zip(states, rows, strict=True):
            now |= state
            assert fault is None
            for name, value in figure.values(**now).items():
                if name.startswith("ratio"):  # of a gap to one that is rounding
                    continue
                for there, here in zip(drawn[name], tree_leaves(value), strict=True):
                    there = torch.tensor([float(x) for x in there], dtype=torch.float64).reshape(here.shape)
                    size = here.nan_to_num(0, 0, 0).abs().max().clamp(min=1.0) if here.numel() else 1.0
                    apart = torch.where(there.isnan() & here.isnan() | (there == here), 0.0, (there - here).abs())
                    assert float((apart / size).max() if here.numel() else 0) <= 1e-10, (figure.identifier, name)
