"""Asking the weights that would serve where their answer can be checked: the data they are asked on, made here."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
import polars as pl

from gnn_assets.bars.schema import CORPORATE_ACTIONS, MARKET_BARS, RETURNS, UNIVERSE
from gnn_assets.core.config import Config
from gnn_assets.core.errors import MissingArtefact
from gnn_assets.core.hashing import json_hash
from gnn_assets.defs.resources import Platform
from gnn_assets.forecasts.verify import market_at
from gnn_assets.models.candidate import candidate_folds, predict_sessions
from gnn_assets.models.dataset import Dataset
from gnn_assets.models.schema import OOS_PREDICTIONS
from gnn_assets.models.variants import fold_part, refit_part
from gnn_assets.registry.pointer import Champion
from gnn_assets.registry.probe import Probe


def scores_by(
    platform: Platform, champion: Champion, data: Dataset, *, part: str, sessions: range, config: Config
) -> np.ndarray:
    """Scores of some sessions by one part of a candidate's weights.

    Args:
        platform: the opened platform.
        champion: the candidate.
        data: features and graph.
        part: such as `refit_part(champion.model)`.
        sessions: rows of `data` to score.
        config: the candidate's own.

    Returns:
        float32 (S, N); NaN for no score.
    """
    return predict_sessions(
        lambda part: platform.weights.load(champion.version, part),
        data,
        model=champion.model,
        part=part,
        sessions=sessions,
        config=config.models,
    )


def live_scores(
    platform: Platform, champion: Champion, data: Dataset, *, config: Config, most: int | None = None
) -> tuple[range, np.ndarray]:
    """What the final refit says of the sessions after its own data's end: out of sample for it, served or not.

    Args:
        platform: the opened platform.
        champion: the candidate.
        data: features and graph, up to any later session.
        config: the candidate's own.
        most: only so many of the newest sessions; all of them when None.

    Returns:
        The rows of `data` that were scored (S), and float32 (S, N); NaN for no score.

    Raises:
        MissingArtefact, CorruptArtefact, WeightsMismatch: if the weights are not whole, or not those of the model.
    """
    first = bisect_right(data.sessions, date.fromisoformat(champion.data_end))
    since = range(first if most is None else max(first, len(data.sessions) - most), len(data.sessions))
    part = refit_part(champion.model)
    return since, scores_by(platform, champion, data, part=part, sessions=since, config=config)


def probe_of(platform: Platform, candidate: Champion, data: Dataset, *, config: Config) -> Probe:
    """What the gate asks of the weights that would serve.

    Two things, of bounded cost whatever the history: the refit and the newest fold score the last `agreement_sessions`
    sessions that the fold learned from; and the refit scores `look_ahead_sessions` sessions that were out of sample for
    the folds, drawn by the candidate's version, once from all data and once from bars that end with the session.

    Args:
        platform: the opened platform.
        candidate: what wants to be served.
        data: of the versions it was trained on.
        config: its own.

    Raises:
        MissingArtefact, CorruptArtefact: if weights, or the bars behind its returns, are not whole.
    """
    model = candidate.model
    newest = candidate_folds(data, config=config.models, purge=config.execution.purge)[-1]
    learned = newest.validation.stop
    common = range(max(learned - config.gate.agreement_sessions, newest.train.start), learned)
    refit_SxN, fold_SxN = (
        scores_by(platform, candidate, data, part=part, sessions=common, config=config)
        for part in (refit_part(model), fold_part(model, newest.number))
    )
    rows = _drawn(platform, candidate, data, config=config)
    scored = [_refit_score(platform, candidate, data, row=row, config=config) for row in rows]
    sessions = [data.sessions[row] for row in rows]
    inputs = platform.weights.facts(candidate.version)["inputs"]
    again = scores_without_future(platform, candidate, sessions, inputs=inputs, config=config)
    return Probe(
        symbols=data.symbols,
        refit_SxN=refit_SxN,
        fold_SxN=fold_SxN,
        sessions=sessions,
        scores_KxN=np.reshape(scored, (len(rows), len(data.symbols))),
        again_KxN=np.reshape(again, (len(rows), len(data.symbols))),
    )


def _drawn(platform: Platform, candidate: Champion, data: Dataset, *, config: Config) -> list[int]:
    """Rows of sessions whose outcome is known by now: where nothing came later, nothing could be seen."""
    predictions = platform.lake.read(OOS_PREDICTIONS, version=candidate.oos_predictions, columns=("model", "session"))
    first: date = predictions.filter(pl.col("model") == candidate.model)["session"].min()  # ty: ignore[invalid-assignment]
    rows = range(data.sessions.index(first), len(data.sessions) - config.execution.purge)
    generator = np.random.default_rng(int(json_hash(candidate.version)[:16], 16))
    drawn = generator.choice(rows, size=min(config.gate.look_ahead_sessions, len(rows)), replace=False)
    return sorted(int(row) for row in drawn)


def scores_without_future(
    platform: Platform,
    candidate: Champion,
    sessions: Sequence[date],
    *,
    inputs: Mapping[str, str],
    config: Config,
) -> list[np.ndarray]:
    """The refit's scores of each session, everything between bars and score made anew from bars that end with it.

    Revisions count as they are known today: later ones changed the past for both alike.

    Args:
        platform: the opened platform.
        candidate: whose refit scores.
        sessions: those to score.
        inputs: versions of returns, whose bars are read, and universe.
        config: the candidate's own.

    Returns:
        A session each, float32 (N,) over the symbols it was trained on; NaN for no score.

    Raises:
        MissingArtefact, CorruptArtefact: if weights, or the bars behind the returns, are not whole.
    """
    facts = platform.weights.facts(candidate.version)
    made_of = _behind_returns(platform, inputs[RETURNS.name])
    read = {
        "bars": platform.lake.read(MARKET_BARS, version=made_of[MARKET_BARS.name]),
        "actions": platform.lake.read(CORPORATE_ACTIONS, version=made_of[CORPORATE_ACTIONS.name]),
        "universe": platform.lake.read(UNIVERSE, version=inputs[UNIVERSE.name]),
    }
    known_at, exchanges = platform.clock.now(), platform.exchanges
    scores = []
    for session in sessions:
        market = market_at(
            session, symbols=facts["symbols"], known_at=known_at, exchanges=exchanges, config=config, **read
        )
        row = market.data.sessions.index(session)
        scores.append(_refit_score(platform, candidate, market.data, row=row, config=config))
    return scores


def _refit_score(platform: Platform, candidate: Champion, data: Dataset, *, row: int, config: Config) -> np.ndarray:
    part = refit_part(candidate.model)
    (scores_N,) = scores_by(platform, candidate, data, part=part, sessions=range(row, row + 1), config=config)
    return scores_N


def _behind_returns(platform: Platform, version: str) -> Mapping[str, str]:
    """Versions of what some returns were made from."""
    made = next((one for one in platform.versions(RETURNS.name).good() if one.version == version), None)
    if made is None or made.lineage is None:
        raise MissingArtefact.of(
            RETURNS.name, expected=f"a publication of version {version}", was="none", do="train a new candidate"
        )
    return made.lineage.inputs
