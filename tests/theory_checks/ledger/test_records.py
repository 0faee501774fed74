import json
import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from theory_checks.ledger import records
from theory_checks.ledger.claim import Claim, Finding, Measured, Settings, Verdict
from theory_checks.ledger.records import Record, fingerprint, load, save
from toy.atomic import atomic


def check(settings: Settings) -> Finding:
    raise NotImplementedError


CLAIM = Claim("K1", "statement", "source", Verdict.FAILS, check)
FINDING = Finding(
    verdict=Verdict.FAILS,
    figures=(Measured("a", 1.5, limit=2.0, basis="b"), Measured("n", math.nan, low=-1.0, high=1.0, unit="nats")),
    reading="ε in R^d",
    methods=("one", "two"),
    assumption="none",
    remark="remark",
    counterexample={"x": [1.0, 2.0], "d": 2},
    data={"points": np.arange(6.0).reshape(2, 3), "names": np.array(["a", "b"])},
)
RECORD = Record(CLAIM, FINDING, 1.25)


def test_a_record_comes_back_as_it_was_written(tmp_path):
    save(RECORD, Settings(), tmp_path)
    back = load(CLAIM, Settings(), tmp_path)
    assert back is not None
    assert back.as_expected
    assert back.seconds == 1.25
    assert {k: v.tolist() for k, v in back.finding.data.items()} == {k: v.tolist() for k, v in FINDING.data.items()}
    for field in ("verdict", "reading", "methods", "assumption", "remark", "counterexample"):
        assert getattr(back.finding, field) == getattr(FINDING, field)
    assert back.finding.figures[0] == FINDING.figures[0]
    assert math.isnan(back.finding.figures[1].value)
    assert back.finding.figures[1].high == 1.0


def test_what_json_cannot_say_is_null_and_what_it_does_not_know_is_made_plain(tmp_path):
    example = {
        "x": [math.nan, 1.0],
        "t": torch.tensor([math.inf, 2.0]),
        "n": np.float64(3),
        "c": 1 + 2j,
        "m": {1: math.nan},
    }
    record = Record(CLAIM, Finding(Verdict.FAILS, (), "r", counterexample=example), 1.0)
    save(record, Settings(), tmp_path)
    text = (tmp_path / "K1.json").read_text(encoding="utf-8")
    found = json.loads(text, parse_constant=pytest.fail)["counterexample"]
    assert found == {"x": [None, 1.0], "t": [None, 2.0], "n": 3.0, "c": "(1+2j)", "m": {"1": None}}


def test_a_check_that_raised_is_not_resumed(tmp_path):
    save(Record(CLAIM, FINDING, 1.0, error="Traceback"), Settings(), tmp_path)
    assert load(CLAIM, Settings(), tmp_path) is None


@pytest.mark.parametrize("settings", [Settings(seed=1), Settings(profile="full")])
def test_other_settings_are_another_record(tmp_path, settings):
    save(RECORD, Settings(), tmp_path)
    assert load(CLAIM, settings, tmp_path) is None


def test_the_fingerprint_follows_the_code(tmp_path, monkeypatch):
    source = tmp_path / "package" / "deep"
    source.mkdir(parents=True)
    (source / "a.py").write_text("1")
    monkeypatch.setattr(records, "_sources", lambda package: sorted(source.glob("*.py")))
    first = fingerprint(CLAIM, Settings())
    assert fingerprint(CLAIM, Settings()) == first
    (source / "a.py").write_text("2")
    assert fingerprint(CLAIM, Settings()) != first


def test_the_fingerprint_covers_the_code_below_every_check(install):
    folder = install()
    import users_plugin

    assert users_plugin.__spec__ is not None
    assert records._sources("users_plugin") == [folder / "users_plugin.py"]
    names = {f.name for package in ("lml", "toy", "theory_checks") for f in records._sources(package)}
    assert {"kernel.py", "_rotation.py", "data_mixture.py", "emoji32.png", "identities.py"} <= names


@pytest.mark.parametrize("name", ["K1.json", "K1.npz"])
@pytest.mark.parametrize("damage", ["empty", "half", "garbage", "absent", "other"])
def test_a_damaged_record_is_ignored(tmp_path, name, damage):
    save(RECORD, Settings(), tmp_path)
    assert load(CLAIM, Settings(), tmp_path) is not None
    file = tmp_path / name
    content = file.read_bytes()
    if damage == "absent":
        file.unlink()
    else:
        file.write_bytes(
            {"empty": b"", "half": content[: len(content) // 2], "garbage": b"\xff\x00", "other": b"[]"}[damage]
        )
    assert load(CLAIM, Settings(), tmp_path) is None


@pytest.mark.parametrize("change", [{"verdict": "MAYBE"}, {"figures": [{"value": 1, "colour": 2}]}, {"figures": 7}])
def test_a_record_of_another_version_is_ignored(tmp_path, change):
    save(RECORD, Settings(), tmp_path)
    file = tmp_path / "K1.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    assert load(CLAIM, Settings(), tmp_path) is None


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("old")

    def fail() -> None:
        with atomic(file) as partial:
            partial.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_two_threads_that_write_one_file_leave_one_of_them_whole(tmp_path):
    file, begun = tmp_path / "file.txt", threading.Barrier(2)

    def write(text):
        with atomic(file) as partial:
            partial.write_text(text)
            begun.wait(10)  # both are written before either replaces the file
            assert partial.read_text() == text

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, ("a" * 10, "b" * 10)))
    assert file.read_text() in ("a" * 10, "b" * 10)
    assert list(tmp_path.iterdir()) == [file]
