"""The five lines "which sampler for how many steps", from the rows of the league, in the pages that show them.

python docs/which_sampler.py
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from image_exps.league import five_lines

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs/how-to/choose-a-sampler.md")
_LINES = re.compile(r"(?<=<!-- which-sampler: begin -->\n).*?(?=<!-- which-sampler: end -->)", re.S)


def with_lines(page: str) -> str:
    """Return a page with the lines as the league's rows are now."""
    lines = "".join(
        textwrap.fill(line, 120, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False) + "\n"
        for line in five_lines()
    )
    return _LINES.sub(lambda _: lines, page)


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(with_lines(path.read_text(encoding="utf-8")), encoding="utf-8")
