"""One page of what a folder holds: the paper's tables with our figures, all results, pictures, the guidance sweep."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from image_exps.evaluation.folder import open_generated
from image_exps.evaluation.guidance_sweep import draw_pareto, sweep_points
from image_exps.evaluation.paper_tables import render_table, table_rows
from image_exps.evaluation.published import Table, published_tables, table
from image_exps.evaluation.results import Result, read_results
from image_exps.images.files import write_png
from image_exps.utils.markup import markdown_table, markdown_text
from theory_checks.ledger.plotting import to_svg
from toy.atomic import atomic
from toy.folders import visible_files
from toy.picture_files import read_picture

__all__ = ["contact_sheet", "tables_of", "write_report"]

_SUFFIXES = (".html", ".md", ".tex")

# Longest side of a picture on the page, in pixels.
_SIDE = 128

_DISTANCES = ("FID", "FD-EffNetLite0")


def tables_of(results: Sequence[Result]) -> list[int]:
    """Return the numbers of the paper's tables that have a place for at least one of the results."""

    def places(t: Table) -> set[tuple[str, str, int]]:
        return {(name, c.metric, c.evaluations) for m in t.models for name in m.names for c in t.columns}

    return [
        t.number
        for t in published_tables()
        if any((r.model, r.metric, r.evaluations) in places(t) and t.takes(r.metric, r.guidance) for r in results)
    ]


def contact_sheet(folder: Path, count: int) -> Image.Image:
    """Return the first pictures of a folder side by side.

    Raises:
        ValueError: if it holds none, one is missing or cannot be read, or ``count`` is not positive.
    """
    if count < 1:
        raise ValueError(f"count must be positive, got {count}")
    files = open_generated(folder).files[:count]
    tiles = []
    for file in files:
        tile = read_picture(file)
        scale = _SIDE / max(tile.size)
        size = max(1, round(tile.width * scale)), max(1, round(tile.height * scale))
        tiles.append(tile.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS))
    sheet = Image.new("RGB", (_SIDE * len(tiles), _SIDE), "white")
    for place, tile in enumerate(tiles):
        sheet.paste(tile, (place * _SIDE, 0))
    return sheet


def write_report(folder: Path, path: Path, *, tables: Sequence[int] = (), pictures: int = 8) -> int:
    """Write the page of a folder, in place of the file or not at all; return how many results it shows.

    Args:
        folder: with ``results*.parquet`` somewhere below it, as ``evaluate`` and ``time`` leave them.
        path: the page; its suffix decides its form.
        tables: numbers of the paper's tables; by default those that a result belongs to.
        pictures: shown of each folder of pictures; none for 0.

    Raises:
        ValueError: for another suffix, a folder without results, or LaTeX of results that no table has a place for.
    """
    if path.suffix not in _SUFFIXES:
        raise ValueError(f"out must end in one of {', '.join(_SUFFIXES)}, got {path.name!r}")
    results = read_results([folder])
    if not results:
        raise ValueError(f"folder must hold results, {folder} has no results*.parquet: run evaluate or time first")
    numbers = list(tables) or tables_of(results)
    shown = len(results)
    if path.suffix == ".tex":
        if not numbers:
            raise ValueError(
                f"out {path.name!r} is of the paper's tables alone, and none has a place for a result below {folder}: "
                "name tables with --table, or give a .html or .md file, which show every result"
            )
        text = "\n".join(render_table(n, results, "latex") for n in numbers)
        shown = sum(1 for r in results if set(tables_of([r])) & set(numbers))
    elif path.suffix == ".md":
        text = _markdown(folder, results, numbers, pictures, path)
    else:
        text = _page(folder, results, numbers, pictures)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="replace")  # names of files may hold halves of characters
    return shown


def _sheets(folder: Path, pictures: int) -> list[tuple[str, Image.Image | str]]:
    """Return a sheet of each folder of pictures, by name; what is wrong with one stands in the place of its sheet."""
    if pictures == 0:
        return []
    sheets: list[tuple[str, Image.Image | str]] = []
    settings = (file for file in visible_files(folder).files if file.name == "settings.json")
    for each in sorted(file.parent for file in settings if (file.parent / "00000").is_dir()):
        try:
            sheet: Image.Image | str = contact_sheet(each, pictures)
        except ValueError as error:
            sheet = f"Not shown: {error}"
        sheets.append((str(each.relative_to(folder)), sheet))
    return sheets


def _sweeps(results: Sequence[Result]) -> list[tuple[str, str]]:
    """Return the guidance sweep of each model and budget as SVG, by title; a remark where it is not of one piece."""
    found = []
    for model, evaluations in sorted({(r.model, r.evaluations) for r in results}):
        own = [r for r in results if (r.model, r.evaluations) == (model, evaluations) and not math.isnan(r.guidance)]
        metrics = {r.metric for r in own}
        pairs = [(s, d) for d in _DISTANCES for s in sorted(metrics) if d in metrics and s.startswith("CLIP")]
        if not pairs or len({r.guidance for r in own if r.metric in pairs[0]}) < 2:
            continue
        try:
            drawn = to_svg(draw_pareto(sweep_points(own, *pairs[0]), *pairs[0]))
        except ValueError as error:
            drawn = f"<p>{html.escape(f'Not drawn: {error}')}</p>"
        found.append((f"Guidance sweep, {model}, {evaluations} evaluations", drawn))
    return found


_HEAD = ("model", "sampler", "evaluations", "guidance", "metric", "value", "interval", "n", "remark")


def _cells(r: Result) -> tuple[str, ...]:
    interval = "" if math.isnan(r.low) else f"[{r.low:.4g}, {r.high:.4g}]"
    guidance = "" if math.isnan(r.guidance) else f"{r.guidance:g}"
    evaluations = str(r.evaluations) if r.evaluations else ""
    return (r.model, r.sampler, evaluations, guidance, r.metric, f"{r.value:.4g}", interval, str(r.count), r.remark)


def _ordered(results: Sequence[Result]) -> list[Result]:
    return sorted(results, key=lambda r: (r.model, r.metric, r.evaluations, r.sampler, r.guidance))


def _markdown(folder: Path, results: Sequence[Result], numbers: Sequence[int], pictures: int, path: Path) -> str:
    """Return the page; its pictures are written to a folder beside it, for most that show Markdown want files."""
    names = [_HEAD.index(name) for name in ("model", "sampler", "metric", "remark")]
    body = [[markdown_text(c) if place in names else c for place, c in enumerate(_cells(r))] for r in _ordered(results)]
    rows = markdown_table(_HEAD, body, names=len(_HEAD))
    title = markdown_text(folder.resolve().name)
    parts = [f"# {title}", *(render_table(n, results) for n in numbers), "## Results", rows]
    beside = path.with_name(f"{path.stem}-pictures")
    for place, (name, sheet) in enumerate(_sheets(folder, pictures)):
        title = markdown_text(name)
        if isinstance(sheet, str):
            parts += [f"## {title}", markdown_text(sheet)]
            continue
        write_png(sheet, beside / f"{place}.png")
        parts += [f"## {title}", f"![{title}](<{quote(beside.name)}/{place}.png>)"]
    return "\n\n".join(parts) + "\n"


def _data(sheet: Image.Image) -> str:
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


_STYLE = """body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 72em; padding: 0 1em }
table { border-collapse: collapse; margin: 1em 0; font-variant-numeric: tabular-nums; font-size: 13px }
th, td { padding: .2em .6em; border-bottom: 1px solid #ddd; text-align: left } tr.paper td { color: #777 }
img, svg { max-width: 100%; height: auto }"""


def _html_table(head: Sequence[str], body: Sequence[tuple[str, Sequence[str]]]) -> str:
    def cells(tag: str, line: Sequence[str]) -> str:
        return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in line)

    rows = "\n".join(f'<tr class="{kind}">{cells("td", line)}</tr>' for kind, line in body)
    return f"<table>\n<tr>{cells('th', head)}</tr>\n{rows}\n</table>"


def _page(folder: Path, results: Sequence[Result], numbers: Sequence[int], pictures: int) -> str:
    parts = []
    for number in numbers:
        shown = table(number)
        head = ("model", "method", "run", *(c.label for c in shown.columns))
        body = [
            ("paper" if row.origin == "paper" else "ours", (row.model, row.method, row.origin, *row.cells))
            for row in table_rows(number, results)
        ]
        parts.append(f"<h2>Table {number}. {html.escape(shown.caption)}</h2>\n{_html_table(head, body)}")
    parts += [f"<h2>{html.escape(title)}</h2>\n{drawn}" for title, drawn in _sweeps(results)]
    parts.append("<h2>Results</h2>\n" + _html_table(_HEAD, [("ours", _cells(r)) for r in _ordered(results)]))
    for name, sheet in _sheets(folder, pictures):
        if isinstance(sheet, str):
            seen = f"<p>{html.escape(sheet)}</p>"
        else:
            seen = f'<img alt="pictures" src="{_data(sheet)}">'
        parts.append(f"<h2>{html.escape(name)}</h2>\n{seen}")
    title = html.escape(folder.resolve().name)
    body_text = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n<style>{_STYLE}</style>'
        f"</head>\n<body>\n<h1>{title}</h1>\n{body_text}\n</body></html>\n"
    )
