"""Measures the alarms of graph drift, on markets without change, with planted changes and on the sample.

    python docs/make_graph_drift.py docs/results/YYYY-MM-DD-graph-drift.md

Everything is seeded; only the versions of the libraries and the seconds depend on the machine.
"""
# ruff: noqa: INP001, T201 - a script, not a package

import platform as machine
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import dagster as dg
import numpy as np
import polars as pl
from scipy import stats

from gnn_assets.core.config import GraphsConfig, build_config
from gnn_assets.core.settings import Settings
from gnn_assets.defs import bars
from gnn_assets.defs import drift as drift_asset
from gnn_assets.defs.io import stage_asset
from gnn_assets.defs.market import panel_of
from gnn_assets.defs.resources import Platform
from gnn_assets.graphs import drift_null
from gnn_assets.graphs.drift import drift_limit, open_episodes
from gnn_assets.graphs.drift_null import distances, rolling_correlations
from gnn_assets.graphs.drift_table import alarms_by_year, graph_drift
from gnn_assets.graphs.schema import GRAPH_DRIFT

SAMPLE = build_config("sample").graphs
HISTORY, YEARS, YEAR = 1008, 10, 252
N_SYMBOLS, N_SECTORS = 20, 5
MARKET, SECTOR = 0.30, 0.15  # correlation of any two, and what a shared sector adds
WORLDS, POWER_WORLDS, CHANGES = 30, 10, 6
BLOCKS = (10, 21, 63)
POWER_NULLS = ("t with 5 degrees", "t, one GARCH for all")
RATES = (1, 5, 20)  # years
WATCHED = (60, 120, 240)  # sessions after a change

Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]


def frobenius(now_PxS: np.ndarray, reference_PxS: np.ndarray) -> np.ndarray:
    """The one in use."""
    return distances(now_PxS, reference_PxS)


def mean_absolute(now_PxS: np.ndarray, reference_PxS: np.ndarray) -> np.ndarray:
    """Münnix et al. 2012."""
    return np.abs(now_PxS - reference_PxS).mean(axis=0)


def fisher_z(now_PxS: np.ndarray, reference_PxS: np.ndarray) -> np.ndarray:
    """Root mean square difference of Fisher's z."""
    return np.sqrt(((np.arctanh(now_PxS) - np.arctanh(reference_PxS)) ** 2).mean(axis=0))


def largest_z(now_PxS: np.ndarray, reference_PxS: np.ndarray) -> np.ndarray:
    """Largest difference of Fisher's z."""
    return np.abs(np.arctanh(now_PxS) - np.arctanh(reference_PxS)).max(axis=0)


def one_minus_cosine(now_PxS: np.ndarray, reference_PxS: np.ndarray) -> np.ndarray:
    """Herdin et al. 2005: one minus the cosine between the two matrices, diagonals included."""
    inner, own, other = (
        N_SYMBOLS + 2 * (first * second).sum(axis=0)
        for first, second in ((now_PxS, reference_PxS), (now_PxS, now_PxS), (reference_PxS, reference_PxS))
    )
    return 1 - inner / np.sqrt(own * other)


DISTANCES: Mapping[str, Distance] = {
    "root mean square (in use)": frobenius,
    "mean absolute": mean_absolute,
    "root mean square of Fisher's z": fisher_z,
    "largest Fisher's z": largest_z,
    "one minus cosine": one_minus_cosine,
}


def correlation(*, market: float = MARKET, sector: float = SECTOR, sectors: np.ndarray | None = None) -> np.ndarray:
    """Correlations of symbols in equal sectors."""
    sectors = np.arange(N_SYMBOLS) % N_SECTORS if sectors is None else sectors
    corr = np.full((N_SYMBOLS, N_SYMBOLS), market) + sector * (sectors[:, None] == sectors)
    np.fill_diagonal(corr, 1.0)
    return corr


def decoupled() -> np.ndarray:
    """The first sector goes its own way."""
    corr = correlation()
    left = np.arange(N_SYMBOLS) % N_SECTORS == 0
    corr[left[:, None] != left] = 0.0
    return corr


def garch(length: int, rng: np.random.Generator, *, n_series: int) -> np.ndarray:
    """Volatilities (length, n_series) of GARCH(1, 1) with alpha 0.08 and beta 0.91, variance 1 on average."""
    alpha, beta = 0.08, 0.91
    squares = rng.standard_normal((length, n_series)) ** 2
    variance = np.ones((length, n_series))
    for row in range(1, length):
        variance[row] = 1 - alpha - beta + (alpha * squares[row - 1] + beta) * variance[row - 1]
    return np.sqrt(variance)


def draw(corr: np.ndarray, length: int, rng: np.random.Generator, *, tails: bool, volatility: str) -> np.ndarray:
    """Returns with a constant conditional correlation (Bollerslev 1990).

    Args:
        corr: the correlations.
        length: sessions.
        rng: randomness.
        tails: whether a session's returns are multivariate t with 5 degrees of freedom rather than normal.
        volatility: `constant`; `common`: one GARCH for all; `own`: one GARCH for each.
    """
    returns = rng.standard_normal((length, len(corr))) @ np.linalg.cholesky(corr).T
    if tails:
        returns /= np.sqrt(rng.chisquare(5, size=(length, 1)) / 5)
    if volatility != "constant":
        returns *= garch(length, rng, n_series=1 if volatility == "common" else len(corr))
    return returns


NULLS = {
    "normal": {"tails": False, "volatility": "constant"},
    "t with 5 degrees": {"tails": True, "volatility": "constant"},
    "one GARCH for all": {"tails": False, "volatility": "common"},
    "t, one GARCH for all": {"tails": True, "volatility": "common"},
    "t, a GARCH for each": {"tails": True, "volatility": "own"},
}


@dataclass(frozen=True)
class Watched:
    """What came of watching markets: episodes a year of each, and the share of sessions above the limit."""

    rates: list[float]
    shares: list[float]

    def cells(self) -> tuple[str, ...]:
        """Mean, interval of the mean, and share, for a table."""
        mean = float(np.mean(self.rates))
        reach = stats.t.ppf(0.975, len(self.rates) - 1) * stats.sem(self.rates)
        return f"{mean:.2f}", f"{mean - reach:.2f} to {mean + reach:.2f}", f"{100 * np.mean(self.shares):.1f} %"


def statistic_of(returns_TxN: np.ndarray, *, distance: Distance = frobenius) -> np.ndarray:
    """The statistic of every session that has both graphs."""
    corr_PxS = rolling_correlations(returns_TxN, window=SAMPLE.window, min_overlap=SAMPLE.min_overlap)
    lag = SAMPLE.drift.reference_windows * SAMPLE.window
    return distance(corr_PxS[:, lag:], corr_PxS[:, :-lag])


def settings(**changed: object) -> GraphsConfig:
    """The sample's settings with some of drift's changed."""
    return SAMPLE.model_copy(update={"drift": SAMPLE.drift.model_copy(update=changed)})


def watch(paths: Iterable[tuple[float, np.ndarray]]) -> Watched:
    """Counts episodes of limit and returns."""
    watched = Watched([], [])
    for limit, returns in paths:
        above = statistic_of(returns) > limit
        episodes = set(open_episodes(above, quiet_sessions=SAMPLE.drift.quiet_sessions)) - {-1}
        watched.rates.append(len(episodes) / len(above) * YEAR)
        watched.shares.append(float(above.mean()))
    return watched


def quiet_worlds(name: str, *, block: int) -> Iterator[tuple[float, np.ndarray]]:
    """Limits from four years of a market, and the ten years of it that follow."""
    for world in range(WORLDS):
        rng = np.random.default_rng([1, world])
        returns = draw(correlation(), HISTORY + YEARS * YEAR, rng, **NULLS[name])
        yield drift_limit(returns[:HISTORY], config=settings(block=block, seed=world)), returns[HISTORY:]


def redrawn_sample(returns: np.ndarray, *, block: int) -> Iterator[tuple[float, np.ndarray]]:
    """One limit from the sample's history, and its sessions drawn anew with another seed and mean block."""
    limit = drift_limit(returns, config=SAMPLE)
    other = settings(seed=SAMPLE.drift.seed + 1, block=block, paths=WORLDS, path_sessions=YEARS * YEAR).drift
    for rows in drift_null._drawn_rows(len(returns), YEARS * YEAR, config=other):  # noqa: SLF001
        yield limit, returns[rows]


def null_table(returns: np.ndarray) -> Iterator[str]:
    """The independent experiment."""
    yield "| market | mean block of the calibration | episodes a year | 95 % interval | sessions above the limit |"
    yield "|---|---:|---:|---:|---:|"
    own = SAMPLE.drift.block
    for name in NULLS:
        for block in BLOCKS if name == "t, one GARCH for all" else (own,):
            yield row(name, block, *watch(quiet_worlds(name, block=block)).cells())
    for block in BLOCKS:
        yield row(f"the sample, drawn in blocks of {block}", own, *watch(redrawn_sample(returns, block=block)).cells())


def changes(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """What a market may change into."""
    return {
        "any two +0.10": correlation(market=MARKET + 0.1),
        "any two +0.20": correlation(market=MARKET + 0.2),
        "any two -0.20": correlation(market=MARKET - 0.2),
        "sectors reshuffled": correlation(sectors=rng.permutation(np.arange(N_SYMBOLS) % N_SECTORS)),
        "one sector decouples": decoupled(),
    }


def delays(distance: Distance) -> dict[tuple[str, str], list[float]]:
    """Null and change → sessions until the first alarm of each planted change; infinite if not within the longest."""
    found: dict[tuple[str, str], list[float]] = {}
    before = 2 * SAMPLE.window + SAMPLE.drift.quiet_sessions
    for null in POWER_NULLS:
        for world in range(POWER_WORLDS):
            rng = np.random.default_rng([2, world])
            history = draw(correlation(), HISTORY, rng, **NULLS[null])
            with mock.patch.object(drift_null, "distances", distance):
                limit = drift_limit(history, config=settings(seed=world))
            for _ in range(CHANGES):
                for change, corr in changes(rng).items():
                    quiet = draw(correlation(), before, rng, **NULLS[null])
                    after = draw(corr, max(WATCHED), rng, **NULLS[null])
                    above = statistic_of(np.vstack([quiet, after]), distance=distance)[-max(WATCHED) - 1 :] > limit
                    # An alarm that was there before the change did not find it.
                    if not above[0]:
                        hits = np.flatnonzero(above[1:]) + 1.0
                        found.setdefault((null, change), []).append(hits[0] if hits.size else np.inf)
    return found


def power_tables() -> Iterator[str]:
    """How often and how soon planted changes are found; then the other distances."""
    found = {name: delays(distance) for name, distance in DISTANCES.items()}
    own = next(iter(found.values()))
    kinds = tuple(changes(np.random.default_rng()))
    yield "| market | change | planted | " + " | ".join(f"within {n}" for n in WATCHED) + " | median sessions |"
    yield "|---|---|" + "---:|" * (len(WATCHED) + 2)
    for null in POWER_NULLS:
        for kind in kinds:
            waits = np.array(own[null, kind])
            shares = [f"{100 * np.mean(waits <= n):.0f} %" for n in WATCHED]
            yield row(null, kind, len(waits), *shares, _sessions(np.median(waits)))
    yield ""
    yield (
        f"The same with other distances, each calibrated alike, both markets together: share found within {WATCHED[1]} "
        "sessions, and median sessions."
    )
    yield ""
    yield row("distance", *kinds)
    yield "|---|" + "---:|" * len(kinds)
    for name, by_change in found.items():
        cells = []
        for kind in kinds:
            waits = np.concatenate([by_change[null, kind] for null in POWER_NULLS])
            cells.append(f"{100 * np.mean(waits <= WATCHED[1]):.0f} %, {_sessions(np.median(waits))}")
        yield row(name, *cells)


def sample_drift(home: Path) -> tuple[pl.DataFrame, np.ndarray, Sequence[date]]:
    """The asset's table on the sample, and the returns it was made from."""
    platform = Platform(settings=Settings(profile="sample", home=home), config=build_config("sample"))
    stages = (*bars.STAGES, *drift_asset.STAGES)
    dg.materialize(
        [stage_asset(stage, platform.config) for stage in stages],
        resources={"platform": platform},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    drift: pl.DataFrame = platform.lake.read(GRAPH_DRIFT)
    returns = platform.versions("returns").current()
    assert returns is not None
    panel = panel_of(platform, returns.version)
    symbols = [symbol for symbol in panel.symbols if not symbol.startswith("^")]
    values = panel.values("close_return", sessions=panel.sessions, symbols=symbols)
    return drift, values, panel.sessions


def episode_table(drift: pl.DataFrame) -> Iterator[str]:
    """Every episode, from its first alarm to its last."""
    yield "| began | last alarm | sessions above the limit | largest distance | its session | limit then |"
    yield "|---|---|---:|---:|---|---:|"
    for (began,), rows in drift.filter(pl.col("alarm")).group_by("episode", maintain_order=True):
        top = rows.sort("statistic").row(-1, named=True)
        last = rows["session"].max()
        yield row(began, last, rows.height, f"{top['statistic']:.3f}", top["session"], f"{top['limit']:.3f}")


def year_table(drift: pl.DataFrame) -> Iterator[str]:
    """Alarms by year."""
    yield "| year | sessions | above the limit | episodes begun | limit | largest distance |"
    yield "|---:|---:|---:|---:|---:|---:|"
    for year in alarms_by_year(drift).iter_rows(named=True):
        yield row(
            year["year"],
            year["sessions"],
            year["alarm_sessions"],
            year["episodes_begun"],
            f"{year['limit']:.3f}",
            f"{year['largest']:.3f}",
        )


def block_table(values: np.ndarray, sessions: Sequence[date]) -> Iterator[str]:
    """What the sample's alarms would be with other blocks."""
    yield "| mean block | episodes begun | sessions above the limit | years with an episode |"
    yield "|---:|---:|---:|---|"
    for block in BLOCKS:
        years = alarms_by_year(
            graph_drift(
                values,
                sessions=sessions,
                symbols=[str(column) for column in range(values.shape[1])],
                config=settings(block=block),
                recipe="",
                before=GRAPH_DRIFT.empty(),
            )
        )
        begun = years.filter(pl.col("episodes_begun") > 0)
        yield row(
            block,
            years["episodes_begun"].sum(),
            f"{100 * years['alarm_sessions'].sum() / years['sessions'].sum():.0f} %",
            ", ".join(str(year) for year in begun["year"]),
        )


def rarer_table(drift: pl.DataFrame, values: np.ndarray, sessions: Sequence[date]) -> Iterator[str]:
    """How rarely chance would pass the distances of the years with the largest."""
    yield "| year | " + " | ".join(f"limit, one episode in {years}" for years in RATES) + " | largest distance |"
    yield "|---:|" + "---:|" * (len(RATES) + 1)
    for year in alarms_by_year(drift).sort("largest", descending=True).head(4).sort("year").iter_rows(named=True):
        history = values[: next(number for number, day in enumerate(sessions) if day.year == year["year"])]
        limits = (drift_limit(history, config=settings(sessions_per_alarm=years * YEAR)) for years in RATES)
        yield row(year["year"], *(f"{limit:.3f}" for limit in limits), f"{year['largest']:.3f}")


def cost(values: np.ndarray, sessions: Sequence[date]) -> tuple[float, float, float]:
    """Seconds of processor time: of one limit, of the whole history, and of one more session."""
    ask = {"sessions": sessions, "symbols": [str(n) for n in range(values.shape[1])], "config": SAMPLE, "recipe": ""}
    began = time.process_time()
    drift_limit(values, config=SAMPLE)
    limit = time.process_time()
    drift = graph_drift(values, before=GRAPH_DRIFT.empty(), **ask)
    history = time.process_time()
    graph_drift(values, before=drift[:-1], **ask)
    return limit - began, history - limit, time.process_time() - history


def row(*cells: object) -> str:
    """A line of a table."""
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _sessions(median: float) -> str:
    return f"{median:.0f}" if np.isfinite(median) else f"over {max(WATCHED)}"


def parts() -> dict[str, str]:
    """What the page is made of: name → text."""
    with tempfile.TemporaryDirectory() as folder:
        drift, values, sessions = sample_drift(Path(folder))
    known = values[np.isfinite(values).any(axis=1)]
    limit, history, one = cost(values, sessions)
    return {
        "YEARS": "\n".join(year_table(drift)),
        "EPISODES": "\n".join(episode_table(drift)),
        "BLOCKS": "\n".join(block_table(values, sessions)),
        "RARER": "\n".join(rarer_table(drift, values, sessions)),
        "NULL": "\n".join(null_table(known)),
        "POWER": "\n".join(power_tables()),
        "LIMIT": f"{limit:.2f}",
        "HISTORY": f"{history:.1f}",
        "ONE": f"{one:.2f}",
        "VERSIONS": ", ".join(f"{name} {version(name)}" for name in ("numpy", "arch", "scipy", "polars")),
        "PYTHON": machine.python_version(),
    }


def page(day: str, found: Mapping[str, str]) -> str:
    """The whole page.

    Args:
        day: of the page.
        found: what `parts` gave.
    """
    text = TEXT.replace("@DATE@", day)
    for name, part in found.items():
        text = text.replace(f"@{name}@", part)
    return text


TEXT = """# @DATE@: alarms of graph drift

**Asked.** Does the limit of `graph_drift` keep the false-alarm rate it is calibrated to; how soon does it find a change
that was planted; and when did it alarm on the 20-stock sample?

**How.** `python docs/make_graph_drift.py docs/results/@DATE@-graph-drift.md`, settings of profile `sample`: windows of
120 sessions, the reference one window before, limits from 200 paths of the stationary bootstrap with a mean block of 21
sessions. The rate was fixed first: one alarm episode in 252 sessions of a market that does not change. An episode
begins with a session above the limit and ends with the 20th in a row that is not. Everything is seeded.

**On what.** Two cores of an Intel Xeon, Linux, Python @PYTHON@, @VERSIONS@.
Other heavy work stood beside it, so only processor time is told: @LIMIT@ s for one limit of 20 symbols, @HISTORY@ s for the whole history of the sample with its
eleven limits, @ONE@ s for one more session.

**What came out: the rate.** Thirty markets of 20 symbols in five sectors a line, correlation 0.30 and 0.45 inside a
sector, constant; each limit from four years, counted on the ten that follow. GARCH(1, 1) with alpha 0.08 and beta 0.91;
t with 5 degrees of freedom, one draw a session for all. The last lines draw the sample's own sessions anew with another
seed, under one limit from its whole history; their paths share that limit, so the interval leaves its own error out.

@NULL@

* The rate holds for independent sessions, with fat tails and with volatility of its own for each symbol.
* Where one volatility drives all symbols for longer than a block lasts, the limit is too wide: 0.6 to 0.9 episodes a
  year instead of one. The error is on the quiet side; longer blocks make it smaller.
* The rate is one of episodes. With fat tails an episode is long, because a wild session stays in the graph for one
  window and in the reference for another: a tenth to a quarter of all sessions lie above the limit though nothing
  changed. Being above the limit on a given day says little; the beginning of an episode is what is rare.

**What came out: planted changes.** Ten markets a line, six changes of each kind, those left out that were already
above the limit. A change comes whole, from one session to the next.

@POWER@

A change is seen once it fills a good part of the window: after three to six months, not in days. Sectors that are
reshuffled under one common volatility are missed four times in ten. The mean absolute difference and Fisher's z do as
well as the root mean square, within what a hundred changes can tell (five points); it was kept because it is the
Frobenius norm and bounded. One minus the cosine hardly sees a common rise, the largest difference alone sees less.

**What came out: the sample.** Limits are made with the first session of each year from the returns before it.

@YEARS@

Every episode, with its largest distance:

@EPISODES@

With other blocks:

@BLOCKS@

What chance passes more rarely, in the four years with the largest distances:

@RARER@

* Eleven episodes in eleven years are as many as chance explains, and a fifth of the sessions above the limit is what
  the sample's own sessions give when drawn anew. By number and by time, the alarms do not tell this history from a
  market that did not change.
* What stands out is the size of one: 2020's largest distance is beyond what chance passes once in twenty years. Those
  of 2012 and 2018 lie between once in five and once in twenty; 2021's is the rest of the episode of 2020.
* 2020 is found on 2020-03-09, thirteen sessions after the market's high of 2020-02-19, and its episode lasts a year: until
  autumn because the graph holds the crash, then because the reference does. The largest distance comes in August, when
  the one window begins with the crash and the other ends before it.
* The first episode begins with the first session that was watched: how long it had lasted is not known.

**What it does not show.** Whether an alarm is worth anything: whether a model trained after one does better. Drift
slower than two windows, which a reference that moves along follows. Markets whose correlation itself is noisy around a
constant level: to this null, that is change.
"""

if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(page(target.name[:10], parts()), encoding="utf-8")
    print(f"written: {target}")
