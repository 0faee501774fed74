"""Samplers as somebody might port them, right and wrong, and things that are no samplers."""

import itertools
import math

import torch


def dpmpp_2m(noise_model, x, levels):
    """DPM-Solver++ 2M, right."""
    return _dpmpp_2m(noise_model, x, levels)


dpmpp_2m.order = 2


def sigma_for_alpha(noise_model, x, levels):
    """DDIM whose next sample has sigma' of the data."""
    for now, after in itertools.pairwise(levels):
        e = noise_model(x, now)
        x0 = (x - now.sigma * e) / now.alpha
        x = after.sigma * x0 + after.sigma * e
    return x


def divided_by_sigma(noise_model, x, levels):
    """DDIM whose data prediction is divided by sigma."""
    for now, after in itertools.pairwise(levels):
        e = noise_model(x, now)
        x = after.alpha * (x - now.sigma * e) / now.sigma + after.sigma * e
    return x


def swapped_throughout(noise_model, x, levels):
    """DDIM with alpha and sigma in each other's place everywhere."""
    for now, after in itertools.pairwise(levels):
        e = noise_model(x, now)
        x0 = (x - now.alpha * e) / now.sigma
        x = after.sigma * x0 + after.alpha * e
    return x


def off_by_one(noise_model, x, levels):
    """DDIM that steps to the level after the next, and asks at the next."""
    for i, now in enumerate(levels[:-1]):
        before, after = levels[min(i + 1, len(levels) - 1)], levels[min(i + 2, len(levels) - 1)]
        e = noise_model(x, now)
        here = now if i == 0 else before
        x0 = (x - here.sigma * e) / here.alpha
        x = after.alpha * x0 + after.sigma * e
    return x


def history_not_shifted(noise_model, x, levels):
    """DPM-Solver++ 2M that keeps its first data prediction for ever."""
    return _dpmpp_2m(noise_model, x, levels, shift=False)


def history_overwritten(noise_model, x, levels):
    """DPM-Solver++ 2M that stores its data prediction before it uses the old one."""
    return _dpmpp_2m(noise_model, x, levels, overwrite=True)


history_overwritten.order = 2


def _dpmpp_2m(noise_model, x, levels, *, shift=True, overwrite=False):
    old = None
    for i, now in enumerate(levels[:-1]):
        after = levels[i + 1]
        h = after.half_log_snr - now.half_log_snr
        x0 = (x - now.sigma * noise_model(x, now)) / now.alpha
        if overwrite:
            old = x0
        if old is None:
            d = x0
        else:
            r = (now.half_log_snr - levels[i - 1].half_log_snr) / h if i else 1.0
            d = x0 + (x0 - old) / (2 * r)
        if old is None or shift:
            old = x0
        x = (after.sigma / now.sigma) * x - after.alpha * math.expm1(-h) * d
    return x


def k_euler(model, x, sigmas, extra_args=None, callback=None, disable=None):
    """Euler, right."""
    for sigma, after in itertools.pairwise(sigmas):
        x = x + (after - sigma) * (x - model(x, sigma * x.new_ones(len(x)))) / sigma
    return x


def k_euler_off_by_one(model, x, sigmas, extra_args=None, callback=None, disable=None):
    """Euler that asks its network at the level before."""
    for i, (sigma, after) in enumerate(itertools.pairwise(sigmas)):
        asked = sigmas[max(i - 1, 0)]
        x = x + (after - sigma) * (x - model(x, asked * x.new_ones(len(x)))) / asked
    return x


def k_ancestral(model, x, sigmas, extra_args=None, callback=None, disable=None):
    """Euler ancestral, right."""
    for sigma, after in itertools.pairwise(sigmas):
        x = _ancestral(model, x, sigma, after, 1.0)
    return x


def k_ancestral_too_noisy(model, x, sigmas, extra_args=None, callback=None, disable=None):
    """Euler ancestral with twice its noise."""
    for sigma, after in itertools.pairwise(sigmas):
        x = _ancestral(model, x, sigma, after, 2.0)
    return x


def _ancestral(model, x, sigma, after, amount):
    up = (after**2 * (sigma**2 - after**2) / sigma**2) ** 0.5
    down = (after**2 - up**2) ** 0.5
    x = x + (down - sigma) * (x - model(x, sigma * x.new_ones(len(x)))) / sigma
    return x + amount * up * torch.randn_like(x)


def another_shape(noise_model, x, levels):
    noise_model(x, levels[0])
    return x[:, :1]


def not_finite(noise_model, x, levels):
    noise_model(x, levels[0])
    return x * math.nan


def not_finite_midway(noise_model, x, levels):
    for level in levels[:-1]:
        x = x + math.inf * (x - noise_model(x, level))
    return x


def asks_forever(noise_model, x, levels):
    while True:
        x = x + 1e-9 * noise_model(x, levels[0])


def sleeps_forever(noise_model, x, levels):
    import time

    while True:
        time.sleep(0.01)


def returns_nothing(noise_model, x, levels):
    noise_model(x, levels[0])


def needs_more(noise_model, x, levels, strength):
    return x


def another_convention(model, image, strength):
    return image


def raises(noise_model, x, levels):
    raise KeyError("no such thing")


class NoScheduler:
    """A class with nothing of a scheduler."""
