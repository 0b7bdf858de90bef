"""What the pages weigh, and what is done that they do not weigh more (paper: none)."""

import re
import sys
from pathlib import Path

import pytest
from sphinx.errors import ExtensionError

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "book" / "ext")]
import hover_cards  # noqa: E402
import lighter  # noqa: E402
import weight  # noqa: E402

from kfac_lite.live import hero  # noqa: E402

from .live_page import evaluate  # noqa: E402

pytestmark = pytest.mark.no_gauge
NAMES = weight.pages()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES, ids=lambda name: Path(name).name)
def test_a_page_weighs_at_most_250_kb(site: Path, name: str):
    """Its HTML with its programs, and our own styles and scripts, icons and hover cards among them."""
    parts = weight.parts(site / f"{name}.html")
    assert {"book.css", "book.js", "cards.js", "scripts/fontawesome.js"} < {*parts}
    assert sum(parts.values()) <= weight.BAR, parts


def test_what_is_weighed_is_every_page_and_every_file_of_ours(tmp_path: Path):
    assert len(NAMES) > 20 and len({*NAMES}) == len(NAMES)
    (tmp_path / "_static/tippy").mkdir(parents=True)
    for name, size in {"book.css": 100, "theirs.js": 1000, "tippy/one.1.js": 10}.items():
        (tmp_path / "_static" / name).write_text("x" * size)
    page = tmp_path / "one.html"
    page.write_text(
        '<link rel="stylesheet" href="_static/book.css?v=1"><script src="_static/theirs.js"></script>'
        '<script defer="defer" src="_static/tippy/one.1.js"></script>'
    )
    size = len(page.read_text())
    assert weight.parts(page) == {"one.html": size, "book.css": 100, "tippy/one.1.js": 10}


SCRIPT = """
// A comment.
const makeSum = (function () {
  const numbers = [0.1, 0.2, 0.3];
  function total(first, second, third) { return (first + second) + third; /* in this order */ }
  return { total, all: () => total(...numbers) };
})();
"""


def test_a_script_computes_the_same_with_short_names():
    short = lighter.scripts([SCRIPT])[0]
    assert len(short) < len(SCRIPT) / 1.5 and "comment" not in short and "numbers" not in short
    call = "return [makeSum.all(), makeSum.total(1e16, 1, -1e16), makeSum.total(-1e16, 1e16, 1)];"
    assert evaluate(short + call) == evaluate(SCRIPT + call) == [0.1 + 0.2 + 0.3, 0.0, 1.0]


def test_a_script_that_is_none_is_an_error():
    with pytest.raises(ExtensionError, match="could not shorten"):
        lighter.scripts(["const = 1;"])


def test_styles_lose_what_separates_nothing():
    css = """/* Look. */
    .a  > .b::before { content: "a; b ,  c"; margin: 0 1px; }

    @media (max-width: 30rem) { a:hover, b { color: red } }
    """
    wanted = '.a > .b::before{content:"a; b ,  c";margin:0 1px}@media (max-width:30rem){a:hover,b{color:red}}'
    assert lighter.styles(css) == wanted


def test_a_page_loses_its_indentation_where_spaces_are_nothing():
    pre = "<pre>def f():\n\n    return 1</pre>"
    script = "<script>\n\n  // <!-- no comment -->\n  f();</script>"
    text = "<p>Two <em>words</em>\n    <b>more</b></p>"
    page = f"\n\n<html>\n  <!-- A\n comment. -->\n  {text}\n\n  {pre}\n\n  {script}\n</html>\n"
    assert lighter.flat(page) == f"<html>\n<p>Two <em>words</em>\n<b>more</b></p>\n{pre}\n{script}\n</html>\n"


def test_links_of_the_sidebars_lose_a_class_that_nobody_asks_for():
    left = '<li class="toctree-l1"><a class="reference internal" href="a.html">A</a></li>'
    right = '<li class="nav-item"><a class="reference internal nav-link" href="#b">B</a></li>'
    text = '<p><a class="reference internal" href="c.html">C</a></p>'
    shorter = left.replace(' class="reference internal"', "") + right.replace("reference internal ", "") + text
    assert lighter.flat(left + right + text) == shorter + "\n"


def test_of_the_icons_those_stay_that_a_page_shows():
    script = 'const drawn = {"sun": ["0", "M1"], "moon": ["0", "M2"], "rocket": ["0", "M3"]};\nconst other = {};'
    shown = lighter.shown(script, ['<i class="fa-solid fa-sun"></i>'])
    assert shown == 'const drawn = {"sun":["0","M1"],"moon":["0","M2"]};\nconst other = {};'
    with pytest.raises(ExtensionError, match="const drawn"):
        lighter.shown("const icons = {};", [])


def test_code_links_a_name_once_and_joins_what_looks_alike():
    link = '<a href="../source/kfac_lite.descent.html#KFAC">KFAC</a>'
    cell = f'<pre tabindex="0">{link}(1) + {link}(2)</pre>'
    assert lighter.lean(f"{cell}<p>{link}</p>{cell}") == (
        f'<pre tabindex="0">{link}(1) + KFAC(2)</pre><p>{link}</p><pre tabindex="0">KFAC(1) + KFAC(2)</pre>'
    )
    brace = '<span class="si">{</span>x<span class="si">}</span>'
    code = f'<pre><span class="sa">f</span><span class="s2">"</span>{brace}</pre>'
    assert lighter.lean(code) == '<pre><span class="sa">f"{</span>x<span class="si">}</span></pre>'


def test_a_page_loses_classes_and_titles_that_nobody_sees():
    cite = '<a class="reference internal" href="bibliography.html#id9" title="Yang Song. Title.">Song, 2018</a>'
    body = (
        f'<div class="cell_output docutils container"><span class="math notranslate nohighlight">x</span>{cite}</div>'
    )
    shorter = cite.replace(' title="Yang Song. Title."', "")
    assert lighter.leaner(body) == f'<div class="cell_output"><span class="math">x</span>{shorter}</div>'


def test_a_card_for_a_place_on_the_page_itself_is_not_stored():
    math = '<span class=\\"math notranslate nohighlight\\">\\\\(x\\\\)</span>'
    script = f"""selector_to_html = {{"a[href=\\"#h\\"]": "", "a[href=\\"b.html#x\\"]": "<p id=\\"x\\">{math}</p>"}}
skip_classes = ["headerlink"]
"""
    assert hover_cards.call(script) == 'hoverCards({"b.html#x": "<p><span class=\\"math\\">\\\\(x\\\\)</span></p>"});\n'
    assert hover_cards.call("") == ""
    with pytest.raises(ExtensionError, match="another script"):
        hover_cards.call("tips = {}")


@pytest.mark.slow
def test_the_programs_of_a_built_page_compute_what_those_of_the_package_do(site: Path):
    """To the last digit, for numbers drawn at random; they are the same programs with shorter names."""
    text = (site / "chapters/index.html").read_text(encoding="utf-8")
    (script,) = re.findall(r"<script>(liveFigures\.start.*?)</script>", text, re.DOTALL)
    long = hero.figure().graph.programs
    same = evaluate(f"""
        let built;
        const document = {{}}, liveFigures = {{ start: (_, spec, programs) => {{ built = programs; }} }};
        {script}
        const long = [{",".join(long)}];
        let seed = 1;
        const draw = () => (seed = (seed * 16807) % 2147483647) / 2147483647 - 0.4;
        return long.map((make, i) => {{
          const values = make().inputs.map((x) => Array.from(x, draw));
          const [a, b] = [make, built[i]].map((each) => {{
            const program = each(), outputs = program.run(values);
            return JSON.stringify([outputs.map((x) => Array.from(x, String)), program.fault()?.operation]);
          }});
          return a === b && a.length > 10;
        }});""")
    assert same == [True] * len(long)
