// A picture: an svg whose units are CSS pixels, laid out again when its size changes, so that text is text at every width.

import { element, put, round, shape, ticks, write } from "./draw.js";
import { fitting, inkOf, makeMark } from "./marks.js";
import { format } from "./numbers.js";
import { makeDraggable, stepOf } from "./drag.js";
import { fill } from "./words.js";

const GAP = { low: -18, high: 2, marks: [[1, "1"], [1e-4, "10⁻⁴"], [1e-8, "10⁻⁸"], [1e-12, "10⁻¹²"], [1e-16, "10⁻¹⁶"], [0, "0"]] };
let clips = 0;

// A scale and its inverse: from values to 0 at the lower end, 1 at the upper one.
export function scaleOf(kind, [low, high]) {
  if (kind === "linear") return [(v) => (v - low) / (high - low), (s) => low + s * (high - low)];
  if (kind === "gap") {
    const powers = GAP.high - GAP.low, power = (v) => (v === 0 ? GAP.low : Math.max(GAP.low + 1, Math.min(GAP.high, Math.log10(Math.abs(v)))));
    return [(v) => (power(v) - GAP.low) / powers, (s) => (s * powers < 1 ? 0 : 10 ** (GAP.low + s * powers)), powers];
  }
  const a = Math.log10(low), powers = Math.log10(high) - a;
  return [(v) => (Math.log10(Math.max(v, 1e-300)) - a) / powers, (s) => 10 ** (a + s * powers), powers];
}

export function makePanel(view, figure) {
  const box = element("div", { class: "live-box" }), note = element("span", { class: "live-bound" });
  const head = element("div", { class: "live-head" });
  if (view.colour) head.append(swatch(view.colour));
  if (view.title) head.append(element("span", {}, view.title));
  if (view.note) head.append(element("small", {}, view.note));
  if (view.readout) {
    const out = element("span", { class: `live-out ${inkOf(view.colour)}` });
    const [, name, rest] = view.readout.match(/^([^{]*)(.*)$/);
    if (name) out.append(element("small", {}, name));
    if (view.colour) out.append(element("i"));
    const inner = element("span"); // what is no flex item itself can change without a layout of the page
    figure.heading = true;
    fill(inner, rest, figure);
    figure.heading = false;
    out.append(inner);
    head.append(out);
  }
  const section = element("section", { class: "live-panel" });
  if (head.childNodes.length) section.append(head);
  section.append(box);
  const svg = shape("svg", { role: "group", "aria-label": view.label || view.title || figure.spec.alt }), handles = shape("g"), kept = new Map();
  svg.append(handles);
  box.append(svg, note);
  const panel = { view, figure, box, section, svg, draws: [] };
  const labelled = view.ticks ?? Boolean(view.xlabel || view.ylabel || view.scale !== "linear");
  const scrub = view.scrub && figure.controls[view.scrub];

  panel.begin = () => (panel.groups = {});
  panel.add = (el, layer = "under") => {
    panel.groups[layer] ??= panel.layers[layer].appendChild(shape("g", layer === "under" ? {} : { class: layer }));
    panel.groups[layer].append(el);
    return el;
  };
  // What is held or has the focus outlives a layout: a drag goes on when the window changes, and the focus stays.
  panel.keep = (mark, make) => {
    if (!kept.has(mark)) kept.set(mark, { made: make(), group: panel.groups.handles });
    panel.groups.handles = kept.get(mark).group;
    return kept.get(mark).made;
  };
  panel.say = (words) => write(note, words);
  // Places in the window, which a page may have scaled, and places in the picture.
  panel.inside = (x, y) => {
    const r = panel.svg.getBoundingClientRect(), k = panel.w / r.width;
    return [panel.ux((x - r.left) * k), panel.uy((y - r.top) * k)];
  };
  panel.outside = (u, v) => {
    const r = panel.svg.getBoundingClientRect(), k = r.width / panel.w;
    return [r.left + panel.sx(u) * k, r.top + panel.sy(v) * k];
  };

  panel.layout = () => {
    const full = Math.floor(box.clientWidth) || 320, w = view.ratio >= 0.8 ? Math.min(full, Math.round(440 / view.ratio)) : full;
    const h = Math.max(view.ratio < 0.8 ? 200 : 0, Math.round(w * view.ratio));
    const left = labelled ? 48 : 0, right = labelled ? 10 : 0, top = labelled ? (view.ylabel ? 30 : 10) : 0;
    const bottom = scrub ? 54 : labelled ? (view.xlabel ? 44 : 26) : 0;
    Object.assign(panel, { w, h, left, top, inner: Math.max(1, w - left - right), height: Math.max(1, h - top - bottom) });
    const { inner, height } = panel, [across, back] = scaleOf("linear", view.x), [up, down] = scaleOf(view.scale, view.y);
    panel.sx = (v) => left + across(v) * inner;
    panel.sy = (v) => top + (1 - up(v)) * height;
    panel.ux = (px) => back((px - left) / inner);
    panel.uy = (py) => down((top + height - py) / height);

    box.style.height = `${h}px`; // with a size of its own, what changes in it concerns nothing around it
    for (const el of box.querySelectorAll(".live-heat")) el.remove();
    for (const el of [...svg.children]) if (el !== handles && !el.classList.contains("handle")) el.remove();
    put(svg, "width", w);
    put(svg, "height", h);
    const id = `live-clip-${clips++}`, inside = { x: left, y: top, width: inner, height, rx: labelled ? 0 : 6 };
    panel.layers = {
      under: shape("g", { "clip-path": `url(#${id})` }),
      over: shape("g"),
      handles,
    };
    handles.before(shape("clipPath", { id }, shape("rect", inside)));
    if (labelled) handles.before(axis(panel));
    handles.before(panel.layers.under);
    if (!labelled) handles.before(shape("rect", { class: "pane", x: 0.5, y: 0.5, width: w - 1, height: h - 1, rx: 6 }));
    handles.before(panel.layers.over);
    for (const [mark, { group }] of kept) if (!view.marks.includes(mark)) { group.remove(); kept.delete(mark); }
    panel.draws = view.marks.map((mark) => makeMark(mark, panel));
    if (view.key && w > 260) panel.layers.over.append(legend(view.colour));
    if (scrub) panel.draws.push(scrubber(panel, scrub));
    panel.laid?.();
  };
  panel.draw = (anew) => { for (const draw of panel.draws) draw?.(anew); };
  panel.drawHandles = () => {
    view.marks.forEach((mark, i) => { if (mark.kind === "drag" || mark.kind === "axes") panel.draws[i]?.(); });
  };
  return panel;
}

// The grammar in small: a band with a line in it.
export function swatch(colour) {
  return shape("svg", { class: "live-swatch", viewBox: "0 0 26 14", "aria-hidden": "true" },
    shape("path", { class: `mark ${inkOf(colour)} r-band`, d: "M6 7H20" }), shape("path", { class: `mark ${inkOf(colour)} r-line`, d: "M1 7H25" }));
}

function legend(colour) {
  return shape("g", {}, shape("path", { class: `mark ${inkOf(colour)} r-band`, d: "M16 20H34" }), shape("text", { x: 44, y: 25, class: "halo" }, "ι"),
    shape("path", { class: `mark ${inkOf(colour)} r-line`, d: "M62 20H84" }), shape("text", { x: 90, y: 25, class: "halo" }, "κ"));
}

// Ticks with hairlines from left to right, and what the axes are.
function axis(panel) {
  const { view, left, top, inner, height, sx, sy, h } = panel, g = shape("g", { "aria-hidden": "true" }), right = left + inner;
  const text = (x, y, words, anchor = "start") => g.append(shape("text", { x: round(x), y: round(y), "text-anchor": anchor, class: "soft small" }, words));
  const ylabel = fitting(view.ylabel ?? "", panel); // a letter is some 7.5 pixels wide
  if (ylabel) text(Math.max(0, Math.min(left, panel.w - 7.5 * ylabel.length)), 16, ylabel);
  let rows = [];
  if (view.scale === "gap") {
    rows = GAP.marks.filter(([v]) => v !== 1e-16 || sy(0) - sy(1e-16) > 15); // "machine precision" says it as well
    g.append(shape("path", { class: "rule c-soft dash", d: `M${left} ${round(sy(2.2e-16))}H${right}` }));
    text(left + 4, sy(1e-17) + 4, "machine precision");
  } else if (view.scale === "log") {
    for (let k = Math.ceil(Math.log10(view.y[0]) - 1e-9); k <= Math.log10(view.y[1]) + 1e-9; k++) rows.push([10 ** k, format(10 ** k, "power")]);
    const every = Math.ceil(rows.length / Math.max(2, height / 36));
    rows = rows.filter((_, i) => i % every === 0);
  } else rows = ticks(...view.y, Math.max(2, height / 56)).map((v) => [v, String(v).replace("-", "−")]);
  for (const [v, words] of rows) {
    if (v !== 1e-16) g.append(shape("path", { class: "axis", d: `M${left} ${round(sy(v))}H${right}` }));
    text(left - 8, sy(v) + 5, words, "end");
  }
  if (!view.scrub) for (const v of ticks(...view.x, Math.max(2, inner / 90))) text(Math.min(sx(v), panel.w), top + height + 18, String(v).replace("-", "−"), sx(v) > panel.w - 14 ? "end" : "middle");
  if (view.xlabel && !view.scrub) text(right, h - 6, view.xlabel, "end");
  return g;
}

// The track below a panel: its x axis is the step, and the whole panel can be dragged along it.
function scrubber(panel, control) {
  const { left, inner, top, h, sx } = panel, { spec } = control, low = h - 36;
  const now = shape("path", { class: "now" }), words = shape("text", { "text-anchor": "middle" });
  const handle = (panel.scrub ??= scrubbing(panel, control));
  handle.before(shape("path", { class: "track", d: `M${left} ${low}H${left + inner}` }), words);
  panel.layers.over.prepend(now);
  return () => {
    const t = control.value[0], x = round(sx(t));
    put(now, "d", `M${x} ${top - 4}V${low - 8}`);
    put(handle, "transform", `translate(${x} ${low})`);
    put(handle, "aria-valuenow", t);
    put(handle, "aria-valuetext", `${spec.label} ${t} of ${spec.steps}`);
    write(words, `${spec.label} ${t}`);
    put(words, "x", Math.max(left + 26, Math.min(panel.w - 28, x)));
    put(words, "y", low + 30);
  };
}

function scrubbing(panel, control) {
  const { svg, figure } = panel, { spec } = control;
  const handle = shape("g", { class: "handle", tabindex: 0, role: "slider", "aria-label": spec.label, "aria-valuemin": 0, "aria-valuemax": spec.steps, "data-handle": spec.name },
    shape("circle", { class: "hit", r: 24 }), shape("circle", { class: "focus", r: 14 }), shape("circle", { class: "grip", r: 8 }));
  svg.append(handle);
  svg.classList.add("scrubbed");
  const go = (t) => figure.change(spec.name, () => control.set(t), panel);
  const at = (x) => panel.inside(x, 0)[0];
  const keys = (event) => {
    const to = stepOf(event, control.value[0], spec.steps, 10);
    if (to === undefined) return false;
    go(to);
    return true;
  };
  makeDraggable(handle, { where: (event) => [event.clientX, event.clientY], move: (x) => go(at(x)), keys });
  let finger = null;
  const end = (event) => { if (event.pointerId === finger) finger = null; };
  svg.addEventListener("pointerdown", (event) => {
    if (event.button || finger !== null || event.target.closest(".handle")) return;
    finger = event.pointerId;
    svg.setPointerCapture(finger);
    go(at(event.clientX));
  });
  svg.addEventListener("pointermove", (event) => {
    if (event.pointerId !== finger) return;
    if (event.pointerType === "mouse" && !(event.buttons & 1)) return end(event); // it was let go outside the window
    go(at(event.clientX));
  });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) svg.addEventListener(name, end);
  panel.box.append(figure.player(control));
  return handle;
}
