// The state of a figure: one value a control. What is allowed is said in the setters, so that mouse, touch, keys,
// presets, addresses and Python cannot differ; they return the words for a bound that was met.

const clamp = (x, low, high) => Math.max(low, Math.min(high, x));

function setFrame(spec, value, part, u, v) {
  let note = "";
  if (part === 0) {
    const inside = [u, v].map((x) => clamp(x, -spec.reach, spec.reach));
    if (inside[0] !== u || inside[1] !== v) note = "the origin stays near home’s";
    [value[2], value[5]] = inside;
    return note;
  }
  let length = Math.hypot(u, v), turn = length ? Math.atan2(v, u) : Math.atan2(value[2 + part], value[part - 1]);
  const [low, high] = spec.length;
  if (length < low) note = `shortest arrow: ${low}`;
  if (length > high) note = `longest arrow: ${high}`;
  length = clamp(length, low, high);
  const first = part === 1, other = first ? Math.atan2(value[4], value[1]) : Math.atan2(value[3], value[0]);
  const free = (spec.angle * Math.PI) / 180;
  let between = first ? other - turn : turn - other; // from the first arrow to the second
  between = Math.atan2(Math.sin(between), Math.cos(between));
  const kept = between < -Math.PI / 2 ? Math.PI - free : clamp(between, free, Math.PI - free);
  if (Math.abs(kept - between) > 1e-9) {
    note = `the arrows stay ${spec.angle}° from parallel`;
    turn = first ? other - kept : other + kept;
  }
  // Inside the bounds the numbers stay as they are, to the last digit: home is exactly home.
  [value[part - 1], value[part + 2]] = note ? [length * Math.cos(turn), length * Math.sin(turn)] : [u, v];
  return note;
}

const SET = {
  slider(spec, value, [x]) {
    const step = spec.step ? Math.round((x - spec.low) / spec.step) * spec.step + spec.low : x;
    value[0] = clamp(step, spec.low, spec.high);
  },
  scrubber(spec, value, [x]) { value[0] = clamp(Math.round(x), 0, spec.steps); },
  toggle(spec, value, [x]) { value[0] = x ? 1 : 0; },
  choice(spec, value, [x]) { value[0] = clamp(Math.round(x), 0, spec.options.length - 1); },
  handle(spec, value, [u, v]) {
    const inside = [clamp(u, ...spec.x), clamp(v, ...spec.y)];
    value.set(inside);
    return inside[0] === u && inside[1] === v ? "" : "as far as it goes";
  },
  frame(spec, value, list) {
    const [a, b, p, c, d, q] = list;
    value.set(list);
    return [setFrame(spec, value, 0, p, q), setFrame(spec, value, 1, a, c), setFrame(spec, value, 2, b, d)].find((x) => x) || "";
  },
};

const nested = (spec, value) => {
  const list = Array.from(value);
  if (spec.kind === "toggle") return list[0] === 1;
  if (spec.kind === "frame") return [list.slice(0, 3), list.slice(3)];
  return list.length > 1 ? list : list[0];
};

// `value` is the array that the engine reads; `spec` is the control as Python describes it.
export function makeControl(spec, value) {
  const flat = (x) => (Array.isArray(x) ? x.flat() : [x]).map(Number);
  const control = {
    spec,
    value,
    get plain() { return nested(spec, value); },
    set(x) {
      const list = flat(x);
      if (list.length !== value.length || !list.every(Number.isFinite)) return "";
      return SET[spec.kind](spec, value, list) || "";
    },
    // A part of a frame: 0 the origin, 1 and 2 the tips of the arrows; a handle has part 0 only.
    parts: spec.kind === "frame" ? [0, 1, 2] : [0],
    place(part) {
      if (spec.kind === "handle") return [value[0], value[1]];
      return part ? [value[2] + value[part - 1], value[5] + value[part + 2]] : [value[2], value[5]];
    },
    first(part) {
      const x = flat(spec.value);
      if (spec.kind === "handle") return x;
      return part ? [x[2] + x[part - 1], x[5] + x[part + 2]] : [x[2], x[5]];
    },
    move(part, u, v) {
      if (spec.kind === "handle") return control.set([u, v]);
      return part ? setFrame(spec, value, part, u - value[2], v - value[5]) : setFrame(spec, value, 0, u, v);
    },
  };
  control.set(spec.value);
  return control;
}
