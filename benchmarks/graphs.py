"""Correlation graphs at size: what the neighbours of one session cost here and with plain libraries.

    python benchmarks/graphs.py [--sizes 50 500 1026 3000 --repeats 7 --threads 2] [--history BARS.parquet] [--out FILE.md]

Every contender lives in a process of its own, pinned to a number of threads, so that its peak memory is its own; a
driver asks them in turn, one at a time, for the same windows and compares their answers with float64 pandas. Times are
medians. What each of them does and leaves out is written under the tables. Linux only: peak memory is read from /proc.
"""

# ruff: noqa: D102 (what a contender's methods do is said once, in `Contender`)

import argparse
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.contenders import (
    Process,
    command,
    forget_peak,
    in_turn,
    machine,
    medians,
    memory,
    ms,
    per_session,
    pinned,
    processes,
    publish,
    serve,
    table,
)

SEED = 20171211
WINDOW = 60  # sessions
K = 20  # neighbours
MIN_ABS_CORR = 0.3
MIN_OVERLAP = 45  # sessions
MISSING = 0.01  # share of the cells
OTHER_MISSING = (0.0, 0.2)  # looked at for our kernel alone
SECTORS = 11
LEAST_SESSIONS = 10  # asked for at a time; small graphs are asked for more often
LEAST_SERIES = 10_000  # series times sessions asked for at a time
MOST_SECONDS = 1.0  # a contender that has taken longer begins no further session
BLOCK = 128  # receivers a block of the half product has, as in gnn_assets/graphs/kernel.py
SGEMM = 2048  # rows and columns
TOLERANCE = 1e-6
FIFTHS = 5
MOST_HISTORIES = 3

OURS, FLOOR = "gnn_assets", "half product alone"
BARS = Path(__file__).parents[2] / "shared" / "data" / "nasdaq_bars.parquet"
Correlation = Callable[[Any, Any, Any], Any]  # library, values (W, N), which are present: (N, N)
LIBRARIES = ("numpy", "numba", "pandas", "jax", "torch")

_NOTES = f"""\
All are handed a float64 window of {WINDOW} sessions with NaN where a return is missing, and hand back the numbers and
correlations of up to {K} neighbours a series with |r| ≥ {MIN_ABS_CORR}, strongest first, as numpy arrays.

* gnn_assets: `correlation_neighbours`, pairwise-exact: a float32 half product rules out, float64 decides. A session in
  a run of consecutive ones, each warm-started by the one before; with two threads, two sessions at once, per session.
  It alone also returns how many sessions each pair shares, breaks ties by position, gives a constant series no
  neighbours by a stated rule, and has the same bits for every number of threads and every machine.
* pandas: `DataFrame.corr(min_periods={MIN_OVERLAP})` of the window, argpartition. Pairwise-exact, float64, one thread.
* four products: counts, sums, squares and products of each pair's shared sessions as matrix products of centred
  values, then argpartition (numpy), `topk` (torch) or `lax.top_k` (jax, one jitted function). Pairwise-exact work in the
  named precision; variances are differences of sums.
* imputed: missing returns are set to the mean of their series, then `numpy.corrcoef(dtype=float32)` and argpartition,
  or a float32 product and `topk` (torch) or `lax.top_k` (jax, jitted). Other work: no minimum overlap, and other
  correlations wherever a return is missing.
* {FLOOR}: the upper half of one float32 product of ready, imputed units, {BLOCK} rows at a time, kept nowhere. No
  contender, but what a kernel that multiplies by BLAS cannot get under.

With two threads the libraries share one session among them, as they do by themselves. Peak memory is what the first
session at that size adds to what the process held before, compilation for that size included.
"""


def market(n_sessions: int, n_series: int, missing: float) -> np.ndarray:
    """Log returns (sessions, series) with a market, sectors and gaps; the same for the same arguments."""
    rng = np.random.default_rng([SEED, n_series])
    common_Tx1 = rng.standard_t(4, (n_sessions, 1))
    sector_TxG = rng.standard_t(4, (n_sessions, SECTORS))
    of_N = rng.integers(SECTORS, size=n_series)
    own_TxN = rng.standard_t(4, (n_sessions, n_series))
    loading_N, sectoral_N = rng.normal(1.0, 0.3, n_series), rng.normal(0.8, 0.3, n_series)
    returns_TxN = 0.01 * (loading_N * common_Tx1 + sectoral_N * sector_TxG[:, of_N] + 1.4 * own_TxN)
    returns_TxN[rng.random(returns_TxN.shape) < missing] = np.nan
    return returns_TxN


def real_returns(bars: Path) -> np.ndarray:
    """Log returns (sessions, symbols) between consecutive sessions of a file of bars; NaN where a close is missing."""
    import polars as pl  # here, or every contender would pay for it

    rows = pl.read_parquet(bars, columns=["symbol", "session", "close"]).with_columns(pl.col("close").cast(pl.Float64))
    closes = rows.pivot("symbol", index="session", values="close").sort("session").drop("session")
    closes_TxN = closes.to_numpy().astype(np.float64)
    closes_TxN[~(closes_TxN > 0)] = np.nan
    return np.diff(np.log(closes_TxN), axis=0)


@dataclass(frozen=True)
class Case:
    """Returns that are worked on.

    Args:
        label: what it is called in a table.
        n_series: N.
        returns: file of float64 (T, N).
        alone: whether only our kernel is asked.
    """

    label: str
    n_series: int
    returns: Path
    alone: bool = False


def _sessions_at(n_series: int) -> int:
    return max(LEAST_SESSIONS, LEAST_SERIES // n_series)


class Contender(ABC):
    """One way to find neighbours. Public methods without an underscore are what the driver may ask for.

    Args:
        threads: how many it may use; the libraries' own settings are in the environment already.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads

    @abstractmethod
    def _neighbours(self, window_WxN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers (N, k) and correlations (N, k) of the neighbours in a window; -1 and NaN where there are fewer."""

    def answer(self, returns_TxN: np.ndarray, *, out: str) -> None:
        """Writes the neighbours at the last session to a file."""
        dst_Nxk, corr_Nxk = self._neighbours(returns_TxN[-WINDOW:])
        np.savez(out, dst_Nxk=dst_Nxk, corr_Nxk=corr_Nxk)

    def times(self, returns_TxN: np.ndarray) -> dict[str, float]:
        """Seconds a session, on average over consecutive ones."""

        def work() -> int:
            began = perf_counter()
            for done in range(_sessions_at(returns_TxN.shape[1])):
                if perf_counter() - began > MOST_SECONDS:
                    return done
                self._neighbours(returns_TxN[done : done + WINDOW])
            return _sessions_at(returns_TxN.shape[1])

        return per_session(work)

    def memory(self, returns_TxN: np.ndarray) -> int:
        """Most bytes that one session adds."""
        forget_peak()
        before = memory("VmRSS")
        self._neighbours(returns_TxN[-WINDOW:])
        return memory("VmHWM") - before


class Ours(Contender):
    """This project's kernel."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        from gnn_assets.graphs.correlation import correlation_neighbours

        self._correlation_neighbours = correlation_neighbours

    def _run(self, returns_TxN: np.ndarray, rows: Sequence[int] | np.ndarray | None) -> Any:
        return self._correlation_neighbours(
            returns_TxN,
            window=WINDOW,
            k=K,
            min_abs_corr=MIN_ABS_CORR,
            min_overlap=MIN_OVERLAP,
            sessions=rows,
            threads=self.threads,
        )

    def _neighbours(self, window_WxN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = self._run(window_WxN, [WINDOW - 1])
        return found.dst_SxNxk[-1], found.corr_SxNxk[-1]

    def answer(self, returns_TxN: np.ndarray, *, out: str) -> None:
        # Warm-started, as timed.
        found = self._run(returns_TxN, range(len(returns_TxN) - 3, len(returns_TxN)))
        np.savez(out, dst_Nxk=found.dst_SxNxk[-1], corr_Nxk=found.corr_SxNxk[-1])

    def times(self, returns_TxN: np.ndarray) -> dict[str, float]:
        """Each thread begins cold; that is timed by itself and taken off."""
        stretch = _sessions_at(returns_TxN.shape[1]) + 1
        starts = [WINDOW - 1 + thread * stretch for thread in range(self.threads)]
        rows = range(WINDOW - 1, WINDOW - 1 + self.threads * stretch)

        def seconds(rows: Sequence[int]) -> dict[str, float]:
            def work() -> int:
                self._run(returns_TxN, rows)
                return 1

            return per_session(work)

        cold, whole = seconds(starts), seconds(rows)
        warm = self.threads * (stretch - 1)
        told = {clock: (whole[clock] - cold[clock]) / warm for clock in whole}
        return told | {f"cold {clock}": cold[clock] / self.threads for clock in cold}

    def history(self, returns_TxN: np.ndarray) -> dict[str, Any]:
        """Seconds of the whole history, of a session in each fifth of it, of one more session; most bytes held."""

        def seconds(rows: Sequence[int] | np.ndarray | None) -> float:
            began = perf_counter()
            self._run(returns_TxN, rows)
            return perf_counter() - began

        whole = seconds(None)
        peak = memory("VmHWM")
        fifths = np.array_split(np.arange(WINDOW - 1, len(returns_TxN)), FIFTHS)
        last = [len(returns_TxN) - 1]
        return {
            "whole": whole,
            "fifths": [seconds(rows) / len(rows) for rows in fifths],
            "one more": median(seconds(last) for _ in range(LEAST_SESSIONS)),
            "peak": peak,
        }


def _strongest(corr_NxN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The k strongest of each row by argpartition; writes into the matrix."""
    strength_NxN = np.abs(corr_NxN)
    np.nan_to_num(strength_NxN, copy=False, nan=-1.0)
    np.fill_diagonal(strength_NxN, -1.0)
    dst_Nxk = np.argpartition(strength_NxN, -K, axis=1)[:, -K:]
    order_Nxk = np.argsort(-np.take_along_axis(strength_NxN, dst_Nxk, axis=1), axis=1)
    dst_Nxk = np.take_along_axis(dst_Nxk, order_Nxk, axis=1)
    edge_Nxk = np.take_along_axis(strength_NxN, dst_Nxk, axis=1) >= MIN_ABS_CORR
    corr_Nxk = np.take_along_axis(corr_NxN, dst_Nxk, axis=1)
    return np.where(edge_Nxk, dst_Nxk, -1), np.where(edge_Nxk, corr_Nxk, np.nan)


def _four_products(library: Any, values_WxN: Any, present_WxN: Any) -> Any:
    """Pairwise-complete correlations by numpy, torch or jax, in the precision of the values; NaN where there is none."""
    values_WxN = library.where(present_WxN, values_WxN - library.nanmean(values_WxN, axis=0), 0)
    # The same precision for all three libraries.
    present_WxN = present_WxN + library.zeros_like(values_WxN)
    count_NxN = present_WxN.T @ present_WxN
    sum_NxN = values_WxN.T @ present_WxN
    square_NxN = (values_WxN * values_WxN).T @ present_WxN
    corr_NxN = values_WxN.T @ values_WxN
    # In place with numpy and torch.
    corr_NxN -= sum_NxN * sum_NxN.T / count_NxN
    sum_NxN *= sum_NxN
    sum_NxN /= count_NxN
    square_NxN -= sum_NxN
    corr_NxN /= library.sqrt(square_NxN * square_NxN.T)
    return library.where(count_NxN >= MIN_OVERLAP, corr_NxN, float("nan"))


def _imputed(library: Any, values_WxN: Any, present_WxN: Any) -> Any:
    """Correlations of mean-imputed series by torch or jax."""
    units_WxN = library.where(present_WxN, values_WxN - library.nanmean(values_WxN, axis=0), 0)
    units_WxN = units_WxN / library.sqrt((units_WxN * units_WxN).sum(axis=0))
    return units_WxN.T @ units_WxN


class Pandas(Contender):
    """Pandas over one window."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        import pandas as pd

        self._pd = pd

    def _neighbours(self, window_WxN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _strongest(self._pd.DataFrame(window_WxN).corr(min_periods=MIN_OVERLAP).to_numpy())


class Numpy(Contender):
    """Four products by numpy, in some precision."""

    def __init__(self, threads: int, *, precision: type) -> None:
        super().__init__(threads)
        self._precision = precision

    def _neighbours(self, window_WxN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values_WxN = window_WxN.astype(self._precision)
        # Pairs that share nothing and series that are constant divide by nothing, and come out as NaN.
        with np.errstate(invalid="ignore", divide="ignore"):
            return _strongest(_four_products(np, values_WxN, np.isfinite(values_WxN)))


class NumpyImputed(Contender):
    """Numpy's corrcoef of imputed series."""

    def _neighbours(self, window_WxN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        filled_WxN = np.where(np.isnan(window_WxN), np.nanmean(window_WxN, axis=0), window_WxN)
        with np.errstate(invalid="ignore", divide="ignore"):
            return _strongest(np.corrcoef(filled_WxN, rowvar=False, dtype=np.float32))


class Torch(Contender):
    """Correlations and the strongest of them by torch."""

    def __init__(self, threads: int, *, correlation: Correlation) -> None:
        super().__init__(threads)
        import torch

        torch.set_num_threads(threads)
        self._torch, self._correlation = torch, correlation

    def _neighbours(self, window_WxN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        torch = self._torch
        with torch.inference_mode():
            values_WxN = torch.from_numpy(window_WxN).to(torch.float32)
            corr_NxN = self._correlation(torch, values_WxN, torch.isfinite(values_WxN))
            strength_NxN = corr_NxN.abs().nan_to_num_(nan=-1.0).fill_diagonal_(-1.0)
            strength_Nxk, dst_Nxk = torch.topk(strength_NxN, K)
            corr_Nxk = torch.take_along_dim(corr_NxN, dst_Nxk, dim=1)
            edge_Nxk = strength_Nxk >= MIN_ABS_CORR
            return torch.where(edge_Nxk, dst_Nxk, -1).numpy(), torch.where(edge_Nxk, corr_Nxk, float("nan")).numpy()


class Jax(Contender):
    """Correlations and the strongest of them by one jitted function."""

    def __init__(self, threads: int, *, correlation: Correlation) -> None:
        super().__init__(threads)
        import jax
        import jax.numpy as jnp

        def neighbours(values_WxN: Any) -> tuple[Any, Any]:
            corr_NxN = correlation(jnp, values_WxN, jnp.isfinite(values_WxN))
            strength_NxN = jnp.nan_to_num(jnp.abs(corr_NxN), nan=-1.0)
            strength_NxN = jnp.fill_diagonal(strength_NxN, -1.0, inplace=False)
            strength_Nxk, dst_Nxk = jax.lax.top_k(strength_NxN, K)
            corr_Nxk = jnp.take_along_axis(corr_NxN, dst_Nxk, axis=1)
            edge_Nxk = strength_Nxk >= MIN_ABS_CORR
            return jnp.where(edge_Nxk, dst_Nxk, -1), jnp.where(edge_Nxk, corr_Nxk, jnp.nan)

        self._jitted = jax.jit(neighbours)

    def _neighbours(self, window_WxN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        dst_Nxk, corr_Nxk = self._jitted(window_WxN.astype(np.float32))
        return np.asarray(dst_Nxk), np.asarray(corr_Nxk)


class HalfProduct:
    """The product that our kernel takes, and nothing else; and what the machine's product reaches at its best.

    It finds no neighbours, so it is no contender: it is asked for times alone.
    """

    def times(self, returns_TxN: np.ndarray) -> dict[str, float]:
        filled_TxN = np.nan_to_num(returns_TxN).astype(np.float32)
        n_series = returns_TxN.shape[1]
        products = np.empty(BLOCK * n_series, dtype=np.float32)

        def work() -> int:
            for row in range(_sessions_at(n_series)):
                unit_WxN = filled_TxN[row : row + WINDOW]
                for first in range(0, n_series, BLOCK):
                    size = (min(BLOCK, n_series - first), n_series - first)
                    out = products[: size[0] * size[1]].reshape(size)
                    np.matmul(unit_WxN[:, first : first + BLOCK].T, unit_WxN[:, first:], out=out)
            return _sessions_at(n_series)

        return per_session(work)

    def sgemm(self, returns_TxN: np.ndarray) -> float:  # noqa: ARG002
        """CPU seconds of one large square product."""
        rng = np.random.default_rng(SEED)
        left, right = rng.random((2, SGEMM, SGEMM), dtype=np.float32)
        out = np.empty_like(left)

        def work() -> int:
            np.matmul(left, right, out=out)
            return 1

        return per_session(work)["cpu"]


_EXACT, _OTHER = "pairwise-exact", "imputed: other work"
CONTENDERS: Mapping[str, tuple[str, Callable[[int], Contender | HalfProduct]]] = {
    OURS: (_EXACT, Ours),
    "pandas": (_EXACT, Pandas),
    "numpy, four products, float64": (_EXACT, partial(Numpy, precision=np.float64)),
    "numpy, four products, float32": (_EXACT, partial(Numpy, precision=np.float32)),
    "torch, four products, float32": (_EXACT, partial(Torch, correlation=_four_products)),
    "jax, four products, float32": (_EXACT, partial(Jax, correlation=_four_products)),
    "numpy corrcoef, imputed": (_OTHER, NumpyImputed),
    "torch, imputed": (_OTHER, partial(Torch, correlation=_imputed)),
    "jax, imputed": (_OTHER, partial(Jax, correlation=_imputed)),
    FLOOR: ("no neighbours", lambda _threads: HalfProduct()),
}


def _asked(name: str, threads: int) -> Callable[..., Any]:
    """What a contender is asked by: a work, the file of the returns it is about, and settings."""
    contender = CONTENDERS[name][1](threads)
    return lambda work, *, returns, **settings: getattr(contender, work)(np.load(returns), **settings)


def _processes(names: Sequence[str], threads: int) -> AbstractContextManager[dict[str, Process]]:
    commands = {name: command(__file__, name, threads=threads) for name in names}
    eigen = {"XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}"}
    return processes(commands, pinned(threads) | eigen)


def reference(returns_TxN: np.ndarray) -> np.ndarray:
    """Float64 pandas at the last session; NaN on the diagonal."""
    import pandas as pd

    corr_NxN = pd.DataFrame(returns_TxN[-WINDOW:]).corr(min_periods=MIN_OVERLAP).to_numpy(copy=True)
    np.fill_diagonal(corr_NxN, np.nan)
    return corr_NxN


@dataclass(frozen=True)
class Judgement:
    """An answer beside float64 pandas.

    Args:
        difference: largest difference of a correlation.
        missed: share of the true neighbours that are not named; ties within 1e-6 at the last place are forgiven.
        false: neighbours named that are none, likewise.
    """

    difference: float
    missed: float
    false: int

    @property
    def agrees(self) -> bool:
        """Whether it is what is asked of our kernel."""
        return self.difference <= TOLERANCE and not self.missed and not self.false


def judge(dst_Nxk: np.ndarray, corr_Nxk: np.ndarray, reference_NxN: np.ndarray) -> Judgement:
    """Compares neighbours with the correlations of float64 pandas."""
    strength_NxN = np.nan_to_num(np.abs(reference_NxN), nan=-1.0)
    bar_N = np.maximum(np.partition(strength_NxN, -K, axis=1)[:, -K], MIN_ABS_CORR)
    edge_Nxk = dst_Nxk >= 0
    source_E, dst_E = np.nonzero(edge_Nxk)[0], dst_Nxk[edge_Nxk]
    named_NxN = np.zeros(reference_NxN.shape, dtype=bool)
    named_NxN[source_E, dst_E] = True
    missed_N = ((strength_NxN > bar_N[:, None] + TOLERANCE) & ~named_NxN).sum(axis=1)
    # A tie may be named instead of another, not left out.
    least_N = np.minimum((strength_NxN > MIN_ABS_CORR + TOLERANCE).sum(axis=1), K)
    missed_N = np.maximum(missed_N, least_N - edge_Nxk.sum(axis=1))
    false_E = strength_NxN[source_E, dst_E] < bar_N[source_E] - TOLERANCE
    differences_E = np.abs(corr_Nxk[edge_Nxk] - reference_NxN[source_E, dst_E])
    return Judgement(
        # A pair that has no correlation at all counts among the false.
        difference=float(np.nanmax(differences_E, initial=0.0)),
        missed=float(missed_N.sum() / max((strength_NxN >= bar_N[:, None]).sum(), 1)),
        false=int(false_E.sum()),
    )


@dataclass(frozen=True)
class Result:
    """What was measured.

    Args:
        cases: what was worked on.
        seconds: threads → case → contender → clock → median seconds a session.
        judgements: case → contender → its answer beside float64 pandas.
        peaks: contender → bytes that one session of the largest case adds.
        sgemm: median CPU seconds of one large product.
        histories: threads → what `Ours.history` tells, medians.
        loads: of the machine, before and after.
    """

    cases: Sequence[Case]
    seconds: Mapping[int, Mapping[str, Mapping[str, Mapping[str, float]]]]
    judgements: Mapping[str, Mapping[str, Judgement]]
    peaks: Mapping[str, int]
    sgemm: float
    histories: Mapping[int, Mapping[str, Any]]
    loads: tuple[float, float]


def _cases(arguments: argparse.Namespace, folder: Path) -> list[Case]:
    def case(label: str, returns_TxN: np.ndarray, *, alone: bool = False) -> Case:
        path = folder / f"{label}.npy"
        np.save(path, returns_TxN)
        return Case(label, returns_TxN.shape[1], path, alone)

    def length(n_series: int) -> int:
        return WINDOW - 1 + arguments.threads * (_sessions_at(n_series) + 1)

    cases = [case(f"N = {size}", market(length(size), size, MISSING)) for size in arguments.sizes]
    if arguments.bars.exists():
        returns_TxN = real_returns(arguments.bars)
        n_series = returns_TxN.shape[1]
        cases.append(case(f"N = {n_series}, real", returns_TxN[-length(n_series) :]))
    for missing in OTHER_MISSING:
        cases += [
            case(f"N = {size}, {missing:.0%}", market(length(size), size, missing), alone=True)
            for size in arguments.sizes
        ]
    return cases


def run(arguments: argparse.Namespace) -> Result:
    """Asks every contender in turn for each case, as often as wanted, with one thread and with more."""
    loads = [os.getloadavg()[0]]
    # The one library that the project does not require.
    names = [name for name in CONTENDERS if find_spec("torch") or not name.startswith("torch")]
    seconds: dict[int, dict[str, dict[str, dict[str, float]]]] = {}
    judgements: dict[str, dict[str, Judgement]] = {}
    peaks: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        cases = _cases(arguments, Path(folder))
        smallest, largest = (pick(cases, key=lambda case: case.n_series) for pick in (min, max))
        for threads in sorted({1, arguments.threads}):
            with _processes([name for name in names if threads == 1 or name != FLOOR], threads) as every:
                answering = {name: process for name, process in every.items() if name != FLOOR}
                for name, process in answering.items():
                    process.ask("memory", returns=str(smallest.returns))  # what is loaded once
                    peak = process.ask("memory", returns=str(largest.returns))
                    if threads == 1:
                        peaks[name] = peak
                for case in cases:
                    asked = {OURS: every[OURS]} if case.alone else every
                    judgements[case.label] = _judgements(
                        case, {name: answering[name] for name in asked if name in answering}, Path(folder)
                    )
                    asks = {
                        name: partial(process.ask, "times", returns=str(case.returns))
                        for name, process in asked.items()
                    }
                    told = in_turn(asks, arguments.repeats)
                    seconds.setdefault(threads, {})[case.label] = {name: medians(each) for name, each in told.items()}
                if threads == 1:
                    product = partial(every[FLOOR].ask, "sgemm", returns=str(smallest.returns))
                    sgemm = median(product() for _ in range(arguments.repeats))
        histories = _histories(arguments, Path(folder)) if arguments.history else {}
    loads.append(os.getloadavg()[0])
    return Result(cases, seconds, judgements, peaks, sgemm, histories, (loads[0], loads[1]))


def _judgements(case: Case, asked: Mapping[str, Process], folder: Path) -> dict[str, Judgement]:
    truth_NxN = reference(np.load(case.returns))
    judgements = {}
    for name, process in asked.items():
        out = folder / "answer.npz"
        process.ask("answer", returns=str(case.returns), out=str(out))
        with np.load(out) as answer:
            judgements[name] = judge(answer["dst_Nxk"], answer["corr_Nxk"], truth_NxN)
    if not judgements[OURS].agrees:
        raise RuntimeError(f"{case.label}: expected the neighbours of float64 pandas, was {judgements[OURS]}.")
    return judgements


def _histories(arguments: argparse.Namespace, folder: Path) -> dict[int, dict[str, Any]]:
    returns_TxN = real_returns(arguments.history)
    path = folder / "history.npy"
    np.save(path, returns_TxN)
    histories = {}
    for threads in sorted({1, arguments.threads}):
        with _processes([OURS], threads) as asked:
            asked[OURS].ask("answer", returns=str(path), out=str(folder / "answer.npz"))
            told = [
                asked[OURS].ask("history", returns=str(path)) for _ in range(min(arguments.repeats, MOST_HISTORIES))
            ]
        histories[threads] = {
            "shape": returns_TxN.shape,
            "whole": median(one["whole"] for one in told),
            "fifths": [median(fifth) for fifth in zip(*(one["fifths"] for one in told), strict=True)],
            "one more": median(one["one more"] for one in told),
            "peak": max(one["peak"] for one in told),
        }
    return histories


def report(result: Result, arguments: argparse.Namespace) -> str:
    """The tables and what stands behind them, as Markdown."""
    installed = [f"{name} {version(name)}" if find_spec(name) else f"{name} not there" for name in LIBRARIES]
    how = (
        f"The neighbours of one session: window {WINDOW}, k = {K}, |r| ≥ {MIN_ABS_CORR}, at least {MIN_OVERLAP} shared "
        f"sessions. Generated returns with a market and {SECTORS} sectors, {MISSING:.0%} missing; medians of "
        f"{arguments.repeats} repeats of {LEAST_SESSIONS} or more consecutive sessions (fewer where {MOST_SECONDS:.0f} s "
        f"are over), contenders asked in turn, each in a process of its own. {machine(result.loads)}, "
        f"{', '.join(installed)}."
    )
    parts = [_times(result, threads) for threads in result.seconds]
    parts += [_answers(result), _floor(result, arguments.threads)]
    parts += [[_history(history, threads)] for threads, history in result.histories.items()]
    return "\n\n".join(["# Correlation graphs at size", how, *("\n".join(part) for part in parts), _NOTES])


def _times(result: Result, threads: int) -> list[str]:
    seconds = result.seconds[threads]
    labels = [case.label for case in result.cases if not case.alone]
    rows = []
    for name in seconds[labels[0]]:
        cells = []
        for label in labels:
            took, ours = seconds[label][name], seconds[label][OURS]
            cells.append(f"{ms(took['wall'])} / {ms(took['cpu'])} ({took['wall'] / ours['wall']:.2g}×)")
        rows.append([name, CONTENDERS[name][0], *cells])
    return [
        f"## {'One thread' if threads == 1 else f'{threads} threads'}: ms a session, wall / CPU",
        "",
        "In brackets: how many times as long as gnn_assets, by the wall.",
        "",
        *table(["contender", "work", *labels], rows, words=2),
    ]


def _answers(result: Result) -> list[str]:
    cases = [case for case in result.cases if not case.alone]
    largest = max(cases, key=lambda case: case.n_series)
    rows = []
    for name, peak in result.peaks.items():
        judged = [result.judgements[case.label][name] for case in cases]
        wrong = [f"{one.missed:.2%}" if one.missed else "0" for one in judged]
        rows.append([name, f"{max(one.difference for one in judged):.1g}", *wrong, f"{peak / 1e6:.0f} MB"])
    header = [
        "contender",
        "largest difference",
        *(f"wrong at {case.label}" for case in cases),
        f"peak memory at {largest.label}",
    ]
    how = (
        f"Wrong: share of the true neighbours that are not named; {TOLERANCE:.0e} at the last place or the threshold is "
        "forgiven. Of gnn_assets a larger difference or a wrong neighbour would have ended the run."
    )
    return ["## What came out, beside float64 pandas", "", how, "", *table(header, rows)]


def _floor(result: Result, threads: int) -> list[str]:
    seconds, many = result.seconds[1], result.seconds[threads]
    peak = 2 * SGEMM**3 / result.sgemm
    rows = []
    for case in result.cases:
        if case.alone:
            continue
        ours, floor = seconds[case.label][OURS], seconds[case.label][FLOOR]
        flops = case.n_series**2 * WINDOW  # half of 2 N² W
        # Not looked at with the real returns.
        others = [seconds.get(f"{case.label}, {missing:.0%}") for missing in OTHER_MISSING]
        rows.append(
            [
                case.label,
                ms(ours["cpu"]),
                ms(ours["cold cpu"]),
                *(ms(other[OURS]["cpu"]) if other else "" for other in others),
                ms(floor["cpu"]),
                f"{floor['cpu'] / ours['cpu']:.0%}",
                f"{flops / ours['cpu'] / 1e9:.3g}",
                f"{flops / ours['cpu'] / peak:.0%}",
                ms(many[case.label][OURS]["wall"]),
                f"{ours['wall'] / many[case.label][OURS]['wall']:.2f}×",
            ]
        )
    header = [
        "gnn_assets",
        "warm",
        "cold",
        *(f"warm, {missing:.0%} missing" for missing in OTHER_MISSING),
        FLOOR,
        "share of it reached",
        "effective GFLOP/s",
        "share of the peak",
        f"{threads} at once, wall ms a session",
        "speed-up",
    ]
    how = (
        f"A float32 product of {SGEMM}² by numpy reaches {peak / 1e9:.0f} GFLOP/s here. Effective: N² · {WINDOW} floating "
        "operations, those of half the product, over all the time that gnn_assets takes."
    )
    return ["## How far from the floor: CPU ms a session, one thread", "", how, "", *table(header, rows)]


def _history(history: Mapping[str, Any], threads: int) -> str:
    sessions, symbols = history["shape"]
    fifths = ", ".join(ms(seconds) for seconds in history["fifths"])
    return (
        f"**A whole history, {threads} at once.** {symbols} symbols, {sessions - WINDOW + 1} graphs: {history['whole']:.2f} s; "
        f"ms a session in each fifth of it: {fifths}; one more session, cold: {ms(history['one more'])} ms; peak memory "
        f"of the process: {history['peak'] / 1e9:.2f} GB."
    )


def main() -> None:
    """Runs the benchmark, or one contender of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 500, 1026, 3000], help="series")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2, help="measured beside one thread")
    parser.add_argument("--bars", type=Path, default=BARS, help="bars of a real market, left out where absent")
    parser.add_argument("--history", type=Path, help="bars whose whole history is computed too")
    parser.add_argument("--out", type=Path, help="write the tables to this Markdown file")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        serve(partial(_asked, arguments.contender, arguments.threads))
        return
    publish(report(run(arguments), arguments), arguments.out)


if __name__ == "__main__":
    main()
