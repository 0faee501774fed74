"""The folder of a run: atomic, resumable, and closed to other settings."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from image_exps.pipelines.picture_folder import PictureFolder, picture_name, read_records, read_settings

SETTINGS = {"count": 7, "batch": 3, "seed": 10, "model": {"name": "m", "weights": "w"}}


def pixels(index, channels=3):
    return np.full((4, 5, channels), index, np.uint8)


def fill(folder, rank=0, world=1, stop=None, bad=()):
    blocks = list(folder.blocks(rank, world))[:stop]
    with folder.journal(rank) as journal:
        for block in blocks:
            kept = [i for i in block if i < folder.settings["count"]]
            folder.save(journal, [(i, 10 + i, None, None if i in bad else pixels(i)) for i in kept], 0.5)
    return blocks


def test_names_are_numbers_in_shards_of_a_thousand():
    assert picture_name(0) == "00000/000000.png"
    assert picture_name(123) == "00000/000123.png"
    assert picture_name(49_999) == "00049/049999.png"


def test_a_run_writes_every_picture_once_and_a_row_for_each(tmp_path):
    folder = PictureFolder(tmp_path, SETTINGS)
    assert [list(block) for block in fill(folder)] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert folder.finish()
    assert [r["index"] for r in read_records(tmp_path)] == list(range(7))
    with Image.open(tmp_path / "00000/000005.png") as opened:
        assert np.array_equal(np.asarray(opened), pixels(5))
    table = pd.read_parquet(tmp_path / "records.parquet")
    assert list(table["seed"]) == list(range(10, 17))
    assert not list(folder.blocks())


def test_two_processes_share_the_batches_by_number(tmp_path):
    folder = PictureFolder(tmp_path, SETTINGS)
    assert [b[0] for b in fill(folder, 0, 2)] == [0, 6]
    assert not folder.finish()
    assert [b[0] for b in fill(folder, 1, 2)] == [3]
    assert folder.finish()


def test_a_run_goes_on_where_it_was_stopped_with_any_number_of_processes(tmp_path):
    fill(PictureFolder(tmp_path, SETTINGS), 0, 2, stop=1)
    assert [b[0] for b in PictureFolder(tmp_path, SETTINGS).blocks()] == [3, 6]


def test_a_line_that_was_cut_off_does_not_count_and_is_removed(tmp_path):
    folder = PictureFolder(tmp_path, SETTINGS)
    fill(folder, stop=2)
    path = tmp_path / "records-000.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert [b[0] for b in folder.blocks()] == [3, 6]
    fill(folder)
    assert [r["index"] for r in read_records(tmp_path)] == list(range(7))
    assert path.read_bytes().startswith(whole[: whole.index(b"\n") + 1])


def test_a_picture_that_was_deleted_is_made_again_and_leftovers_go(tmp_path):
    folder = PictureFolder(tmp_path, SETTINGS)
    fill(folder)
    (tmp_path / "00000/000004.png").unlink()
    (tmp_path / "00000/.000004.png.99").write_bytes(b"half")
    assert not folder.finish()
    assert [b[0] for b in fill(folder)] == [3]
    assert not list(tmp_path.glob("00000/.*"))


def test_a_picture_that_is_not_finite_is_a_record_without_a_file(tmp_path):
    folder = PictureFolder(tmp_path, SETTINGS)
    fill(folder, bad=(2,))
    record = read_records(tmp_path)[2]
    assert (record["seed"], record["finite"], record["file"]) == (12, False, None)
    assert not (tmp_path / "00000/000002.png").exists()
    assert folder.finish()
    assert not list(folder.blocks())


def test_other_settings_are_refused_by_name(tmp_path):
    PictureFolder(tmp_path, SETTINGS)
    other = {**SETTINGS, "model": {"name": "m", "weights": "v"}, "seed": 11}
    with pytest.raises(
        ValueError, match=r"other settings \(model.weights: 'w', asked for 'v'; seed: 10, asked for 11\)"
    ):
        PictureFolder(tmp_path, other)


def test_more_pictures_may_be_asked_for_fewer_not(tmp_path):
    fill(PictureFolder(tmp_path, SETTINGS))
    more = PictureFolder(tmp_path, {**SETTINGS, "count": 8})
    assert [b[0] for b in more.blocks()] == [6]
    assert read_settings(tmp_path)["count"] == 8
    with pytest.raises(ValueError, match="was made for 8 pictures"):
        PictureFolder(tmp_path, SETTINGS)


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match=r"not empty and holds no run \(thesis.tex"):
        PictureFolder(tmp_path, SETTINGS)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_two_processes_of_one_rank_do_not_write_at_once(tmp_path):
    folder = PictureFolder(tmp_path, SETTINGS)
    with folder.journal(), pytest.raises(ValueError, match="is written by another process right now"), folder.journal():
        pass


def test_grey_pictures_are_grey_files(tmp_path):
    folder = PictureFolder(tmp_path, SETTINGS)
    with folder.journal() as journal:
        folder.save(journal, [(0, 10, "../../etc/passwd", pixels(7, channels=1))], 1.0)
    with Image.open(tmp_path / "00000/000000.png") as opened:
        assert opened.mode == "L"
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == [
        "000000.png",
        "records-000.jsonl",
        "settings.json",
    ]
