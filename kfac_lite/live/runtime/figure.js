// A figure: its state, what it computes, and what is drawn; the same in a page and in a notebook.

import { makeEngine } from "./engine.js";
import { makeControl } from "./controls.js";
import { element, write } from "./draw.js";
import { makePanel } from "./panel.js";
import { makePredict } from "./predict.js";
import { makeGoal } from "./goal.js";
import { fill, makeRow, makeWords } from "./words.js";
import { read, written } from "./address.js";
import { bindProse } from "./prose.js";

const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
const PACE = 100; // ms: numbers that come faster than this in a sentence cannot be read, and each sets its lines anew
const MAKE = { panel: makePanel, predict: makePredict, goal: makeGoal };
let count = 0;

function makeFigure(root, spec, programs, model) {
  const engine = makeEngine(spec, programs), controls = {}, stop = new AbortController();
  const figure = { spec, engine, controls, draws: [], reads: new Set(), placed: new Set(), panels: [], key: `live-${count++}`, signal: stop.signal, frames: [], measure: false };
  const later = { spoken: 0, warm: 0, ghost: 0, play: 0, words: 0 };
  let touched = false, problem = null;
  for (const control of spec.controls) controls[control.name] = makeControl(control, engine.values[control.name][0]);

  figure.ref = (r) => {
    if (typeof r === "string") figure.reads.add(r);
    if (typeof r === "string") return { shape: spec.values[r][0], get: () => engine.values[r][0], fixed: false };
    const data = Float64Array.from(r.data);
    return { shape: r.shape, get: () => data, fixed: true };
  };
  figure.value = (name) => engine.values[name];
  // Outside of the panels: what shows a value. After a fault only the controls show theirs.
  figure.show = (name, act) => { act.shows = name; figure.draws.push(act); };

  // Numbers in sentences, all of them in one frame.
  const waiting = new Set();
  let wrote = -PACE;
  figure.soon = (act) => {
    waiting.add(act);
    if (waiting.size > 1) return;
    later.words = setTimeout(() => requestAnimationFrame((now) => {
      wrote = now;
      const acts = [...waiting];
      waiting.clear();
      for (const act of acts) act();
    }), Math.max(0, wrote + PACE - performance.now()));
  };

  // Compute what has changed and draw it; after a fault the old drawing stays, in grey, until there is a new one.
  const update = (byReader) => {
    problem = engine.compute(byReader);
    root.classList.toggle("faulty", problem !== null);
    write(fault, problem ? describe(problem) : "");
    if (!problem) return draw();
    for (const panel of figure.panels) panel.drawHandles();
    for (const act of figure.draws) if (act.shows in controls) act();
  };
  const draw = (anew) => {
    for (const panel of figure.panels) panel.draw(anew);
    for (const act of figure.draws) act();
    const broke = Object.entries(engine.broken).map(([name, step]) => `The run ${name} has no finite number after step ${step - 1}.`);
    write(status, broke.join(" "));
  };

  // The one way in which a reader changes anything.
  figure.change = (name, set, panel) => {
    const start = performance.now();
    touched = true;
    const note = set();
    panel?.say(note);
    engine.touch(name);
    update(true);
    if (figure.measure) {
      const drawn = performance.now();
      root.getBoundingClientRect();
      root.querySelector("path")?.getBBox();
      figure.frames.push([drawn - start, performance.now() - start]);
    }
    tell(name);
    speakLater();
  };
  figure.set = (name, value) => figure.change(name, () => controls[name].set(value));
  figure.setAll = (values) => {
    touched = true;
    for (const [name, value] of Object.entries(values)) {
      controls[name].set(value);
      engine.touch(name);
    }
    update(true);
    for (const name of Object.keys(values)) tell(name);
    speakLater();
  };
  figure.preset = (words) => figure.setAll(spec.presets[words]);
  figure.recompute = () => { engine.touchAll(); update(false); };
  figure.state = () => Object.fromEntries(Object.entries(controls).map(([name, control]) => [name, control.plain]));

  // Python and the page tell one another; the page keeps to the bounds and says where it ended.
  const tell = (name) => {
    if (!model) return;
    model.set(name, controls[name].plain);
    model.save_changes();
  };
  for (const [name, value] of Object.entries(spec.state ?? {})) controls[name].set(value);
  for (const name of Object.keys(controls)) {
    const hear = () => {
      if (JSON.stringify(model.get(name)) === JSON.stringify(controls[name].plain)) return;
      controls[name].set(model.get(name));
      engine.touch(name);
      update(true);
    };
    if (!model) continue;
    controls[name].set(model.get(name));
    model.on(`change:${name}`, hear);
    stop.signal.addEventListener("abort", () => model.off(`change:${name}`, hear));
  }

  figure.player = (control) => {
    const { spec: { name, steps, label } } = control, el = element("button", { type: "button", class: "live-play", "data-play": name });
    const show = () => { el.setAttribute("aria-label", later.play ? `pause ${label}` : `play ${label}`); el.classList.toggle("playing", Boolean(later.play)); };
    const next = () => {
      if (control.value[0] >= steps) { later.play = 0; return show(); }
      later.play = setTimeout(next, 50);
      figure.set(name, control.value[0] + 1);
    };
    el.addEventListener("click", () => {
      if (later.play) { clearTimeout(later.play); later.play = 0; }
      else { if (control.value[0] >= steps) figure.set(name, 0); later.play = setTimeout(next, 50); }
      show();
    });
    show();
    return el;
  };

  // The address of what is to be seen now: in the address bar, and where the browser allows it in the clipboard.
  const copier = () => {
    const el = element("button", { type: "button", class: "live-link" }, element("span", {}, "copy link"));
    el.addEventListener("click", async () => {
      before ??= figure.state();
      location.hash = written(spec.name, controls);
      const done = await navigator.clipboard?.writeText(figure.link()).then(() => true, () => false);
      el.firstChild.textContent = done ? "copied" : "in the address bar";
      later.copied = setTimeout(() => { el.firstChild.textContent = "copy link"; }, 2000);
    });
    return el;
  };

  // A screen reader hears the result once, after a pause.
  const say = element("p", { class: "live-say", role: "status" });
  const speakLater = () => {
    clearTimeout(later.spoken);
    later.spoken = setTimeout(() => {
      const text = element("span");
      const kept = figure.draws.length;
      fill(text, spec.spoken || "", figure);
      figure.draws.splice(kept).forEach((act) => act());
      if (!asking() && (problem || spec.spoken)) say.textContent = problem ? fault.textContent : text.textContent;
    }, 700);
  };

  // The page of it.
  const fault = element("p", { class: "live-fault" }), status = element("p", { class: "live-status" });
  const columns = Math.max(...spec.rows.map((row) => row.reduce((sum, view) => sum + view.span, 0)));
  const grid = element("div", { class: "live-grid" });
  grid.style.setProperty("--columns", columns);
  grid.classList.toggle("pair", columns === 2);
  const told = [], questions = [], closed = []; // elements, and the questions before them that keep them closed
  spec.rows.forEach((row, r) => {
    let from = 1;
    for (const view of row) {
      const words = view.kind === "words", made = words ? makeWords(view, figure) : MAKE[view.kind](view, figure);
      const el = words ? made : made.section;
      if (view.more) { told.push(el); continue; }
      closed.push([el, [...questions]]);
      if (made.open) questions.push(made);
      if (!words) figure.panels.push(made);
      el.style.cssText = `--row:${r + 1};--from:${from};--span:${view.span};--order:${view.order};`;
      el.classList.toggle("half", Boolean(view.half));
      grid.append(el);
      from += view.span;
    }
  });
  for (const row of spec.rows) for (const view of row) {
    if (view.scrub) figure.placed.add(view.scrub);
    for (const mark of view.marks ?? []) if (mark.kind === "drag") figure.placed.add(mark.control);
  }
  const rows = Object.values(controls).filter(({ spec: { name } }) => !figure.placed.has(name));
  const [shown, hidden] = [rows.filter((c) => !c.spec.more), rows.filter((c) => c.spec.more)];
  const below = element("div", { class: "live-controls" }, ...shown.map((control) => makeRow(control, figure)));
  const more = element("details", { class: "live-more" }, element("summary", {}, "more"), ...told, ...hidden.map((control) => makeRow(control, figure)));
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", spec.alt);
  root.dataset.name = spec.name;
  if (spec.title) root.append(element("p", { class: "live-title" }, spec.title, spec.question ? element("span", {}, " " + spec.question) : ""));
  root.append(grid);
  if (shown.length) root.append(below);
  if (hidden.length + told.length) root.append(more);
  const copy = model ? "" : copier();
  root.append(copy);
  root.append(fault, status, say);
  for (const el of [below, more, copy]) if (el) closed.push([el, questions]);
  const asking = figure.asking = () => questions.some((question) => !question.open());
  figure.say = (words) => { say.textContent = words; };
  figure.answered = () => {
    for (const [el, before] of closed) el.hidden = before.some((question) => !question.open());
    for (const panel of figure.panels) panel.layout();
    draw();
  };
  if (questions.length) for (const [el, before] of closed) el.hidden = before.length > 0;

  // An address with a state of this figure in its fragment opens that state; Back brings back what was before.
  let before = null;
  const link = () => {
    const values = read(location.hash, spec.name, controls);
    if (values === null) {
      if (before) figure.setAll(before);
      before = null;
    } else if (Object.keys(values).length) {
      before ??= figure.state();
      figure.setAll(values);
    } else say.textContent = status.words = status.textContent = "The address asks for a state that this figure does not have; here is the usual one.";
  };

  figure.start = () => {
    const moved = Object.keys(spec.ghost).length > 0, calmly = calm();
    if (moved && calmly && !model) for (const [name, value] of Object.entries(spec.ghost)) controls[name].set(value);
    problem = engine.compute(false);
    for (const panel of figure.panels) panel.layout();
    engine.touchAll();
    update(false);
    if (!model) {
      link();
      addEventListener("hashchange", link, { signal: stop.signal });
    }
    let width = root.clientWidth;
    const resized = new ResizeObserver(() => {
      if (Math.abs(root.clientWidth - width) < 1) return;
      width = root.clientWidth;
      for (const panel of figure.panels) panel.layout();
      draw();
    });
    resized.observe(root);
    const themed = new MutationObserver(() => draw(true));
    themed.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    stop.signal.addEventListener("abort", () => {
      resized.disconnect();
      themed.disconnect();
      for (const timer of Object.values(later)) { clearTimeout(timer); cancelAnimationFrame(timer); }
    });
    performance.mark(`live-figure:${spec.name}`);
    warm(6, moved && !calmly && !model && !touched);
  };

  // The engine has optimised the programs before the reader's first move.
  const warm = (times, ghost) => {
    const idle = window.requestIdleCallback ?? ((act) => setTimeout(act, 30));
    idle(() => {
      if (stop.signal.aborted) return;
      if (!touched && times) { figure.recompute(); return warm(times - 1, ghost); }
      performance.mark(`live-figure-warm:${spec.name}`);
      if (ghost) wave();
    }, { timeout: 300 });
  };

  // The first move, shown once; it ends where it led to, and stops at the first touch.
  const wave = () => {
    const from = Object.fromEntries(Object.keys(spec.ghost).map((name) => [name, Array.from(controls[name].value)]));
    const begin = performance.now() + 700, lasts = 2600;
    const frame = (now) => {
      if (touched || stop.signal.aborted) return root.classList.remove("ghostly");
      const s = Math.max(0, Math.min(1, (now - begin) / lasts)), ease = s * s * (3 - 2 * s);
      root.classList.toggle("ghostly", s > 0 && s < 1);
      if (s > 0) {
        for (const [name, value] of Object.entries(spec.ghost)) {
          const to = [value].flat(2);
          controls[name].set(from[name].map((x, i) => x + (Number(to[i]) - x) * ease));
          engine.touch(name);
        }
        update(false);
      }
      if (s < 1) later.ghost = requestAnimationFrame(frame);
    };
    later.ghost = requestAnimationFrame(frame);
  };

  figure.link = () => location.href.split("#")[0] + "#" + written(spec.name, controls);
  figure.stop = () => stop.abort();
  root.addEventListener("pointerdown", () => { touched = true; }, { signal: stop.signal });
  return figure;
}

const PLACES = { singular: "meets a matrix that cannot be inverted", "not finite": "gives no finite number" };

function describe({ kind, operation, line, step, run }) {
  const where = line ? ` (${line})` : "", when = run ? ` at step ${step} of the run ${run}` : "";
  return `Nothing to draw here: ${operation} ${PLACES[kind]}${when}${where}. The picture is the last one; move back to go on.`;
}

// In a notebook, or in any page that has a model with get, set, on, off and save_changes.
export function render({ model, el }, { spec, programs }) {
  const root = element("div", { class: "live-figure" });
  el.append(root);
  const figure = makeFigure(root, spec, programs, model);
  root.figure = figure;
  root.dataset.lmSuppressShortcuts = ""; // JupyterLab would take the arrow keys of handles and sliders
  const ready = () => { if (root.isConnected && root.clientWidth) figure.start(); else waiting = requestAnimationFrame(ready); };
  let waiting = 0;
  ready();
  return () => {
    cancelAnimationFrame(waiting);
    figure.stop();
    root.remove();
  };
}

// In a page without Python: the figure takes the place of its still picture, before that is painted.
export function start(script, spec, programs) {
  const hosts = script.parentElement.querySelectorAll(":scope > .live-host"), host = hosts[hosts.length - 1], still = [...host.childNodes];
  const root = element("div", { class: "live-figure" });
  host.replaceChildren(root);
  try {
    const figure = makeFigure(root, spec, programs, null);
    root.figure = figure;
    figure.start();
    const bindLater = () => { bindProse(figure); figure.draws.forEach((act) => act()); };
    if (document.readyState === "loading") addEventListener("DOMContentLoaded", bindLater);
    else bindLater();
  } catch (error) {
    host.replaceChildren(...still, element("p", { class: "live-status" }, "This figure did not start here; its picture stays."));
    console.error(error);
  }
}
