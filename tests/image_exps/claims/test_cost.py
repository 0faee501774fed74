"""Claim T1, its faults and its counter."""

import pytest
import torch
from fault_cases import faults_of

from image_exps.claims import FAMILY, cost
from image_exps.claims.cost import bytes_moved, check_cost
from image_exps.claims.faults import REDUCED
from image_exps.timing.networks import on_meta
from image_exps.timing.shapes import FULL_SIZE, full_size
from lml.correction import LML, Correction, NoCorrection
from theory_checks.ledger.claim import Settings, Verdict
from theory_checks.ledger.faults import injected

FAULTS = faults_of("T1")
CHECK = REDUCED["T1"]


@pytest.mark.slow  # a time: not beside other tests
def test_lml_adds_at_most_half_a_percent_of_a_large_network():
    finding = check_cost(Settings(), repetitions=50)
    assert finding.verdict is FAMILY.claim("T1").expected is Verdict.HOLDS
    # Both ways of timing see the same work: the scheduler around it adds to one of them only.
    by_step, alone, by_bytes = (f.value for f in finding.figures[:3])
    assert 0 < alone < 2 * by_step
    assert by_bytes == pytest.approx(0.00168, rel=0.05)  # counted; of the one eager form of the rotation


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_an_injected_fault_turns_the_check_red(fault):
    with injected(fault):
        assert CHECK(Settings()).verdict is not Verdict.HOLDS


def test_threads_are_left_as_they_were():
    before = torch.get_num_threads()
    CHECK(Settings())
    assert torch.get_num_threads() == before


class Sum(Correction):
    """Two reads and one write of the vector, exactly; and views, which move nothing."""

    depth = 1

    def _turned(self, vector, history, progress):
        return vector.flatten().view_as(vector) + history[0]


def test_the_counter_counts_operands_and_results_and_no_views():
    e = torch.ones(1, 3, 4, 4)
    assert bytes_moved(Sum(), e, e) == 3 * 48 * 4
    assert bytes_moved(Sum(), e.double(), e.double()) == 3 * 48 * 8
    assert bytes_moved(NoCorrection(), e, e) == 0


def test_lml_moves_at_least_its_five_streams_in_every_implementation():
    for shape in ((1, 4, 64, 64), (4, 4, 64, 64), (2, 70_000)):
        g = torch.Generator().manual_seed(0)
        e, p = (torch.randn(shape, generator=g) for _ in range(2))
        assert bytes_moved(LML(), e, p) >= 5 * e.numel() * 4


@pytest.mark.parametrize("name", FULL_SIZE)
def test_full_size_networks_have_the_published_number_of_weights(name):
    shape = full_size(name)
    assert sum(p.numel() for p in on_meta(shape).parameters()) == shape.parameters


def test_an_unknown_size_is_refused():
    with pytest.raises(ValueError, match="full_size must be one of sd15, sdxl, pixart, got 'sd99'"):
        full_size("sd99")


def test_the_network_that_is_timed_is_smaller_than_the_one_that_is_spoken_of():
    small, whole = on_meta(cost._TENTH), on_meta(full_size("sd15"))
    weights = [sum(p.numel() for p in net.parameters()) for net in (small, whole)]
    assert 100 * weights[0] < weights[1]
    assert type(small) is type(whole)
