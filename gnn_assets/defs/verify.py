"""Verifying published forecasts: the card, what it names, and the same code again."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import polars as pl

from gnn_assets.bars.schema import CORPORATE_ACTIONS, MARKET_BARS, UNIVERSE
from gnn_assets.core.config import Config, restored
from gnn_assets.core.errors import MissingArtefact, VerificationFailed
from gnn_assets.defs.recipe import forecast_code_version, served_champion
from gnn_assets.defs.resources import Platform
from gnn_assets.forecasts.publish import Served, untrained
from gnn_assets.forecasts.schema import FORECASTS
from gnn_assets.forecasts.verify import Verification, compare, recompute
from gnn_assets.models.runtime import start
from gnn_assets.models.variants import untrained_part
from gnn_assets.registry.pointer import Champion


def card_of(platform: Platform, session: date) -> dict[str, Any]:
    """The card of a session's published forecasts.

    Raises:
        MissingArtefact: if no forecast of that session was published.
    """
    forecasts = platform.lake.read(FORECASTS)
    rows = forecasts.filter(pl.col("session") == session)
    if rows.is_empty():
        published = forecasts["session"].unique().sort()
        raise MissingArtefact.of(
            "forecasts",
            expected=f"a session from {published[0]} to {published[-1]}",
            was=session,
            do="name a published session",
        )
    return platform.cards.get(rows["card_id"][0])


def verify_session(platform: Platform, session: date) -> Verification:
    """Recomputes a session's forecasts from their card, from nothing later than the session, bit for bit.

    Raises:
        MissingArtefact: if no forecast of that session was published.
        VerificationFailed: if any bit differs.
    """
    card = card_of(platform, session)
    config = config_of(card, platform.config)
    threads = start(threads=card["threads"], cache=platform.data / "cache" / "xla")
    again = recomputed(platform, card)
    code = forecast_code_version(config, model=card["model"])
    published = platform.lake.read(FORECASTS).filter(pl.col("session") == session)
    outcome = compare(card, again, published=published, code_version=code, threads=threads)
    if not outcome.matches:
        raise VerificationFailed(outcome.sentence)
    return outcome


def recomputed(platform: Platform, card: Mapping[str, Any]) -> pl.DataFrame:
    """The forecasts a card tells of, made again from nothing later than their session; ``card_id`` is empty.

    Raises:
        MissingArtefact, CorruptArtefact: if something the card names is not whole.
    """
    return recompute(
        card,
        bars=platform.lake.read(MARKET_BARS, version=card["versions"]["market_bars"]),
        # Append-only, and the card's moment cuts off what came later.
        actions=platform.lake.read(CORPORATE_ACTIONS),
        universe=platform.lake.read(UNIVERSE, version=card["versions"]["universe"]),
        served=_served_by(platform, card),
        exchanges=platform.exchanges,
        config=config_of(card, platform.config),
    )


def config_of(card: Mapping[str, Any], config: Config) -> Config:
    """The configuration the card names: what changed since must not count."""
    return restored(config, card["config"])


def _served_by(platform: Platform, card: Mapping[str, Any]) -> Served:
    """Who made the forecasts, from what the card names alone."""
    if card["part"] == untrained_part(card["model"]):
        return untrained(card["model"], version=card["champion"], verdict=card["verdict"])
    return served_champion(platform, _champion_of(card))


def _champion_of(card: Mapping[str, Any]) -> Champion:
    """The part of the champion's record that a forecast depends on."""
    return Champion(
        version=card["versions"]["gnn_weights"],
        model=card["model"],
        rule="",
        reason="",
        verdict=card["verdict"],
        config_hash="",
        oos_predictions=card["versions"]["oos_predictions"],
        portfolio_returns="",
        backtest_scores="",
        data_end="",
    )
