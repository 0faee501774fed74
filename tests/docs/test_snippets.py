"""Every command and snippet of README and documents runs as it stands, or says beside it why it is not run here.

A comment ``<!-- not run: why -->`` before a block excuses it; blocks of ``text`` are commands whose names are checked.
"""

import importlib
import re
import shlex
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest
from diffusers import DDPMPipeline

ROOT = Path(__file__).parents[2]
FOLDERS = ("tutorials", "how-to", "reference", "explanation", "api")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "docs/index.md"]
PAGES += [page for folder in FOLDERS for page in sorted((ROOT / "docs" / folder).glob("*.md"))]
#: Pages for those who have a pipeline: there ``pipe`` is theirs, and the network that ships stands in for it.
STANDS_IN = ("how-to", "reference", "explanation")
BLOCK = re.compile(r"^(?:<!-- not run: (?P<why>.*?) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)^```", re.S | re.M)
COMMANDS = {entry.name: entry for entry in entry_points(group="lml.commands")}
#: Modules whose ``python -m`` is a group of commands, or one of them.
GROUPS = ("image_exps", "lml")
MODULES = {"theory_checks": "verify", "paper_figures": "figures", "theory_checks.ledger.mutation": "mutation"}
NAMES = {page: page.relative_to(ROOT).as_posix() for page in PAGES}


def blocks(page, *languages):
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [block["code"] for block in found if block["language"] in languages and not block["why"]]


def quick(code):
    """Return a snippet with as few steps and samples as say the same."""
    steps = re.sub(r"num_inference_steps=(\d+)", lambda n: f"num_inference_steps={min(int(n[1]), 24)}", code)
    return steps.replace("(16, q.dim)", "(2, q.dim)")


@pytest.mark.filterwarnings(
    r"ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning:diffusers\.schedulers"
)
@pytest.mark.filterwarnings("ignore:`algorithm_types dpmsolver:FutureWarning")
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=NAMES.get)
def test_the_snippets_of_a_page_run_one_after_another(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "image_exps").symlink_to(ROOT / "image_exps")
    (tmp_path / "models").mkdir()
    (tmp_path / "models/mine").symlink_to(ROOT / "image_exps/networks/fashion-mnist")
    names = {"__name__": "snippet"}
    if page.parent.name in STANDS_IN and any("pipe." in code for code in blocks(page, "python")):
        names["pipe"] = DDPMPipeline.from_pretrained("image_exps/networks/fashion-mnist")
    for code in blocks(page, "python"):
        exec(compile(quick(code), NAMES[page], "exec"), names)


def commands_of(page):
    """Yield the words of each command in the page's blocks."""
    for code in blocks(page, "bash", "text"):
        for line in code.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\s&\s*$", line):
                if words := shlex.split(part, comments=True):
                    yield words


def command(name):
    return importlib.import_module(COMMANDS[name].module).__dict__[COMMANDS[name].attr]


def check(words):
    """Fail unless a command exists, with every option that it is given."""
    while "=" in words[0] and not words[0].startswith("-"):
        words = words[1:]
    program, *rest = words
    if Path(program).name in ("python", "python3") and rest[:1] == ["-m"]:
        program, *rest = rest[1:]
        program = MODULES.get(program, program)
    elif program in ("accelerate",):
        rest = rest[rest.index("-m") + 1 :]
        program, *rest = rest
    elif Path(program).name == "python":
        assert (ROOT / rest[0]).is_file() or "-" in rest[0], words
        return
    program = program.removeprefix(".venv/bin/")
    if program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
        assert {word for word in rest if "=" not in word} <= set(targets), words
        return
    if words in ([program], ["python", "-m", program]):
        return  # the name alone, which prints its help
    if program in GROUPS:
        program, *rest = rest
    elif program not in MODULES.values():
        return  # of somebody else
    assert program in COMMANDS, words
    known = {name for parameter in command(program).params for name in parameter.opts + parameter.secondary_opts}
    given = {word.split("=")[0] for word in rest if re.match(r"--?[a-zA-Z]", word)}
    assert given <= known | {"-h", "--help"}, words


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "bash", "text")], ids=NAMES.get)
def test_the_commands_of_a_page_are_ours_with_the_options_that_they_have(page):
    for words in commands_of(page):
        check(words)


@pytest.mark.parametrize("page", PAGES, ids=NAMES.get)
def test_the_commands_within_sentences_are_ours(page):
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for code in re.findall(r"`((?:lml|make|\.venv/bin/lml|python -m) [^`]*)`", text.replace("\n", " ")):
        if "COMMAND" not in code and code.split()[1] not in ("--help",):
            check([word for word in shlex.split(code) if word != "WHAT"])


@pytest.mark.parametrize("page", PAGES, ids=NAMES.get)
def test_the_links_of_a_page_lead_to_files(page):
    base = ROOT if page.parent == ROOT else page.parent
    made = ("ledger", "figures", "notebooks")  # written when the site is built
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[\w-]+)?\)", BLOCK.sub("", page.read_text(encoding="utf-8"))):
        if not re.match(r"https?:", target):
            path = (base / target).resolve()
            inside = path.relative_to(ROOT / "docs").parts if path.is_relative_to(ROOT / "docs") else ("",)
            assert path.is_file() or Path(inside[0]).stem in made, target


def test_commands_that_are_not_ours_are_found():
    for words in (["lml", "verify", "--no-such"], ["lml", "nothing"], ["make", "nothing"], ["python", "no.py"]):
        with pytest.raises(AssertionError):
            check(words)
    assert isinstance(command("verify"), click.Command)
