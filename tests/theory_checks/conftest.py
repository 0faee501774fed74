"""A plug-in package of a user, installed in a folder of its own, with claims that the ledger does not know."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from code_caches import forget_code

Install = Callable[..., Path]

PLUGIN = """
    import math, os, signal, sys, time
    from pathlib import Path
    import numpy as np
    from theory_checks.ledger.claim import Claim, Finding, Measured, Settings, Verdict, agreement
    from theory_checks.ledger.family import Family
    from theory_checks.ledger.progress import track

    def note(name):
        with open(os.environ["LML_TEST_CALLS"], "a") as file:
            file.write(name + "\\n")

    def check_first(settings: Settings) -> Finding:
        note("Z1")
        list(track([1, 2], "counting"))
        figures = (Measured("half", 0.5, limit=1, basis="by hand"), Measured("interval", 1.0, low=0.5, high=1.5))
        return Finding(agreement(*figures), figures, "one reading", data={"array": np.arange(3.0)})

    def check_second(settings: Settings) -> Finding:
        note("Z2")
        if os.environ.get("LML_TEST_BLOCK") == "interrupt":
            raise KeyboardInterrupt
        if os.environ.get("LML_TEST_BLOCK") == "sleep":
            time.sleep(120)
        figures = (Measured("nothing", math.nan, limit=1),)
        return Finding(agreement(*figures), figures, "two <readings>", counterexample={"x": [math.inf, 1.0]})

    def check_third(settings: Settings) -> Finding:
        note("Z3")
        raise ZeroDivisionError("division of [nothing]")

    def check_exit(settings): sys.exit(0)
    def check_exit_at_once(settings): os._exit(0)
    def check_killed(settings): os.kill(os.getpid(), signal.SIGKILL)
    def check_none(settings): return None
    def check_other(settings): return "HOLDS"

    def returning(**changes):
        values = {"verdict": Verdict.HOLDS, "figures": (), "reading": "a reading", **changes}
        return Finding(**values)

    def check_verdict(settings): return returning(verdict="HOLDS")
    def check_figure(settings): return returning(figures=(Measured("a", "1.0"),))
    def check_ragged(settings): return returning(data={"rows": [[1.0, 2.0], [3.0]]})
    def check_objects(settings): return returning(data={"rows": np.array([{}, 1], dtype=object)})
    def check_names(settings): return returning(data={"file": np.arange(3), "allow_pickle": [1.5], "a/b": ["x"]})

    def check_types(settings):
        import torch
        figures = (Measured("a", np.float32(0.5), limit=torch.tensor(1.0)), Measured("n", np.int64(3)))
        return returning(figures=figures, counterexample={"x": (np.float64(1.5), math.inf)}, data={"t": torch.ones(2)})

    ENDS = {
        "Z11": check_exit, "Z12": check_exit_at_once, "Z13": check_killed, "Z14": check_none, "Z15": check_other,
        "Z16": check_verdict, "Z17": check_figure, "Z18": check_ragged, "Z19": check_objects,
        "Z20": lambda settings: None, "Z21": "users_plugin:no_check", "Z22": "no_such_module:check",
        "Z23": check_third,
    }
    BAD = Family("bad", [
        Claim("Z1", "the first", "ours", Verdict.HOLDS, check_first),
        *(Claim(name, "ends without a finding", "ours", Verdict.HOLDS, check) for name, check in ENDS.items()),
        Claim("Z99", "the last", "ours", Verdict.HOLDS, check_first),
    ])
    GOOD = Family("good", [Claim("Z1", "names of arrays", "ours", Verdict.HOLDS, check_names),
                           Claim("Z2", "types of figures", "ours", Verdict.HOLDS, check_types)])
    GREEK = Family("greek", [Claim("Z1", "λ ≤ 1 → ε ± 0", "ours", Verdict.HOLDS, check_first)])

    CLAIMS = (
        Claim("Z2", "the second [0, 1)", "ours", Verdict.OPEN, check_second),
        Claim("Z1", "the first", "ours", Verdict.HOLDS, check_first, formula=r"a^2"),
    )
    FAMILY = Family("mine", CLAIMS)
    BROKEN = Family("broken", [Claim("Z3", "a check that raises", "ours", Verdict.HOLDS, check_third)])
    WRONG = Family("wrong", [Claim("Z2", "expected to hold", "ours", Verdict.HOLDS, check_second)])
    NAMED = Family("named", [Claim("Z1", "the first", "ours", Verdict.HOLDS, "users_plugin:check_first")])
    ABSENT_CHECK = Family("absent", [Claim("Z1", "the first", "ours", Verdict.HOLDS, "users_plugin:no_check")])
    TWICE = Family("twice", (*CLAIMS, CLAIMS[0]))
    NUMBER = 7
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Which checks of the plug-in ran, in this process or in another."""
    file = tmp_path / "calls"
    file.touch()
    monkeypatch.setenv("LML_TEST_CALLS", str(file))
    return lambda: file.read_text().split()


@pytest.fixture
def install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: Callable[[], list[str]], request: pytest.FixtureRequest
) -> Install:
    """Install the plug-in so that the ledger finds its entry points, and by default those of nobody else."""

    def install(attribute: str = "FAMILY", *, alone: bool = True, module: str = "users_plugin") -> Path:
        folder = tmp_path / "site"
        info = folder / "users_plugin-1.0.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (folder / "users_plugin.py").write_text(textwrap.dedent(PLUGIN))
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: users-plugin\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[lml.claims]\nmine = {module}:{attribute}\n")
        monkeypatch.syspath_prepend(str(folder))
        forget_code()
        if alone:
            from importlib.metadata import distribution

            import theory_checks.ledger.family

            monkeypatch.setattr(
                theory_checks.ledger.family,
                "entry_points",
                lambda group: distribution("users-plugin").entry_points.select(group=group),
            )
        request.addfinalizer(lambda: sys.modules.pop("users_plugin", None))
        return folder

    return install
