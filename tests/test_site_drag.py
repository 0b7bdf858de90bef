"""How a drag begins, goes on and ends: each case that a mouse, fingers, keys or the window can bring (paper: none).

On a page of their own: two figures, with text above and below them.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from kfac_lite.live import Drag, Handle, LiveFigure, Panel, Scrubber, Slider

from .browsing import opened, until

pytestmark = [pytest.mark.no_gauge, pytest.mark.slow]


def figure(name: str) -> LiveFigure:
    return LiveFigure(
        controls=[Handle("p", label="the point"), Slider("s", 0, 1, value=0.5, label="size"), Scrubber("t", 40)],
        views=[
            [Panel(Drag("p"), x=(-2, 2), y=(-2, 2), title="plane")],
            [Panel(x=(0, 40), scrub="t", title="strip", ratio=0.5, ticks=True)],
        ],
        name=name,
        alt="A point in a plane",
    )


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page; its text is not selected by what the tests do, and is long enough to scroll."""
    text = "<p>Some text to scroll.</p>" * 40
    figures = "".join(f"<div>{figure(name).html()}</div>" for name in ("one", "two"))
    page = tmp_path_factory.mktemp("drag") / "page.html"
    page.write_text(
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Drag</title>"
        f"<meta name='viewport' content='width=device-width, initial-scale=1'><main>{text}{figures}{text}</main>",
        encoding="utf-8",
    )
    return page.as_uri()


class Plane:
    """One of the two figures, and what one does with it."""

    def __init__(self, tab: Any, name: str = "one"):
        self.tab, self.name = tab, name
        self.root = tab.locator(f".live-figure[data-name={name}]")
        self.handle = self.root.locator('[data-handle="p"]')
        self.find = f"document.querySelector('.live-figure[data-name={name}]')"
        until(tab, f"{self.find}?.figure !== undefined")
        self.handle.evaluate("handle => handle.ownerSVGElement.scrollIntoView({block: 'center'})")

    @property
    def place(self) -> list[float]:
        return self.root.evaluate("root => root.figure.state().p")

    @property
    def unit(self) -> float:
        """Pixels of the window to a unit of the plane."""
        return self.handle.evaluate("handle => handle.ownerSVGElement.getBoundingClientRect().width / 4")

    def corner(self) -> tuple[float, float]:
        """Where the picture begins in the window."""
        x, y = self.handle.evaluate(
            "handle => { const r = handle.ownerSVGElement.getBoundingClientRect(); return [r.x, r.y]; }"
        )
        return x, y

    def middle(self) -> tuple[float, float]:
        x, y = self.handle.locator(".grip").evaluate(
            "grip => { const r = grip.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }"
        )
        return x, y

    def comes_to(self, x: float, y: float) -> None:
        """Wait until the handle's middle is there, to a pixel. (A browser moves pointers once a frame.)"""
        end = time.monotonic() + 10
        while max(abs(u - v) for u, v in zip(self.middle(), (x, y))) >= 1.5:
            assert time.monotonic() < end, f"the handle is at {self.middle()}, and the pointer at {(x, y)}"
            self.tab.wait_for_timeout(20)

    def taken(self) -> tuple[float, float]:
        """Take the handle by the mouse and lead it 30 pixels to the right; where it was taken."""
        x, y = self.middle()
        self.tab.mouse.move(x, y)
        self.tab.mouse.down()
        self.tab.mouse.move(x + 30, y, steps=3)
        self.comes_to(x + 30, y)
        return x, y

    def holds(self, count: int) -> None:
        """Wait until so many handles of the page are held."""
        until(self.tab, f"document.querySelectorAll('.held').length === {count}")


class Fingers:
    """Real touches: what the browser makes of them, pointers, scrolling or nothing, is its own."""

    def __init__(self, tab: Any):
        self.cdp = tab.context.new_cdp_session(tab)

    def __call__(self, kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(places)]
        self.cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def lift(self, finger: int, place: tuple[float, float]) -> None:
        points = [{"x": place[0], "y": place[1], "id": finger}]
        self.cdp.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": points})


@pytest.fixture
def tab(browser: Any, address: str) -> Iterator[Any]:
    tab = opened(browser, address)
    yield tab
    assert tab.complaints == []
    tab.context.close()


@pytest.fixture
def phone(browser: Any, address: str) -> Iterator[Any]:
    tab = opened(browser, address, width=390, has_touch=True, is_mobile=True)
    yield tab
    assert tab.complaints == []
    tab.context.close()


# -- the mouse


def test_the_right_button_does_not_drag(tab: Any):
    plane = Plane(tab)
    x, y = plane.middle()
    tab.mouse.move(x, y)
    tab.mouse.down(button="right")
    plane.holds(0)
    tab.mouse.move(x + 40, y, steps=3)
    assert plane.place == [0, 0]
    plane.holds(0)
    tab.mouse.up(button="right")


def test_a_drag_keeps_the_distance_to_where_the_handle_was_taken(tab: Any):
    plane = Plane(tab)
    x, y = plane.middle()
    tab.mouse.move(x + 6, y - 5)
    tab.mouse.down()
    assert plane.place == [0, 0]
    tab.mouse.move(x + 56, y - 35, steps=3)
    plane.comes_to(x + 50, y - 30)
    plane.holds(1)
    tab.mouse.up()
    plane.holds(0)


def test_let_go_outside_the_window_the_drag_is_over(tab: Any):
    """The window hears nothing of the button that was let go; the next move of the mouse has no button down."""
    plane = Plane(tab)
    x, y = plane.taken()
    kept = plane.place
    init = "{pointerId: 1, pointerType: 'mouse', isPrimary: true, bubbles: true, buttons: 0, clientX: 5, clientY: 5}"
    plane.handle.evaluate(f"handle => handle.dispatchEvent(new PointerEvent('pointermove', {init}))")
    plane.holds(0)
    tab.mouse.move(x + 90, y, steps=3)
    assert plane.place == kept
    tab.mouse.up()


def test_a_drag_goes_on_beyond_the_picture_and_the_point_stays_in_it(tab: Any):
    plane = Plane(tab)
    x, y = plane.middle()
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x - 20 * plane.unit, y + 30, steps=4)
    until(tab, f"{plane.find}.figure.state().p[0] === -2")
    plane.holds(1)
    assert plane.root.locator(".live-bound").first.inner_text() == "as far as it goes"
    tab.mouse.move(x + 10, y, steps=2)
    plane.comes_to(x + 10, y)
    tab.mouse.up()
    assert not plane.root.locator(".live-bound").first.is_visible()


@pytest.mark.parametrize("control", ["p", "s", "t"])
def test_what_a_drag_moves_lays_out_itself_and_not_the_page(tab: Any, browser: Any, control: str):
    """Boxes of their own size are around it; hundreds of paragraphs would cost more than the figure."""
    plane = Plane(tab)
    part = plane.root.locator(f"[name={control}]" if control == "s" else f"[data-handle={control}]")
    part.evaluate("part => part.scrollIntoView({block: 'center'})")
    box = part.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x + 2, y)
    tab.wait_for_timeout(200)
    before = plane.root.evaluate("root => JSON.stringify(root.figure.state())")
    browser.start_tracing(page=tab, categories=["devtools.timeline"])
    for step in range(20):
        tab.mouse.move(x + 3 * step, y)
        tab.evaluate("() => new Promise((later) => requestAnimationFrame(() => setTimeout(later)))")
    trace = json.loads(browser.stop_tracing())["traceEvents"]
    tab.mouse.up()
    assert plane.root.evaluate("root => JSON.stringify(root.figure.state())") != before
    partly = [event["args"]["beginData"]["partialLayout"] for event in trace
              if event["name"] == "Layout" and "beginData" in event["args"]]  # fmt: skip
    assert partly and sum(not part for part in partly) <= 2, partly


def test_the_theme_changes_in_mid_drag(tab: Any):
    plane = Plane(tab)
    x, y = plane.taken()
    kept = plane.place
    ink = "root => getComputedStyle(root.querySelector('.grip')).stroke"
    light = plane.root.evaluate(ink)
    tab.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert plane.root.evaluate(ink) != light and plane.place == kept
    plane.holds(1)
    tab.mouse.move(x + 60, y, steps=3)
    plane.comes_to(x + 60, y)
    tab.mouse.up()


def narrowed(tab: Any, plane: Plane, width: int = 390) -> None:
    """Another width of the window: what was laid out for the old one is laid out anew."""
    picture = f"{plane.find}.querySelector('svg[role=group]').getBoundingClientRect().width"
    before = tab.evaluate(picture)
    tab.set_viewport_size({"width": width, "height": 900})
    until(tab, f"Math.abs({picture} - {before}) > 4")


def test_a_drag_goes_on_when_the_window_is_resized(tab: Any):
    """To lay out anew moves no point; from the next move on the handle is below the pointer, where it was taken."""
    plane = Plane(tab)
    x, y = plane.middle()
    tab.mouse.move(x + 4, y - 3)
    tab.mouse.down()
    tab.mouse.move(x + 34, y - 43, steps=3)
    plane.comes_to(x + 30, y - 40)
    kept = plane.place
    narrowed(tab, plane)
    assert plane.place == kept
    plane.holds(1)
    assert plane.handle.evaluate("handle => handle === document.activeElement")
    (left, top), unit = plane.corner(), plane.unit
    for u, v in [(0.5, -1), (-1, 1.5), (1.5, 0.25)]:  # places of the picture as it is now
        to = left + (u + 2) * unit, top + (2 - v) * unit
        tab.mouse.move(to[0] + 4, to[1] - 3, steps=2)
        plane.comes_to(*to)
        assert plane.place == pytest.approx([u, v], abs=2 / unit)
    tab.mouse.up()
    plane.holds(0)
    last = plane.place
    tab.mouse.move(left + 20, top + 20, steps=2)
    assert plane.place == last


def test_on_the_strip_a_drag_goes_on_when_the_window_is_resized(tab: Any):
    plane = Plane(tab)
    strip = plane.root.locator("svg.scrubbed")
    strip.scroll_into_view_if_needed()
    box = strip.bounding_box()
    tab.mouse.move(box["x"] + 60, box["y"] + 40)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40, steps=3)
    until(tab, f"{plane.find}.figure.state().t > 10")
    kept = plane.root.evaluate("root => root.figure.state().t")
    narrowed(tab, plane)
    assert plane.root.evaluate("root => root.figure.state().t") == kept
    box = strip.bounding_box()
    tab.mouse.move(box["x"] + box["width"] - 10, box["y"] + 40, steps=3)
    until(tab, f"{plane.find}.figure.state().t === 40")
    tab.mouse.up()
    tab.mouse.move(box["x"] + 60, box["y"] + 40, steps=3)
    assert plane.root.evaluate("root => root.figure.state().t") == 40


@pytest.mark.parametrize("name", ["p", "t"])
def test_the_focus_stays_where_it_is_when_the_window_is_resized(tab: Any, name: str):
    plane = Plane(tab)
    handle = plane.root.locator(f'[data-handle="{name}"]')
    handle.focus()
    narrowed(tab, plane)
    assert handle.evaluate("handle => handle === document.activeElement")
    before = plane.root.evaluate(f"root => root.figure.state().{name}")
    tab.keyboard.press("ArrowRight")
    assert plane.root.evaluate(f"root => root.figure.state().{name}") != before
    assert plane.root.locator("svg.scrubbed .handle, svg.scrubbed .track").count() == 2  # laid out anew, not once more
    assert plane.root.locator(".live-play").count() == 1


@pytest.mark.parametrize("zoom", [0.8, 1.5, 2])
def test_on_a_page_that_is_zoomed_the_handle_stays_under_the_pointer(tab: Any, zoom: float):
    tab.evaluate("zoom => { document.documentElement.style.zoom = zoom; }", zoom)
    plane = Plane(tab)
    x, y = plane.middle()
    tab.mouse.move(x, y)
    tab.mouse.down()
    for dx, dy in [(15, 10), (40, -30), (-20, 25)]:
        tab.mouse.move(x + dx, y + dy, steps=2)
        plane.comes_to(x + dx, y + dy)
    tab.mouse.up()
    track = plane.root.locator('[data-handle="t"]')
    track.scroll_into_view_if_needed()
    before = track.bounding_box()
    u, v = before["x"] + before["width"] / 2, before["y"] + before["height"] / 2
    tab.mouse.move(u, v)
    tab.mouse.down()
    tab.mouse.move(u + 120, v, steps=3)
    tab.mouse.up()
    after = track.bounding_box()
    assert after["x"] + after["width"] / 2 == pytest.approx(u + 120, abs=12 * zoom)  # to the nearest of 40 steps


# -- fingers


def test_a_finger_on_the_handle_drags_it_and_does_not_scroll(phone: Any):
    plane, touch = Plane(phone), Fingers(phone)
    (x, y), scrolled = plane.middle(), phone.evaluate("scrollY")
    touch("touchStart", (x, y))
    for k in range(1, 12):
        touch("touchMove", (x + k, y - 7 * k))
    plane.comes_to(x + 11, y - 77)
    plane.holds(1)
    touch("touchEnd")
    plane.holds(0)
    assert phone.evaluate("scrollY") == scrolled


def test_a_finger_beside_the_handle_scrolls_the_page_and_drags_nothing(phone: Any):
    plane, touch = Plane(phone), Fingers(phone)
    (x, y), scrolled = plane.middle(), phone.evaluate("scrollY")
    assert scrolled > 200
    touch("touchStart", (x + 70, y + 60))
    for k in range(1, 12):
        touch("touchMove", (x + 70, y + 60 - 10 * k))
    touch("touchEnd")
    until(phone, f"scrollY > {scrolled} + 50")
    assert plane.place == [0, 0]
    plane.holds(0)


def test_a_finger_on_the_strip_moves_the_step_sideways_and_the_page_up_and_down(phone: Any):
    plane, touch = Plane(phone), Fingers(phone)
    strip = plane.root.locator("svg.scrubbed")
    strip.evaluate("svg => svg.scrollIntoView({block: 'center'})")
    box = strip.bounding_box()
    x, y, scrolled = box["x"] + 80, box["y"] + 40, phone.evaluate("scrollY")
    touch("touchStart", (x, y))
    for k in range(1, 12):
        touch("touchMove", (x + 12 * k, y))
    touch("touchEnd")
    until(phone, f"{plane.find}.figure.state().t > 8")
    assert phone.evaluate("scrollY") == scrolled
    touch("touchStart", (x, y + 60))
    for k in range(1, 12):
        touch("touchMove", (x, y + 60 - 10 * k))
    touch("touchEnd")
    until(phone, f"scrollY > {scrolled} + 50")


def test_a_second_finger_changes_nothing(phone: Any):
    """Neither on the handle that is held nor beside it; the first finger goes on dragging."""
    plane, touch = Plane(phone), Fingers(phone)
    x, y = plane.middle()
    touch("touchStart", (x, y))
    touch("touchMove", (x + 10, y - 30))
    plane.comes_to(x + 10, y - 30)
    kept = plane.place
    for other in ((x + 14, y - 26), (x + 80, y + 60)):
        touch("touchStart", (x + 10, y - 30), other)
        touch("touchMove", (x + 10, y - 30), (other[0] + 20, other[1] - 20))
        assert plane.place == kept
        touch.lift(1, (other[0] + 20, other[1] - 20))
    touch("touchMove", (x + 30, y - 10))
    plane.comes_to(x + 30, y - 10)
    touch("touchEnd")
    plane.holds(0)


def test_a_touch_that_the_browser_takes_away_ends_the_drag(phone: Any):
    plane, touch = Plane(phone), Fingers(phone)
    x, y = plane.middle()
    heard = "window.heard = []; addEventListener('pointercancel', () => heard.push(1), true)"
    phone.evaluate(heard)
    touch("touchStart", (x, y))
    touch("touchMove", (x + 20, y))
    touch("touchMove", (x + 30, y))
    plane.comes_to(x + 30, y)
    kept = plane.place
    touch("touchCancel")
    until(phone, "heard.length > 0")
    plane.holds(0)
    assert plane.place == kept
    touch("touchStart", (x + 30, y))
    touch("touchMove", (x, y + 20))
    plane.comes_to(x, y + 20)
    touch("touchEnd")


def test_two_fingers_drag_in_two_figures_at_once(phone: Any):
    one, two, touch = Plane(phone), Plane(phone, "two"), Fingers(phone)
    phone.set_viewport_size({"width": 390, "height": 1600})
    one.root.evaluate("root => root.scrollIntoView({block: 'start'})")
    (x, y), (u, v) = one.middle(), two.middle()
    touch("touchStart", (x, y), (u, v))
    for k in range(1, 6):
        touch("touchMove", (x + 8 * k, y), (u, v - 6 * k))
    one.comes_to(x + 40, y)
    two.comes_to(u, v - 30)
    assert one.place[1] == 0 and two.place[0] == 0
    one.holds(2)
    touch("touchEnd")
    one.holds(0)


def test_a_finger_goes_on_dragging_when_the_phone_is_turned(phone: Any):
    plane, touch = Plane(phone), Fingers(phone)
    x, y = plane.middle()
    touch("touchStart", (x, y))
    touch("touchMove", (x + 20, y - 30))
    touch("touchMove", (x + 30, y - 40))
    plane.comes_to(x + 30, y - 40)
    kept = plane.place
    narrowed(phone, plane, 844)
    assert plane.place == kept
    plane.holds(1)
    (left, top), unit = plane.corner(), plane.unit
    touch("touchMove", (left + unit, top + unit))
    plane.comes_to(left + unit, top + unit)
    assert plane.place == pytest.approx([-1, 1], abs=2 / unit)
    touch("touchEnd")
    plane.holds(0)


def test_under_a_pinched_zoom_the_handle_stays_under_the_finger(phone: Any):
    plane, touch = Plane(phone), Fingers(phone)
    touch.cdp.send("Emulation.setPageScaleFactor", {"pageScaleFactor": 1.5})
    until(phone, "visualViewport.scale === 1.5")
    seen = "[visualViewport.offsetLeft, visualViewport.offsetTop]"
    (x, y), before = plane.middle(), phone.evaluate(seen)
    touch("touchStart", (x, y))
    for k in range(1, 6):
        touch("touchMove", (x + 3 * k, y - 5 * k))
    plane.comes_to(x + 15, y - 25)
    assert phone.evaluate(seen) == before
    touch("touchEnd")


# -- keys


def test_a_held_key_repeats_and_moves_the_point_alone(tab: Any):
    plane = Plane(tab)
    plane.handle.focus()
    scrolled = tab.evaluate("scrollY")
    for _ in range(12):
        tab.keyboard.down("ArrowDown")
    tab.keyboard.up("ArrowDown")
    assert plane.place == [0, pytest.approx(-0.6)] and tab.evaluate("scrollY") == scrolled
    for _ in range(60):
        tab.keyboard.down("ArrowRight")
    tab.keyboard.up("ArrowRight")
    assert plane.place == [2, pytest.approx(-0.6)]
    assert plane.handle.get_attribute("aria-valuetext") == "2.00, −0.60"


def test_keys_while_the_mouse_holds_the_handle_do_not_confuse_it(tab: Any):
    plane = Plane(tab)
    x, y = plane.middle()
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x + 20, y, steps=2)
    tab.keyboard.press("ArrowUp")
    assert plane.place[1] == pytest.approx(0.05)
    tab.mouse.move(x + 40, y, steps=2)
    plane.comes_to(x + 40, y)
    tab.mouse.up()
    plane.holds(0)
