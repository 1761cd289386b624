"""How an exception appears in the gateway's log."""

import os
import sys

from ._arguments import plain

#: The most that is logged of a stack or of a chain of causes.
_FRAMES = 8
_CAUSES = 3
#: Frames of this package are left out: its author needs the position in the plugin.
_OWN = os.path.dirname(__file__) + os.sep


def described(error: BaseException) -> str:
    """An exception in one line: its name, its message, where it was raised, and its causes."""
    parts = []
    at: BaseException | None = error
    while at is not None and len(parts) < _CAUSES:
        text = str(at)
        part = type(at).__name__ + (f": {text}" if text else "")
        if frames := _frames(at):
            part += f", at {', '.join(frames)}"
        parts.append(part)
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return plain("; caused by ".join(parts))


def _frames(error: BaseException) -> list[str]:
    """`function (file:line)` for each call of the plugin's own code, the innermost first."""
    frames = []
    at = error.__traceback__
    while at is not None:
        frames.append((at.tb_frame.f_code, at.tb_lineno))
        at = at.tb_next
    own = [(code, line) for code, line in reversed(frames) if not code.co_filename.startswith(_OWN)]
    return [f"{code.co_qualname} ({_relative(code.co_filename)}:{line})" for code, line in own[:_FRAMES]]


def _relative(file: str) -> str:
    """The path of a file within the folder that it was imported from."""
    folders = [folder.rstrip(os.sep) + os.sep for folder in sys.path if folder]
    inside = [file[len(folder) :] for folder in folders if file.startswith(folder)]
    return min(inside, key=len, default=file)
