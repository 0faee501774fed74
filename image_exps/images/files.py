"""Pictures of ours as files: PNG, written whole or not at all. Those of users are read by `toy.picture_files`."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

__all__ = ["check_png", "write_png"]


def check_png(out: Path) -> None:
    """Refuse a file of another name than a PNG's.

    Raises:
        ValueError: with the name.
    """
    if out.suffix.lower() != ".png":
        raise ValueError(f"out must be a .png file, got {out}")


def write_png(picture: Image.Image, path: Path) -> None:
    """Write a picture as PNG, in place of the file or not at all; folders above it are made."""
    from toy.atomic import atomic  # torch comes with it, which help of a command does not need

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as partial:
        picture.save(partial, format="PNG")
