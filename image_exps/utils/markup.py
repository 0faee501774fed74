r"""Tables as text: Markdown as GitHub has it, and LaTeX with ``booktabs``."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

__all__ = ["escaped", "latex_table", "markdown_table", "markdown_text"]

_LATEX = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "α": r"$\alpha$",
        "κ": r"$\kappa$",
        "λ": r"$\lambda$",
        "±": r"$\pm$",
        "°": r"$^\circ$",
    }
)


_MARKDOWN = str.maketrans(
    {**{character: f"\\{character}" for character in "\\`*_[]~$#"}, "&": "&amp;", "<": "&lt;", ">": "&gt;"}
)


def escaped(text: str) -> str:
    """Return plain text for LaTeX, in one line."""
    return _in_one_line(text).translate(_LATEX)


def markdown_text(text: str) -> str:
    """Return plain text for Markdown, in one line: nothing in it is markup, a link or HTML.

    The bars between the cells of a table are left to `markdown_table`.
    """
    return _in_one_line(text).translate(_MARKDOWN)


def _in_one_line(text: str) -> str:
    """Return a text without line breaks and other characters that control what follows."""
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in text)


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], names: int = 1) -> str:
    """Return a table in Markdown, without a last line break.

    Args:
        head: titles of the columns.
        rows: as long as the head each.
        names: how many of the first columns are text; figures stand to the right.
    """
    lines = [head, ["---"] * names + ["---:"] * (len(head) - names), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def latex_table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], names: int = 1) -> str:
    """Return a floating table in LaTeX; arguments as of `markdown_table`, all of them LaTeX already."""
    # After the end of a row a bracket would be an argument.
    first, *others = ("{}" * line[0].startswith("[") + " & ".join(line) + r" \\" for line in (head, *rows))
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption}}}",
            rf"\begin{{tabular}}{{{'l' * names}{'r' * (len(head) - names)}}}",
            r"\toprule",
            first,
            r"\midrule",
            *others,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )
