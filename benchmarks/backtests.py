"""Backtests at size: what a portfolio costs here, with vectorbt, with a loop in pandas and with one in numpy.

    python benchmarks/backtests.py [--peer-python PATH] [--threads 2] [--repeats 5] [--variants 1000] [--out FILE.md]

A variant is one portfolio of the best names of a made-up market, rebalanced every few sessions, with costs. Every
contender lives in a process of its own, pinned to a number of threads; a driver asks them in turn, one at a time, for
the same variant, and compares their equity before anything is timed. Times are medians. vectorbt may live in another
environment, named by its interpreter; where it is not, the others are measured alone. What each of them does is written
under the tables.
"""

# ruff: noqa: D102 (what a contender's methods do is said once, in `Contender`)

import argparse
import os
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import product
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.contenders import (
    Process,
    command,
    in_turn,
    machine,
    ms,
    pinned,
    processes,
    publish,
    serve,
    table,
    versions,
)

# The project's own modules are imported where they are used: vectorbt's environment has none of them.

SEED = 19970701
HELD = 50
EVERY = 5  # sessions between two rebalances
COST = 3.5e-4  # of each side of a trade
PERSISTENCE = 0.95  # of a score from one session to the next
VOLATILITY = 0.02  # of a session's return
TOLERANCE = 1e-6  # of equity, relative
# A sweep: names held, sessions between rebalances, hysteresis, cost in basis points; as many as asked for, from the left.
GRID = (range(5, 105, 10), (1, 2, 5, 10, 21), (0.0, 0.2, 0.5, 1.0), (0.0, 1.0, 3.5, 10.0, 30.0))

OURS, PANDAS, NUMPY, VECTORBT = "gnn_assets", "pandas loop", "numpy loop", "vectorbt"
_SWEEP = f"{OURS}, of a sweep"
Arrays = Mapping[str, np.ndarray]

_NOTES = f"""\
All hold the {HELD} highest scores in equal parts, from the fill a session after the score, and let weights drift until
the next rebalance.

* {OURS}: `backtests.engine.simulate`, from scores to every book it keeps (returns, costs by kind, exposure, names held);
  ranking is timed with it. The sweep is `backtests.engine.sweep`: ranks once, variants side by side in threads.
* {PANDAS}: shares and cash in `pandas.Series`, session by session, as one would write it first. It is the reference
  the others' equity is compared with.
* {NUMPY}: weights as one dense array, session by session.
* {VECTORBT}: `Portfolio.from_orders`, `size_type="targetpercent"`, cash shared by all names, sales before purchases
  (`call_seq="auto"`). Its target weights are made beforehand and not timed. It pays costs out of cash, order by order,
  where the others take them off the whole portfolio; so its equity is compared without costs, and timed with them.
"""


def market(n_sessions: int, n_names: int) -> dict[str, np.ndarray]:
    """Scores and log returns; the same for the same arguments."""
    rng = np.random.default_rng([SEED, n_names])
    scores_TxN = rng.standard_normal((n_sessions, n_names))
    for t in range(1, n_sessions):
        scores_TxN[t] = PERSISTENCE * scores_TxN[t - 1] + np.sqrt(1 - PERSISTENCE**2) * scores_TxN[t]
    return {"scores_TxN": scores_TxN, "returns_TxN": rng.normal(0.0003, VOLATILITY, (n_sessions, n_names))}


def best(scores_N: np.ndarray) -> np.ndarray:
    """Columns of the highest scores."""
    return np.argsort(-scores_N, kind="stable")[:HELD]


class Contender(ABC):
    """One way to backtest. Public methods are what the driver may ask for.

    Args:
        arrays: the market.
        threads: how many it may use; the libraries' own settings are in the environment already.
    """

    def __init__(self, arrays: Arrays, threads: int) -> None:
        self.scores_TxN, self.returns_TxN = arrays["scores_TxN"], arrays["returns_TxN"]
        self.threads = threads

    @abstractmethod
    def equity(self, *, cost: float) -> np.ndarray:
        """Value of the portfolio after each session, 1 before the first (T,)."""

    def answer(self, *, cost: float, out: str) -> None:
        """Writes the equity to a file."""
        np.save(out, self.equity(cost=cost))

    def seconds(self) -> float:
        """Wall seconds of one variant."""
        start = perf_counter()
        self.equity(cost=COST)
        return perf_counter() - start


class Ours(Contender):
    """This project's engine."""

    def _variant(self, *, held: int = HELD, every: int = EVERY, hysteresis: float = 0.0, cost: float = COST) -> Any:
        from gnn_assets.backtests.engine import Variant
        from gnn_assets.core.config import build_config

        config = self._config = getattr(self, "_config", None) or build_config("sample")
        free = {"half_spread_bps": 0.0, "slippage_bps": 0.0, "commission_bps": cost * 1e4}
        changed = {"held": held, "rebalance_sessions": every, "hysteresis": hysteresis}
        return Variant(
            config.execution.model_copy(update={"fill": "close_next", **free}),
            config.backtests.model_copy(update={"strategy": "top_k", **changed}),
        )

    def equity(self, *, cost: float) -> np.ndarray:
        from gnn_assets.backtests.engine import simulate

        execution, config = self._variant(cost=cost)
        return np.cumprod(1 + simulate(self.scores_TxN, self.returns_TxN, execution=execution, config=config).net_T)

    def sweep(self, *, variants: int) -> float:
        """Wall seconds of a sweep, ranks included."""
        from gnn_assets.backtests.engine import sweep

        chosen = [
            self._variant(held=held, every=every, hysteresis=hysteresis, cost=bps * 1e-4)
            for held, every, hysteresis, bps in grid(variants)
        ]
        start = perf_counter()
        sweep(self.scores_TxN, self.returns_TxN, chosen, threads=self.threads)
        return perf_counter() - start


class PandasLoop(Contender):
    """Shares and cash, session by session: the reference."""

    def equity(self, *, cost: float) -> np.ndarray:
        import pandas as pd

        prices = pd.DataFrame(np.exp(np.cumsum(self.returns_TxN, axis=0)))
        scores = pd.DataFrame(self.scores_TxN)
        shares, cash = pd.Series(0.0, index=prices.columns), 1.0
        equity = []
        for t in range(len(prices)):
            price = prices.iloc[t]
            worth = cash + float((shares * price).sum())
            if t > 0 and (t - 1) % EVERY == 0:
                chosen = scores.iloc[t - 1].sort_values(ascending=False, kind="stable").index[:HELD]
                target = pd.Series(0.0, index=prices.columns)
                target[chosen] = worth / HELD
                paid = float((target - shares * price).abs().sum()) * cost
                target *= 1 - paid / worth
                shares, worth = target / price, worth - paid
                cash = worth - float(target.sum())
            equity.append(worth)
        return np.array(equity)


class NumpyLoop(Contender):
    """Dense weights, session by session."""

    def equity(self, *, cost: float) -> np.ndarray:
        simple_TxN = np.expm1(self.returns_TxN)
        weights_N, worth = np.zeros(simple_TxN.shape[1]), 1.0
        equity_T = np.empty(len(simple_TxN))
        for t, simple_N in enumerate(simple_TxN):
            gross = weights_N @ simple_N
            worth *= 1 + gross
            weights_N = weights_N * (1 + simple_N) / (1 + gross)
            if t > 0 and (t - 1) % EVERY == 0:
                target_N = np.zeros(len(weights_N))
                target_N[best(self.scores_TxN[t - 1])] = 1 / HELD
                worth *= 1 - cost * np.abs(target_N - weights_N).sum()
                weights_N = target_N
            equity_T[t] = worth
        return equity_T


class Vectorbt(Contender):
    """vectorbt, from orders."""

    def __init__(self, arrays: Arrays, threads: int) -> None:
        import pandas as pd

        super().__init__(arrays, threads)
        self._prices = pd.DataFrame(np.exp(np.cumsum(self.returns_TxN, axis=0)))
        weights_TxN = np.full(self.returns_TxN.shape, np.nan)
        for t in range(1, len(weights_TxN), EVERY):
            weights_TxN[t] = 0.0
            weights_TxN[t, best(self.scores_TxN[t - 1])] = 1 / HELD
        self._weights = pd.DataFrame(weights_TxN)

    def equity(self, *, cost: float) -> np.ndarray:
        import vectorbt

        portfolio = vectorbt.Portfolio.from_orders(
            self._prices,
            size=self._weights,
            size_type="targetpercent",
            fees=cost,
            init_cash=1.0,
            cash_sharing=True,
            group_by=True,
            call_seq="auto",
            freq="1D",
        )
        return portfolio.value().to_numpy()


CONTENDERS = {OURS: Ours, VECTORBT: Vectorbt, PANDAS: PandasLoop, NUMPY: NumpyLoop}


def grid(variants: int) -> list[tuple[int, int, float, float]]:
    """The first variants of a sweep: names held, sessions between rebalances, hysteresis, cost (basis points)."""
    whole = list(product(*GRID))
    if variants > len(whole):
        raise ValueError(f"--variants: expected at most {len(whole)}, was {variants}.")
    # Spread over the grid, so that a small sweep holds as many names on average as the whole.
    return [whole[at * len(whole) // variants] for at in range(variants)]


def _asked(name: str, arrays: Path, threads: int) -> Callable[..., Any]:
    """What a contender is asked by, over the market of a file."""
    with np.load(arrays) as loaded:
        contender = CONTENDERS[name](dict(loaded), threads)
    return lambda work, **settings: getattr(contender, work)(**settings)


def difference(equity_T: np.ndarray, truth_T: np.ndarray) -> float:
    """Largest difference of two equities, relative; infinite if they are not of the same sessions."""
    if equity_T.shape != truth_T.shape:
        return float("inf")
    # numpy's largest: Python's own passes over a NaN.
    return float(np.max(np.abs(equity_T / truth_T - 1)))


@dataclass(frozen=True)
class Result:
    """What was measured.

    Args:
        seconds: contender → median seconds of one variant.
        sweep: median seconds of a sweep.
        free: contender → largest difference of its equity from the reference's, without costs.
        paying: the same with costs.
        peer: vectorbt and its version, or None where there was none.
        loads: of the machine, before and after.
    """

    seconds: Mapping[str, float]
    sweep: float
    free: Mapping[str, float]
    paying: Mapping[str, float]
    peer: str | None
    loads: tuple[float, float]


def run(arguments: argparse.Namespace) -> Result:
    """Asks every contender in turn, as often as wanted."""
    before = os.getloadavg()[0]
    peer = versions(arguments.peer_python, "vectorbt")
    names = [name for name in CONTENDERS if peer or name != VECTORBT]
    with tempfile.TemporaryDirectory() as folder:
        arrays = Path(folder) / "market.npz"
        np.savez(arrays, **market(arguments.sessions, arguments.names))
        interpreters = {VECTORBT: arguments.peer_python}
        commands = {
            name: command(
                __file__,
                name,
                interpreter=interpreters.get(name, sys.executable),
                arrays=arrays,
                threads=arguments.threads,
            )
            for name in names
        }
        with processes(commands, pinned(arguments.threads)) as asked:
            free, paying = (_differences(asked, Path(folder), cost=cost) for cost in (0.0, COST))
            _hold(free, paying)
            asks = {name: partial(process.ask, "seconds") for name, process in asked.items()}
            asks[_SWEEP] = partial(asked[OURS].ask, "sweep", variants=arguments.variants)
            seconds = {name: median(told) for name, told in in_turn(asks, arguments.repeats).items()}
    sweep = seconds.pop(_SWEEP)
    return Result(seconds, sweep, free, paying, peer, (before, os.getloadavg()[0]))


def _differences(asked: Mapping[str, Process], folder: Path, *, cost: float) -> dict[str, float]:
    equities = {}
    for name, process in asked.items():
        out = folder / "equity.npy"
        process.ask("answer", cost=cost, out=str(out))  # also compiles, where it is compiled
        equities[name] = np.load(out)
    return {name: difference(equity_T, equities[PANDAS]) for name, equity_T in equities.items() if name != PANDAS}


def _hold(free: Mapping[str, float], paying: Mapping[str, float]) -> None:
    """Ends the run if anybody's equity is another: vectorbt's with costs excepted, which it pays in another way."""
    found = {**{f"{name} without costs": each for name, each in free.items()}}
    found |= {f"{name} with costs": each for name, each in paying.items() if name != VECTORBT}
    for what, apart in found.items():
        if not apart <= TOLERANCE:
            raise RuntimeError(f"{what}: expected the equity of {PANDAS} within {TOLERANCE}, was {apart:.1g} away.")


def report(result: Result, arguments: argparse.Namespace) -> str:
    """The tables and what stands behind them, as Markdown."""
    installed = ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "pandas"))
    how = (
        f"One portfolio of {HELD} of N = {arguments.names} names over T = {arguments.sessions} sessions, rebalanced every "
        f"{EVERY}, {COST * 1e4:g} basis points a side. Medians of {arguments.repeats} repeats, contenders asked in turn, "
        f"each in a process of its own with {arguments.threads} threads. {machine(result.loads)}, {installed}, "
        f"{result.peer or 'no vectorbt'}."
    )
    each = result.sweep / arguments.variants
    rows = [
        [name, ms(took), f"{took / result.seconds[OURS]:.1f}×", f"{took / each:.0f}×", *_apart(result, name)]
        for name, took in result.seconds.items()
    ]
    rows.append([_SWEEP, ms(each), f"{each / result.seconds[OURS]:.3f}×", "1×", "", ""])
    header = ["contender", "ms a variant", f"times {OURS}", "times a sweep's", "equity apart, no costs", "with costs"]
    swept = f"A sweep of {arguments.variants} variants took {result.sweep:.2f} s."
    parts = ["# Backtests at size", how, "\n".join(table(header, rows)), swept]
    if result.peer is None:
        parts.append(f"vectorbt was not found by `{arguments.peer_python}`: the others were measured alone.")
    return "\n\n".join([*parts, _NOTES])


def _apart(result: Result, name: str) -> list[str]:
    return [f"{apart[name]:.0e}" if name in apart else "" for apart in (result.free, result.paying)]


def main() -> None:
    """Runs the benchmark, or one contender of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=int, default=1000)
    parser.add_argument("--sessions", type=int, default=2520)
    parser.add_argument("--variants", type=int, default=1000, help="portfolios of the sweep")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has vectorbt")
    parser.add_argument("--out", type=Path, help="write the tables to this Markdown file")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--arrays", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        serve(partial(_asked, arguments.contender, arguments.arrays, arguments.threads))
        return
    publish(report(run(arguments), arguments), arguments.out)


if __name__ == "__main__":
    main()
