"""
What the figures were measured on.
"""

import os
import platform
from importlib import metadata
from pathlib import Path

PACKAGES = ("numpy", "numba", "llvmlite", "stable_baselines3", "sb3_contrib", "torch", "onnxruntime", "openvino")


def machine() -> dict[str, str]:
    """
    The processor, what may be used of it, and the versions of all that takes part; `-` for what is not installed.
    """
    system = {
        "processor": _processor(),
        "cores": str(_cores()),
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
    }
    return system | {package: version(package) for package in PACKAGES}


def describe(system: dict[str, str]) -> str:
    """
    The same for readers.
    """
    return "\n".join(f"- {name}: {value}" for name, value in system.items()) + "\n"


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        facts[key.strip()] = value.strip()
    name = facts.get("model name") or platform.processor() or platform.machine()
    family = ", ".join(f"{key} {facts[key]}" for key in ("cpu family", "model") if key in facts)
    return f"{name} ({family})" if family else name


def version(package: str) -> str:
    """
    Of an installed package; `-` for one that is not.
    """
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "-"
