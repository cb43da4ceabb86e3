"""The very weights that would serve, asked where their answer can be checked. Pure: scores in, checks out.

    refit_agrees    ranks symbols as the newest fold's weights do    it is the model whose folds were judged
    no_look_ahead   says the same without what came later            what it knows was known at the session's close

Folds are judged, the refit serves; no session is out of sample for the refit, so its ICs say nothing. Both of them have
learned from the sessions just before the newest fold's test part, and what two trainings learned there must be alike.
On the test part itself it need not be: on the sample a refit and a fold whose trainings lie two years apart agree there
by as little as 0.07, which weights in a random order reach easily. A check of consistency, not of skill; how often it
errs is told by docs/make_refit_agreement.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np

from gnn_assets.backtests.cross_section import rank_information_coefficients
from gnn_assets.core.checks import Check, shown
from gnn_assets.core.config import GateConfig
from gnn_assets.models.checks import no_look_ahead


def _nothing() -> np.ndarray:
    return np.empty((0, 0), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Probe:
    """What the weights said where they were asked; empty, it fails every check.

    Args:
        symbols: the N names scored.
        refit_SxN: float32, by the final refit, on the last S sessions that the newest fold learned from; NaN for no
            score.
        fold_SxN: float32, by the newest fold's weights, on the same.
        sessions: K sessions with later ones after them.
        scores_KxN: float32, by the refit, from all data.
        again_KxN: float32, by the refit, each session from data that end with it.
    """

    symbols: Sequence[str] = ()
    refit_SxN: np.ndarray = field(default_factory=_nothing)
    fold_SxN: np.ndarray = field(default_factory=_nothing)
    sessions: Sequence[date] = ()
    scores_KxN: np.ndarray = field(default_factory=_nothing)
    again_KxN: np.ndarray = field(default_factory=_nothing)


def probe_checks(probe: Probe, *, config: GateConfig) -> tuple[Check, Check]:
    """Whether the refit is the model that was judged, and whether it saw what was still to come.

    Args:
        probe: what the weights said.
        config: `refit_agreement` is used.
    """
    unseen = no_look_ahead(probe.scores_KxN, probe.again_KxN, sessions=probe.sessions, symbols=probe.symbols)
    return _refit_agrees(probe, floor=config.refit_agreement), unseen


def agreement(first_SxN: np.ndarray, second_SxN: np.ndarray) -> np.ndarray:
    """Rank correlation of two models' scores across symbols, session by session.

    Args:
        first_SxN: float (S, N), NaN for no score.
        second_SxN: likewise.

    Returns:
        float64 (S,). 1 where neither prefers any symbol: two models without an opinion agree. 0 where only one of them
        has one, and where fewer than three symbols have both scores.
    """
    common_SxN = np.isfinite(first_SxN) & np.isfinite(second_SxN)
    flat_S = _flat(first_SxN, common_SxN) & _flat(second_SxN, common_SxN)
    return np.where(flat_S, 1.0, np.nan_to_num(rank_information_coefficients(first_SxN, second_SxN)))


def _flat(scores_SxN: np.ndarray, among_SxN: np.ndarray) -> np.ndarray:
    """Whether the symbols looked at, if any, all have the same score."""
    highest_S = np.where(among_SxN, scores_SxN, -np.inf).max(axis=1, initial=-np.inf)
    lowest_S = np.where(among_SxN, scores_SxN, np.inf).min(axis=1, initial=np.inf)
    return highest_S == lowest_S


def _refit_agrees(probe: Probe, *, floor: float) -> Check:
    agreement_S = agreement(probe.refit_SxN, probe.fold_SxN)
    mean = float(agreement_S.mean()) if agreement_S.size else float("nan")
    return Check(
        name="refit_agrees",
        passed=mean >= floor,
        value=shown(mean),
        threshold=floor,
        description=f"Mean rank correlation of the refit's scores with the newest fold's, on the last {len(agreement_S)} "
        "sessions the fold learned from: folds are judged, the refit serves.",
    )
