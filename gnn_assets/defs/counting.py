"""What the ledger is told before a result: the thresholds that will judge it, and the trials it takes."""

from collections.abc import Collection, Sequence

import polars as pl

from gnn_assets.backtests.thresholds import registration
from gnn_assets.backtests.trials import Record, trial_of, uncounted
from gnn_assets.backtests.verdict import BENCHMARK, Verdict, judge_scores
from gnn_assets.defs.resources import Platform


def register_thresholds(platform: Platform) -> None:
    """Enters the thresholds in force as an event, unless they are the ones that were registered last.

    Raises:
        LockTimeout, DiskFull, CorruptArtefact: if the ledger cannot be read or written.
    """
    event = registration(platform.config, platform.ledger.read("events"))
    if event is not None:
        platform.ledger.append("events", event)


def count_trials(platform: Platform, wanted: Sequence[Record]) -> None:
    """Enters trials that the ledger does not count yet.

    Raises:
        LockTimeout, DiskFull, CorruptArtefact: likewise.
    """
    for trial in uncounted(wanted, platform.ledger.read("trials")):
        platform.ledger.append("trials", trial)


def count_gate_try(platform: Platform, candidate: str, *, against: str) -> int:
    """Enters a candidate of another recipe before the gate compares it; returns how many were tried so far, it included.

    Counted before its result, so that a kill in between hides no try, and once however often it is judged. A refresh is
    the same champion with newer data: it gives nobody a second first try.

    Args:
        platform: the opened platform.
        candidate: version of its weights.
        against: version of the champion.

    Raises:
        LockTimeout, DiskFull, CorruptArtefact: if the ledger cannot be read or written.
    """
    champions = platform.champion.reign()
    tried = _tried(platform, champions)
    if candidate not in tried:
        record = {"event": "gate_try", "asset": "champion", "candidate": candidate, "champion": against}
        platform.ledger.append("events", {**record, "rule": "replace"})
    # Read again: another run may have entered its own meanwhile.
    return len(_tried(platform, champions))


def _tried(platform: Platform, champions: Collection[str]) -> set[str]:
    # A refusal counts too: before tries were entered by themselves it was all there was.
    return {
        event["candidate"]
        for event in platform.ledger.read("events")
        if event["event"] in {"gate_try", "refused"} and event["champion"] in champions and event["rule"] == "replace"
    }


def count_backtests(platform: Platform, predictions: pl.DataFrame) -> None:
    """Registers the thresholds and counts the portfolio of every model, before any of them is traded.

    Args:
        platform: the opened platform.
        predictions: `oos_predictions` rows.
    """
    register_thresholds(platform)
    config = platform.config
    equal = config.backtests.model_copy(update={"strategy": BENCHMARK})
    count_trials(
        platform,
        [
            trial_of(
                "backtest",
                model=model,
                version=version,
                execution=config.execution,
                config=equal if model == BENCHMARK else config.backtests,
            )
            for model, version in predictions.select("model", "version").unique().sort("model").iter_rows()
        ],
    )


def verdict_on(platform: Platform, scores: pl.DataFrame, portfolios: pl.DataFrame, *, candidate: str) -> Verdict:
    """The verdict on a model by the thresholds in force and all trials so far; nothing is written.

    Args:
        platform: the opened platform.
        scores: `backtest_scores` rows.
        portfolios: the `portfolio_returns` rows they measure.
        candidate: the model judged.

    Raises:
        CorruptArtefact: if the ledger is damaged.
    """
    return judge_scores(
        scores,
        portfolios,
        candidate=candidate,
        trials=platform.ledger.read("trials"),
        events=platform.ledger.read("events"),
        config=platform.config,
    )
