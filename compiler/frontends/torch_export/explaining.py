"""
Why torch.export refuses a module, in words that say what to do: it raises whatever its own code or the user's raises.
"""

import re
import traceback
from pathlib import PurePath

from torch.nn.utils.rnn import PackedSequence

from compiler.errors import quote

LONGEST = 600
LIBRARY = re.compile(r"[/\\](torch|sympy|compiler)[/\\]|<eval_with_key>|importlib|contextlib|functools|inspect\.py")
"""In the path of code that is not the user's."""
PACKED = "/torch/nn/utils/rnn.py"
DISTRIBUTIONS = "/torch/distributions/"

ADVICE = "export it yourself with torch.export and give the .pt2 file, or make the model exportable"
SEQUENCES = (
    "works on packed sequences, whose sizes depend on their lengths, which torch can't export: give layers sequences "
    "of one length, and take the output at each last step, outputs[torch.arange(batch), lengths - 1]"
)
ARGUMENTS = (
    "makes a distribution of torch, which looks at the values of its arguments: leave out validate_args=True, or "
    "compute the mean, the mode or the logits without it"
)
DATA = (
    "has a size or a branch that depends on the values of its inputs: choose with torch.where instead of if, say sizes "
    "as numbers (one_hot with num_classes, repeat_interleave with output_size), and mask instead of picking elements"
)
ONE_SIZE = (
    "computes with the batch, or another dynamic size, as with one fixed number: take sizes from x.shape, not from the "
    "example, without int() or len(), and let view and reshape find the batch as -1; or build it with fixed sizes "
    "(dynamic=False)"
)


def explained(error: Exception) -> str:
    """
    What torch.export raised, as a finding: the user's line, the cause and the way out where they are known.
    """
    frames = list(traceback.extract_tb(error.__traceback__))
    files = [frame.filename.replace("\\", "/") for frame in frames]
    place = _place(frames)
    known = _known(error, files)
    if known is not None:
        return f"{place or 'the module'} {known}"
    at = f" at {place}" if place else ""
    text = f"torch.export refuses the module{at}: {type(error).__name__}: {quote(str(error), LONGEST)}"
    return f"{text}; {ADVICE}"


def _known(error: Exception, files: list[str]) -> str | None:
    """
    The cause and the way out, of what happens often.
    """
    given = (frame.f_locals.get("orig_input") for frame, _ in traceback.walk_tb(error.__traceback__))
    if any(file.endswith(PACKED) for file in files) or any(isinstance(value, PackedSequence) for value in given):
        return SEQUENCES
    if any(DISTRIBUTIONS in file for file in files):
        return ARGUMENTS
    text = f"{type(error).__name__}: {error}"
    if "DataDependent" in text or "data-dependent" in text:
        return DATA
    if "Constraints violated" in text and "specialized" in text:
        return ONE_SIZE
    return None


def _place(frames: list[traceback.FrameSummary]) -> str:
    """
    The last line that is neither torch's nor policyc's; empty if there is none.
    """
    own = [frame for frame in frames if not LIBRARY.search(frame.filename)]
    if not own:
        return ""
    last = own[-1]
    code = f": {quote(last.line.strip())}" if last.line else ""
    return f"{quote(PurePath(last.filename).name)[1:-1]}:{last.lineno}{code}"
