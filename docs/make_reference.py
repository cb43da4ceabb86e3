"""Writes docs/reference.md from the code, so that the reference cannot drift: `python docs/make_reference.py`."""
# ruff: noqa: INP001 - a script, not a package

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import typer
import yaml

from gnn_assets.backtests import strategies
from gnn_assets.bars import sources
from gnn_assets.cli import app
from gnn_assets.core import settings
from gnn_assets.core.config import DEFAULTS_FILE, Config, build_config, profile_names
from gnn_assets.core.plugins import load_plugin, plugin_names
from gnn_assets.definitions import JOBS, STAGES
from gnn_assets.defs.automation import SENSOR_NAME
from gnn_assets.defs.following import FOLLOWING_SENSOR
from gnn_assets.defs.io import stage_asset
from gnn_assets.defs.stage import Stage
from gnn_assets.defs.tables import TABLES
from gnn_assets.graphs import measures
from gnn_assets.models import zoo
from gnn_assets.store.schema import MOMENT, Table

REFERENCE = Path(__file__).with_name("reference.md")

# Columns that mean the same wherever they stand; a table's own schema has the last word.
COMMON_COLUMNS = {
    "attempts": "times the stage has tried this session",
    "close": "quote currency; null where the source has none",
    "degree_max": "most out-neighbours of a symbol",
    "degree_min": "fewest out-neighbours of a symbol",
    "dst": "the neighbour",
    "graph_session": "session of the graph the score was made on",
    "high": "quote currency; null where the source has none",
    "low": "quote currency; null where the source has none",
    "model": "candidate, its ablation without graph, or a baseline",
    "open": "quote currency; null where the source has none",
    "sector": "GICS sector",
    "session": "session of the exchange",
    "source": "plug-in the bars came from",
    "src": "symbol whose neighbours are listed",
    "stage": "asset that worked on the symbol",
    "symbol": "ticker, as the source writes it",
    "symbols": "nodes of the graph",
    "value": "the measure itself",
    "version": "gnn_weights version that is judged",
    "volume": "shares; null where the source has none",
}
# Tables that are written beside an asset rather than by one of their own.
WRITTEN_BY = {
    "served_forecasts": "`forecasts`",
    "quarantine": "`market_bars`",
    "corporate_actions": "`market_bars`",
    "bars_asked": "`market_bars`",
    "symbol_status": "every stage that works symbol by symbol",
    "graph_statistics": "`correlation_graphs`",
    "hypotheses": "`gnn-assets hypotheses run`",
}


def reference() -> str:
    """The whole page."""
    parts = (_head(), _commands(), _environment(), _configuration(), _assets(), _tables(), _plugins())
    return "\n".join(line for part in parts for line in (*part, "")).rstrip() + "\n"


def _head() -> Iterator[str]:
    yield "# Reference"
    yield ""
    yield "Made from the code by `python docs/make_reference.py`; a test fails when the two differ. Do not edit it here."


def _commands() -> Iterator[str]:
    yield "## Commands"
    yield ""
    yield "Exit code 0 is success, 1 an error of the platform, 2 a wrong setting or argument. Errors are one sentence."
    yield ""
    rows = []
    for name, command in walk_commands(typer.main.get_command(app)):
        options = [
            f"`{'`, `'.join(option.opts)}` {option.help or ''}{_default(option)}".strip()
            for option in command.params
            if option.name != "help"
        ]
        rows.append((f"`gnn-assets {name}`", inspect.cleandoc(command.help or ""), "<br>".join(options)))
    yield from _table(("command", "what it does", "options"), rows)


def walk_commands(command: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every command with the words that call it."""
    for name, child in command.commands.items():
        if hasattr(child, "commands"):
            yield from walk_commands(child, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", child


def _default(option: Any) -> str:
    if option.required:
        return " (required)"
    return "" if getattr(option, "is_flag", False) or option.default is None else f" (default {option.default})"


def _environment() -> Iterator[str]:
    yield "## Environment variables"
    yield ""
    yield "They are read in one place, `gnn_assets/core/settings.py`."
    yield ""
    rows = re.findall(r"^(GNN_ASSETS_\S+)\s+(.+)$", inspect.getdoc(settings) or "", flags=re.MULTILINE)
    yield from _table(
        ("variable", "meaning"),
        [
            *((f"`{name}`", meaning) for name, meaning in rows),
            ("`DAGSTER_HOME`", "Dagster's own home; the platform's home unless it is set"),
            ("`JAX_PLATFORMS`", "where jax computes; `cpu` unless it is set"),
        ],
    )


def _configuration() -> Iterator[str]:
    yield "## Configuration"
    yield ""
    yield (
        "Every number of the platform stands in `gnn_assets/core/defaults.yaml`. A profile changes some of them, then "
        "`GNN_ASSETS_CONFIG_FILE`, then single variables such as `GNN_ASSETS_CONFIG__GRAPHS__K=7`. An unknown name or "
        "a value out of range is refused."
    )
    base = yaml.safe_load(DEFAULTS_FILE.read_text(encoding="utf-8"))["base"]
    meanings = setting_meanings()
    for section, field in Config.model_fields.items():
        yield ""
        yield f"### Settings `{section}`"
        yield ""
        if section == "ages":
            yield "Limits of each asset, in hours; they stand beside the assets below."
            yield ""
            yield from _table(
                ("setting", "meaning"),
                [(f"`{name}`", meanings["ages", name]) for name in ("age_hours", "deadline_hours", "rebuild")],
            )
            continue
        yield inspect.getdoc(field.annotation) or ""
        yield ""
        rows = [
            (f"`{'.'.join(path)}`", f"`{_value(value)}`", _allowed(path), meanings[path])
            for path, value in leaves(base[section], (section,))
        ]
        yield from _table(("setting", "default", "allowed", "meaning"), rows)
    yield ""
    yield "### Profiles"
    yield ""
    yield "What a profile changes; everything else is the default."
    yield ""
    yield from _profiles(base)


def leaves(values: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every single setting with its path."""
    for name, value in values.items():
        path = (*prefix, name)
        if isinstance(value, Mapping):
            yield from leaves(value, path)
        else:
            yield path, value


def setting_meanings() -> dict[tuple[str, ...], str]:
    """Path of a setting → the comment beside it in the defaults file; those of `ages` stand above its rows."""
    text = DEFAULTS_FILE.read_text(encoding="utf-8")
    lines = text.splitlines()
    document = yaml.compose(text, Loader=yaml.SafeLoader)
    base = next(value for key, value in document.value if key.value == "base")
    found: dict[tuple[str, ...], str] = {}

    def walk(node: yaml.MappingNode, prefix: tuple[str, ...]) -> None:
        for key, value in node.value:
            path = (*prefix, key.value)
            if isinstance(value, yaml.MappingNode):
                walk(value, path)
                continue
            comment = re.search(r"\s#\s(.+)$", lines[value.end_mark.line])
            if comment:
                found[path] = comment[1]

    walk(base, ())
    above = re.search(r"((?:^ +# .*\n)+)  ages:", text, flags=re.MULTILINE)
    words = " ".join(line.strip(" #") for line in above[1].splitlines()) if above else ""
    for name, meaning in re.findall(r"(\w+): ([^:]+?)(?=; \w+:|\.$)", words):
        found["ages", name] = meaning
    return found


def _allowed(path: Sequence[str]) -> str:
    """What pydantic accepts for a setting, in words."""
    schema = Config.model_json_schema()
    node: Mapping[str, Any] = schema
    for name in path:
        node = node["properties"][name]
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    if "anyOf" in node:
        return " or ".join(_words(kind) for kind in node["anyOf"])
    return _words(node)


def _words(node: Mapping[str, Any]) -> str:
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"])
    if node["type"] == "array":
        return f"list of {_words(node['items'])}"
    bounds = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
    limits = " and ".join(f"{sign} {node[name]:g}" for name, sign in bounds if name in node)
    kind = {"integer": "whole number", "string": "text", "number": "number", "boolean": "true or false"}
    name = "date" if node.get("format") == "date" else kind.get(node["type"], node["type"])
    return f"{name} {limits}".strip()


def _profiles(base: Mapping[str, Any]) -> Iterator[str]:
    values = {name: dict(leaves(build_config(name).model_dump(mode="json"))) for name in profile_names()}
    default = {path: _value(value) for path, value in leaves(base)}
    rows = [
        (f"`{'.'.join(path)}`", *(f"`{_value(values[name][path])}`" for name in values))
        for path in default
        if any(_value(values[name][path]) != default[path] for name in values)
    ]
    yield from _table(("setting", *values), rows)


def _value(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, list | tuple):
        return ", ".join(_value(entry) for entry in value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _assets() -> Iterator[str]:
    config = build_config("sample")
    yield "## Assets"
    yield ""
    yield (
        "One section a stage folder, which is also the asset group. *Age* is market time: hours since the first "
        "complete session that the asset lacks. *Deadline* is wall-clock time without a run. Each check shows its "
        "value, its limit and the first offending rows on the asset's page."
    )
    for group in dict.fromkeys(stage.group for stage in STAGES):
        yield ""
        yield f"### {group}"
        yield ""
        yield inspect.getdoc(import_module(f"gnn_assets.{group}"))
        for stage in (stage for stage in STAGES if stage.group == group):
            yield ""
            yield from _asset(stage, config)
    yield ""
    yield "### Jobs and sensors"
    yield ""
    yield from _table(("job", "assets"), [(f"`{name}`", _names(job_assets(name, config))) for name in JOBS])
    yield ""
    yield (
        f"The sensor `{SENSOR_NAME}` runs from the first start. It materializes an asset when the data version of "
        "something above it has changed, and not when equal content was made again. The sensor "
        f"`{FOLLOWING_SENSOR}` has champion, mirror and forecasts made anew after `gnn-assets promote` or `rollback`."
    )


def _asset(stage: Stage, config: Config) -> Iterator[str]:
    limit = config.ages[stage.name]
    yield f"#### Asset `{stage.name}`"
    yield ""
    yield inspect.getdoc(stage.compute) or ""
    yield ""
    yield f"* from: {_names(stage.deps) or 'nothing above it'}"
    yield (
        f"* limits (`ages.{stage.name}`): age {limit.age_hours:g} h, deadline {limit.deadline_hours:g} h"
        f"{', rebuilt after a missed deadline' if limit.rebuild else ''}"
    )
    yield f"* checks: {_names(check_names(stage, config))}"
    yield f"* configuration it depends on: {_names(stage.sections) or 'none'}"


def check_names(stage: Stage, config: Config) -> list[str]:
    """Names of an asset's checks, as Dagster knows them."""
    return [spec.name for spec in stage_asset(stage, config).check_specs]


def job_assets(job: str, config: Config) -> list[str]:
    """Assets a job materializes, in the order of the flow."""
    keys = JOBS[job].resolve([stage_asset(stage, config) for stage in STAGES])
    wanted = {key.to_user_string() for key in keys}
    return [stage.name for stage in STAGES if stage.name in wanted]


def _tables() -> Iterator[str]:
    yield "## Tables"
    yield ""
    yield (
        'Read one with `load("forecasts")` in a notebook, or by name in `sql(...)`. Key columns are bold. Moments are '
        "UTC, in microseconds; a session is a date of the exchange's calendar."
    )
    assets = {stage.name for stage in STAGES}
    for table in TABLES.values():
        yield ""
        yield f"### Table `{table.name}`"
        yield ""
        writer = f"`{table.name}`" if table.name in assets else WRITTEN_BY[table.name]
        yield f"Written by {writer}. {'Files by month of the session.' if table.monthly else 'One file.'}"
        yield ""
        rows = [
            (f"**{name}**" if name in table.key else name, _type(dtype), column_meaning(table, name))
            for name, dtype in table.columns.items()
        ]
        yield from _table(("column", "type", "meaning"), rows)


def _type(dtype: object) -> str:
    return "moment (UTC)" if dtype == MOMENT else str(dtype)


def column_meaning(table: Table, column: str) -> str:
    """What a column means: the schema's own words, else those it shares with other tables."""
    return table.descriptions.get(column) or COMMON_COLUMNS[column]


def _plugins() -> Iterator[str]:
    yield "## Plug-ins"
    yield ""
    yield "One file each; a new file is found by its name."
    yield ""
    rows = [
        (kind, f"`{name}`", _first_line(load_plugin(package.__name__, name)))
        for kind, package in (("source", sources), ("measure", measures), ("model", zoo), ("strategy", strategies))
        for name in plugin_names(package.__name__)
    ]
    yield from _table(("kind", "name", "what it is"), rows)


def _first_line(module: ModuleType) -> str:
    return (inspect.getdoc(module) or "").splitlines()[0]


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


if __name__ == "__main__":
    REFERENCE.write_text(reference(), encoding="utf-8")
