"""Names in tables: plain text in Markdown and LaTeX, whatever they are."""

import re

import pytest
from markdown_it import MarkdownIt

from image_exps.utils.markup import escaped, latex_table, markdown_table, markdown_text

HOSTILE = ["<b>x</b>", "&amp;", "[a](b)", "![a](b)", "*a* _b_ `c` ~~d~~", "# a", "a | b", "a\\",
           "\\|", "$x$", "a\tb\nc",
           "https://example.org/<x>", "\u202eabc", "1. a", "- a", "> a"]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_in_a_table_is_shown_as_it_is(name):
    text = markdown_table(["a", "b"], [[markdown_text(name), "c"]], names=2)
    rendered = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)
    (shown, last) = re.findall(r"<td[^>]*>(.*?)</td>", rendered)
    assert last == "c"
    assert "<" not in shown
    plain = re.sub("[\t\n\u202e]", " ", name)
    unescaped = shown.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")
    assert unescaped.split() == plain.split()


def test_latex_has_no_command_of_a_name():
    assert escaped(r"\input{x} ~^_&%$#<>") == (
        r"\textbackslash{}input\{x\} \textasciitilde{}\textasciicircum{}\_\&\%\$\#\textless{}\textgreater{}"
    )
    assert escaped("a\nb") == "a b"
    table = latex_table("c", ["a", "b"], [["[1ex] x", "1"], ["y", "[2]"]])
    assert r"{}[1ex] x & 1 \\" in table
    assert "\ny & [2]" in table
