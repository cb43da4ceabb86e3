import jax
import pytest

from gnn_assets.core.errors import ConfigError, DataError, DiskFull
from gnn_assets.models.attempts import attempted
from gnn_assets_tests.models.synthetic import CONFIG

SETTINGS = CONFIG.models.training


def _failing(*faults):
    left = iter(faults)

    def work():
        for fault in left:
            raise fault
        return "done"

    return work


@pytest.mark.parametrize(
    "fault",
    [
        DiskFull("no room"),
        MemoryError(),
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 7 bytes."),
    ],
)
def test_a_fault_that_may_pass_is_met_by_two_more_tries(fault):
    assert attempted(_failing(), settings=SETTINGS) == ("done", 1)
    assert attempted(_failing(fault, fault), settings=SETTINGS) == ("done", 3)
    with pytest.raises(type(fault)):
        attempted(_failing(fault, fault, fault), settings=SETTINGS)


@pytest.mark.parametrize(
    "fault",
    [ConfigError("k"), DataError("d"), KeyboardInterrupt(), jax.errors.JaxRuntimeError("INVALID_ARGUMENT: shape")],
)
def test_no_pause_helps_other_faults(fault):
    with pytest.raises(type(fault)):
        attempted(_failing(fault), settings=SETTINGS)


def test_pauses_double(monkeypatch):
    told = []
    monkeypatch.setattr("tenacity.nap.time.sleep", told.append)
    settings = SETTINGS.model_copy(update={"retry_delay_seconds": 5, "attempts": 4})
    attempted(_failing(*[MemoryError()] * 3), settings=settings)
    assert told == [5, 10, 20]
