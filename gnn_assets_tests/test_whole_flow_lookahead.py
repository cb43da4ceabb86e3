"""From the source to the forecast: whatever comes after a session, no bit up to that session changes.

The stages are put together as their assets put them together, from the source's answer on, on the sample's real prices
and dividends made up. What comes after a session is replaced by garbage, or was never there, and the two flows are held
against each other stage by stage, so that a leak is named by the first stage it shows in. Leaks planted in one function
each show that the test can fail.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gnn_assets.backtests.portfolio import portfolio_returns
from gnn_assets.bars import returns as returns_stage
from gnn_assets.bars import rules as rules_stage
from gnn_assets.bars import universe as universe_stage
from gnn_assets.bars.actions import new_actions
from gnn_assets.bars.bad_sessions import PREFIX, judge_sessions
from gnn_assets.bars.fetched import ACTION_COLUMNS, FETCHED_COLUMNS, VALUES, Access, Ask
from gnn_assets.bars.revisions import latest, new_revisions
from gnn_assets.bars.rules import Judged
from gnn_assets.bars.schema import CORPORATE_ACTIONS, MARKET_BARS, UNIVERSE
from gnn_assets.bars.sources import sample
from gnn_assets.bars.venues import exchange_of
from gnn_assets.core.config import build_config
from gnn_assets.core.folds import Fold
from gnn_assets.core.hashing import canonical_json, sha256_hex
from gnn_assets.core.sessions import Exchanges, SessionCalendar
from gnn_assets.forecasts import publish
from gnn_assets.forecasts.verify import sources_on
from gnn_assets.graphs import correlation
from gnn_assets.graphs.neighbours import Neighbours, graph_arrays, graph_frame
from gnn_assets.graphs.statistics import graph_statistics
from gnn_assets.models import candidate as candidate_stage
from gnn_assets.models import runtime
from gnn_assets.models.bars import Bars
from gnn_assets.models.dataset import Dataset, Recipe, build_dataset
from gnn_assets.models.features import build
from gnn_assets.models.graph import Graph
from gnn_assets.models.variants import fold_part
from gnn_assets.store.panel import to_panel
from gnn_assets.store.schema import MOMENT
from gnn_assets_tests.lookahead import _first_change as first_change
from gnn_assets_tests.lookahead import _nonsense as nonsense

pytestmark = pytest.mark.slow

CONFIG = build_config(
    "test",
    {
        "bars": {
            "from_session": "2020-06-01",
            # A wild price must get past the refusal of jumps, to do its harm further down; and of the sessions after
            # the cut, some must be refused whole and others not.
            "rules": {"max_abs_log_return": 1000.0, "max_rule_share": 0.25},
        },
        "graphs": {"window": 40, "min_overlap": 30, "factors": {"window": 40, "count": 3, "projected": 2}},
        "models": {
            "candidate": "graph_attention",
            "features": {"lags": 1, "windows": [2, 5, 20], "short": 5, "long": 20},
            "targets": {"window": 20},
            "folds": {"train": 128, "validation": 32, "test": 126},
            "graph_attention": {"hidden": 8, "heads": 2, "layers": 1},
            "training": {"epochs": 2, "ensemble": 1},
        },
        "forecasts": {"min_calibration_sessions": 20},
    },
)
MODEL = CONFIG.models.candidate
PURGE = CONFIG.execution.purge
LAST = date(2022, 12, 28)
CALENDAR = SessionCalendar.build("XNYS", first=date(2020, 1, 2), until=LAST, grace=timedelta(minutes=30))
EXCHANGES = Exchanges(primary=CALENDAR, others={})
SOURCE = CONFIG.bars.sources[0]
# The sample's closes are adjusted for dividends; here they pass for closes that are not, so that adjusting is done.
BASIS = "split"
# The first session a fold is tested on, where a missing purge would show, and one amid a test part.
CUTS = (date(2021, 10, 1), date(2022, 8, 17))


@dataclass(frozen=True, eq=False)
class Flow:
    """The stages over one answer of the source and one universe, each made when it is first looked at.

    Args:
        fetched: `FETCHED_COLUMNS`.
        actions: `ACTION_COLUMNS`.
        universe: a frame of `UNIVERSE`.
        last: last session that returns are wanted of.
    """

    fetched: pl.DataFrame
    actions: pl.DataFrame
    universe: pl.DataFrame
    last: date = LAST

    @cached_property
    def judged(self) -> Judged:
        told = answered(self.fetched)
        return judge_sessions(
            rules_stage.judge_rows(
                told,
                source=SOURCE,
                basis=BASIS,
                actions=self.actions,
                before=told.clear().select(*FETCHED_COLUMNS),
                exchange_of=exchange_of(self.universe),
                exchanges=EXCHANGES,
                now=CALENDAR.available_at(LAST),
                config=CONFIG.bars.rules,
            ),
            source=SOURCE,
            config=CONFIG.bars.rules,
        )

    @cached_property
    def history(self) -> pl.DataFrame:
        return new_revisions(
            MARKET_BARS.empty(),
            self.judged.good,
            source=SOURCE,
            basis=BASIS,
            exchanges=EXCHANGES,
            exchange_of=exchange_of(self.universe),
            run_id="",
        )

    @property
    def bars(self) -> pl.DataFrame:
        return latest(self.history)

    @cached_property
    def corporate_actions(self) -> pl.DataFrame:
        asked = self.universe.select("symbol").unique()
        added, _ = new_actions(
            CORPORATE_ACTIONS.empty(),
            answered(self.actions),
            answered(asked).with_columns(first=CONFIG.bars.from_session, last=LAST),
            MARKET_BARS.empty(),
            source=SOURCE,
            exchanges=EXCHANGES,
            exchange_of=exchange_of(self.universe),
            run_id="",
        )
        return added

    @cached_property
    def returns(self) -> pl.DataFrame:
        return returns_stage.returns_of(
            self.history,
            self.corporate_actions,
            universe=self.universe,
            exchanges=EXCHANGES,
            sources=CONFIG.bars.sources,
            sessions=CALENDAR.between(CONFIG.bars.from_session, self.last),
            symbols=sorted(self.universe["symbol"].unique()),
            fill=CONFIG.execution.fill,
            config=CONFIG.bars,
        )

    @cached_property
    def sessions(self) -> tuple[date, ...]:
        days = sorted(self.returns["session"].unique())
        return CALENDAR.between(days[0], days[-1])

    @property
    def symbols(self) -> tuple[str, ...]:
        return universe_stage.symbols_of(self.universe, "core")

    def panel(self, name: str) -> np.ndarray:
        return to_panel(self.returns, name, sessions=self.sessions, symbols=self.symbols)

    @cached_property
    def neighbours(self) -> Neighbours:
        return correlation.measured_neighbours(self.panel("close_return"), config=CONFIG.graphs)

    @cached_property
    def graph(self) -> pl.DataFrame:
        return graph_frame(self.neighbours, self.sessions, self.symbols)

    @property
    def statistics(self) -> pl.DataFrame:
        return graph_statistics(self.neighbours, returns_TxN=self.panel("close_return"), sessions=self.sessions)

    @cached_property
    def data(self) -> Dataset:
        axes = {"sessions": self.sessions, "symbols": self.symbols}
        close_return_TxN = self.panel("close_return")
        return build_dataset(
            # The source has closes only: a field that begins with the garbage would bring groups of features with it.
            Bars.of(close_return_TxN, {"close": to_panel(self.bars, "close", **axes)}, **axes),
            Graph.of(
                close_return_TxN,
                graph_arrays(self.graph, **axes, k=CONFIG.graphs.k),
                sessions=self.sessions,
                factors=CONFIG.graphs.factors,
            ),
            self.panel("fill_return"),
            recipe=Recipe.of(CONFIG),
        )

    @property
    def features(self) -> np.ndarray:
        return self.data.features(range(len(self.sessions)))

    @cached_property
    def folds(self) -> tuple[Fold, ...]:
        return candidate_stage.candidate_folds(self.data, config=CONFIG.models, purge=PURGE)

    @cached_property
    def candidate(self) -> candidate_stage.Candidate:
        return candidate_stage.train_candidate(
            self.data, folds=self.folds, config=CONFIG.models, purge=PURGE, progress=lambda *_: None
        )

    @property
    def trained(self) -> pl.DataFrame:
        """What each fold's training came to, dated by the first session it is judged on."""
        rows = [
            (date.fromisoformat(told["test"][0]), part, canonical_json({**told, "test": None}), self._bytes_of(part))
            for part, told in self.candidate.facts["parts"].items()
            if told["test"] is not None
        ]
        return pl.DataFrame(rows, schema=["session", "part", "facts", "arrays"], orient="row")

    @cached_property
    def predictions(self) -> pl.DataFrame:
        return candidate_stage.predict_out_of_sample(
            self.candidate.parts.__getitem__,
            self.data,
            folds=self.folds,
            facts=self.candidate.facts,
            config=CONFIG.models,
            version="",
        )

    @cached_property
    def portfolios(self) -> pl.DataFrame:
        return portfolio_returns(
            self.predictions,
            self.returns,
            sessions=self.sessions,
            symbols=self.predictions["symbol"].unique().sort().to_list(),
            execution=CONFIG.execution,
            config=CONFIG.backtests,
        )

    def forecasts(self, at: date) -> pl.DataFrame:
        """Forecasts, with their calibration, of sessions of every fold up to `at`."""
        served = publish.Served(
            version="",
            model=MODEL,
            verdict="",
            facts={**self.candidate.facts, "data_end": self.sessions[-1].isoformat()},
            load_part=self.candidate.parts.__getitem__,
            predictions=self.predictions.filter(pl.col("model") == MODEL),
        )
        fill_returns = self.panel("fill_return")
        calibrated = self.folds[0].test[0] + CONFIG.forecasts.min_calibration_sessions + PURGE
        sessions = self.sessions[calibrated : self.sessions.index(at) + 1]
        frames = []
        for session in sorted({*sessions[::20], *sessions[-PURGE - 1 :]}):
            made = publish.forecast_session(
                session,
                served=served,
                market=publish.Market(
                    data=self.data, fill_returns_TxN=fill_returns, sources=sources_on(session, self.returns)
                ),
                calendar=CALENDAR,
                config=CONFIG,
                status="ok",
                degraded=False,
            )
            frames.append(made.rows.with_columns(calibration=pl.lit(canonical_json(asdict(made.calibration)))))
        return pl.concat(frames)

    def _bytes_of(self, part: str) -> str:
        arrays = self.candidate.parts.get(part, {})
        return sha256_hex(b"".join(name.encode() + arrays[name].tobytes() for name in sorted(arrays)))


def answered(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of one answer, asked for when everything was over."""
    return rows.with_columns(
        fetched_at=pl.lit(CALENDAR.available_at(LAST), dtype=MOMENT), payload_hash=pl.lit("payload")
    )


def outcome_known(at: date) -> date:
    """The last session whose outcome is known at the close of `at`."""
    return CALENDAR.offset(at, -PURGE)


def known_labels(flow: Flow, at: date) -> np.ndarray:
    labels = flow.data.labels_TxN.copy()
    labels[flow.sessions.index(outcome_known(at)) + 1 :] = np.nan
    return labels


# What may be looked at of a flow at the close of a session, in the order of the flow.
STAGES: dict[str, Callable[[Flow, date], pl.DataFrame | np.ndarray]] = {
    "bars": lambda flow, _: flow.bars,
    "quarantine": lambda flow, _: flow.judged.refused,
    "actions": lambda flow, _: flow.corporate_actions,
    "returns": lambda flow, _: flow.returns,
    "graph": lambda flow, _: flow.graph,
    "statistics": lambda flow, _: flow.statistics,
    "features": lambda flow, _: flow.features,
    "mask": lambda flow, _: flow.data.mask_TxN,
    "neighbours": lambda flow, _: flow.data.graph.neighbours_TxNxK,
    "correlations": lambda flow, _: flow.data.graph.corr_TxNxK,
    "residuals": lambda flow, _: flow.data.graph.residual_TxN,
    "directions": lambda flow, _: flow.data.basis(range(len(flow.sessions))),
    "labels": known_labels,
    "folds": lambda flow, _: flow.trained,
    "predictions": lambda flow, _: flow.predictions,
    "portfolios": lambda flow, _: flow.portfolios.drop("ic", "rank_ic"),
    "ic": lambda flow, at: flow.portfolios.filter(pl.col("session") <= outcome_known(at)),
    "forecasts": lambda flow, at: flow.forecasts(at),
}


def assert_equal_up_to(at: date, truth: Flow, other: Flow) -> None:
    """Fails at the first stage that says anything else about a session up to `at`."""
    # Where the data end it is the refit that scores, not the fold: another forecast, and rightly so.
    forecast = at if other.last > at else CALENDAR.offset(at, -1)
    for stage, look in STAGES.items():
        upto = forecast if stage == "forecasts" else at
        changed = first_change(look(truth, upto), look(other, upto), upto, truth.sessions.index(upto) + 1)
        session = truth.sessions[changed] if isinstance(changed, int) else changed
        assert changed is None, f"look-ahead: {stage} of {session} changed with what came after {at}"


def as_it_was() -> Flow:
    universe = universe_stage.read_universe(CONFIG.universe.file)
    fetched = _sample(tuple(universe["symbol"]))
    return Flow(fetched, _dividends(fetched, share=0.05, seed=1), universe)


def with_garbage_after(at: date, *, seed: int) -> Flow:
    """Every price, volume, dividend and membership after `at` is nonsense; half the names lose most of their bars.

    Names alternate: prices that are wild but pass the rules of a row, so that they reach every later stage, and prices
    that are absent, nought, negative or beyond any number, some of them told twice and some on a Saturday.
    """
    rng = np.random.default_rng(seed)
    flow = as_it_was()
    later = pl.col("session") > at
    wild = pl.col("symbol").is_in(flow.symbols[::2])
    noise = {name: nonsense(flow.fetched.height, rng) for name in VALUES}
    noise["close"][rng.random(flow.fetched.height) < 0.05] = np.inf
    whole = pl.Series(rng.lognormal(sigma=3, size=flow.fetched.height))
    broken = flow.fetched.with_columns(
        pl.when(later & ~wild).then(pl.Series(values)).otherwise(name).alias(name) for name, values in noise.items()
    )
    fetched = broken.with_columns(
        close=pl.when(later & wild).then(whole).otherwise("close"),
        volume=pl.when(later & wild).then(0.0).otherwise("volume"),
    )
    again = fetched.filter(later & ~wild).gather_every(7)
    doubled = again.with_columns(volume=pl.when(pl.int_range(pl.len()) % 2 == 0).then(1.0).otherwise("volume"))
    saturdays = fetched.filter(later & (pl.col("session").dt.weekday() == 5)).with_columns(
        pl.col("session") + timedelta(days=1)
    )
    actions = pl.concat([flow.actions.filter(~later), _dividends(fetched.filter(later), share=0.5, seed=seed)])
    return Flow(pl.concat([fetched, doubled, saturdays]), actions, _churned(flow.universe, at))


def with_nothing_after(at: date) -> Flow:
    flow, known = as_it_was(), pl.col("session") <= at
    return Flow(flow.fetched.filter(known), flow.actions.filter(known), flow.universe, last=at)


def _sample(symbols: tuple[str, ...]) -> pl.DataFrame:
    access = Access(
        config=CONFIG,
        keys={},
        guard=lambda send: send(),
        exchanges=EXCHANGES,
        now=lambda: CALENDAR.available_at(LAST),
        home=Path(),
        scratch=Path(),
    )
    return sample.open_source(access).fetch(Ask(symbols, "XNYS", CONFIG.bars.from_session, LAST)).bars


def _dividends(fetched: pl.DataFrame, *, share: float, seed: int) -> pl.DataFrame:
    """A dividend of up to 2 % of the close on a share of the bars, whatever the close."""
    paid = fetched.filter(pl.Series(np.random.default_rng(seed).random(fetched.height) < share))
    part = pl.Series(np.random.default_rng(seed).uniform(0, 0.02, paid.height))
    return paid.select("symbol", "session", kind=pl.lit("dividend"), value=pl.col("close") * part).select(
        list(ACTION_COLUMNS)
    )


def _churned(universe: pl.DataFrame, at: date) -> pl.DataFrame:
    """Every third name leaves some sessions after `at`; half of those come back later, as something else."""
    names = universe["symbol"].to_list()
    leaves = {name: CALENDAR.offset(at, 1 + 3 * number) for number, name in enumerate(names[::3])}
    left = universe.with_columns(to_session=pl.col("symbol").replace_strict(leaves, default=None, return_dtype=pl.Date))
    back = left.filter(pl.col("to_session").is_not_null())[::2].with_columns(
        from_session=pl.col("to_session") + timedelta(days=30),
        to_session=pl.lit(None, dtype=pl.Date),
        sector=pl.lit("Garbage"),
        survivor_only=~pl.col("survivor_only"),
    )
    return UNIVERSE.conform(pl.concat([left, back]))


@pytest.fixture(scope="module", autouse=True)
def _jax_runs(tmp_path_factory):
    runtime.start(threads=CONFIG.runtime.threads, cache=tmp_path_factory.mktemp("xla"))


@cache
def truth() -> Flow:
    return as_it_was()


@cache
def garbage(at: date) -> Flow:
    return with_garbage_after(at, seed=at.toordinal())


@pytest.mark.parametrize("at", CUTS)
def test_garbage_after_a_session_changes_no_bit_up_to_it(at):
    assert_equal_up_to(at, truth(), garbage(at))


@pytest.mark.parametrize("at", CUTS)
def test_a_flow_that_ends_at_a_session_says_the_same_up_to_it(at):
    assert_equal_up_to(at, truth(), with_nothing_after(at))


def test_the_garbage_reaches_every_stage_after_the_session():
    """A comparison is worth something only where there is something to lose."""
    at, later = CUTS[0], CALENDAR.offset(CUTS[0], 2 * CONFIG.models.folds.test)
    for stage, look in STAGES.items():
        ours, theirs = look(truth(), later), look(garbage(at), later)
        if isinstance(ours, np.ndarray):
            assert ours.tobytes() != np.asarray(theirs).tobytes(), stage
        else:
            assert isinstance(theirs, pl.DataFrame)
            assert not ours.equals(theirs), stage
    refused = garbage(at).judged.refused["rule"]
    assert refused.str.starts_with(PREFIX).any()
    assert {"conflicting_key", "duplicate_key", "not_a_session", "not_finite", "price_negative"} <= set(refused)
    kept = garbage(at).bars.filter(pl.col("session") > at)["session"].n_unique()
    assert kept > len(CALENDAR.between(at, LAST)) / 2, "most sessions must not be refused whole"


def test_a_name_that_joins_later_changes_scores_by_the_rounding_of_a_wider_program_alone():
    at, flow = CUTS[0], truth()
    joined = flow.fetched.filter(pl.col("symbol") == flow.symbols[0], pl.col("session") > at)
    prices = pl.Series(np.random.default_rng(1).lognormal(size=joined.height))
    member = {
        "symbol": "NEW",
        "from_session": CALENDAR.offset(at, 1),
        "tier": "core",
        "sector": "New",
        "exchange": "XNYS",
        "priority": len(flow.universe),
    }
    other = Flow(
        pl.concat([flow.fetched, joined.with_columns(symbol=pl.lit("NEW"), close=prices)]),
        flow.actions,
        UNIVERSE.conform(
            pl.concat([flow.universe, pl.DataFrame(member, schema_overrides=dict(UNIVERSE.columns))], how="diagonal")
        ),
    )
    rows, keep = flow.sessions.index(at) + 1, [other.symbols.index(symbol) for symbol in flow.symbols]
    for stage in ("bars", "returns", "graph"):
        assert first_change(getattr(flow, stage), getattr(other, stage), at, rows) is None, stage
    for name in ("own", "linked"):
        for feature, values in getattr(flow.data, name).items():
            # Symbols stand elsewhere in the sums of a decomposition: features of its residuals keep all but last bits.
            atol = 0 if name == "own" else 1e-5
            np.testing.assert_allclose(
                getattr(other.data, name)[feature][:rows, keep], values[:rows], rtol=0, atol=atol
            )
    before, after = (
        candidate_stage.predict_sessions(
            flow.candidate.parts.__getitem__,
            each.data,
            model=MODEL,
            part=fold_part(MODEL, 0),
            sessions=range(flow.folds[0].test[0], rows),
            config=CONFIG.models,
        )
        for each in (flow, other)
    )
    np.testing.assert_allclose(after[:, keep], before, rtol=0, atol=1e-5)


# --- planted leaks, one function each: the test above must fail ----------------------------------------------------


def test_a_planted_rule_that_waits_for_the_next_bar_is_caught(monkeypatch):
    """A spike that the next bar takes back is easy to see, one session too late."""
    honest = rules_stage._jumps

    def taken_back(levels, starts, limit):
        ahead = np.append(np.abs(np.diff(levels)) > 0.5, False)
        return honest(levels, starts, limit) | (ahead & ~np.append(starts[1:], True))

    monkeypatch.setattr(rules_stage, "_jumps", taken_back)
    with pytest.raises(AssertionError, match=f"look-ahead: bars of {CUTS[0]}"):
        assert_equal_up_to(CUTS[0], as_it_was(), with_garbage_after(CUTS[0], seed=0))


def test_a_planted_adjustment_by_a_dividend_still_to_come_is_caught(monkeypatch):
    honest = returns_stage.latest_actions
    before = {after: session for session, after in pairwise(CALENDAR.sessions)}

    def early(actions, *, known_at):
        return honest(actions, known_at=known_at).with_columns(pl.col("session").replace_strict(before))

    monkeypatch.setattr(returns_stage, "latest_actions", early)
    with pytest.raises(AssertionError, match=f"look-ahead: returns of {CUTS[0]}"):
        assert_equal_up_to(CUTS[0], as_it_was(), with_garbage_after(CUTS[0], seed=0))


def test_a_planted_split_detector_that_looks_at_the_bar_after_is_caught(monkeypatch):
    honest = returns_stage.split_like

    def confirmed(bars, actions, **settings):
        far = (pl.col("close").shift(-1).over("symbol", "source") / pl.col("close")).log().abs() > 0.5
        more = bars.filter(far).select("symbol", "source", "session", ratio=pl.lit(2.0))
        return pl.concat([honest(bars, actions, **settings), more]).unique(("symbol", "source", "session"))

    monkeypatch.setattr(returns_stage, "split_like", confirmed)
    with pytest.raises(AssertionError, match=f"look-ahead: returns of {CUTS[0]}"):
        assert_equal_up_to(CUTS[0], as_it_was(), with_garbage_after(CUTS[0], seed=0))


def test_a_planted_centred_window_of_the_graph_is_caught(monkeypatch):
    honest = correlation.measured_neighbours
    ahead = CONFIG.graphs.window // 2

    def centred(returns_TxN, **settings):
        made = honest(returns_TxN, **settings)
        return Neighbours(
            made.sessions_S[:-ahead], made.dst_SxNxk[ahead:], made.corr_SxNxk[ahead:], made.overlap_SxNxk[ahead:]
        )

    monkeypatch.setattr(correlation, "measured_neighbours", centred)
    with pytest.raises(AssertionError, match="look-ahead: graph of 2021-09"):
        assert_equal_up_to(CUTS[0], as_it_was(), with_garbage_after(CUTS[0], seed=0))


def test_a_planted_normalisation_over_the_full_period_is_caught(monkeypatch):
    def over_everything(values_TxN, mask_TxN):
        there = mask_TxN & np.isfinite(values_TxN)
        inside = np.append(values_TxN[there], 0.0)
        return np.where(there, (np.where(there, values_TxN, 0.0) - inside.mean()) / max(inside.std(), 1e-12), 0.0)

    monkeypatch.setitem(build._SCALINGS, CONFIG.models.features.scaling, over_everything)
    with pytest.raises(AssertionError, match="look-ahead: features of 2020"):
        assert_equal_up_to(CUTS[0], as_it_was(), with_garbage_after(CUTS[0], seed=0))


def test_a_planted_missing_purge_is_caught(monkeypatch):
    honest = candidate_stage.walk_forward

    def unpurged(n_sessions, **settings):
        return honest(n_sessions, **{**settings, "purge": 0})

    monkeypatch.setattr(candidate_stage, "walk_forward", unpurged)
    flow = as_it_was()
    at = next(flow.sessions[fold.test[0]] for fold in flow.folds if flow.sessions[fold.test[0]] >= CUTS[0])
    with pytest.raises(AssertionError, match=f"look-ahead: folds of {at}"):
        assert_equal_up_to(at, flow, with_garbage_after(at, seed=0))


def test_a_planted_calibration_on_outcomes_still_to_come_is_caught(monkeypatch):
    honest = publish.fit_calibration

    def foreseeing(scores_TxN, fill_returns_TxN, *, sessions, session, **settings):
        later = sessions[min(sessions.index(session) + PURGE, len(sessions) - 1)]
        return honest(scores_TxN, fill_returns_TxN, sessions=sessions, session=later, **settings)

    monkeypatch.setattr(publish, "fit_calibration", foreseeing)
    with pytest.raises(AssertionError, match="look-ahead: forecasts of 2022-08"):
        assert_equal_up_to(CUTS[1], truth(), garbage(CUTS[1]))


def test_a_planted_choice_of_those_that_survived_is_caught(monkeypatch):
    honest = returns_stage.within_membership

    def survivors(rows, universe):
        alive = universe.filter(pl.col("to_session").is_null())
        return honest(rows, universe).filter(pl.col("symbol").is_in(alive["symbol"].implode()))

    monkeypatch.setattr(returns_stage, "within_membership", survivors)
    with pytest.raises(AssertionError, match="look-ahead: returns of 2020"):
        assert_equal_up_to(CUTS[0], as_it_was(), with_garbage_after(CUTS[0], seed=0))
