"""Files are there whole or not at all, are on disk by then, and nothing is left of writers that were killed."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from toy.atomic import atomic, naming, remove_leftovers


def test_a_file_is_replaced_once_everything_is_on_disk(tmp_path, monkeypatch):
    path, order = tmp_path / "file", []
    path.write_text("old")
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, real=real: (order.append(name), real(*a)))
    with atomic(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
        assert partial.parent == tmp_path
    assert path.read_text() == "new"
    assert order == ["fsync", "replace"]
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fail():
        with atomic(path) as partial:
            partial.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_an_error_of_the_file_that_was_meant(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught, atomic(tmp_path / "file") as partial:
        partial.write_text("x")
    assert caught.value.filename == str(tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_an_error_of_the_unfinished_file_names_the_one_that_was_meant_and_one_of_another_file_that(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, atomic(tmp_path / "absent/file"):
        pass
    assert caught.value.filename == str(tmp_path / "absent/file")
    with pytest.raises(FileNotFoundError) as caught, atomic(tmp_path / "file") as partial:
        partial.unlink()
    assert caught.value.filename == str(tmp_path / "file")
    with pytest.raises(FileNotFoundError) as caught, naming(tmp_path / "file"):
        (tmp_path / "other").read_text()
    assert caught.value.filename == str(tmp_path / "other")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("encoder error -2", "PATH: encoder error -2"), ("PATH is no picture", "PATH is no picture"), ("", "PATH: ")],
)
def test_an_error_of_a_library_without_a_number_keeps_its_text_and_names_the_file(tmp_path, text, expected):
    path = tmp_path / "file"
    with pytest.raises(OSError, match="file") as caught, atomic(path):
        raise OSError(*[text.replace("PATH", str(path))] * bool(text))
    assert str(caught.value) == expected.replace("PATH", str(path))


WRITER = """
import os, sys, time
from pathlib import Path
from toy.atomic import atomic
with atomic(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("name", ["file", "a[b]*?.png"])
def test_what_a_killed_writer_left_goes_with_the_next_one_and_a_living_ones_stays(tmp_path, name):
    path = tmp_path / name
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == "ready\n"
    (half,) = tmp_path.iterdir()
    with atomic(path) as partial:
        partial.write_text("whole")
    assert remove_leftovers(tmp_path) == 0
    assert {p.read_text() for p in tmp_path.iterdir()} == {"half", "whole"}
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    with atomic(tmp_path / "another") as partial:  # it is none of this name's
        partial.write_text("x")
    assert half.exists()
    with atomic(path) as partial:
        partial.write_text("again")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["another", name])


def test_leftovers_of_a_whole_folder_are_removed_and_other_hidden_files_are_not(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in (".a.0123.unfinished", "deep/.b.0123.unfinished", ".hidden", "deep/c.unfinished"):
        (tmp_path / name).touch()
    assert remove_leftovers(tmp_path) == 2
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {".hidden", "c.unfinished"}
