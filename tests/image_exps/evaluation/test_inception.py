"""FID: the network is that of torch-fidelity, its weights are read and run nothing, the distance is the usual one."""

import hashlib
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from generated_folder import generated_folder
from random_inception import pictures, weights

from image_exps.evaluation import fid, open_generated
from image_exps.evaluation.fid import features_of, frechet, inception_network
from image_exps.evaluation.inception import SHA256, Inception, load_inception, resize

#: Of `random_inception`, by FeatureExtractorInceptionV3 of torch-fidelity 0.4.0, its feature "2048", in float32.
REFERENCE = Path(__file__).parent / "data" / "inception_features.npz"


def save(state, path):
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A file like the published one, of random weights: 470 tensors and the classifier."""
    shapes = {k: tuple(v.shape) for k, v in Inception().state_dict().items() if not k.endswith("num_batches_tracked")}
    assert len(shapes) == 94 * 5
    classifier = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    return save({**weights(shapes), **classifier}, tmp_path_factory.mktemp("inception") / "weights.pth")


def test_the_features_are_those_of_torch_fidelity(file):
    network, digest = load_inception(file)
    assert digest == hashlib.sha256(file.read_bytes()).hexdigest()
    found = torch.cat([network(batch) for batch in pictures()])
    expected = np.load(REFERENCE)["features"]
    assert found.shape == expected.shape == (3, 2048)
    # Some 48 layers in a row, each rounded to 2^-24 of numbers as large as the features, 35.
    np.testing.assert_allclose(found.numpy(), expected, atol=48 * 2**-24 * np.abs(expected).max(), rtol=0)
    # Every channel is seen: they differ from each other, and between pictures, by far more.
    assert np.abs(expected[0] - expected[1]).mean() > 0.1


def test_pictures_are_resized_as_tensorflow_did():
    # Corners at i h/size: of 2 rows to 4 the places are 0, 0.5, 1, 1.5, and what lies below the last row repeats it.
    x = torch.tensor([[0.0, 4.0], [8.0, 16.0]])[None, None]
    expected = torch.tensor([[0, 2, 4, 4], [4, 7, 10, 10], [8, 12, 16, 16], [8, 12, 16, 16]], dtype=torch.float32)
    assert torch.equal(resize(x, 4)[0, 0], expected)
    # Made smaller without antialiasing: every other pixel.
    assert torch.equal(resize(torch.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0], torch.tensor([[0.0, 2.0], [8.0, 10.0]]))


def test_the_distance_is_called_fid_with_the_published_weights_alone(file, tmp_path, monkeypatch):
    run = open_generated(generated_folder(tmp_path / "run", 3))
    network = inception_network(file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert network.distance == f"FD-Inception-{digest[:8]}"
    assert features_of(run, network, batch=2).shape == (3, 2048)
    monkeypatch.setattr(fid, "SHA256", digest)
    assert inception_network(file).distance == "FID"
    assert SHA256.startswith("6726825d")  # the eight digits in the published name


def test_on_a_gpu_convolutions_are_those_of_cudnn_in_full_float32(file, monkeypatch):
    seen = []

    def forward(self, pictures):
        seen.append((torch.backends.cudnn.enabled, torch.backends.cudnn.allow_tf32))
        return torch.zeros(len(pictures), 2048)

    monkeypatch.setattr(Inception, "forward", forward)
    inception_network(file).features(torch.zeros(1, 3, 8, 8))
    assert seen == [(True, False)]


def test_frechet_is_the_formula_of_the_standard_protocol():
    # Means (0, 0) and (3, 4); covariances over n - 1 = 3: diag(2, 8)/3 and diag(8, 2)/3.
    a = torch.tensor([[1.0, 0], [-1, 0], [0, 2], [0, -2]], dtype=torch.float64)
    b = a.flip(1) + torch.tensor([3.0, 4.0], dtype=torch.float64)
    by_hand = 25 + 2 * (8**0.5 - 2**0.5) ** 2 / 3
    assert frechet(a, b, repeats=4, floor=False).value == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize("n", [5, 40])
def test_frechet_agrees_with_eigenvalues_of_the_product_of_covariances(n):
    """The published implementations take real parts of roots of the eigenvalues of C S, which do not commute here."""
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn((8, 8), generator=generator, dtype=torch.float64)
    real = torch.randn((60, 8), generator=generator, dtype=torch.float64) @ mix
    samples = torch.randn((n, 8), generator=generator, dtype=torch.float64) + 0.5
    C, S = (np.cov(x.numpy(), rowvar=False) for x in (samples, real))
    shift = (samples.mean(0) - real.mean(0)).numpy()
    # Of n = 5 samples C has rank 4: its other eigenvalues are rounding, of order u, and their roots of order u^(1/2).
    expected = shift @ shift + np.trace(C + S) - 2 * np.sqrt(np.linalg.eigvals(C @ S).astype(complex)).real.sum()
    assert frechet(samples, real, repeats=4, floor=False).value == pytest.approx(expected, rel=1e-6)


def test_the_file_is_read_without_running_what_is_in_it(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "touched",))

    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"fc.weight": Evil()}, protocol=2))
    zipped = io.BytesIO()
    torch.save({"fc.weight": Evil()}, zipped)
    (tmp_path / "zipped.pth").write_bytes(zipped.getvalue())
    for name in ("evil.pth", "zipped.pth"):
        with pytest.raises(ValueError, match="holds something else than weights"):
            load_inception(tmp_path / name)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.zeros(1)], "must hold a dictionary of tensors, got list"),
        ({"fc.weight": 3}, "must hold dense tensors by name"),
        ({"conv.weight": torch.zeros(1)}, "weights of another network"),
    ],
)
def test_a_file_of_something_else_is_refused_with_what_to_fetch(tmp_path, content, message):
    with pytest.raises(ValueError, match=rf"{message}.*fetch https://github.com/toshas/.*SHA-256 6726825d"):
        load_inception(save(content, tmp_path / "other.pth"))


def test_a_file_that_is_not_there_is_refused_with_what_to_fetch(tmp_path):
    with pytest.raises(ValueError, match=r"none.pth is not there: fetch https://github.com/toshas/"):
        inception_network(tmp_path / "none.pth")
    (tmp_path / "empty.pth").write_bytes(b"")
    with pytest.raises(ValueError, match="holds something else"):
        inception_network(tmp_path / "empty.pth")
