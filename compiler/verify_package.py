"""
A package that lies on disk, compared with its own model file and, if wanted, with the checkpoint it was built from.
"""

import shutil
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from compiler import frontends, modelfile, products
from compiler.compare_source import SourceComparison, compare_source
from compiler.errors import VerificationError, quote
from compiler.ir import Model
from compiler.loading import no_package
from compiler.options import BuildOptions
from compiler.package import MODEL_FILE, check_files, package_name, read_manifest
from compiler.pipeline import options_from, run_passes
from compiler.readers.files import read_file
from compiler.verify import SEED, Predictor, Verification, verify, worst
from compiler.verify.cases import finite_cases
from compiler.verify.general import SourceDiffersError, given_of

LARGE_BATCH = 10_000
"""Enough for any predictor to use its threads."""


@dataclass(frozen=True)
class ProgramComparison:
    """
    What comparing with the source of a model that is no policy found: that nothing differs.
    """

    format: str
    """Of the source: `torch-export`, `onnx`, ..."""
    observations: int

    def to_json(self) -> dict[str, Any]:
        """
        All fields as plain JSON values.
        """
        return asdict(self)


@dataclass(frozen=True)
class PackageVerification:
    """
    That a package gives what it should.
    """

    verification: Verification
    """Against its own model file."""
    source: SourceComparison | ProgramComparison | None
    """Against SB3 with the checkpoint, or against the program, if one was named."""

    def to_json(self) -> dict[str, Any]:
        """
        All fields as plain JSON values.
        """
        return {
            "verification": self.verification.to_json(),
            "source": None if self.source is None else self.source.to_json(),
        }


def verify_package(
    folder: Path, *, against: Path | None = None, vecnormalize: Path | None = None, trust: bool = False
) -> PackageVerification:
    """
    Compares a package with its manifest, its model file, and the checkpoint.

    Args:
        folder: what `build` wrote.
        against: a checkpoint for SB3 to load, or the program that it was built from.
        vecnormalize: the statistics that SB3 is to normalise observations by, for a predictor that was built with them.
        trust: that SB3 or torch may execute what these files say.

    Raises:
        PolicycError: something was changed or differs, or the checkpoint can't be used.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise VerificationError(quote(str(folder)), f"is not a package that policyc built: {no_package(folder)}")
    check_files(folder, manifest)  # before anything of it is executed
    options = options_from(manifest["options"])
    resolved, triple = products.resolve(options)
    model = modelfile.decode(read_file(folder / MODEL_FILE), str(folder / MODEL_FILE))
    compiled = run_passes(model, resolved)
    # The folder may have been renamed, its files not.
    made = manifest.get("made")
    name = package_name(MODEL_FILE, str(made.get("name"))) if isinstance(made, dict) else folder.name
    with tempfile.TemporaryDirectory(prefix="policyc-verify-") as temporary:
        copy, work = _copy(folder, manifest, temporary), Path(temporary)
        found = []
        for number, variant in enumerate(products.variants(products.made_before(compiled, resolved, triple, name))):
            own = work / f"variant{number}"
            own.mkdir()
            with products.examined(copy, variant, own) as (module, _):
                predictor = cast(Predictor, module)
                found.append(_compared(predictor, model, compiled, resolved, against, vecnormalize, trust))
        verification = worst([one.verification for one in found])
        return PackageVerification(verification, found[-1].source)


def _compared(
    predictor: Predictor,
    model: Model,
    compiled: Model,
    options: BuildOptions,
    against: Path | None,
    vecnormalize: Path | None,
    trust: bool,
) -> PackageVerification:
    large = LARGE_BATCH if options.target in products.IN_PYTHON else 0
    if against is not None and model.policy is None:
        return _compared_with_program(predictor, model, compiled, options, against, trust)
    verification = verify(model, compiled, predictor, options, large)
    if against is None:
        return PackageVerification(verification, None)
    cases = finite_cases(model, options.verify_observations, SEED)
    compared = compare_source(predictor, model, cases, against, vecnormalize=vecnormalize, trust=trust)
    return PackageVerification(verification, compared)


def _compared_with_program(
    predictor: Predictor, model: Model, compiled: Model, options: BuildOptions, against: Path, trust: bool
) -> PackageVerification:
    """
    The same for a model that is no policy, which the library of its source answers for.
    """
    source, ask = frontends.read_with_source(against, replace(options, trust=trust))
    given, taken = ([one.tensors[name] for name in given_of(one)] for one in (source, model))
    if ask is None or [(t.dtype, t.shape) for t in given] != [(t.dtype, t.shape) for t in taken]:
        raise VerificationError(str(against), "takes other inputs than the predictor: it was built from another file")
    try:
        verification = verify(model, compiled, predictor, options, ask=ask)
    except SourceDiffersError as error:
        found = "gives something else than the predictor: it was built from another file"
        raise VerificationError(str(against), found) from error
    return PackageVerification(verification, ProgramComparison(source.origin.format, verification.observations))


def _copy(folder: Path, manifest: dict[str, Any], temporary: str) -> Path:
    """
    The files that the manifest lists, and no others: importing them there leaves nothing in the package.
    """
    copy = Path(temporary) / "package"
    copy.mkdir(mode=0o700)
    for name in manifest["files"]:
        shutil.copyfile(folder / name, copy / name)
    return copy
