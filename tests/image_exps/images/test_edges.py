"""Edges for a ControlNet: what the published code calls, with its thresholds, and one message where it cannot be."""

from __future__ import annotations

import sys
import types
from importlib.machinery import ModuleSpec

import numpy as np
import pytest
from image_commands import call
from PIL import Image

from image_exps.images.edges import edges_of


@pytest.fixture
def photo(tmp_path):
    """A white square on grey."""
    pixels = np.full((20, 30, 3), 90, np.uint8)
    pixels[5:15, 8:20] = 255
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def without_opencv(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.setattr("image_exps.images.edges.find_spec", lambda name: None)


def test_the_edges_are_those_of_opencv_at_the_thresholds_of_the_published_code(photo, monkeypatch):
    asked = []

    def canny(pixels, low, high):
        asked.append((pixels.shape, pixels.dtype, low, high))
        return np.where(np.arange(20 * 30).reshape(20, 30) % 7 == 0, 255, 0).astype(np.uint8)

    module = types.ModuleType("cv2")
    module.__spec__ = ModuleSpec("cv2", None)
    module.Canny = canny
    monkeypatch.setitem(sys.modules, "cv2", module)
    out = photo.with_name("edges.png")
    done = call("edges", photo, "--out", out)
    assert done.exit_code == 0, done.output
    assert asked == [((20, 30, 3), np.dtype("uint8"), 100.0, 200.0)]
    with Image.open(out) as opened:
        assert (opened.mode, opened.size) == ("RGB", (30, 20))
        assert set(np.unique(np.asarray(opened))) == {0, 255}


def test_with_opencv_the_outline_of_a_square_is_found(photo):
    pytest.importorskip("cv2")
    found = np.asarray(edges_of(photo))[..., 0] > 0
    rows, columns = np.nonzero(found)
    assert abs(rows.min() - 5) <= 1
    assert abs(columns.max() - 19) <= 1
    assert not found[8:12, 11:17].any()


def test_without_opencv_the_instruction_is_given(photo, monkeypatch):
    without_opencv(monkeypatch)
    done = call("edges", photo, "--out", photo.with_name("edges.png"))
    assert done.exit_code == 2
    assert "pip install opencv-python-headless" in done.output
    assert not photo.with_name("edges.png").exists()


def test_bad_requests_are_one_message(photo, tmp_path):
    with pytest.raises(ValueError, match="low and high must be rising numbers"):
        edges_of(photo, 200, 100)
    with pytest.raises(ValueError, match="cannot be read as a picture"):
        edges_of(tmp_path / "none.png")
    assert "must be a .png" in call("edges", photo, "--out", "x.jpg").output
