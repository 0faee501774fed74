"""The hub, as a server on this machine: what --hub fetches, what it leaves, and that without it no socket is opened."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from diffusers_warnings import NUMPY_2
from fake_hub import FakeHub, serving
from image_commands import call
from small_pipelines import save_pipeline

from image_exps.pipelines.generation import generate
from image_exps.pipelines.hub import wanted_files
from image_exps.pipelines.loading import find_source, load_pipeline
from image_exps.pipelines.models import model
from image_exps.pipelines.picture_folder import read_settings
from image_exps.pipelines.session import Request
from image_exps.samplers.pipeline_sampler import pipeline_sampler

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)

SD15, CANNY, LDM = model("sd15").hub, model("sd15-canny").controlnet, model("ldm-celebahq-256").hub


class Evil:
    """A pickle that leaves a trace when it is read."""

    def __reduce__(self):
        return (os.system, (f"touch {TRACE}",))


TRACE = Path("/nowhere")


@pytest.fixture(scope="module")
def repositories(tmp_path_factory):
    """Stable Diffusion 1.5 as it is published, but small: pickles, copies in half precision and a checker beside it."""
    root = tmp_path_factory.mktemp("hub")
    whole = save_pipeline("StableDiffusionControlNetPipeline", root)
    sd = root / "sd"
    shutil.copytree(whole, sd, ignore=shutil.ignore_patterns("controlnet"))
    index = json.loads((sd / "model_index.json").read_text())
    del index["controlnet"]
    index |= {
        "_class_name": "StableDiffusionPipeline",
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
        "requires_safety_checker": True,
    }
    (sd / "model_index.json").write_text(json.dumps(index))
    for name in ("safety_checker", "feature_extractor"):
        (sd / name).mkdir()
        (sd / name / "config.json").write_text("{}")
    weights = sd / "unet" / "diffusion_pytorch_model.safetensors"
    for copy in (weights.with_suffix(".fp16.safetensors"), weights.with_suffix(".non_ema.safetensors"),
                 sd / "v1-5-pruned.safetensors", sd / "safety_checker" / "model.safetensors"):  # fmt: skip
        shutil.copyfile(weights, copy)
    (sd / "run.py").write_text("raise SystemExit")
    return {SD15: sd, CANNY: whole / "controlnet"}


def point_at(url, monkeypatch):
    """Do what HF_ENDPOINT does before the library is imported."""
    from huggingface_hub import constants

    monkeypatch.delenv("LML_OUTSIDE", raising=False)  # this hub is none from outside

    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", url)


@pytest.fixture
def hub(repositories, tmp_path, monkeypatch):
    """Serve copies that a test may change, to a cache of its own."""
    from huggingface_hub import constants

    made = {name: Path(shutil.copytree(folder, tmp_path / name)) for name, folder in repositories.items()}
    monkeypatch.setitem(globals(), "TRACE", tmp_path / "touched")
    for path in (made[SD15] / "unet" / "diffusion_pytorch_model.bin", made[SD15] / "unet" / "old.pt",
                 made[SD15] / "v1-5-pruned.ckpt"):  # fmt: skip
        path.write_bytes(pickle.dumps(Evil()))
    with serving(FakeHub(made)) as found:
        point_at(found.url, monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield found
    assert not (tmp_path / "touched").exists()


def request(**options):
    return Request(model("sd15"), pipeline_sampler("ddim", 2), prompts=("a red fox",), hub=True, **options)


def test_what_is_fetched_is_safe_and_used_and_no_more(hub, tmp_path):
    source = find_source(model("sd15"), hub=True)
    assert source.revision == hub.commit(SD15)
    names = set(hub.fetched)
    assert names == {str(p.relative_to(source.folder)) for p in source.folder.rglob("*") if p.is_file()}
    assert {n for n in names if n.endswith(".safetensors")} == {
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
    }
    assert not [n for n in names if Path(n).suffix in {".bin", ".pt", ".ckpt", ".py"} or "checker" in n]
    pipe = load_pipeline(model("sd15"), hub=True).pipe
    assert pipe.safety_checker is pipe.feature_extractor is None
    assert len(hub.fetched) == len(names)  # nothing twice


@pytest.mark.slow
def test_sample_fetches_draws_and_records_the_commit(hub, tmp_path):
    """The command in a process of its own, with the hub where HF_ENDPOINT says."""
    out = tmp_path / "out"
    told = [sys.executable, "-m", "image_exps", "sample", "-m", "sd15", "--hub", "-p", "a red fox", "-s", "ddim/lml",
            "-n", "2", "--device", "cpu", "--out", str(out)]  # fmt: skip
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    environment.pop("HF_HUB_CACHE", None)
    done = subprocess.run(told, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (out / "00000" / "000000.png").is_file()
    assert read_settings(out)["model"]["revision"] == hub.commit(SD15)


def test_a_changed_repository_is_not_mixed_with_pictures_of_before(hub, tmp_path):
    before = hub.commit(SD15)
    generate(request(), tmp_path / "out")
    merges = hub.repositories[SD15] / "tokenizer" / "tokenizer_config.json"
    merges.write_text(merges.read_text() + "\n")  # weights and scheduler as before
    with pytest.raises(ValueError, match=f"other settings \\(model.revision: '{before}', asked for '"):
        generate(request(count=2), tmp_path / "out")
    with pytest.raises(ValueError, match=r"revision must be a commit, branch or tag of .*, got 'v9'"):
        find_source(model("sd15"), hub=True, revision="v9")
    assert find_source(model("sd15"), hub=True, revision="main").revision == hub.commit(SD15)


def test_a_controlnet_is_fetched_with_the_model_that_it_stands_on(hub):
    source = find_source(model("sd15-canny"), hub=True)
    assert source.revision == f"{hub.commit(SD15)} {hub.commit(CANNY)}"
    pipe = load_pipeline(model("sd15-canny"), source.folder, controlnet_dir=source.controlnet).pipe
    assert type(pipe).__name__ == "StableDiffusionControlNetPipeline"


def test_a_repository_with_pickles_alone_is_refused_with_what_to_do(hub):
    for path in (hub.repositories[SD15] / "unet").glob("*.safetensors"):
        path.unlink()
    with pytest.raises(ValueError, match=r"weights only as pickles \(unet/\S+\).*image_exps convert models/"):
        find_source(model("sd15"), hub=True)
    assert hub.fetched == ["model_index.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unet": ["mine", "Net"]}, "takes unet from 'mine'"),
        ({"_class_name": ["mine", "Pipe"]}, "but sd15 is StableDiffusionPipeline"),
        ({"../../unet": ["diffusers", "UNet2DConditionModel"]}, "names a component '../../unet'"),
    ],
)
def test_code_from_the_hub_is_refused(hub, change, message):
    index = hub.repositories[SD15] / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        load_pipeline(model("sd15"), hub=True)


def test_what_the_hub_does_not_give_is_told_in_one_message(hub, monkeypatch):
    with pytest.raises(ValueError, match=r"ldm-celebahq-256 of the hub is not there, or not open to you"):
        find_source(model("ldm-celebahq-256"), hub=True)
    hub.closed.add(SD15)
    with pytest.raises(ValueError, match=r"accept its licence there first, then run here: hf auth login"):
        find_source(model("sd15"), hub=True)
    (hub.repositories[CANNY] / "other").mkdir()
    hub.repositories[LDM] = hub.repositories[CANNY] / "other"
    with pytest.raises(ValueError, match="holds no diffusers pipeline"):
        find_source(model("ldm-celebahq-256"), hub=True)


def test_a_hub_that_does_not_answer_is_told(tmp_path, monkeypatch):
    from huggingface_hub import constants

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        point_at(f"http://127.0.0.1:{unused.getsockname()[1]}", monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=r"of the hub cannot be had \(.*\); without a network, give --model-dir"):
        find_source(model("sd15"), hub=True)


def test_without_hub_no_socket_is_opened(repositories, tmp_path, monkeypatch):
    def refused(*arguments, **options):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refused)
    monkeypatch.setattr(socket, "create_connection", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    done = call("sample", "-m", "sd15", "--model-dir", repositories[SD15], "-p", "a red fox", "-n", 2,
                "--device", "cpu", "--out", tmp_path / "out")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out/00000/000000.png").is_file()
    assert call("sample", "-m", "sdxl", "-p", "x", "--out", tmp_path / "b").exit_code == 2


def test_a_revision_belongs_to_what_is_fetched(tmp_path):
    with pytest.raises(ValueError, match="revision belongs to a model that is fetched with --hub, got 'main'"):
        find_source(model("fashion-mnist"), revision="main")
    with pytest.raises(ValueError, match="revision belongs"):
        find_source(model("sd15"), tmp_path, hub=True, revision="main")


def test_copies_in_half_precision_are_taken_where_there_are_no_others():
    names = ["model_index.json", "unet/a.fp16.safetensors", "unet/config.json", "vae/b.safetensors", "vae/deep/c.json"]
    assert wanted_files(names, ["unet", "vae"]) == [
        "model_index.json",
        "unet/a.fp16.safetensors",
        "unet/config.json",
        "vae/b.safetensors",
    ]
