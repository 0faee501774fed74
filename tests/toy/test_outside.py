"""What is taken from outside is looked for in one place, which a variable switches off."""

import ast
from pathlib import Path

import pytest

from toy import outside
from toy.fashion_mnist import fashion_mnist
from toy.outside import OUTSIDE, found, missing, required

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _looked_for(monkeypatch):
    monkeypatch.delenv("LML_OUTSIDE", raising=False)


def test_switched_off_nothing_is_found_and_each_says_so(monkeypatch, tmp_path):
    (tmp_path / "chrome").touch()
    monkeypatch.setenv("LML_OUTSIDE", "none")
    for name in OUTSIDE:
        assert found(name, tmp_path / "chrome") is None
        assert missing(name) == f"{OUTSIDE[name].what} is not looked for: the environment has LML_OUTSIDE=none"
    with pytest.raises(ValueError, match="Fashion-MNIST is not looked for"):
        required("fashion-mnist")


def test_what_is_absent_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert missing("compiler") == "a C++ compiler is not there: apt install g++"
    assert missing("git") == "git is not there: apt install git"


def test_what_is_there_is_found(monkeypatch, tmp_path):
    program = tmp_path / "g++"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert found("compiler") == str(program)
    assert missing("compiler") == ""
    assert required("compiler") == program
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert found("cache") == str(tmp_path)


def test_the_browser_of_playwright_is_found_where_it_puts_it_or_says(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    assert found("browser") is None
    own = tmp_path / "elsewhere"
    own.touch()
    assert found("browser", own) == str(own)
    chrome = tmp_path / "chromium-1234/chrome-linux/chrome"
    chrome.parent.mkdir(parents=True)
    chrome.touch()
    assert found("browser", own) == str(chrome)


def test_data_may_lie_in_a_folder_of_ones_own(monkeypatch, tmp_path):
    (tmp_path / "fashion-mnist").mkdir()
    monkeypatch.setenv("LML_DATA", str(tmp_path))
    assert required("fashion-mnist") == tmp_path / "fashion-mnist"
    with pytest.raises(ValueError, match=r"folder must hold train-images-idx3-ubyte.gz, .* set LML_DATA to the folder"):
        fashion_mnist()


def test_other_names_and_values_are_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"name must be one of fashion-mnist, galaxygrad, .*, got 'moon'"):
        found("moon")
    monkeypatch.setenv("LML_OUTSIDE", "no")
    with pytest.raises(ValueError, match="LML_OUTSIDE must be 'all' or 'none', got 'no'"):
        found("git")


def test_a_user_without_a_home_has_no_cache(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(outside.Path, "home", homeless)
    assert found("cache") is None


# How the outside is looked for otherwise; `sys.executable`, and what a library does for itself, are no part of it.
_LOOKED_FOR = ("shutil.which", "Path.home", "expanduser", "cuda.is_available", "/usr/share")


def test_nothing_else_in_the_packages_looks_for_it():
    files = [f for package in ("lml", "toy", "theory_checks", "image_exps", "paper_figures", "docs", "tests")
             for f in (ROOT / package).rglob("*.py")]  # fmt: skip
    texts = {f.relative_to(ROOT).as_posix(): ast.unparse(ast.parse(f.read_text(encoding="utf-8"))) for f in files}
    using = {name for name, text in texts.items() if any(way in text for way in _LOOKED_FOR)}
    # A caller's own device is asked of torch where it is named, and these tests name the ways. `lml` may not import
    # `toy`: it looks by itself for the folder of its cache.
    solvers = "lml/solver/storage.py"
    assert using == {"toy/outside.py", solvers, "tests/toy/test_outside.py", "tests/toy/test_low_rank.py"}
