"""Self-checks: a question, and behind each choice its reason.

    ::::{check} what is a bias?
    The column $b_i$ holds the numbers of

    :::{choice} a vector on $Z_i$
    Why this is wrong, from what the reader has just seen.
    :::

    :::{choice} a point of $Z_i$
    :right:
    Why this is right.
    :::
    ::::

Each choice is a fold of the page, so it works by mouse, by keyboard, on paper and without scripts; the verdict is a
word. A check needs two choices at least and one that is right, and each choice a reason: else the build says so.
"""

from __future__ import annotations

from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective


class Check(SphinxDirective):
    """`{check} title`: the title is optional, and is printed after "Check: "."""

    optional_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        said, _ = self.parse_inline(self.arguments[0]) if self.arguments else ([], [])
        title = nodes.title("", "", nodes.Text("Check: " if said else "Check"), *said)
        block = nodes.admonition("", title, classes=["check"])
        self.state.nested_parse(self.content, self.content_offset, block)
        choices = [node for node in block.findall(nodes.admonition) if "choice" in node["classes"]]
        if len(choices) < 2 or not any("right" in choice["classes"] for choice in choices):
            raise self.error("a check needs two choices or more, and one of them marked :right:")
        return [block]


class Choice(SphinxDirective):
    """`{choice} what it says`, `:right:` if it is; the content is the reason."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar[Any] = {"right": directives.flag}

    def run(self) -> list[nodes.Node]:
        self.assert_has_content()
        said, _ = self.parse_inline(self.arguments[0])
        right = "right" in self.options
        block = nodes.admonition("", nodes.title("", "", *said), classes=["choice", "dropdown"] + ["right"] * right)
        self.state.nested_parse(self.content, self.content_offset, block)
        verdict = nodes.inline("", "Yes." if right else "No.", classes=["verdict"])
        reason = block[1]
        if not isinstance(reason, nodes.paragraph):
            raise self.error("a choice's reason begins with a sentence")
        reason.insert(0, [verdict, nodes.Text(" ")])
        return [block]


def setup(app: Any) -> dict[str, Any]:
    app.add_directive("check", Check)
    app.add_directive("choice", Choice)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
