// The state of a figure as the fragment of an address: #name=1,angle:0.3,kappa:1_0_0_0_1_0. The 1 is the version.

export function written(name, controls) {
  const parts = Object.values(controls).map(({ spec, value }) => `${spec.name}:${Array.from(value, (x) => Number(x.toPrecision(6))).join("_")}`);
  return `${name}=1,${parts.join(",")}`;
}

// null: the fragment is not about this figure. Else {control: numbers}, or {} where it says nothing that can be read.
export function read(fragment, name, controls) {
  const text = fragment.replace(/^#/, "");
  if (!text.startsWith(name + "=")) return null;
  const [version, ...parts] = text.slice(name.length + 1).split(",");
  const found = {};
  if (version !== "1") return {};
  for (const part of parts) {
    const [control, list = ""] = part.split(":"), numbers = list.split("_").map(Number);
    if (!controls[control] || list === "" || numbers.length !== controls[control].value.length || !numbers.every(Number.isFinite)) return {};
    found[control] = numbers;
  }
  return found;
}
