// What stands in a panel. Each function draws once for the panel's size, and returns how to draw again.

import { contour, element, joined, look, put, round, shape, write } from "./draw.js";
import { formatAll, pieces } from "./numbers.js";
import { arrow, makeDraggable } from "./drag.js";

const COLOURS = { SGD: "sgd", "K-FAC": "kfac", "natural gradient": "natural", soft: "soft", ink: "ink" };
export const inkOf = (colour) => "c-" + (colour ? COLOURS[colour] ?? "other" : "ink");
const classOf = (mark) => `mark ${inkOf(mark.colour)} r-${mark.role}`;

// "long words|short ones": what there is room for.
export const fitting = (text, panel) => text.split("|")[panel.w < 560 && text.includes("|") ? 1 : 0];

// The head of an arrow that ends at (x, y) and comes from (x0, y0), in pixels.
function arrowhead(x0, y0, x, y, size) {
  const length = Math.hypot(x - x0, y - y0);
  if (length < 1e-6) return "";
  const u = (x - x0) / length, v = (y - y0) / length, s = Math.min(size, length);
  const corner = (along, across) => `${round(x + s * (along * u - across * v))} ${round(y + s * (along * v + across * u))}`;
  return `M${round(x)} ${round(y)}L${corner(-1, 0.42)}L${corner(-0.8, 0)}L${corner(-1, -0.42)}Z`;
}

const MARKS = {
  line(mark, panel) {
    const { sx, sy, figure } = panel, y = figure.ref(mark.y), x = mark.x && figure.ref(mark.x);
    const path = panel.add(shape("path", { class: classOf(mark) }));
    const dot = mark.dot && panel.add(shape("circle", { class: classOf(mark) + " spot", r: mark.role === "band" ? 6.5 : 4 }));
    const pairs = y.shape.length > 1, n = y.shape[0], at = dot && figure.ref(mark.dot);
    const across = (i) => sx(pairs ? y.get()[2 * i] : x ? x.get()[i] : i), up = (i) => sy(pairs ? y.get()[2 * i + 1] : y.get()[i]);
    return () => {
      put(path, "d", joined(n - mark.skip, (i) => across(i + mark.skip), (i) => up(i + mark.skip)));
      if (!dot) return;
      const t = at.get()[0];
      put(dot, "cx", round(across(t)));
      put(dot, "cy", round(up(t)));
      look(dot, "display", Number.isNaN(up(t)) ? "none" : "");
    };
  },

  points(mark, panel) {
    const { sx, sy, figure } = panel, xy = figure.ref(mark.xy), hollow = mark.hollow && figure.ref(mark.hollow);
    const size = panel.w < 220 ? mark.size * 0.72 : mark.size;
    const circles = Array.from({ length: xy.shape.length > 1 ? xy.shape[0] : 1 }, () => panel.add(shape("circle", { r: size })));
    let full = null;
    const draw = () => {
      const p = xy.get(), ring = hollow?.get();
      circles.forEach((circle, i) => {
        put(circle, "cx", round(sx(p[2 * i])));
        put(circle, "cy", round(sy(p[2 * i + 1])));
        if (full?.[i] !== ring?.[i] || !full) put(circle, "class", `${inkOf(mark.colour ?? "soft")} ${ring?.[i] ? "point-hollow" : "point"}`);
      });
      full = ring ? Array.from(ring) : [];
    };
    if (xy.fixed && (!hollow || hollow.fixed)) { draw(); return null; }
    return draw;
  },

  level(mark, panel) {
    const z = panel.figure.ref(mark.z), path = panel.add(shape("path", { class: classOf(mark) }));
    const square = z.shape.length < 2 || z.shape[1] === 1, rows = square ? Math.round(Math.sqrt(z.shape[0])) : z.shape[0];
    const columns = square ? rows : z.shape[1];
    put(path, "transform", `translate(${panel.left} ${panel.top})`);
    return () => put(path, "d", contour(z.get(), columns, rows, panel.inner, panel.height, mark.at));
  },

  heat(mark, panel) {
    const z = panel.figure.ref(mark.z), [rows, columns] = z.shape, canvas = element("canvas", { class: "live-heat" });
    const ratio = window.devicePixelRatio || 1;
    Object.assign(canvas, { width: panel.inner * ratio, height: panel.height * ratio });
    canvas.style.cssText = `left:${panel.left}px;top:${panel.top}px;width:${panel.inner}px;height:${panel.height}px`;
    panel.box.prepend(canvas);
    const context = canvas.getContext("2d");
    return () => {
      const ink = getComputedStyle(panel.box).color, values = z.get(), w = canvas.width / columns, h = canvas.height / rows;
      context.clearRect(0, 0, canvas.width, canvas.height);
      context.fillStyle = context.strokeStyle = ink;
      context.lineWidth = 1.5 * ratio;
      for (let i = 0; i < rows; i++)
        for (let j = 0; j < columns; j++) {
          const v = values[i * columns + j];
          if (mark.low >= 0) {
            context.globalAlpha = Math.max(0, Math.min(1, (v - mark.low) / (mark.high - mark.low)));
            context.fillRect(Math.floor(j * w), Math.floor(i * h), Math.ceil(w), Math.ceil(h));
            continue;
          }
          const side = Math.sqrt(Math.min(1, Math.abs(v) / Math.max(mark.high, -mark.low))) * 0.92, s = side * Math.min(w, h);
          if (s < 0.5) continue;
          const at = [j * w + (w - s) / 2, i * h + (h - s) / 2, s, s];
          if (v > 0) context.fillRect(...at);
          else context.strokeRect(at[0] + ratio, at[1] + ratio, Math.max(0.1, s - 2 * ratio), Math.max(0.1, s - 2 * ratio));
        }
      context.globalAlpha = 1;
    };
  },

  arrow(mark, panel) {
    const { sx, sy, figure } = panel, v = figure.ref(mark.v), at = figure.ref(mark.at);
    const shaft = panel.add(shape("path", { class: classOf(mark) })), head = panel.add(shape("path", { class: classOf(mark) + " head" }));
    const text = mark.label && panel.add(shape("text", { class: "halo" }, mark.label), "over");
    const count = v.shape.length > 1 ? v.shape[0] : 1;
    return () => {
      const list = v.get(), from = at.get(), many = at.shape.length > 1;
      let line = "", tip = "";
      for (let k = 0; k < count; k++) {
        const [p, q] = many ? [from[2 * k], from[2 * k + 1]] : from;
        const a = [sx(p), sy(q), sx(p + list[2 * k]), sy(q + list[2 * k + 1])];
        if (a.some(Number.isNaN)) continue;
        line += `M${round(a[0])} ${round(a[1])}L${round(a[2])} ${round(a[3])}`;
        if (mark.role !== "band") tip += arrowhead(...a, 12);
        if (text && !k) {
          const length = Math.hypot(a[2] - a[0], a[3] - a[1]) || 1, gap = 22;
          put(text, "x", Math.max(6, Math.min(panel.w - 16, round(a[2] + (gap * (a[2] - a[0])) / length - 4))));
          put(text, "y", Math.max(16, Math.min(panel.h - 6, round(a[3] + (gap * (a[3] - a[1])) / length + 5))));
        }
      }
      put(shaft, "d", line || "M0 0");
      put(head, "d", tip || "M0 0");
    };
  },

  levels(mark, panel) {
    const { sx, sy, figure } = panel, alpha = figure.ref(mark.alpha), at = figure.ref(mark.at);
    const path = panel.add(shape("path", { class: classOf(mark) + " fine" })), zero = panel.add(shape("path", { class: classOf(mark) }));
    const labels = Array.from({ length: 2 * mark.count + 1 }, (_, i) => panel.add(shape("text", { class: "halo small", "text-anchor": mark.role === "band" ? "end" : "start" }, String(i - mark.count).replace("-", "−"))));
    return () => {
      const [a, b] = alpha.get(), [p, q] = at.get(), square = a * a + b * b, reach = 99 / Math.sqrt(square);
      let lines = "", middle = "M0 0";
      labels.forEach((label, i) => {
        const k = i - mark.count, x = p + (k * a) / square, y = q + (k * b) / square;
        const d = `M${round(sx(x - b * reach))} ${round(sy(y + a * reach))}L${round(sx(x + b * reach))} ${round(sy(y - a * reach))}`;
        look(label, "display", "none");
        if (!(square > 1e-12)) return;
        if (!k) { middle = d; return; }
        lines += d;
        const u = sx(x), v = sy(y);
        if (u < 12 || u > panel.w - 12 || v < 14 || v > panel.h - 8 || Math.sqrt(square) > 6) return;
        look(label, "display", "");
        put(label, "x", round(u + (mark.role === "band" ? -7 : 4))); // a band's and a line's, which may meet, on two sides
        put(label, "y", round(v - 3));
      });
      put(path, "d", lines || "M0 0");
      put(zero, "d", middle);
    };
  },

  ellipse(mark, panel) {
    const { sx, sy, figure } = panel, g = figure.ref(mark.g), at = figure.ref(mark.at);
    const path = panel.add(shape("path", { class: classOf(mark) })), n = 72;
    return () => {
      // g = L L^T; the vectors of length r are r L^-T (cos, sin). A direction of no length is drawn as a very long one.
      const [a, b, , c] = g.get(), [p, q] = at.get(), small = 1e-12 * (Math.abs(a) + Math.abs(c));
      const flip = c > a, big = flip ? c : a, l = Math.sqrt(Math.max(big, small)), m = b / l, k = Math.sqrt(Math.max((flip ? a : c) - m * m, small));
      const point = (i) => {
        const turn = (2 * Math.PI * i) / n, second = (mark.radius * Math.sin(turn)) / k, first = (mark.radius * Math.cos(turn) - m * second) / l;
        return flip ? [p + second, q + first] : [p + first, q + second];
      };
      put(path, "d", big > 0 ? joined(n + 1, (i) => sx(point(i)[0]), (i) => sy(point(i)[1])) : "M0 0");
    };
  },

  trajectory(mark, panel) {
    const { sx, sy, figure } = panel, xy = figure.ref(mark.xy), n = xy.shape[0], ring = mark.role === "ring";
    const kind = `mark ${inkOf(mark.colour)}`, path = panel.add(shape("path", { class: `${kind} r-${ring ? "band" : "line"}` }));
    const spots = [];
    for (let i = 0; i < n; i += mark.every) spots.push([i, panel.add(shape("circle", { class: kind + (ring ? " ring" : " spot"), r: ring ? 5.5 : 2.8 }))]);
    const now = mark.dot && panel.add(shape("circle", { class: kind + (ring ? " ring now" : " spot now"), r: ring ? 9 : 5 }));
    const at = now && figure.ref(mark.dot);
    return () => {
      const p = xy.get(), x = (i) => sx(p[2 * i]), y = (i) => sy(p[2 * i + 1]);
      put(path, "d", joined(n, x, y));
      const all = now ? [...spots, [at.get()[0], now]] : spots;
      for (const [i, circle] of all) {
        const there = Number.isFinite(p[2 * i] + p[2 * i + 1]);
        look(circle, "display", there ? "" : "none");
        if (!there) continue;
        put(circle, "cx", round(x(i)));
        put(circle, "cy", round(y(i)));
      }
    };
  },

  axes(mark, panel) {
    const { sx, sy, figure } = panel, frame = figure.ref(mark.frame), [home, own] = mark.names;
    const lines = panel.add(shape("path", { class: "axes-grid" })), o = [sx(0), sy(0)];
    panel.add(shape("path", { class: "mark c-ink r-band", d: `M${sx(1)} ${o[1]}H${o[0]}V${sy(1)}` }));
    panel.add(shape("text", { x: o[0] - 18, y: sy(1) + 12, class: "soft halo" }, home), "over");
    const arms = panel.add(shape("path", { class: "mark c-ink r-line" }), "over"), name = panel.add(shape("text", { class: "halo" }, own), "over");
    return () => {
      const [a, b, p, c, d, q] = frame.get(), n = 9;
      let grid = "";
      const to = (x, y) => `${round(sx(x))} ${round(sy(y))}`;
      for (let k = -n; k <= n; k++)
        grid += `M${to(p + k * a - n * b, q + k * c - n * d)}L${to(p + k * a + n * b, q + k * c + n * d)}M${to(p + k * b - n * a, q + k * d - n * c)}L${to(p + k * b + n * a, q + k * d + n * c)}`;
      put(lines, "d", grid);
      put(arms, "d", `M${to(p + a, q + c)}L${to(p, q)}L${to(p + b, q + d)}`);
      const length = Math.hypot(a, c) || 1;
      put(name, "x", Math.max(6, Math.min(panel.w - 14, round(sx(p + a) + (25 * a) / length - 4))));
      put(name, "y", Math.max(16, Math.min(panel.h - 8, round(sy(q + c) - (25 * c) / length + 5))));
    };
  },

  drag(mark, panel) {
    const { sx, sy, figure } = panel, control = figure.controls[mark.control], { spec } = control;
    const frame = spec.kind === "frame", names = frame ? ["origin of ", "first arrow of ", "second arrow of "] : [""];
    const home = control.parts.map((part) => control.first(part)); // where Home leads
    const handles = panel.keep(mark, () => control.parts.map((part, i) => {
      const tip = frame && part ? shape("path", { class: "tip", d: "M11 0L-7 7.5L-3.5 0L-7 -7.5Z" }) : shape("circle", { class: "grip", r: 7 });
      const handle = shape("g", {
        class: "handle", tabindex: 0, role: "slider", "data-handle": frame ? `${spec.name}-${part}` : spec.name,
        "aria-label": names[part] + (spec.label || spec.name), "aria-orientation": "horizontal",
      }, shape("circle", { class: "hit", r: 24 }), shape("circle", { class: "focus", r: 15 }), tip);
      panel.add(handle, "handles");
      const go = (u, v) => figure.change(mark.control, () => control.move(part, u, v), panel);
      makeDraggable(handle, {
        where: () => panel.outside(...control.place(part)),
        move: (x, y) => go(...panel.inside(x, y)),
        release: () => panel.say(""),
        keys(event) {
          const by = arrow(event), [u, v] = control.place(part), step = event.shiftKey ? 0.25 : 0.05;
          if (by) go(u + by[0] * step, v + by[1] * step);
          else if (event.key === "Home" || event.key === "End") go(...home[i]);
          else return false;
          panel.say("");
          return true;
        },
      });
      return handle;
    }));
    return () => {
      handles.forEach((handle, i) => {
        const part = control.parts[i], [u, v] = control.place(part), [p, q] = part ? control.place(0) : [0, 0];
        const turn = part ? ` rotate(${round((Math.atan2(sy(v) - sy(q), sx(u) - sx(p)) * 180) / Math.PI)})` : "";
        put(handle, "transform", `translate(${round(sx(u))} ${round(sy(v))})${turn}`);
        const words = [u - p, v - q].map((x) => x.toFixed(2).replace("-", "−")).join(", ");
        if (handle.getAttribute("aria-valuetext") === words) return;
        put(handle, "aria-valuenow", (u - p).toFixed(2));
        put(handle, "aria-valuetext", words);
      });
    };
  },

  label(mark, panel) {
    const { sx, sy, figure } = panel, at = figure.ref(mark.at), words = fitting(mark.text, panel), parts = pieces(words.replaceAll("**", ""));
    const kind = (mark.colour === "soft" ? " soft" : "") + (words.includes("**") ? " strong" : "");
    const text = panel.add(shape("text", { class: "halo" + kind }), "over");
    const refs = parts.map((part) => part.value && figure.ref(part.value));
    return () => {
      const [u, v] = at.get(), x = sx(u), y = sy(v), right = x > panel.left + 0.66 * panel.inner;
      const now = parts.map((part, i) => (refs[i] ? formatAll(refs[i].get(), refs[i].shape, part.form) : part.text)).join("");
      write(text, now);
      const auto = mark.anchor === "auto";
      put(text, "text-anchor", auto ? (right ? "end" : "start") : mark.anchor);
      put(text, "x", round(auto ? x + (right ? -10 : 10) : x));
      put(text, "y", round(y + 5));
      look(text, "visibility", Number.isNaN(x + y) ? "hidden" : "");
    };
  },

  rule(mark, panel) {
    const { sx, sy, figure } = panel, x = mark.x && figure.ref(mark.x), y = mark.y && figure.ref(mark.y);
    const path = panel.add(shape("path", { class: `rule ${inkOf(mark.colour ?? "soft")} ${mark.dash ? "dash" : ""}` }));
    const text = mark.label && panel.add(shape("text", { class: "soft halo small" }, mark.label), "over");
    return () => {
      const u = x && round(sx(x.get()[0])), v = y && round(sy(y.get()[0]));
      put(path, "d", x ? `M${u} ${panel.top}V${panel.top + panel.height}` : `M${panel.left} ${v}H${panel.left + panel.inner}`);
      if (!text) return;
      put(text, "x", x ? u + 4 : panel.left + 4);
      put(text, "y", x ? panel.top + 14 : v - 4);
    };
  },
};

// A mark in a panel: a function that draws it where what it reads has changed, or null if it never changes.
export function makeMark(mark, panel) {
  const groups = panel.begin(), { figure } = panel;
  figure.reads.clear();
  const draw = MARKS[mark.kind](mark, panel), value = [mark.y, mark.v, mark.z, mark.alpha, mark.g, mark.xy].find((v) => typeof v === "string");
  if (value) for (const g of Object.values(groups)) g.dataset.shows = value;
  const show = mark.show && figure.ref(mark.show), lift = mark.lift && figure.ref(mark.lift), reads = [...figure.reads];
  if (!draw && !show && !lift) return null;
  let drawn = -1;
  return (anew) => {
    const latest = figure.engine.latest(reads);
    if (reads.length && latest === drawn && !anew) return; // nothing that it reads has changed; a handle reads nothing
    drawn = latest;
    if (show) Object.values(groups).forEach((g) => { look(g, "visibility", show.get()[0] ? "" : "hidden"); });
    if (lift) Object.values(groups).forEach((g) => g.classList.toggle("lifted", lift.get()[0] !== 0));
    draw?.();
  };
}
