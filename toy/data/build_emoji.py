"""Build ``emoji32.png`` and ``emoji32.json`` from the npm package emoji-datasource-google.

Run once, by hand; the results are shipped::

    npm pack emoji-datasource-google@16.0.0
    python toy/data/build_emoji.py emoji-datasource-google-16.0.0.tgz

Every 64x64 picture is composed on white and averaged over 2x2 pixels, so that the result does not depend on a
resampling filter. The pictures stand in one lossless sheet, row by row in the order of their file names.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 32
COLUMNS = 64


def build(package: Path, folder: Path) -> None:
    """Write the sheet, the labels and their checksums into ``folder``."""
    pictures, labels = [], []
    with tarfile.open(package) as archive:
        emoji = json.load(_open(archive, "package/emoji.json"))
        meaning = {}
        for entry in emoji:
            meaning[entry["image"]] = (entry["name"], entry["category"])
            for variation in entry.get("skin_variations", {}).values():
                meaning[variation["image"]] = (entry["name"], entry["category"])
        prefix = "package/img/google/64/"
        for name in sorted(n for n in archive.getnames() if n.startswith(prefix) and n.endswith(".png")):
            picture = Image.open(_open(archive, name)).convert("RGBA")
            white = Image.new("RGBA", picture.size, "white")
            white.alpha_composite(picture)
            pixels = np.asarray(white.convert("RGB"), dtype=np.float64)
            factor = pixels.shape[0] // SIZE
            pixels = pixels.reshape(SIZE, factor, SIZE, factor, 3).mean((1, 3))
            pictures.append(np.rint(pixels).astype(np.uint8))
            file = name.removeprefix(prefix)
            text, category = meaning.get(file, (file, "unknown"))
            labels.append({"file": file, "name": text.lower(), "category": category})

    rows = -(-len(pictures) // COLUMNS)
    sheet = np.full((rows * SIZE, COLUMNS * SIZE, 3), 255, dtype=np.uint8)
    for i, pixels in enumerate(pictures):
        top, left = i // COLUMNS * SIZE, i % COLUMNS * SIZE
        sheet[top : top + SIZE, left : left + SIZE] = pixels
    Image.fromarray(sheet).save(folder / "emoji32.png", optimize=True)
    (folder / "emoji32.json").write_text(json.dumps(labels, ensure_ascii=False, indent=0) + "\n")
    sums = [f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}" for n in ("emoji32.png", "emoji32.json")]
    (folder / "SHA256SUMS").write_text("\n".join(sums) + "\n")
    print(f"{len(pictures)} pictures, {(folder / 'emoji32.png').stat().st_size / 1e6:.2f} MB")


def _open(archive: tarfile.TarFile, name: str) -> io.BytesIO:
    member = archive.extractfile(name)
    if member is None:
        raise FileNotFoundError(f"{name} is missing from the package")
    return io.BytesIO(member.read())


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(__file__).parent)
