"""Weights that are published as pickles become safetensors without anything of theirs being run."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers_warnings import NUMPY_2
from image_commands import call
from safetensors.torch import load_file
from small_pipelines import save_pipeline

from image_exps.pipelines.conversion import convert_folder
from image_exps.pipelines.loading import load_pipeline
from image_exps.pipelines.models import model
from image_exps.pipelines.pickled_weights import read_tensors

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


SHARD = "pytorch_model-0000{}-of-00003.bin".format


def test_shards_become_one_file_and_shared_tensors_are_written_apart(tmp_path):
    one = torch.arange(6.0).reshape(2, 3)
    e, f = torch.tensor([1 + 2j]).conj(), torch.tensor([1 + 2j]).conj().imag
    torch.save({"a": one, "b": one.T, "wide": one[:, :1].expand(2, 9)}, tmp_path / SHARD(1))
    torch.save({"c": one[1:], "d": one, "e": e}, tmp_path / SHARD(2))
    torch.save({"f": f}, tmp_path / SHARD(3))
    assert convert_folder(tmp_path) == [tmp_path / "model.safetensors"]
    found = load_file(tmp_path / "model.safetensors")
    assert sorted(found) == ["a", "b", "c", "d", "e", "f", "wide"]
    assert torch.equal(found["a"], one)
    assert torch.equal(found["b"], one.T)
    assert torch.equal(found["c"], one[1:])
    assert torch.equal(found["wide"], one[:, :1].expand(2, 9))
    assert (found["e"].tolist(), found["f"].tolist()) == ([1 - 2j], [-2.0])


def test_a_part_of_the_shards_does_not_pass_for_the_whole(tmp_path):
    index = tmp_path / "pytorch_model.bin.index.json"
    torch.save({"a": torch.ones(1)}, tmp_path / SHARD(1))
    with pytest.raises(ValueError, match=r"pytorch_model-00002-of-00003\.bin is missing: fetch the model again"):
        convert_folder(tmp_path)
    torch.save({"b": torch.ones(1)}, tmp_path / SHARD(2))
    with pytest.raises(ValueError, match=r"pytorch_model-00003-of-00003\.bin is missing: fetch the model again"):
        convert_folder(tmp_path)
    (tmp_path / SHARD(2)).unlink()
    torch.save({"z": torch.ones(1)}, tmp_path / SHARD(3))
    with pytest.raises(ValueError, match=r"pytorch_model-00002-of-00003\.bin is missing: fetch the model again"):
        convert_folder(tmp_path)
    torch.save({"a": torch.ones(1)}, tmp_path / SHARD(2))
    with pytest.raises(ValueError, match=r"-00002-of-00003\.bin holds 'a', which another shard holds too"):
        convert_folder(tmp_path)
    torch.save({"b": torch.ones(1)}, tmp_path / SHARD(2))
    index.write_text(json.dumps({"weight_map": {"a": SHARD(1), "b": SHARD(2), "c": SHARD(2), "z": SHARD(3)}}))
    with pytest.raises(ValueError, match=r"-00002-of-00003\.bin lacks the tensor 'c', its index has it there"):
        convert_folder(tmp_path)
    index.write_text(json.dumps({"weight_map": {"a": SHARD(1), "b": SHARD(4)}}))
    with pytest.raises(ValueError, match=r"pytorch_model-00004-of-00003\.bin is missing, its index names it"):
        convert_folder(tmp_path)
    index.write_text(json.dumps({"weight_map": {"a": SHARD(1), "b": SHARD(2), "z": SHARD(3)}}))
    torch.save({"b": torch.ones(1)}, tmp_path / "pytorch_model-00002-of-00002.bin")
    with pytest.raises(ValueError, match=r"must hold one set of weights, it has pytorch_model-00001-of-00003\.bin, "):
        convert_folder(tmp_path)
    (tmp_path / "pytorch_model-00002-of-00002.bin").unlink()
    assert convert_folder(tmp_path) == [tmp_path / "model.safetensors"]
    assert sorted(load_file(tmp_path / "model.safetensors")) == ["a", "b", "z"]


def test_two_sets_of_weights_are_not_mixed(tmp_path):
    for name in ("pytorch_model.bin", "diffusion_pytorch_model.bin"):
        torch.save({name: torch.ones(1)}, tmp_path / name)
    with pytest.raises(ValueError, match=r"one set of weights, it has diffusion_pytorch_model\.bin, pytorch"):
        convert_folder(tmp_path)


@pytest.mark.filterwarnings("ignore:(torch.quantize_per_tensor|ComplexHalf|TypedStorage|Sparse)")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: {3: torch.ones(1)}, r"must hold dense tensors by name, 3 is a name of type int"),
        (lambda: {"a": {"b": torch.ones(1)}}, "'a' is of type dict"),
        (lambda: {"a": torch.eye(3).to_sparse()}, r"'a' is sparse \(sparse_coo\)"),
        (lambda: {"a": torch.eye(3).to_sparse_csr()}, r"'a' is sparse \(sparse_csr\)"),
        (lambda: {"a": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)}, "'a' is quantised"),
        (lambda: {"a": torch.ones(3, device="meta")}, "'a' is without numbers"),
        (lambda: {"a": torch.ones(1, dtype=torch.complex128)}, "has no form for 'a', which is of complex128"),
        (lambda: {"a": torch.ones(1), "b": torch.ones(1).to(torch.complex32)}, "for 'b', which is of complex32"),
        (lambda: {"__metadata__": torch.ones(1)}, r"model\.safetensors cannot be written: "),
        (lambda: {"half \ud800": torch.ones(1)}, r"model\.safetensors cannot be written: "),
        (lambda: {"a": torch.ones(1).expand(10**15)}, r"it takes 4e\+06 GB, and .* GB of the disk are free"),
        (dict, "holds no tensor, and is not converted"),
        (lambda: 3, "must hold a dictionary of tensors, got int"),
    ],
)  # fmt: skip
def test_what_is_no_plain_tensor_is_told_in_one_sentence_and_nothing_stays(tmp_path, make, message):
    for part in ("unet", "vae"):
        (tmp_path / part).mkdir()
    torch.save({"a": torch.ones(1)}, tmp_path / "unet" / "pytorch_model.bin")
    torch.save(make(), tmp_path / "vae" / "pytorch_model.bin")
    before = sorted(tmp_path.rglob("*"))
    done = call("convert", tmp_path)
    assert done.exit_code == 2
    text = " ".join(done.output.split())
    assert re.search(message, text), text
    assert str(tmp_path / "vae").replace(" ", "") in done.output.replace("\n", "").replace(" ", "")
    # The first component was whole: it appears with the others or not at all.
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float16, torch.bfloat16, torch.float64,
                                   torch.complex64, torch.float8_e4m3fn])  # fmt: skip
def test_every_dtype_that_safetensors_has_comes_through(tmp_path, dtype):
    held = torch.tensor([0.0, 1.0, 2.0]).to(dtype)
    torch.save({"a": held, "scalar": held[1], "empty": held[:0]}, tmp_path / "pytorch_model.bin")
    convert_folder(tmp_path)
    found = load_file(tmp_path / "model.safetensors")
    for name, expected in {"a": held, "scalar": held[1], "empty": held[:0]}.items():
        assert (found[name].dtype, found[name].shape) == (dtype, expected.shape)
        assert found[name].view(torch.uint8).equal(expected.view(torch.uint8)) if expected.ndim else True


def test_damaged_pickles_are_told_whatever_is_broken(tmp_path):
    path = tmp_path / "pytorch_model.bin"
    torch.save({"a": torch.ones(3), "b": torch.zeros(2, 2)}, path)
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    damaged = [whole[: len(whole) // 2], b"", b"PK", b"\x80\x02", b"\x80\x02}q\x00.", whole[1:]]
    for _ in range(200):
        changed = bytearray(whole)
        for place in generator.integers(len(whole), size=8):
            changed[place] = generator.integers(256)
        damaged.append(bytes(changed))
    refused = 0  # by a ValueError that names the file: any other error ends the test
    for content in damaged:
        path.write_bytes(content)
        try:
            read_tensors(path)  # a change of a number alone is none that anybody can see
        except ValueError as error:
            refused += str(path) in str(error)
    assert refused > 50


def test_a_disk_that_is_full_is_told_before_anything_is_written(tmp_path, monkeypatch):
    torch.save({"a": torch.ones(100_000)}, tmp_path / "pytorch_model.bin")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=399_999))
    with pytest.raises(ValueError, match=r"model\.safetensors cannot be written: it takes 0.0004 GB"):
        convert_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["pytorch_model.bin"]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=400_000))
    assert convert_folder(tmp_path)


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
    with pytest.raises(ValueError, match="must hold dense tensors by name, 'step' is of type int"):
        convert_folder(folder)


def test_what_is_converted_already_is_left_alone(folder):
    convert_folder(folder)
    with pytest.raises(ValueError, match="has no weights to convert"):
        convert_folder(folder)
    with pytest.raises(ValueError, match="is not there"):
        convert_folder(folder / "none")


def test_other_names_of_weights_are_told(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "weights.bin")
    with pytest.raises(ValueError, match=r"without \.safetensors beside it; it has weights\.bin$"):
        convert_folder(tmp_path)
