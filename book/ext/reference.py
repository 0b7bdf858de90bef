"""A reference of the package, from its docstrings: read off the source, nothing is imported.

    ```{reference} kfac_lite
    ```

The argument is a module with an `__all__`, whose names (or those that `:only:` picks) are listed with their signatures,
docstrings, members and a link to the source; by the module that defines them, where that is another one. A class shows
its public members that have a docstring. In a docstring, `backticks` are code, indented lines are as they stand, "name:
what it is" is an entry of a list, and the paper's items ("eq. 2.8", "Theorem 3.1") lead to where they are in the book.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from textwrap import dedent
from typing import Any, ClassVar

from code_links import address
from docutils import nodes
from docutils.parsers.rst import directives
from paper_numbers import ITEMS
from source_names import Module, Thing, lookup, sources, tree
from sphinx.util.docutils import SphinxDirective

WIDE = 72  # columns of a signature on one line
ROLES = {"eq": "eq", "tab": "numref"}
AS_TYPED: Any = {"support_smartquotes": False, "classes": ["reference-text"]}  # a name in quotes is to be copied
NUMBERED = {row["kind"].title(): label.partition("-")[0] for label, row in ITEMS.items()}
PIECES = re.compile(
    r"(`[^`]+`|(?<!\w)\*\w[^*]*\*(?!\w)|\beqs?\. [\d., ]*(?:(?:to|and) [\d.]+)?"
    rf"|(?:{'|'.join(NUMBERED)}) \d\.\d+)"
)


def arguments(given: ast.arguments, method: bool) -> list[str]:
    """Each parameter as it is written, with its annotation and default."""
    plain = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(plain) - len(given.defaults)) + list(given.defaults)
    star = [None] if given.kwonlyargs and not given.vararg else []
    found = [shown(arg, default) for arg, default in zip(plain, defaults)][int(method) :]
    found += ["*" for _ in star] + (["*" + shown(given.vararg)] if given.vararg else [])
    found += [shown(arg, default) for arg, default in zip(given.kwonlyargs, given.kw_defaults)]
    return found + (["**" + shown(given.kwarg)] if given.kwarg else [])


def shown(arg: ast.arg, default: ast.expr | None = None) -> str:
    text = arg.arg + (f": {unquoted(arg.annotation)}" if arg.annotation else "")
    return text if default is None else f"{text}{' = ' if arg.annotation else '='}{ast.unparse(default)}"


def unquoted(annotation: ast.expr) -> str:
    text = ast.unparse(annotation)
    return text[1:-1] if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str) else text


def call(name: str, given: list[str], returns: ast.expr | None) -> str:
    end = f" -> {unquoted(returns)}" if returns is not None and unquoted(returns) != "None" else ""
    line = f"{name}({', '.join(given)}){end}"
    if len(line) <= WIDE:
        return line
    return f"{name}(\n" + "".join(f"    {one},\n" if one != "*" else "    *,\n" for one in given) + f"){end}"


def marks(node: Any) -> set[str]:
    return {ast.unparse(mark).partition("(")[0].rpartition(".")[2] for mark in node.decorator_list}


def signature(name: str, node: Any, method: bool = False) -> str:
    """How it is called; for a class its constructor, for a dataclass its fields, for a property its name."""
    if isinstance(node, ast.FunctionDef):
        if marks(node) & {"property", "cached_property"}:
            return f"{name}: {unquoted(node.returns)}" if node.returns else name
        return call(name, arguments(node.args, method and "staticmethod" not in marks(node)), node.returns)
    if isinstance(node, ast.ClassDef):
        made = next((one for one in node.body if getattr(one, "name", "") == "__init__"), None)
        if isinstance(made, ast.FunctionDef):
            return f"class {call(name, arguments(made.args, True), None)}"
        bases = [ast.unparse(base) for base in node.bases if not ast.unparse(base).startswith("_")]
        if "dataclass" in marks(node) or "NamedTuple" in bases:
            return f"class {call(name, [shown_field(one) for one in fields(node)], None)}"
        return f"class {name}" + (f"({', '.join(bases)})" if bases else "")  # made by its functions
    return ast.unparse(node)


def fields(node: ast.ClassDef) -> Iterator[ast.AnnAssign]:
    for one in node.body:
        if isinstance(one, ast.AnnAssign) and "ClassVar" not in ast.unparse(one.annotation):
            yield one


def shown_field(one: ast.AnnAssign) -> str:
    text = f"{ast.unparse(one.target)}: {unquoted(one.annotation)}"
    return f"{text} = {ast.unparse(one.value)}" if one.value is not None and len(ast.unparse(one.value)) < 30 else text


def public(node: ast.ClassDef) -> Iterator[ast.FunctionDef]:
    for one in node.body:
        if not isinstance(one, ast.FunctionDef) or "overload" in marks(one) or not ast.get_docstring(one):
            continue
        if not one.name.startswith("_") or one.name in ("__call__", "__getitem__"):
            yield one


class Reference(SphinxDirective):
    required_arguments = 1
    option_spec: ClassVar[Any] = {"only": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        module = self.arguments[0]
        if module not in sources():
            raise self.error(f"there is no module {module} in the package")
        names = self.options["only"].split() if "only" in self.options else listed(module)
        parts: dict[str, list[tuple[str, Any]]] = {}
        for name in names:
            found = lookup(module, name)
            if isinstance(found, Thing):
                parts.setdefault(found.module, []).append((name, found))
            elif isinstance(found, Module):
                parts.setdefault(found.name, []).extend(
                    (inner, thing)
                    for inner in listed(found.name)
                    if isinstance(thing := lookup(found.name, inner), Thing)
                )
            else:
                raise self.error(f"{module} has {name!r} in __all__, and does not define it")
        body: list[nodes.Node] = []
        for part in sorted(parts, key=list(sources()).index):
            entries = [
                self.entry(name, found) for name, found in sorted(parts[part], key=lambda pair: pair[1].node.lineno)
            ]
            if len(parts) == 1:
                body += entries
                continue
            section = nodes.section("", nodes.title("", part.removeprefix(f"{module}.")), ids=[part])
            section += [*self.text(ast.get_docstring(tree(part)) or ""), *entries]
            body.append(section)
        return body

    def entry(self, name: str, found: Thing) -> nodes.section:
        identity = f"{found.module}.{found.anchor}"
        section = nodes.section("", nodes.title("", name), ids=[identity])
        section += self.code(signature(name, found.node))
        link = nodes.reference("", "source", refuri=self.to(found), internal=True)
        section += nodes.paragraph("", "", link, classes=["reference-source"])
        if isinstance(found.node, ast.ClassDef | ast.FunctionDef):
            section += self.text(ast.get_docstring(found.node) or "")
        if isinstance(found.node, ast.ClassDef) and (members := list(public(found.node))):
            items = nodes.definition_list(classes=["reference-members"])
            for member in members:
                said = nodes.definition("", *self.text(ast.get_docstring(member) or ""))
                shown_ = signature(member.name, member, True)
                term = nodes.term("", "", nodes.literal(shown_, re.sub(r"\s+", " ", shown_)))
                items += nodes.definition_list_item("", term, said)
            section += items
        return section

    def to(self, found: Thing) -> str:
        return address("../" * self.env.docname.count("/"), found.module, found.anchor)

    def code(self, text: str) -> nodes.literal_block:
        return nodes.literal_block(text, text, language="python", force=True, classes=["reference-signature"])

    def text(self, docstring: str) -> list[nodes.Node]:
        """Paragraphs, literal blocks and lists of a docstring."""
        found: list[nodes.Node] = []
        for block in re.split(r"\n\s*\n", docstring):
            lines = block.split("\n")
            if all(line.startswith("    ") for line in lines) or lines[0].startswith(">>> "):
                code = dedent(block)
                found.append(nodes.literal_block(code, code, language="pycon" if ">>>" in code else "text"))
                continue
            while lines:
                take = 1
                if re.match(r"\w+(, \w+)*: ", lines[0]):
                    while take < len(lines) and lines[take].startswith("    "):
                        take += 1
                    term, _, said = " ".join(line.strip() for line in lines[:take]).partition(": ")
                    items = found[-1] if found else None
                    if not isinstance(items, nodes.definition_list):
                        items = nodes.definition_list()
                        found.append(items)
                    inside = nodes.definition("", nodes.paragraph("", "", *self.inline(said), **AS_TYPED))
                    items += nodes.definition_list_item("", nodes.term("", "", nodes.literal(term, term)), inside)
                elif lines[0].startswith("    "):
                    while take < len(lines) and lines[take].startswith("    "):
                        take += 1
                    code = dedent("\n".join(lines[:take]))
                    found.append(nodes.literal_block(code, code, language="text"))
                else:
                    while take < len(lines) and not re.match(r"\w+(, \w+)*: |    ", lines[take]):
                        take += 1
                    found.append(nodes.paragraph("", "", *self.inline(" ".join(lines[:take])), **AS_TYPED))
                del lines[:take]
        return found

    def inline(self, text: str) -> list[nodes.Node]:
        """Code and references to the paper's items, in words."""
        found: list[nodes.Node] = []
        for piece in PIECES.split(text):
            if piece.startswith("`"):
                found.append(nodes.literal(piece[1:-1], piece[1:-1]))
            elif re.fullmatch(r"\*\w[^*]*\*", piece):
                found.append(nodes.emphasis(piece, piece[1:-1]))
            elif re.match(r"eqs?\. ", piece):
                for part in re.split(r"(\d\.\d+)", piece):
                    found += self.item(f"eq-{part.replace('.', '-')}", part)
            elif piece.partition(" ")[0] in NUMBERED:
                kind, _, number = piece.partition(" ")
                found += self.item(f"{NUMBERED[kind]}-{number.replace('.', '-')}", piece)
            elif piece:
                found.append(nodes.Text(piece))
        return found

    def item(self, label: str, text: str) -> list[nodes.Node]:
        if label not in ITEMS:
            return [nodes.Text(text)] if text else []
        role = ROLES.get(label.partition("-")[0], "prf:ref")
        return self.parse_inline(f"{{{role}}}`{label}`", lineno=self.lineno)[0]


def listed(module: str) -> list[str]:
    """The names in a module's __all__, private ones and constants in capitals left out."""
    for node in tree(module).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__":
            return [name for name in ast.literal_eval(node.value) if not name.isupper() or len(name) <= 4]
    return []


def setup(app: Any) -> dict[str, Any]:
    app.add_directive("reference", Reference)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
