// The functions of a figure in order. What a control changes is computed again, and nothing else is.

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

  // The fault of a program that has just run: null where nothing finite could come out, since nothing finite went in.
  const faultOf = (program, read) => {
    const fault = program.fault();
    return fault && (fault.kind === "singular" || finite(read)) ? fault : null;
  };

  const work = {
    constant(node) {
      node.gives.forEach((name, i) => values[name].forEach((x, j) => x.set(unpacked(node.values[i][j]))));
    },
    function(node) {
      const program = programs[node.program], read = node.reads.flatMap((name) => values[name]);
      read.forEach((x, i) => program.inputs[i].set(x));
      program.step();
      const fault = faultOf(program, read);
      node.gives.flatMap((name) => values[name]).forEach((x, i) => x.set(program.outputs[i]));
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
          traces[i].set(state, t * state.length);
        }
        if (t === node.steps) return null;
        program.step();
        const fault = program.fault();
        if (fault) {
          for (let i = 0; i < count; i++) traces[i].fill(NaN, (t + 1) * program.inputs[i].length);
          broken[name] = t + 1;
          return fault.kind === "singular" ? { ...fault, step: t + 1, run: name } : null;
        }
        for (let i = 0; i < count; i++) program.inputs[i].set(program.outputs[i]);
      }
    },
    best(node, byReader) {
      const [best] = values[node.gives[0]];
      if (byReader) for (const x of values[node.reads[0]][0]) if (x > best[0] && x < Infinity) best[0] = x;
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
        const fault = work[node.kind](node, byReader);
        node.done = true;
        if (fault) {
          all = true;
          return fault;
        }
        for (const name of node.gives) { changed.add(name); changes[name] = ++clock; }
      }
      return null;
    },
  };
}
