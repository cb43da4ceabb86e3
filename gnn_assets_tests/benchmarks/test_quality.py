import json
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from benchmarks.quality.command import main
from gnn_assets.core.clock import SnapshotClock
from gnn_assets_tests.benchmarks.market import SESSIONS, StandIn, bars_frame, closes, dates, reversal, written

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
TEST = range(80, 115)


class Bench:
    """The command in a folder of its own."""

    def __init__(self, folder, frame=None):
        self.folder = folder
        self.bars = written(bars_frame(closes()) if frame is None else frame, folder / "bars.parquet")
        self.out = folder / "out" / "scores.parquet"
        self.looks = folder / "looks.jsonl"

    def run(self, recipes, *more, **ends):
        options = {"--bars": self.bars, "--out": self.out, "--looks": self.looks} | dates() | ends
        words = [str(word) for option in options.items() for word in option]
        return main(recipes, [*words, *more], clock=SnapshotClock(NOW))

    def scores(self):
        return pl.read_parquet(self.out)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def tables(page):
    """Each heading's tables, as rows of cells."""
    parts = {}
    for part in page.split("\n## ")[1:]:
        lines = [line for line in part.splitlines() if line.startswith("| ")]
        parts[part.splitlines()[0]] = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return parts


def test_scores_of_the_recipe_are_written_for_the_session_after_the_row_they_stand_in(bench):
    assert bench.run(StandIn(reversal)) == 0
    found = bench.scores()
    assert dict(found.schema) == {"session": pl.Date, "symbol": pl.String, "score": pl.Float32}
    assert found["session"].unique().sort().to_list() == list(SESSIONS[TEST.start : TEST.stop])
    panel = found.pivot("symbol", index="session", values="score").sort("session").drop("session").to_numpy()
    close_TxN = closes()
    known_TxN = -np.diff(np.log(close_TxN), axis=0)[TEST.start - 2 : TEST.stop - 2]
    np.testing.assert_allclose(panel, known_TxN, atol=1e-6)


def test_the_page_shows_every_model_in_every_tier_and_what_the_recipe_has_over_each(bench, capsys):
    page = bench.folder / "page.md"
    assert bench.run(StandIn(reversal), "--report", str(page)) == 0
    printed = capsys.readouterr()
    assert printed.out == page.read_text(encoding="utf-8")
    assert printed.err == "100% scored\n"
    assert "/" not in printed.out.split("##")[0]
    found = tables(printed.out)
    assert list(found) == [
        "Close to close (not executable)",
        "Open to close (executable)",
        "Open to close, high third by traded value (executable)",
        "Open to next open (executable)",
        "Open to next open, high third by traded value (executable)",
        "How it is measured",
    ]
    rows = [row[0] for row in found["Close to close (not executable)"]]
    assert rows == ["model", "first", "noise", "first less", "noise", "IC by third of traded value", "first", "noise"]
    assert "35 sessions, 30 symbols each" in printed.out


def test_a_score_that_knows_the_next_label_has_an_ic_of_one_and_one_that_knows_its_own_has_not(bench, capsys):
    def knowing(bars):
        close_TxN = bars.values["close"]
        label_TxN = np.full(close_TxN.shape, np.nan)
        label_TxN[1:] = close_TxN[1:] / close_TxN[:-1] - 1
        return {"tomorrow": np.roll(label_TxN, -1, axis=0), "today": label_TxN}

    assert bench.run(StandIn(knowing)) == 0
    rows = tables(capsys.readouterr().out)["Close to close (not executable)"]
    assert rows[1][:2] == ["tomorrow", "1.0000 [1.0000, 1.0000]"]
    assert abs(float(rows[2][1].split()[0])) < 0.2


def test_no_bar_after_the_last_test_session_reaches_the_recipe(bench, tmp_path):
    recipes = StandIn(reversal)
    later = pl.col("session") > SESSIONS[TEST.stop - 1]
    altered = bars_frame(closes()).with_columns(pl.when(later).then(1.0).otherwise(pl.col("close")).alias("close"))
    assert bench.run(recipes) == 0
    before = bench.out.read_bytes()
    written(altered, bench.bars)
    assert bench.run(recipes) == 0
    assert bench.out.read_bytes() == before
    one, other = recipes.given
    assert one.sessions == SESSIONS[: TEST.stop]
    assert one.close_return_TxN.tobytes() == other.close_return_TxN.tobytes()


def test_symbols_that_come_after_the_test_are_never_shown_and_never_scored(tmp_path):
    frame = bars_frame(closes())
    newcomer = frame.filter(pl.col("symbol") == "S00", pl.col("session") > SESSIONS[TEST.stop]).with_columns(
        symbol=pl.lit("NEW")
    )
    bench = Bench(tmp_path, pl.concat([frame, newcomer]))
    recipes = StandIn(reversal)
    assert bench.run(recipes) == 0
    assert "NEW" not in recipes.given[0].symbols
    assert "NEW" not in bench.scores()["symbol"]
    assert bench.scores().height == len(TEST) * 30


def test_the_recipe_is_told_what_was_asked(bench):
    recipes = StandIn(reversal)
    assert bench.run(recipes, "--recipe", "other", "--seeds", "3") == 0
    assert bench.run(recipes, "--keep", str(bench.folder / "kept")) == 0
    ends = {"train_end": SESSIONS[59], "valid_end": SESSIONS[79], "test_end": SESSIONS[114]}
    beside = bench.out.with_name("scores.parquet.parts")
    assert recipes.told == [
        {**ends, "recipe": "other", "seeds": 3, "keep": beside},
        {**ends, "recipe": "first", "seeds": None, "keep": bench.folder / "kept"},
    ]


def test_every_run_adds_a_look_and_says_how_many_there_were_at_the_same_sessions(bench, capsys):
    recipes = StandIn(reversal)
    assert bench.run(recipes) == 0
    assert "look 1 at" in capsys.readouterr().out
    assert bench.run(recipes, **{"--valid-end": SESSIONS[84].isoformat()}) == 0
    assert "look 2 at" in capsys.readouterr().out  # most of the sessions are the same
    assert (
        bench.run(recipes, **{"--valid-end": SESSIONS[114].isoformat(), "--test-end": SESSIONS[120].isoformat()}) == 0
    )
    assert "look 1 at" in capsys.readouterr().out
    assert bench.run(recipes, "--recipe", "other") == 0
    assert "look 3 at" in capsys.readouterr().out
    first, _, _, third = (json.loads(line) for line in bench.looks.read_text(encoding="utf-8").splitlines())
    assert first["run"] == str(NOW)
    assert (first["recipe"], third["recipe"]) == ("first", "other")
    assert first["config"] == recipes.config_hash("first", seeds=None)
    assert first["code"] == recipes.code_hash("first") != third["code"]
    assert {name: first[name] for name in ("train_end", "valid_end", "test_end")} == {
        name.strip("-").replace("-", "_"): end for name, end in dates().items()
    }
    for name in ("ic", "icir", "rank_ic", "rank_icir", "top_50_net_hysteresis"):
        assert first[name] == third[name] != 0


def test_what_cannot_be_told_is_no_number_in_the_file_of_looks(bench):
    assert bench.run(StandIn(lambda bars: {"flat": np.zeros(bars.close_return_TxN.shape)})) == 0
    assert json.loads(bench.looks.read_text(encoding="utf-8"))["ic"] is None


def test_a_recipe_that_fails_leaves_the_scores_of_before_and_no_look(bench):
    assert bench.run(StandIn(reversal)) == 0
    before = bench.out.read_bytes(), bench.looks.read_bytes()
    with pytest.raises(ZeroDivisionError):
        bench.run(StandIn(lambda _: 1 / 0))
    assert (bench.out.read_bytes(), bench.looks.read_bytes()) == before


def test_closes_alone_are_judged_on_tier_c(tmp_path, capsys):
    bench = Bench(tmp_path, bars_frame(closes()).select("symbol", "session", "close"))
    assert bench.run(StandIn(reversal)) == 0
    assert list(tables(capsys.readouterr().out)) == ["Close to close (not executable)", "How it is measured"]


def test_a_test_may_end_after_the_file_does(bench, capsys):
    assert bench.run(StandIn(reversal), **{"--test-end": "2015-12-31"}) == 0
    assert f"Tested on: {SESSIONS[80]}..{SESSIONS[-1]}, {len(SESSIONS) - 80} sessions." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("ends", "sentence"),
    [
        ({"--bars": "nowhere.parquet"}, "nowhere.parquet: expected a Parquet file of bars, was no file"),
        ({"--train-end": "2014-06-30"}, "dates: expected sessions up to 2014-06-30"),
        ({"--valid-end": "2015-03-01"}, f"dates: expected sessions after {SESSIONS[59]} and up to 2015-03-01"),
        ({"--valid-end": "2016-03-01"}, "was none in a file of 2015-01-02.."),
    ],
    ids=["no file", "nothing to train on", "out of order", "nothing to test on"],
)
def test_what_cannot_be_done_is_said_in_a_sentence(bench, capsys, ends, sentence):
    assert bench.run(StandIn(reversal), **ends) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert sentence in told
    assert not bench.out.exists()
    assert not bench.looks.exists()


@pytest.mark.parametrize(
    ("scores", "sentence"),
    [
        (lambda _: np.zeros((3, 3)), r"was (3, 3), 0 of them infinite"),
        (lambda shape: np.full(shape, np.inf), "3450 of them infinite; mend the recipe"),
        (lambda shape: np.full(shape, np.nan), "scores: expected at least one for a test session, was none"),
    ],
    ids=["another shape", "infinite", "none"],
)
def test_scores_that_cannot_be_judged_are_refused(bench, capsys, scores, sentence):
    assert bench.run(StandIn(lambda bars: {"bad": scores(bars.close_return_TxN.shape)})) == 1
    assert sentence in capsys.readouterr().err
    assert not bench.out.exists()


def test_a_file_of_looks_that_is_none_is_left_alone(bench, capsys):
    bench.looks.write_text("dear diary", encoding="utf-8")
    assert bench.run(StandIn(reversal)) == 1
    assert "expected one look a line, as JSON, was 'dear diary'" in capsys.readouterr().err
    assert bench.looks.read_text(encoding="utf-8") == "dear diary"


def test_scores_are_not_shown_where_judging_fails(bench, monkeypatch):
    monkeypatch.setattr("benchmarks.quality.run.judge", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        bench.run(StandIn(reversal))
    assert not bench.out.exists()


def test_the_page_says_how_the_models_were_trained(bench, capsys):
    assert bench.run(StandIn(reversal)) == 0
    assert "* first is a function of the bars." in capsys.readouterr().out
