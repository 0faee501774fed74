"""Pictures as files: of anywhere, read whole or refused in one message; ours, written as PNG whole or not at all."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

__all__ = ["check_png", "read_picture", "write_png"]


def read_picture(path: Path, mode: str = "RGB", *, upright: bool = False) -> Image.Image:
    """Return the picture of a file.

    Args:
        path: of the file.
        mode: of the picture, as Pillow names it.
        upright: whether it is turned as the camera's note says, as OpenCV and the pipelines of diffusers turn what they
            are given. The usual codes for FID do not.

    Raises:
        ValueError: for a file that is no picture, or one so large that it may be an attack.
    """
    try:
        with Image.open(path) as opened:
            return (ImageOps.exif_transpose(opened) if upright else opened).convert(mode)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as a picture: {error}") from error


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
