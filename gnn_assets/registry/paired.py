"""Candidate against champion on the sessions that were out of sample for both: not worse, or better.

Both are compared as paired differences of IC. Folds of one recipe never change, so on the sessions that both know a
refresh differs from its champion in nothing. What tells them apart are the sessions since the champion's data ended:
there the champion's refit, which was served, is held against the candidate's fold, which had not seen them. The shared
sessions stay in the series as differences of 0, so that a few new ones weigh little and many decide.

How often chance decides, when nothing tells the two apart:

    not worse    a refresh passes with probability phi(margin / e - z), e being the standard error of the mean difference
    better       some candidate of an endless row of them passes with probability (1 - confidence) / 2 at most

References:
    G. Piaggio et al., Reporting of noninferiority and equivalence randomized trials, JAMA 308(24), 2012: the lower end
    of the interval against a margin fixed beforehand.
    K. Lan, D. DeMets, Discrete sequential boundaries for clinical trials, Biometrika 70(3), 1983: spending an error
    rate over looks whose number nobody knows beforehand.
"""

import numpy as np
import polars as pl

from gnn_assets.backtests.metrics import mean
from gnn_assets.backtests.significance import Interval, corrected_mean_interval, mean_interval
from gnn_assets.core.checks import Check, shown
from gnn_assets.core.config import Config


def paired_checks(
    candidate: pl.DataFrame, champion: pl.DataFrame, *, replaces: bool, candidates_judged: int, config: Config
) -> tuple[Check, ...]:
    """Whether there is enough to compare, and how the comparison ends.

    Args:
        candidate: columns ``session`` and ``ic``.
        champion: likewise.
        replaces: whether the candidate is of another recipe, and must be better.
        candidates_judged: candidates of other recipes judged against this champion so far, this one included.
        config: `gate` and `backtests` (level, bootstrap, fewest sessions) are used.

    Returns:
        ``common_sessions``, and ``superior`` or ``not_inferior`` if there is any session to compare.
    """
    both = candidate.select("session", "ic").join(
        champion.select("session", "ic"), on="session", suffix="_champion", how="inner"
    )
    common = both.drop_nulls().sort("session")
    difference_T = (common["ic"] - common["ic_champion"]).to_numpy()
    enough = Check(
        name="common_sessions",
        passed=difference_T.size >= config.backtests.min_sessions,
        value=difference_T.size,
        threshold=config.backtests.min_sessions,
        description="Sessions out of sample for candidate and champion alike whose outcome is known.",
    )
    if difference_T.size == 0:
        return (enough,)
    if not replaces:
        interval = mean_interval(difference_T, config=config.backtests)
        return enough, _above("not_inferior", difference_T, interval, limit=-config.gate.non_inferiority_margin)
    interval = corrected_mean_interval(
        difference_T, comparisons=family_size(candidates_judged), config=config.backtests
    )
    return enough, _above("superior", difference_T, interval, limit=0.0)


def family_size(judged: int) -> int:
    """By how much the error rate is divided for the n-th candidate against one champion: n (n + 1).

    Nobody knows how many will come. Divided by n, the parts would add up without end: after fifty candidates to 4.5 times
    the rate that is meant. These add up to one.
    """
    return judged * (judged + 1)


def _above(name: str, difference_T: np.ndarray, interval: Interval, *, limit: float) -> Check:
    lower, upper = interval
    return Check(
        name=name,
        passed=lower > limit,
        value=shown(lower),
        threshold=limit,
        description=f"Lower end of the paired interval of IC, candidate minus champion: {mean(difference_T):+.4f} "
        f"[{lower:+.4f}, {upper:+.4f}].",
    )
