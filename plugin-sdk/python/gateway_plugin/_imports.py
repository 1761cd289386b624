"""Imports within functions.

A component is a snapshot of the interpreter after its modules were imported, without their files. So what a function imports when it is
called has to be imported when the component is built.
"""

import ast
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from types import ModuleType

#: Packages that the SDK itself uses; they import nothing later that exists in a component.
_SKIPPED = ("gateway_plugin", "mashumaro", "typing_extensions", "wit_world", "componentize_py", "__")
#: What modules of the standard library import when their functions are called.
_LATER = {
    "datetime": ["_strptime"],
    "email.message": ["email.policy"],
    "encodings": [
        f"encodings.{name}"
        for name in ("ascii", "cp1252", "idna", "latin_1", "punycode", "utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_8_sig")
    ],
    "urllib.parse": ["unicodedata"],
}


def import_ahead() -> None:
    """Imports what the functions of all imported modules import, except those of the standard library."""
    seen: set[str] = set()
    while left := [name for name in sys.modules if name not in seen]:
        for name in left:
            seen.add(name)
            for later in _LATER.get(name, []):
                _try(later)
            module = sys.modules.get(name)
            if isinstance(module, ModuleType) and _is_of_plugin(module):
                for wanted in _imported(module):
                    _try(wanted)


def _is_of_plugin(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    package = module.__name__.partition(".")[0]
    return bool(file) and file.endswith(".py") and package not in sys.stdlib_module_names and not package.startswith(_SKIPPED)


def _imported(module: ModuleType) -> Iterator[str]:
    """The names of the modules that a module's source imports anywhere."""
    try:
        with open(module.__file__ or "", "rb") as source:
            tree = ast.parse(source.read())
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            try:
                base = importlib.util.resolve_name("." * node.level + (node.module or ""), module.__package__)
            except ImportError:
                continue
            yield base
            # A name is an attribute of the module or a module within it.
            found = sys.modules.get(base)
            yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*" and not hasattr(found, alias.name))


def _try(name: str) -> None:
    """What cannot be imported is an optional dependency, or fails when the function is called."""
    try:
        importlib.import_module(name)
    except Exception:  # noqa: BLE001 (a module may raise anything)
        pass


class _Refusal(MetaPathFinder):
    """Says why a module cannot be imported any more."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        reason = f"{fullname} is not part of the component: import it at the top of a module, so that it is imported when the plugin is built"
        raise ModuleNotFoundError(reason, name=fullname)


def refuse_later() -> None:
    """The component runs: there is nothing to import from."""
    if not any(isinstance(finder, _Refusal) for finder in sys.meta_path):
        sys.meta_path.append(_Refusal())
