import pytest

from theory_checks.ledger.progress import listen, track


def test_a_listener_is_called_with_label_and_fraction_of_every_item():
    seen = []
    with listen(lambda *news: seen.append(news)):
        assert list(track("ab", "letters")) == ["a", "b"]
    assert seen == [("letters", 0.0), ("letters", 0.5)]


def test_without_a_listener_it_is_silent_and_afterwards_again():
    seen = []

    def fail() -> None:
        with listen(lambda *news: seen.append(news)):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(track([1, 2, 3], "numbers")) == [1, 2, 3]
    assert seen == []


def test_the_inner_of_two_listeners_is_called():
    outer, inner = [], []
    with listen(lambda *news: outer.append(news)):
        with listen(lambda *news: inner.append(news)):
            list(track([1], "inside"))
        list(track([1], "outside"))
    assert (outer, inner) == ([("outside", 0.0)], [("inside", 0.0)])
