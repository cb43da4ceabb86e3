"""Which sources are opened, and what one process tells the next about them."""

from datetime import UTC, datetime, timedelta

import pytest

from gnn_assets.bars.chain import open_chain
from gnn_assets.core.config import build_config
from gnn_assets.core.errors import ConfigError, Upstream
from gnn_assets_tests.bars.market import LATER, exchanges

WALL = datetime(2024, 5, 6, 12, tzinfo=UTC)
KEY = {"massive_key": "a-key-of-the-tests"}


def chain_of(tmp_path, *sources, states=None, wall=WALL, keys=KEY):
    """A chain under a clock that stands still, on a machine whose clock goes on."""
    return open_chain(
        build_config("live", {"bars": {"sources": list(sources)}, "sources": {"files": {"folder": str(tmp_path)}}}),
        keys=keys,
        exchanges=exchanges(),
        now=lambda: LATER,
        home=tmp_path,
        scratch=tmp_path / "scratch",
        states=states or {},
        wall=lambda: wall,
    )


def shut(chain):
    for source in chain.opened:
        for _ in range(5):
            source.breaker.record(Upstream("down"))
        assert source.breaker.state == "open"
    return chain


def test_sources_are_opened_in_their_order_and_one_without_its_key_is_passed_over(tmp_path):
    chain = chain_of(tmp_path, "yahoo", "massive", "sample", keys={})
    assert [source.name for source in chain.opened] == ["yahoo", "sample"]
    assert chain.passed_over == {"massive": "massive: passed over, GNN_ASSETS_MASSIVE_KEY not set"}
    with pytest.raises(ConfigError, match=r"bars\.sources: expected one source that can be asked"):
        chain_of(tmp_path, "massive", keys={})


def test_a_pause_runs_down_by_the_machines_clock_though_the_platforms_stands_still(tmp_path):
    states = shut(chain_of(tmp_path, "yahoo")).states(now=WALL)
    for seconds, state in ((0, "open"), (20, "open"), (31, "half_open")):
        (source,) = chain_of(tmp_path, "yahoo", states=states, wall=WALL + timedelta(seconds=seconds)).opened
        assert source.breaker.state == state


def test_a_source_on_this_machine_is_never_shut_by_what_another_process_met(tmp_path):
    chain = shut(chain_of(tmp_path, "yahoo", "files", "sample"))
    assert list(chain.states(now=WALL)) == ["yahoo"]
    # A file that names them all the same, such as one of an older release.
    every = {source.name: source.breaker.to_dict(now=WALL) for source in chain.opened}
    later = chain_of(tmp_path, "yahoo", "files", "sample", states=every)
    assert [source.breaker.state for source in later.opened] == ["open", "closed", "closed"]


@pytest.mark.parametrize("names", [("simulated", "yahoo"), ("massive", "yahoo", "simulated")])
def test_a_simulated_source_stands_alone_or_not_at_all(tmp_path, names):
    with pytest.raises(
        ConfigError, match="expected real sources, or one simulated source alone, was " + ", ".join(names)
    ):
        chain_of(tmp_path, *names)
    assert [source.name for source in chain_of(tmp_path, "simulated").opened] == ["simulated"]
