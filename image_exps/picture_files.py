"""Pictures of files from anywhere: read whole, or refused in one message."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

__all__ = ["read_picture"]


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
