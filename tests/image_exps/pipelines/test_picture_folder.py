"""The folder of a run: atomic, resumable, and closed to other settings."""

from __future__ import annotations

import json
import logging

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
    assert [r["seconds"] for r in read_records(tmp_path)] == [*[0.166667] * 6, 0.5]  # half a second a batch
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
    fill(PictureFolder(tmp_path, SETTINGS))
    (tmp_path / "00000/000004.png").unlink()
    (tmp_path / "00000/.000004.png.0123abcd.unfinished").write_bytes(b"half")
    folder = PictureFolder(tmp_path, SETTINGS)
    assert not folder.finish()
    assert [b[0] for b in fill(folder)] == [3]
    assert folder.finish()
    assert not list(tmp_path.glob("00000/.*"))


def _recoloured(path):
    Image.fromarray(pixels(99)).save(path)


DAMAGES = {
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:40]),
    "cut off where pixels are not touched": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "empty": lambda path: path.write_bytes(b""),
    "other pixels": _recoloured,
    "no picture": lambda path: path.write_bytes(b"<html>"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_picture_that_is_not_as_recorded_does_not_count_is_named_and_made_again(tmp_path, damage):
    fill(PictureFolder(tmp_path, SETTINGS))
    path = tmp_path / "00000/000004.png"
    before = path.read_bytes()
    DAMAGES[damage](path)
    folder = PictureFolder(tmp_path, SETTINGS)
    assert not folder.finish()
    assert folder.damaged == {"00000/000004.png"}
    assert [b[0] for b in fill(folder)] == [3]
    assert folder.finish()
    assert path.read_bytes() == before


def test_every_damaged_picture_of_a_batch_is_named(tmp_path):
    fill(PictureFolder(tmp_path, SETTINGS))
    for index in (3, 4, 6):
        _recoloured(tmp_path / picture_name(index))
    folder = PictureFolder(tmp_path, SETTINGS)
    assert [b[0] for b in folder.blocks()] == [3, 6]
    assert folder.damaged == {picture_name(index) for index in (3, 4, 6)}


def test_a_damaged_picture_of_another_process_keeps_the_folder_from_being_complete(tmp_path):
    for rank in (0, 1):
        fill(PictureFolder(tmp_path, SETTINGS), rank, 2)
    _recoloured(tmp_path / picture_name(3))
    folder = PictureFolder(tmp_path, SETTINGS)
    assert not list(folder.blocks(0, 2))
    assert not folder.finish()
    assert folder.damaged == {picture_name(3)}


LINES = {
    "garbage": b"\x00\xff\x00",
    "cut in the middle": b'{"pictures": [{"index": 3,',
    "of something else": b'{"pictures": [{"index": 3}]}',
    "a list": b"[1, 2]",
    "a number in place of an object": b"7",
    "a negative index": b'{"pictures": [{"index": -1, "seed": 1, "prompt": null, "file": null, "finite": false, '
    b'"sha256": null, "png_sha256": null, "seconds": 1.0}]}',
    "a hundred thousand levels": b"[" * 100_000 + b"]" * 100_000,
}


@pytest.mark.parametrize("name", LINES)
def test_a_bad_line_of_the_journal_costs_its_batch_alone_and_is_named_and_removed(tmp_path, name, caplog):
    fill(PictureFolder(tmp_path, SETTINGS))
    path = tmp_path / "records-000.jsonl"
    first, _, third = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join((first, LINES[name], third, b"")))
    folder = PictureFolder(tmp_path, SETTINGS)
    with caplog.at_level(logging.WARNING):
        assert [b[0] for b in fill(folder)] == [3]
    assert f"{path}, line 2, is damaged" in caplog.text
    assert folder.finish()
    assert [json.loads(line)["pictures"][0]["index"] for line in path.read_bytes().splitlines()] == [0, 6, 3]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "[" * 100_000 + "]" * 100_000])
def test_settings_that_cannot_be_read_are_named(tmp_path, content):
    (tmp_path / "settings.json").write_text(content)
    with pytest.raises(ValueError, match=r"settings\.json (cannot be read as JSON|must hold)"):
        PictureFolder(tmp_path, SETTINGS)


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


def test_grey_pictures_are_grey_files(tmp_path):
    folder = PictureFolder(tmp_path, SETTINGS)
    with folder.journal() as journal:
        folder.save(journal, [(0, 10, "../../etc/passwd", pixels(7, channels=1))], 1.0)
    with Image.open(tmp_path / "00000/000000.png") as opened:
        assert opened.mode == "L"
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == [
        ".lock",
        "000000.png",
        "records-000.jsonl",
        "settings.json",
    ]
