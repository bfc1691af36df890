"""
The page at `/`, the documentation of the API at `/docs`, and the files that they are made of.

They are read once, and served from memory. Nothing comes from elsewhere, and the browser is told to take nothing else.
"""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from compiler.serve.answers import Answer, Headers

PAGE: Final = Path(__file__).resolve().parent / "page"
TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
}
DIRECTIVES: Final = (
    "default-src 'none'",
    # The module around a WebAssembly build is fetched, with the token where there is one, and imported as a blob.
    "script-src 'self' blob: 'wasm-unsafe-eval'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
)
SAFETY: Final[Headers] = [
    ("content-security-policy", "; ".join(DIRECTIVES)),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
]

FileHandler = Callable[[Any], Answer]
"""Takes a Call."""


def page_handlers() -> dict[str, FileHandler]:
    """
    What answers GET at the addresses of the page, its files, and the documentation.
    """
    handlers = {f"/static/{file.name}": file_handler(file.name, file.read_bytes()) for file in sorted(PAGE.iterdir())}
    return {"/": handlers["/static/index.html"], "/docs": handlers["/static/docs.html"], **handlers}


def file_handler(name: str, content: bytes) -> FileHandler:
    """
    What answers with a file, or with 304 where the client has it already.

    Args:
        name: its ending says the content type.
        content: the file.
    """
    tag = f'"{sha256(content).hexdigest()[:32]}"'
    kept: Headers = [("etag", tag), ("cache-control", "no-cache")]
    headers: Headers = [("content-type", TYPES[Path(name).suffix]), *kept, *SAFETY]

    def handler(call: Any) -> Answer:
        known = {each.strip().removeprefix("W/") for each in call.headers.get("if-none-match", "").split(",")}
        return (304, kept, b"") if tag in known else (200, headers, content)

    return handler
