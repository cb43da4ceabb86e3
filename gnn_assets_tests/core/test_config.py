import re

import pytest
from pydantic import ValidationError

from gnn_assets.core.config import DEFAULTS_FILE, AgeLimit, Config, Section, build_config, profile_names
from gnn_assets.core.errors import ConfigError
from gnn_assets.core.settings import load_config, read_settings


@pytest.fixture
def environment(monkeypatch):
    """Sets variables of a clean environment and reads the configuration from it."""
    for name in list(read_settings.__globals__["os"].environ):
        if name.startswith("GNN_ASSETS_"):
            monkeypatch.delenv(name)

    def read(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(f"GNN_ASSETS_{name}", str(value))
        return load_config(read_settings())

    return read


def refusal(*overrides, profile="sample"):
    with pytest.raises(ConfigError) as refused:
        build_config(profile, *overrides)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("profile", profile_names())
def test_every_profile_is_a_whole_valid_configuration(profile):
    assert isinstance(build_config(profile), Config)


def test_a_profile_changes_what_it_names_and_nothing_else():
    sample, live = build_config("sample"), build_config("live")
    assert (sample.clock.kind, live.clock.kind) == ("snapshot", "live")
    assert sample.models.features == live.models.features
    assert build_config("test").graphs.window < sample.graphs.window
    assert build_config("test").graphs.k == sample.graphs.k


def test_an_unknown_profile_is_refused_with_those_that_exist():
    assert refusal(profile="smaple") == (
        "profile: expected one of sample, live, wide, replay, test, was 'smaple'; set GNN_ASSETS_PROFILE."
    )


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ({"graphs": {"windw": 60}}, "graphs.windw: no such setting (value 60); did you mean 'window'?"),
        ({"graps": {"k": 3}}, "graps: no such setting (value {'k': 3}); did you mean 'graphs'?"),
        (
            {"models": {"training": {"epoch": 3}}},
            "models.training.epoch: no such setting (value 3); did you mean 'epochs'?",
        ),
        ({"graphs": {"qqq": 1}}, "graphs.qqq: no such setting (value 1); remove it"),
    ],
)
def test_a_misspelt_setting_is_refused_with_the_one_that_was_meant(override, sentence):
    assert refusal(override) == sentence


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ({"graphs": {"k": 0}}, "graphs.k: Input should be greater than or equal to 1, was 0; correct it"),
        (
            {"bars": {"min_success_share": 1.1}},
            "bars.min_success_share: Input should be less than or equal to 1, was 1.1",
        ),
        ({"execution": {"fill": "now"}}, "execution.fill: Input should be 'open_next', 'close_next' or 'close_same'"),
        ({"graphs": {"window": "many"}}, "graphs.window: Input should be a valid integer"),
        ({"graphs": None}, "graphs: "),
        ({"graphs": {"min_overlap": 500}}, "graphs.min_overlap must be at most graphs.window (120), was 500"),
        (
            {"models": {"graph_attention": {"hidden": 30}}},
            "graph_attention.hidden must be a multiple of graph_attention.heads (4), was 30",
        ),
        ({"models": {"features": {"windows": [5, 5]}}}, "models.features.windows must ascend, was [5, 5]"),
        ({"models": {"features": {"windows": [1]}}}, "models.features.windows.0: Input should be greater than"),
        (
            {"models": {"features": {"short": 60}}},
            "models.features.short must be below models.features.long (60), was 60",
        ),
        ({"clock": {"session": None}}, "clock.session must be a date for a snapshot clock"),
        ({"bars": {"sources": ["../evil"]}}, "bars.sources.0: String should match pattern"),
        ({"bars": {"sources": []}}, "bars.sources: Tuple should have at least 1 item"),
        ({"bars": {"sources": ["yahoo", "yahoo"]}}, "bars.sources must name each source once, yahoo comes twice"),
        (
            {"backtests": {"rebalance_sessions": 63}},
            "bars.sessions_after_membership must be at least 64, the sessions from one rebalance to the next one's fill",
        ),
        (
            {"backtests": {"rebalance": "month"}, "bars": {"sessions_after_membership": 20}},
            "bars.sessions_after_membership must be at least 24",
        ),
        ({"graphs": {"k": 0, "window": 1}}, "(1 more settings are wrong)"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name_and_value(override, sentence):
    assert sentence in refusal(override)


def test_later_overrides_win_and_leave_the_rest_alone():
    config = build_config("sample", {"graphs": {"k": 3, "window": 200}}, {"graphs": {"k": 4}})
    assert (config.graphs.k, config.graphs.window) == (4, 200)
    assert build_config("sample").graphs.k == 5


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        build_config("sample").graphs.k = 3  # ty: ignore[invalid-assignment]


def test_fill_and_horizon_decide_lag_purge_and_cost():
    execution = build_config("sample", {"execution": {"horizon": 5, "fill": "close_next"}}).execution
    assert (execution.fill_lag, execution.purge) == (1, 6)
    same = build_config("sample", {"execution": {"horizon": 5, "fill": "close_same"}}).execution
    assert (same.fill_lag, same.purge) == (0, 5)
    assert execution.cost_per_side == pytest.approx(3.5e-4)


def test_the_longest_feature_sets_the_lookback():
    assert build_config("sample").models.features.lookback == 240
    short = {"models": {"features": {"windows": [2], "short": 2, "long": 9}}}
    assert build_config("sample", short, {"models": {"features": {"history": 5}}}).models.features.lookback == 9
    assert build_config("sample", short, {"models": {"features": {"history": 10}}}).models.features.lookback == 10


def test_a_slice_is_plain_data_of_the_sections_named():
    part = build_config("sample").slice("clock", "graphs")
    assert set(part) == {"clock", "graphs"}
    assert part["clock"]["session"] == "2022-12-28"


def parts(section):
    """A section with all that stand in it."""
    kinds = [field.annotation for field in section.model_fields.values()]
    below = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)]
    return [section, *(part for kind in below for part in parts(kind))]


def test_no_section_carries_a_default_and_every_number_has_a_comment():
    sections = [*parts(Config), AgeLimit]
    assert len(sections) > 50
    assert all(field.is_required() for kind in sections for field in kind.model_fields.values())
    base = re.sub(r",\n\s+", ", ", DEFAULTS_FILE.read_text(encoding="utf-8").split("profiles:")[0])
    settings = [line for line in base.splitlines() if re.match(r"\s+\w+: *[^{ #]", line)]
    assert len(settings) > 50
    assert [line for line in settings if "# " not in line] == []


def test_without_variables_the_sample_profile_holds(environment):
    assert environment() == build_config("sample")


def test_one_variable_changes_one_setting(environment):
    config = environment(CONFIG__GRAPHS__K=7, CONFIG__MODELS__TRAINING__LEARNING_RATE="0.01")
    assert (config.graphs.k, config.models.training.learning_rate) == (7, 0.01)
    assert config.graphs.window == build_config("sample").graphs.window


def test_profile_then_file_then_variable(environment, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("graphs: {k: 2, window: 99, min_overlap: 50}", encoding="utf-8")
    config = environment(PROFILE="test", CONFIG_FILE=path, CONFIG__GRAPHS__K=4)
    assert (config.graphs.k, config.graphs.window) == (4, 99)
    assert config.bars == build_config("test").bars


def test_a_misspelt_variable_is_refused_like_a_misspelt_setting(environment):
    with pytest.raises(ConfigError, match=r"graphs\.windo: no such setting .* did you mean 'window'"):
        environment(CONFIG__GRAPHS__WINDO=3)


def test_a_variable_that_cannot_be_understood_is_named(environment):
    with pytest.raises(ConfigError, match="GNN_ASSETS_"):
        environment(CONFIG="[1]")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [("[1]", "expected a mapping of sections, was list"), ("a: [", "cannot be read as YAML")],
)
def test_a_file_that_is_no_mapping_is_refused(environment, tmp_path, content, sentence):
    path = tmp_path / "mine.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=sentence):
        environment(CONFIG_FILE=path)
    with pytest.raises(ConfigError, match="cannot be read"):
        environment(CONFIG_FILE=tmp_path / "absent.yaml")
