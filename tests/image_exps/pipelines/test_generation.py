"""Sampling at scale: the same files whatever the processes, the count and the interruptions."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers_warnings import NUMPY_2
from small_pipelines import save_pipeline

from image_exps.pipelines.generation import generate
from image_exps.pipelines.models import model
from image_exps.pipelines.picture_folder import read_records, read_settings
from image_exps.pipelines.session import Request, Session
from image_exps.samplers.pipeline_sampler import pipeline_sampler
from image_exps.utils.process_locks import only_processes
from image_exps.utils.processes import Process

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_pipeline("DDPMPipeline", tmp_path_factory.mktemp("ddpm"))


@pytest.fixture
def ask(weights):
    def request(**options):
        settings = {"count": 7, "batch": 3, "threads": 1, "seed": 5, **options}
        return Request(model("ddpm-ema-cifar10"), pipeline_sampler("ddim/lml", 3), model_dir=weights, **settings)

    return request


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def pictures(folder):
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*.png")}


@pytest.fixture
def whole(ask, tmp_path):
    generate(ask(), tmp_path / "whole")
    return pictures(tmp_path / "whole")


def test_one_process_or_two_make_the_same_files(ask, whole, tmp_path):
    for rank in (1, 0):
        outcome = generate(ask(), tmp_path / "two", Process(rank, 2))
    assert outcome.complete
    assert pictures(tmp_path / "two") == whole
    assert len(whole) == 7
    for name in ("settings.json", "records.parquet"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_larger_count_adds_pictures_and_changes_none(ask, whole, tmp_path):
    generate(ask(count=4), tmp_path / "grown")
    outcome = generate(ask(), tmp_path / "grown")
    assert (outcome.made, outcome.kept) == (4, 3)  # batch 3 .. 5 had one of its three
    assert pictures(tmp_path / "grown") == whole


def test_a_second_run_has_nothing_to_do(ask, tmp_path):
    generate(ask(), tmp_path)
    outcome = generate(ask(), tmp_path)
    assert (outcome.made, outcome.kept, outcome.complete) == (0, 7, True)


def test_a_damaged_picture_is_drawn_again_and_named(ask, whole, tmp_path):
    generate(ask(), tmp_path / "damaged")
    path = tmp_path / "damaged/00000/000004.png"
    path.write_bytes(path.read_bytes()[:-30])
    outcome = generate(ask(), tmp_path / "damaged")
    assert (outcome.made, outcome.kept, outcome.complete) == (3, 4, True)
    assert outcome.damaged == ("00000/000004.png",)
    assert pictures(tmp_path / "damaged") == whole


def test_processes_of_two_numbers_do_not_share_a_folder_at_once(ask, whole, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with only_processes(out, Process(1, 2)):
        with pytest.raises(ValueError, match="written right now by process 1 of 2, and this is 0 of 1"):
            generate(ask(), out)
        generate(ask(), out, Process(0, 2))  # of the same number
    assert generate(ask(), out).complete  # and now one that is alone goes on
    assert pictures(out) == whole


def test_a_picture_is_that_of_its_seed_wherever_it_stands(ask, tmp_path):
    generate(ask(count=3), tmp_path / "a")
    generate(ask(count=3, seed=5 + 3), tmp_path / "b")
    generate(ask(count=6), tmp_path / "c")
    one = pictures(tmp_path / "a")
    two = pictures(tmp_path / "b")
    both = pictures(tmp_path / "c")
    assert [both[f"00000/{i:06d}.png"] for i in range(3)] == [one[f"00000/{i:06d}.png"] for i in range(3)]
    assert [both[f"00000/{i:06d}.png"] for i in range(3, 6)] == [two[f"00000/{i:06d}.png"] for i in range(3)]
    assert len(set(both.values())) == 6


def test_every_setting_and_version_is_written(ask, tmp_path):
    generate(ask(), tmp_path)
    settings = read_settings(tmp_path)
    assert settings["scheduler"]["class"] == "LMLDDIMScheduler"
    assert settings["scheduler"]["mixing"] == 5e-4
    assert settings["versions"]["torch"] == torch.__version__
    assert str(tmp_path) not in json.dumps(settings)


@pytest.mark.parametrize("change", [{"seed": 6}, {"batch": 4}, {"threads": 2}])
def test_a_folder_of_other_settings_is_refused(ask, tmp_path, change):
    generate(ask(), tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(ValueError, match=next(iter(change))):
        generate(ask(**change), tmp_path)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_picture_that_is_not_finite_is_told_by_its_seed_and_not_written(ask, tmp_path, monkeypatch):
    draw = Session.draw

    def spoiled(self, renderer, indices):
        drawn = draw(self, renderer, indices)
        for place, index in enumerate(indices):
            if index == 4:
                drawn[place, 0, 0, 0] = np.nan
        return drawn

    monkeypatch.setattr(Session, "draw", spoiled)
    outcome = generate(ask(), tmp_path)
    assert outcome.not_finite == (9,)
    assert outcome.complete
    assert "00000/000004.png" not in pictures(tmp_path)
    assert [r["seed"] for r in read_records(tmp_path) if not r["finite"]] == [9]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count must be a positive integer, got 0"),
        ({"batch": 0}, "batch must be"),
        ({"seed": -1}, "seed must be"),
        ({"guidance": 3.0}, "guidance: ddpm-ema-cifar10 takes no prompts"),
        ({"size": 12}, "size must be a positive multiple of 8"),
        ({"threads": 0}, "threads must be"),
        ({"controls": (Path("x"),)}, "controls: ddpm-ema-cifar10 takes none"),
    ],
)
def test_a_bad_request_is_refused_before_anything_is_loaded(ask, options, message):
    with pytest.raises(ValueError, match=message):
        ask(**options)


def test_prompts_for_an_unconditional_model_are_refused(ask, tmp_path):
    with pytest.raises(ValueError, match="prompts mean nothing to an unconditional DDPMPipeline"):
        generate(ask(prompts=("a fox",)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


COMMON = ["--model", "ddpm-ema-cifar10", "--sampler", "ddim/lml", "-n", "3"]
COMMON += ["--batch", "3", "--threads", "1", "--seed", "5", "--device", "cpu"]


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


@pytest.mark.slow
def test_kill_9_loses_the_batch_in_flight_and_repeats_none(ask, weights, tmp_path):
    count, out = 300, tmp_path / "killed"
    command = [sys.executable, "-m", "image_exps", "sample", *COMMON, "--model-dir", str(weights)]
    command += ["--count", str(count), "--out", str(out)]
    kept = 0
    for _ in range(3):
        running = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while len(read_records(out) if out.exists() else ()) < kept + 6 and time.monotonic() < deadline:
            time.sleep(0.01)
        running.send_signal(signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL
        assert len(read_records(out)) >= kept + 6
        kept = len(read_records(out))
        # At most the pictures of one batch are there without a record.
        assert len(pictures(out)) - kept in range(4)
    assert kept < count
    generate(ask(count=count), out)
    lines = (out / "records-000.jsonl").read_text().splitlines()
    assert sorted(p["index"] for line in lines for p in json.loads(line)["pictures"]) == list(range(count))
    generate(ask(count=count), tmp_path / "whole")
    assert pictures(out) == pictures(tmp_path / "whole")
    assert [path.name for path in out.rglob(".*")] == [".lock"]


@pytest.mark.slow
def test_accelerate_launch_with_two_processes_makes_the_files_of_one(ask, weights, whole, tmp_path):
    accelerate = Path(sys.executable).with_name("accelerate")
    launch = ["launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    command = [str(accelerate), *launch, "-m", "image_exps", "sample", *COMMON, "--model-dir", str(weights)]
    command += ["--count", "7", "--out", str(tmp_path / "two")]
    subprocess.run(command, env=environment(), check=True, capture_output=True, cwd=tmp_path, timeout=300)
    assert pictures(tmp_path / "two") == whole
    assert {p.name for p in (tmp_path / "two").glob("records-*.jsonl")} == {"records-000.jsonl", "records-001.jsonl"}
