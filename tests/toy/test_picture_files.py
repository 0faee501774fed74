"""Which files are pictures, and what is in them: exact numbers for every kind, or one sentence that names the file."""

from __future__ import annotations

import os
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toy import image_folder
from toy.folders import visible_files
from toy.picture_files import MOST_PIXELS, SUFFIXES, check_picture, find_pictures, read_picture

RNG = np.random.default_rng(0)
WORDS = RNG.integers(0, 65536, (5, 7, 4), dtype=np.uint16)
WORDS[0, :3] = [[0] * 4, [65535] * 4, [128, 129, 65406, 65407]]  # 0, 255 and both sides of a half


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(path: Path, words: np.ndarray, *, more: bytes = b"", size: tuple[int, int] | None = None) -> Path:
    """Write a PNG of 16 bits a channel by its specification; nothing of Pillow's has a part in it."""
    height, width, channels = words.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in words)
    head = struct.pack(">IIBBBBB", *(size or (width, height)), 16, colour, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + more + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    return path


def scaled(words: np.ndarray) -> np.ndarray:
    """Return the nearest of 256 levels in exact arithmetic: 65535/257 is 255."""
    return np.round(words.astype(np.float64) / 257).astype(np.uint8)


def on_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return colours of 8 bits on white, not rounded."""
    share = alpha / 255
    return colours * share + 255 * (1 - share)


def pixels(path: Path, mode: str = "RGB") -> np.ndarray:
    check_picture(path)
    return np.asarray(read_picture(path, mode))


def test_grey_and_colours_of_16_bits_are_scaled_and_rounded(tmp_path: Path) -> None:
    grey, colours = png(tmp_path / "grey.png", WORDS[..., :1]), png(tmp_path / "rgb.png", WORDS[..., :3])
    assert np.array_equal(pixels(grey), scaled(WORDS[..., [0, 0, 0]]))
    assert np.array_equal(pixels(grey, "L"), scaled(WORDS[..., 0]))
    assert np.array_equal(pixels(colours), scaled(WORDS[..., :3]))
    assert pixels(colours)[0, :3].tolist() == [[0, 0, 0], [255, 255, 255], [0, 1, 254]]


@pytest.mark.parametrize("channels", [2, 4])
def test_transparency_of_16_bits_lies_on_white(tmp_path: Path, channels: int) -> None:
    words = WORDS[..., :channels]
    found = pixels(png(tmp_path / "a.png", words)).astype(float)
    eight = scaled(words).astype(float)
    expected = on_white(eight[..., :-1], eight[..., -1:])
    # Pillow lays one picture on another in whole numbers: one level.
    assert np.abs(found - expected).max() <= 1
    assert len(np.unique(found)) > 10


@pytest.mark.parametrize("channels", [1, 3])
def test_the_colour_that_a_png_of_16_bits_calls_transparent_is_white(tmp_path: Path, channels: int) -> None:
    words = WORDS[..., :channels].copy()
    clear = words[2, 3]
    words[4, 5] = clear ^ 1  # another colour, of the same 8 bits
    words[1, 1] = [clear[0], *(clear[1:] ^ 256)] if channels == 3 else words[1, 1]  # the same in one channel alone
    found = pixels(png(tmp_path / "a.png", words, more=chunk(b"tRNS", clear.astype(">u2").tobytes())))
    expected = np.broadcast_to(scaled(words), (5, 7, 3)).copy()
    expected[2, 3] = 255
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("compression", [1, 5])  # none, and LZW, which Pillow reads by another library
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_tiff_of_16_bits_is_scaled_as_png_is(tmp_path: Path, channels: int, compression: int) -> None:
    cv2 = pytest.importorskip("cv2")
    words = WORDS[..., :channels].copy()
    words[..., 3:] = 65535
    order = [2, 1, 0, 3][:channels] if channels > 1 else [0]
    path = tmp_path / "a.tif"
    cv2.imwrite(str(path), words[..., order], [cv2.IMWRITE_TIFF_COMPRESSION, compression])
    assert np.array_equal(pixels(path), np.broadcast_to(scaled(words[..., :3]), (5, 7, 3)))


def test_floating_point_numbers_of_the_unit_interval_are_scaled_and_others_refused(tmp_path: Path) -> None:
    numbers = np.array([[0.0, 1.0, 0.5, 100.4 / 255, 100.6 / 255]], np.float32)
    Image.fromarray(numbers).save(tmp_path / "a.tif")
    assert pixels(tmp_path / "a.tif", "L").tolist() == [[0, 255, 128, 100, 101]]
    for wrong, message in ((numbers * 255, "from 0 to 255"), (numbers - 0.25, "from -0.25 to 0.75")):
        Image.fromarray(wrong).save(tmp_path / "a.tif")
        with pytest.raises(ValueError, match=rf"a\.tif cannot .*: its floating-point numbers are {message}, they"):
            read_picture(tmp_path / "a.tif")
    numbers[0, 2] = np.nan
    Image.fromarray(numbers).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="they must lie in"):
        read_picture(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", [np.int32])
def test_whole_numbers_of_32_bits_are_refused_by_name(tmp_path: Path, dtype: type) -> None:
    Image.fromarray(np.arange(6, dtype=dtype).reshape(2, 3)).save(tmp_path / "a.tif")
    for read in (read_picture, check_picture):
        with pytest.raises(ValueError, match=r"a\.tif cannot be read as a picture: the scale of its numbers .*32S"):
            read(tmp_path / "a.tif")


@pytest.mark.parametrize(("bits", "count"), [(16, 4), (12, 1)])
def test_numbers_of_more_bits_that_are_not_read_exactly_are_refused(tmp_path: Path, bits: int, count: int) -> None:
    """CMYK of 16 bits, of which Pillow keeps 8, and grey of 12, which it does not scale."""
    kind = 5 if count == 4 else 1
    data = bytes(range(2 * 2 * 2 * count))
    tags = [(256, 3, 1, 2), (257, 3, 1, 2), (258, 3, 1, bits), (259, 3, 1, 1), (262, 3, 1, kind), (273, 4, 1, 8),
            (277, 3, 1, count), (278, 3, 1, 2), (279, 4, 1, len(data))]  # fmt: skip
    if count == 4:
        place = 8 + len(data)
        data += struct.pack("<4H", *[bits] * 4)
        tags[2] = (258, 3, 4, place)
    head = b"II*\0" + struct.pack("<I", 8 + len(data))
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    (tmp_path / "a.tif").write_bytes(head + data + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0))
    for read in (read_picture, check_picture):
        with pytest.raises(
            ValueError, match=r"a\.tif cannot be read as a picture: (its 16 bits a channel|the scale of it)"
        ):
            read(tmp_path / "a.tif")


def test_palettes_bits_and_cmyk_are_converted(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putdata([1, 0])
    palette.save(tmp_path / "p.png")
    assert pixels(tmp_path / "p.png").tolist() == [[[200, 100, 50], [10, 20, 30]]]
    Image.new("1", (1, 1), 1).save(tmp_path / "bit.png")
    assert pixels(tmp_path / "bit.png").tolist() == [[[255, 255, 255]]]
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "c.tif")
    assert pixels(tmp_path / "c.tif")[0, 0].tolist() == [255, 0, 0]
    Image.new("CMYK", (8, 8), (255, 0, 255, 0)).save(tmp_path / "c.jpg", quality=100)
    assert np.abs(pixels(tmp_path / "c.jpg")[0, 0].astype(int) - [0, 255, 0]).max() <= 2  # JPEG rounds


def test_the_suffix_does_not_decide_what_a_file_is(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (0, 0, 255)).save(tmp_path / "a.jpg", format="PNG")
    assert pixels(tmp_path / "a.jpg")[0, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_a_picture_is_upright_as_the_camera_was_held(tmp_path: Path, suffix: str, turn: int) -> None:
    blocks = np.array([[0, 60, 120], [180, 220, 255]], np.uint8)
    # What the note says of a scene that is to be seen as `blocks`: where its first row and column are.
    stored = {
        1: blocks,
        2: blocks[:, ::-1],
        3: blocks[::-1, ::-1],
        4: blocks[::-1],
        5: blocks.T,
        6: np.rot90(blocks, 1),
        7: np.rot90(blocks, 2).T,
        8: np.rot90(blocks, -1),
    }[turn]
    note = Image.Exif()
    note[0x0112] = turn
    large = np.kron(stored, np.ones((16, 16), np.uint8))
    path = tmp_path / f"a{suffix}"
    lossless = {".webp": {"lossless": True}, ".jpg": {"quality": 100}}.get(suffix, {})
    Image.fromarray(large).convert("RGB").save(path, exif=note, **lossless)
    found = pixels(path, "L")[8::16, 8::16].astype(int)
    assert found.shape == blocks.shape
    assert np.abs(found - blocks).max() <= 2  # JPEG rounds


def test_a_png_of_16_bits_is_turned_too(tmp_path: Path) -> None:
    note = Image.Exif()
    note[0x0112] = 6
    path = png(tmp_path / "a.png", WORDS[..., :3], more=chunk(b"eXIf", note.tobytes().removeprefix(b"Exif\0\0")))
    assert np.array_equal(pixels(path), np.rot90(scaled(WORDS[..., :3]), -1))


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tif"])
def test_several_frames_are_refused(tmp_path: Path, suffix: str, count: int) -> None:
    frames = [Image.new("RGB", (8, 8), (90 * k, 0, 0)) for k in range(count)]
    frames[0].save(tmp_path / f"moving{suffix}", save_all=True, append_images=frames[1:])
    for read in (read_picture, check_picture):
        with pytest.raises(ValueError, match=rf"moving{suffix} cannot .*: it has {count} frames, a picture has one: "):
            read(tmp_path / f"moving{suffix}")


def test_the_previews_that_a_camera_adds_are_no_frames(tmp_path: Path) -> None:
    first, preview = Image.new("RGB", (16, 16), (255, 0, 0)), Image.new("RGB", (8, 8))
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[preview], quality=100)
    assert np.abs(pixels(tmp_path / "a.jpg")[0, 0].astype(int) - [255, 0, 0]).max() <= 2


def test_a_picture_that_asks_for_gigabytes_is_refused_in_a_moment(tmp_path: Path) -> None:
    path = png(tmp_path / "bomb.png", WORDS[..., :3], size=(55_000, 55_000))  # 9 GB as bytes of three channels
    large = png(tmp_path / "large.png", WORDS[..., :3], size=(8192, 8193))
    began = time.perf_counter()
    for read in (read_picture, check_picture):
        with pytest.raises(ValueError, match=r"bomb\.png cannot be read .*(3025000000|55000 x 55000) pixels"):
            read(path)
        with pytest.raises(ValueError, match=r"it is of 8192 x 8193 pixels, at most 67,108,864 are read"):
            read(large)
    assert time.perf_counter() - began < 1
    assert MOST_PIXELS == 8192 * 8192


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.95])
def test_a_file_that_is_cut_off_is_named(tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"cut{suffix}"
    Image.fromarray(RNG.integers(0, 256, (40, 40, 3), np.uint8)).save(path)
    assert pixels(path).shape == (40, 40, 3)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(ValueError, match=rf"^\S*cut{suffix} cannot be read as a picture: \S"):
        read_picture(path)


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_damaged_files_give_the_one_error_whatever_is_broken(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"damaged{suffix}"
    Image.fromarray(RNG.integers(0, 256, (24, 24, 3), np.uint8)).save(path)
    whole, refused = path.read_bytes(), 0
    for _ in range(60):
        changed = bytearray(whole)
        for place in RNG.integers(len(whole), size=6):
            changed[place] = RNG.integers(256)
        path.write_bytes(changed)
        try:
            read_picture(path)  # a change of a pixel alone is none that anybody can see
        except ValueError as error:
            refused += f"{path} cannot be read as a picture" in str(error)
    assert refused > 0 or suffix == ".bmp"  # a few bytes of its header aside, all of it are pixels


def test_what_is_no_file_is_refused_and_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "round.png").symlink_to(tmp_path / "round.png")
    for name, said in (("folder", "it is a folder"), ("pipe", "it is no file"), ("link", "No such file"),
                       ("none", "No such file"), ("round", "Too many levels")):  # fmt: skip
        for read in (read_picture, check_picture):
            with pytest.raises(ValueError, match=rf"{name}\.png cannot be read as a picture: {said}"):
                read(tmp_path / f"{name}.png")
    (tmp_path / "text.png").write_text(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    )  # Pillow would run a program
    with pytest.raises(ValueError, match=r"text\.png cannot be read .*: Pillow finds it to be none of BMP, GIF"):
        read_picture(tmp_path / "text.png")


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)
    return path


def test_what_is_hidden_does_not_count_and_is_said(tmp_path: Path) -> None:
    shown = [
        picture(tmp_path / name) for name in ("a.png", "b.PNG", "sub/c.jpeg", "d.tif", "e.gif", "folder.png/f.bmp")
    ]
    for name in (".hidden.png", "._a.png", ".ipynb_checkpoints/a-checkpoint.png", "sub/.thumbs/b.png"):
        picture(tmp_path / name)
    (tmp_path / ".DS_Store").write_bytes(b"\0")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "sub" / "LICENSE").write_text("x")
    found = find_pictures(tmp_path)
    assert found.files == tuple(sorted(shown))
    assert found.left_out == "5 hidden and 2 of other kinds (.txt, no suffix)"
    pictures = image_folder(tmp_path)
    assert len(pictures.images) == len(shown)
    assert pictures.left_out == found.left_out


def test_a_folder_that_is_hidden_itself_may_be_asked_for(tmp_path: Path) -> None:
    picture(tmp_path / ".cache" / "a.png")
    assert len(find_pictures(tmp_path / ".cache").files) == 1


def test_links_to_folders_are_followed_and_each_folder_counts_once(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    picture(root / "own" / "a.png")
    picture(outside / "deep" / "b.png")
    picture(outside / "c.png")
    (root / "a-link").symlink_to(root / "own")  # first in order, and yet the folder has its own name
    (root / "further").symlink_to(outside)
    (root / "later").symlink_to(outside)
    (root / "loop").symlink_to(root)
    (root / "up").symlink_to(tmp_path)
    (outside / "deep" / "back").symlink_to(outside)
    (outside / "deep" / "home").symlink_to(root)
    (root / "one.png").symlink_to(outside / "c.png")  # a link to a file is a file
    (root / "gone.png").symlink_to(tmp_path / "nowhere")
    found = [str(path.relative_to(root)) for path in find_pictures(root).files]
    assert found == ["further/c.png", "further/deep/b.png", "gone.png", "one.png", "own/a.png"]
    with pytest.raises(ValueError, match=r"gone\.png cannot be read as a picture: No such file"):
        image_folder(root)
    (root / "gone.png").unlink()
    assert image_folder(root).labels == ("further", "deep", "root", "own")
    assert {p.name for p in visible_files(root / "further").files} == {"a.png", "b.png", "c.png", "one.png"}


def test_a_link_that_leads_up_is_not_followed_from_wherever_it_is(tmp_path: Path) -> None:
    root, other = tmp_path / "here" / "root", tmp_path / "there" / "other"
    picture(root / "a.png")
    picture(other / "b.png")
    picture(other.parent / "above.png")
    picture(root.parent / "beside.png")
    (root / "link").symlink_to(other)
    (other / "up").symlink_to(other.parent)  # to a folder that holds the link
    (other / "across").symlink_to(root.parent)  # to a folder that holds the one that was asked for
    found = [str(path.relative_to(root)) for path in find_pictures(root).files]
    assert found == ["a.png", "link/b.png"]


def test_a_folder_without_pictures_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.jfif").write_bytes(b"x")
    picture(tmp_path / ".b.png")
    with pytest.raises(ValueError, match=r"must hold pictures \(.*\), .* has none; it holds 1 hidden and 1 of other"):
        find_pictures(tmp_path)
    with pytest.raises(ValueError, match="none is not there"):
        find_pictures(tmp_path / "none")
    with pytest.raises(ValueError, match="jfif is a file"):
        find_pictures(tmp_path / "a.jfif")


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "open" / "a.png")

    def refuse(path: Path) -> list[os.DirEntry[str]]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ValueError, match=rf"^{tmp_path} cannot be read: Permission denied$"):
        find_pictures(tmp_path)
