"""Numbers as in the paper, what is refused, and what the pages' hooks mend."""

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from bs4 import BeautifulSoup
from sphinx.application import Sphinx

pytestmark = pytest.mark.no_gauge

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "book" / "ext"))
import page_fixes  # noqa: E402
import paper_numbers  # noqa: E402
import source_names  # noqa: E402

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

    def run(settings: dict | None = None, **pages: str) -> tuple[dict[str, str], str]:
        import io

        from sphinx.util.docutils import docutils_namespace

        for name, text in pages.items():
            (tmp_path / f"{name}.{'ipynb' if text.startswith('{') else 'md'}").write_text(text, encoding="utf-8")
        config = {
            "extensions": ["myst_parser", "sphinx_proof", "paper_numbers", "page_fixes", "self_checks"],
            "myst_enable_extensions": ["dollarmath", "colon_fence"],
            "root_doc": "one",
            "html_theme": "basic",
            "templates_path": [str(ROOT / "book" / "templates")],
            "suppress_warnings": ["toc.not_included"],
            **(settings or {}),
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
    items = ONE + "\n:::{glossary}\ngap\n  A distance.\n:::\n"
    for pages in (
        {"one": start, "items": items, "between": "# Between\n", "last": "# Last\n"},
        {"last": "# The last\n"},
    ):
        build(**pages)
        index = (tmp_path / "out" / "searchindex.js").read_text(encoding="utf-8")
        entries = json.loads(index.removeprefix("Search.setIndex(").removesuffix(")"))["indexentries"]
        assert [place[1] for place in entries["gap"]] == ["term-gap"]
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


OURS = """# {title}

:::{{figure}} ../picture.svg
:name: {name}
:alt: a picture

A caption.
:::

:::{{exercise}} First
:label: ex-{name}
Why?
:::

:::{{solution}} ex-{name}
So.
:::

See {{numref}}`one` and {{ref}}`ex-one`.
"""


def test_figures_and_exercises_are_numbered_within_their_chapter(build, tmp_path: Path):
    (tmp_path / "picture.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>", encoding="utf-8")
    settings = {"extensions": ["myst_parser", "sphinx_proof", "sphinx_exercise", "paper_numbers"], "numfig": True}
    text = {
        name: OURS.replace("../", "").format(title=title, name=name)
        for name, title in [("one", "3.2 One"), ("two", "3.3 Two"), ("three", "Three")]
    }
    start = "# Start\n\n```{toctree}\none\ntwo\nthree\n```\n"
    for more in ("", "\nAnd more.\n"):  # from scratch, and after one page was written again
        pages, warnings = build(settings | {"root_doc": "start"}, start=start, **text | {"two": text["two"] + more})
        assert warnings == ""
        for name, number in [("one", "3.2.1"), ("two", "3.3.1"), ("three", "1")]:
            words = BeautifulSoup(pages[name], "html.parser").get_text(" ", strip=True)
            assert f"Fig. {number} A caption." in words and f"Exercise {number} (First) Why?" in words
            assert f"Solution to Exercise {number}" in words
            assert "See Fig. 3.2.1 and Exercise 3.2.1" in words


def test_every_item_has_a_label_of_its_kind():
    for label, item in paper_numbers.ITEMS.items():
        prefix, _, number = label.partition("-")
        assert (paper_numbers.KINDS[prefix], number.replace("-", ".")) == (item["kind"], item["number"])


def test_case_B3_no_raw_tex_in_tab_sidebar_contents_or_search(build, tmp_path: Path):
    settings = {"extensions": ["myst_parser", "sphinx_book_theme", "page_fixes"], "html_theme": "sphinx_book_theme"}
    one = "# Start\n\n```{toctree}\ntwo\n```\n"
    two = "# The $\\Omega$ and $\\gamma$ of a layer\n\nText.\n\n## Where $\\Phi$ goes\n\nText.\n"
    pages, warnings = build(settings, one=one, two=two)
    assert warnings == ""
    page = BeautifulSoup(pages["two"], "html.parser")
    assert "The Ω and γ of a layer" in page.title.get_text()  # type: ignore[union-attr]
    assert "Where Φ goes" in page.select_one("nav.page-toc, nav.bd-toc-nav").get_text()  # type: ignore[union-attr]
    chrome = BeautifulSoup(pages["one"], "html.parser").select("nav, .prev-next-area") + page.select("head, nav")
    assert "The Ω and γ of a layer" in " ".join(part.get_text() for part in chrome)
    index = (tmp_path / "out" / "searchindex.js").read_text(encoding="utf-8")
    assert "The \\u03a9 and \\u03b3 of a layer" in index or "The Ω and γ of a layer" in index
    for text in (*(str(part) for part in chrome), index):
        assert not re.search(r"\\\\?(Omega|gamma|Phi)", text)


def test_case_B1_a_folded_proof_leaves_the_folds_below_it_alone(build):
    text = """# One

:::{prf:proof}
:class: dropdown

First.
:::

:::{exercise} One
:label: ex-one
Why?
:::

:::{solution} ex-one
:class: dropdown

So.
:::
"""
    pages, warnings = build({"extensions": ["myst_parser", "sphinx_proof", "sphinx_exercise", "page_fixes"]}, one=text)
    assert warnings == ""
    proof, solution = BeautifulSoup(pages["one"], "html.parser").select("details")
    for fold, words in ((proof, "First."), (solution, "So.")):
        assert fold.get("open") is None and words in fold.get_text()
        assert fold.find("summary", recursive=False) is fold.find(True)
    assert "togglebutton" not in pages["one"]


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
        (
            '<div class="highlight"><pre><span></span><span class="n">x</span> <span class="k">if</span></pre></div>',
            '<div class="highlight"><pre tabindex="0">x <span class="k">if</span></pre></div>',
        ),
        (
            "<h1>1</h1><p>Why?</p><p><em>5 minutes. You see.</em></p><p><em>x</em></p>",
            '<h1>1</h1><p class="lede">Why?</p><p class="facts">5 minutes. You see.</p><p><em>x</em></p>',
        ),
        ("<h1>1</h1><p>Why?</p><p>5 <em>minutes</em></p>", "<h1>1</h1><p>Why?</p><p>5 <em>minutes</em></p>"),
        ('<div role="list"></div>', "<div></div>"),
        (
            '<div class="solution dropdown admonition"><p class="admonition-title"><a href="#e">E</a></p></div>',
            '<details class="solution admonition fold"><summary class="admonition-title"><span>E</span></summary>'
            "</details>",
        ),
        (
            '<div class="proof admonition dropdown"></div>',
            '<details class="proof admonition fold"><summary class="admonition-title"><span>Proof</span></summary>'
            "</details>",
        ),
    ],
)
def test_mending(before: str, after: str):
    assert page_fixes.mend(before) == after


CHECK = """# One

::::{check} what is $b$?
The column holds

:::{choice} a vector on $Z$
Nothing moved but a zero.
:::

:::{choice} a point
:right:
The image of a zero.
:::
::::
"""


def test_a_self_check_is_folds_with_a_verdict_before_each_reason(build):
    pages, warnings = build(one=CHECK)
    assert warnings == ""
    page = BeautifulSoup(pages["one"], "html.parser")
    wrong, right = page.select(".admonition.check > details.choice")
    assert page.select_one(".check > .admonition-title").get_text() == "Check: what is \\(b\\)?"  # type: ignore[union-attr]
    assert wrong.summary.get_text() == "a vector on \\(Z\\)"  # type: ignore[union-attr]
    assert wrong.find("p").get_text() == "No. Nothing moved but a zero."  # type: ignore[union-attr]
    assert right.find("p").get_text() == "Yes. The image of a zero."  # type: ignore[union-attr]
    assert not page.select("details[open]")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (":right:\n", "", "one of them marked :right:"),
        (":::{choice} a vector on $Z$\nNothing moved but a zero.\n:::\n", "", "two choices or more"),
        ("Nothing moved but a zero.\n", "", "Content block expected"),
        ("Nothing moved but a zero.", "- Nothing moved but a zero.", "begins with a sentence"),
        (":::{choice} a point\n", ":::{choice}\n", "argument"),
    ],
)
def test_a_self_check_without_an_answer_or_a_reason_is_refused(build, before: str, after: str, said: str):
    assert before in CHECK
    _, warnings = build(one=CHECK.replace(before, after))
    assert said in warnings


def test_words_with_accents_are_in_the_index_without_them_too(build, tmp_path: Path):
    build(one="# One\n\nŁukasz and Léon know Erdős.\n", two="---\norphan: true\n---\n\n# Two\n\nLukasz.\n")
    index = (tmp_path / "out" / "searchindex.js").read_text(encoding="utf-8")
    terms = json.loads(index.removeprefix("Search.setIndex(").removesuffix(")"))["terms"]
    assert len(terms["lukasz"]) == 2 and "łukasz" in terms
    assert "leon" in terms and "erdo" in terms  # the stem, as the query's


# -- names in code cells


def places(*cells: str) -> dict[str, str]:
    """Identifier -> where its first link in these cells leads."""
    reader = source_names.Reader()
    found: dict[str, str] = {}
    for cell in cells:
        for _, _, name, (module, anchor) in reader.read(cell):
            found.setdefault(name, f"{module}:{anchor}".removeprefix("kfac_lite."))
    return found


def test_a_name_is_followed_through_imports_assignments_and_return_types():
    found = places(
        "%xmode minimal\nimport kfac_lite as k\nfrom kfac_lite.coordinates import updates",
        "iota = k.Parameterization.from_widths(2, 3)\nomega = iota.weights.point(x)",
        "rule = updates.sgd\ng = k.euclidean(iota.weights).sharp(d)",
    )
    assert found["Parameterization"] == "bases:Parameterization"
    assert found["from_widths"] == "bases:Parameterization.from_widths"
    assert found["weights"] == "bases:Parameterization.weights"
    assert found["sgd"] == "coordinates.updates:sgd"
    assert found["sharp"] == "forms:Metric.sharp"


@pytest.mark.parametrize(
    "code",
    [
        "import torch\ntorch.zeros(2)",
        "def f(k):\n    return k.MLP",
        "[k.MLP for k in bases]",
        "import kfac_lite as k\nk = 3\nk.MLP",
        "from kfac_lite import no_such_name",
        "this is no Python",
    ],
)
def test_a_name_that_may_be_another_gets_no_link(code: str):
    assert "MLP" not in places(code) and "zeros" not in places(code) and "no_such_name" not in places(code)


def test_every_link_of_a_name_leads_to_a_line_of_the_source():
    for path in sorted((ROOT / "chapters").glob("*.ipynb")):
        reader = source_names.Reader()
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for _, _, name, (module, anchor) in reader.read("".join(cell["source"])) if "outputs" in cell else ():
                assert not anchor or anchor in source_names.anchors(module).values(), (path.name, name)


def test_a_role_links_to_the_source_and_refuses_what_is_not_there(build):
    settings = {"extensions": ["myst_parser", "code_links"]}
    pages, warnings = build(
        settings, one="# One\n\n{source}`spaces.AffineSpace`, {source}`coordinates.mlp`, {source}`MLP`.\n"
    )
    assert warnings == ""
    assert 'href="source/kfac_lite.spaces.html#AffineSpace"' in pages["one"]
    assert 'href="source/kfac_lite.coordinates.mlp.html"' in pages["one"]
    assert 'href="source/kfac_lite.networks.mlp.html#MLP"' in pages["one"]
    with pytest.raises(Exception, match=r"has no 'spaces\.NoSuchThing'"):
        build(settings, one="# One\n\n{source}`spaces.NoSuchThing`\n")


# -- addresses


def notebook(text: str) -> str:
    cell = {"cell_type": "markdown", "id": "a", "metadata": {}, "source": text}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return json.dumps({"cells": [cell], "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5})


REPOSITORY, SITE = "https://github.com/a/b", "https://a.github.io/b/"


@pytest.mark.parametrize("are_set", [False, True])
def test_buttons_canonical_links_and_colab_appear_where_the_addresses_are_set(build, are_set: bool):
    """A real build with the book's theme, in both states."""
    settings = {
        "extensions": ["myst_nb", "sphinx_book_theme", "page_fixes"],
        "html_theme": "sphinx_book_theme",
        "nb_execution_mode": "off",
        "book_repository": REPOSITORY if are_set else "",
        "book_site": SITE if are_set else "",
    }
    pages, warnings = build(settings, one=notebook("# One\n\n```{toctree}\nchapter\n```"), chapter=notebook("# Two"))
    assert warnings == ""
    text = pages["chapter"]
    assert (f'<link rel="canonical" href="{SITE}chapter.html"' in text) is are_set
    assert ("https://colab.research.google.com/github/a/b/blob/main/chapter.ipynb" in text) is are_set
    assert (f'href="{REPOSITORY}"' in text) is are_set
    assert (f'href="{SITE}"' in pages["404"]) is are_set
    assert ("colab" in text.lower()) is are_set and ("github.com/a" in text) is are_set


def test_addresses_give_options_to_the_theme():
    assert page_fixes.addresses("", "") == ({}, "")
    options, site = page_fixes.addresses("https://github.com/a/b", "https://a.github.io/b/")
    assert options["use_repository_button"] and options["launch_buttons"]["colab_url"]
    assert site == "https://a.github.io/b/"
    assert "launch_buttons" not in page_fixes.addresses("https://example.org/a/b", "")[0]
    config = SimpleNamespace(book_repository="", book_site="", html_theme_options={"x": 1}, html_baseurl="")
    page_fixes.on_config(None, config)
    assert config.html_theme_options == {"x": 1}
