// Numbers in the sentences of a page: they show what a figure computes, and those that are a control's can be dragged.

import { put, write } from "./draw.js";
import { formatAll } from "./numbers.js";
import { makeDraggable, stepOf } from "./drag.js";

export function bindProse(figure) {
  for (const el of document.querySelectorAll(`.live-number[data-figure="${figure.spec.name}"]`)) bind(el, figure);
}

function bind(el, figure) {
  const { name, form } = el.dataset, control = figure.controls[name], ref = figure.ref(name);
  const place = control?.spec.log ? Math.log10 : (v) => v; // what is dragged, and read aloud as a number
  const show = () => {
    const words = !control && figure.asking() ? "…" : formatAll(ref.get(), ref.shape, form); // no answer before its question
    write(el, words);
    if (control) put(el, "aria-valuenow", place(ref.get()[0]));
    if (control) put(el, "aria-valuetext", words);
  };
  // What is in the reader's hand follows it at once.
  figure.show(name, () => { el.words === undefined || document.activeElement === el ? show() : figure.soon(show); });
  if (!control || !("low" in control.spec || "steps" in control.spec)) return;
  const { spec } = control, [low, high] = "steps" in spec ? [0, spec.steps] : [place(spec.low), place(spec.high)];
  const steps = spec.steps ?? (spec.step && !spec.log ? Math.round((high - low) / spec.step) : 100);
  const go = (v) => figure.change(name, () => control.set(spec.log ? 10 ** v : v));
  const from = { x: 0, value: 0 };
  for (const [key, value] of Object.entries({ role: "slider", tabindex: 0, "aria-label": spec.label || name, "aria-valuemin": low, "aria-valuemax": high })) put(el, key, value);
  el.classList.add("draggable");
  makeDraggable(el, {
    where(event) {
      Object.assign(from, { x: event.clientX, value: place(control.value[0]) });
      return [event.clientX, event.clientY];
    },
    move: (x) => go(from.value + ((x - from.x) / 240) * (high - low)),
    keys(event) {
      const k = stepOf(event, ((place(control.value[0]) - low) / (high - low)) * steps, steps, Math.max(1, Math.round(steps / 10)));
      if (k === undefined) return false;
      go(low + (k / steps) * (high - low));
      return true;
    },
  });
}
