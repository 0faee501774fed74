"""Weights that are published as pickles become safetensors without anything of theirs being run."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from diffusers_warnings import NUMPY_2
from image_commands import call
from small_pipelines import save_pipeline

from image_exps.pipelines.conversion import convert_folder
from image_exps.pipelines.loading import load_pipeline
from image_exps.pipelines.models import model

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A latent model as CompVis publishes it: pickles, and a script at the top."""
    folder = save_pipeline("LDMPipeline", tmp_path_factory.mktemp("ldm"), safe_serialization=False)
    (folder / "run.py").write_text("raise SystemExit")
    return folder


@pytest.fixture
def folder(published, tmp_path):
    return Path(shutil.copytree(published, tmp_path / "ldm"))


def test_a_model_that_is_published_as_pickles_loads_once_it_is_converted(folder):
    with pytest.raises(ValueError, match=rf"pickles can run code .* image_exps convert {folder}"):
        load_pipeline(model("ldm-celebahq-256"), folder)
    done = call("convert", folder)
    assert done.exit_code == 0, done.output
    assert done.output.split() == [
        str(folder / part / "diffusion_pytorch_model.safetensors") for part in ("unet", "vqvae")
    ]
    loaded = load_pipeline(model("ldm-celebahq-256"), folder).pipe.unet.state_dict()
    held = torch.load(folder / "unet" / "diffusion_pytorch_model.bin", weights_only=True)
    assert loaded.keys() == held.keys()
    assert all(torch.equal(loaded[name], held[name]) for name in held)


def test_shards_become_one_file_and_shared_tensors_are_written_apart(tmp_path):
    one = torch.arange(6.0).reshape(2, 3)
    torch.save({"a": one, "b": one.T}, tmp_path / "pytorch_model-00001-of-00002.bin")
    torch.save({"c": one[1:]}, tmp_path / "pytorch_model-00002-of-00002.bin")
    from safetensors.torch import load_file

    assert convert_folder(tmp_path) == [tmp_path / "model.safetensors"]
    found = load_file(tmp_path / "model.safetensors")
    assert torch.equal(found["b"], one.T)
    assert torch.equal(found["c"], one[1:])


def test_a_pickle_with_code_is_refused_and_not_run(folder):
    class Evil:
        def __reduce__(self):
            return (os.system, (f"touch {folder / 'touched'}",))

    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps({"a": Evil()}, protocol=2))
    with pytest.raises(ValueError, match="holds something else than weights, and is not converted"):
        convert_folder(folder)
    assert not (folder / "touched").exists()
    assert not list(folder.rglob("*.safetensors"))
    torch.save({"step": 3}, folder / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(ValueError, match="must hold a dictionary of tensors"):
        convert_folder(folder)


def test_what_is_converted_already_is_left_alone(folder):
    convert_folder(folder)
    with pytest.raises(ValueError, match="has no weights to convert"):
        convert_folder(folder)
    with pytest.raises(ValueError, match="is not there"):
        convert_folder(folder / "none")
