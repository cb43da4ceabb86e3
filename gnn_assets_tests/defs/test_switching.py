"""The champion switched by a person: what is refused, what survives, and who is served whatever happens in between.

Every switch of the fault tests runs in a process of its own that is really killed, or really races others.
"""

import json
import resource
import shutil
import signal
import statistics
import time
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from gnn_assets.core.clock import LiveClock
from gnn_assets.core.errors import CorruptArtefact, MissingArtefact, ModelError, PointerConflict
from gnn_assets.defs import switching
from gnn_assets.defs.candidates import first_scored, standings
from gnn_assets.defs.clean_up import clean_up
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.switching import (
    decisions,
    event_of,
    fault_of,
    move_champion,
    promote_by_hand,
    roll_back,
    roll_back_for,
    tell_moves,
)
from gnn_assets.registry.switch import held_out
from gnn_assets_tests.conftest import Home
from gnn_assets_tests.defs.switching_home import (
    FRESH,
    SESSIONS,
    TARGET,
    add_candidate,
    fill,
    judged,
    lineage,
    platform_at,
    publish_forecasts,
    readers,
    run_commands,
    score_candidate,
)

EVERYTHING = ("champion", "gnn_weights", "oos_predictions", "portfolio_returns", "backtest_scores")


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> tuple[Path, tuple[str, str, str]]:
    """A platform that served the first candidate, serves the second, and refused the third."""
    home = tmp_path_factory.mktemp("switching") / "home"
    return home, fill(home)


@pytest.fixture
def home(filled, tmp_path) -> Path:
    return Path(shutil.copytree(filled[0], tmp_path / "home"))


@pytest.fixture
def platform(home) -> Platform:
    return platform_at(home)


@pytest.fixture
def versions(filled) -> tuple[str, str, str]:
    return filled[1]


def served(platform: Platform) -> str:
    champion = platform.champion.current()
    assert champion is not None
    return champion.version


def moves_told(platform: Platform) -> list[tuple[int, str, str | None]]:
    """What the ledger says of every move: its number, who was served from then on and who until then."""
    told = [event for event in platform.ledger.read("events") if event["event"] in {"promoted", "rolled_back"}]
    return [(event["move"], event["candidate"], event["champion"]) for event in told]


def moves_made(platform: Platform) -> list[tuple[int, str, str | None]]:
    return [
        (move.sequence, move.champion.version, move.before.version if move.before else None)
        for move in platform.champion.moves()
    ]


def assert_nothing_moved(platform: Platform, versions: tuple[str, str, str]) -> None:
    assert served(platform) == versions[1]
    assert moves_told(platform) == moves_made(platform) == [(1, versions[0], None), (2, versions[1], versions[0])]


# What a command does


def test_a_rollback_serves_the_former_champion_again_with_all_it_was_judged_by(platform, versions):
    first, second, _ = versions
    former = platform.champion.moves()[0].champion
    done = roll_back(platform, first[:6], reason="  two bad\ndays ")
    champion = platform.champion.current()
    assert done.moved
    assert done.champion == champion
    assert done.before.version == second
    assert (champion.rule, champion.reason) == ("rollback", "two bad days")
    undecided = {"by": "", "decided_at": "", "publications": 0}
    assert champion.publications == 3
    assert replace(champion, rule=former.rule, reason=former.reason, **undecided) == former


def test_the_ledger_says_who_went_back_from_what_to_what_when_and_why(platform, versions):
    before = LiveClock().now().isoformat()
    roll_back(platform, versions[0], reason="two bad days")
    event = platform.ledger.read("events")[-1]
    told = {name: event[name] for name in ("event", "candidate", "champion", "rule", "reason", "move")}
    assert told == {
        "event": "rolled_back",
        "candidate": versions[0],
        "champion": versions[1],
        "rule": "rollback",
        "reason": "two bad days",
        "move": 3,
    }
    assert "@" in event["by"]
    assert before <= event["decided_at"] <= LiveClock().now().isoformat()


def test_a_promotion_by_hand_overrules_the_gate_and_says_so(platform, versions):
    third = versions[2]
    promote_by_hand(platform, third, reason="")
    champion = platform.champion.current()
    assert (champion.version, champion.rule, champion.reason) == (third, "manual", "no reason given")
    assert champion == replace(
        judged(platform, third, rule="manual"),
        reason=champion.reason,
        by=champion.by,
        decided_at=champion.decided_at,
        publications=3,
    )
    assert platform.ledger.read("events")[-1]["event"] == "promoted"


def test_going_back_to_the_champion_moves_nothing_and_tells_nothing(platform, versions):
    before = platform.ledger.read("events")
    assert not roll_back(platform, versions[1], reason="again").moved
    assert_nothing_moved(platform, versions)
    assert platform.ledger.read("events") == before


def test_promoting_the_champion_confirms_it_and_moves_nothing(platform, versions):
    assert not promote_by_hand(platform, versions[1], reason="it is the best we have").moved
    assert_nothing_moved(platform, versions)
    event = platform.ledger.read("events")[-1]
    told = {name: event[name] for name in ("event", "candidate", "champion", "rule", "reason", "publications")}
    assert told == {
        "event": "confirmed",
        "candidate": versions[1],
        "champion": versions[1],
        "rule": "manual",
        "reason": "it is the best we have",
        "publications": 3,
    }
    assert "@" in event["by"]
    assert event["decided_at"]


def test_a_confirmation_holds_out_what_could_have_been_chosen_instead(platform, versions):
    assert decisions(platform) == []
    promote_by_hand(platform, versions[1], reason="it is the best we have")
    later = add_candidate(platform, 4)
    found = {version: held_out(first_scored(platform, version), decisions(platform)) for version in (*versions, later)}
    assert [told and (told.version, told.reason) for told in found.values()] == [
        *[(versions[1], "it is the best we have")] * 3,
        None,
    ]


@pytest.mark.parametrize("end", ["confirmed", "promoted", "gate"])
def test_gone_back_to_for_a_fault_a_champion_stands_in_until_the_gate_or_a_person_chooses(platform, versions, end):
    first, second, third = versions
    assert fault_of(platform) == ""
    roll_back_for(platform, "bad_output: forecasts_finite 40 > 0 on 2022-12-05", version=second)
    assert served(platform) == first
    assert fault_of(platform) == "bad_output: forecasts_finite 40 > 0 on 2022-12-05"
    if end == "gate":
        move_champion(
            platform,
            judged(platform, third, rule="replace"),
            expected=first,
            lineage=lineage(),
            run_id="run of the gate",
        )
    else:
        promote_by_hand(platform, first if end == "confirmed" else third, reason="looked at it")
    assert fault_of(platform) == ""


def test_a_confirmation_of_before_the_fault_chooses_nobody(platform, versions):
    first, second, _ = versions
    roll_back(platform, first, reason="")
    promote_by_hand(platform, first, reason="still the better one")
    promote_by_hand(platform, second, reason="no")
    roll_back_for(platform, "bad_output: no forecasts", version=second)
    assert (served(platform), fault_of(platform)) == (first, "bad_output: no forecasts")


def test_gone_back_to_because_it_was_better_a_champion_was_chosen(platform, versions):
    """By a test on evidence, as the gate chooses: that is no fault of anybody."""
    roll_back_for(platform, "champion_beaten 2.1 > 1.9: ICs of 60 sessions", version=versions[1])
    assert (served(platform), fault_of(platform)) == (versions[0], "")


def move_meanwhile(platform, version, before, monkeypatch):
    """The gate moves the pointer while a command is deciding."""

    def moved_first(*_):
        other = platform_at(platform.settings.home)
        record = judged(other, version, rule="refresh")
        move_champion(other, record, expected=before, lineage=lineage(), run_id="gate")
        return "somebody@somewhere"

    monkeypatch.setattr(switching, "_person", moved_first)


def test_a_champion_that_was_moved_meanwhile_is_not_confirmed(platform, versions, monkeypatch):
    fourth = add_candidate(platform, 4)

    move_meanwhile(platform, fourth, versions[1], monkeypatch)
    with pytest.raises(PointerConflict, match=f"expected {versions[1]}, was {fourth}"):
        promote_by_hand(platform, versions[1], reason="")
    assert decisions(platform) == []
    assert moves_told(platform) == moves_made(platform)


def test_a_candidate_trained_before_a_decision_and_scored_after_it_is_news(platform, versions):
    """Nobody could have chosen it, so nobody decided against it."""
    trained = add_candidate(platform, 4, score=False)
    roll_back(platform, versions[0], reason="two bad days")
    score_candidate(platform, trained, 4)
    (decision,) = decisions(platform)
    assert held_out(first_scored(platform, versions[2]), [decision]) == decision
    assert held_out(first_scored(platform, trained), [decision]) is None


def test_scores_made_again_do_not_make_a_candidate_news(platform, versions):
    roll_back(platform, versions[0], reason="two bad days")
    score_candidate(platform, versions[2], 9)
    assert held_out(first_scored(platform, versions[2]), decisions(platform)) is not None


def test_the_list_says_what_became_of_every_candidate(platform, versions):
    first, second, third = versions
    roll_back(platform, first, reason="two bad days")
    untold = platform.weights.save(
        {"mlp/refit": {"kernel": np.ones(1, dtype=np.float32)}},
        {"recipe": {"models": {"candidate": "mlp"}}, "data_end": "2022-12-28"},
    )
    platform.weights.publish(untold, lineage=None)
    shutil.rmtree(platform.weights.root / "artefacts" / third)
    told = {row.version: row for row in standings(platform)}
    assert list(told) == [untold, third, second, first]
    assert [row.rule for row in told.values()] == ["", "replace", "refresh", "rollback"]
    assert told[first].fate.startswith("served since 2022-12-28 21:30 UTC, by ")
    assert told[first].fate.endswith(": two bad days")
    assert f"chose {first[:12]}: two bad days" in told[second].fate
    assert told[third].fate == "refused: not superior.; its weights are gone"
    assert told[untold].fate == "never served"
    assert {(row.model, row.data_end) for row in (told[first], told[second])} == {("mlp", str(SESSIONS[-1]))}


# What is refused, and then nothing has moved


@pytest.mark.parametrize(
    ("switch", "version"),
    [(roll_back, "nothing"), (roll_back, ""), (promote_by_hand, "nothing"), (promote_by_hand, "")],
)
def test_an_unknown_version_is_refused_with_those_that_are_known(platform, versions, switch, version):
    with pytest.raises(
        MissingArtefact, match=rf"version '{version}': expected the beginning of exactly one"
    ) as refused:
        switch(platform, version, reason="")
    assert versions[0][:12] in str(refused.value)
    assert_nothing_moved(platform, versions)


def test_what_never_was_champion_cannot_be_rolled_back_to(platform, versions):
    with pytest.raises(MissingArtefact, match="exactly one former champion, was that of 0 of 2"):
        roll_back(platform, versions[2], reason="")
    assert_nothing_moved(platform, versions)


@pytest.mark.parametrize("table", ["gnn_weights", "oos_predictions", "portfolio_returns", "backtest_scores"])
@pytest.mark.parametrize("fault", ["flipped", "gone"])
@pytest.mark.parametrize("switch", ["rollback", "promote"])
def test_what_is_damaged_or_cleaned_up_is_not_served(platform, versions, switch, table, fault):
    target = versions[0] if switch == "rollback" else versions[2]
    record = judged(platform, target, rule="")
    if table == "gnn_weights":
        file = platform.weights.root / "artefacts" / target / "mlp.refit.safetensors"
    else:
        manifest = platform.lake.manifest(switching_table(table), getattr(record, table))
        file = platform.lake.root / table / "files" / manifest.files[0].name
    if fault == "gone":
        file.unlink()
    else:
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    expected = MissingArtefact if fault == "gone" else CorruptArtefact
    act = {"rollback": roll_back, "promote": promote_by_hand}[switch]
    with pytest.raises(expected, match=rf"candidate {target[:12]}: expected weights and tables stored and whole"):
        act(platform, target, reason="")
    assert_nothing_moved(platform, versions)


def switching_table(name: str):
    return next(table for table in switching._CITED if table.name == name)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ({"target": {**TARGET, "fill": "close_same"}}, "executable failed"),
        ({"failure": "NaN at epoch 1"}, "training_succeeded failed: value mlp/refit: NaN at epoch 1"),
        ({"scores": (0.1, float("nan"), 0.3, 0.4, 0.5)}, "scores_finite failed"),
        ({"training_end": SESSIONS[0]}, "scores_out_of_sample failed"),
        ({"arrays": {"kernel": np.array([1, np.inf], dtype=np.float32)}}, "weights_finite failed"),
        ({"target": {**TARGET, "horizon": 1}}, "same_target failed"),
    ],
)
def test_no_reason_promotes_what_fails_a_hard_check(platform, versions, fault, sentence):
    dishonest = add_candidate(platform, 4, **fault)
    with pytest.raises(ModelError, match=sentence):
        promote_by_hand(platform, dishonest, reason="I want it")
    assert_nothing_moved(platform, versions)


def test_a_champion_that_is_damaged_does_not_stop_what_takes_its_place(platform, versions):
    shutil.rmtree(platform.weights.root / "artefacts" / versions[1])
    promote_by_hand(platform, versions[2], reason="the champion is gone")
    assert served(platform) == versions[2]


def test_the_first_champion_may_be_put_in_place_by_hand(tmp_path):
    platform = platform_at(tmp_path)
    only = add_candidate(platform, 1)
    with pytest.raises(MissingArtefact, match="was that of 0 of 0; train one first"):
        roll_back(platform, only, reason="")
    assert promote_by_hand(platform, only, reason="the gate is too strict here").before is None
    assert moves_told(platform) == [(1, only, None)]


def test_no_reason_promotes_what_the_gate_caught_looking_ahead(platform, versions):
    refused = event_of("refused", judged(platform, versions[2], rule="replace"), against=versions[1])
    platform.ledger.append("events", {**refused, "failed": ["no_look_ahead"]})
    with pytest.raises(ModelError, match="no_look_ahead failed: value caught"):
        promote_by_hand(platform, versions[2], reason="it is so good")
    assert_nothing_moved(platform, versions)


@pytest.mark.parametrize(("switch", "target"), [(roll_back, 0), (promote_by_hand, 2)])
def test_a_pointer_that_moved_meanwhile_is_left_alone(platform, versions, switch, target, monkeypatch):
    fourth = add_candidate(platform, 4)

    move_meanwhile(platform, fourth, versions[1], monkeypatch)
    with pytest.raises(PointerConflict, match=f"expected {versions[1]}, was {fourth}"):
        switch(platform, versions[target], reason="")
    assert served(platform) == fourth
    assert moves_told(platform) == moves_made(platform)


# What a clean-up leaves


def test_a_clean_up_keeps_what_the_last_champions_need_and_what_a_person_chose(home, versions):
    hasty = platform_at(home, keep_versions=2, grace_hours=1e-9)
    promote_by_hand(hasty, versions[2], reason="")
    for number in range(4, 9):
        newer = add_candidate(hasty, number)
    clean_up(hasty)
    # Of the last two champions everything is kept; of what is older and was put in place by the gate nothing is.
    for version in versions[1:]:
        roll_back(hasty, version, reason="")
    with pytest.raises(MissingArtefact, match="cleaned up or damaged"):
        roll_back(hasty, versions[0], reason="")
    # Chosen by hand once, it stays, however many champions there were since.
    for expected, version in pairwise([versions[2], newer, versions[1], newer, versions[1]]):
        move_champion(hasty, judged(hasty, version, rule="refresh"), expected=expected, lineage=None, run_id="gate")
    clean_up(hasty)
    assert roll_back(hasty, versions[2], reason="").moved


# What a kill leaves


KILLED = [
    ("switch:checked", "old"),
    ("pointer:record-written", "old"),
    ("pointer:moved", "new"),
    ("ledger:line-written", "new"),
    ("switch:told", "new"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("failpoint", "state"), KILLED)
@pytest.mark.parametrize("switch", [("rollback", 0), ("promote", 2)], ids=lambda switch: switch[0])
def test_a_command_killed_at_any_step_leaves_the_old_or_the_new_and_is_told_once(
    home, versions, switch, failpoint, state
):
    platform, (name, target) = platform_at(home), switch
    ((code, _),) = run_commands(home, (name, versions[target]), failpoint=failpoint)
    assert code == -signal.SIGKILL
    assert served(platform) == versions[{"old": 1, "new": target}[state]]
    for _ in range(2):
        tell_moves(platform)
        assert moves_told(platform) == moves_made(platform)
    again = {"rollback": roll_back, "promote": promote_by_hand}[name](platform, versions[target], reason="again")
    assert again.moved == (state == "old")
    assert served(platform) == versions[target]
    assert moves_told(platform) == moves_made(platform)
    assert len(moves_made(platform)) == 3


@pytest.mark.slow
def test_a_switch_killed_before_it_was_told_is_told_by_the_next_one_first(home, platform, versions):
    run_commands(home, ("rollback", versions[0]), failpoint="pointer:moved")
    assert moves_told(platform) == moves_made(platform)[:-1]
    assert promote_by_hand(platform, versions[2], reason="").moved
    assert moves_told(platform) == moves_made(platform)
    told = [event for event in platform.ledger.read("events") if event.get("move") == 3]
    assert [(event["event"], event["reason"]) for event in told] == [("rolled_back", "rollback in a test")]


def test_a_ledger_from_before_moves_were_numbered_is_not_told_again(platform, versions):
    events = platform.ledger.read("events")
    (platform.ledger.folder / "events.jsonl").unlink()
    for event in events:
        own = ("id", "recorded_at", "move")
        platform.ledger.append("events", {name: event[name] for name in event if name not in own})
    tell_moves(platform)
    assert len(platform.ledger.read("events")) == len(events)


# What a race leaves


def race(home: Path, versions: tuple[str, str, str], *, processes: int) -> int:
    """Commands at once, each from the champion it finds; returns how many moved it."""
    platform = platform_at(home)
    before = moves_made(platform)
    wanted = [("rollback", versions[0]), ("promote", versions[2]), ("rollback", versions[1]), ("promote", versions[0])]
    said = run_commands(home, *(wanted[number % 4] for number in range(processes)), at_once=True)
    assert Counter(code for code, _ in said).keys() <= {0, 1}
    lost = [sentence for code, sentence in said if code == 1]
    assert all(sentence.startswith("pointer ") and "decide again" in sentence for sentence in lost), lost
    won = [sentence for code, sentence in said if code == 0]
    made = moves_made(platform)
    # Linear: each move left from the one before it, one for each command that says it moved.
    assert made[: len(before)] == before
    assert [number for number, *_ in made] == list(range(1, len(made) + 1))
    assert all(later[2] == earlier[1] for earlier, later in pairwise(made))
    assert len(made) - len(before) == won.count("moved")
    assert moves_told(platform) == made
    return won.count("moved")


@pytest.mark.slow
def test_of_commands_at_once_each_moves_what_it_saw_or_says_that_it_did_not(home, versions):
    assert race(home, versions, processes=4) >= 1


@pytest.mark.drill
def test_sixteen_commands_at_once_many_times(home, versions):
    moved = [race(home, versions, processes=16) for _ in range(25)]
    print(f"\n25 races of 16 commands: {sum(moved)} moves, at most {max(moved)} a race, history linear, each told once")


# What readers see


def flip(home: Path, versions: tuple[str, str, str], *, times: int, seed: int) -> None:
    """Goes back and forth in an order of the seed, and has the forecasts follow."""
    platform = platform_at(home)
    for turn, choice in enumerate(np.random.default_rng(seed).integers(2, size=times)):
        roll_back(platform, versions[choice], reason=f"turn {turn}")
        publish_forecasts(platform)


@pytest.mark.slow
def test_no_read_fails_while_the_champion_is_switched(home, versions):
    publish_forecasts(platform_at(home))
    with readers(home, 2) as told:
        flip(home, versions, times=8, seed=7)
    assert [failed for _, failed in told] == [[], []]
    assert min(reads for reads, _ in told) >= 1


@pytest.mark.slow
def test_what_readers_miss_is_told_and_one_that_dies_is_no_silence(home, versions):
    """The two ways in which the tests of readers could pass, or never end, whatever happens."""
    platform = platform_at(home)
    publish_forecasts(platform)
    with readers(home, 1) as told:
        shutil.rmtree(platform.weights.root / "artefacts" / versions[1])
        time.sleep(0.5)
    ((_, failed),) = told
    assert failed
    assert all(versions[1] in sentence for sentence in failed)
    with pytest.raises(AssertionError, match="ended by itself, exit code -9"), readers(home, 1):
        [process.kill() for process in FRESH.active_children()]
    assert not FRESH.active_children()


@pytest.mark.drill
def test_commands_under_load_of_readers_for_a_minute_and_no_read_fails(home, versions):
    publish_forecasts(platform_at(home))
    took, computed, began, choice = [], [], time.monotonic(), np.random.default_rng(60)
    with readers(home, 4) as told:
        while time.monotonic() < began + 60:
            target = versions[1 - versions.index(served(platform_at(home)))]
            before, burnt = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
            went = cli(home, "rollback", "--to", target)
            took.append(time.monotonic() - before)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            computed.append(after.ru_utime + after.ru_stime - burnt.ru_utime - burnt.ru_stime)
            assert went.returncode == 0, went.stderr
            assert served(platform_at(home)) == target
            publish_forecasts(platform_at(home))
            flip(home, versions, times=10, seed=int(choice.integers(2**31)))
    switches = len(moves_made(platform_at(home))) - 2
    print(
        f"\n{len(took)} rollbacks by the command under 4 readers, from its start to its end: median "
        f"{statistics.median(took):.2f} s, longest {max(took):.2f} s, of processor time {statistics.median(computed):.2f} "
        f"and {max(computed):.2f} s; {switches} switches in all; "
        f"{sum(reads for reads, _ in told)} reads, {sum(len(failed) for _, failed in told)} failed"
    )
    assert [failed for _, failed in told] == [[]] * 4
    assert max(took) < 5


# The command line


def cli(home: Path, *arguments: str):
    for name in ("dagster.yaml", "workspace.yaml"):
        assert not (home / name).exists()  # neither command needs Dagster
    return Home(home).run(*arguments)


@pytest.mark.slow
def test_the_commands_say_what_they_did_and_what_has_to_follow(home, versions):
    first, second, third = (version[:12] for version in versions)
    went = cli(home, "rollback", "--to", first, "--reason", "two [bad] days")
    assert went.returncode == 0, went.stderr
    assert f"champion: {second} → {first}, by rule rollback, " in went.stdout
    assert ": two [bad] days" in went.stdout
    assert "leaves it there until there is a newer candidate" in went.stdout
    assert "not yet the champion's: mlflow_mirror (shows none), forecasts (shows none)" in went.stdout
    again = cli(home, "rollback", "--to", first)
    assert (again.returncode, again.stdout.splitlines()[0]) == (
        0,
        f"{first} is the champion already: nothing was moved.",
    )
    refused = cli(home, "promote", "--to", "zzz")
    assert (refused.returncode, len(refused.stderr.strip().splitlines())) == (1, 1)
    assert refused.stderr.startswith("gnn-assets: version 'zzz': expected the beginning of exactly one candidate")
    listed = cli(home, "models").stdout
    assert all(version in listed for version in (first, second, third))
    assert "two [bad] days" in listed
    status = json.loads(cli(home, "status", "--json").stdout)["champion"]
    assert (status["version"], status["rule"], status["reason"]) == (versions[0], "rollback", "two [bad] days")
