"""Training of the small networks: the pictures are what they are said to be, and the same steps give the same bits."""

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from image_exps.training.small import STEPS, main, train
from image_exps.training.small_data import SMALL_DATA
from lml.solver.networks import SMALL_NETWORKS, build


def pictures(data, count=200, seed=0):
    return SMALL_DATA[data](count, torch.Generator().manual_seed(seed))


def test_every_network_has_its_data_and_its_steps():
    assert set(STEPS) == set(SMALL_NETWORKS)
    assert {network.data for network in SMALL_NETWORKS.values()} == set(SMALL_DATA)


@pytest.mark.parametrize("network", SMALL_NETWORKS.values(), ids=SMALL_NETWORKS)
def test_pictures_have_the_shape_of_the_network_and_depend_on_the_generator_alone(network):
    drawn = pictures(network.data)
    assert drawn.shape == (200, *network.shape)
    assert drawn.dtype == torch.float32
    assert drawn.isfinite().all()
    torch.rand(3)
    assert torch.equal(drawn, pictures(network.data))
    assert not torch.equal(drawn, pictures(network.data, seed=1))
    assert drawn.flatten(1).unique(dim=0).shape[0] > 190  # a field that is cut can be all white


def test_pictures_are_on_the_scale_that_is_said():
    for data in ("shapes", "strokes"):
        assert pictures(data).abs().max() <= 1
    assert pictures("binary").unique().tolist() == [-1, 1]
    torch.testing.assert_close(pictures("texture").std((2, 3)), torch.full((200, 1), 0.5))
    # The same formula with another gain, and for the brightest with narrower fluxes.
    torch.testing.assert_close(pictures("faint sky") / 0.3, pictures("sky") / 2)
    assert pictures("bright sky").std() > 2 * pictures("sky").std()


@pytest.mark.parametrize("name", ["sky-mixer", "binary-convolutions", "shapes-transformer", "points-perceptron"])
def test_the_same_steps_give_the_same_bits(name):
    state = torch.get_rng_state()
    first, again, longer = train(name, 2), train(name, 2), train(name, 3)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.keys() == build(SMALL_NETWORKS[name]).state_dict().keys()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert all(value.dtype == torch.float16 for value in first.values())
    assert any(not torch.equal(first[key], longer[key]) for key in first)


def test_training_lowers_the_loss(capsys):
    train("points-perceptron", 1)
    train("points-perceptron", 300)
    one, many = (float(line.split("mean loss ")[1].split(",")[0]) for line in capsys.readouterr().out.splitlines()[-2:])
    assert many < 0.8 * one


def test_the_command_writes_weights_that_load(tmp_path):
    found = CliRunner().invoke(main, ["points-perceptron", "--steps", "2", "--out", str(tmp_path / "made")])
    assert found.exit_code == 0, found.output
    assert "points-perceptron: step 2 of 2, mean loss" in found.output
    (file,) = (tmp_path / "made").iterdir()
    assert file.name == "points-perceptron.safetensors"
    written, kept = load_file(file), train("points-perceptron", 2)
    assert all(torch.equal(written[key], kept[key]) for key in kept)
    build(SMALL_NETWORKS["points-perceptron"]).load_state_dict(written)


def test_a_folder_that_cannot_be_made_is_refused_before_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr("image_exps.training.small.train", lambda *_: pytest.fail("trained"))
    (tmp_path / "file").touch()
    found = CliRunner().invoke(main, ["points-perceptron", "--out", str(tmp_path / "file" / "made")])
    assert found.exit_code == 2
    assert "out must be a folder that can be made" in found.output
    assert len(found.output.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["sky"], ["sky-mixer", "--steps", "0"]])
def test_another_name_or_no_steps_are_refused(tmp_path, arguments):
    assert CliRunner().invoke(main, [*arguments, "--out", str(tmp_path)]).exit_code == 2
    assert not any(tmp_path.iterdir())
