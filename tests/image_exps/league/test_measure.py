from image_exps.league.entries import ENTRIES, Entry
from image_exps.league.measure import measure

FLOW = next(entry for entry in ENTRIES if entry.label == "FlowMatchEulerDiscrete")


def test_what_cannot_be_judged_has_answers_that_say_why(tmp_path):
    found = measure(Entry("no_such_package:Thing", "diffusers", "Thing"), tmp_path, ("right", "cost"))
    assert all("cannot be imported" in answer["error"] for answer in found.values())


def test_answers_are_kept_and_a_second_run_takes_them_again(tmp_path):
    first = measure(FLOW, tmp_path, ("cost",))
    (kept,) = tmp_path.rglob("cost.json")
    before = kept.stat().st_mtime_ns
    assert measure(FLOW, tmp_path, ("cost",)) == first
    assert kept.stat().st_mtime_ns == before
