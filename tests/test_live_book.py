"""What the book makes of live figures: one runtime a page, numbers and words in sentences that move a figure."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sphinx.errors import ExtensionError

pytestmark = pytest.mark.no_gauge
sys.path.insert(0, str(Path(__file__).parent.parent / "book" / "ext"))
import live_figures  # noqa: E402

FIGURE = (
    '<style class="live-style">.a{}</style><div class="live-host">still {0}</div>'
    '<script class="live-runtime">run()</script>'
    '<script>liveFigures.start(document.currentScript, {"name":"{0}"}, []);</script>'
)


def figure(name: str) -> str:
    return FIGURE.replace("{0}", name)


def test_a_page_keeps_the_first_of_what_its_figures_share():
    page = live_figures.share(figure("one") + "<p>between</p>" + figure("two"))
    assert page.count("live-style") == page.count("live-runtime") == 1
    assert page.index("live-runtime") < page.index("still two")
    assert re.findall(r"still \w+|between", page) == ["still one", "between", "still two"]
    assert page.count("liveFigures.start") == 2


def test_figures_of_two_versions_do_not_share():
    with pytest.raises(ExtensionError, match="two versions"):
        live_figures.share(figure("one") + figure("two").replace("run()", "run(2)"))


def role(name: str, text: str) -> tuple[str, list[str]]:
    """The HTML that a role gives, and its errors."""
    errors: list[str] = []
    reporter = SimpleNamespace(error=lambda words, line: errors.append(words))
    found, _ = live_figures.live_role(name, text, text, 1, SimpleNamespace(reporter=reporter))
    return "".join(node.astext() for node in found), errors


def test_a_number_and_a_link_are_text_without_scripts():
    number, errors = role("live", "0.70 <pairing turn:.2f>")
    assert not errors and number == (
        '<span class="live-number" data-figure="pairing" data-name="turn" data-form=".2f">0.70</span>'
    )
    link, errors = role("state", "logistic units <hero kappa:2_0_-1_0_2_-1,t:50>")
    assert not errors
    assert link == '<a class="live-state" href="#hero=1,kappa:2_0_-1_0_2_-1,t:50">logistic units</a>'


@pytest.mark.parametrize(
    ("name", "text"), [("live", "0.7"), ("live", "0.7 <hero t>"), ("live", "0.7 <hero t:x>"), ("state", "shear <hero>")]
)
def test_a_role_that_says_too_little_is_an_error_with_an_example(name: str, text: str):
    html, errors = role(name, text)
    assert html == "" and len(errors) == 1 and f"write {{{name}}}`" in errors[0]


def test_a_sentence_speaks_of_a_figure_of_its_own_page():
    for words in (role("live", "75 <hero t:d>")[0], role("state", "shear <hero t:5>")[0]):
        live_figures.check(figure("hero") + words)
        with pytest.raises(ExtensionError, match=r"speaks of the live figure 'hero'; on its page there are \['one'\]"):
            live_figures.check(figure("one") + words)


def test_the_widgets_state_does_not_go_into_a_page():
    """It holds each figure's module once more."""
    files: dict[str, Any] = {"ipywidgets_state": (None, {}), "other": ("a.js", {})}
    app = SimpleNamespace(env=SimpleNamespace(nb_metadata={"page": {"js_files": files}}))
    live_figures.on_page(app, "page", "page.html", {"body": figure("one") * 2}, None)
    assert list(files) == ["other"]
