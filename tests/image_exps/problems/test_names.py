"""The names that are known without loading anything are those of what is loaded."""

import inspect

import pytest

from image_exps.networks import NETWORKS
from image_exps.networks.galaxies import GALAXIES
from image_exps.problems.names import MODEL_PARAMETERS, NETWORK_NAMES, TARGET_NAMES, check_problem
from image_exps.problems.specification import MODELS
from image_exps.problems.targets import TARGETS


def test_each_name_has_what_it_names_and_the_other_way_round():
    assert tuple(TARGETS) == TARGET_NAMES
    assert (*NETWORKS, *GALAXIES) == NETWORK_NAMES
    assert {name: tuple(inspect.signature(make).parameters)[1:] for name, make in MODELS.items()} == MODEL_PARAMETERS


@pytest.mark.parametrize(
    ("target", "model", "message"),
    [
        ("moon", "exact", "targets must be of digits, .* for 'exact', got 'moon'"),
        ("digits", "network", "targets must be of fashion-mnist, emoji, .* for 'network', got 'digits'"),
        ("fashion-mnist", "smooth(size=0.1)", r"for 'smooth\(size=0.1\)', got 'fashion-mnist'"),
        ("digits", "rough", "models must be of exact, network, white, smooth, bias, got 'rough'"),
        ("digits", "white(colour=1)", "parameter of white must be one of size, got 'colour'"),
        ("digits", "exact(size=1)", r"parameter of exact must be one of \(none\), got 'size'"),
        ("digits", 3, "models must be names, got 3"),
    ],
)
def test_what_does_not_exist_is_refused(target, model, message):
    with pytest.raises(ValueError, match=message):
        check_problem(target, model)
