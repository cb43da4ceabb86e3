import base64
import hashlib
import json
import math
import re
import sys
from datetime import UTC, date, datetime, timedelta
from operator import itemgetter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.backtests.drawdowns import drawdowns
from gnn_assets.backtests.tear_tables import percent
from gnn_assets.monitoring.timeline import timeline_page
from gnn_assets.monitoring.timeline_panels import Curve, Stretch, months, panel, reigns, stretches
from gnn_assets.monitoring.timeline_story import first_alarms, story, worst_drawdown
from gnn_assets.monitoring.walk import Happened, Measured, Ran, Walk, Walked
from gnn_assets_tests.html_page import Page
from gnn_assets_tests.monitoring.made_up_walk import SESSIONS, made_up_walk, over

CHROMIUM = Path("/usr/bin/chromium")
HOSTILE = "</script><script>document.title='taken'</script>\"'><img src=http://evil.example/x onerror=alert(1)>&amp;"
DAY = date(2020, 1, 2)
REASONS = (
    "graph_drift",
    "sharpe_below_benchmark",
    "coverage_miss",
    "accuracy_drop",
    "feature_drift",
    "of another kind",
)

texts = st.text(max_size=12) | st.sampled_from([HOSTILE, "", "graph_drift 3.4 > 2.1"])
numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
shares = st.none() | st.floats(-0.99, 5)
measures = st.builds(Measured, value=numbers, limit=numbers, alarm=st.booleans())
assets = st.sampled_from(["gnn_weights", "market_bars", "champion", "forecasts"])
runs = st.builds(
    Ran,
    assets=st.lists(assets, max_size=3).map(tuple),
    why=st.dictionaries(assets, texts, max_size=2),
    failed=st.dictionaries(assets, texts, max_size=2),
    seconds=st.floats(0, 100),
)
events = st.builds(
    Happened,
    event=st.sampled_from(["promoted", "refused", "rolled_back", "degraded", "recovered", "stage_failed"]),
    what=texts,
    reason=texts,
)
seen = st.builds(
    Walked,
    session=st.just(DAY),
    moment=st.just(datetime(2020, 1, 2, 22, tzinfo=UTC)),
    runs=st.lists(runs, max_size=2).map(tuple),
    versions=st.just({}),
    measured=st.dictionaries(st.sampled_from(REASONS), measures, max_size=3),
    decision=st.sampled_from(["train", "retry", "hold", "none"]),
    why=texts,
    cause=texts,
    events=st.lists(events, max_size=2).map(tuple),
    alerts=st.lists(texts, max_size=2).map(tuple),
    champion=st.none() | st.sampled_from(["a" * 64, "b" * 64, HOSTILE]),
    market=shares,
    served=shares,
    equal_weight=shares,
    drift=st.none() | measures,
)
walks = st.builds(
    lambda sessions, text, seconds: walk_of(*sessions, name=text, label=text, seconds=seconds),
    st.lists(seen, max_size=5),
    texts,
    st.floats(0, 1e4),
)


def walk_of(*sessions, name="2020-01", label="made up", seconds=10.0):
    dated = [one.model_copy(update={"session": DAY + timedelta(days=shift)}) for shift, one in enumerate(sessions)]
    return Walk(name=name, profile="test", label=label, sessions=tuple(dated), seconds=seconds)


def quiet(**changed):
    blank = dict.fromkeys(("why", "cause"), "") | dict.fromkeys(("runs", "events", "alerts"), ())
    blank |= dict.fromkeys(("champion", "market", "served", "equal_weight", "drift"))
    moment = datetime(2020, 1, 2, 22, tzinfo=UTC)
    return Walked(
        **{"session": DAY, "moment": moment, "versions": {}, "measured": {}, "decision": "none", **blank, **changed}
    )


def trained(reason="graph_drift 3.4 > 2.1"):
    return Ran(assets=("gnn_weights",), why={"gnn_weights": reason}, failed={}, seconds=1.0)


def readings_of(text):
    return json.loads(re.search(r'<script type="application/json" id="readings">(.*?)</script>', text, re.DOTALL)[1])


def told(walk):
    return " ".join(sentence for paragraph in story(walk) for sentence in paragraph)


@pytest.fixture(scope="module")
def walk():
    return made_up_walk()


@pytest.fixture(scope="module")
def text(walk):
    return timeline_page(walk)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


# ---- the page as a file --------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(walks)
def test_of_whatever_was_seen_there_is_a_whole_page_into_which_no_text_brings_html(walk):
    text = timeline_page(walk)
    page = Page(text)
    assert page.tags.count("h1") == 1
    assert page.tags.count("script") == 2
    assert not {"img", "link", "iframe", "object", "embed", "base", "form", "a"} & set(page.tags)
    assert not any(name.startswith("on") for name, _ in page.attributes)
    leads = [value for name, value in page.attributes if name in {"href", "xlink:href", "src", "srcset", "action"}]
    assert all(value.startswith("#") for value in leads)
    assert "nan" not in "".join(value for name, value in page.attributes if name in {"d", "style", "viewbox"})
    names = [value for name, value in page.attributes if name == "id"]
    assert len(names) == len(set(names))


def test_nothing_in_it_leads_outside_and_it_is_read_in_the_dark_and_on_paper(text):
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert "url(" not in text
    assert "@media screen and (prefers-color-scheme: dark)" in text
    assert "@media print" in text


def test_the_one_script_that_may_run_is_the_pages_own(text):
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in text


def test_the_same_walk_gives_the_same_bytes(walk, text):
    assert timeline_page(Walk.model_validate_json(walk.model_dump_json())) == text


def test_a_walk_without_a_session_says_so(page):
    empty = walk_of()
    text = timeline_page(empty)
    assert "The replay holds no session." in Page(text).text
    assert empty.hash in text
    assert 'class="panels"' not in text


# ---- figures and words ---------------------------------------------------------------------------------------------


def test_the_headline_counts_what_the_walk_holds(walk, text, page):
    shown = dict(re.findall(r"<div><dt>(.*?)</dt><dd>(.*?)</dd></div>", text))
    entered = [one.event for walked in walk.sessions for one in walked.events]
    assert shown["sessions"] == str(SESSIONS)
    assert shown["trainings"] == str(sum("gnn_weights" in run.why for walked in walk.sessions for run in walked.runs))
    assert shown["promotions"] == str(entered.count("promoted"))
    assert shown["refusals"] == str(entered.count("refused"))
    assert shown["alerts"] == str(sum(len(walked.alerts) for walked in walk.sessions))
    assert shown["failed runs"] == "1"
    assert shown["wall time a session"] == f"{walk.seconds / SESSIONS:.2f} s"
    assert walk.hash in page.text


def test_a_training_that_failed_is_none_and_is_told(walk):
    failed = Ran(assets=("gnn_weights",), why={}, failed={"gnn_weights": "loss is not finite"}, seconds=1.0)
    text = timeline_page(walk_of(quiet(runs=(trained(),)), quiet(runs=(failed,))))
    assert "<dt>trainings</dt><dd>1, 1 failed</dd>" in text
    assert Page(text).tables["Failed runs"][1:] == [["2020-01-03", "gnn_weights", "loss is not finite"]]


@given(st.lists(st.integers(-300, 300).map(lambda value: value / 1000), min_size=1, max_size=40))
def test_the_worst_drawdown_is_that_of_the_returns_behind_the_values(returns):
    values = (np.cumprod(1 + np.array(returns)) - 1).tolist()
    holed = [number for value in values for number in (None, value, float("nan"))]
    place, depth = worst_drawdown(holed)
    assert depth == pytest.approx(drawdowns(np.array(returns)).depth, abs=1e-9)
    assert holed[place] is not None


def test_a_drawdown_of_nothing_known_is_not_known(walk):
    assert worst_drawdown([None, float("nan")]) is None
    assert timeline_page(walk_of(quiet())).count("<dd>not known yet</dd>") == 2


def test_the_first_alarm_of_each_reason_is_told_with_its_session_value_and_limit():
    walk = walk_of(
        quiet(measured={"coverage_miss": over(0.2, 1.0), "graph_drift": over(0.5, 1.0)}),
        quiet(measured={"graph_drift": over(3.4, 2.1)}),
        quiet(measured={"graph_drift": over(5.0, 2.1), "coverage_miss": over(1.5, 1.0)}),
    )
    assert [(one.reason, str(one.session), one.measured.value, one.sessions) for one in first_alarms(walk)] == [
        ("graph_drift", "2020-01-03", 3.4, 2),
        ("coverage_miss", "2020-01-04", 1.5, 1),
    ]
    assert Page(timeline_page(walk)).tables["First alarm of each reason"][1:] == [
        ["graph_drift", "2020-01-03", "3.4", "2.1", "2", "train"],
        ["coverage_miss", "2020-01-04", "1.5", "1", "1", "tell"],
    ]
    assert "The first alarm came on 2020-01-03, session 2: graph_drift (value 3.4, limit 2.1)." in told(walk)


def test_of_an_alarm_on_the_first_session_nobody_says_when_it_began():
    walk = walk_of(quiet(measured={"graph_drift": over(3.4, 2.1)}))
    assert "On the first session, 2020-01-02, there was an alarm already (when it began was not seen)" in told(walk)


def test_drift_of_the_graph_that_no_decision_measured_is_an_alarm_too():
    (alarm,) = first_alarms(walk_of(quiet(drift=over(3.4, 2.1))))
    assert (alarm.reason, alarm.measured.value) == ("graph_drift", 3.4)


def test_how_long_it_took_to_the_first_challenger_counts_from_the_first_alarm_that_asks_for_one():
    tells, asks = {"coverage_miss": over(2.0, 1.0)}, {"graph_drift": over(3.4, 2.1)}
    walk = walk_of(quiet(measured=tells), quiet(measured=asks), quiet(), quiet(runs=(trained(),)))
    assert "The first challenger was trained on 2020-01-05, for: graph_drift 3.4 > 2.1." in told(walk)
    assert (
        "That was 2 sessions (2 days) after the first alarm that asks for a training, graph_drift on 2020-01-03."
        in told(walk)
    )
    at_once = walk_of(quiet(measured=asks, runs=(trained(),)))
    assert "That was in the session of the first alarm that asks for a training, graph_drift on 2020-01-02." in told(
        at_once
    )
    before = walk_of(quiet(runs=(trained("manual"),)), quiet(measured=asks))
    assert "At no session's end before it was an alarm seen that asks for a training." in told(before)


def test_what_the_gate_said_is_quoted_and_counted():
    refused = Happened(event="refused", what="c" * 64, reason="refused by rmse 1.3 > 1.1.")
    promoted = Happened(event="promoted", what="d" * 64, reason="passed.")
    sentences = told(walk_of(quiet(events=(refused,)), quiet(events=(promoted, refused))))
    assert "1 promotion and 2 refusals were entered." in sentences
    assert f"The first candidate refused was {'c' * 12}, on 2020-01-02: “refused by rmse 1.3 > 1.1”." in sentences
    assert f"The first candidate promoted was {'d' * 12}, on 2020-01-03: “passed”." in sentences


def test_a_calm_walk_is_called_no_more_than_that():
    sentences = told(walk_of(quiet(), quiet()))
    for calm in (
        "What was served (net): not known yet.",
        "No measured value was beyond its limit.",
        "No challenger was trained.",
        "No candidate was promoted or refused.",
        "No champion served.",
        "No run failed.",
    ):
        assert calm in sentences


# ---- panels --------------------------------------------------------------------------------------------------------


def test_every_panel_says_of_every_session_what_the_walk_holds(walk, text):
    readings = readings_of(text)
    (earned, drift, sharpe, coverage, *_) = readings["panels"]
    assert all(len(panel) == SESSIONS for panel in readings["panels"])
    for place, walked in enumerate(walk.sessions):
        assert readings["sessions"][place].startswith(f"{walked.session}: champion {walked.champion[:12]}")
        ratio, covered = walked.measured["sharpe_below_benchmark"], walked.measured["coverage_miss"].value
        assert sharpe[place] == (
            "value not known yet, limit not known yet" if ratio.value is None else f"value {ratio.value:.4g}, limit 0.5"
        )
        assert drift[place].endswith("limit 2.1" if walked.drift else "limit not known yet")
        assert covered is None or f"{round(100 * covered, 2):g}" in coverage[place]
        assert ("served, net not known yet" in earned[place]) == (walked.served is None)
        happened = [*walked.alerts, *(one.reason for one in walked.events)]
        assert all(one in readings["happened"][place] for one in happened)


def test_what_is_not_known_is_a_gap_and_what_is_known_alone_a_dot():
    drawn = panel("t", "a", [Curve("value", [0.0, None, 1.0, 4.0, float("nan")], 1)], shown=str)
    assert drawn.curves[0][1] == "M0.5 100.00h0M2.5 75.00L3.5 0.00"
    assert drawn.readings[1] == drawn.readings[4] == "value not known yet"
    assert [place for place, _ in drawn.ticks] == [100.0, 75.0, 50.0, 25.0, 0.0]


@given(st.lists(numbers | st.just(float("nan")) | st.just(float("inf")), min_size=1, max_size=20))
def test_every_known_value_is_drawn_inside_its_panel_in_order(values):
    drawn = panel("t", "a", [Curve("value", values, 1)], shown=str)
    heights = [float(height) for height in re.findall(r"[ML][\d.]+ ([\d.]+)", drawn.curves[0][1])]
    known = [value for value in values if value is not None and not math.isnan(value)]
    assert len(heights) == len(known)
    assert all(0 <= height <= 100 for height in heights)
    # A greater value is never lower; the height is counted from the top.
    by_value = [height for _, height in sorted(zip(known, heights, strict=True), key=itemgetter(0))]
    assert by_value == sorted(by_value, reverse=True)


@pytest.mark.parametrize("farthest", [1e9, sys.float_info.max, math.inf])
def test_one_value_that_is_farther_than_any_scale_leaves_the_others_readable(farthest):
    near = panel("t", "a", [Curve("value", [1.0, 2.0], 1)], shown=str)
    far = panel("t", "a", [Curve("value", [1.0, 2.0, farthest], 1)], shown=str)
    assert far.curves[0][1].startswith(near.curves[0][1])
    assert far.curves[0][1].endswith("L2.5 0.00")


def test_a_panel_of_nothing_known_says_so():
    text = timeline_page(walk_of(quiet()))
    assert text.count("value not known in any session") == 7
    assert text.count("served, net not known in any session") == 1
    limit_alone = {"coverage_miss": Measured(value=None, limit=0.8, alarm=False)}
    assert timeline_page(walk_of(quiet(measured=limit_alone))).count("value not known in any session") == 7


@given(st.lists(st.booleans(), max_size=30))
def test_shaded_sessions_are_those_with_an_alarm(alarms):
    shaded = [place for one in stretches(alarms) for place in range(one.start, one.start + one.length)]
    assert shaded == [place for place, alarm in enumerate(alarms) if alarm]
    assert all(one.length > 0 for one in stretches(alarms))


def test_a_champion_keeps_its_colour_when_it_comes_back():
    sessions = [quiet(champion=name) for name in (None, "a", "a", "b", "a")]
    first, again, other = reigns(sessions, colours=9)
    assert (first.version, first.stretch, again.stretch) == ("a", Stretch(1, 2), Stretch(4, 1))
    assert first.colour == again.colour != other.colour


def test_few_months_are_named_and_each_year_once():
    days = [date(2019, 11, 20) + timedelta(days=shift) for shift in range(90)]
    assert months(days) == [(0, "Nov", "2019"), (42, "Jan", "2020"), (73, "Feb", "")]
    assert len(months([DAY + timedelta(days=shift) for shift in range(3650)])) <= 8
    assert months([]) == []


def test_each_kind_of_mark_is_counted_and_stands_at_its_session(walk, text):
    lanes = dict(re.findall(r"</svg><span>([\w ]+)</span><b>(\d+)</b>", text))
    decisions = [walked.decision for walked in walk.sessions]
    assert {name: int(lanes[name]) for name in ("train", "retry", "hold")} == {
        name: decisions.count(name) for name in ("train", "retry", "hold")
    }
    assert (lanes["promoted"], lanes["degraded"], lanes["recovered"], lanes["failed runs"]) == ("2", "1", "1", "1")
    (place,) = [place for place, walked in enumerate(walk.sessions) if any(run.failed for run in walked.runs)]
    left = f"left: {100 * (place + 0.5) / SESSIONS:.4f}%"
    session = walk.sessions[place].session
    assert re.search(rf"{left}[^>]*><title>{session}, failed runs: market_bars: source simulated", text)


# ---- the table -----------------------------------------------------------------------------------------------------


def test_the_table_holds_every_session_with_its_reasons(walk, page):
    header, *rows = page.tables["Every session"]
    assert len(rows) == SESSIONS
    for walked, row in zip(walk.sessions, rows, strict=True):
        cells = dict(zip(header, row, strict=True))
        assert cells["session"] == str(walked.session)
        assert cells["decision"].startswith(walked.decision + walked.why)
        assert all(why in cells["runs, failed ones first"] for run in walked.runs for why in run.why.values())
        assert all(reason in cells["alarms"] for reason, one in walked.measured.items() if one.alarm)
        assert cells["champion"] == walked.champion[:12]
        assert cells["hash"] == walked.hash[:12]
    assert percent(walk.sessions[-1].served) in page.text


def test_a_sessions_failed_runs_come_first():
    failed = Ran(assets=("market_bars",), why={}, failed={"market_bars": "timeout"}, seconds=1.0)
    rows = Page(timeline_page(walk_of(quiet(runs=(trained(), failed))))).tables["Every session"]
    assert rows[1][2] == "market_bars failed: timeoutgnn_weights: graph_drift 3.4 > 2.1"


def test_assets_made_for_one_reason_stand_together_and_what_was_not_made_is_named():
    run = Ran(assets=("a", "b", "c"), why={"a": "new_session", "b": "new_session"}, failed={}, seconds=1.0)
    rows = Page(timeline_page(walk_of(quiet(runs=(run,))))).tables["Every session"]
    assert rows[1][2] == "a, b: new_sessionc: not made"


# ---- in a browser --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium: deploy/drill-packages installs it where it may")
def test_a_browser_shows_it_from_a_file_on_a_screen_and_on_a_phone(walk, tmp_path):
    from playwright.sync_api import sync_playwright

    walk = walk.model_copy(update={"label": HOSTILE})
    first = walk.sessions[0].model_copy(update={"alerts": (HOSTILE,), "why": HOSTILE, "champion": HOSTILE})
    walk = walk.model_copy(update={"sessions": (first, *walk.sessions[1:])})
    file, said, asked = tmp_path / "timeline.html", [], []
    file.write_text(timeline_page(walk), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        for width in (1280, 390):
            page = browser.new_page(viewport={"width": width, "height": 900})
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("request", lambda request: asked.append(request.url))
            page.goto(file.as_uri())
            looked_at(page, walk, width=width)
        browser.close()
    assert said == []
    assert set(asked) == {file.as_uri()}


def looked_at(page, walk, *, width):
    """The cursor goes where the slider and the pointer say, and every panel tells of that session."""
    page.locator("summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if width < 400:  # nothing has to be pushed sideways to be read
        assert page.locator(".wide").evaluate_all("all => all.every(one => one.scrollWidth <= one.clientWidth)")
    assert page.title() == f"Replay: {walk.name}"
    readings = readings_of(timeline_page(walk))
    page.locator(".slider").focus()
    page.keyboard.press("Home")
    assert page.locator(".session").inner_text() == readings["sessions"][0]
    assert page.locator(".happened").inner_text().split() == readings["happened"][0].split()
    place = 48
    plot = page.locator(".plot").nth(2)
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    middle = box["x"] + box["width"] * (place + 0.5) / len(walk.sessions)
    page.mouse.move(middle, box["y"] + 5)
    assert page.locator(".session").inner_text() == readings["sessions"][place]
    assert page.locator(".reading").all_inner_texts() == [panel[place] for panel in readings["panels"]]
    cursors = {round(cursor.bounding_box()["x"]) for cursor in page.locator(".cursor").all()}
    assert max(abs(cursor - middle) for cursor in cursors) <= 2
