// A question that is answered before its answer is seen. The reader draws a curve, or sets a number; then the truth
// stands beside the guess, and how far they are apart: point by point in the picture, and in words.

import { element, joined, look, put, round, shape, write } from "./draw.js";
import { makeDraggable, stepOf } from "./drag.js";
import { makePanel, scaleOf } from "./panel.js";
import { format } from "./numbers.js";
import { fill } from "./words.js";

const inRange = (s) => Math.max(0, Math.min(1, s));

export function makePredict(view, figure) {
  const truth = figure.ref(view.truth), over = view.over && figure.ref(view.over), n = truth.shape[0] ?? 1, drawn = n > 1;
  const [to, from, powers] = scaleOf(view.scale, view.y), count = drawn ? view.points : 1;
  const tell = (v) => format(v, view.form) + (view.unit ? " " + view.unit : "");
  const place = (k) => (drawn ? Math.round((k * (n - 1)) / (count - 1)) : 0), x = (k) => (over ? over.get()[place(k)] : place(k));
  const guess = new Float64Array(count).fill(NaN), guessed = () => guess.some((s) => s === s); // places on the scale of y
  const state = { answered: false, view, figure, truth, over, count, guess, to, from, tell, place, x };
  state.off = (k) => Math.abs(guess[k] - inRange(to(truth.get()[place(k)])));
  state.worst = () => [...guess.keys()].reduce((best, k) => (state.off(k) > state.off(best) || guess[best] !== guess[best] ? k : best), 0);

  // Where the guess is furthest off, and how far it is off on average.
  const words = () => {
    const t = (k) => truth.get()[place(k)], is = `It is ${tell(t(0))}`;
    if (!guessed()) return `Shown without a guess. ${drawn ? "" : is + "."}`;
    const off = Array.from(guess, (_, k) => state.off(k)), known = off.filter((d) => d === d);
    const size = (d) => (powers ? factor(d * powers) : tell(d * (view.y[1] - view.y[0])));
    if (!drawn) {
      const more = (powers ? "times " : "") + (to(t(0)) > guess[0] ? "more" : "less"), right = size(off[0]) === size(0);
      return `You said ${tell(from(guess[0]))}. ${is}` + (right ? ": that is right." : `, ${size(off[0])} ${more}.`);
    }
    const worst = state.worst();
    const at = `${view.xlabel || "place"} ${Number(x(worst).toPrecision(3))}`, mean = size(known.reduce((a, b) => a + b, 0) / known.length);
    return `Your curve is off by ${powers ? "a factor of " : ""}${mean} on average, most at ${at}: you drew ${tell(from(guess[worst]))}, it is ${tell(t(worst))}.`;
  };

  const section = element("section", { class: "live-panel live-predict" }), question = element("p", { class: "live-question" });
  fill(question, view.question, figure);
  const result = element("p", { class: "live-result" }), show = element("button", { type: "button", class: "live-act" }), again = element("button", { type: "button", class: "live-act" }, "guess again");
  const made = drawn ? makeCurve(state) : makeNumber(state);
  const starts = element("p", { class: "live-words" });
  state.changed = () => {
    made.draw();
    write(show, guessed() ? "compare with the answer" : "show the answer without a guess");
  };
  const settle = (answered) => {
    state.answered = answered;
    section.classList.toggle("answered", answered);
    for (const el of [show, starts]) el.hidden = answered;
    for (const el of [again, result]) el.hidden = !answered;
    made.settle();
    state.changed();
  };
  show.addEventListener("click", () => {
    settle(true);
    figure.answered();
    figure.say(result.textContent);
    again.focus({ preventScroll: true });
  });
  again.addEventListener("click", () => {
    guess.fill(NaN);
    settle(false);
    figure.answered();
    made.focus.focus({ preventScroll: true });
  });
  for (const [label, value] of Object.entries(view.starts)) {
    const el = element("button", { type: "button" }, element("span", {}, label)), ref = figure.ref(value);
    el.addEventListener("click", () => {
      guess.forEach((_, k) => { guess[k] = inRange(to(ref.get()[place(k)])); });
      state.changed();
    });
    if (!starts.childNodes.length) starts.append(drawn ? "Draw it, or start from: " : "Set it, or take: ");
    else starts.append(" ");
    starts.append(element("span", { class: "live-start" }, el));
  }
  for (const el of [...starts.querySelectorAll(".live-start")].slice(0, -1)) el.append(",");
  // On paper every fold is open, and every question answered; afterwards it is as it was.
  let printed = false;
  const paper = (open) => () => {
    if (open ? state.answered : !printed) return;
    settle(printed = open);
    figure.answered();
  };
  addEventListener("beforeprint", paper(true), { signal: figure.signal });
  addEventListener("afterprint", paper(false), { signal: figure.signal });
  if (drawn && !starts.childNodes.length) starts.append("Draw your curve into the picture, or use the arrow keys.");
  section.append(question, made.el, starts, result, element("p", { class: "live-acts" }, show, again));
  settle(false);
  return {
    section,
    open: () => state.answered,
    layout: made.layout ?? (() => {}),
    drawHandles() {},
    draw() {
      made.draw();
      write(result, state.answered ? words() : "");
    },
  };
}

const factor = (powers) => (powers < 0.02 ? "1" : powers < 1 ? (10 ** powers).toFixed(1) : format(10 ** powers, "power"));

// A picture into which a curve is drawn. The surface is one stop for the keyboard: left and right choose a point, up and down move it.
function makeCurve(state) {
  const { view, figure, truth, over, count, guess, to, from, tell, place, x } = state;
  const panel = makePanel({ ...view, marks: view.given, ticks: true, colour: null, ylabel: view.label }, figure);
  const surface = element("div", { class: "live-draw", role: "slider", tabindex: 0, "aria-label": `your guess: ${view.label}`, "aria-valuemin": 0, "aria-valuemax": 100 });
  let at = 0, last = null, parts = null;
  const nearest = (u) => Array.from(guess, (_, k) => Math.abs(x(k) - u)).reduce((best, d, k, all) => (d < all[best] ? k : best), 0);
  const set = (k, s) => { guess[k] = inRange(s); };

  // From where the stroke was last: the points that were passed lie on the straight line between.
  const stroke = (px, py) => {
    const [u, v] = panel.inside(px, py), k = nearest(u), s = inRange(to(v));
    const [k0, s0] = last ?? [k, s];
    for (let i = Math.min(k, k0); i <= Math.max(k, k0); i++) if (i !== k0 || k === k0) set(i, k === k0 ? s : s0 + ((i - k0) / (k - k0)) * (s - s0));
    last = [k, s];
    at = k;
    state.changed();
  };
  makeDraggable(surface, {
    where(event) {
      last = null;
      if (!state.answered) stroke(event.clientX, event.clientY);
      return [event.clientX, event.clientY];
    },
    move: (px, py) => { if (!state.answered) stroke(px, py); },
    keys(event) {
      const by = { ArrowUp: 0.02, ArrowDown: -0.02, PageUp: 0.1, PageDown: -0.1 }[event.key];
      const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: count - 1 }[event.key];
      if (state.answered || (by === undefined && to === undefined)) return false;
      const height = guess[at] === guess[at] ? guess[at] : 0.5;
      if (by) set(at, height + by * (event.shiftKey ? 5 : 1));
      else {
        // A pen that is carried on: points that are not drawn yet get the height of the one before.
        const next = Math.max(0, Math.min(count - 1, to)), step = Math.sign(next - at);
        if (guess[at] === guess[at]) for (let k = at; k !== next; k += step) if (guess[k + step] !== guess[k + step]) guess[k + step] = guess[k];
        at = next;
      }
      state.changed();
      return true;
    },
  });
  panel.laid = () => {
    Object.assign(surface.style, { left: `${panel.left}px`, top: `${panel.top}px`, width: `${panel.inner}px`, height: `${panel.height}px` });
    if (surface.parentElement !== panel.box) panel.svg.before(surface); // once: to be moved would end a stroke
    panel.begin();
    parts = {
      gaps: panel.add(shape("path", { class: "rule c-soft" })),
      line: panel.add(shape("path", { class: "mark c-soft r-plain" })),
      dots: Array.from(guess, () => panel.add(shape("circle", { class: "c-soft point", r: 4 }))),
      ring: panel.add(shape("circle", { class: "live-pen", r: 10 }), "over"),
      names: ["your guess", "the answer"].map((words) => panel.add(shape("text", { class: "halo small" }, words), "over")),
    };
  };
  return {
    el: panel.section,
    focus: surface,
    layout() { panel.layout(); },
    settle() {
      panel.view.marks = state.answered ? [...view.given, ...view.marks] : view.given;
      put(surface, "aria-disabled", state.answered);
      if (parts) panel.layout();
    },
    draw() {
      if (!parts) return;
      panel.draw();
      const px = (k) => panel.sx(x(k)), py = (s) => panel.top + (1 - s) * panel.height, all = [...guess.keys()];
      const known = all.filter((k) => guess[k] === guess[k]), end = known[known.length - 1], height = (k) => inRange(to(truth.get()[place(k)]));
      put(parts.line, "d", joined(count, px, (k) => py(guess[k])));
      put(parts.gaps, "d", state.answered ? known.map((k) => `M${round(px(k))} ${round(py(guess[k]))}V${round(py(height(k)))}`).join("") || "M0 0" : "M0 0");
      parts.dots.forEach((dot, k) => {
        put(dot, "transform", guess[k] === guess[k] ? `translate(${round(px(k))} ${round(py(guess[k]))})` : "translate(-99 -99)");
      });
      put(parts.ring, "transform", `translate(${round(px(at))} ${round(py(guess[at] === guess[at] ? guess[at] : 0.5))})`);
      // Both curves are named where they are furthest apart, each on its outer side.
      const k = state.answered ? state.worst() : end, up = state.answered && guess[k] < height(k);
      parts.names.forEach((name, i) => {
        look(name, "display", end === undefined || (i && !state.answered) ? "none" : "");
        if (end === undefined) return;
        const y = py(i ? height(k) : guess[k]) + (up === Boolean(i) ? -10 : 22);
        put(name, "text-anchor", px(k) > panel.left + panel.inner / 2 ? "end" : "start");
        put(name, "x", round(px(k)));
        put(name, "y", round(Math.max(panel.top + 12, Math.min(panel.top + panel.height - 6, y))));
      });
      const here = `${view.xlabel || "place"} ${Number(x(at).toPrecision(3))}: `;
      put(surface, "aria-valuenow", Math.round(100 * (guess[at] || 0)));
      put(surface, "aria-valuetext", here + (guess[at] === guess[at] ? tell(from(guess[at])) : "nothing drawn yet"));
    },
  };
}

// A number on a track; the truth is a mark on the same track, and a bar leads to it from the guess.
function makeNumber(state) {
  const { view, guess, truth, to, from, tell } = state, steps = 200;
  const range = element("input", { type: "range", min: 0, max: steps, step: 1, "aria-label": `your guess: ${view.label}` });
  const value = element("span", { class: "live-value", "aria-hidden": "true" }), bar = element("span", { class: "live-between" }), mark = element("span", { class: "live-truth" });
  const track = element("span", { class: "live-track" }, bar, range, mark);
  range.addEventListener("input", () => {
    guess[0] = range.value / steps;
    state.changed();
  });
  return {
    el: element("div", { class: "live-control" }, element("span", { class: "live-label", "aria-hidden": "true" }, view.label), track, value),
    focus: range,
    settle() { range.disabled = state.answered; bar.hidden = mark.hidden = !state.answered; },
    draw() {
      const set = guess[0] === guess[0], s = set ? guess[0] : 0.5, t = inRange(to(truth.get()[0]));
      range.value = s * steps;
      write(value, set ? tell(from(s)) : "–");
      put(range, "aria-valuetext", set ? tell(from(s)) : "nothing set yet");
      if (!state.answered) return;
      mark.style.setProperty("--at", t);
      bar.style.setProperty("--at", Math.min(s, t));
      bar.style.setProperty("--to", set ? Math.abs(s - t) : 0);
      write(mark, tell(truth.get()[0]));
    },
  };
}
