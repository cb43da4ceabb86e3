import numpy as np
import pytest

from gnn_assets.core.config import build_config
from gnn_assets.core.errors import ModelError
from gnn_assets.models.variants import expected_shapes, variant_of, variants
from gnn_assets_tests.models.synthetic import CONFIG, small_data


def test_candidate_ablations_and_baselines_are_trained_together():
    models = build_config("test", {"models": {"candidate": "high_pass", "baselines": ["reversal", "ridge"]}}).models
    assert [(each.model, each.plugin, each.graph) for each in variants(models)] == [
        ("high_pass", "high_pass", "true"),
        ("high_pass_no_graph", "high_pass", "identity"),
        ("high_pass_shuffled", "high_pass", "shuffled"),
        ("reversal", "reversal", "true"),
        ("ridge", "ridge", "true"),
    ]


def test_a_candidate_that_is_a_baseline_is_trained_once():
    models = build_config("test", {"models": {"candidate": "ridge", "baselines": ["ridge", "reversal"]}}).models
    assert [each.model for each in variants(models)] == ["ridge", "ridge_no_graph", "ridge_shuffled", "reversal"]


def test_a_variant_sees_its_own_graph_and_the_same_features_of_its_own():
    data = small_data()
    for variant in variants(CONFIG.models)[:3]:
        seen = variant.seen(data, config=CONFIG.models)
        expected = data.graph.of_kind(variant.graph, seed=CONFIG.models.seed)
        np.testing.assert_array_equal(seen.graph.neighbours_TxNxK, expected.neighbours_TxNxK)
        assert seen.own is data.own


def test_an_unknown_model_is_refused_by_name():
    with pytest.raises(ModelError, match=rf"expected one of {CONFIG.models.candidate}, .*, was 'transformer'"):
        variant_of("transformer", CONFIG.models)


def test_a_part_is_expected_to_have_the_shapes_of_its_model():
    data = small_data()

    def of(part):
        return expected_shapes(data, part=part, config=CONFIG.models)

    assert of("reversal/refit") == {}
    assert of("ridge/fold_00")["coefficient"] == ((len(data.feature_names),), "float32")
    name = CONFIG.models.candidate
    assert of(f"{name}/refit") == of(f"{name}_no_graph/refit") == of(f"{name}_shuffled/fold_00")
