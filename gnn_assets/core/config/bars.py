"""The universe, its bars and what is refused of them."""

from datetime import date
from typing import Annotated

from pydantic import Field, model_validator

from gnn_assets.core.config.base import Name, Positive, Share
from gnn_assets.core.execution import Count, Section


class UniverseConfig(Section):
    """Where the universe is written down."""

    file: str


class RulesConfig(Section):
    """What is dirt in bars, level by level: row, symbol, session."""

    max_abs_log_return: Positive
    max_range_excess: Positive
    stale_sessions: Annotated[int, Field(ge=2)]
    max_gap_sessions: Count
    split_tolerance: Positive
    session_neighbours: Count
    min_session_coverage: Share
    max_rule_share: Share
    min_rule_symbols: Count


class BarsConfig(Section):
    """Where bars come from and what is refused."""

    sources: Annotated[tuple[Name, ...], Field(min_length=1)]
    from_session: date
    overlap_sessions: Count
    sessions_after_membership: Count
    min_symbol_coverage: Share
    min_success_share: Share
    max_quarantine_share: Share
    max_revised_share: Share
    min_revised_symbols: Count
    rules: RulesConfig

    @model_validator(mode="after")
    def _each_source_once(self) -> "BarsConfig":
        twice = [name for name in self.sources if self.sources.count(name) > 1]
        if twice:
            raise ValueError(f"bars.sources must name each source once, {twice[0]} comes twice")
        return self
