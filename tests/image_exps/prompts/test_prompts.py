"""The prompts that ship."""

from __future__ import annotations

from pathlib import Path

import pytest

import image_exps.prompts as shipped


def test_there_are_944_different_prompts():
    texts = shipped.prompts()
    assert len(texts) == len(set(texts)) == 944
    assert all(text and text == text.strip() for text in texts)


def test_a_tag_selects_and_its_facts_say_what_to_look_for():
    assert len(shipped.prompts("color")) == shipped.tags()["color"] == 85
    red = [p for p in shipped.tagged_prompts() if p.facts.get("color") == "red"]
    assert red
    assert all("red" in p.text for p in red)
    spatial = [p for p in shipped.tagged_prompts() if "spatial_relationship" in p.tags]
    assert all({"object_a", "object_b", "relationship"} <= set(p.facts) for p in spatial)


def test_an_unknown_tag_lists_the_tags():
    with pytest.raises(ValueError, match=r"tag must be one of .*color.*, got 'colour'"):
        shipped.prompts("colour")


def test_lines_end_where_those_of_a_file_do_and_nowhere_else():
    separators = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"
    inside = tuple(f"a{c}fox" for c in separators)
    assert len("".join(inside).splitlines()) == len(separators) + 1
    for end in ("\n", "\r\n", "\r"):
        assert shipped.prompts_in(end.join(["", "  one ", *inside, " "])) == ("one", *inside)


def test_the_licence_stands_beside_them():
    folder = Path(shipped.__file__).parent
    assert "Apache License" in (folder / "LICENSE-APACHE-2.0").read_text()
    assert "VBench" in (folder / "NOTICE").read_text()
