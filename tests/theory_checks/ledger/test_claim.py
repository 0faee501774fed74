import math
import sys

import pytest

from theory_checks.ledger.claim import Claim, Finding, Measured, Settings, Verdict, agreement
from theory_checks.ledger.max_error import MaxError


def check(settings: Settings) -> Finding:
    return Finding(Verdict.HOLDS, (Measured("a", 1.0),), "reading")


def claim(name: str) -> Claim:
    return Claim(name, "statement", "source", Verdict.HOLDS, check)


@pytest.mark.parametrize("name", ["K1", "H12", "S4a", "Mine7"])
def test_an_id_is_letters_and_a_number(name):
    assert claim(name).id == name


@pytest.mark.parametrize("name", ["", "K", "1", "k1", "K1ab", "K 1", "../K1", "K1\n", "K-1"])
def test_another_id_is_refused_by_name(name):
    with pytest.raises(ValueError, match="id must be letters and a number"):
        claim(name)


def test_a_check_without_code_of_its_own_is_refused():
    with pytest.raises(ValueError, match=r"check of claim K1 must be a plain function.*got type"):
        Claim("K1", "statement", "source", Verdict.HOLDS, Finding)


@pytest.mark.parametrize("name", ["math", "math:", ":floor", "math:a.b", "math floor"])
def test_a_name_of_a_check_is_module_and_function(name):
    with pytest.raises(ValueError, match="check of claim K1 must be named as 'module:function'"):
        Claim("K1", "statement", "source", Verdict.HOLDS, name)


def test_a_check_that_is_named_is_imported_when_it_is_asked_for(install):
    install()
    sys.modules.pop("users_plugin", None)
    named = Claim("K1", "statement", "source", Verdict.HOLDS, "users_plugin:check_first", draw="users_plugin:note")
    assert named.check_name == "users_plugin:check_first"
    assert "users_plugin" not in sys.modules
    assert named.load_check().__name__ == "check_first"
    assert named.load_draw().__name__ == "note"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("users_plugin:no_check", "cannot be loaded from users_plugin:no_check: .*no_check"),
        ("no_such_module:check", "cannot be loaded from no_such_module:check: No module named 'no_such_module'"),
        ("users_plugin:FAMILY", "must be a plain function, users_plugin:FAMILY is of type Family"),
    ],
)
def test_a_check_that_does_not_exist_is_refused_by_name(install, name, message):
    install()
    with pytest.raises(ValueError, match=f"check of claim K1 {message}"):
        Claim("K1", "statement", "source", Verdict.HOLDS, name).load_check()


def test_a_check_that_is_a_function_is_itself():
    assert claim("K1").load_check() is check
    assert claim("K1").load_draw() is None
    assert claim("K1").check_name == f"{__name__}:check"


def test_an_unknown_profile_is_refused():
    with pytest.raises(ValueError, match="profile must be 'quick' or 'full', got 'fast'"):
        Settings(profile="fast")


@pytest.mark.parametrize(
    ("value", "limit", "within"),
    [(1, 1, True), (-1, 1, True), (1.001, 1, False), (-2, 1, False), (0, 0, True), (1e-300, 0, False), (9, None, True)]
    + [(bad, limit, False) for bad in (math.nan, math.inf, -math.inf) for limit in (None, 1, math.inf)],
)
def test_a_figure_agrees_if_it_is_finite_and_within_its_limit(value, limit, within):
    assert Measured("a", value, limit=limit).within is within


def test_figures_that_disagree_leave_the_claim_open():
    good, bad = Measured("a", 0.5, limit=1), Measured("b", math.nan)
    assert agreement(good, good) is Verdict.HOLDS
    assert agreement(good, bad) is Verdict.OPEN
    assert agreement(bad, good) is Verdict.OPEN


@pytest.mark.parametrize("values", [[math.nan, 1.0], [1.0, math.nan], [1.0, math.nan, 2.0]])
def test_the_worst_of_errors_never_loses_a_nan(values):
    worst = MaxError()
    for value in values:
        worst.update("error", value)
    assert math.isnan(worst["error"])
    assert agreement(*worst.figures(("error", "an error", ""))) is Verdict.OPEN


def test_the_worst_of_errors_is_the_largest_of_each_kind():
    worst = MaxError()
    for value in (0.5, -1.0, 2.0, 1.5):
        worst.update("a", value)
    worst.update("b", -3.0)
    assert (worst["a"], worst["b"]) == (2.0, -3.0)
    assert [f.value for f in worst.figures(("b", "b", ""), ("unseen", "c", ""))] == [-3.0]


def test_streams_of_one_seed_differ_and_repeat():
    def draw(seed: int, stream: int) -> int:
        return Settings(seed=seed).generator(stream).initial_seed()

    assert len({draw(seed, stream) for seed in range(3) for stream in range(3)}) == 9
    assert draw(2, 1) == draw(2, 1)


def test_a_finding_gives_its_figures_by_name():
    finding = check(Settings())
    assert finding.figure("a").value == 1.0
    with pytest.raises(KeyError, match="there are: a"):
        finding.figure("b")
