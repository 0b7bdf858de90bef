"""Numbers as in the paper, what is refused, and what the pages' hooks mend."""

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from sphinx.application import Sphinx

pytestmark = pytest.mark.no_gauge

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "book" / "ext"))
import page_fixes  # noqa: E402
import paper_numbers  # noqa: E402

ONE = """# One

$$ a = b $$ (eq-2-7)

:::{prf:theorem} the main one
:label: thm-3-6

Text.
:::

See {eq}`eq-2-7`, {prf:ref}`thm-3-6`, {prf:ref}`thm-2-1` and {eq}`eq-A-1`.
"""
TWO = """---
orphan: true
---

# The $\\Omega$ of a layer

By {prf:ref}`thm-3-6` and {prf:ref}`this <thm-3-6>`, with {eq}`eq-2-7`.
"""


@pytest.fixture
def build(tmp_path: Path):
    """Builds a book of the given pages, and returns its pages and warnings."""
    (tmp_path / "conf.py").write_text("", encoding="utf-8")

    def run(**pages: str) -> tuple[dict[str, str], str]:
        import io

        from sphinx.util.docutils import docutils_namespace

        for name, text in pages.items():
            (tmp_path / f"{name}.md").write_text(text, encoding="utf-8")
        config = {
            "extensions": ["myst_parser", "sphinx_proof", "paper_numbers", "page_fixes"],
            "myst_enable_extensions": ["dollarmath", "colon_fence"],
            "root_doc": "one",
            "html_theme": "basic",
            "templates_path": [str(ROOT / "book" / "templates")],
            "suppress_warnings": ["toc.not_included"],
        }
        warnings = io.StringIO()
        out, trees = tmp_path / "out", tmp_path / "trees"
        with docutils_namespace():
            app = Sphinx(tmp_path, tmp_path, out, trees, "html", config, status=None, warning=warnings)
            app.build()
        return {path.stem: path.read_text(encoding="utf-8") for path in out.glob("*.html")}, warnings.getvalue()

    return run


def test_search_leads_to_an_item_also_after_another_page_alone_was_written_again(build, tmp_path: Path):
    start = "# Start\n\n```{toctree}\nitems\nbetween\nlast\n```\n"
    for pages in ({"one": start, "items": ONE, "between": "# Between\n", "last": "# Last\n"}, {"last": "# The last\n"}):
        build(**pages)
        index = (tmp_path / "out" / "searchindex.js").read_text(encoding="utf-8")
        entries = json.loads(index.removeprefix("Search.setIndex(").removesuffix(")"))["indexentries"]
        assert [place[1] for place in entries["theorem 3.6"]] == ["thm-3-6"]
        assert [place[1] for place in entries["equation 2.7"]] == ["equation-eq-2-7"]


def test_numbers_are_the_papers_on_every_page(build):
    pages, warnings = build(one=ONE, two=TWO)
    assert warnings == ""
    assert "(2.7)" in pages["one"] and "Theorem 3.6 " in pages["one"]
    assert "Theorem 2.1 of the paper" in pages["one"] and "(A.1) of the paper" in pages["one"]
    assert re.search(r'href="one.html#thm-3-6"[^>]*>\s*Theorem 3\.6', pages["two"])
    assert 'href="one.html#equation-eq-2-7"' in pages["two"]


def test_an_item_that_appears_becomes_a_link_by_itself(build):
    build(one=ONE, two=TWO)
    pages, warnings = build(two=TWO + "\n:::{prf:theorem}\n:label: thm-2-1\n\nText.\n:::\n")
    assert warnings == ""
    assert re.search(r'href="two.html#thm-2-1"[^>]*>\s*Theorem 2\.1', pages["one"])
    assert "Theorem 2.1 of the paper" not in pages["one"]


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (":::{prf:theorem}\n:label: thm-9-9\n\nText.\n:::", "no item of the paper"),
        (":::{prf:theorem}\n\nText.\n:::", "no item of the paper"),
        (":::{prf:lemma}\n:label: thm-3-6\n\nText.\n:::", "is the paper's Theorem 3.6, and this is a lemma"),
        (":::{prf:theorem}\n:label: thm-3-6\n:nonumber:\n\nText.\n:::", "leave out :nonumber:"),
        ("$$ a $$ (eq-9-9)", "no item of the paper"),
        ("$$ a $$ (mine)", "no item of the paper"),
        ("{prf:ref}`thm-9-9`", "thm-9-9"),
        ("{eq}`eq-9-9`", "eq-9-9"),
        ("## With $x^2$", "no plain text"),
    ],
)
def test_what_is_not_the_papers_is_refused(build, block: str, said: str):
    _, warnings = build(one=f"# One\n\n{block}\n")
    assert said in warnings


def test_our_own_statements_take_no_number(build):
    pages, warnings = build(one="# One\n\n:::{prf:remark} ours\n:label: ours\n:nonumber:\n\nText.\n:::\n")
    assert warnings == ""
    assert re.search(r"Remark\s*</span>", pages["one"])


def test_every_item_has_a_label_of_its_kind():
    for label, item in paper_numbers.ITEMS.items():
        prefix, _, number = label.partition("-")
        assert (paper_numbers.KINDS[prefix], number.replace("-", ".")) == (item["kind"], item["number"])


def test_headings_are_plain(build):
    pages, _ = build(one=ONE, two=TWO)
    assert "<title>The Ω of a layer" in pages["two"]
    assert page_fixes.plain(r"\gamma") == "γ"
    assert page_fixes.plain(r"\lambda W") == "λW"
    assert page_fixes.plain("x^2") is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<p>K-FAC <code>K-FAC</code></p>", '<p><span class="nb">K-FAC</span> <code>K-FAC</code></p>'),
        ('<span class="math">\\(K-FAC\\)</span>', '<span class="math">\\(K-FAC\\)</span>'),
        ('<div id="a"><p id="a"></p></div>', '<div id="a"><p></p></div>'),
        ("<th></th>", "<td></td>"),
        ('<div role="list"></div>', "<div></div>"),
        (
            '<div class="solution dropdown admonition"><p class="admonition-title"><a href="#e">E</a></p></div>',
            '<details class="solution admonition fold"><summary class="admonition-title">E</summary></details>',
        ),
        (
            '<div class="proof admonition dropdown"></div>',
            '<details class="proof admonition fold"><summary class="admonition-title">Proof</summary></details>',
        ),
    ],
)
def test_mending(before: str, after: str):
    assert page_fixes.mend(before) == after


def test_addresses_give_buttons_where_they_are_set():
    assert page_fixes.addresses("", "") == ({}, "")
    options, site = page_fixes.addresses("https://github.com/a/b", "https://a.github.io/b/")
    assert options["use_repository_button"] and options["launch_buttons"]["colab_url"]
    assert site == "https://a.github.io/b/"
    assert "launch_buttons" not in page_fixes.addresses("https://example.org/a/b", "")[0]
    config = SimpleNamespace(book_repository="", book_site="", html_theme_options={"x": 1}, html_baseurl="")
    page_fixes.on_config(None, config)
    assert config.html_theme_options == {"x": 1}
