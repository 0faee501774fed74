"""The reader of Fashion-MNIST: what its files hold, and each way in which they can be wrong."""

import gzip
import struct

import numpy as np
import pytest
import torch

from toy.fashion_mnist import CLASSES, fashion_mnist


def idx(array, *, kind=8):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write(folder, images, labels, prefix="train"):
    (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    return folder


IMAGES = np.random.default_rng(0).integers(0, 256, (5, 28, 28))
LABELS = np.array([0, 9, 3, 3, 7])


@pytest.mark.parametrize(("split", "prefix"), [("train", "train"), ("test", "t10k")])
def test_pixels_and_labels_are_those_of_the_files(tmp_path, split, prefix):
    pictures = fashion_mnist(write(tmp_path, idx(IMAGES), idx(LABELS), prefix), split)
    assert pictures.images.shape == (5, 1, 28, 28)
    assert pictures.images.dtype == torch.float32
    assert torch.equal(((pictures.images[:, 0] + 1) * 127.5).round().long(), torch.from_numpy(IMAGES))
    assert pictures.labels == ("T-shirt/top", "Ankle boot", "Dress", "Dress", "Sneaker")


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (idx(IMAGES, kind=13), idx(LABELS), "must start with the magic number 00000803, got '00000d03'"),
        (idx(IMAGES), idx(IMAGES), "must start with the magic number 00000801, got '00000803'"),
        (idx(IMAGES)[:-1], idx(LABELS), r"must hold \(5, 28, 28\) bytes after its header, it holds 3919"),
        (idx(IMAGES)[:10], idx(LABELS), "is cut off within its header of 16 bytes"),
        (idx(IMAGES[:, :27]), idx(LABELS), "must hold 28x28 pictures and a label for each"),
        (idx(IMAGES), idx(LABELS[:4]), "holds 5 of 28x28 and 4 labels"),
        (idx(IMAGES), idx(LABELS + 3), r"labels must lie in 0\.\.9, .* has 12"),
    ],
)
def test_files_that_are_not_what_they_should_be_are_refused(tmp_path, images, labels, message):
    with pytest.raises(ValueError, match=message):
        fashion_mnist(write(tmp_path, images, labels))


def test_a_file_that_is_not_compressed_is_refused(tmp_path):
    write(tmp_path, idx(IMAGES), idx(LABELS))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(idx(IMAGES))
    with pytest.raises(ValueError, match="is not a readable gzip file"):
        fashion_mnist(tmp_path)


def test_a_cut_off_file_is_refused(tmp_path):
    write(tmp_path, idx(IMAGES), idx(LABELS))
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is not a readable gzip file"):
        fashion_mnist(tmp_path)


def test_an_altered_byte_is_noticed(tmp_path):
    write(tmp_path, idx(IMAGES), idx(LABELS))
    path = tmp_path / "train-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not a readable gzip file"):
        fashion_mnist(tmp_path)


def test_an_absent_file_says_what_to_install(tmp_path):
    with pytest.raises(ValueError, match="apt install dataset-fashion-mnist"):
        fashion_mnist(tmp_path)


def test_an_unknown_split_is_refused(tmp_path):
    with pytest.raises(ValueError, match="split must be one of train, test, got 'validation'"):
        fashion_mnist(tmp_path, "validation")


@pytest.mark.outside("fashion-mnist")
def test_the_published_test_split_has_ten_thousand_pictures_and_a_thousand_a_class():
    pictures = fashion_mnist(split="test")
    assert pictures.images.shape == (10_000, 1, 28, 28)
    assert (pictures.images.min(), pictures.images.max()) == (-1, 1)
    assert {name: pictures.labels.count(name) for name in CLASSES} == dict.fromkeys(CLASSES, 1000)
