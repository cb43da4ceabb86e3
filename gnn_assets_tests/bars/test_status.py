import polars as pl

from gnn_assets.bars.schema import SYMBOL_STATUS, UNIVERSE
from gnn_assets.bars.status import coverage_failures, stage_status, succeeded
from gnn_assets_tests.bars.market import bars, sessions

DAYS = sessions(10)
NONE = SYMBOL_STATUS.empty()


def status_of(failures=None, *, symbols=("A", "B", "C"), waiting=None, before=NONE, stage="bars", session=DAYS[-1]):
    return stage_status(
        stage, symbols=symbols, session=session, failures=failures or {}, waiting=waiting or {}, before=before
    )


def universe(**membership):
    rows = [
        {
            "symbol": symbol,
            "from_session": first,
            "to_session": last,
            "tier": "core",
            "sector": "",
            "survivor_only": False,
        }
        for symbol, (first, last) in membership.items()
    ]
    return pl.DataFrame(rows, schema=dict(UNIVERSE.columns))


def test_a_stage_says_success_failed_or_pending_of_every_symbol():
    rows = status_of({"B": "no close"}, waiting={"C": "waits for returns"})
    assert rows.select("symbol", "state", "reason", "attempts").rows() == [
        ("A", "SUCCESS", "", 1),
        ("B", "FAILED", "no close", 1),
        ("C", "PENDING", "waits for returns", 0),
    ]


def test_attempts_at_the_same_session_are_counted_and_a_new_session_starts_over():
    first = status_of({"B": "no close"})
    again = status_of({}, before=first)
    assert again["attempts"].to_list() == [2, 2, 2]
    assert status_of({}, before=first, session=DAYS[-2])["attempts"].to_list() == [1, 1, 1]
    assert status_of({}, before=first, stage="returns")["attempts"].to_list() == [1, 1, 1]


def test_succeeded_goes_by_the_last_word_of_its_own_stage():
    history = pl.concat(
        [
            status_of({"B": "x"}, session=DAYS[0]),
            status_of({"A": "x"}, session=DAYS[1]),
            status_of({"C": "x"}, stage="returns"),
        ]
    )
    assert succeeded(history, "bars") == ("B", "C")
    assert succeeded(history, "returns") == ("A", "B")
    assert succeeded(history, "graphs") == ()


def test_a_symbol_below_the_coverage_is_named_with_the_numbers_and_one_exactly_at_it_passes():
    frame = bars({"A": [1.0] * 8 + [None] * 2, "B": [1.0] * 7 + [None] * 3})
    members = universe(A=(DAYS[0], None), B=(DAYS[0], None), C=(DAYS[0], None))
    failures = coverage_failures(frame, universe=members, sessions=DAYS, min_symbol_coverage=0.8)
    assert failures == {
        "B": "expected a close on at least 80.0% of its sessions, was 70.0% (7 of 10)",
        "C": "expected a close on at least 80.0% of its sessions, was 0.0% (0 of 10)",
    }


def test_only_sessions_of_its_membership_count_for_a_symbol():
    frame = bars({"NEW": [None] * 8 + [1.0] * 2, "OLD": [1.0] * 2 + [None] * 8})
    members = universe(NEW=(DAYS[8], None), OLD=(DAYS[0], DAYS[1]))
    assert coverage_failures(frame, universe=members, sessions=DAYS, min_symbol_coverage=1.0) == {}
    gone = universe(OLD=(DAYS[0], DAYS[1]))
    assert coverage_failures(frame, universe=gone, sessions=DAYS[5:], min_symbol_coverage=0.1) == {
        "OLD": "none of its sessions lies in the range asked for"
    }
