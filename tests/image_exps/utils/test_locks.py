"""Locks of files: one holder at a time, and none where the system has none."""

import sys
import threading

import pytest

from image_exps.utils.locks import lock


def test_a_lock_has_one_holder_until_its_file_is_closed(tmp_path):
    pytest.importorskip("fcntl")
    path, order = tmp_path / "file", []
    with path.open("w") as first:
        assert lock(first, wait=False)
        with path.open("w") as second:
            assert not lock(second, wait=False)

        def take():
            with path.open("w") as third:
                order.append(lock(third))
                order.append("third")

        waiting = threading.Thread(target=take)
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        order.append("first")
    waiting.join(10)
    assert order == ["first", True, "third"]


def test_where_there_are_no_locks_none_keeps_out(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with (tmp_path / "file").open("w") as first, (tmp_path / "file").open("w") as second:
        assert lock(first)
        assert lock(second, wait=False)
