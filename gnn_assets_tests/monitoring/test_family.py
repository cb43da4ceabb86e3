"""Many distances, one value and one limit: the scale of each by known answers, and what each guard is there for."""

import numpy as np
import pytest

from gnn_assets.core.config import build_config
from gnn_assets.monitoring.family import Member, family_drift, family_reference, mean_distance, sum_rows

CONFIG = build_config("sample").drift.model_copy(update={"block": 1, "paths": 100})
HYSTERESIS = 0.1


def unit_series(seed, length):
    values = np.random.default_rng(seed).normal(size=length)
    return (values - values.mean()) / values.std()


def referred(*series, config=CONFIG):
    members = [Member(f"x{number}", sum_rows(values), mean_distance) for number, values in enumerate(series)]
    return family_reference(members, np.stack(series, axis=1), config=config, hysteresis=HYSTERESIS)


@pytest.mark.parametrize("length", [252, 2016])
def test_chance_is_the_window_s_and_the_reference_s_together(length):
    """Two means of independent sessions differ with variance 1 / W + 1 / T; one window in eight lies beyond the scale."""
    scales = [referred(unit_series(seed, length)).scales_M[0] for seed in range(8)]
    expected = 1.5341 * np.sqrt(1 / 63 + 1 / length)  # standard normal: P(|z| > 1.5341) = 63 / 504
    assert np.mean(scales) == pytest.approx(expected, rel=0.06)


def test_the_largest_distance_over_its_own_scale_is_the_value_and_members_beyond_the_limit_are_named():
    loud, calm = 100 * unit_series(1, 1008), unit_series(2, 1008)
    reference = referred(loud, calm)
    members = [
        Member(name, sum_rows(values[-63:] - values[-63:].mean() + shift), mean_distance)
        for name, values, shift in (("loud", loud, 10.0), ("calm", calm, 1.0))
    ]
    (drift,) = family_drift(reference, members, newest=1, config=CONFIG)
    assert reference.scales_M[0] > 50 * reference.scales_M[1]
    assert drift.value == pytest.approx(1.0 / reference.scales_M[1], rel=1e-6)
    assert drift.offenders == ("calm 1",)


def test_a_member_that_is_never_known_takes_no_part():
    alone, beside = referred(unit_series(1, 1008)), referred(unit_series(1, 1008), np.full(1008, np.nan))
    assert np.isnan(beside.scales_M[1])
    assert beside.limit == alone.limit


def test_a_distance_too_small_to_count_never_does():
    hardly = 1e-4 * unit_series(1, 1008)
    reference = referred(hardly)
    assert reference.scales_M[0] == CONFIG.least_change
    for shift, alarms in ((0.9, False), (1.1, True)):
        member = Member("x", sum_rows(np.full(63, shift * CONFIG.least_change)), mean_distance)
        (drift,) = family_drift(reference, [member], newest=1, config=CONFIG)
        assert (drift.value > drift.limit) == alarms
