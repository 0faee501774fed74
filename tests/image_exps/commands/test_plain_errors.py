"""Commands on models, pictures and reports that fail for a reason outside of the code: one sentence, exit status 2."""

from __future__ import annotations

import errno
import json
import os

import pytest
import torch
from generated_folder import generated_folder
from image_commands import call
from PIL import Image

from image_exps.evaluation import Result, write_results


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """Everything that the commands read, in the working folder: a model, a picture, captions and results."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    torch.save({"a": torch.ones(3)}, tmp_path / "model" / "pytorch_model.bin")
    Image.new("RGB", (16, 16)).save(tmp_path / "photo.png")
    rows = [{"id": i, "image_id": i, "caption": f"caption {i}"} for i in range(9)]
    (tmp_path / "captions.json").write_text(json.dumps({"annotations": rows}))
    generated_folder(tmp_path / "run", 2)
    write_results([Result("sd15", "ddim", 10, "FID", 1.0)], tmp_path / "run" / "results.parquet")
    return tmp_path


COMMANDS = {
    "edges": ("photo.png", "--out", "OUT.png"),
    "captions": ("--coco", "captions.json", "--count", 3, "--out", "OUT.json"),
    "report": ("run", "--out", "OUT.html"),
    "evaluate": ("run", "--out", "OUT.parquet"),
}


def words_for(command, out):
    return (command, *(str(word).replace("OUT", out) for word in COMMANDS[command]))


def fails(*words):
    """Run a command, which must print one sentence and leave with status 2; return the sentence."""
    result = call(*words)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return " ".join(result.stderr.split())


@pytest.fixture
def no_work(monkeypatch):
    """Fail where a command does what it is for."""
    for name in ("commands.edges.edges_of", "evaluation.coco.coco_captions", "evaluation.report.write_report",
                 "evaluation.scores.mean_score"):  # fmt: skip
        monkeypatch.setattr(f"image_exps.{name}", lambda *args, **options: pytest.fail("work began"))


@pytest.mark.parametrize("command", COMMANDS)
def test_an_output_below_a_file_or_that_is_a_folder_is_refused_before_work(inputs, no_work, command):
    assert "out must be a folder that can be made, photo.png is a file: give another one" in fails(
        *words_for(command, "photo.png/x")
    )
    assert "photo.png/x lies below the file photo.png: give another one" in fails(*words_for(command, "photo.png/x/y"))
    suffix = words_for(command, "taken")[-1]
    (inputs / suffix).mkdir()
    assert f"'{suffix}' is a directory" in fails(*words_for(command, "taken"))


def may_only_read(path, mode, **options):
    return not mode & os.W_OK


@pytest.mark.parametrize("command", COMMANDS)
def test_an_output_without_permission_is_refused_before_work(inputs, no_work, monkeypatch, command):
    monkeypatch.setattr(os, "access", may_only_read)
    assert "you have no permission" in fails(*words_for(command, "x"))


def full(*args, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_disk_that_fills_up_meanwhile_is_said_and_nothing_half_written_stays(inputs, monkeypatch, command):
    before = sorted(path for path in inputs.rglob("*") if not path.name.endswith(".lock"))
    monkeypatch.setattr("toy.atomic.os.replace", full)
    assert "no space is left on its disk" in fails(*words_for(command, "x"))
    assert sorted(path for path in inputs.rglob("*") if not path.name.endswith(".lock")) == before


def test_a_model_that_cannot_be_written_is_refused_before_a_pickle_is_read(inputs, monkeypatch):
    monkeypatch.setattr(os, "access", may_only_read)
    monkeypatch.setattr("image_exps.pipelines.conversion.read_tensors", lambda *a: pytest.fail("was read"))
    assert "you have no permission in model" in fails("convert", "model")
    monkeypatch.undo()


def test_a_disk_that_fills_up_while_a_model_is_converted_is_said(inputs, monkeypatch):
    monkeypatch.setattr("toy.atomic.os.replace", full)
    assert "no space is left on its disk" in fails("convert", "model")
    assert [path.name for path in (inputs / "model").iterdir()] == ["pytorch_model.bin"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("convert", "none"), "none is not there"),
        (("convert", "photo.png"), "is a file"),
        (("convert", "run"), "run has no weights to convert"),
        (("edges", "none.png", "--out", "x.png"), "none.png cannot be read as a picture: No such file or directory"),
        (("edges", "captions.json", "--out", "x.png"), "captions.json cannot be read as a picture"),
        (("edges", "photo.png", "--out", "x.jpg"), "out must be a .png file"),
        (("report", "none"), "none is not there"),
        (("report", "model"), "run evaluate or time first"),
        (("captions", "--coco", "photo.png", "--out", "x.json"), "photo.png cannot be read as UTF-8 text"),
        (("evaluate", "model"), "model has none; it holds 1 of other kinds (.bin)"),
        (("evaluate", "run", "--real", "model"), "model has none"),
        (("evaluate", "run", "--out", "captions.json"), "out must be a .parquet file"),
        (("models", "--jsn"), "No such option"),
    ],
)
def test_what_is_not_there_or_something_else_is_named(inputs, words, said):
    assert said in fails(*words)


def test_the_traceback_is_kept_where_it_is_asked_for(inputs, monkeypatch):
    monkeypatch.setenv("LML_TRACEBACK", "1")
    with pytest.raises(ValueError, match="none is not there"):
        call("convert", "none")
