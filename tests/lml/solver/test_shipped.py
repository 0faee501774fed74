"""The choices that ship: those that the code makes, for every common schedule."""

from __future__ import annotations

from pathlib import Path

import lml.solver
from lml.solver import for_schedule, method, of_method
from lml.solver.choice import EVALUATIONS, MARGIN, Choice, choose, chosen, key_of, schedule_errors
from lml.solver.shipping import SHIPPED
from lml.solver.storage import read_json


def test_what_ships_is_what_is_computed():
    name, n = "EDM", 4
    schedule = SHIPPED[name]()
    assert chosen(schedule, n) == choose(schedule_errors(schedule, n))
    assert for_schedule(schedule, n) == of_method(chosen(schedule, n).method, schedule, n)


def test_every_common_schedule_ships():
    table = read_json(Path(lml.solver.__file__).parent / "choices.json")["schedules"]
    assert {key_of(make()) for make in SHIPPED.values()} == set(table)
    for entry in table.values():
        assert tuple(map(int, entry["choices"])) == EVALUATIONS
        for found in entry["choices"].values():
            assert Choice(*found).held_out <= MARGIN
            assert method(found[0]).name == found[0]
