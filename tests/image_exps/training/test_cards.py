"""Cards of networks: their figures are what was measured, and their pictures show what they say."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_recipe import TINY, tiny_pictures

from image_exps.distances import Estimate
from image_exps.training import card
from image_exps.training.export import export
from image_exps.training.loop import Budget, train
from image_exps.training.measure import Measured, draw, noise_loss
from toy import DataMixture, noise_model

SHAPE = (1, 8, 8)


def measured(samples):
    return Measured({"seen": 0.01234, "unseen": 0.0567}, Estimate(3.21, 3.0, 3.4, 1.11, 1.0, 1.2, 64, ""), 2.5, samples)


@pytest.mark.parametrize("conditional", [True, False])
def test_a_card_has_its_figures_and_its_pictures(tmp_path, monkeypatch, conditional):
    monkeypatch.setitem(card.ABOUT, "tiny", card.About("Tiny", "Random pixels.", "None.", "All of them."))
    made, pictures, folder = replace(TINY, conditional=conditional), tiny_pictures(), tmp_path / "tiny"
    pictures = replace(pictures, images=pictures.images.repeat(4, 1, 1, 1)[:80], labels=pictures.labels * 4)
    run = train(made, pictures, Budget(steps=4), tmp_path / "run", log_every=2)
    export(made, run, made.classes(pictures), folder, "a test")
    samples = draw(lambda x, level: x / 2, 64, SHAPE)
    card.draw_loss(folder)
    card.draw_samples(folder, pictures, samples)
    card.write_card(folder, "tiny", measured(samples))
    text = (folder / "README.md").read_text()
    for figure in (
        "4 steps of 4 pictures",
        "seen: 0.0123; unseen: 0.0567",
        "3.21",
        "3 to 3.4",
        "1.11",
        "2.5 ms",
        "All of",
    ):
        assert figure in text
    assert ("Classes: a, b, c." in text) == conditional
    assert max(len(line) for line in text.splitlines() if line.startswith("#")) < 60
    with Image.open(folder / "samples.png") as image:
        sheet = np.asarray(image)[::2, ::2]
    rows = 3 if conditional else 8
    assert sheet.shape == (8 * rows, 2 * 64 + 4)
    # On the right are real pictures, to the byte.
    kinds = [pictures.images[[label == c for label in pictures.labels]] for c in "abc"]
    first = kinds[0][0] if conditional else pictures.images[0]
    assert np.array_equal(sheet[:8, 68:76], ((first[0] + 1) * 127.5).round().to(torch.uint8).numpy())


def test_the_loss_of_an_exact_prediction_is_zero_and_that_of_none_is_one():
    picture = torch.full((1, *SHAPE), 0.25, dtype=torch.float64)
    pictures = picture.repeat(100, 1, 1, 1)
    exact = noise_model(DataMixture(picture, 1e-6))
    # Left is the smoothing tau: (tau alpha/sigma)^2 with alpha/sigma at most 30, and rounding far below.
    assert noise_loss(exact, pictures) < (1e-6 * 30) ** 2
    # The mean of 6400 squared normals: deviation sqrt(2/6400) = 0.018, here five of them.
    assert noise_loss(lambda x, level: torch.zeros_like(x), pictures) == pytest.approx(1, abs=0.09)
    with pytest.raises(ValueError, match="pictures must be at least 50, got 49"):
        noise_loss(exact, pictures[:49])


def test_samples_of_an_exact_prediction_are_the_data():
    picture = torch.linspace(-1, 1, 64, dtype=torch.float64).view(1, *SHAPE)
    made = draw(noise_model(DataMixture(picture, 1e-6)), 3, SHAPE)
    # Noise is left at the last level, t = 1e-3: alpha y + sigma z with sigma = 0.0105, below five of them.
    assert (made - picture).abs().max() < 0.0525
