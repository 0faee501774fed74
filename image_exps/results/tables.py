"""The pages of tables beside the results of sweeps: ``python -m image_exps.results.tables`` writes every TABLES.md."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from image_exps.sweeps.pages import text_of_tables
from image_exps.sweeps.store import read_results
from theory_checks.command_line.plain_errors import plain_errors
from toy.atomic import atomic

__all__ = ["PAGES", "Page"]

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Page:
    """A page of tables.

    Attributes:
        title: of the page.
        options: of the command ``table``, for each part of the page.
        remark: what is said of the options, after the command.
    """

    title: str
    options: tuple[dict[str, object], ...] = ({},)
    remark: str = ""

    def text(self, name: str) -> str:
        """Return the page of the results of a sweep."""
        path = _HERE / name / "results.parquet"
        rows = read_results(path)
        command = f"python -m image_exps table image_exps/results/{name}/results.parquet"
        head = f"Written by `{command}`{self.remark}; the rows by `python -m image_exps sweep {name}`."
        parts = [text for options in self.options for text in text_of_tables(rows, **options)]  # type: ignore[arg-type]
        return f"# {self.title}\n\n{head}\n\n" + "".join(f"{part}\n" for part in parts)


_ABLATIONS: tuple[dict[str, object], ...] = tuple(
    {"parameter": parameter, "base": base} for base in ("ddim", "dpm-solver-3m") for parameter in ("damping", "mixing")
)

#: The pages by sweep.
PAGES: dict[str, Page] = {
    "ablations": Page(
        "Damping and mixing of LML on exact digits",
        ({}, *_ABLATIONS),
        ", with `--ablation damping` and `--ablation mixing`, and these with `--base dpm-solver-3m`",
    ),
    "networks": Page("The shipped networks"),
    "outside": Page("Networks that nobody here trained"),
    "spacings": Page(
        "Both spacings of levels, and both distances to the end of the flow",
        ({"standings": True}, {}),
        " with `--standings`, and the same without",
    ),
    "table1": Page("Table 1 on exact targets, with controls"),
}


@click.command()
@plain_errors
def main() -> None:
    """Write TABLES.md beside the results of every sweep that has some."""
    for name, page in PAGES.items():
        with atomic(_HERE / name / "TABLES.md") as partial:
            partial.write_text(page.text(name), encoding="utf-8")
        click.echo(f"{_HERE / name / 'TABLES.md'}")


if __name__ == "__main__":
    main()
