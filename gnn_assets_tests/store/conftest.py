from collections.abc import Iterator

import pytest

from gnn_assets_tests.store.worker import Workers


@pytest.fixture(scope="session")
def workers() -> Iterator[Workers]:
    with Workers() as started:
        yield started
