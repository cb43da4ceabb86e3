"""What serves while the chosen champion cannot: the best baseline of its bundle, and what the ledger says of it.

    champion    former champion    baseline, the best first    equal weight    nobody: the last good forecasts stay
             →                  →                           →               →

A former champion is gone back to, which is a move of the pointer; a baseline stands in for one run alone, and the next
run asks the champion first. Whoever serves, its rows say so, and the ledger has an event when it begins and when it ends.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import polars as pl

from gnn_assets.backtests.portfolio import BENCHMARK
from gnn_assets.backtests.schema import BACKTEST_SCORES
from gnn_assets.core.checks import Check
from gnn_assets.core.config import Config
from gnn_assets.core.errors import (
    CorruptArtefact,
    DiskFull,
    GnnAssetsError,
    LockTimeout,
    MissingArtefact,
    PredictionFailed,
    ReadOnly,
    SchemaMismatch,
)
from gnn_assets.defs.forecast_sessions import Attempt, Server, attempt, of_champion
from gnn_assets.defs.recipe import champion_config
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.stage import StageRun
from gnn_assets.forecasts.checks import FORECAST_CHECKS
from gnn_assets.forecasts.fallback import DEGRADED, RECOVERED, baselines_in_order
from gnn_assets.forecasts.publish import untrained
from gnn_assets.forecasts.schema import FORECASTS
from gnn_assets.registry.pointer import Champion

DEGRADED_CHECK = "served_by_champion"
_CHOSEN = "the chosen champion"
_SHOWN = 12  # digits of a version that people see


def best_baseline(run: StageRun, champion: Champion, failed: Attempt) -> Attempt | None:
    """The forecasts of the first baseline that makes sound ones; None if none does.

    Each is opened from the champion's own bundle, or, where that is gone and the baseline has nothing to train, without
    it. What hurts every model alike is the data's fault: equal weight looks at no data, so that its forecasts are sound
    on the worst of days, and it stands in only where nobody that looked at them forecast wrongly. A model that cannot
    even be opened has not looked.

    Args:
        run: the materialization.
        champion: who cannot serve.
        failed: what came of asking it.

    Raises:
        DiskFull, LockTimeout, ReadOnly: if somebody may serve a moment later.
    """
    config = _config_of(run, champion)
    baselines = [model for model in config.models.baselines if model != champion.model]
    doubtful = _has_looked(failed)
    for model in baselines_in_order(baselines, _scores_of(run.platform, champion)):
        if model == BENCHMARK and doubtful:
            return None
        for opened in (
            partial(of_champion, run.platform, replace(champion, model=model), degraded=True),
            partial(_without_weights, champion, model, config),
        ):
            try:
                tried = attempt(run, champion, opened, checks=FORECAST_CHECKS)
            except (DiskFull, LockTimeout, ReadOnly):
                raise
            except GnnAssetsError as error:
                tried = Attempt(None, (), str(error))
                doubtful = True  # it is none of the model's own: the data could not be forecast from
            if not tried.fault:
                return tried
            doubtful |= _has_looked(tried)
            run.progress(0.0, f"{model} cannot stand in: {tried.fault}")
    return None


def _has_looked(tried: Attempt) -> bool:
    """Whether who failed had looked at the data, which are in doubt then as well."""
    return bool(tried.made) or isinstance(tried.error, PredictionFailed)


def episode(platform: Platform) -> Mapping[str, Any] | None:
    """The event by which the platform came to be served by somebody else than the chosen champion; None if it is not.

    Raises:
        CorruptArtefact: if the ledger is damaged.
    """
    told = [event for event in platform.ledger.read("events") if event["event"] in {DEGRADED, RECOVERED}]
    return told[-1] if told and told[-1]["event"] == DEGRADED else None


def enter_degraded(run: StageRun, rows: pl.DataFrame, *, reason: str) -> None:
    """Enters that somebody else serves, before it does; not again while the same model stands in for the same champion.

    Whoever is killed after it leaves the last good forecasts to be served, and the truth that the champion cannot.
    """
    now = _who(rows)
    before = episode(run.platform)
    if before is None or any(before[name] != now[name] for name in ("champion", "model")):
        told = {"event": DEGRADED, "asset": FORECASTS.name, **now, "reason": reason, "run_id": run.run_id}
        run.platform.ledger.append("events", told)


def enter_recovered(run: StageRun, rows: pl.DataFrame) -> None:
    """Enters that a chosen champion serves again, once its forecasts are there; nothing if one served all along."""
    if episode(run.platform) is not None:
        now = _who(rows)
        reason = f"{now['served_by']} of {now['champion'][:_SHOWN]} serves, {_CHOSEN}"
        told = {"event": RECOVERED, "asset": FORECASTS.name, **now, "reason": reason, "run_id": run.run_id}
        run.platform.ledger.append("events", told)


def served_check(platform: Platform, rows: pl.DataFrame) -> Check:
    """Whether the chosen champion serves; it warns, as the forecasts are sound whoever made them.

    Args:
        platform: the opened platform.
        rows: `forecasts` rows of the newest session.
    """
    now, value = _who(rows), _CHOSEN
    if rows["degraded"].any():
        begun = episode(platform)
        value = f"{now['served_by']} of {now['champion'][:_SHOWN]}, {begun['reason'] if begun else 'for a fault'}"
    return Check(
        name=DEGRADED_CHECK,
        passed=value == _CHOSEN,
        value=value,
        threshold=_CHOSEN,
        description="Who serves: the champion that the gate or a person chose, or for a fault of its own a former one or a "
        "baseline, until that one can serve again or another is put in its place.",
        severity="warn",
    )


def _who(rows: pl.DataFrame) -> dict[str, str]:
    first = rows.sort("session").row(-1, named=True)
    return {
        "champion": first["champion"],
        "served_by": first["served_by"],
        "model": first["served_by"].partition("/")[0],
        "session": str(first["session"]),
    }


def _config_of(run: StageRun, champion: Champion) -> Config:
    """The champion's recipe; the present one where that is damaged with the weights."""
    try:
        return champion_config(run.platform, champion)
    except GnnAssetsError:
        return run.config


def _scores_of(platform: Platform, champion: Champion) -> pl.DataFrame:
    try:
        return platform.lake.read(BACKTEST_SCORES, version=champion.backtest_scores)
    except (CorruptArtefact, MissingArtefact, SchemaMismatch):
        return BACKTEST_SCORES.empty()


def _without_weights(champion: Champion, model: str, config: Config) -> Server:
    served = untrained(model, version=champion.version, verdict=champion.verdict)
    return Server(served=served, config=config, cites={}, degraded=True)
