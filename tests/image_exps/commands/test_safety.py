"""What comes from outside stays inside: prompts reach no path, a picture of NaN is reported and never written."""

from __future__ import annotations

import json
import math

import pytest
from diffusers_warnings import NUMPY_2
from image_commands import call
from safetensors.torch import load_file, save_file
from small_pipelines import save_pipeline

from image_exps.pipelines.picture_folder import read_records

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)

#: Prompts that are names of something on one system or another, or none on any.
HOSTILE = ["../../outside", "/etc/passwd", "C:\\Windows\\win.ini", "\\\\server\\share", "CON", "nul.png", "a\0b", "~",
           "$(touch touched)", "`touch touched`", "-rf", "\u202egnp.exe", "\U0001f98a" * 500, "x" * 5000, "e\u0301",
           "<script>alert(1)</script>", "a\nb", "%2e%2e%2f"]  # fmt: skip


@pytest.fixture(scope="module")
def stable_diffusion(tmp_path_factory):
    return save_pipeline("StableDiffusionPipeline", tmp_path_factory.mktemp("sd"))


def test_hostile_prompts_are_drawn_evaluated_and_reported_within_their_folders(stable_diffusion, tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    (work / "prompts.json").write_text(json.dumps(HOSTILE))
    done = call("sample", "-m", "sd15", "--model-dir", stable_diffusion, "--device", "cpu", "-n", 1,
                "-s", "ddim", "--batch", 6, "--prompts", "prompts.json", "--out", "out/run")  # fmt: skip
    assert done.exit_code == 0, done.output
    records = read_records(work / "out/run")
    assert [r["prompt"] for r in records] == [p.strip() for p in HOSTILE]
    assert {r["file"] for r in records} == {f"00000/{i:06d}.png" for i in range(len(HOSTILE))}
    assert call("evaluate", "out/run", "--compbench", "color", "--compbench-dir", "out/bench").exit_code == 0
    samples = list((work / "out/bench/samples").iterdir())
    assert len(samples) == len(HOSTILE)
    assert all(path.is_file() and path.parent == work / "out/bench/samples" for path in samples)
    assert call("evaluate", "out/run").exit_code == 0
    assert call("report", "out/run").exit_code == 0
    assert "<script>" not in (work / "out/run/report.html").read_text(encoding="utf-8")
    assert sorted(p.name for p in work.iterdir()) == ["out", "prompts.json"]
    assert [p.name for p in tmp_path.iterdir()] == ["work"]


@pytest.mark.parametrize("prompt", ["\ud800", "half \udfff"])
def test_half_a_character_is_refused_before_anything_is_loaded(tmp_path, prompt):
    (tmp_path / "prompts.json").write_text(json.dumps([prompt]))
    done = call("sample", "-m", "sd15", "--prompts", tmp_path / "prompts.json", "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "must be Unicode text" in done.output
    assert not (tmp_path / "out").exists()


def test_a_mark_at_the_beginning_of_a_file_of_prompts_is_no_part_of_the_first(stable_diffusion, tmp_path):
    (tmp_path / "prompts.txt").write_bytes(b"\xef\xbb\xbfa red fox\r\na fox\r\n")
    done = call("sample", "-m", "sd15", "--model-dir", stable_diffusion, "--device", "cpu", "-n", 1,
                "-s", "ddim", "--prompts", tmp_path / "prompts.txt", "--out", tmp_path / "out")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert [r["prompt"] for r in read_records(tmp_path / "out")] == ["a red fox", "a fox"]


def test_pictures_of_a_network_that_gives_nan_are_told_with_their_seeds_and_never_written(tmp_path):
    folder = save_pipeline("DDPMPipeline", tmp_path)
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights["conv_out.bias"][0] = math.nan
    save_file(weights, path, metadata={"format": "pt"})
    arguments = ("sample", "-m", "ddpm-ema-cifar10", "--model-dir", folder, "--device", "cpu", "-n", 2,
                 "--seed", 40, "--count", 3, "--batch", 2, "--out", tmp_path / "out")  # fmt: skip
    done = call(*arguments)
    assert done.exit_code == 1
    assert "not finite and were not written; seeds: 40, 41, 42" in " ".join(done.stderr.split())
    assert not list(tmp_path.rglob("*.png"))
    assert [(r["seed"], r["file"]) for r in read_records(tmp_path / "out")] == [(40, None), (41, None), (42, None)]
    scored = call("evaluate", tmp_path / "out")
    assert scored.exit_code == 2
    assert "must hold finished pictures" in " ".join(scored.output.split())
