"""Colours of the figures under simulated colour-vision deficiency."""

import itertools

import numpy as np
import pytest

from paper_figures.style import READINGS, ROLES, role

FAMILIES = {name: r for name, r in ROLES.items() if not r.variant}

# Linear RGB to linear RGB at full severity: Machado, Oliveira & Fernandes 2009, Table 1.
VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}

# Okabe & Ito 2008, the eight colours that are said to be told apart by all.
OKABE_ITO = ("#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")

TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def linear(colour):
    c = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIE 1976 L*a*b* of linear RGB, white point D65."""
    t = TO_XYZ @ rgb.clip(0, 1) / TO_XYZ.sum(1)
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def least_distance(colours, vision):
    seen = [lab(np.array(VISION[vision]) @ linear(c)) for c in colours]
    return min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2))


@pytest.mark.parametrize("vision", VISION)
def test_colours_are_as_distinct_as_those_of_okabe_and_ito(vision):
    worst = min(least_distance(OKABE_ITO, v) for v in VISION)
    assert least_distance([r.colour for r in FAMILIES.values()], vision) >= worst


def test_two_colours_that_deuteranopes_confuse_are_found_close():
    assert least_distance(("#7f7f00", "#b26b00"), "normal") > 2 * least_distance(("#7f7f00", "#b26b00"), "deuteranopia")


def test_no_two_roles_share_a_marker_or_a_colour_but_a_variant_is_its_family_hollow_and_dashed():
    assert len({r.marker for r in FAMILIES.values()}) == len(FAMILIES)
    assert len({r.colour for r in FAMILIES.values()}) == len(FAMILIES)
    looks = {(r.colour, r.marker, r.variant) for r in ROLES.values()}
    assert len(looks) == len(ROLES)
    for r in ROLES.values():
        assert (r.line().get("mfc"), r.line().get("ls")) == (("white", "--") if r.variant else (None, None))


def test_readings_are_distinct_where_they_share_a_panel():
    for panel in (("target", "literal", "corrected", "langevin"),
                  ("bound", "outer", "zero", "best multiple", "best with identity")):  # fmt: skip
        assert len({READINGS[name] for name in panel}) == len(panel)


def test_role_of_a_variant_is_that_of_its_family():
    assert role("dpm-solver++-2m") is ROLES["dpm-solver++"]
    assert role("dpm-solver-3m") is ROLES["dpm-solver-3m"]
    assert role("ipndm-4") is ROLES["ipndm"]
    assert role("lml") is ROLES["LML"]
    assert role("element noise 20%") is ROLES["element noise"]
    with pytest.raises(ValueError, match=r"name must begin with one of exact, LML, .*, got 'euler'"):
        role("euler")
