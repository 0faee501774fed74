"""Pickles of weights: read as tensors, or refused with what is wrong, and nothing in them is run."""

import pickle
from pathlib import Path

import pytest
import torch

from image_exps.pipelines.pickled_weights import read_tensors


def test_tensors_come_back_by_name(tmp_path):
    torch.save({"a": torch.arange(3.0), "b": torch.ones(2, 2, dtype=torch.half)}, tmp_path / "weights.bin")
    found = read_tensors(tmp_path / "weights.bin")
    assert found["a"].tolist() == [0, 1, 2]
    assert (found["b"].dtype, found["b"].tolist()) == (torch.half, [[1, 1], [1, 1]])


def test_what_is_wrong_is_told_with_its_consequence_and_nothing_is_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "touched",))

    path = tmp_path / "weights.bin"
    path.mkdir()
    with pytest.raises(ValueError, match=r"weights.bin cannot be read, so there: "):
        read_tensors(path, ", so there")
    path.rmdir()
    path.write_bytes(pickle.dumps({"a": Evil()}, protocol=2))
    with pytest.raises(ValueError, match=r"weights.bin holds something else than weights, so there: "):
        read_tensors(path, ", so there")
    torch.save([torch.zeros(1)], path)
    with pytest.raises(ValueError, match=r"must hold a dictionary of tensors, got list, so there$"):
        read_tensors(path, ", so there")
    assert not (tmp_path / "touched").exists()
