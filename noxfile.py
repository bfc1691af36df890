"""
The development tasks: `nox -l` lists them, `nox -s NAME` runs one.

Two environments serve all sessions and are kept between runs: a light one that knows no torch, as the users of
policyc, and a full one with torch, Stable-Baselines3 and the peers of the benchmarks. They live in `.nox/`; remove that
folder to start afresh.
"""

import hashlib
import os
import sys
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "compile-check", "docs", "tests"]

ROOT = Path(__file__).parent.resolve()
CHECKPOINT_SUFFIXES = {".zip", ".pth"}

# What a bare policy.pth does not say about itself.
BUILD_OPTIONS = {"cartpole_policy.pth": ("--activation", "Tanh", "--action-kind", "discrete", "--no-masked")}

# What pip installs into each environment, call by call. torch goes first and alone: whichever build of that version
# the machine's package source has (CPU, CUDA) is then there before anything that depends on it.
EDITABLE = ("--constraint", "constraints.txt", "--editable")
LIGHT = ((*EDITABLE, ".[dev,serve]"),)
FULL = (("torch==2.13.0",), (*EDITABLE, ".[dev,sb3,bench,native,wasm,serve]"))


def environment(session: nox.Session, name: str, installs: tuple[tuple[str, ...], ...]) -> str:
    """
    The Python of a shared environment, which is created or brought up to date first where needed.
    """
    folder = ROOT / ".nox" / name
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = folder / "installed"
    wanted = hashlib.sha256(repr((sys.version, str(ROOT), installs)).encode())
    for file in ("pyproject.toml", "constraints.txt"):
        wanted.update((ROOT / file).read_bytes())
    if not (python.exists() and stamp.exists() and stamp.read_text() == wanted.hexdigest()):
        session.run_install(sys.executable, "-m", "venv", str(folder), external=True)
        for arguments in installs:
            session.run_install(str(python), "-m", "pip", "install", "--quiet", *arguments, external=True)
        stamp.write_text(wanted.hexdigest())
    return str(python)


def run(session: nox.Session, python: str, *arguments: str, **variables: str) -> None:
    """
    Runs Python in the root of the checkout, with the given environment variables on top of the caller's.
    """
    session.run(python, *arguments, env=variables, external=True)


@nox.session(name="full-environment", python=False, default=False)
def full_environment(session: nox.Session) -> None:
    """Install what the tests need, which they do themselves otherwise: the CI lets others run meanwhile."""
    environment(session, "full", FULL)


@nox.session(name="build-model", python=False)
def build_model(session: nox.Session) -> None:
    """Compile every checkpoint in model/ into generated/, then run the example of the README."""
    python = environment(session, "light", LIGHT)
    checkpoints = sorted(path for path in (ROOT / "model").iterdir() if path.suffix in CHECKPOINT_SUFFIXES)
    for path in checkpoints:
        source = path.relative_to(ROOT).as_posix()
        options = BUILD_OPTIONS.get(path.name, ())
        run(session, python, "-m", "compiler.cli", "build", source, "--out", "generated", *options)
    run(session, python, "docs/example.py")


@nox.session(name="compile-check", python=False)
def compile_check(session: nox.Session) -> None:
    """Rebuild generated/ and fail on any byte of difference; import, compile and replay the goldens."""
    run(session, environment(session, "light", LIGHT), "-m", "tests.generated_code.compile_check", *session.posargs)


@nox.session(python=False)
def tests(session: nox.Session) -> None:
    """Run all tests, the slow ones included; arguments after -- go to pytest."""
    # One thread per worker for torch: two workers with two threads each are slower than two with one.
    arguments = session.posargs or ["-n", "2", "--dist", "loadfile"]
    run(session, environment(session, "full", FULL), "-m", "pytest", *arguments, OMP_NUM_THREADS="1")


@nox.session(python=False, default=False)
def thorough(session: nox.Session) -> None:
    """Run the tests of targets, kernels and modules with every kind and register, which takes half an hour."""
    folders = ["tests/targets", "tests/generated_code", "tests/golden", "tests/frontends"]
    arguments = session.posargs or [*folders, "-n", "2", "--dist", "loadfile"]
    variables = {"OMP_NUM_THREADS": "1", "POLICYC_THOROUGH": "1"}
    run(session, environment(session, "full", FULL), "-m", "pytest", *arguments, **variables)


@nox.session(python=False)
def golden(session: nox.Session) -> None:
    """Compare predictors with Stable-Baselines3 on every policy family."""
    run(session, environment(session, "full", FULL), "-m", "pytest", "tests/golden", *session.posargs)


@nox.session(python=False, default=False)
def zoo(session: nox.Session) -> None:
    """Compile every agent below a folder, `-- FOLDER`, and compare it with SB3, which executes what the files say."""
    run(session, environment(session, "full", FULL), "-m", "tests.golden.zoo", *session.posargs)


@nox.session(python=False)
def lint(session: nox.Session) -> None:
    """Check style and formatting with ruff; `-- --fix` mends what can be mended."""
    python = environment(session, "light", LIGHT)
    fix = "--fix" in session.posargs
    run(session, python, "-m", "ruff", "check", *(["--fix"] if fix else []), ".")
    run(session, python, "-m", "ruff", "format", *([] if fix else ["--check"]), ".")


@nox.session(python=False)
def types(session: nox.Session) -> None:
    """Check types with mypy: strict everywhere but in the tests."""
    names = ("compiler", "generated", "benchmarks", "docs", "model", "tests")
    # mypy refuses a folder without Python files.
    folders = [name for name in names if any((ROOT / name).rglob("*.py"))]
    run(session, environment(session, "light", LIGHT), "-m", "mypy", *folders, "noxfile.py", *session.posargs)


@nox.session(python=False)
def bench(session: nox.Session) -> None:
    """Measure predictors side by side with SB3, torch, ONNX Runtime and OpenVINO."""
    run(session, environment(session, "full", FULL), "-m", "benchmarks", *session.posargs)


@nox.session(name="bench-http", python=False, default=False)
def bench_http(session: nox.Session) -> None:
    """Measure `policyc serve` beside http.server, FastAPI and BentoML; takes wrk."""
    run(session, environment(session, "full", FULL), "-m", "benchmarks.http", *session.posargs)


@nox.session(python=False, default=False)
def soak(session: nox.Session) -> None:
    """Ask a server for known actions while it is disturbed in all ways, `-- --minutes N` long."""
    run(session, environment(session, "full", FULL), "-m", "tests.serve.soak", *session.posargs)


@nox.session(python=False)
def docs(session: nox.Session) -> None:
    """Check the generated tables in README and docs; `-- --write` renews them."""
    run(session, environment(session, "light", LIGHT), "docs/generate.py", *(session.posargs or ["--check"]))


@nox.session(python=False, default=False)
def fuzz(session: nox.Session) -> None:
    """Feed mutated files to the readers, `-- --minutes N` long."""
    run(session, environment(session, "full", FULL), "-m", "tests.hostile.fuzz", *session.posargs)
