from datetime import date, timedelta

import pytest

from gnn_assets.core.sessions import SessionCalendar


@pytest.fixture(scope="session")
def calendar() -> SessionCalendar:
    until = date(2022, 1, 31)
    return SessionCalendar.build("XNYS", first=date(2019, 1, 2), until=until, grace=timedelta(minutes=30))
