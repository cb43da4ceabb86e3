"""The paired test of the gate reversed: whether the predecessor would have done better than the champion it gave way to.

Both are out of sample on every session since the promotion: one was served there, the other would have been. The test is
that of `paired.superior`, with the two in each other's place and looks in the place of candidates: it is made once every
`live.window_sessions` sessions, over all of them since the promotion, and what is spent at each look adds up to
(1 - confidence) / 2 over an endless row of looks. Between two looks the last one stands: asking more often would be
another look, and a run that was missed must not lose one.

References:
    K. Lan, D. DeMets, Discrete sequential boundaries for clinical trials, Biometrika 70(3), 1983: spending an error
    rate over looks whose number nobody knows beforehand.
"""

import polars as pl

from gnn_assets.backtests.metrics import mean
from gnn_assets.backtests.significance import corrected_mean_interval
from gnn_assets.core.config import Config
from gnn_assets.monitoring.reasons import Reason, Signal
from gnn_assets.registry.paired import family_size

_SHOWN = 12  # digits of a version that people see


def reversed_signal(
    champion: pl.DataFrame, predecessor: pl.DataFrame, *, versions: tuple[str, str], config: Config
) -> Signal:
    """Whether the predecessor is better than the champion beyond chance, as of the last look.

    Args:
        champion: columns ``session`` and ``ic`` (unitless), a row each session since the promotion, in any order; null
            where the outcome is not known yet.
        predecessor: likewise, of whoever was served until the promotion.
        versions: of champion and predecessor, for the evidence.
        config: `live.window_sessions` and `backtests` (level, bootstrap) are used.

    Returns:
        The lower end of the paired interval of mean IC, predecessor minus champion, against 0: firing above it. NaN
        before the first look. Its reason is the one that goes back.

    Known at: the session by which the last outcome that was looked at is known.

    Raises:
        ValueError: if a frame has two rows of a session.
    """
    window = config.live.window_sessions
    both = champion.select("session", "ic").join(
        predecessor.select("session", "ic"), on="session", suffix="_before", how="inner", validate="1:1"
    )
    known = both.drop_nulls().sort("session")
    looks = known.height // window
    looked_at = known.head(looks * window)
    value, told = float("nan"), "no look yet"
    if looks:
        difference_T = (looked_at["ic_before"] - looked_at["ic"]).to_numpy()
        told = f"{mean(difference_T):+.4f} up to {looked_at['session'][-1]}"
        value, _ = corrected_mean_interval(difference_T, comparisons=family_size(looks), config=config.backtests)
    return Signal(
        reason=Reason.CHAMPION_BEATEN,
        asset="champion",
        value=value,
        limit=0.0,
        worse="above",
        window=f"{looked_at.height} sessions since the promotion, look {looks}, one every {window}",
        subject=versions[0],
        evidence=f"paired IC of {versions[1][:_SHOWN]} minus {versions[0][:_SHOWN]}: {told}",
    )
