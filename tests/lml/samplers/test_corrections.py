"""Corrections in the samplers: the identity, purity, windows, independence of the batch, and where LML acts."""

import itertools

import pytest
import torch

import toy
from lml.correction import LML, Memory, NoCorrection, ReleasedLML
from lml.kernel import lml_direction, lml_direction_textbook
from lml.samplers import SAMPLERS, Level, ipndm, sample, sampler, trajectory, unipc

TARGET = toy.target("random-8d")
MODEL = toy.noise_model(TARGET)
LEVELS = toy.noise_levels(toy.noise_schedule("vp-linear"), 8, log_snr=(-4.0, 3.0))
TO_ZERO = toy.noise_levels(toy.noise_schedule("vp-linear"), 6, times=(1.0, 0.02), spacing="karras", final_zero=True)
X = TARGET.diffuse(LEVELS[0].alpha, LEVELS[0].sigma).sample(5, generator=torch.Generator().manual_seed(1))


def same_bits(a, b):
    return a.dtype == b.dtype and torch.equal(a.view(torch.int64), b.view(torch.int64))


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("levels", [LEVELS, TO_ZERO], ids=["above zero", "to zero"])
def test_without_mixing_every_correction_is_the_base_bit_for_bit(name, levels):
    plain = sample(SAMPLERS[name], MODEL, X, levels)
    assert bool(plain.isfinite().all())
    for correction in (
        NoCorrection(),
        LML(mixing=0),
        LML(mixing=0, damping_mode="adaptive", rank=3),
        LML(start=0.5, stop=0.5),
        ReleasedLML(mixing=0, textbook=False),
    ):
        assert same_bits(sample(SAMPLERS[name], MODEL, X, levels, correction), plain), correction


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_is_pure_and_independent_of_its_batch(name):
    for correction in (
        LML(),
        LML(rank=2, damping_mode="adaptive"),
        LML(norm="extrapolated"),
        ReleasedLML(1e-2, 1e-3, textbook=False),
    ):
        one = sample(SAMPLERS[name], MODEL, X, LEVELS, correction)
        # Two generations step by step in turn, with one correction object: nothing is kept outside of the state.
        other = -X
        pairs = zip(
            trajectory(SAMPLERS[name], MODEL, X, LEVELS, correction),
            trajectory(SAMPLERS[name], MODEL, other, LEVELS, correction),
            strict=True,
        )
        *_, ((last, _), (last_other, _)) = pairs
        assert same_bits(last.x, one)
        assert same_bits(last_other.x, sample(SAMPLERS[name], MODEL, other, LEVELS, correction))
        # A row alone: matrix products of another shape may round otherwise, and 8 steps pass that on.
        alone = sample(SAMPLERS[name], MODEL, X[2:3], LEVELS, correction)
        torch.testing.assert_close(alone[0], one[2], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SAMPLERS)
def test_evaluations_are_counted_and_all_of_them_are_corrected(name):
    calls = []

    def counting(x, level):
        calls.append(level)
        return MODEL(x, level)

    infos = [info for _, info in trajectory(SAMPLERS[name], counting, X, LEVELS, LML())]
    seen = [e for info in infos for e in info.evaluations]
    assert len(calls) == len(seen) == SAMPLERS[name].evaluations(len(LEVELS) - 1)
    assert float(seen[0].angle.max()) == 0  # nothing to turn away from
    past = seen[0].raw
    for e in seen[1:]:
        expected = LML().direction(e.raw, (past,))
        assert same_bits(e.noise, expected)
        past = e.raw


@pytest.mark.parametrize("name", ["ddim", "dpm-solver-3m", "unipc-2", "heun"])
def test_a_window_limits_the_correction_to_its_steps(name):
    infos = [i for _, i in trajectory(SAMPLERS[name], MODEL, X, LEVELS, LML(start=0.25, stop=0.75))]
    turned = [max(float(e.angle.max()) for e in info.evaluations) > 0 for info in infos]
    assert turned == [i in (2, 3, 4, 5) for i in range(8)]
    # The memory is kept outside of the window too: at step 2 the previous noise is that of step 1.
    if name == "ddim":
        e, p = infos[2].evaluations[0], infos[1].evaluations[0]
        assert same_bits(e.noise, LML().direction(e.raw, (p.raw,)))


def test_released_on_ddim_keeps_the_raw_x0():
    damping, mixing, x, previous = 0.5, 0.02, X, None
    for now, after in itertools.pairwise(LEVELS):
        e = MODEL(x, now)
        r = lml_direction(e, previous, damping=damping, mixing=mixing)
        x, previous = after.alpha * (x - now.sigma * e) / now.alpha + after.sigma * r, e
    ours = sample(sampler("ddim"), MODEL, X, LEVELS, ReleasedLML(damping, mixing, textbook=False))
    torch.testing.assert_close(ours, x, rtol=1e-13, atol=1e-13)  # the same operations, in another order
    theirs = sample(sampler("ddim"), MODEL, X, LEVELS, LML(damping, mixing, damping_mode="absolute"))
    assert float((theirs - x).norm()) > 1e-3


def test_released_on_dpm_solver_turns_the_increment():
    damping, mixing, x, previous, past = 0.5, 0.05, X, None, []
    for i, (now, after) in enumerate(itertools.pairwise(LEVELS)):
        h = torch.tensor(after.half_log_snr - now.half_log_snr, dtype=torch.float64)
        past.insert(0, MODEL(x, now))
        steps = min(i + 1, 2, 8 - i)  # two predictions; one at the end of few steps
        D = past[0] - past[1] if steps == 2 else torch.zeros_like(x)  # equal steps: r_0 = 1
        u = -after.sigma * torch.expm1(h) * (past[0] + D / 2)
        x = after.alpha / now.alpha * x + lml_direction(u, previous, damping=damping, mixing=mixing)
        previous = u
    ours = sample(sampler("dpm-solver-2m"), MODEL, X, LEVELS, ReleasedLML(damping, mixing, textbook=False))
    torch.testing.assert_close(ours, x, rtol=1e-11, atol=1e-11)  # h from a difference of logarithms, 1e-15 of 0.4


def test_released_evaluates_the_published_expression_unless_told_otherwise():
    e, p = (torch.randn((2, 3072), generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    for textbook, direction in ((True, lml_direction_textbook), (False, lml_direction)):
        expected = direction(e, p, damping=1e-3, mixing=1e-3)
        turned, _ = ReleasedLML(1e-3, 1e-3, textbook=textbook).correct(e, Memory((p,)))
        assert torch.equal(turned, expected)
    assert not torch.equal(expected, lml_direction_textbook(e, p, damping=1e-3, mixing=1e-3))
    default, _ = ReleasedLML(1e-3, 1e-3).correct(e, Memory((p,)))
    assert torch.equal(default, lml_direction_textbook(e, p, damping=1e-3, mixing=1e-3))


def test_images_keep_their_shape_and_dtype():
    x = torch.randn((2, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    model = toy.noise_model(toy.target("digits"))
    for name in ("ddim", "dpm-solver++-2m", "unipc-3"):
        out = sample(sampler(name), model, x, LEVELS, LML())
        assert out.shape == x.shape
        assert out.dtype == torch.float32


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        (LEVELS[:1], "levels must be at least two, got 1"),
        (LEVELS[::-1], "levels must have falling noise"),
        ([LEVELS[0], LEVELS[0]], "levels must have falling noise"),
        ([Level(0.0, 1.0), *LEVELS], r"levels must have alpha > 0 and sigma >= 0, got 0.0 and 1.0 at 0"),
        ([LEVELS[0], Level(float("nan"), 0.1)], "levels must have alpha > 0"),
        ([LEVELS[0], Level(0.9, -0.1)], "levels must have alpha > 0"),
    ],
)
def test_levels_that_do_not_fit_are_refused(levels, message):
    with pytest.raises(ValueError, match=message):
        sample(sampler("ddim"), MODEL, X, levels)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sampler("rk4"), r"sampler must be one of ddim, .*, got 'rk4'"),
        (lambda: unipc(4), "order must be 1, 2 or 3, got 4"),
        (lambda: ipndm(1), "order must be 2, 3 or 4, got 1"),
        (lambda: ipndm(5), "order must be 2, 3 or 4, got 5"),
        (lambda: ipndm("2"), "order must be 2, 3 or 4, got '2'"),
        (lambda: unipc(2, variant="bh3"), "variant must be bh1 or bh2, got 'bh3'"),
        (lambda: LML(damping=0), "damping must be a finite positive number, got 0"),
        (lambda: LML(damping=float("nan")), "damping must be"),
        (lambda: LML(mixing=1.0), r"mixing must lie in \[0, 1\), got 1.0"),
        (lambda: LML(damping_mode="trust"), "damping_mode must be one of absolute, relative, adaptive, got 'trust'"),
        (lambda: LML(rank=0), "rank must be a positive integer, got 0"),
        (lambda: LML(rank=True), "rank must be"),
        (lambda: LML(start=-0.1), r"start must lie in \[0, 1\], got -0.1"),
        (lambda: LML(stop=1.5), r"stop must lie in \[0, 1\], got 1.5"),
        (lambda: LML(start=0.6, stop=0.5), "start must not exceed stop, got 0.6 and 0.5"),
        (lambda: ReleasedLML(damping=-1.0), "damping must be"),
        (lambda: ReleasedLML(mixing=-1.0), "mixing must"),
    ],
)
def test_bad_arguments_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_memory_is_as_deep_as_the_correction_needs():
    e = torch.ones((1, 2))
    for correction, depth in ((NoCorrection(), 0), (LML(), 1), (LML(rank=3), 3), (LML(damping_mode="adaptive"), 2)):
        memory = Memory()
        for _ in range(5):
            _, memory = correction.correct(e, memory)
        assert len(memory.history) == depth
