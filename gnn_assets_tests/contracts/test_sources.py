"""What every source of bars must do; a new file under bars/sources is tested here without further ado."""

import re
from datetime import date

import pytest

import gnn_assets.bars.sources
from gnn_assets.bars.fetched import FETCHED_COLUMNS, Fetched
from gnn_assets.bars.universe import _SYMBOL, read_universe, symbols_of
from gnn_assets.core.errors import SourceError
from gnn_assets.core.plugins import load_plugin, plugin_names

PACKAGE = gnn_assets.bars.sources.__name__
FIRST, LAST = date(2022, 12, 1), date(2022, 12, 28)
SYMBOLS = symbols_of(read_universe("sp500_sample.yaml"), "core")[:3]

pytestmark = pytest.mark.parametrize("name", plugin_names(PACKAGE))


def fetched(name: str) -> Fetched:
    return load_plugin(PACKAGE, name).fetch(SYMBOLS, first=FIRST, last=LAST)


def test_says_what_it_is_on_which_basis_and_under_which_terms(name):
    source = load_plugin(PACKAGE, name)
    assert source.BASIS in {"raw", "split", "split_div"}
    assert source.NAME_FOR_PEOPLE.strip()
    assert len(source.TERMS.split()) > 5


def test_gives_the_declared_columns_for_the_symbols_and_range_asked(name):
    answer = fetched(name)
    assert dict(answer.bars.schema) == dict(FETCHED_COLUMNS)
    assert set(answer.bars["symbol"]) | set(answer.failures) == set(SYMBOLS)
    assert not set(answer.bars["symbol"]) & set(answer.failures)
    assert answer.bars["session"].is_between(FIRST, LAST).all()


def test_names_its_payload_and_gives_the_same_answer_again(name):
    first, second = fetched(name), fetched(name)
    assert re.fullmatch("[0-9a-f]{64}", first.payload_hash)
    assert first.payload_hash == second.payload_hash
    assert first.bars.equals(second.bars)


def test_an_unknown_symbol_is_refused_or_reported_never_invented(name):
    stranger = "ZZZZZZZ.QQ"
    assert _SYMBOL.fullmatch(stranger)
    try:
        answer = load_plugin(PACKAGE, name).fetch([*SYMBOLS, stranger], first=FIRST, last=LAST)
    except SourceError as refused:
        named = str(refused)
    else:
        assert stranger not in set(answer.bars["symbol"])
        named = " ".join(answer.failures)
    assert stranger in named
