"""The prompts that ship: 946 short English prompts of VBench with tags, and what a judge may look for in each.

Also how prompts are read from a file of lines, wherever one is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

__all__ = ["Prompt", "prompts", "prompts_in", "tagged_prompts", "tags"]


@dataclass(frozen=True)
class Prompt:
    """A prompt.

    Attributes:
        text: of the prompt.
        tags: what VBench uses it for, e.g. ``color`` or ``spatial_relationship``.
        facts: for some tags, what the picture should show, e.g. ``{"color": "red"}``.
    """

    text: str
    tags: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@cache
def tagged_prompts() -> tuple[Prompt, ...]:
    """Return all 944 different prompts, in VBench's order (two of its 946 entries repeat a text)."""
    text = (files(__name__) / "vbench.json").read_text(encoding="utf-8")
    return tuple(Prompt(p["text"], tuple(p["tags"]), MappingProxyType(p.get("facts", {}))) for p in json.loads(text))


def tags() -> dict[str, int]:
    """Return every tag with the number of its prompts, the most frequent first."""
    counts: dict[str, int] = {}
    for prompt in tagged_prompts():
        for tag in prompt.tags:
            counts[tag] = counts.get(tag, 0) + 1
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def prompts(tag: str | None = None) -> tuple[str, ...]:
    """Return the texts of the prompts with a tag, or of all.

    Raises:
        ValueError: for a tag that no prompt has, listing the tags.
    """
    if tag is None:
        return tuple(prompt.text for prompt in tagged_prompts())
    found = tuple(prompt.text for prompt in tagged_prompts() if tag in prompt.tags)
    if not found:
        raise ValueError(f"tag must be one of {', '.join(tags())}, got {tag!r}")
    return found


def prompts_in(text: str) -> tuple[str, ...]:
    """Return the prompts of a text, one a line, without the spaces around them and without empty ones.

    Lines end as those of a file do. `str.splitlines` would end them at characters within a prompt too, of which the
    line separator U+2028 comes with texts from the web, and then picture i had another prompt than line i.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return tuple(line.strip() for line in lines if line.strip())
