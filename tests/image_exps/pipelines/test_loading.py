"""Loading: the real code on small models of every class, and what is refused before a weight is read."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers_warnings import NUMPY_2
from PIL import Image
from safetensors.torch import load_file
from small_pipelines import save_pipeline

import lml.schedulers
from image_exps.pipelines.loading import find_source, inspect_folder, load_pipeline
from image_exps.pipelines.models import model
from image_exps.pipelines.rendering import to_bytes
from image_exps.pipelines.session import Request, open_session
from image_exps.samplers.pipeline_sampler import pipeline_sampler

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)

# A model of each class that the registry names, and the size of its pictures here.
ONE_OF_EACH = {
    "ddpm-ema-cifar10": None,
    "ldm-celebahq-256": None,
    "sd15": None,
    "sdxl": 32,
    "pixart-alpha-512": 16,
    "sd15-canny": None,
    "flux-dev": 16,
    "sd3": 32,
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Save a small pipeline of a class and return its folder; each is built once."""
    made: dict[str, Path] = {}

    def folder_for(kind: str) -> Path:
        if kind not in made:
            made[kind] = save_pipeline(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    return folder_for


@pytest.fixture
def ddpm(saved, tmp_path):
    """A copy that a test may damage."""
    return Path(shutil.copytree(saved("DDPMPipeline"), tmp_path / "ddpm"))


def request_for(name, folder, tmp_path, sampler=None, **options):
    known = model(name)
    controls = ()
    if known.controlnet:
        Image.fromarray(np.full((32, 32, 3), 90, np.uint8)).save(tmp_path / "edges.png")
        controls = (tmp_path / "edges.png",)
    return Request(
        known,
        pipeline_sampler(
            sampler or ("euler-flow/lml" if known.flow else "unipc-2/lml"), 3, {"mixing": 0.01, "damping": 0.1}
        ),
        prompts=() if known.guidance is None else ("a red fox",),
        model_dir=folder,
        size=ONE_OF_EACH[name],
        controls=controls,
        **options,
    )


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_small_model_of_each_class_draws_a_picture_of_a_seed_through_the_real_loading_code(name, saved, tmp_path):
    session = open_session(request_for(name, saved(model(name).pipeline), tmp_path))
    renderer = session.renderer(session.request.sampler)
    renderer.check_prompts(session.request.prompts)
    alone = session.draw(renderer, [1])
    beside = session.draw(renderer, [0, 1])
    assert np.isfinite(beside).all()
    # Kernels round differently for another batch size: 3 evaluations of some 50 layers, each a few units of 2^-24 of
    # numbers of order one, are 1e-5 of the range at most, and 1e-5 of 255 can move a byte by one level.
    assert np.abs(beside[1] - alone[0]).max() < 1e-4
    assert np.abs(to_bytes(beside[1]).astype(int) - to_bytes(alone[0])).max() <= 1
    # The same places in a batch of the same size give the same bits.
    assert np.array_equal(session.draw(renderer, [0, 1]), beside)
    assert np.abs(beside[0] - beside[1]).max() > 0.05


def test_a_controlnet_comes_from_a_folder_of_its_own_too(saved, tmp_path):
    whole = saved("StableDiffusionControlNetPipeline")
    plain = tmp_path / "plain"
    shutil.copytree(whole, plain, ignore=shutil.ignore_patterns("controlnet"))
    index = json.loads((plain / "model_index.json").read_text())
    index["_class_name"] = "StableDiffusionPipeline"
    del index["controlnet"]
    (plain / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="holds no ControlNet: give its folder with --controlnet-dir"):
        load_pipeline(model("sd15-canny"), plain)
    pipe = load_pipeline(model("sd15-canny"), plain, controlnet_dir=whole / "controlnet").pipe
    assert type(pipe).__name__ == "StableDiffusionControlNetPipeline"
    assert pipe.safety_checker is None


def test_what_is_not_there_is_told_with_what_to_fetch_and_where_to_put_it(tmp_path):
    with pytest.raises(ValueError, match=r"hf download stable-diffusion-v1-5/\S+ --local-dir models/sd15"):
        find_source(model("sd15"))
    with pytest.raises(
        ValueError, match=r"is not there. Put it into models/ddpm-ema-cifar10 \(.*Diff-Pruning\S+, convert"
    ):
        find_source(model("ddpm-ema-cifar10"), tmp_path / "nowhere", hub=True)
    (tmp_path / "model.ckpt").write_bytes(b"")
    with pytest.raises(ValueError, match="is a file"):
        find_source(model("sd15"), tmp_path / "model.ckpt")


def test_a_script_at_the_top_of_a_folder_that_nothing_names_is_left_alone(ddpm):
    (ddpm / "run.py").write_text("raise SystemExit")
    assert load_pipeline(model("ddpm-ema-cifar10"), ddpm).pipe.unet.dtype == torch.float32


def test_a_pickle_is_refused_and_never_read(ddpm):
    (ddpm / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    (ddpm / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"not read")
    with pytest.raises(ValueError, match=r"only diffusion_pytorch_model.bin: pickles can run code and are refused"):
        load_pipeline(model("ddpm-ema-cifar10"), ddpm)


def test_a_pickle_beside_safetensors_is_left_alone(ddpm):
    (ddpm / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"not read")
    assert load_pipeline(model("ddpm-ema-cifar10"), ddpm).pipe.unet.dtype == torch.float32


def test_code_in_the_folder_is_refused(ddpm):
    (ddpm / "unet" / "mine.py").write_text("raise SystemExit")
    with pytest.raises(ValueError, match=r"unet brings code \(mine.py\), which is never run"):
        inspect_folder(ddpm, model("ddpm-ema-cifar10"))


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"_class_name": "StableDiffusionXLPipeline"}, "holds 'StableDiffusionXLPipeline', but ddpm-ema-cifar10 is"),
        ({"_class_name": "DDPMPipeline", "unet": ["mine", "Net"]}, "takes unet from 'mine'"),
        (
            {"_class_name": "DDPMPipeline", "vae": ["diffusers", "AutoencoderKL"]},
            "is missing, not the folder of a component",
        ),
        ([], "must hold a JSON object"),
    ],
)
def test_an_index_of_something_else_is_refused(ddpm, index, message):
    (ddpm / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=message):
        inspect_folder(ddpm, model("ddpm-ema-cifar10"))


def test_a_config_that_asks_for_code_is_refused(ddpm):
    config = ddpm / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "auto_map": {"AutoModel": "x.Y"}}))
    with pytest.raises(ValueError, match="asks for code of its own"):
        inspect_folder(ddpm, model("ddpm-ema-cifar10"))


def test_a_broken_or_absent_index_is_told(ddpm):
    (ddpm / "model_index.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        inspect_folder(ddpm, model("ddpm-ema-cifar10"))
    (ddpm / "model_index.json").unlink()
    with pytest.raises(ValueError, match="is no diffusers folder"):
        inspect_folder(ddpm, model("ddpm-ema-cifar10"))


def test_half_precision_is_that_of_the_network(saved, tmp_path):
    session = open_session(request_for("sd15", saved("StableDiffusionPipeline"), tmp_path, dtype="bfloat16"))
    assert session.pipe.unet.dtype == torch.bfloat16
    assert np.isfinite(session.draw(session.renderer(session.request.sampler), [0])).all()


def test_weights_tell_two_models_of_one_name_apart(saved, ddpm, tmp_path):
    from safetensors.torch import load_file, save_file

    first = open_session(request_for("ddpm-ema-cifar10", ddpm, tmp_path)).weights
    path = ddpm / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors["conv_in.bias"] += 1
    save_file(tensors, path, metadata={"format": "pt"})
    assert open_session(request_for("ddpm-ema-cifar10", ddpm, tmp_path)).weights != first
    assert open_session(request_for("ddpm-ema-cifar10", saved("DDPMPipeline"), tmp_path)).weights == first


@pytest.mark.parametrize("scheduler", ["LMLDDIMScheduler", "LMLUniPCMultistepScheduler", "LMLSolverScheduler"])
def test_a_pipeline_saved_with_a_scheduler_of_ours_is_sampled_by_a_fresh_interpreter(scheduler, ddpm, tmp_path):
    own = getattr(lml.schedulers, scheduler).from_pretrained(ddpm, subfolder="scheduler")
    own.save_pretrained(ddpm / "scheduler")
    index = json.loads((ddpm / "model_index.json").read_text())
    index["scheduler"] = ["lml.schedulers", scheduler]
    (ddpm / "model_index.json").write_text(json.dumps(index))
    command = [sys.executable, "-m", "image_exps", "sample", "-m", "ddpm-ema-cifar10", "--model-dir", str(ddpm)]
    options = ["--sampler", "ddim/lml", "-n", "3", "--count", "1", "--out", str(tmp_path / "out")]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "trust_remote_code" not in done.stderr
    assert len(list((tmp_path / "out").rglob("*.png"))) == 1


def test_weights_that_are_there_in_half_precision_alone_are_loaded(saved, tmp_path):
    folder = Path(shutil.copytree(saved("StableDiffusionPipeline"), tmp_path / "sd"))
    for part, stem in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        (folder / part / f"{stem}.safetensors").rename(folder / part / f"{stem}.fp16.safetensors")
    pipe = load_pipeline(model("sd15"), folder).pipe
    held = load_file(folder / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    assert all(torch.equal(value, held[name]) for name, value in pipe.unet.state_dict().items())
    assert pipe.config["requires_safety_checker"] is False
    assert pipe.safety_checker is None
