"""How the platform stands, as plain data; needs no Dagster."""

from datetime import date
from typing import Any

from gnn_assets.core.errors import CorruptArtefact
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.tables import TABLES
from gnn_assets.monitoring.ages import age_check
from gnn_assets.registry.pointer import Champion


def platform_status(platform: Platform) -> dict[str, Any]:
    """Age, limit, version and data end of every asset, and the champion.

    Returns:
        JSON data; an asset's ``state`` is ``fresh``, ``stale``, ``missing`` or ``damaged``.
    """
    champion = platform.champion.current()
    return {
        "profile": platform.settings.profile,
        "clock": platform.label,
        "now": platform.clock.now().isoformat(),
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
        "age_hours": float(aged.value),
        "data_end": str(data_end) if data_end else None,
        "version": publication.version,
        "published_at": publication.published_at.isoformat(),
    }
