"""The models that are trained and judged together, and the names of their parts."""

from dataclasses import dataclass
from types import ModuleType

from gnn_assets.core.config import ModelsConfig
from gnn_assets.core.errors import ModelError
from gnn_assets.core.plugins import load_plugin
from gnn_assets.models import zoo
from gnn_assets.models.dataset import Dataset
from gnn_assets.models.fitted import Shapes

NO_GRAPH = "_no_graph"


@dataclass(frozen=True)
class Variant:
    """One of the models.

    Args:
        model: its name in tables.
        plugin: the module of the zoo it is made by.
        graph: whether it is shown the graph.
    """

    model: str
    plugin: str
    graph: bool = True

    def load(self) -> ModuleType:
        """The plug-in."""
        return load_plugin(zoo.__name__, self.plugin)

    def seen(self, data: Dataset) -> Dataset:
        """The data as this model sees them."""
        return data if self.graph else data.without_graph()


def variants(config: ModelsConfig) -> tuple[Variant, ...]:
    """The candidate, the same without graph, and the baselines it must be seen beside."""
    return (
        Variant(config.candidate, config.candidate),
        Variant(config.candidate + NO_GRAPH, config.candidate, graph=False),
        *(Variant(name, name) for name in config.baselines if name != config.candidate),
    )


def variant_of(model: str, config: ModelsConfig) -> Variant:
    """The variant of that name.

    Raises:
        ModelError: if the configuration has no such model.
    """
    known = {variant.model: variant for variant in variants(config)}
    if model not in known:
        raise ModelError.of(
            "model", expected=f"one of {', '.join(known)}", was=repr(model), do="use the configuration it came from"
        )
    return known[model]


def fold_part(model: str, fold: int) -> str:
    """Name of a fold's part of the weights."""
    return f"{model}/fold_{fold:02d}"


def refit_part(model: str) -> str:
    """Name of the final refit's part of the weights."""
    return f"{model}/refit"


def expected_shapes(data: Dataset, *, part: str, config: ModelsConfig) -> Shapes:
    """Name → (shape, dtype) of a part's arrays; empty for a model with nothing to train.

    Raises:
        ModelError: if the configuration has no such model.
    """
    return variant_of(part.partition("/")[0], config).load().expected_shapes(data, config)
