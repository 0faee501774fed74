"""The page of figures, from what ``make figures`` drew, and copies of the notebooks; written anew at every build."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from ledger import prose
from PIL import Image
from sphinx.addnodes import download_reference, pending_xref
from sphinx.application import Sphinx
from sphinx.util import logging

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "out/figures"
NOTEBOOKS = ROOT / "theory_checks/notebooks"
#: CSS pixels an inch of a picture: letters of 8 points are 12 pixels high. Pictures that tell no dots have as many.
SHOWN = 110

#: What ends the name of a figure whose panels stand in one column.
PHONE = "-phone"

logger = logging.getLogger(__name__)


def write_pages(app: Sphinx) -> None:
    """Write ``figures.md`` with each picture and its caption, and ``notebooks/index.md``."""
    source = Path(app.srcdir)
    pictures = sorted(path for path in FIGURES.glob("*.png") if not path.stem.endswith(PHONE))
    if not pictures:
        logger.warning("no figures below %s: run make figures first", FIGURES.relative_to(ROOT))
    folder = source / "figures"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    parts = ["# Figures\n\nEach is drawn by one command, which its caption names. A click shows the full size.\n"]
    for picture in pictures:
        shutil.copy(picture, folder)
        shutil.copy(picture.with_suffix(".pdf"), folder)
        parts.append(_figure(picture))
    (source / "figures.md").write_text("\n".join(parts), encoding="utf-8")

    copies = source / "notebooks"
    shutil.rmtree(copies, ignore_errors=True)
    copies.mkdir()
    names = sorted(path.name for path in NOTEBOOKS.glob("*.ipynb"))
    for name in names:
        (copies / name).write_text(_described((NOTEBOOKS / name).read_text(encoding="utf-8")), encoding="utf-8")
    entries = "\n".join(Path(name).stem for name in names)
    (copies / "index.md").write_text(
        f"{_NOTEBOOKS}\n\n```{{toctree}}\n:maxdepth: 1\n\n{entries}\n```\n", encoding="utf-8"
    )


_NOTEBOOKS = """# Notebooks

For readers who have not seen the paper, as they were last run. They are in `theory_checks/notebooks`; `make notebooks`
runs them again."""


def _figure(picture: Path) -> str:
    title = picture.stem.replace("_", " ")
    text = picture.with_suffix(".txt").read_text(encoding="utf-8").strip()
    caption = re.sub(r"Command: (.*)$", r"Command: `\1`", text)
    alt = text.split(". ")[0].replace("\n", " ")
    return (
        f"## {title[0].upper()}{title[1:]}\n\n```{{figure}} figures/{picture.name}\n:alt: {alt}\n\n"
        f"{prose(caption)} [PDF](figures/{picture.stem}.pdf)\n```\n"
    )


def _described(notebook: str) -> str:
    """Return a notebook whose pictures are told in their own words where they cannot be seen."""
    content = json.loads(notebook)
    for cell in content["cells"]:
        for data in (output.get("data", {}) for output in cell.get("outputs", ())):
            if "image/png" in data:
                words = "".join(data["text/plain"]).removeprefix("Picture: ")
                cell["metadata"].setdefault("mystnb", {})["image"] = {"alt": words}
    return json.dumps(content)


def size_pictures(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Show each picture as large as its letters ask, or as the window allows; its full size is behind a click."""
    for node in doctree.findall(nodes.image):
        path = Path(app.srcdir) / node["uri"]
        if path.suffix == ".png" and path.is_file():
            with Image.open(path) as image:
                node["width"] = f"{round(image.width * SHOWN / image.info.get('dpi', (SHOWN,))[0])}px"


def copy_for_phones(app: Sphinx, problem: Exception | None) -> None:
    """Lay the figures for phones beside those that the pages show."""
    shown = Path(app.outdir) / "_images"
    if problem is None and shown.is_dir():
        for picture in FIGURES.glob(f"*{PHONE}.png"):
            shutil.copy(picture, shown)


def offer_for_phones(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document) -> None:
    """Let narrow windows take a figure whose panels stand in one column, where there is one."""
    # Two pictures of one name, such as that of the README, have others in the site.
    stems = {shown: Path(source).stem for source, shown in app.builder.images.items()}

    def both(image: re.Match[str]) -> str:
        folder, name = image["source"].rsplit("/", 1)
        narrow = f"{stems[name]}{PHONE}.png"
        if not (FIGURES / narrow).is_file():
            return image[0]
        return f'<picture><source media="(max-width: 600px)" srcset="{folder}/{narrow}"/>{image[0]}</picture>'

    if "body" in context:
        context["body"] = re.sub(r'<img [^>]*?src="(?P<source>[^"]*_images/[^"]+\.png)"[^>]*>', both, context["body"])


def link_files(app: Sphinx, doctree: nodes.document) -> None:
    """Offer the files of the repository to which pages lead, and which are no pages here, as downloads."""
    folder = Path(app.env.doc2path(app.env.docname)).parent
    for node in list(doctree.findall(pending_xref)):
        file = (folder / node["reftarget"]).resolve()
        if node.get("reftype") == "myst" and file.is_file() and file.is_relative_to(ROOT):
            where = file.relative_to(ROOT).as_posix()
            node.replace_self(download_reference("", "", *node.children, reftarget=f"/../{where}"))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("builder-inited", write_pages)
    # Before Sphinx collects the downloads, with the priority 500.
    app.connect("doctree-read", link_files, priority=400)
    app.connect("doctree-resolved", size_pictures)
    app.connect("html-page-context", offer_for_phones)
    app.connect("build-finished", copy_for_phones)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
