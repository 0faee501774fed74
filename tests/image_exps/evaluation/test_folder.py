"""Folders that are scored, and scores of single pictures."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import torch
from generated_folder import generated_folder, pixels, settings
from PIL import Image

from image_exps.evaluation import Result, find_scores, mean_score, open_generated, read_results, write_results
from image_exps.evaluation.results import add_results
from image_exps.evaluation.score_names import GROUP, score_names
from image_exps.evaluation.scores import Score, load_score, mean_interval_of, values_of
from image_exps.evaluation.sharpness import SHARPNESS
from image_exps.pipelines.picture_folder import PictureFolder
from image_exps.utils import plugins


def test_a_folder_of_sample_gives_pictures_prompts_and_settings(tmp_path):
    generated = open_generated(generated_folder(tmp_path / "run", 6, lost=(2,)))
    assert len(generated) == 5
    assert generated.prompts == ("a red cube", "a blue ball", "a red cube", "a blue ball", "a sheep")
    assert (generated.model, generated.sampler, generated.evaluations, generated.guidance) == ("sd15", "ddim", 10, 7.0)
    assert generated.lost == (102,)
    pictures = torch.cat([x for x, _ in generated.batches(2)])
    expected = np.delete(pixels(6), 2, axis=0)
    assert np.array_equal(((pictures + 1) * 127.5).round().byte().movedim(1, -1).numpy(), expected)


def test_what_lies_beside_the_records_does_not_count(tmp_path):
    folder = generated_folder(tmp_path / "run", 3)
    Image.fromarray(pixels(1)[0]).save(folder / "00000" / "000099.png")
    assert len(open_generated(folder)) == 3


def test_a_record_cannot_lead_out_of_the_folder(tmp_path):
    folder = generated_folder(tmp_path / "run", 1)
    Image.fromarray(pixels(1)[0]).save(tmp_path / "secret.png")
    records = folder / "records-000.jsonl"
    records.write_text(records.read_text().replace("00000/000000.png", "../secret.png"))
    assert open_generated(folder).files == (folder / "00000" / "000000.png",)


def test_any_folder_of_pictures_can_be_scored_and_transparency_lies_on_white(tmp_path):
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "b.png")
    Image.new("L", (4, 4), 0).save(tmp_path / "a.png")
    generated = open_generated(tmp_path)
    first, second = (x for x, _ in generated.batches())  # of one size within a batch
    assert (first == -1).all()
    assert (second == 1).all()
    assert generated.model == tmp_path.name
    assert generated.guidance is None


def test_a_folder_says_what_is_lost_and_what_is_not_there_yet(tmp_path):
    assert open_generated(generated_folder(tmp_path / "whole", 3)).remark == ""
    folder = generated_folder(tmp_path / "run", 3, lost=(1,))
    PictureFolder(folder, settings(8), ("a red cube", "a blue ball", "a sheep"))  # asks for more
    assert open_generated(folder).remark == (
        "1 pictures were not finite and are left out; unfinished: 5 of the 8 pictures are not there yet"
    )


def test_progress_is_told_of_every_batch(tmp_path):
    told = []
    values_of(
        SHARPNESS, open_generated(generated_folder(tmp_path / "run", 5)), batch=2, progress=lambda *n: told.append(n)
    )
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_bad_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match="is not there"):
        open_generated(tmp_path / "none")
    with pytest.raises(ValueError, match="has none"):
        open_generated(tmp_path)
    folder = generated_folder(tmp_path / "run", 2)
    (folder / "00000" / "000001.png").unlink()
    with pytest.raises(ValueError, match=r"000001\.png is recorded and missing"):
        open_generated(folder)
    (folder / "00000" / "000001.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="cannot be read as a picture"):
        mean_score(SHARPNESS, open_generated(folder))
    lost = generated_folder(tmp_path / "lost", 1, lost=(0,))
    with pytest.raises(ValueError, match="none yet"):
        open_generated(lost)


def test_sharpness_is_the_variance_of_the_laplacian():
    # On a checkerboard of -1 and 1 the Laplacian is -8 x, of variance (8 * 127.5)^2.
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2.0 - 1
    flat, ramp = torch.zeros(8, 8), torch.linspace(-1, 1, 8).expand(8, 8)
    pictures = torch.stack([board, flat, ramp])[:, None].expand(-1, 3, -1, -1)
    # float64 of numbers up to 1020: their squares are exact to 1e-9.
    torch.testing.assert_close(
        SHARPNESS(pictures, [None] * 3), torch.tensor([1020.0**2, 0, 0], dtype=torch.float64), rtol=1e-6, atol=1e-6
    )


def point(value, name="sharpness"):
    return EntryPoint(name, value, GROUP)


def published(monkeypatch, *points):
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)


class Twin:
    name = "sharpness"
    higher_is_better = True

    def __call__(self, pictures, prompts):
        return torch.zeros(len(pictures))


def test_a_plug_in_is_found_as_an_object_or_a_class(monkeypatch):
    for value in ("image_exps.evaluation.sharpness:SHARPNESS", "image_exps.evaluation.sharpness:Sharpness"):
        published(monkeypatch, point(value), point(value))  # twice the same is once
        found = find_scores()
        assert list(found) == list(score_names()) == ["colourfulness", "sharpness"]
        assert all(isinstance(score, Score) for score in found.values())


def test_plug_ins_that_are_none_are_refused(monkeypatch):
    published(monkeypatch, point("image_exps.evaluation.sharpness:GONE"))
    with pytest.raises(ValueError, match=r"'sharpness' \(.*GONE\) cannot be loaded"):
        find_scores()
    published(monkeypatch, point("builtins:dict"))
    with pytest.raises(ValueError, match="must give a score"):
        find_scores()
    published(monkeypatch, point("builtins:float.fromhex"))
    with pytest.raises(ValueError, match="cannot be made"):
        find_scores()
    published(monkeypatch, point("image_exps.evaluation.sharpness:SHARPNESS"), point(f"{__name__}:Twin"))
    with pytest.raises(ValueError, match="'sharpness' is defined twice"):
        score_names()
    published(monkeypatch, point("image_exps.evaluation.sharpness:SHARPNESS", "colourfulness"))
    with pytest.raises(ValueError, match="'colourfulness' is defined twice"):
        score_names()
    published(monkeypatch, point("image_exps.evaluation.sharpness:SHARPNESS", "mine"))
    with pytest.raises(ValueError, match="'mine' gives a score that is called 'sharpness': the two must be one name"):
        load_score("mine")


def test_a_plug_in_that_cannot_be_loaded_does_not_keep_others_from_their_work(monkeypatch):
    published(monkeypatch, point("image_exps.evaluation.sharpness:SHARPNESS"), point("no.such.module:x", "broken"))
    assert load_score("sharpness") is SHARPNESS
    assert load_score("colourfulness").name == "colourfulness"
    assert list(score_names()) == ["colourfulness", "broken", "sharpness"]
    with pytest.raises(ValueError, match=r"'broken' .* cannot be loaded"):
        load_score("broken")


def test_the_score_of_a_picture_does_not_depend_on_the_batch(tmp_path):
    generated = open_generated(generated_folder(tmp_path / "run", 7))
    for score in (find_scores()["colourfulness"], SHARPNESS):
        two, seven = (values_of(score, generated, batch=size) for size in (2, 7))
        # Sums of 256 float64 numbers, in an order that may depend on the shape: 256 units of 1.1e-16.
        np.testing.assert_allclose(two, seven, rtol=3e-14)


class Bad(Twin):
    def __init__(self, values):
        self.values = values

    def __call__(self, pictures, prompts):
        return self.values[: len(pictures)]


def test_scores_that_go_wrong_are_named(tmp_path):
    generated = open_generated(generated_folder(tmp_path / "run", 3))
    with pytest.raises(ValueError, match=r"must give shape \(3,\), got \(3, 2\)"):
        values_of(Bad(torch.zeros(3, 2)), generated)
    with pytest.raises(ValueError, match=r"must be finite, it is not for .*000001\.png"):
        values_of(Bad(torch.tensor([0, math.nan, 0])), generated)


def test_the_interval_of_a_mean_is_that_of_the_central_limit_theorem():
    x = np.random.default_rng(0).exponential(size=2000)
    found = mean_interval_of(x, repeats=4000)
    error = x.std() / len(x) ** 0.5
    assert found.value == x.mean()
    # A quantile of 4000 resamples has a standard error of 0.04 standard errors; the skewness moves ends by as much.
    assert (found.low - found.value) / error == pytest.approx(-1.96, abs=0.2)
    assert (found.high - found.value) / error == pytest.approx(1.96, abs=0.2)
    alone = mean_interval_of(x[:1])
    assert alone.value == x[0]
    assert math.isnan(alone.low)


def test_results_come_back_from_parquet_as_they_were(tmp_path):
    made = [
        Result("sd15", "ddim/lml", 10, "FID", 17.0, 16.0, 18.0, 30_000, guidance=7.0, remark="ö | x", source="run"),
        Result("emoji", "", 0, "colourfulness", 40.5),
    ]
    write_results(made, tmp_path / "a" / "results.parquet")
    write_results(made[:1], tmp_path / "b" / "results-2.parquet")
    back = read_results([tmp_path])
    assert len(back) == 3
    assert back[0] == made[0]
    assert back[1].value == 40.5
    assert math.isnan(back[1].low)


def test_what_is_measured_again_takes_the_place_of_before_and_the_rest_stays(tmp_path):
    path = tmp_path / "results.parquet"
    first, other = Result("a", "ddim", 5, "FID", 1.0), Result("a", "ddim", 5, "CLIP x", 2.0, guidance=7.0)
    for results in ([first], [other], [replace(first, value=3.0)], [replace(other, guidance=8.0)]):
        add_results(results, path)
    assert [(r.metric, r.value) for r in read_results([path])] == [("CLIP x", 2.0), ("FID", 3.0), ("CLIP x", 2.0)]


def test_results_that_are_added_at_once_are_all_kept(tmp_path):
    path = tmp_path / "new" / "results.parquet"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: add_results([Result("a", "ddim", n, "FID", float(n))], path), range(24)))
    assert sorted(r.evaluations for r in read_results([path])) == list(range(24))


def test_bad_results_are_refused(tmp_path):
    import pandas as pd

    with pytest.raises(ValueError, match="is not there"):
        read_results([tmp_path / "none"])
    with pytest.raises(ValueError, match="at least one"):
        write_results([], tmp_path / "x.parquet")
    (tmp_path / "results.parquet").write_text(json.dumps({}))
    with pytest.raises(ValueError, match="cannot be read as Parquet"):
        read_results([tmp_path])
    pd.DataFrame({"model": ["x"]}).to_parquet(tmp_path / "results.parquet")
    with pytest.raises(ValueError, match="it lacks sampler, evaluations"):
        read_results([tmp_path])
    write_results([Result("a", "ddim", 5, "FID", 1.0)], tmp_path / "results.parquet")
    frame = pd.read_parquet(tmp_path / "results.parquet")
    frame.assign(value=["x"]).to_parquet(tmp_path / "results.parquet")
    with pytest.raises(
        ValueError, match=r"results\.parquet must hold results of evaluate or time, it holds other values"
    ):
        read_results([tmp_path])


def test_a_name_with_half_a_character_costs_no_result(tmp_path):
    write_results([Result("a\udcff", "ddim", 5, "FID", 1.0, source="\ud800")], tmp_path / "results.parquet")
    (back,) = read_results([tmp_path])
    assert (back.model, back.source, back.value) == ("a?", "?", 1.0)


def test_settings_of_something_else_are_told(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    for content in ('{"theme": "dark"}', '{"count": 2, "model": "x", "sampler": {}}'):
        (tmp_path / "settings.json").write_text(content)
        with pytest.raises(
            ValueError, match=r"settings\.json is none of sample: take it out of a folder of other pictur"
        ):
            open_generated(tmp_path)
