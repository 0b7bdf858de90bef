"""Lines of arithmetic as the text of a JavaScript program.

Three passes: drop the lines that nobody reads; let lines that run over the same numbers share a loop, so that the text
says "for every datum: forward, backward, add up"; write short functions, since an engine never optimises a huge one.
"""

import json
import math
import re
import struct
import warnings
from base64 import b64encode
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .build import Builder, Call, Line
from .tables import TABLES, literal, rule
from .trace import shown

__all__ = ["write"]

SIZE = 2000  # characters of a function, at most
ESTIMATE = 1350  # what the lines of one loop may come to, roughly, before they have names
MANY = 64  # constants in a row are no longer read by a person: written by their bytes, if that is shorter
TOTALS = {
    "sum": ("0", "{0}+={1};"),
    "prod": ("1", "{0}*={1};"),
    "max": ("-Infinity", "{0}=Math.max({0},{1});"),
    "min": ("Infinity", "{0}=Math.min({0},{1});"),
}
INDICES = "ijklpqrtuwxyz"  # of loops, from the outermost
LIBRARY = Path(__file__).with_name("linalg.js").read_text(encoding="utf-8")

PROGRAM = """function () {{
  const m = new Float64Array({size});{tables}
  const lines = {lines};
  const places = {places};
  const spans = [{spans}];
  let failed = -1;
  function fail(place) {{ if (failed < 0) failed = place; }}
  {library}
  {constants}
{functions}
  const cells = (list) => list.map(([from, size]) => m.subarray(from, from + size));
  const inputs = cells({inputs}), outputs = cells({outputs});
  function step() {{
    failed = -1;
    {calls}
  }}
  function finite() {{
    for (const x of outputs) for (let i = 0; i < x.length; i++) if (x[i] - x[i] !== 0) return false;
    return true;
  }}
  function fault() {{
    if (failed < 0 && finite()) return null;
    const say = (kind, place) => ({{ kind, operation: places[place][0], line: lines[places[place][1]] }});
    if (failed >= 0) return say("singular", failed);
    const cell = m.findIndex((x, i) => i >= {start} && !Number.isFinite(x));
    let i = spans.length - 2;
    while (spans[i] > cell) i -= 2;
    return say("not finite", spans[i + 1]);
  }}
  function run(values) {{
    values.forEach((x, i) => inputs[i].set(typeof x === "number" ? [x] : x));
    step();
    return outputs;
  }}
  return {{ inputs, outputs, step, fault, run }};
}}"""


def write(builder: Builder) -> str:
    """The program of a builder's lines."""
    return Writer(builder).program()


@dataclass(eq=False)
class Group:
    """Lines in one loop, or one call."""

    loops: tuple[int, ...] | None
    lines: list[Any] = field(default_factory=list)
    size: int = 0


def live(builder: Builder) -> tuple[list[Line | Call], np.ndarray]:
    """The lines whose values reach an output, and which cells are read."""
    needed = np.zeros(builder.top, bool)
    for x in builder.outputs:
        needed[x] = True
    kept = []
    for line in reversed(builder.lines):
        if needed[line.target].any():
            kept.append(line)
            for x in line.operands:
                needed[x[x > 0]] = True
    return kept[::-1], needed


def share(lines: list[Line | Call], top: int) -> list[Group]:
    """Every line in the first loop that runs over the same indices and comes after all that the line reads.

    The line may read what this loop itself writes, if it reads it in the same turn. Cells are written once, so no other
    order matters.
    """
    groups: list[Group] = []
    group_of, turn_of = np.full(top, -1), np.full(top, -1)  # the group that writes a cell, and in which turn

    def fits(line: Line, cost: int, group: int) -> bool:
        if groups[group].loops != line.loops or groups[group].size + cost > ESTIMATE:
            return False
        turns = np.arange(math.prod(line.loops)).reshape(line.loops)
        ours = [(x > 0) & (group_of[x] == group) for x in line.operands]
        return all((turn_of[x] == turns)[mine].all() for x, mine in zip(line.operands, ours))

    for line in lines:
        here, cost = len(groups), 0
        if isinstance(line, Line):
            cost = 15 + len(line.formula) + 10 * len(line.operands)
            earliest = max((int(group_of[x[x > 0]].max(initial=0)) for x in line.operands), default=0)
            here = next((g for g in range(earliest, here) if fits(line, cost, g)), here)
        if here == len(groups):
            groups.append(Group(line.loops if isinstance(line, Line) else None))
        group_of[line.target] = here
        groups[here].lines.append(line)
        groups[here].size += cost
        if isinstance(line, Line) and not line.total:
            turn_of[line.target] = np.arange(math.prod(line.loops)).reshape(line.loops)
    return groups


def halves(group: Group) -> list[Group]:
    middle = len(group.lines) // 2
    return [Group(group.loops, group.lines[:middle]), Group(group.loops, group.lines[middle:])]


def number(x: float) -> str:
    """A float as a literal that reads back as the same float."""
    text = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}.get(repr(x), repr(x).removesuffix(".0"))
    return f"({text})" if text.startswith("-") else text


class Writer:
    """The text of a program, and the tables that it needs."""

    def __init__(self, builder: Builder):
        self.builder = builder
        self.shift = len(builder.pool) - 1  # constants come first in the heap
        lines, needed = live(builder)
        for (name, _), x in zip(builder.traced.inputs, builder.inputs):
            if x.size and not needed[x].any():
                warnings.warn(f"input {name} changes nothing: the function does not use it", stacklevel=4)
        self.tables: dict[bytes, int] = {}
        self.tabled = 0  # entries of the tables of addresses, one behind the other
        self.rules: list[tuple[int, list[int], list[int]]] = []
        self.constants: set[int] = set()
        self.places: dict[Any, int] = {}
        self.groups = share(lines, builder.top)
        self.stored = self.read_elsewhere()
        while long := [group for group in self.groups if len(self.text(group)) > SIZE - 30 and len(group.lines) > 1]:
            self.groups = [part for group in self.groups for part in (halves(group) if group in long else [group])]
            self.stored = self.read_elsewhere()

    def read_elsewhere(self) -> np.ndarray:
        """The cells that have to be in the heap: a value that only its own loop reads is a local name."""
        stored = np.zeros(self.builder.top, bool)
        for x in self.builder.outputs:
            stored[x] = True
        for group in self.groups:
            local = set()
            for line in group.lines:
                for x in line.operands:
                    if x.tobytes() not in local:
                        stored[x[x > 0]] = True
                if isinstance(line, Line) and not line.total:
                    local.add(line.target.tobytes())
        return stored

    def place(self, place: Any) -> int:
        return self.places.setdefault(place, len(self.places))

    def cell(self, at: np.ndarray) -> str:
        """m[...] for the cells at these addresses, by the loops' indices: a formula if there is one, else a table."""
        self.constants.update(at[at <= 0].tolist())
        at = at + self.shift
        base, names = int(at.flat[0]), INDICES
        strides = [int(at.take(1, d).flat[0]) - base if n > 1 else 0 for d, n in enumerate(at.shape)]
        grid = np.indices(at.shape) if at.ndim else np.zeros((0,), int)
        if np.array_equal(base + sum(s * g for s, g in zip(strides, grid)), at):
            return f"m[{affine(strides, names, base)}]"
        key = at.tobytes()
        if key not in self.tables:
            self.tables[key] = self.tabled
            self.rules.append(rule(at))
            self.tabled += at.size
        rows = [math.prod(at.shape[d + 1 :]) for d in range(at.ndim)]
        return f"m[T[{affine(rows, names, self.tables[key])}]]"

    def text(self, group: Group) -> str:
        if group.loops is None:
            (call,) = group.lines
            spots = [int(x.flat[0]) + self.shift for x in [*call.operands, call.target]]
            return f"{call.function}({','.join(map(str, ['m', *spots, *call.sizes, self.place(call.place)]))});"
        return Body(self, group).text()

    def program(self) -> str:
        functions, current = [], ""
        for group in self.groups:
            text = self.text(group)
            if current and len(current) + len(text) > SIZE - 30:
                functions.append(current)
                current = ""
            current += text
        functions += [current] if current else []
        spans: list[int] = []
        named = [(f"input {name}", "") for name, _ in self.builder.traced.inputs]
        starts = [(x, place) for x, place in zip(self.builder.inputs, named)]
        for line in sorted((line for g in self.groups for line in g.lines), key=lambda line: int(line.target.flat[0])):
            starts.append((line.target, tuple(line.place)))
        for x, place in starts:
            if x.size and (not spans or spans[-1] != self.place(place)):
                spans += [int(x.flat[0]) + self.shift, self.place(place)]
        sections = re.split(r"\n\n(?=//)", LIBRARY)
        library = [x for x in sections if any(f"function {f}(" in x for f in self.builder.functions)]
        lines = {line: i for i, line in enumerate(dict.fromkeys(line for _, line in self.places))}
        return PROGRAM.format(
            size=self.builder.top + self.shift,
            start=self.shift + 1,
            tables=TABLES.format(size=self.tabled, rules=literal(self.rules)) if self.rules else "",
            lines=literal(list(lines)),
            places=literal([[shown(operation), lines[line]] for operation, line in self.places]),
            spans=",".join(map(str, spans)),
            library="\n".join(library).replace("\n", "\n  "),
            constants=self.constant_cells(),
            functions="\n".join(f"  function f{i}() {{{text}}}" for i, text in enumerate(functions)),
            calls=" ".join(f"f{i}();" for i in range(len(functions))),
            inputs=self.regions(self.builder.inputs),
            outputs=self.regions(self.builder.outputs),
        )

    def constant_cells(self) -> str:
        """m.set for the constants that loops read; the heap starts as zeros."""
        runs: list[list[int]] = []
        for at in sorted(self.constants - {0}):
            if runs and runs[-1][-1] == at - 1:
                runs[-1].append(at)
            else:
                runs.append([at])
        text = ""
        for run in runs:
            numbers = [self.builder.pool[-at] for at in run]
            values = f"[{','.join(number(x).strip('()') for x in numbers)}]"
            if len(run) >= MANY:
                packed = b64encode(struct.pack(f"<{len(run)}d", *numbers)).decode()
                packed = f'new Float64Array(Uint8Array.from(atob("{packed}"),(c)=>c.charCodeAt(0)).buffer)'
                values = min(values, packed, key=len)
            text += f"m.set({values},{run[0] + self.shift}); "
        return text

    def regions(self, ports: list[np.ndarray]) -> str:
        return json.dumps([[int(x.flat[0]) + self.shift if x.size else 0, x.size] for x in ports])


def affine(strides: list[int], names: str, base: int) -> str:
    terms = [name if s == 1 else f"{s}*{name}" for s, name in zip(strides, names) if s]
    return "+".join([*terms, *([str(base)] if base or not terms else [])]).replace("+-", "-")


class Body:
    """The text of one group: what its lines share has a name."""

    def __init__(self, writer: Writer, group: Group):
        self.writer, self.group = writer, group
        self.before: list[str] = []  # outside of all loops
        self.start: list[str] = []  # around the last loop
        self.body: list[str] = []
        self.end: list[str] = []
        self.names: dict[bytes, str] = {}
        self.count = 0
        self.uses: Counter[bytes] = Counter()
        for line in group.lines:
            for i, x in enumerate(line.operands):
                self.uses[x.tobytes()] += line.formula.count(f"{{{i}}}")

    def name(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def read(self, at: np.ndarray) -> str:
        literal = self.writer.builder.literal(at)
        if literal is not None:
            return number(literal)
        key = at.tobytes()
        if key not in self.names:
            text = self.writer.cell(at)
            fixed = bool(self.group.loops) and (at == at.flat[0]).all()
            if fixed or self.uses[key] > 1:
                self.names[key] = self.name()
                (self.before if fixed else self.body).append(f"const {self.names[key]}={text};")
            else:
                self.names[key] = text
        return self.names[key]

    def add(self, line: Line) -> None:
        text = line.formula.format(*map(self.read, line.operands))
        if line.total:
            name, (zero, step) = self.name(), TOTALS[line.total]
            self.start.append(f"let {name}={zero};")
            self.body.append(step.format(name, text))
            self.end.append(f"{self.writer.cell(line.target)}={name};")
            return
        key, stored = line.target.tobytes(), self.writer.stored[line.target].any()
        uses = self.uses[key]
        if uses == 1 and not stored and len(text) < 80:
            call = re.fullmatch(r"Math\.\w+\([^()]*\)", line.formula)
            self.names[key] = text if call or line.formula == "{0}" else f"({text})"
            return
        if uses and line.formula != "{0}":
            self.names[key] = self.name()
            self.body.append(f"const {self.names[key]}={text};")
            text = self.names[key]
        if stored:
            self.body.append(f"{self.writer.cell(line.target)}={text};")

    def text(self) -> str:
        for line in self.group.lines:
            self.add(line)
        loops = [f"for(let {x}=0;{x}<{n};{x}++){{" for x, n in zip(INDICES, self.group.loops or ())]
        outer, inner = "".join(loops[:-1]), "".join(loops[-1:])
        body = "".join(self.body) + "}" * len(inner and "x")
        return "{" + "".join([*self.before, outer, *self.start, inner, body, *self.end, "}" * len(loops[:-1])]) + "}"
