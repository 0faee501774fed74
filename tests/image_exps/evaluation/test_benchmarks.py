"""Outside benchmarks: T2I-CompBench, MS-COCO, and the guidance sweep."""

import json
import shutil
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace

import pytest
from generated_folder import generated_folder
from hypothesis import example, given
from hypothesis import strategies as st

from image_exps.evaluation import Result, compbench, open_generated
from image_exps.evaluation.coco import coco_captions
from image_exps.evaluation.compbench import compbench_prompts, file_name, lay_out, read_scores
from image_exps.evaluation.guidance_sweep import SCALES, Point, draw_pareto, pareto_front, sweep_points
from theory_checks.ledger.plotting import to_svg


@pytest.fixture
def clone(tmp_path):
    folder = tmp_path / "T2I-CompBench" / "examples" / "dataset"
    folder.mkdir(parents=True)
    lines = "a green bench and a blue bowl\n\n The glass jar,\u2028on wood. \n"
    (folder / "color_val.txt").write_text(lines, encoding="utf-8")
    return tmp_path / "T2I-CompBench"


def test_prompts_come_from_the_clone(clone):
    assert compbench_prompts(clone, "color") == ("a green bench and a blue bowl", "The glass jar,\u2028on wood.")
    with pytest.raises(ValueError, match=r"shape_val\.txt cannot be read"):
        compbench_prompts(clone, "shape")
    with pytest.raises(ValueError, match="category must be one of color, shape, texture, got 'size'"):
        compbench_prompts(clone, "size")


def test_the_mark_of_an_editor_and_its_line_ends_are_no_part_of_a_prompt(clone):
    path = clone / "examples" / "dataset" / "color_val.txt"
    path.write_bytes(b"\xef\xbb\xbfa green bench\r\na blue bowl\r\n")
    assert compbench_prompts(clone, "color") == ("a green bench", "a blue bowl")
    path.write_bytes("a green bench".encode("utf-16"))
    with pytest.raises(ValueError, match=r"clone must be a clone .*color_val\.txt cannot be read as UTF-8 text"):
        compbench_prompts(clone, "color")


def as_the_evaluation_reads(name):
    """The two expressions of BLIP_vqa.py: what a picture shows, and its place."""
    return name.split("_")[0], int(name.split("_")[-1].split(".")[0])


@pytest.mark.parametrize(
    ("prompt", "read"),
    [
        ("a green bench and a blue bowl", "a green bench and a blue bowl"),
        ("The jar on the handkerchief.", "The jar on the handkerchief."),
        ("a_b", "a b"),
        ("../../etc/passwd", "etc passwd"),
        ("what: a\n'cube'?", "what a 'cube'"),
        ("ein Würfel", "ein Würfel"),
        ("C:\\Windows\\cube", "C Windows cube"),
        ("\x00a\x00cube\x85", "a cube"),
        ("nul.a cube", "nul a cube"),
        ("CON", "CON"),
        (". . .hidden", "hidden"),
        ("a \u202egnp.exe", "a gnp.exe"),
        ("lone \ud800 half", "lone half"),
    ],
)
def test_the_evaluation_reads_prompt_and_place_from_the_name(prompt, read):
    assert as_the_evaluation_reads(file_name(prompt, 123)) == (read, 123)


def test_a_long_prompt_is_cut_to_what_a_file_system_takes():
    for prompt in ("ein Würfel " * 60, "ö" * 400):
        name = file_name(prompt, 7)
        assert len(name.encode()) <= 255
        assert as_the_evaluation_reads(name)[1] == 7
    with pytest.raises(ValueError, match="must have letters"):
        file_name("/_/", 0)


def test_pictures_are_laid_out_and_scores_come_back(tmp_path):
    generated = open_generated(generated_folder(tmp_path / "run", 6))
    out = tmp_path / "bench"
    assert lay_out(generated, out) == 6
    names = sorted((p.name for p in (out / "samples").iterdir()), key=lambda n: as_the_evaluation_reads(n)[1])
    assert [as_the_evaluation_reads(n)[0] for n in names] == list(generated.prompts)
    assert (out / "samples" / names[3]).read_bytes() == generated.files[3].read_bytes()
    with pytest.raises(ValueError, match="has some: every file in it would be scored"):
        lay_out(generated, out)
    with pytest.raises(ValueError, match=r"is not there yet: run .*cd BLIPvqa_eval && python BLIP_vqa\.py --out_dir=/"):
        read_scores(out, "color", generated)

    (out / "annotation_blip").mkdir()
    path = out / "annotation_blip" / "vqa_result.json"
    answers = [0.25, 0.5, 1.0, 0.75, 0.5, 0.0]
    path.write_text(json.dumps([{"question_id": i, "answer": f"{a:.4f}"} for i, a in enumerate(answers)]))
    found = read_scores(out, "color", generated)
    assert (found.metric, found.model, found.evaluations, found.count) == ("T2I-CB color", "sd15", 10, 6)
    assert found.value == pytest.approx(0.5)
    # All three prompts have the mean 1/2: resampling prompts leaves nothing to vary.
    assert found.low == found.high == 0.5
    path.write_text(json.dumps([{"question_id": 0, "answer": "0.5"}]))
    with pytest.raises(ValueError, match="one answer for each of 6 pictures, it has 1"):
        read_scores(out, "color", generated)
    path.write_text(json.dumps([{"question_id": i, "answer": "1.5"} for i in range(6)]))
    with pytest.raises(ValueError, match=r"answers in \[0, 1\]"):
        read_scores(out, "color", generated)


def test_prompts_with_unequally_many_pictures_count_by_their_pictures(tmp_path):
    # Three pictures of the first prompt are left, one of the second, two of the third.
    generated = open_generated(generated_folder(tmp_path / "run", 10, lost=(1, 4, 8, 9)))
    answers = [float(prompt == "a red cube") for prompt in generated.prompts]
    (tmp_path / "annotation_blip").mkdir()
    rows = [{"question_id": i, "answer": str(a)} for i, a in enumerate(answers)]
    (tmp_path / "annotation_blip" / "vqa_result.json").write_text(json.dumps(rows))
    found = read_scores(tmp_path, "color", generated)
    assert found.value == sum(answers) / len(answers) != sum((1, 0, 0)) / 3
    # With a probability of 8/27 a resample of three prompts lacks the only one that scores, and 1/27 has it alone.
    assert (found.low, found.high) == (0, 1)


def test_an_interrupted_layout_leaves_nothing_and_is_begun_again(tmp_path, monkeypatch):
    generated = open_generated(generated_folder(tmp_path / "run", 6))
    out, copied = tmp_path / "bench", []

    def copy(source, target):
        if len(copied) == 3:
            raise KeyboardInterrupt
        copied.append(shutil.copyfile(source, target))

    monkeypatch.setattr(compbench, "shutil", SimpleNamespace(copyfile=copy, rmtree=shutil.rmtree))
    with pytest.raises(KeyboardInterrupt):
        lay_out(generated, out)
    assert len(copied) == 3
    assert not (out / "samples").exists()
    monkeypatch.undo()
    (out / "samples").mkdir()
    assert lay_out(generated, out) == len(list((out / "samples").iterdir())) == 6
    assert [p.name for p in out.iterdir()] == ["samples"]


NAMES = st.text(st.characters(codec=None), max_size=400)


@given(prompt=NAMES, index=st.integers(0, 999_999))
@example(prompt="../" * 200, index=0)
@example(prompt="aux.h", index=3)
def test_no_prompt_leaves_the_folder_and_every_name_is_one_on_every_system(prompt, index):
    try:
        name = file_name(prompt, index)
    except ValueError:
        return  # nothing that a name can hold
    assert Path(name).name == PureWindowsPath(name).name == name
    assert len(name.encode("utf-8")) <= 255
    assert not set(name) & set('<>:"/\\|?*\0')
    assert name[0] not in ". "
    assert name.split(".")[0].strip().lower() not in {"con", "prn", "aux", "nul", "com1", "lpt9"}
    shown, place = as_the_evaluation_reads(name)
    assert shown
    assert place == index


def test_pictures_without_prompts_are_not_laid_out(tmp_path):
    generated = open_generated(generated_folder(tmp_path / "run", 2, prompts=()))
    with pytest.raises(ValueError, match="prompts must be known"):
        lay_out(generated, tmp_path / "bench")
    assert not (tmp_path / "bench").exists()


@pytest.fixture
def annotations(tmp_path):
    rows = [
        {"id": 5 * i + k, "image_id": 1000 + i, "caption": f"caption {k}\n of {i}"} for i in range(40) for k in range(5)
    ]
    path = tmp_path / "captions_val2014.json"
    path.write_text(json.dumps({"annotations": rows}))
    return path


def test_captions_are_of_different_pictures_and_depend_on_the_seed_alone(annotations):
    found = coco_captions(annotations, 30)
    assert found == coco_captions(annotations, 30, seed=0)
    assert found != coco_captions(annotations, 30, seed=1)
    assert len({text.split(" of ")[1] for text in found}) == 30
    assert coco_captions(annotations, 40)[:30] == found
    # The order of the file does not matter, only the ids.
    content = json.loads(annotations.read_text())
    content["annotations"].reverse()
    annotations.write_text(json.dumps(content))
    assert coco_captions(annotations, 30) == found


def test_bad_annotations_are_refused(annotations, tmp_path):
    with pytest.raises(ValueError, match="count must be at most the 40 pictures"):
        coco_captions(annotations)
    with pytest.raises(ValueError, match="count must be a positive integer, got 0"):
        coco_captions(annotations, 0)
    assert len(coco_captions(annotations, 3)) == 3
    annotations.write_bytes(b"\xef\xbb\xbf" + annotations.read_bytes().replace(b"\n", b"\r\n"))
    assert len(coco_captions(annotations, 3)) == 3
    for content, message in (("[]", "x.json holds something else"), ("{", r"x.json cannot be read as JSON"),
                             ("[" * 100_000, "nested too deeply"), ('{"annotations": [{}]}', "something else"),
                             ('{"annotations": [{"id": 1e999, "image_id": 1, "caption": ""}]}', "else")):  # fmt: skip
        (tmp_path / "x.json").write_text(content)
        with pytest.raises(ValueError, match=rf"annotations must be captions_val2014\.json .*{message}"):
            coco_captions(tmp_path / "x.json")
    with pytest.raises(ValueError, match=r"y\.json cannot be read: No such file"):
        coco_captions(tmp_path / "y.json")


def sweep(sampler, shift):
    return [
        Result("sd15", sampler, 10, metric, value, guidance=g)
        for g in SCALES
        for metric, value in (("CLIP x", 25 + g / 4), ("FID", 15 + (g - 6) ** 2 + shift))
    ]


def test_the_sweep_of_figure_8_is_gathered_and_its_front_found():
    points = sweep_points([*sweep("ddim", 1), *sweep("ddim/lml", 0)], "CLIP x", "FID")
    assert len(points) == 2 * len(SCALES) == 16
    front = pareto_front(points)
    # At equal scores LML is nearer by one; below the best scale of 6 a point loses both ways.
    assert [(p.sampler, p.guidance) for p in front] == [("ddim/lml", g) for g in SCALES if g >= 6]
    svg = to_svg(draw_pareto(points, "CLIP x", "FID"))
    assert len(svg) > 1000


def test_no_point_of_a_front_is_beaten_and_every_other_is():
    points = [Point("s", float(i), float(i * 7 % 5), float(i * 3 % 4)) for i in range(12)]
    front = pareto_front(points)

    def beaten(p):
        return any(q.score >= p.score and q.distance <= p.distance and q[2:] != p[2:] for q in points)

    assert not any(map(beaten, front))
    assert {p[2:] for p in front} == {p[2:] for p in points if not beaten(p)}


def test_sweeps_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match="once for ddim at guidance 5, got two"):
        sweep_points([*sweep("ddim", 1), *sweep("ddim", 1)], "CLIP x", "FID")
    with pytest.raises(ValueError, match="of one model and budget"):
        sweep_points([*sweep("ddim", 1), Result("emoji", "ddim", 10, "FID", 1.0, guidance=5.0)], "CLIP x", "FID")
    with pytest.raises(ValueError, match="got none"):
        sweep_points([], "CLIP x", "FID")
