"""
What is wrong with a request's JSON, in words for the person who sent it: where, what was expected, what was found.
"""

import codecs
import re
from typing import Any, Final

import msgspec

from compiler.serve.answers import RequestError
from compiler.serve.encoded import DEEPEST, ENCODINGS

LARGEST_SHOWN: Final = 2**20
"""Bytes of a body that is read again to say what stands there: what is refused may not cost more than what is not."""

KINDS: Final = {
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "str": "a text",
    "bytes": "a text of base64",
    "array": "an array",
    "object": "an object",
    "null": "null",
}

MARKS: Final = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""What some systems write in front of a text."""

Decoder = msgspec.json.Decoder[Any]
_LITERAL: Final = re.compile(rb"NaN|-?Infinity")


def not_json(decoder: Decoder, body: bytes, error: Exception) -> RequestError:
    """
    For a body that can't be parsed.
    """
    if isinstance(error, RecursionError):
        return RequestError(400, "too many arrays or objects in each other")
    if body.startswith(MARKS):
        return RequestError(400, "the body begins with a byte order mark: send UTF-8 without one")
    reason = str(error).removeprefix("JSON is malformed: ").lower()
    place = re.search(r"\(byte (\d+)\)", reason)
    at = int(place[1]) if place else len(body)
    literal = _LITERAL.match(body, at - (body[at - 1 : at] == b"-"))
    if literal is None:
        return RequestError(400, f"the body is not JSON: {reason if body.strip() else 'it is empty'}")
    # Python and NumPy write these, JSON has none. What is said of a null at their place tells the path.
    path = "$"
    try:
        decoder.decode(body[: literal.start()] + b"null" + body[literal.end() :])
    except msgspec.ValidationError as other:
        path = _parted(other)[1]
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        pass
    return RequestError(422, f"expected a finite number, found {literal[0].decode()}", path)


def explained(decoder: Decoder, body: bytes, error: msgspec.ValidationError) -> RequestError:
    """
    For JSON of another type than a request has.
    """
    text, path = _parted(error)
    if text.endswith("out of range"):
        return RequestError(400, "a number has too many digits, or is too large", path)
    found = ""
    if len(body) <= LARGEST_SHOWN:
        try:
            found = _described(_at(msgspec.json.decode(body), path))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as other:
            return not_json(decoder, body, other)  # what was not read yet is no JSON at all
        except msgspec.ValidationError:
            pass  # a number of too many digits, behind the place
        except (KeyError, IndexError, TypeError):
            pass  # a key has a dot or a bracket: the path is not for machines then
    return RequestError(422, _worded(decoder, text, path, found), path)


def _parted(error: msgspec.ValidationError) -> tuple[str, str]:
    text, _, place = str(error).partition(" - at `")
    return text, place.rstrip("`") or "$"


def _worded(decoder: Decoder, text: str, path: str, found: str) -> str:
    """
    Msgspec's message in the terms of JSON.
    """
    if wrong := re.fullmatch(r"Expected `([^`]+)`( of length)?(?: ([<>]=?) (\S+))?(?:, got `(\w+)`)?", text):
        kinds, length, relation, limit, got = wrong.groups()
        expected = " or ".join(KINDS.get(kind, kind) for kind in kinds.split(" | "))
        # Arrays of an observation have one length, with two bounds; what may have several has a bound of its own.
        exactly = length and (relation, limit) not in ((">=", "1"), ("<=", str(DEEPEST)))
        expected += (" of length" if length else "") + (
            f" {limit}" if exactly else f" {relation} {limit}" if limit else ""
        )
        found = found or KINDS.get(got or "", "")
        return f"expected {expected}" + (f", found {found}" if found else "")
    if wrong := re.fullmatch(r"Invalid enum value (.*)", text, re.DOTALL):
        return f"expected one of {', '.join(ENCODINGS)}, found {wrong[1][:40]}"
    if text == "Invalid base64 encoded string":
        return "expected base64 in the standard alphabet, with padding"
    if wrong := re.fullmatch(r"Object contains unknown field `(.*)`", text, re.DOTALL):
        known = getattr(decoder.type, "__struct_encode_fields__", ()) if path == "$" else ()
        return f"there is no field `{wrong[1][:80]}`" + (f", expected some of {', '.join(known)}" if known else "")
    if wrong := re.fullmatch(r"Object missing required field `(.*)`", text, re.DOTALL):
        return f"expected a field `{wrong[1]}`, found none"
    return text[:1].lower() + text[1:]


def _at(content: Any, path: str) -> Any:
    for key, index in re.findall(r"\.([^.\[]+)|\[(\d+)\]", path):
        content = content[key] if key else content[int(index)]
    return content


def _described(value: Any) -> str:
    match value:
        case list():
            return f"an array of length {len(value)}"
        case dict():
            return "an object"
        case str():
            return "a text"
        case bool() | None:
            return {True: "true", False: "false", None: "null"}[value]
        case _:
            return f"{value}"[:40]
