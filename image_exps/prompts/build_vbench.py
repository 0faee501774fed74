"""Build ``vbench.json`` from the PyPI package vbench.

Run once, by hand; the result is shipped::

    pip download --no-deps vbench==0.1.5
    python image_exps/prompts/build_vbench.py vbench-0.1.5-py3-none-any.whl

Entries with the same text are joined: their tags and facts are those of all.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any


def build(wheel: Path, folder: Path) -> None:
    """Write the prompts and the licence into ``folder``."""
    with zipfile.ZipFile(wheel) as archive:
        entries = json.loads(archive.read("vbench/VBench_full_info.json"))
        (folder / "LICENSE-APACHE-2.0").write_bytes(archive.read("vbench-0.1.5.dist-info/LICENSE"))
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        prompt = found.setdefault(entry["prompt_en"], {"text": entry["prompt_en"], "tags": []})
        prompt["tags"] += [tag for tag in entry["dimension"] if tag not in prompt["tags"]]
        for facts in entry.get("auxiliary_info", {}).values():
            # One of them is wrapped twice, in its own name.
            plain = next(iter(facts.values())) if all(isinstance(v, dict) for v in facts.values()) else facts
            prompt.setdefault("facts", {}).update(plain)
    lines = ",\n".join(json.dumps(prompt, ensure_ascii=False) for prompt in found.values())
    (folder / "vbench.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(f"{len(entries)} entries, {len(found)} different texts")


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(__file__).parent)
