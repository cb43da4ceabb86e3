import pytest

from gnn_assets.models import runtime
from gnn_assets_tests.models.synthetic import CONFIG


@pytest.fixture(scope="session", autouse=True)
def _jax_runs(tmp_path_factory):
    runtime.start(threads=CONFIG.runtime.threads, cache=tmp_path_factory.mktemp("xla"))
