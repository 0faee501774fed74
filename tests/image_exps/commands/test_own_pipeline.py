"""A folder of each kind of pipeline, with random weights: compared, tuned, sampled and timed by its path alone."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers_warnings import NUMPY_2
from image_commands import call
from small_pipelines import pixel_pipeline, save_pipeline, save_velocity

from image_exps.compare import flow, measure, strength
from image_exps.pipelines.picture_folder import read_records

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)

SIZES = {"PixArtAlphaPipeline": 16, "FluxPipeline": 16, "StableDiffusion3Pipeline": 32}
PLAIN = ("DDPMPipeline", "LDMPipeline", "v")
KINDS = (
    *PLAIN,
    pytest.param("StableDiffusionPipeline", marks=pytest.mark.slow),
    pytest.param("StableDiffusionXLPipeline", marks=pytest.mark.slow),
    "PixArtAlphaPipeline",
    pytest.param("FluxPipeline", marks=pytest.mark.slow),
    "StableDiffusion3Pipeline",
)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Few reference steps and strengths: what is tested is the way from a folder to an answer."""
    for module in (flow, measure, strength):
        monkeypatch.setattr(module, "FIRST", 4)
    monkeypatch.setattr(flow, "MOST", 8)
    monkeypatch.setattr(strength, "STRENGTHS", (0.0, 0.5))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_is_compared_tuned_and_sampled_by_its_path_alone(kind, tmp_path):
    folder = save_velocity(tmp_path) if kind == "v" else save_pipeline(kind, tmp_path)
    given = ["--model", folder, "--device", "cpu"]
    if kind not in PLAIN:
        given += ["-p", "a red fox", "-p", "fox"]
    if kind in SIZES:
        given += ["--size", SIZES[kind]]
    flow_matching = kind in ("FluxPipeline", "StableDiffusion3Pipeline")
    base = "euler-flow" if flow_matching else "ddim"

    out = tmp_path / "compared"
    done = call("compare", *given, "-n", "3", "--count", "4", "--columns", "2", "--out", out,
                "--arms", f"own, {base}@time/lml, dpm-solver++-2m@log-snr")  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads((out / "compare.json").read_text())
    (cell,) = found["cells"]
    rows = {row["arm"]: row for row in cell["rows"]}
    assert set(rows) == {"own", f"{base}@time/lml", "dpm-solver++-2m@log-snr", f"{base}@time"}
    assert all(len(row["distances"]) == 4 and row["mean"] > 0 for row in rows.values())
    assert found["model"] == str(folder)
    assert cell["advice"] in done.output
    assert all(f"    {line}" in done.output for line in cell["lines"])
    assert (out / "compare.html").stat().st_size > 4000
    assert (out / "compare.png").stat().st_size > 1000

    done = call("tune", *given, "-n", "2", "--count", "4", "--held-out", "4", "--cache", tmp_path / "cache")
    assert done.exit_code == 0, done.output
    assert "strength 0.5" in done.output
    assert "On 4 other samples, in 2 evaluations: distance" in done.output
    assert "pipe.scheduler = " in done.output

    done = call("sample", *given, "-n", "3", "--count", "2", "--out", tmp_path / "drawn")
    assert done.exit_code == 0, done.output
    assert len(read_records(tmp_path / "drawn")) == 2


def test_a_folder_is_drawn_side_by_side_and_timed(tmp_path):
    folder = save_pipeline("DDPMPipeline", tmp_path)
    assert call("grid", "-m", folder, "-n", "2", "--count", "2", "--out", tmp_path / "grid.png").exit_code == 0
    done = call("time", "-m", folder, "-n", "2", "--repetitions", "2")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("pipe, batch 1")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compare", "-m", "models/nothing"], "name must be one of fashion-mnist, emoji, galaxy-hsc-32"),
        (["compare", "-m", "."], "is no folder of a diffusers pipeline: it has no model_index.json"),
        (["compare", "-m", "FOLDER", "-n", "0"], "evaluations must be whole numbers from 1 to 200"),
        (["compare", "-m", "FOLDER", "-n", "five"], "evaluations must be whole numbers from 1 to 200"),
        (["compare", "-m", "FOLDER", "--arms", "dimm"], "base must be one of"),
        (["compare", "-m", "FOLDER", "-p", "a red fox"], "prompts mean nothing to an unconditional DDPMPipeline"),
        (["compare", "-m", "FOLDER", "--guidance", "3"], "guidance needs a model with prompts or classes"),
        (["tune"], "tune needs a TARGET"),
        (["tune", "-m", "FOLDER", "--arm", "ddim"], "arm must be base@spacing/lml without parameters"),
        (["sample", "-m", "FOLDER", "-s", "euler-flow", "--out", "OUT"], "for a model that predicts no flow"),
    ],
)
def test_what_is_wrong_is_one_sentence(words, message, tmp_path, monkeypatch):
    folder = save_pipeline("DDPMPipeline", tmp_path)
    monkeypatch.chdir(tmp_path)
    done = call(*({"FOLDER": folder, "OUT": tmp_path / "out"}.get(word, word) for word in words))
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.output


def test_a_network_of_nan_is_one_sentence(tmp_path):
    torch.manual_seed(0)
    pipe = pixel_pipeline()
    torch.nn.init.constant_(pipe.unet.conv_out.bias, float("nan"))
    pipe.save_pretrained(tmp_path / "pipe")
    done = call("compare", "-m", tmp_path / "pipe", "-n", "2", "--count", "4", "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "returns numbers that are not finite" in done.stderr
