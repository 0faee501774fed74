import pytest
import torch

from lml.correction import LML, Memory
from lml.extrapolated_norm import ExtrapolatedNorm, extrapolated_norm


def noises(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    e = torch.randn((5, 3, 4), generator=generator, dtype=torch.float64)
    return e.to(dtype), (e + 0.3 * torch.randn((5, 3, 4), generator=generator, dtype=torch.float64)).to(dtype)


def test_the_norm_is_extrapolated_and_the_direction_is_that_of_lml():
    e, p = noises()
    lml = LML(damping=1e-3, mixing=5e-4)
    turned, memory = ExtrapolatedNorm(lml).correct(e, Memory((p,)))
    plain, _ = lml.correct(e, Memory((p,)))
    own, past = (t.flatten(1).norm(dim=1) for t in (e, p))
    torch.testing.assert_close(turned.flatten(1).norm(dim=1), own + 0.5 * (own - past))
    scale = turned / plain
    torch.testing.assert_close(scale, scale[:, :1, :1].expand_as(scale))
    assert memory.history[0] is e


def test_the_norm_never_exceeds_that_of_the_extrapolation():
    e, p = noises()
    for eta in (0.1, 0.5, 2.0):
        free = (e + eta * (e - p)).flatten(1).norm(dim=1)
        assert bool((extrapolated_norm(e, p, eta) <= free + 1e-14).all())


def test_a_norm_that_would_not_be_positive_is_the_current_one():
    e, p = noises()
    torch.testing.assert_close(extrapolated_norm(e, 10 * p, 0.5), e.flatten(1).norm(dim=1))


def test_the_first_noise_and_no_mixing_are_left_as_they_are():
    e, p = noises()
    assert ExtrapolatedNorm().correct(e, Memory())[0] is e
    assert ExtrapolatedNorm(LML(mixing=0.0)).correct(e, Memory((p,)))[0] is e


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_dtype_is_kept(dtype):
    e, p = noises(dtype)
    turned, _ = ExtrapolatedNorm().correct(e, Memory((p,)))
    assert (turned.dtype, turned.shape) == (dtype, e.shape)


def test_a_turn_of_another_rank_is_refused():
    with pytest.raises(ValueError, match="rank must be 1 for ExtrapolatedNorm, got 2"):
        ExtrapolatedNorm(LML(rank=2))
