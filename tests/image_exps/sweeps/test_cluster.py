"""Cells on a cluster, which stands in here: its results are let go one by one, and its workers must be alike."""

import sys
from types import SimpleNamespace

import pytest

from image_exps.sweeps import run


class Future:
    def __init__(self, value):
        self.value, self.held = value, True

    def result(self):
        assert self.held
        return self.value

    def release(self):
        self.held = False


class Client:
    loop = None
    workers = None
    made: list[Future]

    def __init__(self, address, **options):
        self.address = address

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def run(self, function):
        return {"worker": self.workers or function()}

    def map(self, function, *columns, pure):
        assert not pure
        Client.made = [Future(function(*row)) for row in zip(*columns, strict=True)]
        return Client.made


@pytest.fixture
def cluster(monkeypatch):
    module = SimpleNamespace(Client=Client, as_completed=lambda futures, loop: reversed(futures))
    monkeypatch.setitem(sys.modules, "distributed", module)


def test_a_result_is_let_go_once_it_is_taken(cluster):
    results = run._on_cluster("tcp://there", str, [7, 8, 9])
    assert next(results) == (2, "9")
    assert next(results) == (1, "8")
    assert [future.held for future in Client.made] == [True, True, False]
    assert list(results) == [(0, "7")]
    assert not any(future.held for future in Client.made)


def test_workers_of_other_versions_are_refused(cluster, monkeypatch):
    monkeypatch.setattr(Client, "workers", {"torch": "0.1"})
    with pytest.raises(ValueError, match=r"scheduler must have workers with .*, worker has \{'torch': '0.1'\}"):
        next(run._on_cluster("tcp://there", str, [7]))
