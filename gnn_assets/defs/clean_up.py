"""Removing what nobody needs any more, with everything that champions cite kept."""

from collections.abc import Iterator
from datetime import timedelta

from gnn_assets.core.clock import LiveClock
from gnn_assets.core.errors import StoreError
from gnn_assets.defs.resources import Platform
from gnn_assets.registry.pointer import Champion
from gnn_assets.store.collect import collect


def clean_up(platform: Platform) -> str:
    """Removes versions beyond the newest few that no card and no recent champion cites; returns a sentence.

    Raises:
        LockTimeout: if something is being written for too long; what came before it is done.
    """
    runtime = platform.config.runtime
    cited: dict[str, dict[str, str]] = {}
    for champion in platform.champion.newest(runtime.keep_versions):
        for artefact, version in _cited_by(platform, champion):
            cited.setdefault(artefact, {})[version] = f"cited by champion {champion.version[:12]}"
    done = collect(
        platform.data / "lake",
        keep=runtime.keep_versions,
        grace=timedelta(hours=runtime.grace_hours),
        # Files are as old as the machine says, whatever the clock of the market.
        clock=LiveClock(),
        lock_timeout_seconds=runtime.lock_timeout_seconds,
        cited=cited,
    )
    skipped = "".join(f"; {artefact} left alone: {reason}" for artefact, reason in done.skipped.items())
    return f"{len(done.removed)} files and versions removed, {done.bytes / 1e6:.1f} MB freed{skipped}"


def _cited_by(platform: Platform, champion: Champion) -> Iterator[tuple[str, str]]:
    """Artefact and version of everything a champion is judged and served by."""
    yield "gnn_weights", champion.version
    yield "oos_predictions", champion.oos_predictions
    yield "portfolio_returns", champion.portfolio_returns
    yield "backtest_scores", champion.backtest_scores
    try:
        yield from platform.weights.facts(champion.version)["inputs"].items()
    except StoreError:
        return  # damaged weights name nothing; the clean-up leaves their artefact alone by itself
