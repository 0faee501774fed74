"""The wheel installs and runs outside of the repository, with an empty home.

The environment is a new one that has the wheel and, of this one, only the dependencies.
"""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("lml", "toy", "theory_checks", "image_exps", "paper_figures")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT], check=True)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Return a runner of commands of the new environment, in an empty folder."""
    folder = tmp_path_factory.mktemp("fresh")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    packages = folder / "venv/lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", packages, wheel]
    subprocess.run(install, check=True)
    # Of a folder that a .pth file names no .pth file is read, so that the checkout itself stays out.
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    for name in ("home", "work"):
        (folder / name).mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}

    def run(*arguments):
        command = [str(folder / "venv/bin/python"), *arguments]
        return subprocess.run(
            command, cwd=folder / "work", env=environment, capture_output=True, text=True, check=False
        )

    run.folder = folder
    return run


def test_it_holds_types_licences_and_no_tests(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert any(name.endswith("licenses/toy/data/NOTICE") for name in names)
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == set(PACKAGES)


def test_it_holds_the_weights_of_the_small_networks(wheel):
    source, kept = "lml/solver/weights", zipfile.ZipFile(wheel)
    files = sorted(file.name for file in (ROOT / source).iterdir())
    assert len(files) == 9  # eight networks and their digests
    assert sorted(name for name in kept.namelist() if name.startswith(source)) == [f"{source}/{f}" for f in files]
    assert all(kept.read(f"{source}/{file}") == (ROOT / source / file).read_bytes() for file in files)


def test_a_small_network_is_asked(installed):
    ask = "print(small_model('points-perceptron')(torch.zeros(2, 24), Level(1.0, 1.0)).shape)"
    code = f"import torch; from lml.samplers import Level; from lml.solver.networks import small_model; {ask}"
    found = installed("-c", code)
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == "torch.Size([2, 24])"


def test_the_packages_are_those_of_the_wheel(installed):
    found = installed("-c", f"import {', '.join(PACKAGES)}; print(*(m.__file__ for m in ({', '.join(PACKAGES)})))")
    assert found.returncode == 0, found.stderr
    assert all(Path(file).is_relative_to(installed.folder) for file in found.stdout.split())


def test_claims_are_decided(installed):
    found = installed("-m", "lml", "verify", "--claim", "K2", "--claim", "S1")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "FAILS" in found.stdout
    assert (installed.folder / "work/out/claims/report.html").is_file()


def test_a_sampler_is_judged(installed):
    found = installed("-m", "lml", "judge", "diffusers:DDIMScheduler", "--only", "right", "--require", "consistent")
    assert found.returncode == 0, found.stdout + found.stderr
    assert (installed.folder / "work/out/judge/judge.json").is_file()


def test_pictures_are_drawn(installed):
    found = installed("-m", "lml", "sample", "-m", "fashion-mnist", "-n", "2", "--count", "1", "--out", "clothes")
    assert found.returncode == 0, found.stdout + found.stderr
    assert len(list((installed.folder / "work/clothes").rglob("*.png"))) == 1
