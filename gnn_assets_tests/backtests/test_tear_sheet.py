from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from gnn_assets.backtests.deflated import deflated_sharpe
from gnn_assets.backtests.portfolio import portfolio_returns
from gnn_assets.backtests.score_card import score_card
from gnn_assets.backtests.scores import backtest_scores, session_folds
from gnn_assets.backtests.tear_figures import COST_MULTIPLES, HORIZONS
from gnn_assets.backtests.tear_inputs import Inputs
from gnn_assets.backtests.tear_sheet import tear_sheet
from gnn_assets.backtests.trials import trials_behind
from gnn_assets.backtests.verdict import judge_scores
from gnn_assets_tests.html_page import Page

MODEL = "graph_attention"
LARGEST = 1_500_000
HOSTILE = "<script>alert('x')</script>\"><img src=http://evil.example/x onerror=y>$\\frac{&amp;"


def made(market, *, sessions=None, trials=()):
    """Everything a page is made from, of a market cut to its first scored sessions."""
    config, model = market.config, {"candidate": MODEL}
    scored = market.predictions["session"].unique().sort()[:sessions]
    predictions = market.predictions.filter(pl.col("session").is_in(scored.implode()))
    portfolios = portfolio_returns(
        predictions,
        market.returns,
        sessions=market.sessions,
        symbols=market.symbols,
        execution=config.execution,
        config=config.backtests,
    )
    common = {"execution": config.execution, "config": config.backtests, "min_calibration_sessions": 60}
    card = score_card(predictions, market.returns, portfolios, sessions=market.sessions, **model, **common)
    scores = backtest_scores(portfolios, folds=session_folds(predictions), **model, **common)
    return Inputs(
        card=card,
        portfolios=portfolios,
        predictions=predictions,
        returns=market.returns,
        sessions=market.sessions,
        candidate=MODEL,
        verdict=judge_scores(scores, portfolios, **model, trials=trials, events=[], config=config),
        trials=trials,
        index=("SPY", dict.fromkeys(market.sessions, 0.001)),
        market="a made-up market",
        versions={"returns": "r1", "weights": "v1"},
    )


def rendered(given, market, **changed):
    execution = market.config.execution.model_copy(update=changed)
    return tear_sheet(given, execution=execution, config=market.config.backtests)


@pytest.fixture(scope="module")
def given(market):
    return made(market)


@pytest.fixture(scope="module")
def text(given, market):
    return rendered(given, market)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


@pytest.fixture(scope="module")
def net_T(given):
    return given.portfolios.filter(pl.col("model") == MODEL).sort("session")["net"].to_numpy()


def test_it_is_whole_and_needs_nothing_beside_itself(text, page):
    assert text.startswith("<!DOCTYPE html>")
    assert page.tags.count("h1") == 1
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form", "a"} & set(page.tags)
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    leads = [value for name, value in page.attributes if name in {"href", "xlink:href", "src", "srcset", "action"}]
    assert leads
    assert all(value.startswith("#") for value in leads)
    names = [value for name, value in page.attributes if name == "id"]
    assert len(names) == len(set(names))
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes
    assert len(text) < LARGEST


def test_it_is_read_in_the_dark_and_on_paper(text):
    assert "@media screen and (prefers-color-scheme: dark)" in text
    assert "@media print" in text


def test_the_same_tables_in_any_order_give_the_same_bytes(given, market, text):
    def shuffled(frame):
        return frame.sample(fraction=1, shuffle=True, seed=3)

    names = ("card", "portfolios", "predictions", "returns")
    mixed = replace(given, **{name: shuffled(getattr(given, name)) for name in names})
    assert rendered(mixed, market) == text


def test_the_verdict_stands_on_top_with_every_condition(given, page):
    assert page.texts.index(given.verdict.word) < page.text.index("Growth of 1")
    assert given.verdict.reason in page.text
    rows = page.tables["Conditions of the verdict"][1:]
    assert [row[0] for row in rows] == [one.label.rstrip(",") for one in given.verdict.conditions]
    assert [row[-1] for row in rows] == ["yes" if one.passed else "no" for one in given.verdict.conditions]


def test_a_changed_threshold_is_told(given, market):
    changed = replace(given.verdict, changes=("thresholds changed on 2016-01-01: scale_sharpe 1.5 -> 1.2",))
    assert changed.changes[0] in Page(rendered(replace(given, verdict=changed), market)).text


def test_months_are_those_of_the_net_returns(given, page, net_T):
    sessions = given.portfolios["session"].unique().sort().to_list()
    header, *years = page.tables["Net return by month (%)"]
    assert header == ["", *map(str, range(1, 13)), "year"]
    assert [row[0] for row in years] == ["2015", "2016"]
    growth = 1.0
    for day, value in zip(sessions, net_T, strict=True):
        if (day.year, day.month) == (2015, 6):
            growth *= 1 + value
    assert years[0][6] == f"{100 * (growth - 1):.1f}".replace("-", "−")
    assert years[0][1] == "–"


def test_the_worst_falls_are_named_with_their_dates(given, page, net_T):
    sessions = given.portfolios["session"].unique().sort().to_list()
    value_T = np.cumprod(1 + net_T)
    fall_T = value_T / np.maximum.accumulate(np.maximum(value_T, 1)) - 1
    lowest = int(fall_T.argmin())
    rows = page.tables["Drawdown"][1:]
    assert len(rows) == 5
    peak = int(value_T[: lowest + 1].argmax())
    assert rows[0][1:4] == [
        f"−{-100 * fall_T[lowest]:.1f}\N{NO-BREAK SPACE}%",
        str(sessions[peak]),
        str(sessions[lowest]),
    ]


def test_costs_only_ever_take_away(page):
    header, *rows = page.tables["Sensitivity to costs"]
    assert header == ["costs", "per side (bp)", "net Sharpe", "net return a year", "value of 1"]
    assert [row[0] for row in rows] == [f"{multiple:g} ×" for multiple in COST_MULTIPLES]
    for column in (2, 4):
        values = [float(row[column]) for row in rows]
        assert values == sorted(values, reverse=True)
        assert values[0] > values[-1]
    figures = {row[0]: row[1] for row in page.tables["Growth of 1, logarithmic"]}
    assert figures["value of 1"] == rows[2][4]
    assert figures["Sharpe"].startswith(f"{rows[2][2]} [")


def test_everything_is_compared_net_with_equal_weight_the_baselines_and_the_index(page):
    header = page.tables["Growth of 1, logarithmic"][0]
    assert header[1:] == [f"{MODEL}, net", f"{MODEL}, gross", "equal_weight (b)", "ridge", "SPY (index, no costs)"]


def test_the_deflated_sharpe_ratio_is_the_verdicts_with_the_trials_counted(market):
    trials = [{"trial": "training", "model": "m", "version": str(number)} for number in range(40)]
    given = made(market, trials=trials)
    rows = dict(Page(rendered(given, market)).tables["Tries behind it"])
    assert rows["trials behind it"].startswith("40, that amount to ")
    nets = given.portfolios.pivot(on="model", index="session", values="net").sort("session").drop("session")
    behind = trials_behind(trials, nets.to_numpy())
    probability = deflated_sharpe(nets[MODEL].to_numpy(), trials=behind.effective, variance=behind.variance)
    assert f"{100 * probability:.1f}\N{NO-BREAK SPACE}%" in rows.values()


def test_decay_goes_over_every_horizon_and_slices_are_the_cards(given, page):
    near, near_means, _, _, far, far_means, *_ = page.tables["Decay of the information coefficient"]
    assert near[1:] + far[1:] == [str(horizon) for horizon in range(1, HORIZONS + 1)]
    assert float(near_means[5]) == max(map(float, near_means[1:] + far_means[1:]))
    rows = page.tables["By year and by volatility of the market"][1:]
    assert [row[0] for row in rows[:3]] == ["all", "year 2015", "year 2016"]
    year = pl.col("slice") == "year 2016"
    ic = given.card.filter(pl.col("model") == MODEL, year, pl.col("metric") == "ic")["value"][0]
    assert rows[2][2].startswith(f"{ic:.4f} [")


def test_it_says_what_it_was_made_from(page, market):
    assert f"340 sessions out of sample, {market.sessions[60]} to {market.sessions[-1]}" in page.text
    facts = "|".join(part.strip() for part in page.texts if part.strip())
    assert "walk-forward folds|2|" in facts
    assert f"data end|{market.sessions[-1]}|" in facts
    assert "version of returns|r1|" in facts
    assert "not executable" not in page.text


def test_a_fill_nobody_gets_is_called_not_executable(given, market):
    page = Page(rendered(given, market, fill="close_same"))
    assert "close_same" in page.text
    assert page.text.count("not executable") == 2
    # With another fill than that of the stored portfolio what costs would do to it cannot be told.
    assert "simulated again is not the one that is stored" in page.text


def test_no_name_and_no_text_can_bring_in_html(given, market):
    other = HOSTILE.replace("x", "z")
    renamed = pl.col("model").replace({MODEL: HOSTILE, "ridge": other})
    hostile = replace(
        given,
        candidate=HOSTILE,
        card=given.card.with_columns(renamed),
        portfolios=given.portfolios.with_columns(renamed, version=pl.lit(HOSTILE)),
        predictions=given.predictions.with_columns(renamed),
        verdict=replace(given.verdict, reason=HOSTILE, changes=(HOSTILE,)),
        index=(HOSTILE, given.index[1]),
        market=HOSTILE,
        versions={HOSTILE: HOSTILE},
    )
    page = Page(rendered(hostile, market))
    assert not {"script", "img"} & set(page.tags)
    assert not any(name.startswith("on") for name, _ in page.attributes)
    header = page.tables["Growth of 1, logarithmic"][0]
    assert header[1] == f"{HOSTILE}, net"
    assert other in header
    assert f"{HOSTILE} (index, no costs)" in header


@pytest.mark.parametrize("sessions", [1, 3, 40])
def test_a_short_history_gives_a_page_that_says_what_is_missing(market, sessions):
    page = Page(rendered(made(market, sessions=sessions), market))
    assert f"{sessions} sessions with a return; a rolling Sharpe ratio needs 252." in page.text
    assert "NOT_ENOUGH_DATA" in page.text
    assert "a rolling IC needs most of 252 sessions" in page.text
    figures = {row[0]: row[1] for row in page.tables["Growth of 1, logarithmic"]}
    assert figures["sessions"] == str(sessions)
    assert "[" not in figures["Sharpe"]
    assert "nan" not in page.text.lower()


def test_sessions_without_a_return_are_left_out_and_counted(given, market):
    days = given.portfolios["session"].unique().sort()[[50, 51]]
    lost = (pl.col("model") == MODEL) & pl.col("session").is_in(days.implode())
    holes = given.portfolios.with_columns(net=pl.when(lost).then(None).otherwise("net"))
    page = Page(rendered(replace(given, portfolios=holes), market))
    assert f"{MODEL}, net: no return on 2 of 340 sessions; they are left out." in page.text
    assert "simulated again is not the one that is stored" in page.text
    assert "nan" not in page.text.lower()


def test_a_candidate_without_any_return_or_anything_to_compare_with_still_has_a_page(given, market):
    alone = given.portfolios.filter(pl.col("model") == MODEL).with_columns(net=pl.lit(None, dtype=pl.Float64))
    page = Page(rendered(replace(given, portfolios=alone, index=None), market))
    assert "There is no equal_weight to compare with" in page.text
    assert "There is no index to compare with." in page.text
    assert "no return on 340 of 340 sessions" in page.text
    assert "Not to be told; see what is missing." in page.text
