"""The choice among candidates: simple within the noise, fitted where it is surely better, not led by one sample."""

from __future__ import annotations

import pytest
import torch

from lml.solver.selection import Candidate, bootstrap, confirm, difficulties, pick, prefer, scores


def errors(scale=1.0, seed=0, spread=0.0):
    generator = torch.Generator().manual_seed(seed)
    base = torch.rand(16, dtype=torch.float64, generator=torch.Generator().manual_seed(99)) + 0.5
    return scale * base * torch.exp(spread * torch.randn(16, dtype=torch.float64, generator=generator))


def test_a_fit_that_is_surely_better_is_chosen():
    found = pick([Candidate("plain", 0, errors()), Candidate("fitted", 3, errors(0.7))])
    assert found.name == "fitted"


def test_the_simpler_one_is_chosen_within_the_noise():
    plain, lml, fitted = (Candidate(name, rank, errors(scale, seed, 0.5)) for name, rank, scale, seed in (
        ("plain", 0, 1.0, 1), ("lml", 1, 1.0, 2), ("fitted", 3, 0.97, 3)))  # fmt: skip
    assert pick([fitted, lml, plain]).name == "plain"


def test_one_that_is_within_the_noise_since_it_varies_is_not_chosen_over_a_simpler_better_one():
    """The plain one is surely 5 % behind the best; LML is far behind, but on one trajectory, which is noise."""
    best = errors()
    plain, loose = 1.05 * best, 0.99 * best
    loose[0] += 8 * best.sum() / len(best)
    candidates = [Candidate("plain", 0, plain), Candidate("lml", 1, loose), Candidate("fitted", 2, best)]
    found = scores(candidates, difficulties(candidates))
    assert found[2] < found[0] < found[1]
    assert bootstrap(loose, best).low < 1 < bootstrap(plain, best).low
    assert pick(candidates).name == "fitted"


def test_of_equal_rank_the_better_score_is_chosen():
    assert pick([Candidate("a", 0, errors(1.1)), Candidate("b", 0, errors(1.0))]).name == "b"


def test_one_hard_trajectory_does_not_decide():
    a, b = errors(), errors(0.8)
    a[0], b[0] = 20.0, 25.0
    candidates = [Candidate("a", 0, a), Candidate("b", 0, b), Candidate("c", 0, 3 * errors())]
    found = scores(candidates, difficulties(candidates))
    assert a.mean() < b.mean()
    assert found[1] < found[0]


def test_the_interval_holds_the_ratio_and_is_paired():
    a, b = errors(), errors(0.5)
    found = bootstrap(b, a)
    assert found == bootstrap(b, a)
    assert abs(found.ratio - 0.5) < 1e-12
    assert found.high - found.low < 1e-12  # the same factor on every trajectory: pairing leaves no noise
    loose = bootstrap(errors(0.5, 1, 1.0), a)
    assert loose.low < loose.ratio < loose.high


def test_a_fit_gives_way_only_to_one_that_is_surely_better():
    plain, alike, worse = Candidate("plain", 0, errors()), errors(1.02, 2, 0.5), errors(1.3)
    for fitted, expected in ((alike, "fitted"), (worse, "plain"), (errors(0.7), "fitted")):
        fit = Candidate("fitted", 2, fitted)
        assert prefer(fit, plain, [plain, fit]).name == expected
    # Within the noise the two rules differ: of the others the simplest is chosen.
    assert bootstrap(alike, plain.errors).low < 1


def test_what_is_no_nearer_in_the_mean_on_fresh_noises_is_not_confirmed():
    easy, hard = torch.full((60,), 0.5, dtype=torch.float64), torch.full((4,), 20.0, dtype=torch.float64)
    theirs = torch.ones(64, dtype=torch.float64)
    assert confirm(torch.cat([easy, hard]), theirs) is None  # nearer on 60 of 64
    found = confirm(torch.cat([easy, hard / 10]), theirs)
    assert found.ratio == pytest.approx((60 * 0.5 + 4 * 2) / 64)
    assert found.low < found.ratio < found.high
    assert confirm(theirs, theirs) is None
    spoilt = torch.cat([easy, torch.full((4,), torch.nan, dtype=torch.float64)])
    assert confirm(spoilt, theirs) is None
    assert confirm(theirs, spoilt).ratio == 0
