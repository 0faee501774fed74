"""Stages: made once, read to the bit, made again where a file is damaged, gone at the end."""

from __future__ import annotations

import logging

import pytest
import torch

from lml.solver.stages import Stages


def tensors():
    return {
        "a": torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).mT,
        "b": torch.tensor([1.0, float("inf"), float("nan")]),
        "c": torch.tensor(7),
        "d": torch.tensor([True, False]),
    }


def same(found, wanted):
    return found.keys() == wanted.keys() and all(
        found[key].dtype == wanted[key].dtype and torch.equal(found[key].nan_to_num(), wanted[key].nan_to_num())
        for key in wanted
    )


@pytest.fixture
def made(tmp_path):
    """Stages with one that was made, and its file."""
    stages = Stages(tmp_path / "work")
    stages.get("first", tensors)
    (file,) = tmp_path.iterdir()
    return stages, file


def test_a_stage_is_made_once_and_read_to_the_bit(made):
    stages, _ = made
    assert same(stages.get("first", pytest.fail), tensors())
    assert same(Stages(stages.place).get("first", pytest.fail), tensors())
    assert stages.get("second", lambda: {"a": torch.zeros(1)})["a"].tolist() == [0.0]
    assert Stages(stages.place.with_name("other")).get("first", lambda: {}) == {}


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b"",
        lambda b: b"no tensors",
        lambda b: b[:-5],
        lambda b: b[:20],
        lambda b: b[:-3] + bytes([b[-3] ^ 1]) + b[-2:],
        lambda b: b.replace(b'"digest":"', b'"digest":"0', 1),
    ],
    ids=["empty", "text", "cut", "cut early", "a bit", "digest"],
)
def test_a_damaged_file_is_made_again(made, damage):
    stages, file = made
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert file.read_bytes() != whole
    assert same(stages.get("first", tensors), tensors())
    assert file.read_bytes() == whole


def test_an_interrupted_stage_leaves_no_file(tmp_path):
    stages = Stages(tmp_path / "work")

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stages.get("first", interrupted)
    assert not list(tmp_path.iterdir())


def test_files_are_gone_when_they_are_cleared_and_no_others(made):
    stages, file = made
    (file.parent / f".{file.name}.abc").touch()  # of a process that was killed as it wrote
    others = [file.parent / "work.json", file.parent / "worker.first.safetensors"]
    for other in others:
        other.touch()
    stages.clear()
    assert sorted(file.parent.iterdir()) == sorted(others)


def test_without_a_place_nothing_is_kept():
    stages = Stages(None)
    assert same(stages.get("first", tensors), tensors())
    assert stages.get("first", lambda: {}) == {}
    stages.clear()


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        found = Stages(tmp_path / "none" / "work").get("first", tensors)
    assert same(found, tensors())
    assert "cannot be written, and will be made again after an interruption" in caplog.text
