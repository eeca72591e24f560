"""One digest of code, for all that is kept and good only for the very code that made it.

What Python loads is digested, wherever that is: source files, compiled files alone, a zip, the
archive of a frozen program. The digest of a module is that of its source where Python has it, so
the same release has the same digest however it is installed, and else that of its compiled code.
"""

import contextlib
import hashlib
import pkgutil
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from types import CodeType
from typing import Any


def of(*names: str) -> str | None:
    """Return a SHA-256 of the code of modules, each package with all that is in it.

    Parameters
    ----------
    names : str
        Absolute names. Nothing is imported.

    Returns
    -------
    str or None
        In hexadecimal; None where the code cannot be read: such a program must not rely on what
        another one has kept.

    Examples
    --------
    >>> of("json") == of("json") != of("json.decoder")
    True
    >>> of("sys") is None  # has no code of Python's
    True
    """
    digest = hashlib.sha256()
    try:
        found = {spec.name: _content(spec) for name in names for spec in _specs(name)}
    except (ImportError, OSError, AttributeError):
        return None
    prefixes = tuple(f"{name}." for name in names)
    if any(name.startswith(prefixes) and name not in found for name in tuple(sys.modules)):
        return None  # a finder that does not tell what it has
    for name, content in sorted(found.items()):
        digest.update(b"%s\0%d\0" % (name.encode(), len(content)) + content)
    return digest.hexdigest()


def modules(*names: str) -> list[str]:
    """Return the names of the modules that `of` digests."""
    return sorted(spec.name for name in names for spec in _specs(name))


def _specs(name: str) -> Iterator[ModuleSpec]:
    """Yield where a module, and all that is in it, is loaded from."""
    spec = _spec(name)
    yield spec
    for module in pkgutil.iter_modules(spec.submodule_search_locations or []):
        yield from _specs(f"{name}.{module.name}")


def _spec(name: str) -> ModuleSpec:
    """Return where a module was loaded from, or would be; its parents are not imported."""
    loaded = getattr(sys.modules.get(name), "__spec__", None)
    if loaded is not None:
        return loaded
    parent = name.rpartition(".")[0]
    path = _spec(parent).submodule_search_locations if parent else None
    for finder in sys.meta_path:
        spec = finder.find_spec(name, path)
        if spec is not None:
            return spec
    raise ModuleNotFoundError(name, name=name)


def _content(spec: ModuleSpec) -> bytes:
    """Return the source of a module, else its compiled code in words that are always the same."""
    loader: Any = spec.loader
    if spec.origin is not None and spec.origin.endswith(".py"):
        with contextlib.suppress(OSError):  # a frozen program has it no longer
            return loader.get_data(spec.origin)
    code = loader.get_code(spec.name)
    if code is None:
        raise ImportError(spec.name)
    return repr(_words(code)).encode()


def _words(constant: Any) -> Any:
    """Return compiled code as tuples of plain constants, without the places it came from.

    `marshal` writes the same code in several ways, and sets have no order.
    """
    if isinstance(constant, CodeType):
        counts = constant.co_argcount, constant.co_posonlyargcount, constant.co_kwonlyargcount
        names = constant.co_names, constant.co_varnames, constant.co_cellvars, constant.co_freevars
        body = constant.co_code, constant.co_flags, constant.co_exceptiontable
        return constant.co_name, counts, names, body, _words(constant.co_consts)
    if isinstance(constant, tuple):
        return tuple(map(_words, constant))
    if isinstance(constant, frozenset):
        return sorted(map(repr, map(_words, constant)))
    return constant
