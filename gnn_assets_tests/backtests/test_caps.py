from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnn_assets.backtests.caps import capped, sector_rows
from gnn_assets.bars.schema import UNIVERSE
from gnn_assets.core.errors import DataError

SIZES = st.lists(st.sampled_from([0.0, 0.01, 0.05, 0.1, 0.1, 0.25, 0.7]), min_size=1, max_size=12)
CAPS = st.sampled_from([0.05, 0.1, 0.3, 1.0])


def _capped(weights, sectors=None, *, name_cap=1.0, sector_cap=None):
    sectors_1xN = None if sectors is None else np.array([sectors])
    return capped(np.array([weights]), sectors_1xN, name_cap=name_cap, sector_cap=sector_cap)[0]


def _side(sizes, sectors, name_cap, sector_cap):
    """One side by bisection: the level, and below it that of each sector."""
    most = 1e9 if sector_cap is None else sector_cap

    def bisected(value_at, wanted):
        low, high = 0.0, 1e6
        for _ in range(120):
            middle = (low + high) / 2
            low, high = (middle, high) if value_at(middle) < wanted else (low, middle)
        return (low + high) / 2

    def within(sector, level):
        own = [size for size, other in zip(sizes, sectors, strict=True) if other == sector and size > 0]
        return sum(min(name_cap, level * size) for size in own)

    def total(level):
        return sum(min(most, within(sector, level)) for sector in set(sectors))

    level = bisected(total, sum(sizes))
    levels = {
        sector: bisected(lambda at, of=sector: within(of, at), most) if within(sector, level) > most else level
        for sector in set(sectors)
    }
    return [min(name_cap, levels[sector] * size) for size, sector in zip(sizes, sectors, strict=True)]


def test_known_answer_what_is_over_goes_to_the_others_in_proportion():
    np.testing.assert_allclose(_capped([0.6, 0.3, 0.1], name_cap=0.5), [0.5, 0.375, 0.125], rtol=1e-12)


def test_known_answer_a_name_lifted_to_the_cap_hands_on_what_it_cannot_take():
    np.testing.assert_allclose(_capped([0.6, 0.3, 0.1], name_cap=0.4), [0.4, 0.4, 0.2], rtol=1e-12)


def test_known_answer_a_sector_at_its_cap_keeps_its_proportions_and_the_rest_goes_to_other_sectors():
    # 0.8 in the first sector, capped at 0.5; the other half goes to the others, 3 to 1.
    result = _capped([0.6, 0.2, 0.15, 0.05], [0, 0, 1, 2], sector_cap=0.5)
    np.testing.assert_allclose(result, [0.375, 0.125, 0.375, 0.125], rtol=1e-12)


def test_what_nobody_can_take_stays_cash():
    np.testing.assert_allclose(_capped([0.7, 0.3], name_cap=0.2), [0.2, 0.2], rtol=1e-12)
    np.testing.assert_allclose(_capped([0.7, 0.3], [4, 4], sector_cap=0.5), [0.35, 0.15], rtol=1e-12)


def test_long_and_short_are_capped_apart():
    result = _capped([0.5, 0.1, -0.4, -0.2], [0, 1, 0, 1], name_cap=0.35, sector_cap=0.35)
    np.testing.assert_allclose(result, [0.35, 0.25, -0.35, -0.25], rtol=1e-12)


@given(sizes=SIZES, seed=st.integers(0, 99), name_cap=CAPS, sector_cap=st.none() | CAPS, short=st.booleans())
@settings(max_examples=150, deadline=None)
def test_it_is_what_bisection_finds(sizes, seed, name_cap, sector_cap, short):
    sectors = np.random.default_rng(seed).integers(0, 4, len(sizes)).tolist()
    sign = -1 if short else 1
    result = _capped([sign * size for size in sizes], sectors, name_cap=name_cap, sector_cap=sector_cap)
    np.testing.assert_allclose(sign * result, _side(sizes, sectors, name_cap, sector_cap), atol=1e-12)


@given(
    sizes=SIZES,
    seed=st.integers(0, 99),
    name_cap=CAPS,
    sector_cap=CAPS,
    signs=st.lists(st.sampled_from([1, -1]), min_size=12, max_size=12),
)
@settings(max_examples=150, deadline=None)
def test_caps_hold_and_sums_are_kept_as_far_as_there_is_room(sizes, seed, name_cap, sector_cap, signs):
    weights = np.array(sizes) * signs[: len(sizes)]
    sectors = np.random.default_rng(seed).integers(0, 4, len(sizes))
    result = _capped(weights, sectors, name_cap=name_cap, sector_cap=sector_cap)
    assert (np.abs(result) <= name_cap).all()
    assert (np.sign(result) == np.sign(weights)).all()
    for sign in (1, -1):
        side = sign * weights > 0
        held = [sign * result[side & (sectors == sector)].sum() for sector in range(4)]
        assert max(held) <= sector_cap + 1e-12
        room = sum(min(sector_cap, name_cap * (side & (sectors == sector)).sum()) for sector in range(4))
        assert sum(held) == pytest.approx(min(np.abs(weights[side]).sum(), room), abs=1e-12)
    np.testing.assert_allclose(_capped(result, sectors, name_cap=name_cap, sector_cap=sector_cap), result, atol=1e-12)


def test_a_row_within_its_caps_is_returned_bit_for_bit_whatever_other_rows_need():
    weights_RxN = np.array([[0.1, 0.2, 0.3], [0.9, 0.05, 0.05]])
    result_RxN = capped(weights_RxN, None, name_cap=0.3, sector_cap=None)
    assert result_RxN[0].tobytes() == weights_RxN[0].tobytes()
    np.testing.assert_allclose(result_RxN[1], [0.3, 0.3, 0.3])
    assert weights_RxN[1, 0] == 0.9


def test_a_cap_on_sectors_that_nobody_knows_is_refused():
    with pytest.raises(DataError, match=r"backtests\.sizing\.sector_cap: expected the sector of each name, was none"):
        _capped([0.5, 0.5], sector_cap=0.5)


def test_the_sector_is_that_of_the_membership_that_began_last():
    universe = UNIVERSE.conform(
        pl.DataFrame(
            {
                "symbol": ["A", "A", "B", "C"],
                "from_session": [date(2020, 1, 1), date(2021, 1, 1), date(2020, 1, 1), date(2020, 6, 1)],
                "to_session": [date(2020, 12, 31), None, None, None],
                "tier": "core",
                "sector": ["Energy", "Utilities", "Utilities", "Energy"],
                "survivor_only": False,
                "exchange": "XNYS",
                "priority": [0, 1, 2, 3],
            },
            schema_overrides={"to_session": pl.Date, "priority": pl.Int32},
        )
    )
    sessions = [date(2020, 3, 1), date(2020, 6, 1), date(2021, 1, 1)]
    rows_RxN = sector_rows(universe, sessions=sessions, symbols=["B", "A", "C", "X"])
    energy, utilities = 0, 1
    assert rows_RxN.tolist() == [
        [utilities, energy, -1, -1],
        [utilities, energy, energy, -1],
        [utilities, utilities, energy, -1],
    ]
