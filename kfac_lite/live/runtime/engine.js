// The functions of a figure in order. What a control changes is computed again, and nothing else is: not what reads a
// value that has been computed again and came out as it was.

const SIZE = (shape) => shape.reduce((a, b) => a * b, 1);
const unpacked = (x) => typeof x === "string" ? new Float64Array(Uint8Array.from(atob(x), (c) => c.charCodeAt(0)).buffer) : x.map(Number);
const finite = (arrays) => arrays.every((x) => x.every(Number.isFinite));

export function makeEngine(spec, sources) {
  const programs = sources.map((make) => make());
  const values = {}; // name: its arrays, one a tensor
  for (const [name, shapes] of Object.entries(spec.values)) values[name] = shapes.map((shape) => new Float64Array(SIZE(shape)));
  const broken = {}; // name of a run: the step at which its numbers stopped being finite
  const changes = {}; // name: when its value changed last
  let stale = new Set(), all = true, clock = 0;
  let fresh = new Set(); // what has been computed in this turn, and is not what it was

  const put = (name, i, from, at = 0) => {
    const to = values[name][i];
    for (let j = 0; j < from.length; j++) {
      if (Object.is(to[at + j], from[j])) continue;
      to.set(from, at);
      fresh.add(name);
      return;
    }
  };

  // The fault of a program that has just run: null where nothing finite could come out, since nothing finite went in.
  const faultOf = (program, read) => {
    const fault = program.fault();
    return fault && (fault.kind === "singular" || finite(read)) ? fault : null;
  };

  const work = {
    constant(node) {
      node.gives.forEach((name, i) => node.values[i].forEach((x, j) => put(name, j, unpacked(x))));
    },
    function(node) {
      const program = programs[node.program], read = node.reads.flatMap((name) => values[name]);
      read.forEach((x, i) => program.inputs[i].set(x));
      program.step();
      const fault = faultOf(program, read);
      let i = 0;
      for (const name of node.gives) values[name].forEach((_, j) => put(name, j, program.outputs[i++]));
      return fault;
    },
    run(node) {
      const program = programs[node.program], [name] = node.gives, traces = values[name], count = traces.length;
      const start = typeof node.start === "string" ? values[node.start] : node.start.map(unpacked);
      start.forEach((x, i) => program.inputs[i].set(x));
      node.reads.flatMap((read) => values[read]).forEach((x, i) => program.inputs[count + i].set(x));
      delete broken[name];
      for (let t = 0; t <= node.steps; t++) {
        for (let i = 0; i < count; i++) {
          const state = program.inputs[i];
          put(name, i, state, t * state.length);
        }
        if (t === node.steps) return null;
        program.step();
        const fault = program.fault();
        if (fault) {
          for (let i = 0; i < count; i++) traces[i].fill(NaN, (t + 1) * program.inputs[i].length);
          fresh.add(name);
          broken[name] = t + 1;
          return fault.kind === "singular" ? { ...fault, step: t + 1, run: name } : null;
        }
        for (let i = 0; i < count; i++) program.inputs[i].set(program.outputs[i]);
      }
    },
    best(node, byReader) {
      const [name] = node.gives, [best] = values[name];
      if (!byReader) return;
      for (const x of values[node.reads[0]][0]) if (x > best[0] && x < Infinity) put(name, 0, [x]);
    },
  };

  return {
    values,
    broken,
    // When one of these values changed last: more than before if one has changed since.
    latest: (names) => names.reduce((latest, name) => Math.max(latest, changes[name] ?? 0), 0),
    // Say that a value has changed; the next computation is then about all that depends on it.
    touch(name) { stale.add(name); changes[name] = ++clock; },
    touchAll() { all = true; },
    // Returns null, or the fault after which nothing was computed.
    compute(byReader) {
      const changed = stale, everything = all;
      stale = new Set();
      all = false;
      for (const node of spec.nodes) {
        if (everything ? node.kind === "constant" && node.done : !node.reads.some((n) => changed.has(n)) && !changed.has(node.start)) continue;
        fresh = new Set();
        const fault = work[node.kind](node, byReader);
        node.done = true;
        for (const name of fresh) { changed.add(name); changes[name] = ++clock; }
        if (fault) {
          all = true;
          return fault;
        }
      }
      return null;
    },
  };
}
