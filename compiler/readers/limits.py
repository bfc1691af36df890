"""
How much a checkpoint may ask for before it is refused.

Every bound is far above what a policy needs (the largest pickle of 23 published agents has 1,750 opcodes and 4.6 kB of
text) and low enough that a refusal takes seconds and less than 512 MiB. Bounds on what unpacking yields follow the size
of the file.
"""

from dataclasses import dataclass

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Limits:
    """
    Bounds that the readers keep to; all of them inclusive.
    """

    file_bytes: int = 16 << 30
    """Size of a file that is mapped, in bytes."""

    members: int = 20_000
    """Members of one zip archive."""

    inflated_bytes: int = 64 * MEBIBYTE
    """What all members of an archive may inflate to together, in bytes, however small the archive is."""

    inflation: int = 20
    """Above `inflated_bytes`, how many times its own size an archive may inflate to."""

    opcodes: int = 250_000
    """Opcodes of one pickle."""

    depth: int = 100
    """Nesting of the values of one pickle; far below Python's recursion limit, so that consumers may recurse."""

    leaves: int = 1_000_000
    """Values that a walk over a decoded tree meets, shared ones each time; 256 characters or bytes count as one."""

    literal_bytes: int = 64 * MEBIBYTE
    """Strings and bytes of one pickle together, in bytes."""

    tensor_sharing: int = 8
    """How many times the size of its file all tensors together may have once they are dense and widened."""

    def inflated(self, size: int) -> int:
        """
        How many bytes an archive of `size` bytes may inflate to.
        """
        return max(self.inflated_bytes, self.inflation * size)

    def tensor_bytes(self, size: int) -> int:
        """
        How many bytes the dense tensors of a file of `size` bytes may have together.
        """
        return max(self.inflated_bytes, self.tensor_sharing * size)


DEFAULT = Limits()
