import diffusers.schedulers
import pytest

from image_exps.judge.what import find
from image_exps.league.entries import ENTRIES, LEFT_OUT, SPACINGS
from image_exps.samplers.table import ALGORITHMS


def test_no_entry_stands_in_the_league_twice():
    assert len({(entry.what, entry.same_as) for entry in ENTRIES}) == len(ENTRIES)
    assert len({entry.label for entry in ENTRIES}) == len(ENTRIES)


def test_every_scheduler_of_diffusers_takes_part_or_is_left_out_with_a_reason():
    there = {name for name in dir(diffusers.schedulers) if name.endswith("Scheduler")}
    taking_part = {entry.what.removeprefix("diffusers:").partition("{")[0] for entry in ENTRIES
                   if entry.library == "diffusers"}  # fmt: skip
    assert taking_part <= there
    assert there - taking_part == set(LEFT_OUT)


def test_ours_are_those_of_the_table():
    ours = {entry.what for entry in ENTRIES if entry.library == "lml"}
    assert {name for name, each in ALGORITHMS.items() if not each.flow} < ours


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.library == "lml"], ids=lambda e: e.label)
def test_each_of_ours_is_found(entry):
    assert find(entry.what).run is not None


def test_an_entry_whose_options_say_how_levels_lie_is_measured_at_these_alone():
    for entry in ENTRIES:
        fixed = "timestep_spacing" in entry.what or "use_karras_sigmas" in entry.what
        assert entry.spacings == (("own",) if fixed else SPACINGS[entry.library])
