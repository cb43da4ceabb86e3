"""A small file of bars to be judged on, and a stand-in for the recipes that judge it."""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl

from gnn_assets.models.bars import Bars


def weekdays(days: int) -> tuple[date, ...]:
    """Weekdays of the first days of 2015, without two holidays no calendar knows."""
    dates = (date(2015, 1, 2) + timedelta(days=count) for count in range(days))
    return tuple(day for day in dates if day.weekday() < 5 and day not in {date(2015, 3, 11), date(2015, 3, 12)})


SESSIONS = weekdays(180)
SYMBOLS = tuple(f"S{number:02}" for number in range(30))


def closes(seed: int = 5) -> np.ndarray:
    return 20 * np.exp(np.random.default_rng(seed).normal(0, 0.02, (len(SESSIONS), len(SYMBOLS))).cumsum(axis=0))


def factor_market(n_sessions: int) -> pl.DataFrame:
    """Bars of symbols that three factors move, so that there are neighbours to be found."""
    rng = np.random.default_rng(7)
    common_TxN = rng.normal(0, 0.01, (n_sessions, 3)) @ rng.normal(0, 1, (3, len(SYMBOLS)))
    own_TxN = rng.normal(0, 0.015, common_TxN.shape)
    return bars_frame(20 * np.exp((common_TxN + own_TxN).cumsum(axis=0)), sessions=weekdays(2 * n_sessions))


def bars_frame(closes_TxN: np.ndarray, *, seed: int = 6, sessions: tuple[date, ...] = SESSIONS) -> pl.DataFrame:
    """A bar wherever there is a close: the open is a little off it, high and low hold both."""
    rng = np.random.default_rng(seed)
    opens_TxN = closes_TxN * np.exp(rng.normal(0, 0.01, closes_TxN.shape))
    columns = {
        "open": opens_TxN,
        "high": 1.01 * np.maximum(opens_TxN, closes_TxN),
        "low": 0.99 * np.minimum(opens_TxN, closes_TxN),
        "close": closes_TxN,
        "volume": np.floor(np.exp(rng.normal(10, 1, closes_TxN.shape))),
    }
    n_sessions, n_symbols = closes_TxN.shape
    return pl.DataFrame(
        {
            "symbol": SYMBOLS[:n_symbols] * n_sessions,
            "session": np.repeat(np.array(sessions[:n_sessions], dtype="datetime64[D]"), n_symbols),
            **{name: values_TxN.ravel() for name, values_TxN in columns.items()},
        }
    ).filter(pl.col("close").is_not_nan())


def written(frame: pl.DataFrame, path: Path) -> Path:
    frame.write_parquet(path)
    return path


class StandIn:
    """Recipes that are functions of the bars."""

    DEFAULT = "first"

    def __init__(self, make: Callable[[Bars], Mapping[str, np.ndarray]]) -> None:
        self.make = make
        self.given: list[Bars] = []
        self.told: list[dict] = []

    def score(self, bars, *, progress, **told):
        self.given.append(bars)
        self.told.append(told)
        progress(1.0, "scored")
        return self.make(bars)

    def config_hash(self, recipe: str, *, seeds: int | None) -> str:
        return sha256(f"{recipe} {seeds}".encode()).hexdigest()

    def code_hash(self, recipe: str) -> str:
        return sha256(recipe.encode()).hexdigest()[:16]

    def notes(self, recipe: str) -> tuple[str, ...]:
        return (f"{recipe} is a function of the bars.",)


def reversal(bars: Bars) -> dict[str, np.ndarray]:
    scores_TxN = (-bars.close_return_TxN).astype(np.float32)
    noise_TxN = np.random.default_rng(3).normal(size=scores_TxN.shape).astype(np.float32)
    return {"first": scores_TxN, "noise": noise_TxN}


def dates(
    sessions: tuple[date, ...] = SESSIONS, *, train: int = 60, valid: int = 80, test: int = 115
) -> dict[str, str]:
    """The last session of each part as the command line takes it."""
    ends = {"--train-end": train, "--valid-end": valid, "--test-end": test}
    return {option: sessions[row - 1].isoformat() for option, row in ends.items()}
