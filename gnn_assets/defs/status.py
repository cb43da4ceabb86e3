"""How the platform stands, as plain data; needs no Dagster."""

from datetime import date
from typing import Any

import polars as pl

from gnn_assets.bars.schema import MARKET_BARS, SYMBOL_STATUS, UNIVERSE
from gnn_assets.bars.status import FAILED
from gnn_assets.core.errors import CorruptArtefact, MissingArtefact
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.tables import TABLES
from gnn_assets.forecasts.schema import FORECASTS
from gnn_assets.monitoring.ages import age_check
from gnn_assets.registry.pointer import Champion
from gnn_assets.store.sealed import read_sealed

# Of forecasts that are not late, whoever made them.
_FRESH = ("ok", "degraded")
_SHOWN = 12  # digits of a version that people see


def platform_status(platform: Platform) -> dict[str, Any]:
    """Age, limit, version and data end of every asset, and the champion.

    Returns:
        JSON data; an asset's ``state`` is ``fresh``, ``stale``, ``missing`` or ``damaged``.
    """
    champion = platform.champion.current()
    letters = dead_letters(platform)
    return {
        "profile": platform.settings.profile,
        "clock": platform.label,
        "now": platform.clock.now().isoformat(),
        "sources": source_states(platform),
        "dead_letters": [{"symbol": symbol, "reason": reason} for symbol, reason in letters.items()],
        "assets": [_asset_status(platform, name, champion) for name in platform.config.ages],
        "champion": None
        if champion is None
        else {
            "version": champion.version,
            "rule": champion.rule,
            "verdict": champion.verdict,
            "reason": champion.reason,
        },
    }


def source_states(platform: Platform) -> dict[str, Any]:
    """What each source's circuit breaker said when bars were last asked for: source → state as plain data."""
    try:
        return read_sealed(platform.source_states_file)["states"]
    except (MissingArtefact, CorruptArtefact):
        return {}  # asked for the first time, or damaged: every circuit counts as closed


def dead_letters(platform: Platform) -> dict[str, str]:
    """Symbols whose bars failed when they were last asked for, and why; `gnn-assets retry` asks for them again."""
    try:
        status = platform.lake.read(SYMBOL_STATUS)
    except (CorruptArtefact, MissingArtefact):
        return {}
    members = platform.lake.read(UNIVERSE).filter(
        pl.col("to_session").is_null() | (pl.col("to_session") >= platform.last_session)
    )
    newest = (
        status.filter(pl.col("stage") == MARKET_BARS.name, pl.col("symbol").is_in(members["symbol"].implode()))
        .sort("session")
        .unique("symbol", keep="last")
        .sort("symbol")
    )
    return dict(newest.filter(pl.col("state") == FAILED).select("symbol", "reason").iter_rows())


def data_end_of(platform: Platform, asset: str, champion: Champion | None) -> date | None:
    """The last session an asset's current version covers; None where it has none.

    Raises:
        CorruptArtefact: if the stored version is damaged.
    """
    if asset in {"champion", "mlflow_mirror"}:
        return date.fromisoformat(champion.data_end) if champion else None
    if asset == "gnn_weights":
        current = platform.weights.current()
        return date.fromisoformat(platform.weights.facts(current.version)["data_end"]) if current else None
    manifest = platform.lake.manifest(TABLES[asset])
    return manifest.data_end if manifest else None


def stale_sentence(platform: Platform, asset: str) -> str:
    """Why the current version of a table should not be relied upon: "expected ..., was ..."; empty if it may be.

    Args:
        platform: the opened platform.
        asset: a table; one without an age limit of its own is never stale.
    """
    if asset not in platform.config.ages:
        return ""
    row = _asset_status(platform, asset, None)
    if row["state"] == "stale":
        old = "the clock is behind the data" if row["age_hours"] is None else f"{row['age_hours']:.1f} h old"
        return f"at most {row['limit_hours']:g} h of market age, was {old} (data to {row['data_end']})"
    if asset == FORECASTS.name and row["version"]:
        newest = _newest_forecast(platform)
        if newest and newest["status"] not in _FRESH:
            return f"forecasts of status ok, was {newest['status']}"
    return ""


def degraded_sentence(platform: Platform, asset: str) -> str:
    """Who serves instead of the chosen champion: "expected ..., was ..."; empty if that one does.

    Such forecasts are sound and fresh, and may be acted on by whoever knows it.

    Args:
        platform: the opened platform.
        asset: a table; only the forecasts are made by anybody.
    """
    if asset != FORECASTS.name:
        return ""
    newest = _newest_forecast(platform)
    if not newest or not newest["degraded"]:
        return ""
    return f"forecasts by the chosen champion, was {newest['served_by']} of {newest['champion'][:_SHOWN]}"


def _newest_forecast(platform: Platform) -> dict[str, Any]:
    columns = ("session", "status", "degraded", "served_by", "champion")
    newest = platform.lake.read(FORECASTS, columns=columns).sort("session").tail(1)
    return newest.row(0, named=True) if newest.height else {}


def _asset_status(platform: Platform, asset: str, champion: Champion | None) -> dict[str, Any]:
    limit = platform.config.ages[asset].age_hours
    row: dict[str, Any] = {
        "asset": asset,
        "state": "missing",
        "age_hours": None,
        "limit_hours": limit,
        "data_end": None,
        "version": None,
        "published_at": None,
    }
    try:
        publication = platform.versions(asset).current()
        if publication is None:
            return row
        data_end = data_end_of(platform, asset, champion)
    except CorruptArtefact as error:
        return {**row, "state": "damaged", "reason": str(error)}
    aged = age_check(
        asset,
        data_end=data_end,
        now=platform.clock.now(),
        calendar=platform.calendar,
        limit=platform.config.ages[asset],
    )
    return {
        **row,
        "state": "fresh" if aged.passed else "stale",
        "age_hours": None if isinstance(aged.value, str) else float(aged.value),
        "data_end": str(data_end) if data_end else None,
        "version": publication.version,
        "published_at": publication.published_at.isoformat(),
    }
