"""Writes the table of vendor faults from real runs: `python -m docs.make_vendor_faults`, from the project's root."""
# ruff: noqa: INP001 - a script, not a package

import tempfile
from pathlib import Path

from gnn_assets_tests.defs.vendor_faults import table

PAGE = Path(__file__).parent / "results" / "2026-11-21-vendor-faults.md"
HEAD = """# 2026-11-21: a faulty vendor, alone

**Asked.** When the only source of bars is faulty: what is stored, what is reported, and how many requests are sent?

**How.** `python -m docs.make_vendor_faults` writes this page. Each line is a real run: five symbols are stored to
yesterday, then the vendor breaks, and today's `market_bars` is made by the real asset with the vendor's own, unpatched
client. The vendor is a server on the loopback that speaks its wire format (Yahoo through a proxy and an authority of the
environment, massive and Alpaca through `base_url`). Profile `live`; clock at the close of 2022-01-25; rates that nobody
waits for, pauses of at most a millisecond before a further try, a timeout of 0.25 s in the lines of slow answers; all
else as in the defaults: three tries a request, a budget of five further tries a source, a circuit that opens after five
failed questions. Faults strike requests for bars only; those of a bar's numbers, one symbol and one session.

**On what.** The software alone decides: no line depends on the machine or its speed.

**What came out.** In every line the bars stored before are as they were, and every price stored was told by the vendor
as it was traded; `gnn_assets_tests/defs/test_bars_faults.py` holds each line to that, a third of them in `make test`,
all in `make drills`. *Published*: the run succeeds, with warnings where symbols are named; *refused*: fewer than 80 % of
symbols can be used, the run fails and the last good bars stay. A symbol's reason is shown as `symbol_status` and the
check `symbols_failed` give it, without its first words, "not fetched, its last good bars are kept". Answers that could
not be read are kept under `quarantine_payloads`, one `answer_refused` event each.

| vendor | fault | stored | reported | requests |
|---|---|---|---|---|
"""
FOOT = """
**What it does not show.** What a second source would have given: an outage is survived there, see
`test_an_outage_of_the_primary_loses_none_of_300_symbols`. Faults that look like good bars: those are for the rules.
"""

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        lines = table(Path(folder))
    PAGE.write_text(HEAD + "\n".join(lines) + "\n" + FOOT, encoding="utf-8")
