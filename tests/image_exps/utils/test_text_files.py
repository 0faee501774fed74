"""Text files of users: read whole, or one sentence; and names that are those of files in a folder."""

import pytest

from image_exps.utils.text_files import plain_name, read_json, read_text


@pytest.mark.parametrize("name", ["a.safetensors", "model-00001-of-00002.safetensors", "ä b.safetensors"])
def test_a_plain_name_is_one(name):
    assert plain_name(name)
    assert plain_name(name, ".safetensors")
    assert not plain_name(name, ".json")


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "a/b", "/a", "a\\b", "C:a", "a\0b", "a\nb", "\u202ea", "half \ud800", 3, None, ["a"]],
)
def test_what_leads_elsewhere_is_no_plain_name(name):
    assert not plain_name(name)


def test_a_name_is_more_than_its_suffix():
    assert not plain_name(".safetensors", ".safetensors")
    assert not plain_name("..safetensors", ".safetensors")


def test_the_mark_of_an_editor_is_no_part_of_a_text(tmp_path):
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": "\xc3\xb6"}\r\n')
    assert read_text(tmp_path / "a.json") == '{"a": "ö"}\n'
    assert read_json(tmp_path / "a.json") == {"a": "ö"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"\xff\xfe", "cannot be read as UTF-8 text"),
        (b"{", "cannot be read as JSON"),
        (b"[" * 100_000, "cannot be read as JSON: it is nested too deeply"),
        (b"9" * 5000, "cannot be read as JSON"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, content, message):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{path} {message}"):
        read_json(path)
    with pytest.raises(ValueError, match=rf"^{tmp_path} cannot be read: Is a directory"):
        read_text(tmp_path)
