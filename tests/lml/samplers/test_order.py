"""Orders of convergence of every base against the exact probability flow, with and without LML (claim A3)."""

import math

import pytest
import torch

import toy
from lml.correction import LML, NoCorrection, ReleasedLML
from lml.samplers import SAMPLERS, Evaluation, Level, Network, State, dpm_solver, dpm_solver_pp, sample, unipc
from lml.samplers.exponential import noise_transfer, phi, step_size
from theory_checks.annealing.order import errors_of, first_order_constant, observed_order

COUNTS = (16, 32, 64, 128)
LOG_SNR = (-3.0, 1.0)
SCHEDULE = toy.noise_schedule("vp-linear")
BASES = {
    **SAMPLERS,
    "unipc-1": unipc(1),
    "unipc-2-bh1": unipc(2, variant="bh1"),
    "unipc-2, order kept": unipc(2, lower_order_final=False),
    "unipc-3-noise, order kept": unipc(3, predict_x0=False, lower_order_final=False),
    "dpm-solver-3m, exact": dpm_solver(3, exact_curvature=True),
    "dpm-solver++-3m, exact": dpm_solver_pp(3, exact_curvature=True),
}


@pytest.fixture(scope="module", params=["skewed-1d", "cross-2d", "random-8d"])
def world(request):
    target = toy.target(request.param)
    start, end = toy.noise_levels(SCHEDULE, 1, log_snr=LOG_SNR)
    x = target.diffuse(start.alpha, start.sigma).sample(4, generator=torch.Generator().manual_seed(0))
    return toy.noise_model(target), x, toy.probability_flow(target, x, start, end)


@pytest.mark.parametrize("name", BASES)
def test_a_base_has_its_order_and_the_exact_flow_as_its_limit(world, name):
    counts = COUNTS if BASES[name].order < 3 else tuple(2 * n for n in COUNTS)  # a third order shows later
    errors, _ = errors_of(BASES[name], *world, counts, None)
    order = observed_order(errors)
    assert order.error < 0.5  # integers are told apart
    assert abs(order.limit - BASES[name].order) < order.error + 0.005  # where both changes of the order vanish at once
    # A wrong limit would leave errors that stop falling.
    assert float(errors[-1].norm()) < float(errors[0].norm()) * 2.0 ** (-3 * (BASES[name].order - 0.5))


# One of each kind: the claim A3 has the others.
@pytest.mark.parametrize("name", ["ddim", "dpm-solver-3m", "dpm-solver++-3m", "pndm-prk", "unipc-2, order kept",
                                  "heun"])  # fmt: skip
@pytest.mark.parametrize(
    "correction",
    [LML(1e-3, 5e-4), LML(1e-3, 2.5e-4), LML(0.05, 0.02, damping_mode="absolute"), LML(1e-3, 2e-4, rank=2)],
    ids=["half", "quarter", "absolute", "rank 2"],
)
def test_with_lml_every_base_is_of_first_order(name, correction):
    target = toy.target("cross-2d")
    start, end = toy.noise_levels(SCHEDULE, 1, log_snr=LOG_SNR)
    x = target.diffuse(start.alpha, start.sigma).sample(4, generator=torch.Generator().manual_seed(0))
    world = toy.noise_model(target), x, toy.probability_flow(target, x, start, end)
    errors, _ = errors_of(BASES[name], *world, COUNTS, correction)
    order = observed_order(errors)
    assert order.error < 0.5
    assert abs(order.limit - 1) < order.error + 0.005


def test_in_one_dimension_lml_is_its_base():
    target = toy.target("skewed-1d")
    levels = toy.noise_levels(SCHEDULE, 20, log_snr=LOG_SNR)
    x = torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None]
    for name in ("ddim", "dpm-solver-3m", "heun"):
        plain, turned = (sample(SAMPLERS[name], toy.noise_model(target), x, levels, c) for c in (None, LML(1e-3, 5e-4)))
        # p' is rounding: a few units in the last place a step, over 20 steps.
        torch.testing.assert_close(turned, plain, rtol=1e-13, atol=1e-13)


def test_half_strength_on_ddim_is_second_order_where_the_norm_of_the_noise_is_constant():
    # Two unit vectors that turn: eps = (cos, sin) of the half-log-SNR has eps' across eps, and nothing depends on x.
    def model(x, level):
        angle = torch.tensor(level.half_log_snr, dtype=torch.float64)
        return torch.stack((angle.cos(), angle.sin())).expand_as(x)

    x = torch.zeros((1, 2), dtype=torch.float64)
    ends = {}
    for n in COUNTS:
        levels = toy.noise_levels(SCHEDULE, n, log_snr=LOG_SNR)
        ends[n] = {c: sample(SAMPLERS["ddim"], model, x, levels, c) for c in (None, LML(1e-3, 5e-4), LML(1e-3, 2.5e-4))}
    # int rho eps dl with rho = e^-l, in closed form: [e^-l (sin l - cos l, -sin l - cos l)/2].
    a, b = LOG_SNR[0] / 2, LOG_SNR[1] / 2

    def primitive(v):
        return math.exp(-v) / 2 * torch.tensor([math.sin(v) - math.cos(v), -math.sin(v) - math.cos(v)]).double()

    exact = -(primitive(b) - primitive(a)) * toy.noise_levels(SCHEDULE, 1, log_snr=LOG_SNR)[-1].alpha
    expected = {None: 1, LML(1e-3, 5e-4): 2, LML(1e-3, 2.5e-4): 1}
    for correction, order in expected.items():
        errors = [ends[n][correction] - exact for n in COUNTS]
        found = observed_order(errors)
        # kappa = 5e-4 leaves a first-order term of its own, eta0 kappa, of a thousandth.
        assert abs(found.limit - order) < found.error + 0.05, correction


def test_the_published_third_order_steps_are_of_second_order_for_their_weight_alone():
    # With exact outputs of earlier steps the start plays no part.
    target = toy.target("cross-2d")
    model = toy.noise_model(target)
    first, last = toy.noise_levels(SCHEDULE, 1, log_snr=LOG_SNR)
    x = target.diffuse(first.alpha, first.sigma).sample(4, generator=torch.Generator().manual_seed(0))
    for make, predict_x0 in ((dpm_solver, False), (dpm_solver_pp, True)):
        for exact_curvature, order in ((False, 2), (True, 3)):
            errors = []
            for n in (24, 48, 96, 192):
                levels = toy.noise_levels(SCHEDULE, n, log_snr=LOG_SNR)
                outputs = []
                for level in levels[:2]:
                    there = toy.probability_flow(target, x, first, level) if level != first else x
                    e = model(there, level)
                    outputs.insert(0, (level, (there - level.sigma * e) / level.alpha if predict_x0 else e))
                state = State(toy.probability_flow(target, x, first, levels[2]), outputs=tuple(outputs))
                network = Network(model, NoCorrection(), n)
                step = make(3, exact_curvature=exact_curvature).step
                for i in range(2, n):
                    state, _ = step(state, network, levels, i)
                errors.append(state.x - toy.probability_flow(target, x, first, last))
            found = observed_order(errors)
            assert found.error < 0.5
            assert abs(found.limit - order) < found.error + 0.005, (make.__name__, exact_curvature)


def test_released_on_ddim_does_not_tend_to_the_flow():
    # The rotated noise enters the direction term alone: a change of order h a step, which does not shrink in sum.
    target = toy.target("cross-2d")
    start, end = toy.noise_levels(SCHEDULE, 1, log_snr=LOG_SNR)
    x = target.diffuse(start.alpha, start.sigma).sample(4, generator=torch.Generator().manual_seed(0))
    world = toy.noise_model(target), x, toy.probability_flow(target, x, start, end)
    errors, _ = errors_of(SAMPLERS["ddim"], *world, (256, 512), ReleasedLML(0.1, 0.02, textbook=False))
    limit = 2 * errors[-1] - errors[-2]
    assert float(limit.norm()) > 10 * float((errors[-1] - errors[-2]).norm())


def test_the_first_order_constant_of_ddim_is_that_of_its_equation():
    from theory_checks.annealing.order import first_order_error

    target = toy.target("ring-2d")
    start, end = toy.noise_levels(SCHEDULE, 1, log_snr=LOG_SNR)
    x = target.diffuse(start.alpha, start.sigma).sample(4, generator=torch.Generator().manual_seed(0))
    exact = toy.probability_flow(target, x, start, end)
    errors, steps = errors_of(SAMPLERS["ddim"], toy.noise_model(target), x, exact, COUNTS, None)
    constant, error = first_order_constant(errors, steps)
    _, change = first_order_error(target, x, start, end)
    assert float((constant + 0.5 * change).norm()) < float(error.norm())


@pytest.mark.parametrize("eta", [-40.0, -3.0, -1.0, -0.999, -1e-3, -1e-9, 0.0, 1e-9, 1e-3, 0.999, 1.0, 5.0])
def test_phi_is_its_integral(eta):
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(40):
        for k in (1, 2, 3, 4):
            exact = mpmath.quad(
                lambda s, k=k: mpmath.exp((1 - s) * eta) * s ** (k - 1) / mpmath.factorial(k - 1), [0, 0.5, 1]
            )
            # The recursion, used from |eta| = 1 on, magnifies a rounding by 1/|eta| and the loss of 1/k! a stage.
            assert abs(phi(k, eta) - float(exact)) < 16 * 2.0**-53 * max(
                float(exact), 1 / abs(eta) if abs(eta) >= 1 else 0
            )


def test_small_steps_keep_their_digits():
    now = Level(0.6, 0.8)
    for size in (1e-3, 1e-8, 1e-13):
        after = Level(0.6 * (1 + size), 0.8 * (1 - size))
        mpmath = pytest.importorskip("mpmath")
        with mpmath.workdps(50):
            exact = mpmath.log(mpmath.mpf(after.alpha) / now.alpha) - mpmath.log(mpmath.mpf(after.sigma) / now.sigma)
            gain = after.sigma * mpmath.expm1(exact)
        assert step_size(now, after) == pytest.approx(float(exact), rel=8 * 2.0**-53)
        assert noise_transfer(now, after).gain == pytest.approx(float(gain), rel=16 * 2.0**-53)


def test_the_angle_of_an_evaluation_keeps_its_digits():
    e = torch.tensor([[1.0, 0.0], [3.0, 4.0]], dtype=torch.float64)
    turned = torch.stack((torch.tensor([math.cos(1e-9), math.sin(1e-9)]).double(), e[1]))
    angle = Evaluation(e, turned).angle
    assert float(angle[0]) == pytest.approx(1e-9, rel=1e-7)  # cos(1e-9) = 1: the sine alone is seen, to 1e-16
    assert float(angle[1]) == 0
