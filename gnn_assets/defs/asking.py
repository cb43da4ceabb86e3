"""Asking the chain of sources for what is missing, each answer made durable as it comes."""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Any

import polars as pl

from gnn_assets.bars.chain import Chain, open_chain, source_plugin
from gnn_assets.bars.failover import Answered, gather, usable
from gnn_assets.bars.plan import needs
from gnn_assets.bars.schema import BARS_ASKED
from gnn_assets.bars.universe import until_sold
from gnn_assets.core.errors import ConfigError, Malformed
from gnn_assets.core.hashing import json_hash
from gnn_assets.defs.plots import table
from gnn_assets.defs.resources import Platform
from gnn_assets.defs.stage import StageRun
from gnn_assets.defs.status import source_states
from gnn_assets.defs.tables import stored
from gnn_assets.store.landing import Landed


def open_sources(platform: Platform) -> Chain:
    """The chain of sources that the configuration names, opened; nobody is asked anything.

    Raises:
        PluginError, ConfigError: as `open_chain`.
    """
    return open_chain(
        platform.config,
        keys=platform.settings.keys,
        exchanges=platform.exchanges,
        now=platform.clock.now,
        home=platform.settings.home.resolve(),
        scratch=platform.data / "sources",
        states=source_states(platform),
    )


class Asking:
    """Asks the chain for what is missing, and keeps each answer as it comes."""

    def __init__(
        self,
        run: StageRun,
        chain: Chain,
        universe: pl.DataFrame,
        *,
        damaged: bool,
    ) -> None:
        self._run, self._chain, self._universe, self._damaged = run, chain, universe, damaged
        self.asked_for: set[str] = set()
        self.failures: dict[str, str] = {}
        self._served: dict[str, str] = {}
        self._requests: dict[str, int] = {}
        self._number = 1

    def ask(self, symbols: Sequence[str] | None, *, refetch: Collection[tuple[str, str]]) -> list[Landed]:
        """Asks for what is missing of some symbols (None: all), and for whole histories where `refetch` says so.

        Returns:
            Every answer that is not in the lake yet, those of a run that was killed included.
        """
        platform, request, config = self._run.platform, self._run.request, self._run.config
        # What a damaged file lost must be asked for again, all of it.
        asked = BARS_ASKED.empty() if self._damaged else stored(platform, BARS_ASKED)
        landed = platform.landing.landed()
        self._number = 1 + max((answer.facts["number"] for answer in landed), default=0)
        gaps = needs(
            until_sold(self._universe, exchanges=platform.exchanges, sessions=config.bars.sessions_after_membership),
            asked,
            landed=answered(landed, late=False).select(list(BARS_ASKED.columns)),
            sources=[source.name for source in self._chain.opened],
            exchanges=platform.exchanges,
            first=_day(request.first, "first") or config.bars.from_session,
            last=_day(request.last, "last"),
            now=platform.clock.now(),
            overlap=config.bars.overlap_sessions,
            symbols=symbols,
            refetch=refetch,
        )
        self.asked_for |= {need.symbol for need in gaps}
        self._run.progress(0.05, f"asking {', '.join(self._names())} for {len(gaps)} symbols")
        gathered = gather(
            gaps,
            chain=self._chain.opened,
            now=platform.clock.now,
            on_answer=self._land,
            on_refusal=self._refuse,
            # The first twentieth of the bar is for opening, the last quarter for judging and storing.
            progress=lambda done, of, text: self._run.progress(0.05 + 0.7 * done / max(of, 1), text),
        )
        self.failures |= gathered.failures
        self._served |= gathered.served
        for name, count in gathered.requests.items():
            self._requests[name] = self._requests.get(name, 0) + count
        return platform.landing.landed()

    def metadata(self) -> dict[str, Any]:
        """How the asking went, for people."""
        chain = self._chain
        simulated = [name for name in self._names() if source_plugin(name).SIMULATED]
        return {
            "source": "; ".join(source_plugin(name).NAME_FOR_PEOPLE for name in self._names()),
            "terms": "; ".join(source_plugin(name).TERMS for name in self._names()),
            **({"simulated": "SIMULATED BARS: no market, no result"} if simulated else {}),
            "passed_over": "; ".join(chain.passed_over.values()) or "none",
            "sources": table(
                pl.DataFrame(
                    [
                        {
                            "source": source.name,
                            "circuit": source.breaker.state,
                            "symbols_served": sum(by == source.name for by in self._served.values()),
                            "requests": self._requests.get(source.name, 0),
                        }
                        for source in chain.opened
                    ]
                ),
                digits=0,
            ),
        }

    def _names(self) -> list[str]:
        return [source.name for source in self._chain.opened]

    def _land(self, answer: Answered) -> None:
        ask, fetched = answer.ask, answer.fetched
        good = usable(fetched.bars)
        given_any = set(good["symbol"])
        answered = [symbol for symbol in ask.symbols if symbol in given_any]
        present = set(good.filter(pl.col("session") == ask.last)["symbol"])
        facts = {
            "source": answer.source,
            "basis": answer.basis,
            "symbols": answered,
            # Without a bar of the last session, which may still come.
            "late": [symbol for symbol in answered if symbol not in present],
            "first": ask.first.isoformat(),
            "last": ask.last.isoformat(),
            "fetched_at": answer.fetched_at.isoformat(),
            "number": self._number,
            "payload_hash": fetched.payload_hash,
        }
        self._number += 1
        frames = {"bars": fetched.bars, "actions": fetched.actions}
        self._run.platform.landing.land(json_hash([facts, list(ask.symbols)]), frames, facts)

    def _refuse(self, source: str, error: Malformed) -> None:
        platform = self._run.platform
        kept = platform.refusals.keep(source, error.payload, str(error))
        platform.ledger.append(
            "events", {"event": "answer_refused", "source": source, "reason": str(error), "payload": kept}
        )


def answered(landed: Sequence[Landed], *, late: bool = True) -> pl.DataFrame:
    """What answers were given for: ``symbol``, ``source``, ``first``, ``last``, ``fetched_at``, ``payload_hash``.

    Args:
        landed: the answers.
        late: whether symbols count whose bar of the last session was not among them.
    """
    rows = [
        {
            "symbol": symbol,
            "source": answer.facts["source"],
            "first": date.fromisoformat(answer.facts["first"]),
            "last": date.fromisoformat(answer.facts["last"]),
            "fetched_at": datetime.fromisoformat(answer.facts["fetched_at"]),
            "payload_hash": answer.facts["payload_hash"],
        }
        for answer in landed
        for symbol in answer.facts["symbols"]
        if late or symbol not in answer.facts["late"]
    ]
    return pl.DataFrame(rows, schema={**BARS_ASKED.columns, "payload_hash": pl.String})


def given(answers: Sequence[Landed]) -> set[tuple[str, str]]:
    """Symbols and sources that answers were given for."""
    return {(symbol, str(answer.facts["source"])) for answer in answers for symbol in answer.facts["symbols"]}


def _day(text: str, name: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError.of(f"market_bars.{name}", expected="a date YYYY-MM-DD", was=text, do="correct it") from error
