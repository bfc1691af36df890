"""
Rebuilds every package of generated/ from its checkpoint and compares it with what is checked in, byte for byte.

    python -m tests.generated_code.compile_check [NAME ...]

The rebuilt predictors are imported, which compiles them, and replay the goldens of tests/golden. Exit status 1 and a
readable account if anything differs.
"""

import difflib
import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).parents[2]
ACCEPT = "to accept the rebuilt files: nox -s build-model"
CHECKPOINT_SUFFIXES = (".zip", ".pth")

# Two packages of one network: the recorded answers hold for both.
SAME_NETWORK = {"cartpole_policy": "cartpole"}

# What importing a package leaves in its folder.
LEFT_BY_IMPORTS = {"__pycache__"}
LONGEST_DIFF_LINES = 40

# Scores are sums of products in another order than torch's; actions are as close as the design promises.
SCORE_RELATIVE = 1e-4
SCORE_ABSOLUTE = 1e-5
ACTION_RELATIVE_TO_RANGE = 1e-5

Array = npt.NDArray[Any]


def files_of(folder: Path) -> dict[str, bytes]:
    """
    The content of every file under a folder by its relative path, without what imports leave there.
    """
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not LEFT_BY_IMPORTS & set(path.relative_to(folder).parts)
    }


def text_difference(name: str, expected: str, actual: str) -> str:
    """
    The first lines of a unified diff from the checked-in text to the rebuilt one.
    """
    lines = list(
        difflib.unified_diff(
            expected.splitlines(), actual.splitlines(), f"checked in: {name}", f"rebuilt: {name}", lineterm=""
        )
    )
    if not lines:  # only line ends differ, which splitlines does not show
        return binary_difference(name, expected.encode(), actual.encode())
    if len(lines) > LONGEST_DIFF_LINES:
        lines = [*lines[:LONGEST_DIFF_LINES], f"... {len(lines) - LONGEST_DIFF_LINES} more lines"]
    return "\n".join(lines)


def binary_difference(name: str, expected: bytes, actual: bytes) -> str:
    """
    The sizes of two files and the first offset at which they differ.
    """
    pairs = enumerate(zip(expected, actual, strict=False))
    offset = next((index for index, (left, right) in pairs if left != right), min(len(expected), len(actual)))
    return f"{name}: {len(expected):,} bytes checked in, {len(actual):,} rebuilt, first difference at byte {offset:,}"


def differences(expected: Path, actual: Path) -> list[str]:
    """
    What differs between a checked-in package and a rebuilt one, one text per file; empty if no byte does.
    """
    before, after = files_of(expected), files_of(actual)
    found = [f"{name}: checked in, but not rebuilt" for name in sorted(before.keys() - after.keys())]
    found += [f"{name}: rebuilt, but not checked in" for name in sorted(after.keys() - before.keys())]
    for name in sorted(before.keys() & after.keys()):
        if before[name] == after[name]:
            continue
        try:
            found.append(text_difference(name, before[name].decode(), after[name].decode()))
        except UnicodeDecodeError:
            found.append(binary_difference(name, before[name], after[name]))
    return found


def close_scores(actual: Array, expected: Array) -> Array:
    """
    Which observations have the recorded scores, up to rounding at the size of the observation's largest score.
    """
    largest = np.abs(expected).max(axis=-1, keepdims=True)
    close: Array = np.all(np.abs(actual - expected) <= SCORE_ABSOLUTE + SCORE_RELATIVE * largest, axis=-1)
    return close


def close_actions(actual: Array, expected: Array, scores: Array) -> Array:
    """
    Which observations have the recorded action: the same index, or values as close as the design promises.

    An index may differ where the two best recorded scores are closer than rounding: there both are right.
    """
    if np.issubdtype(expected.dtype, np.integer):
        best = np.sort(scores, axis=-1)
        tie = best[:, -1] - best[:, -2] <= SCORE_ABSOLUTE
        same: Array = (actual == expected) | tie
        return same
    tolerance = ACTION_RELATIVE_TO_RANGE * (expected.max(axis=0) - expected.min(axis=0))
    return np.all(np.abs(actual - expected).reshape(len(expected), -1) <= tolerance.reshape(1, -1), axis=-1)


def replay(predictor: Any, golden: Path) -> list[str]:
    """
    Compares a predictor (a module, or whatever has its functions) with a golden file: in one batch, and one by one.
    """
    with np.load(golden) as arrays:
        observations, actions, scores = arrays["observations"], arrays["actions"], arrays["scores"]
    batch = predictor.predict(observations)[0]
    singles = np.array([predictor.predict(observation)[0] for observation in observations])
    shortest = np.array([predictor.act(observation) for observation in observations])
    rows = {
        "scores of the batch": close_scores(predictor.scores(observations), scores),
        "predict of the batch": close_actions(batch, actions, scores),
        "predict of each alone": close_actions(singles, actions, scores),
        "act of each alone": close_actions(shortest, actions, scores),
    }
    found = []
    for what, good in rows.items():
        if not good.all():
            first = int(np.argmin(good))
            found.append(
                f"{golden.name}: {what}: {np.sum(~good)} of {len(good)} observations differ, "
                f"the first is number {first}: {observations[first]}"
            )
    for what, dtype in (("batch", batch.dtype), ("each alone", singles.dtype)):
        if dtype != actions.dtype:
            found.append(f"{golden.name}: predict of {what} returns {dtype}, SB3 returned {actions.dtype}")
    return found


def check(package: Path, *, sources: Path = ROOT / "model", goldens: Path = ROOT / "tests" / "golden") -> list[str]:
    """
    Rebuilds one package into a temporary folder, compares it, imports it and replays its golden if there is one.

    Args:
        package: a folder of generated/.
        sources: where the checkpoint named by the manifest is.
        goldens: where the NAME.npz of its network may be.

    Returns:
        What is wrong, each a text for the developer; empty if nothing is.
    """
    import compiler  # late, so that what needs no build can be tested without one

    try:
        manifest = json.loads((package / "manifest.json").read_text(encoding="utf-8"))
        source = sources / Path(manifest["source"]["file"]).name
        # JSON has lists where the options have tuples.
        options: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in manifest["options"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"manifest.json: can't be read as one: {error!r}"]
    if not source.is_file():
        return [f"manifest.json: source: {source.name} is not in {sources.name}/"]
    with tempfile.TemporaryDirectory(prefix="compile-check-") as folder:
        build = compiler.build(source, out=Path(folder), name=package.name, **options)
        found = differences(package, build.path)
        golden = goldens / f"{SAME_NETWORK.get(package.name, package.name)}.npz"
        predictor = build.load()
        return found + (replay(predictor, golden) if golden.is_file() else [])


def never_compiled(packages: Iterable[Path], sources: Path) -> list[str]:
    """
    The checkpoints from which no checked-in package was built.
    """
    compiled = set()
    for package in packages:
        manifest = package / "manifest.json"
        if manifest.is_file():
            compiled.add(json.loads(manifest.read_text(encoding="utf-8")).get("source", {}).get("file"))
    checkpoints = {path.name for path in sources.iterdir() if path.suffix in CHECKPOINT_SUFFIXES}
    return sorted(checkpoints - compiled)


def packages_in(folder: Path) -> list[Path]:
    """
    The packages of a folder: every subfolder that holds a file.
    """
    return sorted(path for path in folder.iterdir() if path.is_dir() and files_of(path))


def main(names: list[str]) -> int:
    """
    Checks the named packages of generated/, or all; the exit status.
    """
    packages = packages_in(ROOT / "generated")
    unknown = sorted(set(names) - {package.name for package in packages})
    if unknown:
        print(f"not in generated/: {', '.join(unknown)}")
        return 2
    failed = False
    for package in packages:
        if names and package.name not in names:
            continue
        found = check(package)
        print(f"generated/{package.name}: {'differs' if found else 'the same, byte for byte'}", flush=True)
        for text in found:
            print(text)
        failed |= bool(found)
    missing = [] if names else never_compiled(packages, ROOT / "model")
    for source in missing:
        print(f"model/{source}: not compiled into generated/")
    if failed or missing:
        print(ACCEPT)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
