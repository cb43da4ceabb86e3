from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from gnn_assets.backtests.engine import simulate
from gnn_assets.backtests.family import Outcomes, judge_family, trade
from gnn_assets.backtests.hypotheses import Hypothesis, hypotheses_of, read_batch
from gnn_assets.backtests.hypotheses_page import hypotheses_rows, page_of
from gnn_assets.backtests.metrics import sharpe
from gnn_assets.backtests.thresholds import registration
from gnn_assets.backtests.trials import trial_of
from gnn_assets.core.config import build_config
from gnn_assets.core.errors import ConfigError
from gnn_assets.models.bars import Bars

CONFIG = build_config("sample", {"backtests": {"bootstrap_resamples": 400}})
SAMPLE = Path(__file__).parents[2] / "docs" / "hypotheses" / "sample.yaml"
MODELS = ("blend", "blend_no_graph", "ridge", "equal_weight")
BATCH = """
name: two
groups:
  - models: [blend, ridge]
    strategies: [top_k, momentum]
    grid: {held: [2, 4], hysteresis: [0.5]}
"""


def expanded(text, models=MODELS):
    return hypotheses_of(read_batch(text, file="batch.yaml"), models=models, config=CONFIG.backtests)


def test_a_group_is_the_product_of_its_models_strategies_and_settings_and_bars_need_no_model():
    assert [one.name for one in expanded(BATCH)] == [
        "blend top_k (held 2, hysteresis 0.5)",
        "blend top_k (held 4, hysteresis 0.5)",
        "ridge top_k (held 2, hysteresis 0.5)",
        "ridge top_k (held 4, hysteresis 0.5)",
        "momentum (held 2, hysteresis 0.5)",
        "momentum (held 4, hysteresis 0.5)",
    ]
    assert [one.config.held for one in expanded(BATCH)] == [2, 4] * 3
    assert {one.config.confidence for one in expanded(BATCH)} == {CONFIG.backtests.confidence}


def test_the_committed_sample_has_about_twenty_hypotheses_that_closes_can_answer():
    found = expanded(SAMPLE.read_text(encoding="utf-8"))
    assert len(found) == 22
    assert {one.model for one in found} == {"blend", "blend_no_graph", "ridge", ""}


def test_a_batch_is_named_by_what_it_says_not_by_how_it_is_spelt():
    same = read_batch(BATCH.replace("[0.5]", "[ 5.0e-1 ]") + "# a remark", file="other.yaml")
    assert same.hash == read_batch(BATCH, file="batch.yaml").hash
    assert same.hash != read_batch(BATCH.replace("[2, 4]", "[2, 5]"), file="batch.yaml").hash


@pytest.mark.parametrize(
    ("wrong", "right", "told"),
    [
        ("groups:", "group:", "did you mean 'groups'"),
        ("name: two", "", r"name: expected Field required, was nothing"),
        ("name: two", "name: Two!", r"batch\.yaml: name.*'Two!'"),
        ("grid:", "grids:", "did you mean 'grid'"),
        ("[2, 4]", "2", r"groups\.0\.grid\.held.*was 2"),
        ("[2, 4]", "[0]", r"groups\.0\.grid: held.*was 0"),
        ("held", "helt", r"groups\.0\.grid\.helt.*vary one of held"),
        ("held", "confidence", r"groups\.0\.grid\.confidence.*vary one of held"),
        ("held", "strategies.momentum.windows", "no such one; see `gnn-assets config show`"),
        ("held", "strategies.momentum", "no such one"),
        ("[blend, ridge]", "[blend, bridge]", r"groups\.0\.models.*'bridge'; name one of blend"),
        ("top_k", "top_q", r"groups\.0\.strategies.*'top_q'; name one of bollinger"),
        ("[blend, ridge]", "[]", "top_k reads scores"),
        ("[blend, ridge]", "[blend, blend]", "blend top_k .* again; remove one"),
        ("name: two", "{", "not readable as YAML"),
    ],
)
def test_what_is_wrong_with_a_batch_is_told_by_field_value_and_fix(wrong, right, told):
    with pytest.raises(ConfigError, match=told):
        expanded(BATCH.replace(wrong, right, 1))


def test_trading_a_batch_is_trading_each_hypothesis_alone(market):
    sessions, returns_TxN, scores, bars = market
    found = expanded(BATCH, models=("blend", "ridge"))
    traded = trade(
        found, scores, returns_TxN, returns_TxN, bars=bars, execution=EXECUTION, config=CONFIG.backtests, threads=2
    )
    for column, one in enumerate(found):
        panel = scores.get(one.model)
        alone = simulate(panel, returns_TxN, execution=EXECUTION, config=one.config, bars=bars)
        np.testing.assert_array_equal(traded.net_TxM[:, column], alone.net_T)
    assert len(traded.benchmark_T) == len(sessions)
    assert np.isfinite(traded.ic_TxM[:-10, :4]).all()
    assert np.isnan(traded.ic_TxM[:, 4:]).all()


def test_fifty_strategies_of_noise_scale_nothing_and_none_is_superior():
    """Two years of fifty portfolios without skill: the best of them shows a Sharpe ratio that looks like one."""
    report = judge_family(noise(seed=3), trials=(), events=(), config=CONFIG)
    best = max(judged.evidence.sharpe for judged in report.judged)
    assert best > CONFIG.verdict.iterate_sharpe
    assert "SCALE" not in {judged.verdict.word for judged in report.judged}
    assert report.superiority.superior == ()
    assert report.overfitting > 0.3


def test_alone_the_best_of_that_noise_would_look_far_better_than_in_its_family():
    family = noise(seed=3)
    found = judge_family(family, trials=(), events=(), config=CONFIG).judged
    best = max(found, key=lambda judged: judged.evidence.sharpe)
    column = family.hypotheses.index(best.hypothesis)
    alone = replace(
        family,
        hypotheses=(best.hypothesis,),
        net_TxM=family.net_TxM[:, [column]],
        ic_TxM=family.ic_TxM[:, [column]],
    )
    (single,) = judge_family(alone, trials=(), events=(), config=CONFIG).judged
    assert single.evidence.lead[0] > best.evidence.lead[0]
    assert single.evidence.deflated > best.evidence.deflated + 0.2


def test_a_planted_signal_scales_a_loser_is_killed_and_the_strongest_comes_first():
    family = noise(seed=3, lifted={7: 0.3, 9: -0.3})
    report = judge_family(family, trials=(), events=(), config=CONFIG)
    words = {judged.hypothesis.name: judged.verdict.word for judged in report.judged}
    assert words["m07 top_k"] == "SCALE"
    assert words["m09 top_k"] == "KILL"
    assert report.superiority.superior == (7,)
    assert report.judged[0].hypothesis.name == "m07 top_k"


def test_a_family_without_scores_or_shorter_than_asked_is_judged_all_the_same():
    short = noise(seed=3, sessions=100, lifted={7: 0.3})
    words = {judged.verdict.word for judged in judge_family(short, trials=(), events=(), config=CONFIG).judged}
    assert words == {"NOT_ENOUGH_DATA"}
    plain = noise(seed=3, lifted={7: 0.3})
    bare = replace(plain, hypotheses=tuple(replace(one, model="") for one in plain.hypotheses))
    (first, *_) = judge_family(bare, trials=(), events=(), config=CONFIG).judged
    assert (first.verdict.word, first.evidence.ic) == ("SCALE", None)


def test_a_portfolio_that_never_trades_has_not_enough_data_and_disturbs_nobody():
    family = noise(seed=3)
    still_TxM = family.net_TxM.copy()
    still_TxM[:, 0] = 0.0
    found = judge_family(replace(family, net_TxM=still_TxM), trials=(), events=(), config=CONFIG).judged
    (still,) = [judged for judged in found if judged.hypothesis.name == "m00 top_k"]
    assert still.verdict.word == "NOT_ENOUGH_DATA"
    assert "net Sharpe" in still.verdict.reason


def test_less_invested_is_not_less_superior():
    """The ratio is judged: half of a portfolio in cash must not cost it its place."""
    family = noise(seed=3, lifted={7: 0.3})
    half_TxM = family.net_TxM.copy()
    half_TxM[:, 7] *= 0.1
    assert half_TxM[:, 7].mean() < family.benchmark_T.mean() + family.benchmark_T.std() / 10
    report = judge_family(replace(family, net_TxM=half_TxM), trials=(), events=(), config=CONFIG)
    assert report.superiority.superior == (7,)


def test_the_page_and_the_table_hold_every_hypothesis_and_the_page_tells_a_changed_threshold():
    family = noise(seed=3, count=6)
    events = []
    for day, config in enumerate((build_config("sample", {"verdict": {"scale_sharpe": 1.4}}), CONFIG), start=1):
        events.append({**registration(config, events), "recorded_at": f"2026-11-0{day}T00:00:00"})
    trials = [
        trial_of("hypothesis", model=one.model, version="w", execution=EXECUTION, config=one.config)
        for one in family.hypotheses
    ]
    report = judge_family(family, trials=trials, events=events, config=CONFIG)
    batch = read_batch(BATCH, file="batch.yaml")
    page = page_of(report, batch=batch, events=events, market="noise", config=CONFIG)
    assert "thresholds changed on 2026-11-02: scale_sharpe 1.4 -> 1.5" in page
    assert all(f"| {one.name} |" in page for one in family.hypotheses)
    rows = hypotheses_rows(report, batch=batch, version="w", config=CONFIG)
    assert rows.height == 6
    assert rows["trials"].unique().to_list() == [6]
    own = rows.filter(hypothesis="m01 top_k")
    expected = sharpe(family.net_TxM[:, 1], sessions_per_year=CONFIG.backtests.sessions_per_year)
    assert own["sharpe_net"].item() == expected


EXECUTION = CONFIG.execution


def noise(*, seed, sessions=504, count=50, lifted=None):
    """Portfolios that are the market and luck of their own; `lifted` ones get so many deviations a session more."""
    rng = np.random.default_rng(seed)
    benchmark_T = rng.normal(0.0003, 0.01, size=sessions)
    luck_TxM = rng.normal(size=(sessions, count))
    ic_TxM = rng.normal(size=(sessions, count)) * 0.1
    for column, amount in (lifted or {}).items():
        luck_TxM[:, column] += amount
        ic_TxM[:, column] += amount / 3
    return Outcomes(
        hypotheses=tuple(Hypothesis(f"m{number:02d}", {}, CONFIG.backtests) for number in range(count)),
        net_TxM=0.5 * benchmark_T[:, None] + 0.01 * luck_TxM,
        benchmark_T=benchmark_T,
        ic_TxM=ic_TxM,
    )


@pytest.fixture(scope="module")
def market():
    rng = np.random.default_rng(2)
    sessions = [date(2020, 1, 1) + timedelta(days=day) for day in range(400)]
    returns_TxN = rng.normal(0, 0.01, size=(400, 6))
    bars = Bars(tuple(sessions), tuple("ABCDEF"), returns_TxN)
    axis = sessions[300:]
    scores = {name: rng.normal(size=(100, 6)) for name in ("blend", "ridge")}
    return axis, returns_TxN[300:], scores, bars
