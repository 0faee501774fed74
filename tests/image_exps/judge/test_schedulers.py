"""Schedulers whose steps have a form of their own are stepped as their pipelines do."""

import pytest
from diffusers_warnings import NUMPY_2

from image_exps.judge.levels import own_levels
from image_exps.judge.what import find

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)


def test_the_multistep_scheduler_of_cogvideox_is_given_its_own_history():
    asked = own_levels(find("diffusers:CogVideoXDPMScheduler"), 5).asked
    assert len(asked) == 5
    assert [level.time for level in asked] == sorted((level.time for level in asked), reverse=True)
