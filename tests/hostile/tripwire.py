"""
Makes the marker when it is imported: no reader may ever do that on behalf of a file.
"""

from pathlib import Path

from tests.hostile.case import MARKER

Path(MARKER).touch()
