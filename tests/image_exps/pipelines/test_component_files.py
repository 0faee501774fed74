"""Files that an index or a configuration names: plain safetensors of their own folder, whatever a publisher wrote.

Where a loader could be led to a pickle, there is one here that leaves a mark when it is opened.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers_warnings import NUMPY_2
from safetensors.torch import load_file, save_file
from small_pipelines import save_pipeline

from image_exps.pipelines.component_files import check_component
from image_exps.pipelines.loading import find_source, inspect_folder, load_pipeline
from image_exps.pipelines.models import model

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)

SD15 = model("sd15")
# The components of Stable Diffusion with weights, by the library that loads them, and how it names their files.
UNET, TEXT = ("unet", "diffusion_pytorch_model"), ("text_encoder", "model")


class Evil:
    """A pickle that leaves a mark where it is opened."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_pipeline("StableDiffusionPipeline", tmp_path_factory.mktemp("sd"))


@pytest.fixture
def folder(saved, tmp_path):
    """A copy that a test may change; a pickle that a loader opened would have left its mark."""
    made = Path(shutil.copytree(saved, tmp_path / "sd"))
    (tmp_path / "outside.bin").write_bytes(pickle.dumps(Evil(tmp_path / "mark")))
    yield made
    assert not (tmp_path / "mark").exists()


def plant(folder, name):
    """Put the pickle into a model's folder or one within, under a name."""
    pickled = next(above / "outside.bin" for above in folder.parents if (above / "outside.bin").exists())
    shutil.copyfile(pickled, folder / name)


def shard(folder, stem, name, *, variant=""):
    """Make the weights of a component one shard, which an index says to be in the file of this name."""
    weights = folder / f"{stem}.safetensors"
    tensors = load_file(weights)
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(tensors, name)}
    (folder / f"{stem}.safetensors.index{variant}.json").write_text(json.dumps(index))
    return weights


def test_the_pickle_of_these_tests_leaves_a_mark_when_it_is_opened(tmp_path):
    pickle.loads(pickle.dumps(Evil(tmp_path / "mark")))
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize(("part", "stem"), [UNET, TEXT])
@pytest.mark.parametrize(
    "name",
    [
        "weights.bin",
        "weights.safetensors.bin",
        "../outside.bin",
        "../../outside.bin",
        "../../outside.safetensors",
        "ABSOLUTE",
        "sub/weights.safetensors",
        "..\\outside.safetensors",
        "weights\0.safetensors",
        ".safetensors",
        "C:weights.safetensors",
        7,
        None,
        ["weights.safetensors"],
    ],
)
def test_weights_that_an_index_has_elsewhere_or_in_a_pickle_are_refused(folder, part, stem, name):
    where = folder / part
    plant(where, "weights.bin")
    plant(where, "weights.safetensors.bin")
    whole = shard(where, stem, str(folder.parent / "outside.safetensors") if name == "ABSOLUTE" else name)
    shutil.copyfile(whole, folder.parent / "outside.safetensors")
    (where / "sub").mkdir()
    shutil.copyfile(whole, where / "sub" / "weights.safetensors")
    whole.rename(where / "other.safetensors")
    with pytest.raises(ValueError, match=r"index\.json names weights .*: they must be \.safetensors files of its fold"):
        load_pipeline(SD15, folder)


@pytest.mark.parametrize(("part", "stem"), [UNET, TEXT])
def test_an_index_of_a_variant_is_checked_too(folder, part, stem):
    plant(folder / part, "weights.bin")
    for name in (f"{stem}.safetensors.index.fp16.json", f"{stem}.fp16.safetensors.index.json"):
        shard(folder / part, stem, "weights.bin")
        (folder / part / f"{stem}.safetensors.index.json").rename(folder / part / name)
        with pytest.raises(ValueError, match=r"fp16.*names weights 'weights.bin'"):
            load_pipeline(SD15, folder)
        (folder / part / name).unlink()


@pytest.mark.parametrize(("part", "stem"), [UNET, TEXT])
def test_shards_are_loaded_and_a_missing_shard_or_tensor_is_told(folder, part, stem):
    where = folder / part
    whole = where / f"{stem}.safetensors"
    tensors = load_file(whole)
    names = sorted(tensors)
    halves = names[: len(names) // 2], names[len(names) // 2 :]
    files = [f"{stem}-{i}-of-00002.safetensors" for i in ("00001", "00002")]
    for file, half in zip(files, halves, strict=True):
        save_file({name: tensors[name] for name in half}, where / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {n: f for f, half in zip(files, halves, strict=True) for n in half}}
    (where / f"{stem}.safetensors.index.json").write_text(json.dumps(index))
    whole.unlink()
    loaded = getattr(load_pipeline(SD15, folder).pipe, part).state_dict()
    assert all(torch.equal(loaded[name], tensors[name]) for name in names)
    save_file({name: tensors[name] for name in halves[1][1:]}, where / files[1], metadata={"format": "pt"})
    with pytest.raises(ValueError, match=rf"{files[1]} lacks the tensor {halves[1][0]}: fetch the model again"):
        load_pipeline(SD15, folder)
    (where / files[1]).unlink()
    with pytest.raises(ValueError, match=rf"names {files[1]}, which is not there: fetch the model again"):
        load_pipeline(SD15, folder)


@pytest.mark.parametrize(("part", "stem"), [UNET, TEXT])
def test_weights_that_are_missing_are_never_filled_with_random_numbers(folder, part, stem):
    path = folder / part / f"{stem}.safetensors"
    tensors = load_file(path)
    gone = sorted(tensors)[3]
    save_file({k: v for k, v in tensors.items() if k != gone}, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=rf"{part} has not the weights of a \w+: 1 missing keys, first {gone}\."):
        load_pipeline(SD15, folder)
    save_file({**tensors, gone: torch.zeros(3, 5)}, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=rf"{part} (cannot be loaded as|has not the weights of)"):
        load_pipeline(SD15, folder)


@pytest.mark.parametrize(("part", "stem"), [UNET, TEXT])
@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n", "half"])
def test_a_truncated_file_of_weights_is_named(folder, part, stem, content):
    path = folder / part / f"{stem}.safetensors"
    path.write_bytes(path.read_bytes()[:-7] if content == "half" else content)
    with pytest.raises(ValueError, match=rf"{part}/{stem}\.safetensors cannot be read as safetensors .*: fetch it"):
        load_pipeline(SD15, folder)


@pytest.mark.parametrize(("part", "stem"), [UNET, TEXT])
def test_a_pickle_that_is_called_safetensors_is_refused(folder, part, stem):
    plant(folder / part, f"{stem}.safetensors")
    with pytest.raises(ValueError, match="cannot be read as safetensors"):
        load_pipeline(SD15, folder)


def test_pickles_beside_the_weights_are_left_alone(folder):
    for part, stem in (UNET, TEXT, ("vae", "diffusion_pytorch_model")):
        for name in (f"{stem}.bin", "pytorch_model.bin", "spk_dict.pt", "adapter_model.bin", "vocab.pkl"):
            plant(folder / part, name)
        (folder / part / f"{stem}.bin.index.json").write_text('{"weight_map": {"a": "pytorch_model.bin"}}')
    plant(folder / "tokenizer", "vocab.pkl")
    plant(folder, "diffusion_pytorch_model.bin")
    assert load_pipeline(SD15, folder).pipe.unet.dtype == torch.float32


@pytest.mark.parametrize("what", ["weights", "component", "index", "config"])
def test_a_link_out_of_the_folder_is_refused_and_one_within_is_followed(folder, what):
    outside = folder.parent / "elsewhere"
    outside.mkdir()
    path = {
        "weights": folder / "unet" / "diffusion_pytorch_model.safetensors",
        "component": folder / "unet",
        "index": folder / "model_index.json",
        "config": folder / "tokenizer" / "tokenizer_config.json",
    }[what]
    path.rename(outside / path.name)
    path.symlink_to(outside / path.name)
    with pytest.raises(ValueError, match=rf"{path} is a link out of the model's folder, to {outside / path.name}"):
        load_pipeline(SD15, folder)
    path.unlink()
    within = folder / f"kept-{path.name}"
    (outside / path.name).rename(within)
    path.symlink_to(os.path.relpath(within, path.parent))
    inspect_folder(folder, SD15)
    (folder.parent / "link").symlink_to(folder)  # the folder itself may be one
    inspect_folder(folder.parent / "link", SD15)


def test_the_links_of_the_hub_s_cache_lead_to_its_blobs_and_no_further(folder):
    cache = folder.parent / "models--a--b"
    snapshot = cache / "snapshots" / "0123"
    snapshot.parent.mkdir(parents=True)
    folder.rename(snapshot)
    (cache / "blobs").mkdir()
    weights = snapshot / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(cache / "blobs" / "cafe")
    weights.symlink_to("../../../blobs/cafe")
    inspect_folder(snapshot, SD15)
    weights.unlink()
    (cache / "blobs" / "cafe").rename(cache / "cafe")
    weights.symlink_to("../../../cafe")
    with pytest.raises(ValueError, match="is a link out of the model's folder"):
        inspect_folder(snapshot, SD15)


def test_a_folder_of_blobs_beside_another_folder_is_no_cache_of_the_hub(folder):
    moved = folder.parent / "models" / "sd"
    moved.parent.mkdir()
    folder.rename(moved)
    (folder.parent / "blobs").mkdir()
    weights = moved / "unet" / "diffusion_pytorch_model.safetensors"
    weights.symlink_to(weights.rename(folder.parent / "blobs" / "cafe"))
    with pytest.raises(ValueError, match="is a link out of the model's folder"):
        inspect_folder(moved, SD15)


@pytest.mark.parametrize("what", ["code", "pickle", "index"])
def test_the_folder_of_a_controlnet_is_checked_as_the_others_are(tmp_path, what):
    whole = save_pipeline("StableDiffusionControlNetPipeline", tmp_path)
    control = Path(shutil.move(whole / "controlnet", tmp_path / "control"))
    index = {**json.loads((whole / "model_index.json").read_text()), "_class_name": "StableDiffusionPipeline"}
    (whole / "model_index.json").write_text(json.dumps({k: v for k, v in index.items() if k != "controlnet"}))
    (tmp_path / "outside.bin").write_bytes(pickle.dumps(Evil(tmp_path / "mark")))
    plant(control, "weights.bin")
    {
        "code": lambda: (control / "mine.py").write_text("raise SystemExit"),
        "index": lambda: shard(control, "diffusion_pytorch_model", "weights.bin"),
        "pickle": lambda: (control / "diffusion_pytorch_model.safetensors").unlink(),
    }[what]()
    message = {"code": "brings code", "pickle": "has only weights.bin", "index": "names weights 'weights.bin'"}[what]
    with pytest.raises(ValueError, match=message):
        find_source(model("sd15-canny"), whole, controlnet_dir=control)
    assert not (tmp_path / "mark").exists()


CONFIG, TOKENS = "text_encoder/config.json", "tokenizer/tokenizer_config.json"


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (CONFIG, {"transformers_weights": "weights.bin"}, "names weights 'weights.bin'"),
        (CONFIG, {"transformers_weights": "../vae/diffusion_pytorch_model.safetensors"}, "names weights '../vae/"),
        (CONFIG, {"auto_map": {"AutoModel": "mine.Net"}}, r"code of its own \(auto_map\)"),
        (CONFIG, {"nested": [{"auto_map": {"AutoModel": "mine.Net"}}]}, r"code of its own \(auto_map\)"),
        (CONFIG, {"attn_implementation": "mine/kernel"}, "asks for code of the hub"),
        (CONFIG, {"quantization_config": {"quant_method": "bitsandbytes"}}, "is of quantised weights"),
        ("unet/config.json", {"quantization_config": {"quant_method": "gguf"}}, "is of quantised weights"),
        (TOKENS, {"auto_map": {"AutoTokenizer": ["mine.Tokens", None]}}, r"code of its own \(auto_map\)"),
        (TOKENS, {"vocab_file": "/etc/passwd"}, "names a file '/etc/passwd' .*must be in its own folder"),
        (TOKENS, {"merges_file": "../../outside.bin"}, "names a file '../../outside.bin'"),
        (TOKENS, {"fast_tokenizer_files": ["tokenizer.json", "../tokenizer.9.0.json"]}, "names a file '../tokenizer.9"),
        ("scheduler/scheduler_config.json", {"auto_map": {"x": "mine.S"}}, r"code of its own \(auto_map\)"),
    ],
)
def test_what_a_configuration_asks_for_beyond_its_folder_is_refused(folder, file, change, message):
    path = folder / file
    plant(path.parent, "weights.bin")
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        load_pipeline(SD15, folder)


def test_what_published_tokenizers_hold_is_no_reason_to_refuse_them(folder):
    path = folder / TOKENS
    told = {"special_tokens_map_file": "/home/author/.cache/special_tokens_map.json", "tokenizer_file": None,
            "vocab_file": "./vocab.json", "name_or_path": "openai/clip"}  # fmt: skip
    path.write_text(json.dumps({**json.loads(path.read_text()), **told}))
    assert load_pipeline(SD15, folder).pipe.tokenizer("a red fox")["input_ids"]


def test_an_adapter_that_names_other_weights_is_refused(folder):
    adapter = {"base_model_name_or_path": str(folder.parent), "peft_type": "LORA"}
    (folder / "text_encoder" / "adapter_config.json").write_text(json.dumps(adapter))
    plant(folder / "text_encoder", "adapter_model.bin")
    with pytest.raises(ValueError, match=r"adapter_config\.json names weights in another place"):
        load_pipeline(SD15, folder)


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("../unet", ["diffusers", "UNet2DConditionModel"], "names a component '../unet', which is no name of a folder"),
        ("a\0b", ["diffusers", "UNet2DConditionModel"], "names a component"),
        ("", ["diffusers", "UNet2DConditionModel"], "names a component ''"),
        ("unet", ["diffusers"], "must name library and class of unet"),
        ("unet", [["diffusers"], "UNet2DConditionModel"], "must name library and class of unet"),
        ("unet", ["os", "system"], "takes unet from 'os'"),
        ("unet", ["diffusers.utils", "torch"], "takes unet from 'diffusers.utils'"),
        ("unet", ["diffusers", "utils.torch"], "unet must be a ModelMixin or PreTrainedModel of diffusers"),
        ("unet", ["diffusers", "DiffusionPipeline"], "unet must be a ModelMixin"),
        ("unet", ["diffusers", "Gone"], "'Gone' is not in the installed version"),
        ("text_encoder", ["transformers", "AutoModel"], "text_encoder must be a ModelMixin or PreTrainedModel"),
        ("text_encoder", ["transformers", "pipeline"], "text_encoder must be a ModelMixin or PreTrainedModel"),
        ("tokenizer", ["transformers", "RagTokenizer"], "tokenizer must be a PreTrainedTokenizerBase"),
        ("tokenizer", ["transformers", "AutoTokenizer"], "tokenizer must be a PreTrainedTokenizerBase"),
        ("scheduler", ["lml.schedulers", "SCHEDULERS"], "scheduler must be a SchedulerMixin of lml.schedulers"),
        ("scheduler", ["diffusers", "UNet2DModel"], "scheduler must be a SchedulerMixin"),
    ],
)
def test_names_of_components_and_classes_are_what_they_should_be(folder, name, source, message):
    path = folder / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: source}))
    with pytest.raises(ValueError, match=message):
        load_pipeline(SD15, folder)


def test_a_class_with_a_loader_of_its_own_is_refused(folder):
    import transformers

    if not hasattr(transformers, "Qwen2_5OmniForConditionalGeneration"):
        pytest.skip("this version of transformers has no such class")
    path = folder / "model_index.json"
    source = ["transformers", "Qwen2_5OmniForConditionalGeneration"]  # it reads spk_dict.pt beside the weights
    path.write_text(json.dumps({**json.loads(path.read_text()), "text_encoder": source}))
    plant(folder / "text_encoder", "spk_dict.pt")
    with pytest.raises(ValueError, match="text_encoder must be loaded as PreTrainedModel is"):
        load_pipeline(SD15, folder)


def test_a_component_of_another_kind_than_the_pipeline_takes_is_told(folder):
    shutil.rmtree(folder / "unet")
    shutil.copytree(folder / "text_encoder", folder / "unet")
    path = folder / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "unet": ["transformers", "CLIPTextModel"]}))
    with pytest.raises(ValueError, match=r"StableDiffusionPipeline cannot be made of what model_index\.json names"):
        load_pipeline(SD15, folder)


def test_json_that_is_nested_too_deeply_is_told(folder):
    (folder / "unet" / "config.json").write_text('{"a":' * 100_000)
    with pytest.raises(ValueError, match=r"unet/config\.json cannot be read as JSON"):
        inspect_folder(folder, SD15)
    (folder / "model_index.json").write_text("[" * 100_000 + "]" * 100_000)
    with pytest.raises(ValueError, match=r"model_index\.json cannot be read as JSON: it is nested too deeply"):
        inspect_folder(folder, SD15)


def test_a_component_that_is_no_folder_or_has_no_weights_is_told(folder):
    with pytest.raises(ValueError, match=r"none is missing, not the folder of a component"):
        check_component(folder / "none", folder)
    with pytest.raises(ValueError, match=r"model_index\.json is a file, not the folder of a component"):
        check_component(folder / "model_index.json", folder)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"unet has no weights: they must be \.safetensors"):
        load_pipeline(SD15, folder)


def test_a_component_that_the_index_does_not_name_is_told(folder):
    path = folder / "model_index.json"
    index = json.loads(path.read_text())
    del index["vae"]
    path.write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"StableDiffusionPipeline needs a vae, which model_index\.json does not name"):
        load_pipeline(SD15, folder)


@pytest.mark.slow
def test_a_pipeline_saved_with_an_lml_scheduler_is_sampled_in_a_fresh_interpreter(tmp_path):
    from lml.schedulers import LMLUniPCMultistepScheduler

    folder = save_pipeline("DDPMPipeline", tmp_path)
    pipe = load_pipeline(model("ddpm-ema-cifar10"), folder).pipe
    pipe.scheduler = LMLUniPCMultistepScheduler.from_config(pipe.scheduler.config)
    pipe.save_pretrained(tmp_path / "saved")
    command = [sys.executable, "-m", "image_exps", "sample", "-m", "ddpm-ema-cifar10", "--model-dir",
               str(tmp_path / "saved"), "-n", "3", "--device", "cpu", "--out", str(tmp_path / "out")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "trust_remote_code" not in done.stderr
    assert (tmp_path / "out" / "00000" / "000000.png").is_file()


def test_an_lml_scheduler_comes_back_with_its_options(tmp_path):
    from lml.schedulers import LMLUniPCMultistepScheduler

    folder = save_pipeline("DDPMPipeline", tmp_path)
    pipe = load_pipeline(model("ddpm-ema-cifar10"), folder).pipe
    pipe.scheduler = LMLUniPCMultistepScheduler.from_config(pipe.scheduler.config, damping=0.25, mixing=0.125)
    pipe.save_pretrained(tmp_path / "saved")
    found = load_pipeline(model("ddpm-ema-cifar10"), tmp_path / "saved").pipe.scheduler
    assert type(found) is LMLUniPCMultistepScheduler
    assert (found.config.damping, found.config.mixing) == (0.25, 0.125)
