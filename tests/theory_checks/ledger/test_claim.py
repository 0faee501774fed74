import math

import pytest

from theory_checks.ledger import claim as ledger
from theory_checks.ledger.claim import Claim, Finding, Measured, Settings, Verdict, agreement, find_claims, select
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


def test_claims_of_a_users_package_are_found_beside_ours(install):
    install(alone=False)
    import theory_checks.ledger.claim as ledger

    points = [p for p in ledger.entry_points(group=ledger.GROUP) if p.name in {"kernel", "mine"}]
    assert len(points) == 2
    assert [c.id for p in points for c in ledger._load(p)] in (
        ["K1", "K2", "K3", "Z2", "Z1"],
        ["Z2", "Z1", "K1", "K2", "K3"],
    )


def test_claims_are_sorted_by_section_and_number(install, monkeypatch):
    install()
    assert [c.id for c in find_claims()] == ["Z1", "Z2"]
    ids = ["T1", "Z1", "K10", "A1", "K2", "H1", "KH1", "S1", "K2b"]
    monkeypatch.setattr("theory_checks.ledger.claim._load", lambda point: [claim(name) for name in ids])
    assert [c.id for c in find_claims()] == ["K2", "K2b", "K10", "H1", "S1", "A1", "T1", "KH1", "Z1"]


def test_a_plugin_that_is_installed_twice_is_one_plugin(install, monkeypatch):
    install()
    once = ledger.entry_points(group=ledger.GROUP)
    monkeypatch.setattr(ledger, "entry_points", lambda group: [*once, *once])
    assert [c.id for c in find_claims()] == ["Z1", "Z2"]


@pytest.mark.parametrize(
    ("attribute", "module", "message"),
    [
        ("TWICE", "users_plugin", "claim Z2 is defined twice, the second time by the plug-in 'mine'"),
        ("GARBAGE", "users_plugin", "plug-in 'mine' must yield claims, got str"),
        ("NUMBER", "users_plugin", "plug-in 'mine' .* cannot be loaded: 'int' object is not iterable"),
        ("ABSENT", "users_plugin", "plug-in 'mine' .* cannot be loaded: .*ABSENT"),
        ("CLAIMS", "no_such_module", "plug-in 'mine' .* cannot be loaded: No module named 'no_such_module'"),
    ],
)
def test_a_plugin_that_is_broken_is_named(install, attribute, module, message):
    install(attribute, module=module)
    with pytest.raises(ValueError, match=message):
        find_claims()


def test_selection_keeps_the_order_and_names_what_is_unknown():
    claims = [claim("K1"), claim("K2"), claim("H1")]
    assert select(claims, ()) == claims
    assert [c.id for c in select(claims, ("H1", "k1", "h1"))] == ["K1", "H1"]
    with pytest.raises(ValueError, match="claim must be one of K1, K2, H1, got 'Q9'"):
        select(claims, ("K1", "Q9"))


def test_a_finding_gives_its_figures_by_name():
    finding = check(Settings())
    assert finding.figure("a").value == 1.0
    with pytest.raises(KeyError, match="there are: a"):
        finding.figure("b")
