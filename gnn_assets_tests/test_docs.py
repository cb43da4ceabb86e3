"""The documentation says what the code does, and all of it."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import typer
import yaml

from gnn_assets.cli import app
from gnn_assets.core.config import DEFAULTS_FILE, build_config
from gnn_assets.core.settings import Settings
from gnn_assets.definitions import JOBS, STAGES
from gnn_assets.defs.tables import TABLES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    """The script that writes the reference."""
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs" / "make_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def part(title: str) -> str:
    """One section of the reference, from its heading to the next of the same or a higher level."""
    level = len(title) - len(title.lstrip("#"))
    found = re.search(rf"^{re.escape(title)}$\n(.*?)(?=^#{{1,{level}}} |\Z)", REFERENCE, flags=re.MULTILINE | re.DOTALL)
    assert found, f"docs/reference.md has no section {title!r}"
    return found[1]


@pytest.mark.slow
def test_the_reference_is_what_the_code_says_today(maker):
    assert maker.reference() == REFERENCE, "run `python docs/make_reference.py`"


def test_every_command_and_option_is_in_the_reference_and_every_command_in_the_readme(maker):
    section = part("## Commands")
    for name, command in maker.walk_commands(typer.main.get_command(app)):
        row = next(line for line in section.splitlines() if f"`gnn-assets {name}`" in line)
        for option in command.params:
            assert option.name == "help" or f"`{option.opts[0]}`" in row
        assert f"gnn-assets {name}" in README


def test_every_environment_variable_is_in_the_reference_and_the_readme():
    section = part("## Environment variables")
    for field in Settings.model_fields:
        name = f"GNN_ASSETS_{field.upper()}"
        assert name in section
        assert field == "failpoint" or name in README


def test_every_setting_is_in_the_reference_with_its_meaning(maker):
    base = yaml.safe_load(DEFAULTS_FILE.read_text(encoding="utf-8"))["base"]
    section = part("## Configuration")
    meanings = maker.setting_meanings()
    for path, _ in maker.leaves({name: value for name, value in base.items() if name != "ages"}):
        assert meanings.get(path), f"{'.'.join(path)} has no comment in {DEFAULTS_FILE.name}"
        assert f"| `{'.'.join(path)}` | " in section


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_every_asset_is_in_the_reference_with_its_limits_and_checks(stage, maker):
    section = part(f"#### Asset `{stage.name}`")
    limit = build_config("sample").ages[stage.name]
    assert f"(`ages.{stage.name}`): age {limit.age_hours:g} h, deadline {limit.deadline_hours:g} h" in section
    for check in maker.check_names(stage, build_config("sample")):
        assert f"`{check}`" in section


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_every_table_is_in_the_reference_with_every_column_and_its_meaning(table, maker):
    section = part(f"### Table `{table.name}`")
    for column in table.columns:
        assert len(maker.column_meaning(table, column)) > 1
        assert re.search(rf"^\| \**{column}\** \| .+ \| .+ \|$", section, flags=re.MULTILINE)


def test_no_shared_column_meaning_is_left_over(maker):
    needed = {column for table in TABLES.values() for column in table.columns if column not in table.descriptions}
    assert set(maker.COMMON_COLUMNS) == needed


def test_every_job_is_in_the_reference_and_the_readme():
    for job in JOBS:
        assert f"| `{job}` | `" in part("### Jobs and sensors")
        assert f"`{job}`" in README


def test_the_readme_has_a_section_for_every_stage_folder():
    folders = {stage.group for stage in STAGES} | {"monitoring"}
    for folder in folders:
        assert (ROOT / "gnn_assets" / folder).is_dir()
        assert re.search(rf"^### {folder}$", README, flags=re.MULTILINE)


def test_the_readme_names_every_asset_and_every_table():
    for name in {stage.name for stage in STAGES} | set(TABLES):
        assert f"`{name}`" in README


def test_the_readme_names_every_verb_of_make():
    verbs = re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert "demo" in verbs
    for verb in verbs:
        assert f"make {verb}" in README or verb == "help"


def test_the_readme_fits_on_a_few_screens():
    assert len(README.splitlines()) <= 240


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        assert "://" not in target
        assert (page.parent / target).exists(), target


def test_every_test_the_readme_points_to_exists():
    named = re.findall(r"`(?:gnn_assets_tests/)?([\w/]+\.py)::(test_\w+)`", README)
    assert len(named) >= 5
    for file, test in named:
        assert f"def {test}(" in (ROOT / "gnn_assets_tests" / file).read_text(encoding="utf-8")


def test_every_decision_record_is_one_page_with_its_four_parts():
    records = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert [record.name[:4] for record in records] == [f"{number:04d}" for number in range(1, len(records) + 1)]
    for record in records:
        text = record.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 60
        for heading in ("## The question", "## What we chose", "## What it costs", "## What would change our mind"):
            assert heading in text
