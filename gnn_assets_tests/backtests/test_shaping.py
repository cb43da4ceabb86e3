"""Optimisers and sizes as the engine follows them: strategy, optimiser, sizes, trades."""

from datetime import date, timedelta
from itertools import combinations

import numpy as np
import pytest

from gnn_assets.backtests import bench
from gnn_assets.backtests.costs import Costs
from gnn_assets.backtests.engine import Variant, simulate, sweep
from gnn_assets.backtests.portfolios import optimised
from gnn_assets.backtests.shaping import shaped, shapes, unshaped
from gnn_assets.backtests.signals import Signals, load_strategy
from gnn_assets.backtests.sizing import sized
from gnn_assets.core.config import build_config
from gnn_assets.core.errors import DataError, ModelError
from gnn_assets.core.sessions import SessionCalendar
from gnn_assets.models.bars import Bars
from gnn_assets_tests.backtests.bookkeeper import bookkeep
from gnn_assets_tests.lookahead import assert_no_lookahead

FORECAST = {"forecast": {"window": 20, "half_life": 10, "min_share": 0.5}}
SIZES = {
    "volatility": {"volatility": 0.1},
    "name cap": {"name_cap": 0.2},
    "sector cap": {"sector_cap": 0.4},
    "correlation": {"correlation": {"limit": 0.3, "way": "share"}},
    "binary Kelly": {"kelly": {"form": "binary", "fraction": 1.0}},
    "moments Kelly": {"kelly": {"form": "moments", "fraction": 0.1}},
    "gap": {"gap": {"days": 2, "window": 30, "min_gaps": 3}},
}
EVERYTHING = {name: value for size in SIZES.values() for name, value in size.items()}
# Sessions known before the first score, sessions scored, names.
BEFORE, SCORED, NAMES = 60, 80, 6
# Importing the optimisers takes seconds.
optimiser = pytest.mark.slow


@pytest.fixture(scope="module")
def calendar() -> SessionCalendar:
    return SessionCalendar.build("XNYS", first=date(2019, 1, 2), until=date(2019, 1, 2), grace=timedelta(minutes=30))


def config_of(sizing=None, method=None, **changed):
    settings = {"strategy": "top_k", "held": 4, "rebalance_sessions": 2, "sizing": FORECAST | (sizing or {})}
    return build_config("test", {"backtests": {**settings, "portfolios": {"method": method}, **changed}}).backtests


def execution_of(**changed):
    return build_config("test", {"execution": {"impact": 0.5, "leverage": 2.0, **changed}}).execution


def market(calendar):
    """Scores of the later sessions, returns and volumes of all; fills are not at the close, and weekends are wild."""
    rng = np.random.default_rng(5)
    whole = (BEFORE + SCORED, NAMES)
    apart_T = np.diff(
        np.array(calendar.sessions[: whole[0]], dtype="datetime64[D]"), prepend=np.datetime64("2019-01-01")
    )
    wild_Tx1 = np.where(apart_T.astype(int) > 2, 2.0, 0.8)[:, None]
    moves_TxN = 0.01 * rng.normal(size=(whole[0], 1)) + np.geomspace(0.004, 0.03, NAMES) * rng.normal(size=whole)
    close_TxN = 0.005 + wild_Tx1 * moves_TxN
    return {
        "close": np.where(rng.random(whole) < 0.03, np.nan, close_TxN),
        "fill": close_TxN[BEFORE:] + 0.002 * rng.normal(size=(SCORED, NAMES)),
        "scores": rng.normal(size=(SCORED, NAMES)),
        "volume": rng.lognormal(13, 0.3, size=whole),
    }


def bars_of(data, calendar):
    panels = {"close": np.full((BEFORE + SCORED, NAMES), 20.0), "volume": data["volume"]}
    names = tuple(f"S{name}" for name in range(NAMES))
    return Bars(calendar.sessions[: BEFORE + SCORED], names, data["close"], panels)


def sectors(n_sessions=SCORED):
    return np.tile(np.arange(NAMES) % 3, (n_sessions, 1))


def run(data, config, calendar, *, execution=None):
    return simulate(
        data["scores"],
        data["fill"],
        execution=execution or execution_of(),
        config=config,
        bars=bars_of(data, calendar),
        sectors_TxN=sectors(),
        calendar=calendar,
    )


def by_hand(data, config, calendar, execution):
    """Row → weights, each step called as its own tests call it, over all sessions there are."""
    bars, rows_R = bars_of(data, calendar), BEFORE + np.arange(0, SCORED, config.rebalance_sessions)
    before_FxN = np.full((BEFORE, NAMES), np.nan)
    scores_SxN, fill_SxN = (np.concatenate([before_FxN, data[name]]) for name in ("scores", "fill"))
    signals = Signals(scores_SxN, bars)
    costs = Costs.of(bars, execution=execution, n_sessions=BEFORE + SCORED)
    weights_RxN = load_strategy(config, signals).target_weights(signals, rows_R, config=config)
    if config.portfolios.method is not None:
        weights_RxN = optimised(
            weights_RxN, rows_R, data["close"], costs=costs, config=config, scores_TxN=scores_SxN
        ).weights_RxN
    weights_RxN = sized(
        weights_RxN,
        rows_R,
        returns_TxN=data["close"],
        fill_returns_TxN=fill_SxN,
        costs=costs,
        config=config,
        scores_TxN=scores_SxN,
        sectors_RxN=sectors(len(rows_R)),
        sessions=bars.sessions,
        calendar=calendar,
    )
    known = {"traded": costs.traded_TxN[BEFORE:].tolist(), "volatility": costs.volatility_TxN[BEFORE:].tolist()}
    return dict(zip((rows_R - BEFORE).tolist(), weights_RxN.tolist(), strict=True)), known


@pytest.mark.parametrize("size", [*SIZES.values(), EVERYTHING], ids=[*SIZES, "everything"])
def test_a_bookkeeper_who_is_told_the_sized_weights_agrees(size, calendar):
    _agrees(config_of(size), calendar)


@optimiser
@pytest.mark.parametrize("method", ["min_variance", "max_ratio", "hierarchical", "risk_budgeting"])
def test_a_bookkeeper_who_is_told_the_optimised_and_sized_weights_agrees(method, calendar):
    _agrees(config_of({"volatility": 0.1, "name_cap": 0.5}, method, rebalance_sessions=8), calendar)


def _agrees(config, calendar):
    data, execution = market(calendar), execution_of()
    targets, known = by_hand(data, config, calendar, execution)
    told = bookkeep(
        data["scores"].tolist(), data["fill"].tolist(), execution=execution, config=config, targets=targets, **known
    )
    result, plain = run(data, config, calendar), run(data, unshaped(config), calendar)
    for kind, expected in told.items():
        np.testing.assert_allclose(getattr(result, f"{kind}_T"), expected, rtol=1e-7, atol=1e-9, err_msg=kind)
    assert not np.allclose(result.net_T, plain.net_T)


def test_caps_hold_in_what_is_held(calendar):
    data, execution = market(calendar), execution_of(max_participation=1.0)
    for sizing, most in (({"name_cap": 0.15}, 4 * 0.15), ({"sector_cap": 0.25}, 3 * 0.25)):
        result = run(data, config_of(sizing, held=NAMES), calendar, execution=execution)
        after_trade = result.turnover_T > 0
        assert result.long_T[after_trade].max() <= max(most, NAMES * sizing.get("name_cap", 0.0)) + 1e-12
        assert result.long_T[after_trade].min() > most / 2


def test_a_portfolio_scaled_to_a_volatility_is_nearer_to_it_than_as_it_was(calendar):
    data = market(calendar)
    for target in (0.05, 0.3):
        result, plain = (run(data, config_of(size), calendar) for size in ({"volatility": target}, {}))
        missed = [abs(np.sqrt(252) * each.gross_T[2:].std() - target) for each in (result, plain)]
        assert missed[0] < missed[1] / 2


@pytest.mark.parametrize("size", [*SIZES.values(), EVERYTHING], ids=[*SIZES, "everything"])
def test_what_comes_later_changes_nothing_that_was_traded(size, calendar):
    _see_no_future(config_of(size), calendar)


@optimiser
@pytest.mark.parametrize("method", ["min_variance", "max_ratio", "hierarchical", "risk_budgeting"])
def test_what_comes_later_changes_nothing_that_was_optimised(method, calendar):
    _see_no_future(config_of({"volatility": 0.1}, method, rebalance_sessions=8), calendar)


@pytest.mark.parametrize("size", ["volatility", "correlation", "binary Kelly", "moments Kelly", "gap"])
def test_weights_made_of_tomorrow_s_returns_are_caught(size, calendar, monkeypatch):
    def peeking(weights_RxN, rows_R, strategy, **known):
        # The guard itself taken out: rows know what comes in the eight sessions after them.
        last = len(known["known"].fill_returns_SxN) - 1
        return shaped(weights_RxN, np.minimum(rows_R + 8, last), strategy, **known)

    monkeypatch.setattr(bench, "shaped", peeking)
    with pytest.raises(AssertionError, match="look-ahead"):
        _see_no_future(config_of(SIZES[size]), calendar)


def _see_no_future(config, calendar):
    """The same before row 60 of the scored sessions, whatever comes after it."""
    data, at = market(calendar), BEFORE + 60

    def compute(later):
        with np.errstate(all="ignore"):
            scored = {name: later[name][BEFORE:] for name in ("scores", "fill")}
            # What a vendor never gives: bars refuse it.
            close = np.where(np.isfinite(later["close"]), later["close"], np.nan)
            result = run({**later, **scored, "close": close}, config, calendar)
            return {name: np.concatenate([np.zeros(BEFORE), values_T]) for name, values_T in result._asdict().items()}

    before_FxN = np.zeros((BEFORE, NAMES))
    whole = {**data, **{name: np.concatenate([before_FxN, data[name]]) for name in ("scores", "fill")}}
    sessions = calendar.sessions[: BEFORE + SCORED]
    assert_no_lookahead(compute, whole, at=sessions[at], sessions=sessions)


def test_a_sweep_of_shaped_and_plain_variants_is_each_of_them_alone_bit_for_bit(calendar):
    data = market(calendar)
    sizes = [{}, *SIZES.values(), {**SIZES["volatility"], "name_cap": 0.3}]
    variants = [Variant(execution_of(), config_of(size)) for size in sizes]
    _is_each_alone(data, variants, calendar)


@pytest.mark.parametrize(
    ("size", "pair"),
    [
        ({"volatility": 0.2}, [{"execution": {"leverage": 0.5}}, {"execution": {"leverage": 4.0}}]),
        ({"volatility": 0.2}, [{"sessions_per_year": 252}, {"sessions_per_year": 365}]),
        ({"volatility": 0.2}, [{"max_weight": 0.3}, {"max_weight": 0.9}]),
        ({}, [{"sizing": {"volatility": 0.1}}, {"sizing": {"volatility": 0.2}}]),
        ({"volatility": 0.2}, [{"sizing": {"forecast": {"window": 20}}}, {"sizing": {"forecast": {"window": 30}}}]),
        ({"volatility": 0.2}, [{"rebalance_sessions": 2}, {"rebalance_sessions": 3}]),
        ({"volatility": 0.2}, [{"held": 2}, {"held": 3}]),
        ({"volatility": 0.2}, [{"strategy": "top_k"}, {"strategy": "momentum"}]),
        (SIZES["moments Kelly"], [{"execution": {"commission_bps": 0}}, {"execution": {"commission_bps": 90}}]),
        (SIZES["moments Kelly"], [{"execution": {"impact": 0}}, {"execution": {"impact": 5}}]),
        (SIZES["moments Kelly"], [{"execution": {"liquidity_sessions": 5}}, {"execution": {"liquidity_sessions": 50}}]),
    ],
)
def test_whatever_shapes_targets_tells_two_variants_apart(size, pair, calendar):
    momentum = {"strategies": {"momentum": {"window": 20, "skip": 1}}}
    variants = []
    for changed in pair:
        own = {name: value for name, value in changed.items() if name not in {"execution", "sizing"}}
        sizing = {**size, **changed.get("sizing", {})}
        if "forecast" in sizing:
            sizing["forecast"] = FORECAST["forecast"] | sizing["forecast"]
        config = config_of(sizing, **momentum, **own)
        variants.append(Variant(execution_of(**changed.get("execution", {})), config))
    one, other = _is_each_alone(market(calendar), variants, calendar)
    assert one.long_T.tobytes() != other.long_T.tobytes()


@optimiser
def test_the_costs_and_the_trust_that_an_optimiser_reads_tell_two_variants_apart(calendar):
    methods = [config_of(None, method, rebalance_sessions=20) for method in ("min_variance", "risk_budgeting")]
    trusts = [
        build_config("test", {"backtests": {"portfolios": {"information_coefficient": trust}}}).backtests.portfolios
        for trust in (0.01, 0.2)
    ]
    own = config_of(None, "max_ratio", rebalance_sessions=20)
    trusting = [
        own.model_copy(update={"portfolios": each.model_copy(update={"method": "max_ratio"})}) for each in trusts
    ]
    variants = [Variant(execution_of(), config) for config in (*methods, *trusting)]
    variants.append(Variant(execution_of(commission_bps=90), trusting[0]))
    found = _is_each_alone(market(calendar), variants, calendar)
    assert all(one.gross_T.tobytes() != other.gross_T.tobytes() for one, other in combinations(found, 2))


def _is_each_alone(data, variants, calendar):
    shared = {"bars": bars_of(data, calendar), "sectors_TxN": sectors(), "calendar": calendar}
    found = sweep(data["scores"], data["fill"], variants, threads=2, **shared)
    for variant, swept in zip(variants, found, strict=True):
        alone = run(data, variant.config, calendar, execution=variant.execution)
        assert [values_T.tobytes() for values_T in swept] == [values_T.tobytes() for values_T in alone]
    return found


@pytest.mark.parametrize("size", [SIZES["correlation"], SIZES["volatility"]])
def test_a_strategy_that_reads_no_scores_is_sized_without_them(size, calendar):
    data = market(calendar)
    config = config_of(size, strategy="momentum", strategies={"momentum": {"window": 20, "skip": 1}})
    other = {**data, "scores": -data["scores"]}
    assert run(data, config, calendar).net_T.tobytes() == run(other, config, calendar).net_T.tobytes()


def test_without_anything_asked_nothing_is_shaped():
    for size in SIZES.values():
        assert shapes(config_of(size))
        assert not shapes(unshaped(config_of(size)))
    assert unshaped(config_of({"volatility": 0.1}, "hierarchical")) == config_of()
    assert shapes(config_of(method="hierarchical"))
    assert not shapes(unshaped(config_of(EVERYTHING, "hierarchical")))


@pytest.mark.parametrize(
    ("config", "lacking", "sentence"),
    [
        (config_of({"volatility": 0.1}), "bars", r"sizing\.volatility: expected bars, .* was none"),
        (config_of(SIZES["correlation"]), "bars", r"sizing\.correlation\.limit: expected bars"),
        (
            config_of(SIZES["gap"]),
            "calendar",
            r"sizing\.gap\.days: expected the sessions of the rows and their calendar",
        ),
        (
            config_of(SIZES["sector cap"]),
            "sectors_TxN",
            r"sizing\.sector_cap: expected the sector of each name, was none",
        ),
        (config_of(method="min_variance"), "bars", r"portfolios\.method: expected bars"),
        (
            config_of(method="min_variance", strategy="long_short"),
            "",
            r"portfolios\.method: expected a strategy that is long only, was min_variance of long_short",
        ),
        (
            config_of(method="max_ratio", strategy="momentum"),
            "",
            r"portfolios\.method: expected a strategy that reads scores, for max_ratio, was momentum",
        ),
    ],
)
def test_what_a_setting_needs_and_is_not_there_is_refused_by_name(config, lacking, sentence, calendar):
    data = market(calendar)
    given = {"bars": bars_of(data, calendar), "sectors_TxN": sectors(), "calendar": calendar}
    with pytest.raises(DataError, match=rf"backtests\.{sentence}"):
        simulate(
            data["scores"],
            data["fill"],
            execution=execution_of(),
            config=config,
            **{name: value for name, value in given.items() if name != lacking},
        )


def test_a_universe_that_knows_no_sector_is_refused_where_sectors_have_a_cap(calendar):
    data = market(calendar)
    with pytest.raises(
        DataError, match=r"sector_cap: expected the sector of each name, was a universe that knows none"
    ):
        simulate(
            data["scores"],
            data["fill"],
            execution=execution_of(),
            config=config_of(SIZES["sector cap"]),
            sectors_TxN=np.full((SCORED, NAMES), -1),
        )


def test_sectors_of_other_names_are_refused(calendar):
    data = market(calendar)
    with pytest.raises(DataError, match=r"sectors: expected sessions and names of the returns"):
        simulate(
            data["scores"], data["fill"], execution=execution_of(), config=config_of(), sectors_TxN=sectors(SCORED - 1)
        )


@optimiser
def test_signals_for_which_the_optimiser_found_nothing_are_told_and_hold_what_was_held(calendar, monkeypatch):
    from gnn_assets.backtests import optimisers

    solved, calls = optimisers.solved, []

    def failing(problem):
        calls.append(problem)
        if len(calls) == 3:
            raise ModelError("min_variance: no solution")
        return solved(problem)

    monkeypatch.setattr(optimisers, "solved", failing)
    result = run(market(calendar), config_of(method="min_variance", rebalance_sessions=20), calendar)
    assert np.flatnonzero(result.unsolved_T).tolist() == [40]
    assert not run(market(calendar), config_of(), calendar).unsolved_T.any()
