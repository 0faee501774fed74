"""The digest of the code behind a result follows imports, and sees neither words, looks nor declarations."""

import sys
import textwrap

import pytest
from code_caches import forget_code

from theory_checks.ledger import code_version as module
from theory_checks.ledger.code_version import code_version, imported_files

MAIN = """
    '''A check.'''
    from laboratory import tools

    SIZE = 3

    def check(settings):
        '''Check it.'''
        return tools.double(SIZE)

    def draw(finding):
        return 1

    def draw_more(finding):
        return 1

    def drawn_at_random():
        return 1

    CLAIMS = (Claim("Z1", "a statement", check="laboratory.main:check"),)
"""
TOOLS = """
    def double(x):
        return 2 * x  # twice

    def draw(x):
        return x
"""


@pytest.fixture
def laboratory(tmp_path, monkeypatch):
    """Write modules of a package, and forget what was read of them before."""
    folder = tmp_path / "laboratory"
    folder.mkdir()

    def write(**sources):
        for name, text in {"__init__": "", **sources}.items():
            (folder / f"{name}.py").write_text(textwrap.dedent(text))
        forget_code()
        return folder

    monkeypatch.syspath_prepend(str(tmp_path))
    write(main=MAIN, tools=TOOLS)
    yield write
    sys.modules.pop("laboratory", None)


def version_of(write, main=MAIN, tools=TOOLS, name="laboratory.main", **options):
    write(main=main, tools=tools)
    return code_version(name, **options)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("'''Check it.'''", "'''Check it well.'''"),
        ("SIZE = 3", "SIZE = 3  # of three"),
        ("def draw(finding):\n        return 1", "def draw(finding):\n        return 2"),
        ("def draw_more(finding):\n        return 1", "def draw_more(finding):\n        return 2"),
        ("a statement", "a better statement"),
    ],
)
def test_words_looks_and_declarations_compute_nothing_again(laboratory, old, new):
    assert old in MAIN
    assert version_of(laboratory, main=MAIN.replace(old, new)) == version_of(laboratory)


@pytest.mark.parametrize(
    ("main", "tools"),
    [
        (MAIN.replace("SIZE = 3", "SIZE = 4"), TOOLS),
        (MAIN.replace("def drawn_at_random():\n        return 1", "def drawn_at_random():\n        return 2"), TOOLS),
        (MAIN, TOOLS.replace("2 * x", "3 * x")),
        (MAIN, TOOLS.replace("return x", "return -x")),  # only of the module that computes is what draws left out
        (MAIN.replace("SIZE = 3", "import numpy"), TOOLS),
    ],
)
def test_what_is_computed_is_another_version(laboratory, main, tools):
    assert version_of(laboratory, main=main, tools=tools) != version_of(laboratory)


def test_a_library_counts_with_its_version_and_only_where_it_is_imported(laboratory, monkeypatch):
    plain, tools = version_of(laboratory), TOOLS + "\n    import click\n"
    one = version_of(laboratory, tools=tools)
    monkeypatch.setattr(module, "_version", lambda name: "1.0")
    assert plain != one != version_of(laboratory, tools=tools)
    assert version_of(laboratory) == plain


@pytest.mark.parametrize(
    "statement",
    [
        "import laboratory.tools",
        "from laboratory.tools import double",
        "from laboratory import tools",
        "from . import tools",
        "from .tools import double",
        "def f():\n    from laboratory.tools import double",
        "def __getattr__(name):\n    return import_module({'double': 'laboratory.tools'}[name])",
        "def __getattr__(name):\n    return import_module({'double': '.tools'}[name], __name__)",
        "__getattr__, __dir__ = lazy(__name__, {'laboratory.tools': ('double',)})",
    ],
)
def test_every_form_of_import_is_followed(laboratory, statement):
    folder = laboratory(main=statement)
    assert folder / "tools.py" in imported_files("laboratory.main")


def test_a_text_that_names_a_module_is_no_import(laboratory):
    folder = laboratory(main="NAME = 'laboratory.tools'")
    assert imported_files("laboratory.main") == {folder / "main.py"}


def test_data_beside_a_module_count_if_it_names_them(laboratory):
    main = "from pathlib import Path\nTEXT = (Path(__file__).parent / 'table.json').read_text()"
    folder = laboratory(main=main)
    (folder / "table.json").write_text("1")
    (folder / "other.json").write_text("1")
    assert imported_files("laboratory.main") == {folder / "main.py", folder / "table.json"}
    one = version_of(laboratory, main=main)
    (folder / "other.json").write_text("2")
    assert version_of(laboratory, main=main) == one
    (folder / "table.json").write_text("2")
    assert version_of(laboratory, main=main) != one


def test_all_data_beside_a_module_count_if_it_names_none(laboratory):
    folder = laboratory(main="from pathlib import Path\ndef read(name):\n    return (Path(__file__).parent / name)")
    weights = folder / "network" / "weights.bin"
    weights.parent.mkdir()
    weights.write_bytes(b"1")
    assert imported_files("laboratory.main") == {folder / "main.py", weights}


def test_files_of_one_name_in_two_folders_are_two(laboratory):
    folder = laboratory(main="from pathlib import Path\nHERE = Path(__file__)")
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "weights.bin").write_bytes(name.encode())
    one = code_version("laboratory.main")
    (folder / "a/weights.bin").write_bytes(b"c")
    module._essence.cache_clear()
    assert code_version("laboratory.main") != one


def test_looks_are_left_out(laboratory):
    folder = laboratory()
    assert imported_files("laboratory.main", looks=("laboratory.tools",)) == {
        folder / "main.py",
        folder / "__init__.py",
    }
    assert "plotting.py" not in {file.name for file in imported_files("theory_checks.kernel.precision")}


def test_a_module_without_a_file_is_refused():
    with pytest.raises(ValueError, match=r"modules must have a file.*got 'no_such_module'"):
        code_version("no_such_module")


def test_our_checks_depend_on_the_method_their_targets_and_their_data():
    files = imported_files("theory_checks.kernel.precision")
    names = {file.name for file in files}
    assert {"kernel.py", "_rotation.py", "data_mixture.py", "rounding_noise.py", "emoji32.png", "precision.py"} <= names
    assert not names & {"error_bound.py", "identities.py", "report.py", "terminal.py"}
    networks = {f"{file.parts[-3]}/{file.name}" for file in imported_files("image_exps.claims.imperfect")}
    assert "emoji/diffusion_pytorch_model.safetensors" in networks


def test_nothing_is_imported_to_follow_imports(laboratory):
    laboratory(main="import laboratory.tools\nraise RuntimeError")
    code_version("laboratory.main")
    assert not any(name.startswith("laboratory") for name in sys.modules)
