"""What the platform stores, reports and sends when its only source is faulty, fault by fault and vendor by vendor.

Each case is a real run: five symbols are stored to yesterday, the vendor breaks, and today's update is made.
`docs/make_vendor_faults.py` writes the table; `test_bars_faults` holds every row of it.
"""

import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from gnn_assets.bars.schema import MARKET_BARS, QUARANTINE
from gnn_assets_tests.bars.vendors.faults import Asked, Reply, ScriptedServer
from gnn_assets_tests.bars.vendors.scenarios import HTML
from gnn_assets_tests.bars.vendors.yahoo_server import YahooServer, chart
from gnn_assets_tests.defs.market_home import (
    VENDORS,
    Done,
    MarketHome,
    Vendor,
    altered,
    names,
    sessions,
    tell,
    traded,
    vendors,
    without,
)

SYMBOLS = names(5)
*_, YESTERDAY, TODAY = DAYS = sessions(16)
BARS = traded(SYMBOLS, DAYS)
# The symbol that faults of single symbols strike.
STRUCK = SYMBOLS[2]
_NEW = (pl.col("symbol") == STRUCK) & (pl.col("session") == TODAY)
# Seconds: a vendor's patience is tried with an answer that comes long after.
PATIENCE, LATE = 0.25, 5.0

# How every reason of a failed fetch begins; the page says it once.
_KEPT = "not fetched, its last good bars are kept: "

Break = Callable[[Any, Vendor], None]


def _always(reply: Reply) -> Break:
    return lambda server, vendor: server.always(vendor.bars_path, reply)


def _once(*replies: Reply | None) -> Break:
    return lambda server, vendor: server.script(vendor.bars_path, *replies)


def _told(bars: pl.DataFrame) -> Break:
    return lambda server, _vendor: tell(server, bars)


def _truncated(server: ScriptedServer, vendor: Vendor) -> None:
    whole = server.answer

    def half(asked: Asked) -> Reply:
        reply = whole(asked)
        return Reply(reply.body[: len(reply.body) // 2]) if asked.path.startswith(vendor.bars_path) else reply

    server.answer = half


def _empty(server: ScriptedServer, vendor: Vendor) -> None:
    if isinstance(server, YahooServer):
        server.always(vendor.bars_path, Reply(chart()))
    else:
        tell(server, BARS.clear())


def _bad_second_page(server: Any, vendor: Vendor) -> None:
    server.page_size = 4
    server.script(vendor.bars_path, None, Reply(HTML))


# Fault → how a vendor is broken. What the numbers of a bar say is broken for one symbol and session.
FAULTS: dict[str, Break] = {
    "none": lambda _server, _vendor: None,
    "429 without Retry-After": _always(Reply(status=429)),
    "429 with Retry-After: 3600": _always(Reply(status=429, headers={"Retry-After": "3600"})),
    "429 with Retry-After: 0, once": _once(Reply(status=429, headers={"Retry-After": "0"})),
    "500": _always(Reply(HTML, status=500)),
    "503": _always(Reply(status=503)),
    "503, once": _once(Reply(status=503)),
    "truncated JSON": _truncated,
    "HTML with 200": _always(Reply(HTML)),
    "empty result": _empty,
    "a symbol is missing": _told(without(BARS, STRUCK)),
    "a close is null": _told(altered(BARS, _NEW, close=pl.lit(None, dtype=pl.Float64))),
    "a close is infinite": _told(altered(BARS, _NEW, close=float("inf"))),
    "a close is negative": _told(altered(BARS, _NEW, close=-4.0)),
    "second page is HTML": _bad_second_page,
    "slower than the timeout": _always(Reply(b"{}", delay=LATE)),
    "connection reset": _always(Reply(cut="reset")),
}
CASES = [
    (vendor.name, fault)
    for vendor in VENDORS.values()
    for fault in FAULTS
    if vendor.pages or fault != "second page is HTML"
]


@dataclass(frozen=True)
class Row:
    """One line of the table, and what a test looks at behind it.

    Args:
        vendor: name of the plug-in.
        fault: one of `FAULTS`.
        new: symbols with a bar of today.
        reported: what a person reads.
        requests: that reached the vendor.
        done: the run.
        before: stored bars before it.
        after: stored bars after it.
        told: bodies that the vendor sent, in order.
        refused: bodies kept in quarantine, as the events name them.
    """

    vendor: str
    fault: str
    new: int
    reported: str
    requests: int
    done: Done
    before: pl.DataFrame
    after: pl.DataFrame
    told: list[bytes]
    refused: list[bytes]

    @property
    def line(self) -> str:
        """As Markdown."""
        stored = f"{self.new} of {len(SYMBOLS)} new" if self.new else "nothing new"
        return f"| {self.vendor} | {self.fault} | {stored} | {self.reported} | {self.requests} |"


@contextmanager
def stored_homes(folder: Path) -> Generator[dict[str, Path]]:
    """A home for each vendor with bars to yesterday, to be copied."""
    homes = {}
    for name in VENDORS:
        with vendors(BARS, name) as servers:
            home = MarketHome(folder / name, SYMBOLS, servers)
            assert home.update(YESTERDAY, only=["universe", "market_bars"]).success
            homes[name] = home.path
    yield homes


def run_case(stored: Path, folder: Path, vendor: str, fault: str) -> Row:
    """Breaks a vendor and makes today's update.

    Args:
        stored: a home with bars to yesterday.
        folder: a new one, to work in.
        vendor: name of the plug-in, the only source.
        fault: one of `FAULTS`.
    """
    shutil.copytree(stored, folder)
    with vendors(BARS, vendor) as servers:
        server = servers[vendor]
        patience = PATIENCE if FAULTS[fault] is FAULTS["slower than the timeout"] else 10.0
        home = MarketHome(folder, SYMBOLS, servers, settings={"sources": {vendor: {"timeout_seconds": patience}}})
        before = home.table(MARKET_BARS)
        FAULTS[fault](server, VENDORS[vendor])
        done = home.update(TODAY, only=["universe", "market_bars"])
        after = home.table(MARKET_BARS)
        return Row(
            vendor=vendor,
            fault=fault,
            new=after.filter(pl.col("session") == TODAY)["symbol"].n_unique(),
            reported=_reported(home, done),
            requests=len(server.asked),
            done=done,
            before=before,
            after=after,
            told=[reply.body for reply in server.told],
            refused=[
                home.platform(TODAY).refusals.payload(event["payload"]) for event in home.events("answer_refused")
            ],
        )


def _reported(home: MarketHome, done: Done) -> str:
    """In a person's words: how the run ended, why the first symbol failed, which rules were broken, what was kept."""
    parts = ["published" if done.success else "refused"]
    failed = done.checks["symbols_failed"]
    if not failed.passed:
        first = done.offenders("symbols_failed").splitlines()[0].removeprefix("* ")
        parts.append(f"{failed.metadata['value'].value} FAILED, as {first.replace(_KEPT, '')}")
    rules = sorted(set(home.table(QUARANTINE)["rule"]))
    if rules:
        parts.append(f"quarantined under {', '.join(rules)}")
    answers = len(home.events("answer_refused"))
    if answers:
        parts.append(f"{answers} answer{'s' * (answers > 1)} kept")
    return "; ".join(parts).replace("|", "\\|")


def table(folder: Path) -> list[str]:
    """Every line, from real runs in a folder."""
    with stored_homes(folder / "stored") as homes:
        rows = [
            run_case(homes[vendor], folder / f"case_{place}", vendor, fault)
            for place, (vendor, fault) in enumerate(CASES)
        ]
    return [row.line for row in rows]
