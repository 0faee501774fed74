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
from image_exps.images.files import read_picture


@pytest.fixture
def photo(tmp_path):
    """A white square on grey, with transparency that is dropped."""
    pixels = np.full((20, 30, 4), 90, np.uint8)
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


def test_a_photo_is_turned_as_the_camera_was_held_for_edges_and_controls_and_not_for_scores(tmp_path):
    path, note = tmp_path / "photo.png", Image.Exif()
    note[0x0112] = 6  # held so that the left of the scene is at the bottom
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    Image.fromarray(pixels).save(path, exif=note)
    assert np.array_equal(np.asarray(read_picture(path, "L", upright=True)), np.rot90(pixels, -1))
    assert np.array_equal(np.asarray(read_picture(path, "L")), pixels)


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
