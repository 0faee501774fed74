import pytest

from lml.tuned import TUNED_EVALUATIONS, tuned_fractions, tuned_profile


@pytest.mark.parametrize("evaluations", TUNED_EVALUATIONS)
def test_profiles_fit_their_levels(evaluations):
    fractions, profile = tuned_fractions(evaluations), tuned_profile(evaluations)
    assert profile.steps == evaluations == len(fractions) - 1
    assert (fractions[0], fractions[-1]) == (0, 1)
    assert list(fractions) == sorted(set(fractions))
    assert tuned_profile(evaluations, restored=1.0).restored == 1.0


def test_there_are_profiles_for_the_numbers_that_are_compared():
    assert TUNED_EVALUATIONS == (5, 6, 8, 10)


@pytest.mark.parametrize("steps", [1, 2, 4, 7, 9, 20, 33])
def test_levels_for_other_numbers_of_steps_rise_from_zero_to_one(steps):
    fractions = tuned_fractions(steps)
    assert (fractions[0], fractions[-1], len(fractions)) == (0, 1, steps + 1)
    assert list(fractions) == sorted(set(fractions))


def test_twice_the_steps_meet_every_level_of_the_largest_profile():
    assert tuned_fractions(20)[::2] == tuned_fractions(10)


@pytest.mark.parametrize("evaluations", [7, 0, True, "5", 5.5])
def test_other_numbers_of_evaluations_are_refused(evaluations):
    with pytest.raises(ValueError, match="evaluations must be one of 5, 6, 8, 10"):
        tuned_profile(evaluations)


@pytest.mark.parametrize("steps", [0, -1, True, 2.0])
def test_steps_that_are_no_positive_integer_are_refused(steps):
    with pytest.raises(ValueError, match="steps must be a positive integer"):
        tuned_fractions(steps)
