"""The page of figures, from what ``make figures`` drew, and copies of the notebooks; written anew at every build."""

from __future__ import annotations

import shutil
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "out/figures"
NOTEBOOKS = ROOT / "theory_checks/notebooks"

logger = logging.getLogger(__name__)


def write_pages(app: Sphinx) -> None:
    """Write ``figures.md`` with each picture and its caption, and ``notebooks/index.md``."""
    source = Path(app.srcdir)
    pictures = sorted(FIGURES.glob("*.png"))
    if not pictures:
        logger.warning("no figures below %s: run make figures first", FIGURES.relative_to(ROOT))
    folder = source / "figures"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    parts = ["# Figures\n\nEach is drawn by one command, which its caption names.\n"]
    for picture in pictures:
        shutil.copy(picture, folder)
        caption = picture.with_suffix(".txt")
        text = caption.read_text(encoding="utf-8").strip() if caption.exists() else ""
        title = picture.stem.replace("_", " ")
        parts.append(f"## {title}\n\n```{{figure}} figures/{picture.name}\n:alt: {title}\n\n{text}\n```\n")
    (source / "figures.md").write_text("\n".join(parts), encoding="utf-8")

    copies = source / "notebooks"
    shutil.rmtree(copies, ignore_errors=True)
    copies.mkdir()
    names = sorted(path.name for path in NOTEBOOKS.glob("*.ipynb"))
    for name in names:
        shutil.copy(NOTEBOOKS / name, copies)
    entries = "\n".join(Path(name).stem for name in names)
    (copies / "index.md").write_text(
        f"# Notebooks\n\n```{{toctree}}\n:maxdepth: 1\n\n{entries}\n```\n", encoding="utf-8"
    )


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
