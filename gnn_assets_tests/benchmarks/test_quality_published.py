"""The tiers on real bars, where others have written down what comes out."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality.bars import read_market
from benchmarks.quality.judging import base_rate, judge, market_sharpe
from benchmarks.quality.tiers import rows_between, scores_for, tiers
from gnn_assets.core.sessions import SessionCalendar

REAL = Path(__file__).parents[3] / "shared" / "data" / "nasdaq_bars.parquet"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def market():
    if not REAL.exists():
        pytest.skip("../shared/data/nasdaq_bars.parquet is not there")
    return read_market(REAL)


@pytest.fixture(scope="module")
def rows(market):
    return rows_between(market.sessions, after=date(2016, 12, 31), until=date(2017, 12, 8))


def test_the_axis_of_the_file_is_that_of_the_exchange_and_nothing_is_dropped(market):
    first, last = date(2012, 6, 1), date(2017, 12, 11)
    calendar = SessionCalendar.build("XNYS", first=first, until=last, grace=timedelta(0))
    assert market.sessions == calendar.between(first, last)
    assert len(market.symbols) == 1026
    assert market.dropped == {}


def test_reversal_of_one_day_scores_on_2017_what_is_published(market, rows):
    close_TxN = market.found["close"]
    scores_TxN = np.full(close_TxN.shape, np.nan)
    scores_TxN[1:] = 1 - close_TxN[1:] / close_TxN[:-1]
    tier_c, open_to_close, liquid = tiers(market, rows)[:3]
    assert len(rows) == 237
    assert base_rate(tier_c) == pytest.approx(0.536, abs=5e-4)
    assert market_sharpe(tier_c).value == pytest.approx(1.52, abs=0.01)
    scores_SxN = scores_for(scores_TxN, rows)
    found = {name: figure.value for name, figure in judge("reversal", scores_SxN, tier_c).figures.items()}
    assert found["IC"] == pytest.approx(0.0152, abs=2e-4)
    assert found["ICIR"] == pytest.approx(0.146, abs=2e-3)
    assert found["rank IC"] == pytest.approx(0.0325, abs=5e-5)
    assert found["rank ICIR"] == pytest.approx(0.250, abs=1e-3)
    assert found["top-50 net"] == pytest.approx(-1.12, abs=5e-3)
    ic = judge("reversal", scores_SxN, liquid).figures["IC"]
    assert ic.value == pytest.approx(0.0123, abs=5e-5)
    # Other draws of sessions than those behind the published interval.
    assert ic.interval == pytest.approx((-0.0046, 0.0297), abs=2e-3)
    assert judge("reversal", scores_SxN, open_to_close).figures["IC"].value > 0
