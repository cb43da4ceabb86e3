"""Compiled programs: one for each function, static part and shape, also when several threads ask at once."""

from collections.abc import Callable, Hashable
from functools import cache, partial
from threading import Lock
from typing import Any

import jax

_COMPILING = Lock()


def run(function: Callable[..., Any], static: tuple[Hashable, ...], *arguments: Any) -> Any:
    """Calls `function(*static, *arguments)` compiled.

    `jax.jit` lets two threads compile the same program twice. Here the second waits, for the compilation alone: what
    is compiled runs side by side.

    Args:
        function: a pure function at module level.
        static: its first arguments, part of the program.
        arguments: trees of arrays.
    """
    leaves, tree = jax.tree.flatten(arguments)
    shapes = tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves)
    with _COMPILING:
        program = _compiled(function, static, tree, shapes)
    return program(*arguments)


def compiled_count() -> int:
    """Programs compiled by this process so far."""
    return _compiled.cache_info().misses


@cache
def _compiled(
    function: Callable[..., Any],
    static: tuple[Hashable, ...],
    tree: jax.tree_util.PyTreeDef,
    shapes: tuple[jax.ShapeDtypeStruct, ...],
) -> jax.stages.Compiled:
    return jax.jit(partial(function, *static)).lower(*jax.tree.unflatten(tree, shapes)).compile()
