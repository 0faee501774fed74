"""The command and its parts: exit status, files, resuming, bad input."""

import json
import re

import pytest
from click.testing import CliRunner

from image_exps import judge
from image_exps.commands.judge import command
from image_exps.judge.judged import CannotRunError
from image_exps.judge.run import judge as ask
from image_exps.judge.verdict import Verdict, plain


def call(tmp_path, *arguments):
    return CliRunner().invoke(command, [*arguments, "--out", str(tmp_path)])


def test_a_card_a_json_and_a_page_are_made(tmp_path):
    done = call(tmp_path, "ddim", "--only", "behaviour", "--only", "right")
    assert done.exit_code == 0, done.output
    assert "It tends to the exact flow, with order 1.0" in done.output
    content = json.loads((tmp_path / "judge.json").read_text())
    assert content["parts"]["right"]["order"]["integer"] == 1
    page = (tmp_path / "judge.html").read_text()
    assert "<svg" in page
    # Namespaces and metadata of pictures are addresses too; what a browser would fetch is not there.
    assert not re.search(r"""(?:src|href)\s*=\s*["']https?:|url\(["']?https?:|@import""", page)


def test_requirements_decide_the_exit_status(tmp_path):
    met = call(tmp_path, "ddim", "--require", "order >= 1", "--require", "deterministic",
               "--require", "without-symptoms", "--only", "right")  # fmt: skip
    assert met.exit_code == 0, met.output
    failed = call(tmp_path, "ddim", "--require", "order >= 2", "--only", "right", "--resume")
    assert failed.exit_code == 1
    assert "NOT MET" in failed.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("no-such-sampler",), "cannot be judged"),
        (("ddim", "--require", "order"), "require must be"),
        (("ddim", "--require", "beauty >= 2"), "require must be"),
        (("ddim", "--require", "same"), "--same-as"),
        (("ddim", "--evaluations", "5,x"), "evaluations must be whole numbers"),
        (("ddim", "--evaluations", "0"), "must lie in 1 to 200"),
    ],
)
def test_bad_arguments_are_a_sentence_and_status_two(tmp_path, arguments, said):
    done = call(tmp_path, *arguments)
    assert done.exit_code == 2
    assert said in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("another_shape", "returns shape"),
        ("not_finite", "not finite"),
        ("asks_forever", "does not end"),
        ("raises", "raises KeyError"),
    ],
)
def test_what_cannot_run_is_a_sentence_a_question_and_the_others_go_on(name, said):
    found = ask(f"judged_ports:{name}", parts=("right", "behaviour"), seconds=15)
    assert said in found.error("right")
    assert found.part("behaviour")["checks"]


def test_what_loops_forever_without_asking_is_stopped():
    found = ask("judged_ports:sleeps_forever", parts=("right",), seconds=2)
    assert "longer than 2 s" in found.error("right")


def test_an_interrupted_run_goes_on_and_changed_answers_are_asked_again(tmp_path):
    first = ask("ddim", parts=("behaviour",), out=tmp_path)
    file = tmp_path / "parts" / "behaviour.json"
    before = file.stat().st_mtime_ns
    assert ask("ddim", parts=("behaviour",), out=tmp_path, resume=True).content["parts"] == first.content["parts"]
    assert file.stat().st_mtime_ns == before
    whole = json.loads(file.read_text())
    whole["content"]["failures"] = ["made up"]
    file.write_text(json.dumps(whole))
    assert ask("ddim", parts=("behaviour",), out=tmp_path, resume=True).part("behaviour")["failures"] == []
    ask("ddim", parts=("behaviour",), out=tmp_path, resume=True, seed=3)
    assert file.stat().st_mtime_ns != before


def test_the_module_can_be_called_and_asserts_speak():
    assert isinstance(judge("ddim", parts=("behaviour",)), Verdict)
    judge.assert_order("ddim", 1)
    judge.assert_same("ddim", "euler")
    with pytest.raises(AssertionError, match="order 2 expected, 1"):
        judge.assert_order("ddim", 2)
    with pytest.raises(AssertionError, match="sigma for alpha"):
        judge.assert_consistent("judged_ports:sigma_for_alpha")
    with pytest.raises(AssertionError, match="not the same"):
        judge.assert_same("ddim", "heun")
    with pytest.raises(ValueError, match="must be deterministic"):
        judge.observed_order("judged_ports:k_ancestral")
    with pytest.raises(CannotRunError, match="WHAT must be"):
        judge.observed_order("no-such-sampler")


def test_plain_data_has_no_numbers_that_json_does_not_know():
    assert plain({"a": float("nan"), "b": (1, float("inf"))}) == {"a": None, "b": [1, None]}


@pytest.mark.parametrize(("seed", "profile", "parts"), [(0, "slow", ("right",)), (0, "quick", ("beauty",))])
def test_settings_that_do_not_exist_are_refused(seed, profile, parts):
    with pytest.raises(ValueError, match="must be"):
        ask("ddim", seed=seed, profile=profile, parts=parts)
