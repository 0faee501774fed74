"""Fashion-MNIST from its idx files: 60,000 and 10,000 grey pictures of clothes at 28x28, MIT licence.

Source: Xiao, Rasul & Vollgraf 2017. The idx format is that of LeCun's MNIST: a big-endian magic number (two zero bytes,
the type 8 for unsigned bytes, the number of axes), the length of each axis as four bytes, then the data.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch

from lml.arguments import check_choice
from toy.datasets import Pictures
from toy.outside import OUTSIDE, required

__all__ = ["CLASSES", "Split", "fashion_mnist"]

Split = Literal["train", "test"]

#: The words for the labels 0 to 9.
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_PREFIXES = {"train": "train", "test": "t10k"}
_UNSIGNED_BYTES = 8


def fashion_mnist(folder: str | Path | None = None, split: Split = "train") -> Pictures:
    """Return one split of Fashion-MNIST (d = 784).

    Args:
        folder: holds ``train-images-idx3-ubyte.gz`` and its three siblings; by default where `toy.outside` finds them.
        split: ``train`` (60,000 pictures) or ``test`` (10,000).

    Raises:
        ValueError: for an unknown split, an absent file, or one that is not the idx file it should be.
    """
    check_choice(split, "split", get_args(Split))
    folder = required("fashion-mnist") if folder is None else Path(folder)
    images = _idx(folder / f"{_PREFIXES[split]}-images-idx3-ubyte.gz", axes=3)
    labels = _idx(folder / f"{_PREFIXES[split]}-labels-idx1-ubyte.gz", axes=1)
    if images.shape[1:] != (28, 28) or len(images) != len(labels):
        raise ValueError(
            f"folder must hold 28x28 pictures and a label for each, {str(folder)!r} holds {len(images)} of "
            f"{images.shape[1]}x{images.shape[2]} and {len(labels)} labels"
        )
    if len(labels) and labels.max() >= len(CLASSES):
        raise ValueError(f"labels must lie in 0..{len(CLASSES) - 1}, {str(folder)!r} has {labels.max()}")
    pixels = torch.from_numpy(images)[:, None].to(torch.float32) / 127.5 - 1
    return Pictures(pixels, tuple(CLASSES[label] for label in labels), "fashion-mnist")


def _idx(path: Path, axes: int) -> np.ndarray:
    """Return the bytes of a gzipped idx file as an array with that many axes."""
    if not path.is_file():
        raise ValueError(
            f"folder must hold {path.name}, {str(path.parent)!r} does not: {OUTSIDE['fashion-mnist'].install}"
        )
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{str(path)!r} is not a readable gzip file: {error}") from error
    header = 4 + 4 * axes
    magic = bytes((0, 0, _UNSIGNED_BYTES, axes))
    if content[:4] != magic:
        raise ValueError(f"{str(path)!r} must start with the magic number {magic.hex()}, got {content[:4].hex()!r}")
    if len(content) < header:
        raise ValueError(f"{str(path)!r} is cut off within its header of {header} bytes")
    shape = struct.unpack(f">{axes}I", content[4:header])
    if len(content) - header != int(np.prod(shape)):
        raise ValueError(f"{str(path)!r} must hold {shape} bytes after its header, it holds {len(content) - header}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()
