"""The page of figures, from what ``make figures`` drew, and copies of the notebooks; written anew at every build."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from companions import FIGURES, NOTEBOOKS, PHONE, figures, named, notebooks
from docutils import nodes
from ledger import prose
from PIL import Image
from sphinx.addnodes import download_reference, pending_xref
from sphinx.application import Sphinx
from sphinx.util import logging

from paper_figures.names import NAMES

ROOT = Path(__file__).resolve().parents[2]
#: CSS pixels an inch of a picture: letters of 8 points are 12 pixels high. Pictures that name no dots have as many.
SHOWN = 110

#: Themes of figures in their order: letter of the first claim that a caption names, title, what one learns there.
THEMES = (
    ("K", "The method", "What LML does to a noise prediction, and what rounding leaves of it."),
    ("H", "Propositions 1 and 2: the Hessian", "How far the outer product of the score is from the Hessian."),
    ("S", "Proposition 3: what Eq. 7 leaves in place", "Where the dynamics end, as written and corrected."),
    ("C", "Proposition 4: how fast", "How the corrected dynamics forget their start, and how slowly at worst."),
    ("A", "From noise to data", "Equations 9 and 10, and the order at which samplers converge."),
    ("Q", "Quality", "What samplers do to pictures: on exact scores, on networks, beside controls."),
    ("L", "Solvers", "Levels and weights for few steps."),
    ("D", "The league", "Samplers in use, judged."),
    ("T", "Cost", "What LML adds to the time of a generation."),
)
#: Figures whose subject is not that of the first claim that they name.
SUBJECTS = {"ablations": "Q", "few_steps": "L", "guidance": "Q", "league": "D", "solver": "L"}

logger = logging.getLogger(__name__)


def write_pages(app: Sphinx) -> None:
    """Write ``figures.md`` with each picture and its caption, and ``notebooks/index.md``."""
    source = Path(app.srcdir)
    _write_figures(source)
    copies = source / "notebooks"
    shutil.rmtree(copies, ignore_errors=True)
    copies.mkdir()
    for name in notebooks():
        text = (NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8")
        (copies / f"{name}.ipynb").write_text(_described(text), encoding="utf-8")
    entries = "\n".join(notebooks())
    (copies / "index.md").write_text(
        f"{_NOTEBOOKS}\n\n```{{toctree}}\n:maxdepth: 1\n:numbered: 1\n\n{entries}\n```\n", encoding="utf-8"
    )


_NOTEBOOKS = """# Notebooks

For readers who have not seen the paper, in the order in which to read them, as they were last run. `make lab` opens
them, so that you can change λ and see. They are in `theory_checks/notebooks`; `make notebooks` runs them again."""


def _write_figures(source: Path) -> None:
    if not figures():
        logger.warning("no figures below %s: run make figures first", FIGURES.relative_to(ROOT))
    folder = source / "figures"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    parts = ["# Figures\n\nEach is drawn by one command, which its methods name. A click shows the full size.\n"]
    for letter, title, sentence in THEMES:
        names = [name for name in figures() if _subject(name) == letter]
        if names:
            parts.append(f"## {title}\n\n{sentence}\n")
        for name in sorted(names, key=_place):
            for ending in (".png", ".pdf"):
                shutil.copy(FIGURES / f"{name}{ending}", folder)
            parts.append(_figure(name))
    (source / "figures.md").write_text("\n".join(parts), encoding="utf-8")


def _subject(name: str) -> str:
    by_name = [letter for start, letter in SUBJECTS.items() if name.startswith(start)]
    letters = by_name + sorted(claim[0] for claim in figures()[name])
    known = [letter for letter, *_ in THEMES]
    return next((letter for letter in letters if letter in known), "Q")


def _place(name: str) -> tuple[int, str]:
    return (NAMES.index(name) if name in NAMES else len(NAMES), name)


def _figure(name: str) -> str:
    title = name.replace("_", " ")
    caption = (FIGURES / f"{name}.txt").read_text(encoding="utf-8").strip()
    methods = FIGURES / f"{name}-methods.txt"
    folded = ""
    if methods.is_file():
        how = _text(methods.read_text(encoding="utf-8"))
        folded = f"\n<details><summary>How it was made</summary>\n\n{how}\n\n</details>\n"
    return (
        f"(fig-{name})=\n### {title[0].upper()}{title[1:]}\n\n"
        f"```{{figure}} figures/{name}.png\n:alt: {_words(caption)}\n\n"
        f"{_text(caption)} [PDF](figures/{name}.pdf)\n```\n{folded}"
    )


def _text(caption: str) -> str:
    """Return a caption as Markdown, with links to the claims that it names, and its command as code."""
    marked = re.sub(r"Command: (.*)$", r"Command: `\1`", caption.strip())
    return re.sub(r"\b([A-Z]\d+[a-z]?)\b", lambda found: _claim(found[1]), prose(marked))


def _claim(name: str) -> str:
    return f"[{name}](ledger/{name}.md)" if named(name) else name


def _words(caption: str) -> str:
    """Return what a picture shows, for those who do not see it: the first sentence, whole."""
    return re.split(r"(?<=[a-z0-9)])\. (?=[A-Z(])", caption)[0].replace("\n", " ")


def _described(notebook: str) -> str:
    """Return a notebook whose pictures are described by their own words where they cannot be seen."""
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
        # What ends in .md is named without it, as if it were a page.
        suffix = ".md" if node.get("refdomain") == "doc" else ""
        file = (folder / f"{node['reftarget']}{suffix}").resolve()
        if node["reftarget"] in app.env.found_docs or not file.is_relative_to(ROOT):
            continue
        if (node.get("reftype") == "myst" or suffix) and file.is_file():
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
