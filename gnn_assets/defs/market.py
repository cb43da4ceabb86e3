"""The market as dense arrays: what graphs, models and forecasts read, from exactly the versions that are named."""

from collections.abc import Sequence
from datetime import date

from gnn_assets.bars.fetched import VALUES
from gnn_assets.bars.revisions import chosen, latest
from gnn_assets.bars.schema import MARKET_BARS, RETURNS
from gnn_assets.core.errors import MissingArtefact
from gnn_assets.core.hashing import json_hash
from gnn_assets.defs.resources import Platform
from gnn_assets.models.bars import Bars
from gnn_assets.store.panel import to_panel
from gnn_assets.store.panels import Panel, PanelData

RETURN_FIELDS = ("close_return", "fill_return", "held_return")
FIELDS = (*VALUES, *RETURN_FIELDS)


def bars_of(platform: Platform, returns_version: str, *, sessions: Sequence[date], symbols: Sequence[str]) -> Bars:
    """Bars and adjusted returns of some sessions and symbols, as features and strategies are made from them.

    Args:
        platform: the opened platform.
        returns_version: data version of `returns`.
        sessions: the row axis, ascending.
        symbols: the column axis.

    Raises:
        MissingArtefact: if no returns of that version were published.
    """
    panel = panel_of(platform, returns_version)
    return Bars.of(
        panel.values("close_return", sessions=sessions, symbols=symbols),
        {name: panel.values(name, sessions=sessions, symbols=symbols) for name in VALUES},
        sessions=sessions,
        symbols=symbols,
    )


def panel_of(platform: Platform, returns_version: str) -> Panel:
    """The memory map of some returns and the bars they were made from, built the first time it is asked for.

    Prices and volumes are each session's own, of the first source in the chain that has the bar: only ratios inside
    one session mean anything across splits. Returns are adjusted.

    Args:
        platform: the opened platform.
        returns_version: data version of `returns`.

    Raises:
        MissingArtefact: if no returns of that version were published.
    """
    made = next((one for one in platform.lake.versions(RETURNS.name).good() if one.version == returns_version), None)
    if made is None or made.lineage is None:
        raise MissingArtefact.of(
            "returns",
            expected=f"a publication of version {returns_version}",
            was="none",
            do="materialize returns first",
        )
    bars_version = made.lineage.inputs[MARKET_BARS.name]
    sources = platform.config.bars.sources

    def build() -> PanelData:
        returns = platform.lake.read(RETURNS, version=returns_version)
        bars = platform.lake.read(
            MARKET_BARS, version=bars_version, columns=("symbol", "session", "source", "rev", "known_at", *VALUES)
        )
        levels = chosen(latest(bars), sources)
        sessions = platform.sessions_of(returns)
        symbols = tuple(returns["symbol"].unique().sort())
        frames = {**dict.fromkeys(VALUES, levels), **dict.fromkeys(RETURN_FIELDS, returns)}
        return PanelData(
            sessions=sessions,
            symbols=symbols,
            values={name: to_panel(frame, name, sessions=sessions, symbols=symbols) for name, frame in frames.items()},
        )

    return platform.panels.open(json_hash([bars_version, returns_version, list(sources), list(FIELDS)])[:32], build)
