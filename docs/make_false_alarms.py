"""Measures what each demanded threshold costs in false alarms, by simulation.

    python -m docs.make_false_alarms docs/results/YYYY-MM-DD-false-alarms.md

Everything is seeded; only the versions of the libraries and the seconds depend on the machine.
"""
# ruff: noqa: INP001, T201 - a script, not a package

import platform as machine
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

from gnn_assets.backtests.cross_section import information_coefficients, realised_labels
from gnn_assets.backtests.deflated import deflated_sharpe, probabilistic_sharpe, trial_variance
from gnn_assets.backtests.metrics import information_ratio, mean, sharpe
from gnn_assets.backtests.significance import corrected_mean_interval
from gnn_assets.core.config import build_config

CONFIG = build_config("sample")
EXECUTION, SETTINGS, GATE = CONFIG.execution, CONFIG.backtests, CONFIG.gate
YEAR = SETTINGS.sessions_per_year
WINDOWS = (63, 252, 504)  # sessions
SHARPES = (0.0, 1.0, 2.0)  # true, a year
PATHS, SLOW_PATHS, REPEATS = 3000, 200, 100
TRIALS = 50
VOLATILITY = 0.01  # a session
ALPHA, BETA = 0.08, 0.91  # of the GARCH(1, 1)
DEGREES = 5  # of freedom
LEVEL = 0.95  # PSR and DSR
ICIR = 0.3  # demanded of daily ICs
SMALL = 0.1  # a share below it gets a decimal
NAMES, MARKETS, PERSISTENCE = 30, 200, 0.9  # of the cross-sections: symbols, repeats, autocorrelation of scores


def shocks(rng: np.random.Generator, shape: tuple[int, ...], *, tails: bool) -> np.ndarray:
    """Independent draws of variance 1, normal or t."""
    if not tails:
        return rng.normal(size=shape)
    return rng.standard_t(DEGREES, size=shape) * np.sqrt((DEGREES - 2) / DEGREES)


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Independent normal sessions."""
    return shocks(rng, shape, tails=False)


def fat(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Independent sessions with t's tails."""
    return shocks(rng, shape, tails=True)


def garch(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """GARCH(1, 1) of unconditional variance 1 with t's tails; the last axis is time, a year is run in first."""
    draws = shocks(rng, (*shape[:-1], shape[-1] + YEAR), tails=True)
    variance = np.ones(draws.shape[:-1])
    values = np.empty_like(draws)
    for t in range(draws.shape[-1]):
        values[..., t] = np.sqrt(variance) * draws[..., t]
        variance = 1 - ALPHA - BETA + ALPHA * values[..., t] ** 2 + BETA * variance
    return values[..., YEAR:]


WORLDS: Mapping[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "normal": normal,
    f"t with {DEGREES} degrees": fat,
    "GARCH, t": garch,
}


@cache
def noise(world: str, paths: int, sessions: int, seed: int) -> np.ndarray:
    """Returns of variance 1 without any drift."""
    return WORLDS[world](np.random.default_rng(seed), (paths, sessions))


def returns_of(world: str, true_sharpe: float, *, paths: int = PATHS) -> np.ndarray:
    """Daily returns of strategies of one true Sharpe ratio, over the longest window."""
    return VOLATILITY * (noise(world, paths, max(WINDOWS), seed=1) + true_sharpe / np.sqrt(YEAR))


def ratios(returns_PxT: np.ndarray) -> np.ndarray:
    """Annual Sharpe ratio of every path."""
    return np.array([sharpe(returns_T, sessions_per_year=YEAR) for returns_T in returns_PxT])


def share(hits: np.ndarray) -> str:
    """Percentage, with a decimal where it is small."""
    value = float(np.mean(hits))
    return f"{value:.1%}" if value < SMALL else f"{value:.0%}"


def row(*cells: object) -> str:
    """A line of a table."""
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def head(*cells: str, text: int = 1) -> Iterator[str]:
    """The first two lines of a table whose first columns are text."""
    yield row(*cells)
    yield "|" + "---|" * text + "---:|" * (len(cells) - text)


def sharpe_table() -> Iterator[str]:
    """How often a strategy's ratio passes a fixed bar."""
    yield from head("world", "rule", "sessions", *(f"true Sharpe {true:g}" for true in SHARPES), text=2)
    for world in WORLDS:
        found = {true: returns_of(world, true) for true in SHARPES}
        for bar in (1.0, 1.5):
            for window in WINDOWS:
                cells = (share(ratios(found[true][:, :window]) > bar) for true in SHARPES)
                yield row(world, f"Sharpe > {bar}", window, *cells)


def probability_table() -> Iterator[str]:
    """How often PSR and DSR pass, for one strategy judged alone."""
    yield from head("world", "rule", "sessions", *(f"true Sharpe {true:g}" for true in SHARPES), text=2)
    for world in WORLDS:
        found = {true: returns_of(world, true, paths=SLOW_PATHS) for true in SHARPES}
        for name, trials in (("PSR > 0.95", 1), (f"DSR > 0.95, {TRIALS} trials", TRIALS)):
            for window in WINDOWS:
                cells = (
                    share(
                        [
                            deflated_sharpe(path_T[:window], trials=trials, variance=1 / (window - 1)) > LEVEL
                            for path_T in found[true]
                        ]
                    )
                    for true in SHARPES
                )
                yield row(world, name, window, *cells)


def cross_section(true_sharpe: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One market: daily returns of the portfolio that weights by score, and the ICs over the horizon.

    Scores live on (autocorrelation of `PERSISTENCE` a session), and earn k × score a session from their fill on, k
    such that the portfolio has the true Sharpe ratio.
    """
    sessions = max(WINDOWS) + EXECUTION.purge
    scores = rng.normal(size=(sessions, NAMES))
    for t in range(1, sessions):
        scores[t] = PERSISTENCE * scores[t - 1] + np.sqrt(1 - PERSISTENCE**2) * scores[t]
    returns = fat(rng, (sessions, NAMES))
    lag = EXECUTION.fill_lag + 1
    returns[lag:] += true_sharpe / np.sqrt(YEAR * NAMES) * scores[:-lag]
    portfolio_T = (scores[:-lag] * returns[lag:]).mean(axis=1)[: max(WINDOWS)]
    ic_T = information_coefficients(scores, realised_labels(returns, execution=EXECUTION))
    return portfolio_T, ic_T[: max(WINDOWS)]


@cache
def markets(true_sharpe: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Many markets of one true Sharpe ratio, on the same draws."""
    rng = np.random.default_rng(2)
    return [cross_section(true_sharpe, rng) for _ in range(MARKETS)]


def ic_table() -> Iterator[str]:
    """How often ICIR passes, alone and together with the Sharpe ratio."""
    yield from head("rule", "sessions", *(f"true Sharpe {true:g}" for true in (*SHARPES, 4.0)))
    rules = {
        f"ICIR > {ICIR}": lambda _, ic_T: information_ratio(ic_T) > ICIR,
        f"Sharpe > 1.0 and ICIR > {ICIR}": lambda net_T, ic_T: (
            information_ratio(ic_T) > ICIR and sharpe(net_T, sessions_per_year=YEAR) > 1
        ),
    }
    for name, rule in rules.items():
        for window in WINDOWS:
            cells = (
                share([rule(net_T[:window], ic_T[:window]) for net_T, ic_T in markets(true)])
                for true in (*SHARPES, 4.0)
            )
            yield row(name, window, *cells)


def live_table() -> Iterator[str]:
    """How often a live model of constant skill falls below the benchmark's bar, a look."""
    skills = (1.0, 2.0, 0.5, 0.0, -1.0)
    yield from head("world", "sessions", *(f"information ratio {skill:g}" for skill in skills))
    for world in WORLDS:
        market = returns_of(world, 0.6)
        active = 0.3 * VOLATILITY * noise(world, PATHS, max(WINDOWS), seed=3)
        for window in WINDOWS:
            bar = ratios(market[:, :window])
            bar = np.maximum(1.1 * bar, bar)
            cells = (
                share(ratios((market + active + 0.3 * VOLATILITY * skill / np.sqrt(YEAR))[:, :window]) < bar)
                for skill in skills
            )
            yield row(world, window, *cells)


def degradation_table() -> Iterator[str]:
    """How often a live window lies a tenth below the backtest, for skill that is whole, halved and gone."""
    left = {"whole": 1.0, "halved": 0.5, "gone": 0.0}
    yield from head("measure", "true Sharpe", "live sessions", *(f"skill {name}" for name in left))
    for true in SHARPES[1:]:
        backtest = ratios(returns_of("GARCH, t", true))
        for window in WINDOWS:
            later = noise("GARCH, t", PATHS, max(WINDOWS), seed=4)[:, :window]
            cells = (
                share(ratios(VOLATILITY * (later + part * true / np.sqrt(YEAR))) < 0.9 * backtest)
                for part in left.values()
            )
            yield row("Sharpe", f"{true:g}", window, *cells)
    for true in SHARPES[1:]:
        backtest = np.array([mean(ic_T) for _, ic_T in markets(true)])
        for window in WINDOWS:
            cells = (
                # Another market's draws, rolled by one, are the live ones.
                share(np.roll([mean(ic_T[:window]) for _, ic_T in markets(part * true)], 1) < 0.9 * backtest)
                for part in left.values()
            )
            yield row("mean IC", f"{true:g}", window, *cells)


def symbols_table() -> Iterator[str]:
    """How often fewer than the least share of symbols come through, by what a single one fails at."""
    chances = (0.01, 0.05, 0.10, 0.15, 0.20)
    yield from head("symbols", *(f"each fails at {100 * chance:.0f} %" for chance in chances))
    rng = np.random.default_rng(5)
    for names in (20, 100, 1000):
        succeeded = (rng.binomial(names, 1 - chance, size=100_000) for chance in chances)
        yield row(names, *(share(good < GATE.min_symbol_share * names) for good in succeeded))


def band_table() -> Iterator[str]:
    """How often a value that belongs to its history lies outside its band."""
    shifts = (0.0, 2.0, 4.0)
    yield from head("series", "history", *(f"shifted by {shift:g} σ" for shift in shifts))
    rng = np.random.default_rng(6)
    for name in ("independent, normal", f"independent, t with {DEGREES} degrees", f"autocorrelation {PERSISTENCE}"):
        series = shocks(rng, (PATHS * 5, max(WINDOWS) + 1), tails="t with" in name)
        if name.startswith("auto"):
            for t in range(1, series.shape[1]):
                series[:, t] = PERSISTENCE * series[:, t - 1] + np.sqrt(1 - PERSISTENCE**2) * series[:, t]
        for window in WINDOWS:
            past, now = series[:, -window - 1 : -1], series[:, -1]
            middle, deviation = past.mean(axis=1), past.std(axis=1, ddof=1)
            yield row(
                name,
                window,
                *(share(np.abs(now + shift - middle) > GATE.spread_sigma * deviation) for shift in shifts),
            )


def best_table() -> Iterator[str]:
    """What is promoted out of fifty strategies over two years."""
    rules: Mapping[str, Callable[[np.ndarray, np.ndarray], bool]] = {
        "Sharpe ≥ 1": lambda best_T, _: sharpe(best_T, sessions_per_year=YEAR) >= 1,
        "PSR > 0.95": lambda best_T, _: probabilistic_sharpe(best_T, benchmark=0.0) > LEVEL,
        "DSR > 0.95": lambda best_T, all_TxM: (
            deflated_sharpe(best_T, trials=TRIALS, variance=trial_variance(all_TxM)) > LEVEL
        ),
        "family interval above 0": lambda best_T, _: (
            corrected_mean_interval(best_T, comparisons=TRIALS, config=SETTINGS)[0] > 0
        ),
    }
    skills = (0.0, 1.0, 2.0, 3.0)
    yield from head("world", "rule", "all noise", *(f"one of true Sharpe {skill:g}" for skill in skills[1:]), text=2)
    for world, draw in WORLDS.items():
        families = VOLATILITY * draw(np.random.default_rng(7), (REPEATS, TRIALS, max(WINDOWS)))
        bests = []
        for skill in skills:
            families[:, 0] += VOLATILITY * skill / np.sqrt(YEAR)
            chosen = (families.mean(axis=2) / families.std(axis=2)).argmax(axis=1)
            bests.append(
                [
                    (number, family[number].copy(), family.T.copy())
                    for number, family in zip(chosen, families, strict=True)
                ]
            )
            families[:, 0] -= VOLATILITY * skill / np.sqrt(YEAR)
        for name, rule in rules.items():
            cells = [share([rule(best_T, all_TxM) for _, best_T, all_TxM in bests[0]])]
            cells += [
                share([number == 0 and rule(best_T, all_TxM) for number, best_T, all_TxM in found])
                for found in bests[1:]
            ]
            yield row(world, name, *cells)


def commit() -> str:
    """The commit of the working tree, and whether it holds more than that."""
    head_, changed = (
        subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603, S607
        for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--", "gnn_assets"))
    )
    return f"{head_} with changes not yet committed" if changed else head_


def parts() -> dict[str, str]:
    """What the page is made of: name → text."""
    began = time.process_time()
    tables = {
        "SHARPE": sharpe_table,
        "PROBABILITY": probability_table,
        "IC": ic_table,
        "LIVE": live_table,
        "DEGRADATION": degradation_table,
        "SYMBOLS": symbols_table,
        "BAND": band_table,
        "BEST": best_table,
    }
    found = {}
    for name, table in tables.items():
        found[name] = "\n".join(table())
        print(f"{name}: {time.process_time() - began:.0f} s", found[name], sep="\n", flush=True)
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "arch", "scipy", "purgedcv"))
    return {
        **found,
        "COMMIT": commit(),
        "SECONDS": f"{time.process_time() - began:.0f}",
        "VERSIONS": libraries,
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


TEXT = """# @DATE@: what each threshold costs in false alarms

**Asked.** How often does each demanded threshold pass a strategy without skill, stop one that has some, or alarm on a
model that is as good as ever?

**How.** `python -m docs.make_false_alarms docs/results/@DATE@-false-alarms.md` at commit @COMMIT@; @SECONDS@ s of
processor time. Settings of profile `sample`. Daily returns are simulated with the stated *true* annual Sharpe ratio,
net of costs: independent normal, independent t with 5 degrees of freedom, and GARCH(1, 1) with alpha 0.08, beta 0.91
and t shocks. Fixed bars: 3,000 paths a line; PSR and DSR: 200; cross-sections: 200; families: 100. A share of 5 % is
then known to 0.4, 1.5, 1.5 and 2.2 points (one standard error), one of 50 % to 0.9, 3.5, 3.5 and 5. Everything is
seeded.

**On what.** Two cores of an Intel Xeon, Linux, Python @PYTHON@, @VERSIONS@. Other heavy work stood beside it; only
processor time is told.

**What came out: SCALE above Sharpe 1.5, ITERATE above 1.0.** Share of strategies that pass, one strategy judged once.
The column of true Sharpe 0 is false alarms, the others are power.

@SHARPE@

A fixed bar has no fixed price: it depends on the window. Tails hardly matter; with GARCH a path is mostly calmer than
its average, which helps skill to show and leaves noise as it was.

**What came out: PSR and DSR above 0.95.** DSR as if the strategy were the best of 50 independent tries, the variance of
their ratios that of chance.

@PROBABILITY@

PSR keeps its 5 % at every window, for one strategy judged once. DSR lets no noise through and next to no honest skill.

**What came out: ICIR above 0.3.** Daily ICs of 30 symbols against the label of the default horizon; scores with an
autocorrelation of 0.9 a session; the portfolio weights by score, and its true Sharpe ratio is the column's.

@IC@

ICs of labels that overlap and of scores that live on are autocorrelated: over a quarter of a year noise passes 0.3 far
more often than independent ICs would, which would be once in a hundred. Over two years nearly no noise passes, and
nearly no strategy of true Sharpe 1 or 2. Beside this bar, Sharpe above 1.0 adds little.

**What came out: live Sharpe below max(1.1 × b, b).** Share of looks that alarm. The benchmark b has a true Sharpe of
0.6; the model is the benchmark plus active returns of three tenths of its volatility with the stated information ratio.
The columns of 1, 2 and 0.5 are false alarms: nothing has changed for the worse. Those of 0 and −1 are detection.

@LIVE@

**What came out: 10 % degradation.** Share of looks at which the live value lies below 0.9 × that of a backtest of 504
sessions, without selection. *Skill whole* is the false alarm.

@DEGRADATION@

A live window says so little that 10 % cannot be told from nothing: the alarm of a whole skill and that of a skill that
is gone are to be compared before the rule is trusted. It must never demote by itself.

**What came out: 80 % of symbols.** Share of runs refused because fewer than 80 % come through, each symbol failing by
itself.

@SYMBOLS@

Where symbols fail together, as in an outage of the vendor, the rule fires as often as the outage comes; more symbols do
not help then.

**What came out: the band of 3 σ.** Share of sessions whose value lies outside mean ± 3 deviations of its history. Two
such values are watched, the mean and the spread of scores: at most twice the share. Shifted columns are detection.

@BAND@

**What came out: the best of fifty.** Fifty strategies over two years, the one with the highest Sharpe ratio judged: in
*all noise* any promotion is false, in the others a promotion counts if it is the one with skill. The family interval is
`corrected_mean_interval` of its mean return with fifty comparisons; DSR takes the measured variance of the fifty.

@BEST@

**What it does not show.** Selection before the fifty, costs that are wrong, data that are wrong, skill that comes and
goes. Strategies of a real family are correlated, which makes the family rules stricter than they need be. ICs of a real
cross-section share factors; here symbols are independent.
"""

if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(page(target.name[:10], parts()), encoding="utf-8")
    print(f"written: {target}")
