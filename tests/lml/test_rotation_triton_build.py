"""The rotation's kernels compiled for real cards, without one: what the code reads, writes, adds and spills."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

triton = pytest.importorskip("triton", reason="Triton is not installed (it exists for Linux; extra dev)")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from lml import _rotation_triton  # noqa: E402

_TARGETS = {name: GPUTarget("cuda", arch, 32) for name, arch in {"T4": 75, "A100": 80, "4090": 89, "H100": 90}.items()}
_TARGETS["MI300"] = GPUTarget("hip", "gfx942", 64)
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_TILE, _STEP = _rotation_triton._TILE, _rotation_triton._STEP
_THREAD = 32  # elements of each input in a thread of the first pass, and of the second
_TYPES = {"sums": "*fp64", "lam": "fp64", "kappa": "fp64"} | dict.fromkeys(("rows", "units", "span", "parts"), "i32")


def build(name: str, card: str, dtype: str, *, wide: bool = True, unit: int = 16, lams: str | None = None) -> Any:
    """Compile a kernel as `rotate` launches it, for pointers at multiples of 16 bytes."""
    kernel = getattr(_rotation_triton, name)
    limit = torch.finfo(_DTYPES[dtype]).max
    constants = {
        "_rotate_rows": {"R": 1, "C": _TILE, "LIMIT": limit, "WIDE": wide},
        "_sum_parts": {"TILE": _TILE, "WIDE": wide},
        "_combine_parts": {"TILE": _TILE, "STEP": _STEP, "PARTS": 8, "LIMIT": limit},
    }[name] | {"UNIT": unit}
    types = _TYPES | dict.fromkeys(("noise", "previous", "out"), "*" + dtype) | {"lam_stride": "i32"}
    if lams is None:
        constants["lams"] = None
    else:
        types["lams"] = "*" + lams
    names = kernel.arg_names
    aligned = [["tt.divisibility", 16]]
    source = ASTSource(
        kernel,
        {n: "constexpr" if n in constants else types[n] for n in names},
        {(names.index(n),): value for n, value in constants.items() if n in names},
        {(i,): aligned for i, n in enumerate(names) if n not in constants and types[n][0] == "*"},
    )
    options = {"num_warps": 4 if name == "_combine_parts" else 8, "enable_fp_fusion": False}
    return triton.compile(source, target=_TARGETS[card], options=options)


def machine_code(kernel: Any, folder: Path) -> tuple[Counter[str], str]:
    """Return how often each instruction stands in the code, and the registers and memory that a thread is given."""
    cubin = folder / "kernel.cubin"
    cubin.write_bytes(kernel.asm["cubin"])
    tools = Path(triton.__file__).parent / "backends/nvidia/bin"
    code, usage = (
        subprocess.run([tools / tool, option, cubin], capture_output=True, text=True, check=True).stdout
        for tool, option in (("nvdisasm", "-c"), ("cuobjdump", "-res-usage"))
    )
    return Counter(re.findall(r"^\s*/\*\w+\*/\s+(?:@!?\w+ )?([A-Z0-9_]+(?:\.[A-Z0-9_]+)*)", code, re.MULTILINE)), usage


def count(instructions: Counter[str], name: str) -> int:
    return sum(times for instruction, times in instructions.items() if re.match(rf"{name}(\.|$)", instruction))


@pytest.mark.parametrize(("card", "dtype"), [("A100", "fp32"), ("H100", "fp32"), ("H100", "bf16")])
@pytest.mark.parametrize(("name", "stores"), [("_rotate_rows", True), ("_sum_parts", False), ("_combine_parts", True)])
def test_elements_are_read_and_written_in_vectors_of_16_bytes_and_nothing_spills(
    name: str, stores: bool, dtype: str, card: str, tmp_path: Path
) -> None:
    for wide in (True, False) if name != "_combine_parts" else (True,):
        kernel = build(name, card, dtype, wide=wide)
        vectors = _THREAD * _DTYPES[dtype].itemsize // 16
        ptx = Counter(re.findall(r"(?:ld|st)\.(?:global|local)[.\w]*", kernel.asm["ptx"]))
        assert ptx["ld.global.v4.b32"] == 2 * vectors
        assert ptx["st.global.v4.b32"] == (vectors if stores else 0)
        # Beside them: the three sums of a part, one element at a time.
        assert sum(ptx.values()) == (3 if stores else 2) * vectors + (0 if name == "_rotate_rows" else 3)
        instructions, usage = machine_code(kernel, tmp_path)
        assert count(instructions, "LDL") == count(instructions, "STL") == 0
        assert re.search(r"STACK:0 .*LOCAL:0", usage), usage


@pytest.mark.parametrize(("unit", "width"), [(16, 4), (8, 4), (4, 4), (2, 2), (1, 1)])
def test_row_lengths_of_every_parity_are_read_in_the_widest_vectors_that_fit(unit: int, width: int) -> None:
    kernel = build("_combine_parts", "H100", "fp32", unit=unit)
    suffix = {4: ".v4.b32", 2: ".v2.b32", 1: ".b32"}[width]
    assert kernel.asm["ptx"].count(f"ld.global{suffix}") == 2 * _THREAD // width
    assert kernel.asm["ptx"].count(f"st.global{suffix}") == _THREAD // width


def test_bounds_let_pass_what_is_not_a_number() -> None:
    ptx = build("_combine_parts", "H100", "fp32").asm["ptx"]
    bounds = re.findall(r"\b(?:min|max)\.([\w.]*)f32", ptx)
    assert bounds
    assert all("NaN" in kind for kind in bounds), bounds


def test_float64_of_an_element_is_two_conversions_a_difference_three_products_and_sums(tmp_path: Path) -> None:
    instructions, _ = machine_code(build("_sum_parts", "H100", "fp32", wide=True), tmp_path)
    assert count(instructions, "F2F") == 2 * _THREAD
    assert count(instructions, "DMUL") == 3 * _THREAD
    assert count(instructions, "DFMA") == 0
    # Beyond an element's are the sums over the 32 lanes, the 8 warps, and tiles.
    assert 4 * _THREAD - 3 <= count(instructions, "DADD") <= 4 * _THREAD + 3 * (5 + 3 + 1)
    of_a_row, _ = machine_code(build("_combine_parts", "H100", "fp32"), tmp_path)
    double = sum(count(of_a_row, name) for name in ("DADD", "DMUL", "DFMA"))
    assert 0 < double <= 120  # for the 64 elements of a thread: two an element, where the sums have nine


def test_pairs_of_float32_keep_float64_away_from_elements_and_are_not_contracted(tmp_path: Path) -> None:
    instructions, _ = machine_code(build("_sum_parts", "4090", "fp32", wide=False), tmp_path)
    assert sum(count(instructions, name) for name in ("F2F", "DADD", "DMUL", "DFMA")) <= 24
    # One multiply-add a product, for what its rounding lost; a further one would have swallowed a rounding.
    assert count(instructions, "FFMA") == 3 * _THREAD
    ptx = build("_sum_parts", "4090", "fp32", wide=False).asm["ptx"]
    assert ".ftz" not in ptx  # small numbers are not flushed


@pytest.mark.parametrize("name", ["_rotate_rows", "_sum_parts", "_combine_parts"])
def test_offsets_of_rows_have_64_bits_and_the_numbers_are_float64(name: str) -> None:
    ttir = build(name, "H100", "fp16", lams=None if name == "_sum_parts" else "fp32").asm["ttir"]
    kinds = re.findall(r"tt\.addptr .* : .*?, ((?:tensor<)?[\dx]*i\d+)", ttir)
    assert any("i64" in kind for kind in kinds)
    for kind in kinds:
        # 32 bits are the lane within a tile, and the number of a part; a row's begin, a scalar or a column, never.
        assert kind == "i64" or kind.endswith("xi64") or kind in _WITHIN[name], kind
    kernel = build(name, "H100", "fp16")
    parameters = Counter(re.findall(r"\.param \.(\w+) ", kernel.asm["ptx"]))
    assert parameters["f64"] == (0 if name == "_sum_parts" else 2)
    assert parameters["f32"] == 0


_WITHIN = {
    "_rotate_rows": (),
    "_sum_parts": (f"tensor<1x{_TILE}xi32", "tensor<1xi32", "i32"),
    "_combine_parts": (f"tensor<{_STEP}xi32", "tensor<8xi32"),
}


@pytest.mark.parametrize(("card", "dtype"), [("T4", "fp16"), ("4090", "bf16"), ("MI300", "fp32"), ("MI300", "bf16")])
def test_kernels_are_built_for_other_cards(card: str, dtype: str) -> None:
    for name in ("_rotate_rows", "_sum_parts", "_combine_parts"):
        kernel = build(name, card, dtype, wide=card == "MI300")
        binary = kernel.asm["hsaco" if card == "MI300" else "cubin"]
        assert len(binary) > 1000
