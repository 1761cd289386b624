"""Documents of granted upstreams, such as key sets: `imports: [documents]`.

The gateway fetches each of them once for all instances, keeps it, and refreshes it before it expires, while the present one remains in
use.
"""

import json as _json
from dataclasses import dataclass
from typing import Any

from wit_world.imports import documents as _documents

from . import _arguments as arguments
from ._http import call
from ._http import text as _text


@dataclass(frozen=True)
class Source:
    """Where a document is, and how old it may become."""

    upstream: str
    #: Path and query.
    target: str = "/"
    #: The age at which the document is fetched again. Calls do not wait for that.
    refresh_ms: int = 600_000
    #: The least time between two attempts; at least a second.
    retry_ms: int = 30_000
    #: The age up to which the document remains in use if it cannot be fetched again.
    max_stale_ms: int = 86_400_000
    #: For each attempt; at most a minute.
    timeout_ms: int = 5000


@dataclass
class Document:
    #: Changes with the text; never 0.
    version: int
    bytes: bytes

    def text(self) -> str:
        """Bytes that are not UTF-8 become lone surrogates, as in header values; it does not raise."""
        return _text(self.bytes)

    def json(self) -> Any:
        return _json.loads(self.text())


def get(source: Source, known: int = 0, *, force_refresh: bool = False) -> Document | None:
    """The document, or `None` if its version is still the `known` one (0 for none).

    Waits only if there is no document in use yet, or with `force_refresh`, which fetches it again unless that was attempted less than
    `retry_ms` ago. Raises `GatewayError` with the code `denied`, `invalid`, `unavailable` or `other`.
    """
    if not isinstance(source, Source):
        raise TypeError(f"source must be a Source, not {type(source).__name__}")
    most = arguments.MAX_U64
    lowered = _documents.Source(
        arguments.text("upstream", source.upstream),
        arguments.text("target", source.target),
        arguments.integer("refresh_ms", source.refresh_ms, most=most),
        arguments.integer("retry_ms", source.retry_ms, most=most),
        arguments.integer("max_stale_ms", source.max_stale_ms, most=most),
        arguments.integer("timeout_ms", source.timeout_ms),
    )
    given = (arguments.integer("known", known, most=most), arguments.boolean("force_refresh", force_refresh))
    found = call(source.upstream, _documents.get, lowered, *given)
    return None if found is None else Document(found.version, found.bytes)
