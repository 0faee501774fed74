"""Files of pictures: which they are, and what is in them. Everything that reads pictures of users reads them here."""

from __future__ import annotations

import stat
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from toy.folders import visible_files

__all__ = ["MOST_PIXELS", "SUFFIXES", "PictureFiles", "check_picture", "find_pictures", "read_picture"]

#: Of files that are pictures, in small or capital letters.
SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

#: Pixels of the largest picture that is read, 8192 x 8192: a small file can ask for more memory than there is.
MOST_PIXELS = 2**26

# What a file may be, whatever its suffix. Pillow reads more, by programs outside of it too.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")

# How Pillow calls the order of the two bytes of a number of 16 bits, and the other order.
_SWAPPED = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}

# By the camera's note (EXIF 0x0112), what sets a picture upright.
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class PictureFiles(NamedTuple):
    """The pictures below a folder.

    Attributes:
        files: in the order of their paths; none has been opened yet.
        left_out: what else lies there, in words; empty if nothing does.
    """

    files: tuple[Path, ...]
    left_out: str


def find_pictures(folder: Path) -> PictureFiles:
    """Return the pictures below a folder, by their suffixes; which files count is said at `toy.folders.visible_files`.

    A file that has the suffix of a picture and is none is not passed over: reading it is an error.

    Raises:
        ValueError: if there is no such folder, or it holds no picture.
    """
    if not folder.is_dir():
        got = "a file" if folder.exists() else "not there"
        raise ValueError(f"folder must be a folder of pictures, {folder} is {got}")
    seen = visible_files(folder)
    files = tuple(file for file in seen.files if file.suffix.lower() in SUFFIXES)
    others = Counter(file.suffix.lower() for file in seen.files if file.suffix.lower() not in SUFFIXES)
    said = [f"{seen.hidden} hidden"] if seen.hidden else []
    if others:
        kinds = ", ".join(sorted(suffix or "no suffix" for suffix in others))
        said.append(f"{others.total()} of other kinds ({kinds})")
    left_out = " and ".join(said)
    if not files:
        also = f"; it holds {left_out}" if left_out else ""
        raise ValueError(f"folder must hold pictures ({', '.join(sorted(SUFFIXES))}), {folder} has none{also}")
    return PictureFiles(files, left_out)


def check_picture(path: Path) -> None:
    """Refuse a file that is no picture, or that `read_picture` does not read, by its header alone: it is quick.

    Raises:
        ValueError: as `read_picture`, but for what only the pixels show: that they are cut off, or out of range.
    """
    try:
        with _opened(path) as picture:
            _check(picture)
    except Exception as error:
        raise _refusal(path, error) from error


def read_picture(path: Path, mode: str = "RGB") -> Image.Image:
    """Return the picture of a file, with 8 bits a channel, upright, on white where it is transparent.

    Channels of 16 bits are scaled by 1/257 and rounded. Floating-point numbers must lie in [0, 1] and are scaled by
    255. Palettes, grey, CMYK and YCbCr are converted as Pillow does; colour profiles are not applied. The camera's note
    how it was held is followed, as viewers do; the usual codes for FID do not.

    Args:
        path: of the file.
        mode: ``RGB``, or ``L`` for grey.

    Raises:
        ValueError: naming the file and the reason: it is no picture, is cut off, has several frames, more than
            `MOST_PIXELS`, or numbers whose scale is not known.
    """
    try:
        with _opened(path) as picture:
            depth = _check(picture)
            if depth == "16 bits":
                found = _of_16_bits(path, picture)
            elif depth == "float":
                found = _of_floats(picture)
            else:
                picture.load()
                found = _on_white(picture)
            # Read once the pixels are: TIFF files are turned by Pillow while they are, which then forgets the note.
            turn = _UPRIGHT.get(picture.getexif().get(_ORIENTATION, 1))
            found = found.convert(mode)
            return found if turn is None else found.transpose(turn)
    except Exception as error:
        raise _refusal(path, error) from error


def _refusal(path: Path, error: Exception) -> ValueError:
    """Return the error of a file: what Pillow raises of a damaged one is of many kinds."""
    if isinstance(error, UnidentifiedImageError):
        said = f"Pillow finds it to be none of {', '.join(_FORMATS)}"
    elif isinstance(error, OSError) and error.strerror:
        said = error.strerror
    else:
        said = str(error).partition("\n")[0] or type(error).__name__
    return ValueError(f"{path} cannot be read as a picture: {said}")


def _opened(path: Path) -> ImageFile.ImageFile:
    """Open a file, of which the header is read; other than Pillow, nothing waits for a pipe or a device."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is no file" if not path.is_dir() else "it is a folder")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `_check` has a limit of its own
        return Image.open(path, formats=_FORMATS)


def _check(picture: ImageFile.ImageFile) -> str:
    """Return how numbers are stored, ``8 bits``, ``16 bits`` or ``float``, of a picture that can be read.

    Raises:
        ValueError: for one that cannot, with the reason.
    """
    if picture.width * picture.height > MOST_PIXELS:
        raise ValueError(f"it is of {picture.width} x {picture.height} pixels, at most {MOST_PIXELS:,} are read")
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 and picture.format != "MPO":  # the further ones of a camera's file are previews of the first
        raise ValueError(f"it has {frames} frames, a picture has one: save the one that is meant")
    raw = {_raw_mode(tile) for tile in picture.tile}
    if picture.mode == "F":
        return "float"
    if picture.mode.startswith("I"):
        # Pillow reads PNGs of 16 bits as I;16, and did read them as I.
        if any(name.startswith("I;12") for name in raw) or not (picture.mode[1:] or picture.format == "PNG"):
            raise ValueError(f"the scale of its numbers ({', '.join(sorted(raw))}) is not known: save it with 8 bits")
        return "16 bits"
    if not any(";16" in name for name in raw) and "16" not in str(getattr(picture, "tag_v2", {}).get(258, "")):
        return "8 bits"
    if raw <= {f"{bands};16{order}" for bands in ("RGB", "RGBA", "LA") for order in _SWAPPED}:
        return "16 bits"
    raise ValueError(f"its 16 bits a channel ({', '.join(sorted(raw))}) are not read: save it as RGB, or with 8 bits")


def _raw_mode(tile: Any) -> str:
    """Return how the pixels of a part of a file are stored, by Pillow's name."""
    args = tile[3]
    return str(args if isinstance(args, str) else args[0] if args else "")


def _of_16_bits(path: Path, picture: ImageFile.ImageFile) -> Image.Image:
    """Return a picture of 16 bits a channel, scaled by 1/257 and rounded: 257 is odd, so that nothing is halfway."""
    words = _words(path, picture)
    clear = picture.info.get("transparency")  # one colour, in words too
    scaled = ((words + 128) // 257).astype(np.uint8)
    if scaled.shape[2] in (1, 3) and clear is not None:
        alpha = np.where((words == np.array(clear)).all(2, keepdims=True), 0, 255).astype(np.uint8)
        scaled = np.concatenate([scaled, alpha], 2)
    names = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
    bands = [Image.fromarray(np.ascontiguousarray(band)) for band in np.moveaxis(scaled, 2, 0)]
    return _on_white(bands[0] if len(bands) == 1 else Image.merge(names[len(bands)], bands))


def _words(path: Path, picture: ImageFile.ImageFile) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """Return the numbers of a picture of 16 bits a channel, shape (height, width, channels).

    Pillow keeps them of grey pictures, and the upper 8 bits of others. Those are read twice, the second time as if the
    order of the bytes were the other one.
    """
    if picture.mode.startswith("I"):
        return np.asarray(picture).astype(np.uint32)[..., None]
    upper_name = _raw_mode(picture.tile[0])
    if upper_name.startswith("LA"):  # four bytes a pixel, as those of RGBA with 8 bits
        with _opened(path) as four:
            _set_raw_mode(four, "RGBA")
            parts = np.asarray(four).astype(np.uint32)
        return parts[..., ::2] * 256 + parts[..., 1::2]
    with _opened(path) as swapped:
        _set_raw_mode(swapped, upper_name[:-1] + _SWAPPED[upper_name[-1]])
        lower = np.asarray(swapped).astype(np.uint32)
    return np.asarray(picture).astype(np.uint32) * 256 + lower


def _set_raw_mode(picture: ImageFile.ImageFile, name: str) -> None:
    """Let Pillow read the pixels of a file as if they were stored in another way."""
    tiles: list[Any] = []
    for tile in picture.tile:
        codec, extents, offset, args = tile
        changed: Any = (name, *args[1:]) if isinstance(args, tuple) else name
        tiles.append(tile._replace(args=changed) if hasattr(tile, "_replace") else (codec, extents, offset, changed))
    picture.tile = tiles


def _of_floats(picture: Image.Image) -> Image.Image:
    numbers = np.asarray(picture)
    low, high = float(numbers.min()), float(numbers.max())
    if not (low >= 0 and high <= 1):  # NaN is refused, too
        raise ValueError(f"its floating-point numbers are from {low:g} to {high:g}, they must lie in [0, 1]")
    return Image.fromarray((numbers.astype(np.float64) * 255).round().astype(np.uint8))


def _on_white(picture: Image.Image) -> Image.Image:
    """Return a picture without transparency: what shows through is white, not the colour that transparency hid."""
    if not picture.has_transparency_data:
        return picture
    with_alpha = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), with_alpha)
