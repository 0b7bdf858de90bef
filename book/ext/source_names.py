"""What a name in a chapter's code is, among the definitions of kfac_lite: read off the source, nothing is imported.

A name is followed through imports, assignments, attributes and declared return types as far as they say what it is;
what they leave open is not known.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGE = "kfac_lite"


@dataclass(frozen=True)
class Module:
    name: str


@dataclass(frozen=True)
class Thing:
    """A class, a function or a constant: where it is defined, and its syntax tree."""

    module: str
    anchor: str
    node: ast.AST


@dataclass(frozen=True)
class Instance:
    of: Thing


Known = Module | Thing | Instance | None


@cache
def sources() -> dict[str, Path]:
    """The package's modules by name."""
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(sources()[module].read_text(encoding="utf-8"))


def imported(node: ast.ImportFrom, inside: str) -> str:
    """The full name of the module that is imported from."""
    if not node.level:
        return node.module or ""
    package = inside if sources()[inside].name == "__init__.py" else inside.rpartition(".")[0]
    for _ in range(node.level - 1):
        package = package.rpartition(".")[0]
    return f"{package}.{node.module}" if node.module else package


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try):
            yield from statements(node.body)


@cache
def lookup(module: str, name: str) -> Known:
    """What `module.name` is."""
    if module not in sources():
        return None
    for node in statements(tree(module).body):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return Thing(module, name, node)
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return Thing(module, name, node)
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    origin = imported(node, module)
                    whole = f"{origin}.{alias.name}"
                    return Module(whole) if whole in sources() else lookup(origin, alias.name)
    return Module(f"{module}.{name}") if f"{module}.{name}" in sources() else None


def member(owner: Thing, name: str) -> tuple[Thing | None, Thing]:
    """A class's own or inherited member, and the class that has it."""
    if isinstance(owner.node, ast.ClassDef):
        for node in owner.node.body:
            target = getattr(node, "target", None)
            named = getattr(node, "name", None) or (target.id if isinstance(target, ast.Name) else None)
            if named == name:
                return Thing(owner.module, f"{owner.anchor}.{name}", node), owner
        for base in owner.node.bases:
            above = evaluate(base.value if isinstance(base, ast.Subscript) else base, {}, owner.module)
            if isinstance(above, Thing) and (found := member(above, name))[0]:
                return found
    return None, owner


def declared(annotation: ast.AST | None, module: str, owner: Thing | None) -> Known:
    """An instance of the class that an annotation names."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    if isinstance(annotation, ast.Name) and annotation.id == "Self" and owner:
        return Instance(owner)
    if isinstance(annotation, ast.Name | ast.Attribute):
        found = evaluate(annotation, {}, module)
        return Instance(found) if isinstance(found, Thing) and isinstance(found.node, ast.ClassDef) else None
    return None


def evaluate(node: ast.AST, names: dict[str, Known], module: str = "") -> Known:
    """What an expression is, among these names, or in a module of the package."""
    if isinstance(node, ast.Name):
        return names.get(node.id) or (lookup(module, node.id) if module else None)
    if isinstance(node, ast.Attribute):
        owner = evaluate(node.value, names, module)
        if isinstance(owner, Module):
            return lookup(owner.name, node.attr)
        if isinstance(owner, Thing):
            return member(owner, node.attr)[0]
        if isinstance(owner, Instance) and (found := member(owner.of, node.attr)[0]):
            marks = {mark.id for mark in getattr(found.node, "decorator_list", []) if isinstance(mark, ast.Name)}
            if marks & {"property", "cached_property"}:
                return declared(getattr(found.node, "returns", None), found.module, owner.of) or found
            if isinstance(found.node, ast.AnnAssign):
                return declared(found.node.annotation, found.module, owner.of) or found
            return found
    if isinstance(node, ast.Call):
        called = evaluate(node.func, names, module)
        if isinstance(called, Thing) and isinstance(called.node, ast.ClassDef):
            return Instance(called)
        if isinstance(called, Thing) and isinstance(called.node, ast.FunctionDef):
            owner = lookup(called.module, called.anchor.partition(".")[0]) if "." in called.anchor else None
            return declared(called.node.returns, called.module, owner if isinstance(owner, Thing) else None)
    return None


def place(found: Known, node: ast.AST, names: dict[str, Known]) -> tuple[str, str] | None:
    """The module and the anchor to which a name leads."""
    if isinstance(node, ast.Attribute):
        owner = evaluate(node.value, names)
        if isinstance(owner, Instance) and (entry := member(owner.of, node.attr)[0]):
            return entry.module, entry.anchor
    if isinstance(found, Thing):
        return found.module, found.anchor
    return (found.name, "") if isinstance(found, Module) and found.name in sources() else None


class Reader(ast.NodeVisitor):
    """Follows the cells of a page in order, and notes which identifiers lead where."""

    def __init__(self) -> None:
        self.names: dict[str, Known] = {}
        self.links: list[tuple[int, int, str, tuple[str, str]]] = []

    def read(self, code: str) -> list[tuple[int, int, str, tuple[str, str]]]:
        """(line, column in bytes of its end, identifier, place) for each name of the cell that is known."""
        self.links = []
        code = "\n".join("" if line.startswith(("%", "!")) else line for line in code.split("\n"))
        try:
            parsed = ast.parse(code)
        except SyntaxError:
            return []
        self.visit(parsed)
        return self.links

    def note(self, node: ast.Name | ast.Attribute, name: str) -> None:
        where = place(evaluate(node, self.names), node, self.names)
        if where:
            self.add(node, 0, name, where)

    def add(self, node: Any, behind: int, name: str, where: tuple[str, str]) -> None:
        """The first time in a cell that a name leads there: links are stops of the tabulator key."""
        if (name, where) not in [link[2:] for link in self.links]:
            self.links.append((node.end_lineno, node.end_col_offset - behind, name, where))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.name in sources():
                self.names[alias.asname or alias.name.partition(".")[0]] = Module(alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            found = lookup(node.module or "", alias.name)
            self.names[alias.asname or alias.name] = found
            where = place(found, alias, self.names)
            if where:
                self.add(alias, len(f" as {alias.asname}") if alias.asname else 0, alias.name, where)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self.names[node.id] = None
        else:
            known = self.names.get(node.id)
            if isinstance(known, Thing):
                self.note(node, node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.visit(node.value)
        self.note(node, node.attr)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        found = evaluate(node.value, self.names)
        for target in node.targets:
            self.visit(target)
            if isinstance(target, ast.Name) and isinstance(found, Instance):
                self.names[target.id] = found

    def visit_For(self, node: ast.For) -> None:
        for part in (node.iter, node.target, *node.body, *node.orelse):
            self.visit(part)

    def inner(self, node: ast.FunctionDef | ast.Lambda, body: list[Any]) -> None:
        """A function's parameters hide what the names were outside it."""
        for default in [*node.args.defaults, *(d for d in node.args.kw_defaults if d)]:
            self.visit(default)
        outside = self.names
        arguments = [*node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
        self.names = {**outside, **{argument.arg: None for argument in arguments if argument}}
        for part in body:
            self.visit(part)
        self.names = outside

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.names[node.name] = None
        self.inner(node, node.body)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.inner(node, [node.body])

    def comprehension(self, node: Any) -> None:
        outside, self.names = self.names, dict(self.names)
        for generator in node.generators:
            for part in (generator.iter, generator.target, *generator.ifs):
                self.visit(part)
        for part in ("key", "value", "elt"):
            if hasattr(node, part):
                self.visit(getattr(node, part))
        self.names = outside

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = comprehension


def anchors(module: str) -> dict[int, str]:
    """Line -> the name that is defined there."""
    found: dict[int, str] = {}

    def note(body: list[ast.stmt], prefix: str) -> None:
        for node in statements(body):
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                names = [node.name]
            for name in names:
                if prefix + name not in found.values():
                    found.setdefault(node.lineno, prefix + name)
            if isinstance(node, ast.ClassDef):
                note(node.body, f"{prefix}{node.name}.")

    note(tree(module).body, "")
    return found
