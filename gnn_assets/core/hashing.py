"""Names for content: equal content, config or code gives the equal hash, on any machine.

`content_hash` names what a table says, not how a file spells it: provenance columns (who fetched it, when, in which
run) do not count, so that two runs over the same data agree.
"""

import ast
import hashlib
import importlib.util
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

PACKAGE = "gnn_assets"
# How artefacts are stored, configured or complained about does not change what they say.
_NOT_CONTENT = ("store", "core.errors", "core.config", "core.settings", "core.hashing", "core.plugins")
# ... but this part of the store shapes the numbers themselves.
_CONTENT = ("store.panel",)
# Settings are hashed as values, section by section; the one section that computes is hashed as code, whichever module
# of the configuration is imported.
_COMPUTES = {f"{PACKAGE}.core.config": f"{PACKAGE}.core.execution"}
# Texts joined at once: the result is one value of polars, which may not pass 4 GiB.
_SLICE_ROWS = 1 << 18


def sha256_hex(data: bytes) -> str:
    """SHA-256 of bytes, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spare space; dates and paths become their text. NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str, allow_nan=False, ensure_ascii=False)


def json_hash(value: Any) -> str:
    """SHA-256 of a value's canonical JSON, 64 hex digits."""
    return sha256_hex(canonical_json(value).encode())


def content_hash(frame: pl.DataFrame, *, exclude: Iterable[str] = ()) -> str:
    """SHA-256 of what a frame says: names, dtypes, values and nulls, row by row in order.

    Args:
        frame: columns of numbers, booleans, dates, moments or text.
        exclude: provenance columns that do not count.

    Returns:
        64 hex digits; independent of chunking, of Parquet encoding and of library versions.
    """
    digest = hashlib.sha256(str(frame.height).encode())
    skipped = set(exclude)
    for series in frame.iter_columns():
        if series.name in skipped:
            continue
        digest.update(f"|{series.name}:{series.dtype}|".encode())
        digest.update(series.is_null().to_numpy().tobytes())
        if series.dtype == pl.String:
            text = series.fill_null("")
            digest.update(text.str.len_bytes().to_numpy().tobytes())
            # Joined where the text lies, a slice at a time: a Python object for each row costs eight times as much.
            for start in range(0, text.len(), _SLICE_ROWS):
                digest.update(text[start : start + _SLICE_ROWS].str.join("").item().encode())
        else:
            physical = series.to_physical()
            filled = physical.fill_null(False) if physical.dtype == pl.Boolean else physical.fill_null(0)
            digest.update(np.ascontiguousarray(filled.to_numpy()).tobytes())
    return digest.hexdigest()


@cache
def code_version(*modules: str) -> str:
    """Version of the code behind an asset: a hash of the named modules and of what they import from this package.

    Comments, docstrings and formatting do not count; storage, configuration values and error texts do not either.

    Args:
        modules: dotted names; a package stands for its ``__init__`` alone.

    Returns:
        16 hex digits.

    Raises:
        ModuleNotFoundError: if a module does not exist: its version would never change.
    """
    sources: dict[str, str] = {}
    pending = list(modules)
    while pending:
        name = pending.pop()
        name = next((code for settings, code in _COMPUTES.items() if _within(name, settings)), name)
        if name in sources or (_in_any(name, _NOT_CONTENT) and not _in_any(name, _CONTENT)):
            continue
        code = _code(name)
        if code is None:
            continue
        sources[name], imported = code
        pending.extend(imported)
    return json_hash(sources)[:16]


def _in_any(name: str, parts: Iterable[str]) -> bool:
    return any(_within(name, f"{PACKAGE}.{part}") for part in parts)


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@cache
def _code(name: str) -> tuple[str, tuple[str, ...]] | None:
    """What a module says and what it imports; None for a folder without code. Many assets share one module."""
    tree = _parsed(name)
    # A dump spells the same code differently in each Python.
    return None if tree is None else (ast.unparse(tree), tuple(_imports(tree)))


def _parsed(name: str) -> ast.Module | None:
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ModuleNotFoundError(f"code version: there is no module {name}", name=name)
    if spec.origin is None:  # a folder without __init__.py has no code
        return None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _imports(tree: ast.Module) -> Iterable[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and _within(node.module, PACKAGE):
            yield node.module
            # `from package import module` names a module; `from module import name` does not. To look inside a module
            # would import it, and jax with it.
            spec = importlib.util.find_spec(node.module)
            if spec is not None and spec.submodule_search_locations is not None:
                children = [f"{node.module}.{alias.name}" for alias in node.names]
                yield from (child for child in children if importlib.util.find_spec(child) is not None)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _within(alias.name, PACKAGE))
