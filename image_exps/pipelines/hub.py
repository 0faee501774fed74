"""A model from the Hugging Face hub: of one commit, and of its files only those that are safe and used.

What is fetched lies in the hub's own cache and is then a folder like any other, with the same checks. Pickles, code and
the weights that nothing here reads (checkers, second copies in half precision, the training copy without averaging) are
not even fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from image_exps.utils.text_files import read_json

__all__ = ["PICKLES", "UNUSED", "Fetched", "fetch", "in_half_precision", "wanted_files"]

#: Suffixes of files that run code when they are read.
PICKLES = frozenset({".bin", ".ckpt", ".pkl", ".pickle", ".pt", ".pth"})

#: Components that are neither fetched nor loaded. They replace pictures by black ones, or describe them: pictures are
#: judged as the network makes them, and as the paper's code makes them.
UNUSED = frozenset({"safety_checker", "feature_extractor", "image_encoder"})

_TEXTS = frozenset({".json", ".txt", ".model"})
_WEIGHTS = ".safetensors"
# Copies of the same weights, by a part of their name, also of a shard's: taken only where there are no others.
_COPY = re.compile(r"\.(fp16|fp32|bf16|non_ema)[.-]")


class Fetched(NamedTuple):
    """A folder with a commit of a repository."""

    folder: Path
    revision: str


def wanted_files(names: Iterable[str], components: Iterable[str] | None) -> list[str]:
    """Return the files of a repository that are fetched.

    Args:
        names: of all its files.
        components: folders of the pipeline; ``None`` for a repository that is itself one component.
    """
    kept = ["model_index.json"] if components is not None else []
    for inside in _parts(names, components):
        kept += [n for n in inside if PurePosixPath(n).suffix in _TEXTS]
        weights = [n for n in inside if n.endswith(_WEIGHTS)]
        kept += [n for n in weights if not _COPY.search(n)] or [n for n in weights if in_half_precision(n)]
    return sorted(kept)


def in_half_precision(name: str) -> bool:
    """Return whether a file's name says that it holds the weights in float16."""
    found = _COPY.search(name)
    return found is not None and found[1] == "fp16"


def _parts(names: Iterable[str], components: Iterable[str] | None) -> list[list[str]]:
    """Return the files of each component that is used; of a repository that is itself one, those at its top."""
    folders = ["."] if components is None else [name for name in components if name not in UNUSED]
    return [[name for name in names if str(PurePosixPath(name).parent) == folder] for folder in folders]


def fetch(repository: str, revision: str | None = None, *, pipeline: bool = True) -> Fetched:
    """Fetch a repository, unless its files are in the hub's cache already.

    Args:
        repository: its id.
        revision: commit, branch or tag; ``None`` is its main branch.
        pipeline: whether it holds a pipeline, or one network.

    Raises:
        ValueError: if it cannot be had (it is gone, its licence is not accepted, the hub cannot be reached), or has
            weights only as pickles.
    """
    from toy.outside import missing  # torch comes with it, which help of a command does not need

    if sentence := missing("hub"):
        raise ValueError(sentence)

    from huggingface_hub import HfApi, hf_hub_download, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    where = f"{repository} of the hub"
    try:
        known: Any = HfApi().model_info(repository, revision=revision)
        commit, names = str(known.sha), [str(entry.rfilename) for entry in known.siblings or ()]
        components = None
        if pipeline:
            if "model_index.json" not in names:
                raise ValueError(f"{where} holds no diffusers pipeline: model_index.json is missing")
            index = hf_hub_download(repository, "model_index.json", revision=commit)
            components = _components(Path(index))
        _refuse_pickles(repository, names, components)
        patterns = _escaped(wanted_files(names, components))
        folder = snapshot_download(repository, revision=commit, allow_patterns=patterns)
        return Fetched(Path(folder), commit)
    except ValueError:
        raise
    except GatedRepoError as error:
        raise ValueError(f"{where}: accept its licence there first, then run here: hf auth login") from error
    except RevisionNotFoundError as error:
        raise ValueError(f"revision must be a commit, branch or tag of {where}, got {revision!r}") from error
    except RepositoryNotFoundError as error:
        raise ValueError(
            f"{where} is not there, or not open to you (hf auth login); a copy from elsewhere serves too: --model-dir"
        ) from error
    except Exception as error:  # what a connection raises depends on the library below the hub's, and on its version
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(f"{where} cannot be had ({said}); without a network, give --model-dir") from error


def _components(index: Path) -> list[str]:
    found = read_json(index)
    if not isinstance(found, dict):
        raise ValueError(f"{index} must hold a JSON object, got {type(found).__name__}")
    named = [name for name, source in found.items() if isinstance(source, list) and source[:1] != [None]]
    for name in named:
        if not name.isidentifier():
            raise ValueError(f"{index} names a component {name!r}, which is no name of a folder")
    return named


def _refuse_pickles(repository: str, names: Iterable[str], components: Iterable[str] | None) -> None:
    for inside in _parts(names, components):
        pickles = [n for n in inside if PurePosixPath(n).suffix in PICKLES]
        if pickles and not any(n.endswith(_WEIGHTS) for n in inside):
            local = f"models/{repository.split('/')[-1]}"
            raise ValueError(
                f"{repository} of the hub has weights only as pickles ({pickles[0]}), which can run code and are not "
                f"fetched. Fetch and convert them: hf download {repository} --local-dir {local}, then python -m "
                f"image_exps convert {local}, and give that folder"
            )


def _escaped(names: Iterable[str]) -> list[str]:
    """Return patterns that match these names alone: a name from outside may hold ``*`` or ``[``."""
    return ["".join(f"[{c}]" if c in "*?[" else c for c in name) for name in names]
