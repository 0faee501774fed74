"""T2I-CompBench: its prompts from a local clone, pictures laid out as its evaluation reads them, its scores read back.

The evaluation (``BLIPvqa_eval/BLIP_vqa.py --out_dir=FOLDER``) takes the prompt of a picture from its file name: all
before the first underscore. It sorts by the number behind the last one, and answers by place::

    FOLDER/samples/a green bench and a blue bowl_000000.png
    FOLDER/annotation_blip/vqa_result.json        [{"question_id": 0, "answer": "0.7110"}, ...]

Colour, shape and texture are all scored by BLIP-VQA, on ``examples/dataset/{color,shape,texture}_val.txt``, ten
pictures a prompt.

Source: Huang et al. 2023, T2I-CompBench, and the repository Karine-Huang/T2I-CompBench.
"""

from __future__ import annotations

import os
import shlex
import shutil
import unicodedata
from pathlib import Path

import numpy as np

from image_exps.evaluation.benchmarks import COMPBENCH_CATEGORIES
from image_exps.evaluation.folder import Generated
from image_exps.evaluation.results import Result
from image_exps.evaluation.scores import mean_interval_of
from image_exps.prompts import prompts_in
from image_exps.utils.text_files import read_json, read_text
from lml.arguments import check_choice

__all__ = ["compbench_prompts", "evaluation_command", "file_name", "lay_out", "read_scores"]

# What a file name cannot hold, or what the evaluation would cut a prompt at.
_FORBIDDEN = frozenset('/\\_\0<>:"|?*\n\r\t')

# Names that Windows keeps for devices, whatever follows a dot.
_DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{kind}{i}" for kind in ("com", "lpt") for i in range(10))})

# Longest name that file systems take, less the number and the suffix.
_LONGEST = 255 - len("_000000.png")


def compbench_prompts(clone: Path, category: str) -> tuple[str, ...]:
    """Return the validation prompts of a category, one a line of the clone's file.

    Raises:
        ValueError: for another category, or a folder that is no clone.
    """
    check_choice(category, "category", COMPBENCH_CATEGORIES)
    path = clone / "examples" / "dataset" / f"{category}_val.txt"
    try:
        found = prompts_in(read_text(path))
    except ValueError as error:
        raise ValueError(f"clone must be a clone of https://github.com/Karine-Huang/T2I-CompBench: {error}") from error
    if not found:
        raise ValueError(f"{path} holds no prompt")
    return found


def file_name(prompt: str, index: int) -> str:
    """Return the name of the picture of this index, from which the evaluation reads the prompt.

    Characters that a name cannot hold, and underscores, become spaces; a long prompt is cut at a word. What remains is
    a name on Linux, macOS and Windows, and never leads out of its folder.

    Raises:
        ValueError: for a prompt of which nothing is left.
    """
    # Categories C*: controls, formats (which can turn the direction of writing), surrogates, unassigned.
    text = "".join(" " if c in _FORBIDDEN or unicodedata.category(c).startswith("C") else c for c in prompt)
    text = " ".join(text.split()).lstrip(". ")
    first, dot, rest = text.partition(".")
    if dot and first.strip().lower() in _DEVICES:
        text = f"{first} {rest}"
    while len(text.encode()) > _LONGEST:
        shorter = text.rpartition(" ")[0]
        text = shorter or text[: len(text) // 2]
    if not text:
        raise ValueError(f"prompt must have letters that a file name can hold, got {prompt!r}")
    return f"{text}_{index:06d}.png"


def lay_out(generated: Generated, out: Path) -> int:
    """Copy the pictures of a folder to ``out/samples`` under the names that the evaluation reads; return how many.

    The folder ``samples`` appears once all pictures are in it: an interrupted copy leaves none, and is begun again.

    Raises:
        ValueError: for pictures without prompts, or a folder ``samples`` that is not empty.
    """
    samples = out / "samples"
    if samples.is_dir() and any(samples.iterdir()):
        raise ValueError(f"out must have no pictures yet, {samples} has some: every file in it would be scored")
    generated.check_prompts("T2I-CompBench")
    names = [file_name(str(prompt), index) for index, prompt in enumerate(generated.prompts)]
    partial = out / ".samples.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for file, name in zip(generated.files, names, strict=True):
        shutil.copyfile(file, partial / name)
    if samples.exists():
        samples.rmdir()  # it is empty
    os.replace(partial, samples)
    return len(names)


def evaluation_command(out: Path) -> str:
    """Return what is to be run between layout and scores; it needs a GPU and an environment of its own."""
    return f"in the clone: cd BLIPvqa_eval && python BLIP_vqa.py --out_dir={shlex.quote(str(out.resolve()))}"


def read_scores(out: Path, category: str, generated: Generated) -> Result:
    """Return the score that the evaluation left in a folder, with a bootstrap interval over prompts.

    Pictures of one prompt are not independent, so prompts are resampled with all of their pictures, of which they need
    not have equally many: some were lost, or their number is no multiple of the prompts'.

    Args:
        out: where `lay_out` wrote and the evaluation ran.
        category: of the prompts.
        generated: the pictures, for what they were made with.

    Raises:
        ValueError: if there are no scores, or not one for each picture.
    """
    check_choice(category, "category", COMPBENCH_CATEGORIES)
    path = out / "annotation_blip" / "vqa_result.json"
    if not path.exists():
        raise ValueError(f"{path} is not there yet: run the evaluation, {evaluation_command(out)}")
    try:
        answers = {int(row["question_id"]): float(row["answer"]) for row in read_json(path)}
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"{path} cannot be read ({error}): run it again, {evaluation_command(out)}") from error
    if sorted(answers) != list(range(len(generated))):
        raise ValueError(f"{path} must have one answer for each of {len(generated)} pictures, it has {len(answers)}")
    values = np.array([answers[i] for i in range(len(generated))])
    if not (np.isfinite(values).all() and (values >= 0).all() and (values <= 1).all()):
        raise ValueError(f"{path} must have answers in [0, 1], got {values.min()} to {values.max()}")
    by_prompt: dict[str | None, list[float]] = {}
    for prompt, value in zip(generated.prompts, values, strict=True):
        by_prompt.setdefault(prompt, []).append(value)
    sums, counts = np.array([(np.sum(own), len(own)) for own in by_prompt.values()]).T
    return generated.result(
        f"T2I-CB {category}",
        *mean_interval_of(sums, counts),
        higher_is_better=True,
        remark=f"{len(by_prompt)} prompts, BLIP-VQA",
    )
