import numpy as np
import polars as pl
import pytest

from gnn_assets.backtests.calibration import DECILES, calibrated_outcomes
from gnn_assets.backtests.cross_section import realised_labels
from gnn_assets.backtests.metrics import sharpe
from gnn_assets.backtests.regimes import volatility_regimes
from gnn_assets.backtests.schema import SCORE_CARDS
from gnn_assets.backtests.score_card import ALL, score_card
from gnn_assets.core.errors import DataError
from gnn_assets.store.panel import to_panel

MODEL = "graph_attention"
MEASURES = {"ic", "rank_ic", "icir", "mae", "rmse", "calibration_slope"}


def test_every_model_has_every_measure_in_every_slice(card):
    assert SCORE_CARDS.difference(card.schema) == ()
    assert card.select(SCORE_CARDS.key).is_unique().all()
    for (_model,), own in card.group_by("model"):
        slices = set(own["slice"])
        assert {ALL, "year 2015", "year 2016"} < slices
        deciles = {f"decile {number}" for number in range(1, DECILES + 1)}
        assert deciles < slices
        for name in slices - deciles:
            metrics = {
                metric for metric in own.filter(pl.col("slice") == name)["metric"] if "_minus_" not in metric
            }  # fmt: skip
            assert metrics == MEASURES | ({"sharpe_net"} if name == ALL else set())
        for name in deciles:
            assert set(own.filter(pl.col("slice") == name)["metric"]) == {"expected_return", "realised_return"}
    assert {name for name in card["slice"] if name.startswith("volatility")} <= {
        *("volatility low", "volatility middle", "volatility high")
    }


def test_over_all_sessions_it_says_what_the_backtest_says(card, scores):
    for metric in ("ic", "rank_ic", "icir", "sharpe_net", "ic_minus_ridge", "sharpe_net_minus_ridge"):
        ours = _row(card, metric)
        theirs = scores.filter(pl.col("model") == MODEL, pl.col("fold") == -1, pl.col("metric") == metric)
        assert [ours[end] for end in ("value", "lower", "upper")] == list(
            theirs.select("value", "lower", "upper").row(0)
        )


def test_a_year_is_measured_on_its_own_sessions(card, portfolios):
    own = portfolios.filter(pl.col("model") == MODEL, pl.col("session").dt.year() == 2015)
    assert _row(card, "ic", "year 2015")["value"] == pytest.approx(own["ic"].mean())
    assert _row(card, "rank_ic", "year 2015")["value"] == pytest.approx(own["rank_ic"].mean())
    assert _row(card, "icir", "year 2015")["value"] == pytest.approx(own["ic"].mean() / own["ic"].std())
    assert _row(card, "ic", "year 2015")["sessions"] == own["ic"].count()


def test_a_regime_is_measured_on_the_sessions_in_it(card, market, portfolios):
    regimes = volatility_regimes(
        market.returns, sessions=market.sessions, symbols=market.symbols, config=market.config.backtests.regimes
    )
    own = portfolios.filter(pl.col("model") == MODEL).join(regimes, on="session")
    for regime in own["regime"].drop_nulls().unique():
        inside = own.filter(pl.col("regime") == regime)
        assert _row(card, "ic", f"volatility {regime}")["value"] == pytest.approx(inside["ic"].mean())
    assert own["regime"].null_count() > 0


def test_errors_and_slope_are_those_of_the_calibrated_forecast(card, market):
    sessions = market.sessions[60:]
    fill_TxN = to_panel(market.returns, "fill_return", sessions=sessions, symbols=market.symbols)
    own = market.predictions.filter(pl.col("model") == MODEL)
    outcomes = calibrated_outcomes(
        to_panel(own, "score", sessions=sessions, symbols=market.symbols),
        realised_labels(fill_TxN, execution=market.config.execution),
        execution=market.config.execution,
        min_sessions=60,
    )
    assert _row(card, "mae")["value"] == pytest.approx(np.nanmean(outcomes.absolute_error_T))
    assert _row(card, "rmse")["value"] == pytest.approx(np.sqrt(np.nanmean(outcomes.squared_error_T)))
    assert _row(card, "mae")["sessions"] == np.isfinite(outcomes.absolute_error_T).sum()
    told = np.isfinite(outcomes.expected_TxD)
    (slope,), *_ = np.linalg.lstsq(outcomes.expected_TxD[told][:, None], outcomes.realised_TxD[told], rcond=None)
    assert _row(card, "calibration_slope")["value"] == pytest.approx(slope)
    top = _row(card, "realised_return", "decile 10")
    assert top["value"] == pytest.approx(np.nanmean(outcomes.realised_TxD[:, 9]))
    assert _row(card, "rmse")["value"] < _row(card, "rmse", model="equal_weight")["value"]


def test_a_value_lies_within_its_interval(card):
    told = card.filter(pl.col("lower").is_not_null())
    assert set(told.filter(pl.col("slice") == ALL)["metric"]) >= MEASURES | {"sharpe_net"}
    assert told.filter(~pl.col("value").is_between(pl.col("lower"), pl.col("upper"))).is_empty()


def test_only_the_candidate_is_compared_and_only_with_other_models(card):
    paired = card.filter(pl.col("metric").str.contains("_minus_"))
    assert set(paired["model"]) == {MODEL}
    assert {metric.partition("_minus_")[2] for metric in paired["metric"]} == {"ridge", "equal_weight"}
    assert set(paired.filter(pl.col("metric").str.starts_with("sharpe"))["slice"]) == {ALL}
    assert set(paired.filter(pl.col("metric") == "ic_minus_ridge")["slice"]) > {ALL, "year 2015", "year 2016"}


def test_a_difference_counts_the_sessions_known_for_both_alone(card, market, portfolios):
    hidden = (pl.col("model") == "ridge") & (pl.col("session") < market.sessions[160])
    columns = ("ic", "rank_ic", "net", "gross", "turnover")
    short = portfolios.with_columns(pl.when(hidden).then(None).otherwise(pl.col(name)).alias(name) for name in columns)
    found = _card(market, short)
    assert _row(found, "sharpe_net_minus_ridge")["sessions"] == 240
    assert _row(found, "ic_minus_ridge")["sessions"] == _row(card, "ic_minus_ridge")["sessions"] - 100
    ours, theirs = (
        portfolios.filter(pl.col("model") == model, pl.col("session") >= market.sessions[160])["net"].to_numpy()
        for model in (MODEL, "ridge")
    )
    expected = sharpe(ours, sessions_per_year=252) - sharpe(theirs, sessions_per_year=252)
    assert _row(found, "sharpe_net_minus_ridge")["value"] == pytest.approx(expected)


def test_what_equal_scores_do_not_have_is_null_and_not_nan(card):
    for metric in ("ic", "rank_ic", "icir", "calibration_slope"):
        row = _row(card, metric, model="equal_weight")
        assert (row["value"], row["lower"]) == (None, None)
    assert _row(card, "rmse", model="equal_weight")["value"] > 0
    assert not any(card.select(pl.col("value", "lower", "upper").is_nan().any()).row(0))


def test_the_order_of_rows_does_not_matter(card, market, portfolios):
    assert _card(market, portfolios.sample(fraction=1, shuffle=True, seed=3)).equals(card)


@pytest.mark.parametrize(("sessions", "interval"), [(1, False), (41, False), (42, True)])
def test_a_slice_of_less_than_two_blocks_has_values_and_no_interval(market, portfolios, sessions, interval):
    kept = [session for session in market.sessions if session.year == 2015][-sessions:]
    found = _card(market, portfolios.filter(pl.col("session") >= kept[0]))
    row = _row(found, "ic", "year 2015")
    assert row["sessions"] == sessions
    assert row["value"] is not None
    assert (row["lower"] is not None, row["upper"] is not None) == (interval, interval)
    assert (_row(found, "icir", "year 2015")["value"] is None) == (sessions == 1)


def test_a_candidate_without_a_portfolio_is_refused(market, portfolios):
    with pytest.raises(DataError, match="expected rows of graph_attention, was rows of equal_weight"):
        _card(market, portfolios.filter(pl.col("model") == "equal_weight"))


def _card(market, portfolios):
    return score_card(
        market.predictions,
        market.returns,
        portfolios,
        sessions=market.sessions,
        candidate=MODEL,
        execution=market.config.execution,
        config=market.config.backtests,
        min_calibration_sessions=60,
    )


def _row(card, metric, name=ALL, model=MODEL):
    found = card.filter(pl.col("metric") == metric, pl.col("slice") == name, pl.col("model") == model)
    return found.row(0, named=True)
