"""The commands as a user meets them: help at once, pictures in a folder, and one message for what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from diffusers_warnings import NUMPY_2
from image_commands import call
from PIL import Image
from small_pipelines import save_pipeline

from image_exps.commands import _sampling_options
from image_exps.images.grid import compose
from image_exps.pipelines.picture_folder import read_records, read_settings

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    kinds = ("DDPMPipeline", "StableDiffusionPipeline")
    return {kind: save_pipeline(kind, tmp_path_factory.mktemp(kind)) for kind in kinds}


def test_help_lists_every_command_without_importing_one():
    code = (
        "import sys, click.testing, image_exps.__main__ as m;"
        "r = click.testing.CliRunner().invoke(m.main, ['--help']);"
        "assert r.exit_code == 0, r.output;"
        "assert not {'torch', 'diffusers', 'pandas'} & set(sys.modules), 'heavy';"
        "print(r.output)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for name in ("sample", "grid", "models"):
        line = next(line for line in shown.splitlines() if line.split()[:1] == [name])
        assert len(line.split()) > 3


def test_help_of_every_command_needs_no_torch():
    code = (
        "import sys, click, click.testing, image_exps.__main__ as m\n"
        "for name in m.main.list_commands(click.Context(m.main)):\n"
        "    r = click.testing.CliRunner().invoke(m.main, [name, '--help'])\n"
        "    assert r.exit_code == 0 and 'Usage' in r.output, r.output\n"
        "    assert not {'torch', 'diffusers', 'pandas'} & set(sys.modules), f'{name} is heavy'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["sample", "grid"])
def test_help_of_a_command_shows_an_example(name):
    assert f"python -m image_exps {name} -m" in call(name, "--help").output


def test_models_are_listed_with_what_the_paper_set():
    shown = call("models").output
    assert "5e-05 to 0.001" in shown
    rows = {row["name"]: row for row in json.loads(call("models", "--json").output)}
    assert rows["ddpm-ema-cifar10"]["damping"]["5"] == 0.0008
    assert rows["sd15"]["mixing"] is None


def test_sample_writes_pictures_and_their_records(folders, tmp_path):
    out = tmp_path / "out"
    arguments = ("sample", "-m", "sd15", "--model-dir", folders["StableDiffusionPipeline"], "--device", "cpu")
    arguments += ("-p", "a red fox", "-p", "../../etc/passwd", "-s", "unipc-2/lml", "-n", "3", "--out", out)
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    assert "2 pictures in" in result.stderr
    assert [r["prompt"] for r in read_records(out)] == ["a red fox", "../../etc/passwd"]
    files = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert files == [
        "out/.lock",
        "out/00000/000000.png",
        "out/00000/000001.png",
        "out/prompts.json",
        "out/records-000.jsonl",
        "out/records.parquet",
        "out/settings.json",
    ]
    assert read_settings(out)["guidance"] == 7.0
    again = call(*arguments)
    assert "0 pictures in" in again.stderr
    assert "(2 were there)" in again.stderr


def test_a_picture_that_is_not_finite_makes_the_exit_status_1(folders, tmp_path, monkeypatch):
    from image_exps.pipelines import generation

    monkeypatch.setattr(generation, "to_bytes", lambda picture: None)
    result = call("sample", "-m", "ddpm-ema-cifar10", "--model-dir", folders["DDPMPipeline"], "-n", "2", "--seed", "8",
                  "--device", "cpu", "--out", tmp_path / "out")  # fmt: skip
    assert result.exit_code == 1
    assert "not finite and were not written; seeds: 8" in result.stderr
    assert not list(tmp_path.rglob("*.png"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-m", "sd16"), "model must be one of"),
        (("-m", "sd15", "-p", "x"), "hf download stable-diffusion-v1-5"),
        (("-m", "sd15", "-s", "ddim", "--mixing", "0.1", "-p", "x"), "only of LML; use ddim/lml"),
        (("-m", "sd15", "-s", "pndm/lml", "-n", "2", "-p", "x"), "evaluations must be 3 or more"),
        (("-m", "sd15", "--damping", "strong", "-p", "x"), "must be a number or 'paper'"),
        (("-m", "sd15", "--damping", "paper", "-p", "x"), "needs mixing"),
        (("-m", "sd15", "-p", "x", "--prompt-tag", "color"), "got several"),
        (("-m", "sd15", "--prompt-tag", "colour"), "tag must be one of"),
        (("-m", "sd15", "-p", "x", "--device", "gpu"), "device must be cpu, cuda"),
        (("-m", "sd15", "-p", "x", "--control", "."), "controls: sd15 takes none"),
    ],
)
def test_what_is_wrong_is_told_in_one_message(tmp_path, arguments, message):
    result = call("sample", *arguments, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_prompts_come_from_lines_or_from_json(tmp_path):
    lines, listed, nothing = tmp_path / "a.txt", tmp_path / "b.json", tmp_path / "c.txt"
    lines.write_text("one\n\n  two\u2028words \n", encoding="utf-8")
    listed.write_text('["one", "two\\u2028words"]')
    nothing.write_text("\n")
    expected = ("one", "two\u2028words")
    assert (
        _sampling_options.read_prompts((), lines, None) == _sampling_options.read_prompts((), listed, None) == expected
    )
    assert len(_sampling_options.read_prompts((), None, "all")) == 944
    with pytest.raises(ValueError, match="holds none"):
        _sampling_options.read_prompts((), nothing, None)
    listed.write_text('{"a": 1}')
    with pytest.raises(ValueError, match="must hold a JSON list"):
        _sampling_options.read_prompts((), listed, None)
    lines.write_bytes(b"\xff")
    with pytest.raises(ValueError, match="cannot be read as UTF-8"):
        _sampling_options.read_prompts((), lines, None)


def test_grid_shows_the_pictures_of_sample_side_by_side(folders, tmp_path):
    where = ("-m", "ddpm-ema-cifar10", "--model-dir", folders["DDPMPipeline"], "--device", "cpu", "--seed", "3")
    grid = call("grid", *where, "-s", "ddim:2,ddim/lml", "-n", "4", "--count", "3", "--mixing", "0.001",
                "--out", tmp_path / "grid.png")  # fmt: skip
    assert grid.exit_code == 0, grid.output
    sample = call("sample", *where, "-s", "ddim/lml", "-n", "4", "--count", "3", "--mixing", "0.001",
                  "--out", tmp_path / "out")  # fmt: skip
    assert sample.exit_code == 0, sample.output
    with Image.open(tmp_path / "grid.png") as opened:
        sheet = np.asarray(opened)
    with Image.open(tmp_path / "out/00000/000002.png") as opened:
        picture = np.asarray(opened)
    zoomed = picture.repeat(8, 0).repeat(8, 1)
    height, width = zoomed.shape[:2]
    assert np.array_equal(sheet[-2 - height : -2, -2 - width : -2], zoomed)


@pytest.mark.parametrize(
    ("samplers", "message"),
    [("ddim,dimm", "base must be one of ddim"), ("ddim:few", "must be a whole number"), ("heun:4", "odd numbers")],
)
def test_a_bad_row_of_a_grid_is_told(tmp_path, samplers, message):
    result = call("grid", "-m", "fashion-mnist", "-s", samplers, "--out", tmp_path / "grid.png")
    assert result.exit_code == 2
    assert message in result.stderr


def test_more_prompts_than_columns_are_refused_before_anything_is_drawn(tmp_path):
    result = call("grid", "-m", "sd15", "--prompt-tag", "all", "--out", tmp_path / "grid.png")
    assert result.exit_code == 2
    assert "prompts must be at most 64, a column each, or --count given, got 944" in " ".join(result.stderr.split())


def test_a_folder_of_controls_gives_its_pictures_and_no_hidden_files(tmp_path):
    for name in ("b.png", "a.png", ".DS_Store"):
        (tmp_path / name).touch()
    alone, empty = tmp_path / "deep" / "c.png", tmp_path / "empty"
    alone.parent.mkdir()
    alone.touch()
    empty.mkdir()
    found = _sampling_options._pictures_in([alone, tmp_path])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["deep/c.png", "a.png", "b.png", "deep/c.png"]
    with pytest.raises(ValueError, match=r"controls: folder must hold pictures .*empty has none"):
        _sampling_options._pictures_in([empty])


def test_options_of_lml_that_no_row_has_are_refused(tmp_path):
    result = call(
        "grid",
        "-m",
        "fashion-mnist",
        "-s",
        "ddim,unipc-2:5",
        "--mixing",
        "0.1",
        "--out",
        tmp_path / "grid.png",
    )
    assert result.exit_code == 2
    assert "mixing: only of LML, and no row has it, got samplers 'ddim,unipc-2:5'" in " ".join(result.stderr.split())


def test_a_grid_crosses_out_what_is_not_finite():
    grey = np.full((64, 64, 1), 128, np.uint8)
    sheet = np.asarray(compose([[grey, None]], ["row"], ["first", "a much longer head than fits"]))
    assert (sheet[-40, -66 - 2 - 10] == 128).all()
    assert tuple(sheet[-3, -3]) == (255, 0, 0)
    with pytest.raises(ValueError, match="no picture that is finite"):
        compose([[None]], ["row"], ["head"])
    with pytest.raises(ValueError, match="rows must be 1 of 2"):
        compose([[grey]], ["row"], ["a", "b"])
