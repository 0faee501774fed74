"""Families of claims: what a plug-in exports, how claims are found, and that listing them imports nothing heavy."""

import subprocess
import sys

import pytest

from theory_checks.ledger import family as ledger
from theory_checks.ledger.claim import Claim, Finding, Settings, Verdict
from theory_checks.ledger.family import Family, find_claims, find_families, modules_of, select


def check(settings: Settings) -> Finding:
    return Finding(Verdict.HOLDS, (), "reading")


def claim(name: str) -> Claim:
    return Claim(name, "statement", "source", Verdict.HOLDS, check)


def test_our_families_are_found_in_the_order_of_the_paper():
    assert [f.name for f in find_families()] == [
        "kernel", "hessian", "stationary", "convergence", "annealing", "pictures"
    ]  # fmt: skip


@pytest.mark.parametrize("claim", find_claims(), ids=lambda c: c.id)
def test_every_check_and_every_picture_that_is_declared_exists(claim):
    assert callable(claim.load_check())
    assert claim.draw is None or callable(claim.load_draw())


@pytest.mark.parametrize("family", find_families(), ids=lambda f: f.name)
def test_every_family_has_its_faults_and_its_letter(family):
    assert modules_of(family, "faults")
    letters = {
        "kernel": "K",
        "hessian": "H",
        "stationary": "S",
        "convergence": "C",
        "annealing": "A",
        "pictures": "DLQT",
    }
    assert {c.id[0] for c in family.claims} == set(letters[family.name])


def test_a_users_family_is_found_beside_ours(install):
    install(alone=False)
    assert [f.name for f in find_families()][-2:] == ["pictures", "mine"]


def test_claims_are_sorted_by_section_and_number(install, monkeypatch):
    install()
    assert [c.id for c in find_claims()] == ["Z1", "Z2"]
    ids = ["T1", "Z1", "K10", "A1", "K2", "H1", "KH1", "S1", "K2b"]
    monkeypatch.setattr(ledger, "_load", lambda point: Family("mine", tuple(claim(name) for name in ids)))
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
        ("CLAIMS", "users_plugin", r"plug-in 'mine' \(users_plugin:CLAIMS\) must export a .*Family, got tuple"),
        ("NUMBER", "users_plugin", r"plug-in 'mine' .* must export a .*Family, got int"),
        ("NO_SUCH", "users_plugin", "plug-in 'mine' .* cannot be loaded: .*NO_SUCH"),
        ("FAMILY", "no_such_module", "plug-in 'mine' .* cannot be loaded: No module named 'no_such_module'"),
    ],
)
def test_a_plugin_that_is_broken_is_named(install, attribute, module, message):
    install(attribute, module=module)
    with pytest.raises(ValueError, match=message):
        find_claims()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("raise RuntimeError('no licence')", "cannot be loaded: no licence"),
        ("import sys; sys.exit(0)", r"cannot be loaded: it ends the interpreter when it is imported \(exit status 0\)"),
        ("raise ValueError", "cannot be loaded: ValueError"),
        ("import os; os._exit(0)", r"cannot be loaded: it ends the interpreter .* \(exit status 0\)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", r"cannot be loaded: .* \(exit status -9\)"),
    ],
)
def test_a_plugin_that_raises_or_exits_when_it_is_imported_is_named(install, line, message):
    folder = install()
    (folder / "users_plugin.py").write_text(line + "\n")
    with pytest.raises(ValueError, match=rf"plug-in 'mine' \(users_plugin:FAMILY\) {message}"):
        find_claims()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"claims": ("K1",)}, "claims of the family 'mine' must be claims, got 'K1'"),
        ({"claims": claim("K1")}, "claims of the family 'mine' must be a tuple"),
        ({"claims": (), "faults": "my.faults"}, "faults of the family 'mine' must be a tuple, got 'my.faults'"),
        ({"claims": (), "proofs": (sys,)}, "proofs of the family 'mine' must be names of modules"),
    ],
)
def test_a_family_of_other_things_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Family("mine", **options)


def test_a_module_of_faults_that_ends_the_interpreter_is_named(tmp_path, monkeypatch):
    (tmp_path / "ending_faults.py").write_text("import os; os._exit(0)")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match=r"ending_faults cannot be imported: it ends the interpreter .*status 0"):
        modules_of(Family("mine", (), faults=("ending_faults",)), "faults")


def test_a_module_of_faults_that_cannot_be_imported_is_named():
    with pytest.raises(ValueError, match="faults of the family 'mine': no_such_module cannot be imported: No module"):
        modules_of(Family("mine", (), faults=("no_such_module",)), "faults")


def test_selection_keeps_the_order_and_names_what_is_unknown():
    claims = [claim("K1"), claim("K2"), claim("H1")]
    assert select(claims, ()) == claims
    assert [c.id for c in select(claims, ("H1", "k1", "h1"))] == ["K1", "H1"]
    with pytest.raises(ValueError, match="claim must be one of K1, K2, H1, got 'Q9'"):
        select(claims, ("K1", "Q9"))


HEAVY = ("torch", "numpy", "scipy", "sympy", "matplotlib", "diffusers", "PIL", "seaborn", "pandas", "skfem", "jinja2")


@pytest.mark.parametrize(
    "arguments", [["--list"], ["--help"], ["--claim", "Q9"], ["--claim", "K1", "--out", "/etc/hosts/x"]]
)
@pytest.mark.parametrize("module", ["theory_checks", "theory_checks.ledger.mutation"])
def test_a_list_a_help_text_and_a_wrong_name_import_nothing_heavy(module, arguments):
    code = (
        "import runpy, sys\n"
        f"sys.argv = [{module!r}, *{arguments!r}]\n"
        "try:\n"
        f"    runpy.run_module({module!r}, run_name='__main__', alter_sys=True)\n"
        "except SystemExit as end:\n"
        "    print('status', end.code)\n"
        f"print('heavy:', *[m for m in {HEAVY!r} if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    status, heavy = done.stdout.splitlines()[-2:]
    if (module, arguments) != ("theory_checks.ledger.mutation", ["--list"]):
        assert status == f"status {0 if arguments[0] in ('--list', '--help') else 2}"
    assert heavy.strip() == "heavy:"


def test_the_package_exports_what_a_claim_needs_and_imports_nothing_heavy_for_it():
    code = f"import sys, theory_checks as t; print(t.Family, t.fault, *[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("<class 'theory_checks.ledger.family.Family'> <function fault")
    assert not any(name in done.stdout for name in HEAVY)
