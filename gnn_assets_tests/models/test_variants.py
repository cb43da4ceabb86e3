import pytest

from gnn_assets.core.config import build_config
from gnn_assets.core.errors import ModelError
from gnn_assets.models.variants import expected_shapes, variant_of, variants
from gnn_assets_tests.models.synthetic import CONFIG, small_data


def test_candidate_ablation_and_baselines_are_trained_together():
    assert [(each.model, each.graph) for each in variants(CONFIG.models)] == [
        ("graph_attention", True),
        ("graph_attention_no_graph", False),
        ("equal_weight", True),
        ("reversal", True),
        ("ridge", True),
    ]


def test_a_candidate_that_is_a_baseline_is_trained_once():
    models = build_config("test", {"models": {"candidate": "ridge"}}).models
    assert [each.model for each in variants(models)] == ["ridge", "ridge_no_graph", "equal_weight", "reversal"]


def test_an_unknown_model_is_refused_by_name():
    with pytest.raises(ModelError, match=r"expected one of graph_attention, .*, was 'transformer'"):
        variant_of("transformer", CONFIG.models)


def test_a_part_is_expected_to_have_the_shapes_of_its_model():
    data = small_data()
    of = {part: expected_shapes(data, part=part, config=CONFIG.models) for part in ("reversal/refit", "ridge/fold_00")}
    assert of == {"reversal/refit": {}, "ridge/fold_00": {"coefficient": ((5,), "float32")}}
    full, bare = (
        expected_shapes(data, part=f"{model}/refit", config=CONFIG.models)
        for model in ("graph_attention", "graph_attention_no_graph")
    )
    assert full == bare
