"""A real, dirty file through the real update path: every row is accounted for, and nothing is repaired in silence.

A hundred symbols of it here, all of them among the drills; `docs/make_dirty_file.py` writes down the numbers.
"""

import importlib.util
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest

from gnn_assets.bars.fetched import VALUES
from gnn_assets.bars.revisions import latest
from gnn_assets.bars.row_schemas import NULLED
from gnn_assets.bars.schema import MARKET_BARS, RETURNS
from gnn_assets.defs.tables import stored

ROOT = Path(__file__).parents[2]
FILE = ROOT / "../shared/data/nasdaq_bars.parquet"
KEY = ("symbol", "session")
# The symbols with a row that no bar can be made of, the dirtiest of the others, and how many are drawn beside them.
REFUSED, DIRTY, DRAWN, SEED = ("FOX", "FOXA", "TTS"), ("BREW", "DWPP", "GOOG"), 94, 3

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FILE.exists(), reason="shared/data/nasdaq_bars.parquet is not beside the project"),
]


def _maker() -> ModuleType:
    """The script that writes the page about the whole file."""
    spec = importlib.util.spec_from_file_location("make_dirty_file", ROOT / "docs" / "make_dirty_file.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


make = _maker()


@dataclass(frozen=True)
class Story:
    """What the file, and a copy restated later, came to.

    Args:
        told: the file.
        refused: the update with the settings as they ship, and what was stored by it.
        first: the update that lets the file in.
        bars: market_bars after it.
        quarantine: likewise.
        second: the same file once more, and ...
        after_second: ... market_bars and quarantine then.
        copy: the restated file.
        changed: keys and kind of the bars it changed.
        unaccepted: its update while nobody has accepted the revisions, and ...
        after_unaccepted: ... market_bars then.
        accepted: the update that does.
        history: market_bars in the end.
        moment: when the copy was fetched.
        returns: the returns in the end.
    """

    told: pl.DataFrame
    refused: tuple[Any, pl.DataFrame]
    first: Any
    bars: pl.DataFrame
    quarantine: pl.DataFrame
    second: Any
    after_second: tuple[pl.DataFrame, pl.DataFrame]
    copy: pl.DataFrame
    changed: pl.DataFrame
    unaccepted: Any
    after_unaccepted: pl.DataFrame
    accepted: Any
    history: pl.DataFrame
    moment: datetime
    returns: pl.DataFrame


@pytest.fixture(scope="module", params=["a hundred symbols", pytest.param("the whole file", marks=pytest.mark.drill)])
def story(request, tmp_path_factory) -> Story:
    folder = tmp_path_factory.mktemp("dirt")
    file = FILE.resolve()
    if request.param == "a hundred symbols":
        file = _hundred_symbols(folder / "told")
    (folder / "strict").mkdir()
    (folder / "home").mkdir()
    session = pl.scan_parquet(file).select(pl.col("session").max()).collect().item()
    strict = make.Ground(folder / "strict", file, session)
    refused = strict.update()
    ground = make.Ground(folder / "home", file, session, make.WHOLE_FILE)
    told, first = ground.told(), ground.update()
    bars, quarantine = ground.history(), ground.quarantine()
    second = ground.update()
    after_second = ground.history(), ground.quarantine()
    copy, changed = make.restated(told, bars)
    (folder / "restated").mkdir()
    copy.write_parquet(folder / "restated" / "bars.parquet")
    again = make.Ground(folder / "home", folder / "restated" / "bars.parquet", session, make.WHOLE_FILE)
    later = make.SECOND_THOUGHTS
    unaccepted = again.update(later=later)
    after_unaccepted = ground.history()
    accepted = again.update(later=later, accept_revisions=True)
    opened = again.platform(later=later)
    return Story(
        told=told,
        refused=(refused, strict.history()),
        first=first,
        bars=bars,
        quarantine=quarantine,
        second=second,
        after_second=after_second,
        copy=copy,
        changed=changed,
        unaccepted=unaccepted,
        after_unaccepted=after_unaccepted,
        accepted=accepted,
        history=ground.history(),
        moment=opened.clock.now(),
        returns=stored(opened, RETURNS),
    )


def _hundred_symbols(folder: Path) -> Path:
    rows, named = pl.read_parquet(FILE), [*REFUSED, *DIRTY]
    others = sorted(set(rows["symbol"]) - set(named))
    chosen = [*named, *np.random.default_rng(SEED).choice(others, DRAWN, replace=False)]
    folder.mkdir()
    rows.filter(pl.col("symbol").is_in(chosen)).write_parquet(folder / "bars.parquet")
    return folder / "bars.parquet"


def keys(rows: pl.DataFrame) -> set[tuple]:
    return set(rows.select(KEY).iter_rows())


def content(bars: pl.DataFrame) -> pl.DataFrame:
    return bars.select(*KEY, *VALUES, "flags").sort(KEY)


def test_half_a_session_is_refused_by_the_settings_as_they_ship(story):
    """The file ends with a session that half of its symbols lack: nothing new goes downstream of that."""
    update, bars = story.refused
    assert update.blocking == ["symbols_complete"]
    assert bars.is_empty()
    assert update.published == ("universe",)


def test_the_file_is_let_in_where_its_last_session_may_be_thin(story):
    assert story.first.refusal == ""
    assert story.first.published == ("universe", "market_bars", "returns")


def test_every_row_told_is_a_bar_or_refused_and_there_is_no_other(story):
    refused = make.refused_rows(story.quarantine)
    assert keys(story.bars) | keys(refused) == keys(story.told)
    assert not keys(story.bars) & keys(refused)
    assert story.bars.height + refused.height == story.told.height
    assert set(refused["symbol"]) >= set(REFUSED)


def test_every_stored_value_is_the_files_or_null_with_a_flag(story):
    assert make.unfaithful(story.bars, story.told).is_empty()


def test_every_value_taken_away_stands_in_quarantine_under_its_rule_and_every_row_there_as_it_was_told(story):
    taken = story.quarantine.filter(pl.col("rule").is_in(list(NULLED)))
    flagged = story.bars.select(*KEY, rule=pl.col("flags").str.split(",")).explode("rule")
    assert set(taken.select(*KEY, "rule").iter_rows()) == {row for row in flagged.iter_rows() if row[2] in NULLED}
    assert set(taken["rule"]) == set(NULLED)
    assert story.quarantine.join(story.told, on=(*KEY, *VALUES), how="anti").is_empty()


@pytest.mark.parametrize(
    "repair",
    [
        pl.col("close") + 0.0001,
        pl.col("open").fill_null(pl.col("close")),
        pl.when(pl.col("low") != pl.col("high")).then("low"),
        pl.col("volume").fill_null(0.0),
    ],
    ids=["a close moved", "an open filled in", "a low lost", "a volume put back"],
)
def test_a_repair_in_silence_would_be_seen(story, repair):
    assert not make.unfaithful(story.bars.with_columns(repair), story.told).is_empty()


def test_first_revisions_were_known_when_their_session_was(story):
    assert story.bars["rev"].unique().to_list() == [0]
    assert story.bars.group_by("session").agg(pl.col("known_at").n_unique())["known_at"].max() == 1
    assert (story.bars["known_at"].dt.date() == story.bars["session"]).all()


def test_a_second_ingest_adds_no_row_and_no_revision(story):
    assert story.second.metadata["rows_added"] == story.second.metadata["revised_bars"] == 0
    assert story.second.metadata["version"] == story.first.metadata["version"]
    bars, quarantine = story.after_second
    assert bars.equals(story.bars)
    assert quarantine.equals(story.quarantine)


def test_a_restated_file_is_refused_until_somebody_accepts_it(story):
    assert story.unaccepted.blocking == ["revisions"]
    assert story.after_unaccepted.equals(story.bars)
    assert story.accepted.refusal == ""


def test_exactly_the_restated_bars_are_revised(story):
    revised = story.history.filter(pl.col("rev") > 0)
    assert keys(revised) == keys(story.changed)
    assert revised.height == story.changed.height
    assert set(revised["rev"]) == {1}
    assert set(revised["known_at"]) == {story.moment}


def test_corrections_and_another_basis_are_told_apart(story):
    corrected = story.changed.filter(pl.col("kind").is_in(["close", "open"]))["symbol"].n_unique()
    assert f"{corrected} corrected, 1 moved to another basis" in story.accepted.checks["revisions"].description


def test_as_of_reads_on_either_side_of_the_restatement_are_the_old_and_the_new_content(story):
    before = latest(story.history, known_at=story.moment - timedelta(microseconds=1))
    assert content(before).equals(content(story.bars))
    after = latest(story.history, known_at=story.moment)
    assert make.unfaithful(after, story.copy).is_empty()
    assert keys(after) == keys(story.bars)
    unchanged = content(after).join(story.changed, on=KEY, how="anti")
    assert unchanged.equals(content(story.bars).join(story.changed, on=KEY, how="anti"))
    assert (
        not content(after)
        .join(story.changed, on=KEY, how="semi")
        .equals(content(story.bars).join(story.changed, on=KEY, how="semi"))
    )


def test_a_symbol_on_another_basis_keeps_its_returns(story):
    """Halved prices change no return beyond the rounding of a price to a hundredth of a cent."""
    (moved,) = story.changed.filter(pl.col("kind") == "basis")["symbol"].unique()
    closes = story.told.filter(pl.col("symbol") == moved).select("session", log=pl.col("close").log())
    returns = story.returns.filter(pl.col("symbol") == moved).join(closes, on="session")
    assert returns.height > 0.9 * closes.height
    expected = closes.with_columns(move=pl.col("log").diff()).join(returns, on="session")
    gap = (expected["move"] - expected["close_return"]).abs()
    assert gap.quantile(0.95) < 1e-3


def test_what_is_stored_is_declared(story):
    assert MARKET_BARS.difference(story.history.schema) == ()
