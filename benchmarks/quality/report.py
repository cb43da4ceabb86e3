"""The table of a run as Markdown: every tier, every model, intervals and paired differences."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from math import isnan

from benchmarks.quality.judging import (
    BLOCK,
    COMPARED,
    CONFIDENCE,
    METRICS,
    RESAMPLES,
    SESSIONS_PER_YEAR,
    Figure,
    Judged,
    base_rate,
    difference,
    market_sharpe,
)
from benchmarks.quality.portfolio import BONUS, COST, HELD
from benchmarks.quality.tiers import CLOSES, LIQUIDITY_WINDOW, THIRDS, Tier

# Sharpe ratios need no fourth decimal.
_DECIMALS = {
    name: 2 if metric.scale != 1.0 else 4 if name in {"IC", "rank IC"} else 3 for name, metric in METRICS.items()
}


@dataclass(frozen=True)
class Header:
    """What stands above the tables.

    Args:
        recipe: its name.
        file: name of the file of bars.
        sha256: of that file.
        dropped: why bars were left out → how many.
        sessions: first, last and number of the sessions trained on, validated on and tested on, by part.
        symbols: in the file.
        seconds: work → wall clock seconds.
        peak_bytes: most memory this process or one it started held.
        look: how often these bars and test sessions have been looked at, this time included.
    """

    recipe: str
    file: str
    sha256: str
    dropped: Mapping[str, int]
    sessions: Mapping[str, tuple[date, date, int]]
    symbols: int
    seconds: Mapping[str, float]
    peak_bytes: int
    look: int


def report(header: Header, judged: Sequence[tuple[Tier, Sequence[Judged]]], *, notes: Sequence[str]) -> str:
    """The whole page.

    Args:
        header: what stands above.
        judged: each tier with every model in it, the recipe first.
        notes: how the models were trained, a sentence each.
    """
    tables = (line for tier, models in judged for line in _tier(tier, models))
    return "\n".join([*_header(header), *tables, *_notes(notes)])


def _header(header: Header) -> Iterator[str]:
    yield f"# Forecast quality of `{header.recipe}`"
    yield ""
    yield f"* Bars: `{header.file}`, sha256 {header.sha256[:16]}, {header.symbols} symbols; look {header.look} at these bars and test sessions."
    for part, (first, last, count) in header.sessions.items():
        yield f"* {part}: {first}..{last}, {count} sessions."
    lost = [f"{count} {why}" for why, count in header.dropped.items()]
    yield f"* Bars left out: {'; '.join(lost) or 'none'}."
    took = ", ".join(f"{work} {seconds:.0f} s" for work, seconds in header.seconds.items())
    yield f"* Took: {took}; peak memory {header.peak_bytes / 2**30:.2f} GiB."


def _tier(tier: Tier, models: Sequence[Judged]) -> Iterator[str]:
    executable = "executable" if tier.executable else "not executable"
    names_a_session = tier.counted_SxN.sum() / len(tier.labels_SxN)
    yield from ("", f"## {tier.name} ({executable})", "")
    yield (
        f"{len(tier.labels_SxN)} sessions, {names_a_session:.0f} symbols each; share of labels of 0 or more "
        f"{base_rate(tier):.3f}; equal-weight market Sharpe {_with_interval(market_sharpe(tier), 2)}."
    )
    yield ""
    yield from _table(["model", *METRICS, "scored"], [_row(one) for one in models])
    recipe, *others = models
    if others:
        yield ""
        yield from _table(
            [f"{recipe.model} less", *COMPARED],
            [
                [other.model, *(_with_interval(difference(recipe, other, name), _DECIMALS[name]) for name in COMPARED)]
                for other in others
            ],
        )
    if not all(isnan(value) for value in recipe.ic_by_third) and not tier.part:
        yield ""
        yield from _table(
            ["IC by third of traded value", *THIRDS],
            [[one.model, *(_number(value, 4) for value in one.ic_by_third)] for one in models],
        )


def _row(one: Judged) -> list[str]:
    cells = [_with_interval(figure, _DECIMALS[name]) for name, figure in one.figures.items()]
    return [one.model, *cells, f"{one.scored:.1%}"]


def _notes(notes: Sequence[str]) -> Iterator[str]:
    yield from ("", "## How it is measured", "")
    yield from (f"* {note}" for note in notes)
    yield (
        f"* The score for session d uses bars up to the close of d-1. A symbol counts on d if it has a close on each of "
        f"the {CLOSES} sessions up to d; one that counts and has no score is taken at the session's mean."
    )
    yield (
        "* IC: Pearson correlation of score and label across symbols, averaged over sessions; ICIR: that average over "
        "the standard deviation; rank: Spearman. prec@10: share of the ten best with a label of 0 or more."
    )
    yield (
        f"* Top {HELD}: the best {HELD} in equal parts, chosen anew each session, Sharpe ratio a year of "
        f"{SESSIONS_PER_YEAR} sessions; net of {COST * 1e4:.0f} basis points of what is bought and of what is "
        f"sold; hysteresis: a held name is favoured by {BONUS:g} standard deviation of the scores. Decile spread: best "
        "tenth less worst, before costs."
    )
    yield (
        f"* Traded value: median of close times volume over the {LIQUIDITY_WINDOW} sessions up to d-1. Brackets: "
        f"{CONFIDENCE:.0%} intervals of the circular bootstrap, blocks of {BLOCK} "
        f"sessions, {RESAMPLES} resamples; differences are paired by session."
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield "|---|" + "---:|" * (len(header) - 1)
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _with_interval(figure: Figure, decimals: int) -> str:
    ends = ", ".join(_number(end, decimals) for end in figure.interval)
    return f"{_number(figure.value, decimals)} [{ends}]"


def _number(value: float, decimals: int) -> str:
    return "–" if isnan(value) else f"{value:.{decimals}f}"
