"""An output that cannot be written is refused before any work, and nothing is made."""

import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from theory_checks.command_line.outputs import check_output_file, check_output_folder


def test_what_can_be_made_is_not_made(tmp_path):
    check_output_folder(tmp_path / "a/b/c")
    check_output_file(tmp_path / "a/b/c.png")
    check_output_file(Path("c.png"))
    assert not list(tmp_path.iterdir())


def test_a_file_is_no_folder_and_holds_none(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ValueError, match=rf"out must be a folder that can be made, {file} is a file: give another"):
        check_output_folder(file)
    with pytest.raises(ValueError, match=rf"{file}/a/b lies below the file {file}"):
        check_output_folder(file / "a/b")
    with pytest.raises(ValueError, match=rf"cache must be .*, {file} is a file"):
        check_output_file(file / "x.png", "cache")
    with pytest.raises(ValueError, match=f"out must be a file, {tmp_path} is a folder: give another name"):
        check_output_file(tmp_path)
    check_output_file(file)  # it is replaced


def test_no_permission_is_said(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "access", lambda path, mode: asked.append((path, mode)))
    with pytest.raises(ValueError, match=f"for {tmp_path}/a/b you have no permission in {tmp_path}: change that"):
        check_output_folder(tmp_path / "a/b")
    assert asked == [(tmp_path, os.W_OK | os.X_OK)]


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 0))
    with pytest.raises(ValueError, match=f"no space is left on the disk of {tmp_path}/a: free some, or give another"):
        check_output_folder(tmp_path / "a")


def test_a_name_that_no_disk_takes_is_said(tmp_path):
    with pytest.raises(ValueError, match=r"out must be a path that can be used, .* is not: File name too long"):
        check_output_folder(tmp_path / ("x" * 300) / "y")
