"""What goes wrong outside of the code is one sentence that names the file, and the same command goes on later."""

from __future__ import annotations

import errno
import os

import pytest
from click.testing import CliRunner
from diffusers_warnings import NUMPY_2
from generated_folder import generated_folder
from image_commands import call
from small_pipelines import save_pipeline
from tiny_recipe import TINY

from image_exps.training.__main__ import main as training
from image_exps.training.recipes import RECIPES

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)

SWEEP = """
name = "small"
repeats = 20
[[part]]
targets = ["ring-2d"]
arms = ["ddim"]
evaluations = [3]
count = 20
distances = ["energy"]
"""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    save_pipeline("DDPMPipeline", folder)
    (folder / "small.toml").write_text(SWEEP)
    generated_folder(folder / "pictures")
    return folder


@pytest.fixture
def commands(inputs, tmp_path, monkeypatch):
    """Return what each command is asked, in folders of this test."""
    monkeypatch.setitem(RECIPES, "emoji", TINY)
    model = ("-m", "ddpm-ema-cifar10", "--model-dir", inputs / "pipe", "--device", "cpu", "-n", "2")
    return {
        "sample": ("sample", *model, "--count", "4", "--batch", "2", "--out", tmp_path / "pictures"),
        "grid": ("grid", *model, "-s", "ddim", "--count", "2", "--out", tmp_path / "grid.png"),
        "sweep": ("sweep", inputs / "small.toml", "--workers", "1", "--cache", tmp_path / "ends",
                  "--out", tmp_path / "sweep"),
        "evaluate": ("evaluate", inputs / "pictures", "--repeats", "10", "--out", tmp_path / "results.parquet"),
        "time": ("time", "-m", "fashion-mnist", "-n", "2", "-r", "1", "--device", "cpu",
                 "--out", tmp_path / "t.parquet"),
        "training": ("emoji", "--steps", "1", "--out", tmp_path / "run"),
    }  # fmt: skip


WRITTEN = {
    "sample": "pictures/settings.json",
    "grid": "grid.png",
    "sweep": "sweep/sweep.json",
    "evaluate": "results.parquet",
    "time": "t.parquet",
    "training": "run/checkpoint.pt",
}


def asked(words):
    return CliRunner().invoke(training, [str(word) for word in words]) if words[0] == "emoji" else call(*words)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_disk_that_is_full_is_one_sentence_with_the_file_and_nothing_half_is_left(
    name, commands, tmp_path, monkeypatch
):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        result = asked(commands[name])
    assert result.exit_code == 2, result.output
    last = result.output.splitlines()[-1]
    assert (
        last == f"Error: {tmp_path / WRITTEN[name]}: no space is left on its disk: free some, or choose another place"
    )
    assert "Traceback" not in result.output
    assert not (tmp_path / WRITTEN[name]).exists()
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".unfinished"]
    assert asked(commands[name]).exit_code == 0  # the disk has space again
    assert (tmp_path / WRITTEN[name]).is_file()


@pytest.mark.parametrize("name", WRITTEN)
def test_an_output_below_a_file_is_refused_before_any_work(name, commands, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    words = list(commands[name])
    words[-1] = tmp_path / "file" / words[-1].name
    monkeypatch.setattr("toy.atomic.atomic", lambda path: pytest.fail("work began"))
    result = asked(words)
    assert result.exit_code == 2
    assert f"Error: out must be a folder that can be made, {tmp_path}" in result.output
    assert result.output.strip().splitlines()[-1].endswith("give another one")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", WRITTEN)
def test_no_permission_is_said_before_any_work(name, commands, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode, **options: not mode & os.W_OK)
    result = asked(commands[name])
    assert result.exit_code == 2
    assert f"you have no permission in {tmp_path}: change that, or give another one" in result.output
    assert not list(tmp_path.iterdir())


def test_a_cut_off_table_of_results_is_named(commands, tmp_path):
    assert call(*commands["evaluate"]).exit_code == 0
    path = tmp_path / "results.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    for words in (commands["evaluate"], ("table", path), ("report", path.parent)):
        result = call(*words)
        assert result.exit_code == 2, words
        assert str(path) in result.output
        assert "Traceback" not in result.output


def test_a_damaged_picture_is_drawn_again_and_said(commands, tmp_path):
    assert call(*commands["sample"]).exit_code == 0
    path = tmp_path / "pictures/00000/000003.png"
    before = path.read_bytes()
    path.write_bytes(before[:-20])
    result = call(*commands["sample"])
    assert result.exit_code == 0
    assert "1 recorded pictures were missing or damaged (00000/000003.png); they were drawn again" in result.stderr
    assert path.read_bytes() == before


def test_half_of_what_a_launcher_sets_is_refused_before_any_work(commands, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.delenv("RANK", raising=False)
    result = call(*commands["sample"])
    assert result.exit_code == 2
    assert "the environment has WORLD_SIZE=4 and no RANK: set it, or unset WORLD_SIZE" in result.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sample", "--count", str(10**15)), "1000000000000000 is not in the range 1<=x<=10000000"),
        (("sample", "--batch", str(10**9)), "is not in the range 1<=x<=10000"),
        (("sample", "-n", str(10**9)), "is not in the range 1<=x<=10000"),
        (("sample", "--seed", str(2**64)), "is not in the range 0<=x<="),
        (("sample", "--threads", str(10**9)), "is not in the range 1<=x<=1024"),
        (("sample", "--size", str(10**9)), "is not in the range 1<=x<=16384"),
        (("grid", "-s", f"ddim:{10**9}"), "the budget of ddim must be at most 10000, got 1000000000"),
        (("tune", "--count", str(10**15)), "is not in the range 2<=x<=1000000"),
        (("tune", "--seeds", str(10**15)), "is not in the range 1<=x<=10000"),
        (("tune", "--iterations", str(10**15)), "is not in the range 1<=x<=10000"),
        (("time", "--repetitions", str(10**15)), "is not in the range 1<=x<=1000000"),
        (("time", "-n", str(10**15)), "evaluations must be numbers from 1 to 10000 separated by commas"),
        (("sweep", "--workers", str(10**9)), "is not in the range 1<=x<=1024"),
    ],
)
def test_what_would_never_end_is_refused(words, message, tmp_path):
    rest = {
        "sample": ("-m", "fashion-mnist", "--out", tmp_path / "x"),
        "grid": ("-m", "fashion-mnist", "--out", tmp_path / "x.png"),
        "tune": ("digits",),
        "sweep": ("quick",),
    }
    result = call(*words, *rest.get(words[0], ()))
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_prompts_that_are_nested_too_deep_are_named(tmp_path):
    file = tmp_path / "prompts.json"
    file.write_text("[" * 100_000 + "]" * 100_000)
    result = call("sample", "-m", "sd15", "--prompts", file, "--out", tmp_path / "x")
    assert result.exit_code == 2
    assert f"{file} cannot be read as JSON: it is nested too deeply" in result.output
