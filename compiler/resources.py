"""
The files that come with the compiler and are not Python: schemas and templates.
"""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def resource(folder: str) -> Path:
    """
    The folder `schemas` or `templates`: inside the package, as a wheel installs it, or beside it, as in a checkout.

    Raises:
        FileNotFoundError: if the installation lacks it.
    """
    for parent in (PACKAGE, PACKAGE.parent):
        if (parent / folder).is_dir():
            return parent / folder
    raise FileNotFoundError(f"policyc is not installed completely: the folder {folder} is missing in {PACKAGE}")
