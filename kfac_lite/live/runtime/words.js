// Words with read-outs and buttons in them, and the controls that stand below the panels.

import { element, put, write } from "./draw.js";
import { formatAll, format, pieces, widest } from "./numbers.js";
import { stepOf } from "./drag.js";

// A number; `data-value` has all its digits. In a heading its box keeps its size; in a sentence that would be a hole, so
// there each new number sets the lines anew, and it waits for its turn.
function readout(part, figure) {
  const ref = figure.ref(part.value), out = element("span", { class: "live-readout", "data-of": part.value }), { heading } = figure;
  if (!heading) out.classList.add("loose");
  else out.style.width = `${widest(ref.shape, part.form)}ch`;
  const show = () => write(out, formatAll(ref.get(), ref.shape, part.form));
  figure.show(part.value, () => {
    const values = ref.get();
    put(out, "data-value", values.length === 1 ? values[0] : Array.from(values).join(","));
    heading || out.words === undefined ? show() : figure.soon(show);
  });
  return out;
}

function button(words, figure) {
  const toggle = Object.values(figure.controls).find(({ spec }) => spec.kind === "toggle" && spec.label === words);
  const el = element("button", toggle ? { type: "button", name: toggle.spec.name } : { type: "button", "data-set": words }, element("span", {}, words));
  if (!toggle) {
    el.addEventListener("click", () => figure.preset(words));
    return el;
  }
  el.addEventListener("click", () => figure.change(toggle.spec.name, () => toggle.set(1 - toggle.value[0])));
  figure.show(toggle.spec.name, () => put(el, "aria-pressed", toggle.value[0] === 1));
  figure.placed.add(toggle.spec.name);
  return el;
}

export function fill(el, text, figure) {
  for (const part of pieces(text)) {
    if (part.value) el.append(readout(part, figure));
    else if (part.button) el.append(button(part.button, figure));
    else if (part.mark) {
      const inner = part.mark === "strong" ? element("strong") : element("span", { class: `live-${part.mark}` });
      fill(inner, part.text, figure);
      el.append(inner);
    } else el.append(part.text);
  }
}

export function makeWords(view, figure) {
  const el = element("div", { class: "live-words" });
  for (const line of view.text.split("\n").filter((x) => x.trim())) {
    const p = element("p");
    fill(p, line.trim(), figure);
    el.append(p);
  }
  return el;
}

// A control with a place of its own: its label, the thing, its value.
export function makeRow(control, figure) {
  const { spec } = control, label = spec.label || spec.name, row = element("div", { class: "live-control" });
  if (spec.kind === "toggle") {
    const box = element("input", { type: "checkbox", name: spec.name });
    box.addEventListener("change", () => figure.change(spec.name, () => control.set(box.checked ? 1 : 0)));
    figure.show(spec.name, () => { box.checked = control.value[0] === 1; });
    row.append(element("label", { class: "live-check" }, box, label));
    return row;
  }
  if (spec.kind === "choice") {
    const group = element("div", { role: "radiogroup", "aria-label": label, class: "live-choice" });
    spec.options.forEach((words, i) => {
      const radio = element("input", { type: "radio", name: `${figure.key}-${spec.name}`, value: i });
      radio.addEventListener("change", () => figure.change(spec.name, () => control.set(i)));
      figure.show(spec.name, () => { radio.checked = control.value[0] === i; });
      group.append(element("label", { class: "live-check" }, radio, words));
    });
    row.append(element("span", { class: "live-label", "aria-hidden": "true" }, label), group);
    return row;
  }
  // The range input runs over whole positions; the control says which value stands where.
  const steps = spec.kind === "scrubber" ? spec.steps : spec.step ? Math.round((spec.high - spec.low) / spec.step) : 400;
  const [low, high] = spec.kind === "scrubber" ? [0, spec.steps] : spec.log ? [Math.log(spec.low), Math.log(spec.high)] : [spec.low, spec.high];
  const to = (k) => { const v = low + (k / steps) * (high - low); return spec.log ? Math.exp(v) : v; };
  const from = (v) => (((spec.log ? Math.log(v) : v) - low) / (high - low)) * steps;
  const range = element("input", { type: "range", name: spec.name, min: 0, max: steps, step: 1, "aria-label": label });
  const form = spec.kind === "scrubber" ? "d" : spec.log ? ".2g" : `.${spec.digits}f`, value = element("span");
  const told = (v) => format(v, form) + (spec.unit ? " " + spec.unit : "");
  const go = (k) => figure.change(spec.name, () => control.set(to(Math.max(0, Math.min(steps, k)))));
  range.addEventListener("input", () => go(Number(range.value)));
  range.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const k = stepOf(event, Math.round(from(control.value[0])), steps, Math.max(1, Math.round(steps / 10)));
    if (k === undefined) return;
    event.preventDefault();
    go(event.shiftKey || spec.step || steps < 100 || !event.key.startsWith("Arrow") ? k : k + (k - Math.round(from(control.value[0]))) * 3);
  });
  figure.show(spec.name, () => {
    const words = told(control.value[0]);
    range.value = from(control.value[0]);
    write(value, words);
    put(range, "aria-valuetext", spec.kind === "scrubber" ? `${words} of ${spec.steps}` : words);
  });
  // Boxes with a size of their own around what moves: the page is not laid out anew for it.
  const box = element("span", { class: "live-value", "aria-hidden": "true" }, value);
  box.style.width = `${Math.max(...Array.from({ length: steps + 1 }, (_, k) => told(to(k)).length))}ch`;
  row.append(element("span", { class: "live-label", "aria-hidden": "true" }, label), element("span", { class: "live-slide" }, range), box);
  if (spec.kind === "scrubber") row.append(figure.player(control));
  return row;
}
