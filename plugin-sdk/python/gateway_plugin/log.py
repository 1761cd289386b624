"""To the gateway's log: `imports: [log]`."""

from wit_world.imports import log as _log

from ._arguments import plain


def _emit(level: _log.Level, message: str, fields: dict[str, object]) -> None:
    _log.emit(level, plain(message), [(plain(name), plain(value)) for name, value in fields.items()])


def trace(message: str, **fields: object) -> None:
    _emit(_log.Level.TRACE, message, fields)


def debug(message: str, **fields: object) -> None:
    _emit(_log.Level.DEBUG, message, fields)


def info(message: str, **fields: object) -> None:
    _emit(_log.Level.INFO, message, fields)


def warn(message: str, **fields: object) -> None:
    _emit(_log.Level.WARN, message, fields)


def error(message: str, **fields: object) -> None:
    _emit(_log.Level.ERROR, message, fields)
