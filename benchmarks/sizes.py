"""
How much room what is shipped takes.
"""

import gzip
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.contest import Effort
from benchmarks.report import Size, SizeTable
from benchmarks.subjects import Bench, Subject
from compiler.errors import PolicycError
from compiler.package import read_manifest

KB = 1000
CORTEX_M7 = {"triple": "thumbv7em-none-eabihf", "cpu": "cortex-m7"}


def sizes(bench: Bench, effort: Effort) -> list[SizeTable]:
    """
    The files of CartPole, weights included, and the memory that a microcontroller needs.
    """
    subject = bench.cartpole
    weights = 4 * subject.network.multiply_adds
    name = subject.name
    rows = [
        *_made(bench, "extension, --cpu native", 40, _extension, target="native", cpu="native"),
        *_made(bench, "extension, --cpu portable: kernels for three levels of x86-64", 80, _extension, target="native"),
        *_made(bench, "executable, static", 100, lambda folder: folder / name, target="exe"),
        *_made(bench, "WebAssembly module with SIMD", 40, lambda folder: folder / f"{name}.wasm", target="wasm"),
        *_made(bench, "the same without SIMD", None, lambda folder: folder / f"{name}.scalar.wasm", target="wasm"),
        *_made(bench, "shared C library, --cpu native", None, _shared(subject), target="c", cpu="native"),
        *_made(bench, "shared C library, --cpu portable", None, _shared(subject), target="c"),
        *_firmware(bench),
    ]
    title = f"What is shipped of CartPole (4-64-64-2), with its weights: {weights:,} bytes of matrices are in each"
    return [SizeTable("sizes", title, tuple(rows))]


def _made(
    bench: Bench, what: str, reach: int | None, file_in: Callable[[Path], Path], target: str, **choices: str
) -> list[Size]:
    """
    A row for a file of a product, or why there is none.
    """
    below = None if reach is None else reach * KB
    try:
        file = file_in(bench.product(bench.cartpole, target, **choices))
    except PolicycError as error:
        return [Size(what, None, below, str(error))]
    data = file.read_bytes()
    return [Size(what, len(data), below, f"{file.name}; {len(gzip.compress(data, mtime=0)):,} with gzip")]


def _extension(folder: Path) -> Path:
    (file,) = (path for path in folder.iterdir() if path.suffix in (".so", ".pyd"))
    return file


def _shared(subject: Subject) -> Callable[[Path], Path]:
    return lambda folder: folder / f"lib{subject.name}.so"


def _firmware(bench: Bench) -> list[Size]:
    """
    What the build says of a microcontroller's memory, with parts of the compiler's runtime library counted.
    """
    try:
        folder = bench.product(bench.cartpole, "c", **CORTEX_M7)
    except PolicycError as error:
        return [Size("Cortex-M7", None, 40 * KB, str(error))]
    needs = memory_of(read_manifest(folder) or {})
    flash = f"code {needs['code']:,}, weights {needs['weights']:,}"
    ram = f"state {needs['state']:,}, data {needs['data']:,}, stack {needs['stack'] or 0:,}"
    return [
        Size("Cortex-M7, flash", needs["flash"], 40 * KB, flash),
        Size("Cortex-M7, RAM while a call runs", needs["ram"], 4 * KB, ram),
    ]


def memory_of(manifest: Mapping[str, Any]) -> Mapping[str, int]:
    """
    What a build for a microcontroller measured.

    Raises:
        ValueError: it measured nothing.
    """
    needs: Mapping[str, int] | None = manifest.get("made", {}).get("memory")
    if needs is None:
        raise ValueError("the manifest says nothing of memory")
    return needs
