"""The reference is made from the docstrings: every public name is there, as it is called and as it is explained."""

import ast
import sys

import pytest
from bs4 import BeautifulSoup

import kfac_lite
from kfac_lite import coordinates

from .test_book_extensions import ROOT, build  # noqa: F401  (a fixture)

sys.path.insert(0, str(ROOT / "book" / "ext"))
import reference

pytestmark = pytest.mark.no_gauge

EXTENSIONS = {"extensions": ["myst_parser", "sphinx_proof", "paper_numbers", "code_links", "reference"]}


def page(build, name: str) -> BeautifulSoup:  # noqa: F811
    text = (ROOT / "chapters" / f"{name}.md").read_text(encoding="utf-8")
    pages, warnings = build({**EXTENSIONS, "suppress_warnings": ["myst.xref_missing"]}, one=text)
    assert warnings == ""
    return BeautifulSoup(pages["one"], "html.parser")


@pytest.mark.parametrize("name", ["api-optim", "api-typed-layer", "api-coordinates"])
def test_every_public_name_has_an_entry_that_leads_to_its_source(build, name: str):  # noqa: F811
    modules = [getattr(coordinates, module) for module in coordinates.__all__]
    public = {
        "api-optim": {"KFAC", "Report", "LayerCheck"},
        "api-typed-layer": set(kfac_lite.__all__),
        "api-coordinates": {name for module in modules for name in module.__all__},
    }[name]
    found = page(build, name)
    entries = {  # a module has a section too, and may be called as what it defines
        str(section["id"]).rpartition(".")[2]: section
        for section in found.select("section[id^='kfac_lite.']")
        if section.select(":scope > .reference-source")
    }
    assert public <= set(entries)
    for one in public:
        (link,) = entries[one].select(":scope > .reference-source a")
        module, _, anchor = str(link["href"]).partition("#")
        assert module.startswith("source/kfac_lite") and anchor == one


def test_a_docstring_keeps_its_words_its_code_its_lists_and_its_items(build):  # noqa: F811
    found = page(build, "api-optim")
    entry = found.find(id="kfac_lite.optim.kfac.KFAC")
    terms = [term.get_text() for term in entry.select("dl:not(.reference-members) > dt")]  # type: ignore[union-attr]
    assert terms[:3] == ["model", "params", "lr"] and "factor_every, inverse_every" in terms
    signature = entry.select_one(".reference-signature").get_text()  # type: ignore[union-attr]
    assert "likelihood: str | dict[str, str] | None = None,\n" in signature and "self" not in signature
    text = entry.get_text()  # type: ignore[union-attr]
    assert 'fisher="mc"' not in text and '"exact", the expectation over those targets' in text  # quotes as typed
    assert "(2.8) of the paper" in text  # no other page is in this build; in the book it is a link
    assert "KFAC(model, lr=0.05, damping=1e-3" in entry.select_one("pre:not(.x)").find_next("pre").get_text()  # type: ignore


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        (
            "def f(x: 'Point', *, lr: float = 0.1, **more) -> 'Point': ...",
            "f(x: Point, *, lr: float = 0.1, **more) -> Point",
        ),
        ("def f(a, b=1, *c): ...", "f(a, b=1, *c)"),
        ("class C:\n    def __init__(self, n: int): ...", "class C(n: int)"),
        ("@dataclass(frozen=True)\nclass C:\n    n: int\n    k: ClassVar[int] = 3", "class C(n: int)"),
        ("class C(Space): ...", "class C(Space)"),
    ],
)
def test_a_signature_is_as_it_is_written(code: str, shown: str):
    (node,) = ast.parse(code).body
    assert reference.signature(node.name, node) == shown  # type: ignore[attr-defined]


def test_what_is_no_module_is_refused(build):  # noqa: F811
    text = "# One\n\n```{reference} kfac_lite.nothing\n```\n"
    assert "there is no module kfac_lite.nothing" in build(EXTENSIONS, one=text)[1]
