"""Devices are refused before a weight is loaded, in one message."""

import pytest
import torch

from image_exps.pipelines.devices import best_device, check_device


def test_names_that_torch_knows_and_pictures_are_not_drawn_on_are_refused():
    for name in ("gpu", "cuda:x", "", "meta", "xpu"):
        with pytest.raises(ValueError, match=f"device must be cpu, cuda, cuda:N or mps, got {name!r}"):
            check_device(name)


@pytest.mark.parametrize(("gpus", "apple"), [(0, False), (2, False), (0, True)])
def test_a_device_is_taken_where_it_is_there(monkeypatch, gpus, apple):
    monkeypatch.delenv("LML_OUTSIDE", raising=False)  # these devices are feigned
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: apple)
    there = {"cpu": True, "cuda": gpus > 0, "cuda:1": gpus > 1, "cuda:2": gpus > 2, "mps": apple}
    for name, taken in there.items():
        if taken:
            check_device(name)
        else:
            with pytest.raises(ValueError, match=f"device '{name}': .* here"):
                check_device(name)
    assert best_device() == ("cuda" if gpus else "cpu")
