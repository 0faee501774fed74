import hashlib
import io
import json
import math
import platform
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from code_caches import forget_code

from theory_checks.ledger import code_version
from theory_checks.ledger.claim import Claim, Finding, Measured, Settings, Verdict
from theory_checks.ledger.code_version import imported_files
from theory_checks.ledger.family import find_claims, find_families
from theory_checks.ledger.records import Record, examine, fingerprint, load, normalised, packed, save
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


def test_the_fingerprint_follows_the_code_of_the_check_its_name_and_its_settings(install):
    folder = install("NAMED")
    (claim,) = find_claims()
    first = fingerprint(claim, Settings())
    other = [fingerprint(claim, Settings(seed=1)), fingerprint(claim, Settings(profile="full"))]
    other += [fingerprint(replace(claim, check="users_plugin:check_second"), Settings())]
    assert fingerprint(replace(claim, statement="in other words", seconds=9.0), Settings()) == first
    forget_code()
    plugin = folder / "users_plugin.py"
    plugin.write_text(plugin.read_text().replace('Measured("half", 0.5', 'Measured("half", 0.25'))
    other += [fingerprint(claim, Settings())]
    assert len({first, *other}) == 5


def test_the_fingerprint_covers_proofs_that_a_check_finds_by_its_id():
    (k1,) = [claim for claim in find_claims() if claim.id == "K1"]
    modules = ["theory_checks.kernel.direction"]
    assert any(file.parts[-2:] == ("ledger", "proofs.py") for file in imported_files(*modules))
    assert not any(file.name == "proofs.py" and file.parent.name == "kernel" for file in imported_files(*modules))
    proofs = [name for family in find_families() for name in family.proofs]
    parts = (k1.id, k1.check_name, "quick", "0", platform.python_version(), code_version.code_version(modules + proofs))
    assert fingerprint(k1, Settings()) == hashlib.sha256("\n".join(parts).encode()).hexdigest()


def test_a_check_whose_code_is_in_no_file_is_never_resumed(tmp_path):
    namespace = {"__name__": "typed_into_an_interpreter"}
    exec("def check(settings): return None", namespace)
    claim = Claim("K1", "statement", "source", Verdict.FAILS, namespace["check"])
    assert fingerprint(claim, Settings()) == ""
    save(replace(RECORD, claim=claim), Settings(), tmp_path)
    assert examine(claim, Settings(), tmp_path) == (None, "its code or its settings have changed")


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


@pytest.mark.parametrize("change", [{"verdict": "HOLDS"}, {"seconds": 2.0}, {"digest": "0"}, {"remark": "none"}])
def test_a_record_that_was_changed_is_ignored_and_said_to_be(tmp_path, change):
    save(RECORD, Settings(), tmp_path)
    file = tmp_path / "K1.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    assert examine(CLAIM, Settings(), tmp_path) == (None, "its record was damaged or changed")


def test_arrays_of_another_record_are_ignored(tmp_path):
    save(RECORD, Settings(), tmp_path)
    file = tmp_path / "K1.npz"
    file.write_bytes(packed(replace(FINDING, data={"points": np.zeros((2, 3))})))
    assert examine(CLAIM, Settings(), tmp_path) == (None, "its record was damaged or changed")


@pytest.mark.parametrize("content", ["[]", "7", "{}", "[" * 5000 + "]" * 5000])
def test_a_record_of_another_version_is_ignored(tmp_path, content):
    save(RECORD, Settings(), tmp_path)
    (tmp_path / "K1.json").write_text(content)
    assert examine(CLAIM, Settings(), tmp_path) == (None, "its record is damaged, or of another version")


def test_a_folder_without_a_record_gives_no_reason(tmp_path):
    assert examine(CLAIM, Settings(), tmp_path) == (None, "")


def test_figures_that_are_not_finite_come_back_as_they_were(tmp_path):
    figures = tuple(Measured(str(v), v, low=-math.inf) for v in (math.inf, -math.inf, math.nan))
    save(replace(RECORD, finding=replace(FINDING, figures=figures)), Settings(), tmp_path)
    back = load(CLAIM, Settings(), tmp_path)
    assert [str(f) for f in back.finding.figures] == ["inf", "-inf", "nan"]
    assert [f.low for f in back.finding.figures] == [-math.inf] * 3
    assert all(row["value"] is None for row in back.row(Settings())["figures"])


def test_the_same_arrays_are_the_same_bytes_whatever_their_names():
    data = {"file": np.arange(3), "allow_pickle": np.ones(2), "a/b": np.array(["x"]), "0-d": np.array(1.5)}
    finding = replace(FINDING, data=data)
    with np.load(io.BytesIO(packed(finding))) as opened:
        assert {name: values.tolist() for name, values in dict(opened).items()} == {
            "file": [0, 1, 2], "allow_pickle": [1.0, 1.0], "a/b": ["x"], "0-d": 1.5
        }  # fmt: skip
    assert packed(finding) == packed(replace(FINDING, data={name: values.copy() for name, values in data.items()}))


def test_a_finding_of_other_types_is_one_of_numbers_and_texts():
    figures = (Measured("a", np.float32(0.5), limit=torch.tensor(1.0)), Measured("n", np.int64(3)))
    found = normalised(
        Finding(Verdict.HOLDS, figures, "r", methods=["one"], counterexample={"x": (np.float64(1), math.inf)},
                data={"t": torch.ones(2), "rows": [[1, 2], [3, 4]]})
    )  # fmt: skip
    assert found.figures == (Measured("a", 0.5, limit=1.0), Measured("n", 3))
    assert [type(f.value) for f in found.figures] == [float, int]
    assert found.counterexample == {"x": [1.0, None]}
    assert {name: array.tolist() for name, array in found.data.items()} == {"t": [1.0, 1.0], "rows": [[1, 2], [3, 4]]}


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
