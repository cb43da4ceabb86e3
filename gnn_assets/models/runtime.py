"""How jax runs here: a fixed number of threads, and compiled programs kept between processes.

The number of threads decides how XLA splits a sum, and so the last bits of a weight: it is pinned before jax first
computes, counted afterwards, and written beside every artefact.
"""

import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from threadpoolctl import get_cached_controller

from gnn_assets.core.errors import ModelError
from gnn_assets.core.settings import pin_threads

LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy", "lightgbm", "polars-talib")
# XLA names each thread of its compute pool so; one stands there for each thread it may split work over.
_THREAD_NAME = "tf_XLAEigen"
_THREAD_FOLDER = Path("/proc/self/task")


def start(*, threads: int, cache: Path) -> int:
    """Starts jax on this machine's processor, or makes sure that it was started alike.

    Args:
        threads: compute threads.
        cache: folder that compiled programs are kept in; made if it is absent.

    Returns:
        The number of compute threads that XLA really runs.

    Raises:
        ModelError: if jax already runs in this process with another number of threads.
    """
    if not _running():
        pin_threads(threads)
        import jax

        _drop_torn(cache)
        jax.config.update("jax_compilation_cache_dir", str(cache.resolve()))
        # Both defaults keep only programs that took seconds: ours are many and small.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        jax.devices()
    running = thread_count()
    if running != threads:
        raise ModelError.of(
            "runtime.threads",
            expected=f"jax with {threads} compute threads",
            was=f"{running} since jax first ran in this process",
            do="start a fresh process, or ask for that many",
        )
    # NumPy's matrix library reads the environment only when it is loaded, which was long ago.
    get_cached_controller().limit(limits=threads)
    return running


def thread_count() -> int:
    """Compute threads of XLA in this process, counted by their names; 0 before jax first computes."""
    count = 0
    for task in _THREAD_FOLDER.iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread may end while its folder is read
            count += (task / "comm").read_text().strip() == _THREAD_NAME
    return count


def library_versions() -> dict[str, str]:
    """Versions of the libraries whose change may change a bit."""
    return {name: version(name) for name in LIBRARIES}


def _drop_torn(cache: Path) -> None:
    """Removes programs whose writer was killed half-way: jax would find them unreadable at every start."""
    from jax._src.compilation_cache import decompress_executable

    for entry in cache.glob("*-cache"):
        try:
            decompress_executable(entry.read_bytes())
        except Exception:  # noqa: BLE001 - which error it is depends on the compressor jax found
            entry.unlink(missing_ok=True)


def _running() -> bool:
    if "jax" not in sys.modules:
        return False
    from jax._src.xla_bridge import backends_are_initialized

    return backends_are_initialized()
