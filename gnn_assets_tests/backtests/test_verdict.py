from dataclasses import replace

import polars as pl
import pytest

from gnn_assets.backtests.thresholds import changes, registered_before, registration, thresholds_of
from gnn_assets.backtests.trials import Trials
from gnn_assets.backtests.verdict import Evidence, judge, judge_scores
from gnn_assets.core.config import build_config
from gnn_assets.core.errors import ConfigError

CONFIG = build_config("sample")
NAN = float("nan")
# Passes everything: each test takes something away.
STRONG = Evidence(
    sessions=1000,
    sharpe=1.6,
    benchmark=0.5,
    lead=(0.2, 2.0),
    ic=0.03,
    ic_interval=(0.01, 0.05),
    deflated=0.99,
    trials=Trials(counted=12, effective=7.5, variance=0.001),
    track_record=400,
    superior=True,
)
FAIR = replace(STRONG, sharpe=1.2, benchmark=1.1, lead=(-0.3, 0.5))


def word(evidence, config=CONFIG):
    return judge(evidence, config=config, events=()).word


def test_the_demanded_thresholds_are_the_defaults():
    limits = CONFIG.verdict
    assert (limits.scale_sharpe, limits.iterate_sharpe, limits.iterate_lead) == (1.5, 1.0, 0.3)
    assert (limits.scale_ratio, limits.probability) == (1.1, 0.95)


@pytest.mark.parametrize(
    ("lacks", "expected"),
    [
        ({}, "SCALE"),
        ({"superior": None}, "SCALE"),
        ({"ic": None, "ic_interval": None}, "SCALE"),
        ({"sharpe": 1.5}, "ITERATE"),
        ({"sharpe": 1.51, "benchmark": 1.4}, "ITERATE"),
        ({"deflated": 0.95}, "ITERATE"),
        ({"lead": (0.0, 2.0)}, "ITERATE"),
        ({"ic_interval": (0.0, 0.05)}, "ITERATE"),
        ({"superior": False}, "ITERATE"),
    ],
)
def test_scale_needs_every_condition(lacks, expected):
    assert word(replace(STRONG, **lacks)) == expected


@pytest.mark.parametrize(
    ("sharpe", "benchmark", "expected"),
    [
        (1.01, 1.5, "ITERATE"),
        (1.0, 0.9, "KILL"),
        (0.75, 0.25, "ITERATE"),
        (0.5, 0.25, "KILL"),
        (-0.25, -0.75, "ITERATE"),
        (-0.25, -0.3, "KILL"),
    ],
)
def test_iterate_needs_its_sharpe_or_its_lead(sharpe, benchmark, expected):
    assert word(replace(FAIR, sharpe=sharpe, benchmark=benchmark)) == expected


@pytest.mark.parametrize(("upper", "expected"), [(-0.01, "KILL"), (0.0, "ITERATE")])
def test_a_whole_interval_below_equal_weight_kills_whatever_the_sharpe(upper, expected):
    assert word(replace(STRONG, lead=(-1.0, upper))) == expected


@pytest.mark.parametrize(
    "lacks",
    [
        {"sessions": CONFIG.backtests.min_sessions - 1},
        {"lead": (NAN, NAN)},
        {"sharpe": NAN},
        {"ic_interval": (NAN, NAN)},
        {"deflated": NAN},
        {"track_record": 1001.0},
    ],
)
def test_what_is_short_or_undefined_is_not_enough_data(lacks):
    assert word(replace(STRONG, **lacks)) == "NOT_ENOUGH_DATA"
    assert word(replace(STRONG, sessions=CONFIG.backtests.min_sessions)) == "SCALE"


def test_few_sessions_come_before_kill_and_kill_before_a_short_record():
    losing = replace(STRONG, lead=(-2.0, -1.0), track_record=5000.0)
    assert word(losing) == "KILL"
    assert word(replace(losing, sessions=10)) == "NOT_ENOUGH_DATA"


def test_a_ratio_that_no_record_could_tell_from_zero_is_not_waited_for():
    assert word(replace(FAIR, sharpe=-0.2, benchmark=0.0, track_record=float("inf"))) == "KILL"


def test_a_losing_benchmark_makes_its_multiple_no_easier():
    beside = replace(STRONG, sharpe=1.6, benchmark=-20.0)
    (ratio,) = [one for one in judge(beside, config=CONFIG, events=()).conditions if one.name == "scale_ratio"]
    assert ratio.threshold == pytest.approx(-18.0)


def test_every_condition_stands_in_the_record_and_the_sentence_names_the_one_that_decided():
    verdict = judge(replace(STRONG, deflated=0.6), config=CONFIG, events=())
    assert "net Sharpe 1.6 is above 1" in verdict.reason
    assert "deflated Sharpe probability (12 trials, 7.5 effective) 0.6 is not above 0.95" in verdict.reason
    rows = {row["condition"]: row for row in verdict.table.iter_rows(named=True)}
    assert list(rows) == [
        "sessions",
        "not_worse",
        "track_record",
        "scale_sharpe",
        "scale_ratio",
        "deflated_sharpe",
        "lead_certain",
        "ic_certain",
        "superior",
        "iterate_sharpe",
        "iterate_lead",
    ]
    assert rows["deflated_sharpe"] == {
        "condition": "deflated_sharpe",
        "word": "SCALE",
        "value": 0.6,
        "relation": "above",
        "threshold": 0.95,
        "passed": False,
    }


@pytest.mark.parametrize("setting", ["scale_sharpe", "scale_ratio", "probability", "iterate_sharpe", "iterate_lead"])
def test_every_threshold_is_configuration(setting):
    harder = {"scale_sharpe": 1.7, "scale_ratio": 4.0, "probability": 0.995, "iterate_sharpe": 1.3, "iterate_lead": 0.7}
    config = build_config("sample", {"verdict": {setting: harder[setting]}})
    before = FAIR if setting == "iterate_sharpe" else STRONG
    if setting == "iterate_lead":
        before = replace(FAIR, sharpe=0.9, benchmark=0.4)
    assert word(before) != word(before, config)


def test_scale_must_not_be_easier_than_iterate():
    with pytest.raises(ConfigError, match=r"verdict.scale_sharpe must be at least verdict.iterate_sharpe \(1.0\)"):
        build_config("sample", {"verdict": {"scale_sharpe": 0.9}})


def test_thresholds_are_registered_once_until_they_change():
    ledger = Told()
    assert ledger.register(CONFIG)["values"] == thresholds_of(CONFIG)
    assert ledger.register(CONFIG) is None
    assert changes(ledger.events) == ()
    assert ledger.register(build_config("sample", {"verdict": {"scale_sharpe": 1.2}})) is not None
    (change,) = changes(ledger.events)
    assert change.sentence == "thresholds changed on 2026-11-02: scale_sharpe 1.5 -> 1.2"
    # Putting it back is a change as well: nobody forgets.
    ledger.register(CONFIG)
    assert len(changes(ledger.events)) == 2


def test_a_changed_threshold_is_told_in_the_verdict():
    ledger = Told()
    ledger.register(CONFIG)
    assert judge(STRONG, config=CONFIG, events=ledger.events).changes == ()
    loosened = build_config("sample", {"backtests": {"min_sessions": 100}})
    ledger.register(loosened)
    told = judge(STRONG, config=loosened, events=ledger.events).changes
    assert told == ("thresholds changed on 2026-11-02: backtests.min_sessions 504 -> 100",)


def test_what_held_when_a_candidate_was_put_in_place_is_told_by_order_not_by_the_clock():
    ledger = Told()
    ledger.register(CONFIG)
    assert registered_before(ledger.events, candidate="w1") is None
    ledger.events.append({"event": "promoted", "candidate": "w1", "recorded_at": "2026-11-01T00:00:00"})
    ledger.register(build_config("sample", {"verdict": {"scale_sharpe": 1.2}}))
    held = registered_before(ledger.events, candidate="w1")
    assert held is not None
    assert held["scale_sharpe"] == 1.5


def test_it_reads_the_tables_the_backtest_writes(market, portfolios, scores):
    def verdict(model):
        return judge_scores(scores, portfolios, candidate=model, trials=(), events=(), config=market.config)

    assert verdict("graph_attention").word == "SCALE"
    assert verdict("ridge").word == "NOT_ENOUGH_DATA"
    assert verdict("another").word == "NOT_ENOUGH_DATA"
    rows = {row["condition"]: row for row in verdict("graph_attention").table.iter_rows(named=True)}
    overall = scores.filter(pl.col("model") == "graph_attention", pl.col("fold") == -1)
    told = {row["metric"]: row for row in overall.iter_rows(named=True)}
    assert rows["scale_sharpe"]["value"] == told["sharpe_net"]["value"]
    assert rows["iterate_lead"]["value"] == pytest.approx(told["sharpe_net_minus_equal_weight"]["value"])
    assert rows["ic_certain"]["value"] == told["ic"]["lower"]


def test_more_trials_in_the_ledger_make_the_deflated_ratio_smaller(market, portfolios, scores):
    def deflated(trials):
        verdict = judge_scores(
            scores, portfolios, candidate="graph_attention", trials=trials, events=(), config=market.config
        )
        return next(one.value for one in verdict.conditions if one.name == "deflated_sharpe")

    many = [{"trial": "training", "model": "tuned", "version": str(number)} for number in range(2000)]
    assert deflated(many) < deflated(())


class Told:
    """Events as a ledger would hold them, one a day."""

    def __init__(self):
        self.events = []

    def register(self, config):
        event = registration(config, self.events)
        if event is not None:
            self.events.append({**event, "recorded_at": f"2026-11-{len(self.events) + 1:02d}T21:00:00+00:00"})
        return event
