// One way to drag anything. `where()` is the handle's place in the window, in CSS pixels; `move(x, y)` wants it there,
// and whatever it sets keeps its own bounds; `keys(event)` answers a key, true if it was one of its own.

export function makeDraggable(el, { where, move, release, keys }) {
  let finger = null, off = null;
  const end = () => {
    if (finger === null) return;
    finger = null;
    el.classList.remove("held");
    release?.();
  };
  const listen = {
    pointerdown(event) {
      if (event.button || finger !== null) return; // the right button, or a second finger on what is held
      event.preventDefault();
      el.focus({ preventScroll: true });
      finger = event.pointerId;
      el.setPointerCapture(finger);
      el.classList.add("held");
      const [x, y] = where(event);
      off = [event.clientX - x, event.clientY - y];
    },
    pointermove(event) {
      if (event.pointerId !== finger) return;
      if (event.pointerType === "mouse" && !(event.buttons & 1)) return end(); // it was let go outside the window
      move(event.clientX - off[0], event.clientY - off[1]);
    },
    pointerup(event) { if (event.pointerId === finger) end(); },
    pointercancel(event) { if (event.pointerId === finger) end(); },
    lostpointercapture(event) { if (event.pointerId === finger) end(); },
    contextmenu(event) { if (finger !== null) event.preventDefault(); },
    keydown(event) {
      if (event.altKey || event.ctrlKey || event.metaKey || !keys(event)) return;
      event.preventDefault();
    },
  };
  for (const [name, act] of Object.entries(listen)) el.addEventListener(name, act);
  // In Chromium touch-action has no effect inside an svg: without this the page scrolls away after two moves.
  el.addEventListener("touchstart", (event) => { if (event.targetTouches.length === 1) event.preventDefault(); }, { passive: false });
}

// The steps of arrow keys, Shift for larger ones; for one number also Page, Home and End.
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1], PageUp: [0, 10], PageDown: [0, -10] };

export const arrow = (event) => ARROWS[event.key] ?? null;

export function stepOf(event, position, count, large) {
  const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
  if (by) return position + by * (event.shiftKey ? large : 1);
  return { PageDown: position - large, PageUp: position + large, Home: 0, End: count }[event.key];
}
