// A task that is done by dragging: how far it is from done, and, as long as it is done, that it is.

import { element, put, write } from "./draw.js";
import { format } from "./numbers.js";
import { fill } from "./words.js";

export function makeGoal(view, figure) {
  const value = figure.ref(view.value), section = element("section", { class: "live-panel live-goal" });
  const task = element("p", { class: "live-question" }), far = element("p", { class: "live-words" }), told = element("p", { class: "live-words" });
  const mark = element("strong"), words = element("span");
  fill(task, view.task, figure);
  fill(told, view.told, figure);
  far.append(mark, words);
  section.append(task, far, told);
  const tell = (v) => format(v, view.form) + (view.unit ?? "");
  let done = null;
  return {
    section,
    layout() {},
    drawHandles() {},
    draw() {
      const v = value.get()[0], now = v <= view.below;
      write(mark, now ? "✓ It holds: " : "Not yet: ");
      write(words, `${view.label} is ${tell(v)}; the task is done at ${tell(view.below)} or less.`);
      if (now === done) return;
      if (now && done !== null) figure.say(`${mark.textContent}${told.textContent}`);
      done = now;
      told.hidden = !now;
      put(section, "data-done", now);
    },
  };
}
