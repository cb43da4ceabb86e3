"""The models that are trained and judged together, and the names of their parts."""

from dataclasses import dataclass
from types import ModuleType

from gnn_assets.core.config import ModelsConfig
from gnn_assets.core.errors import ModelError
from gnn_assets.core.plugins import load_plugin
from gnn_assets.models import zoo
from gnn_assets.models.dataset import Dataset
from gnn_assets.models.fitted import Shapes
from gnn_assets.models.graph import GraphKind

# What the names of a candidate's ablations end in: without edges; with the symbols' places in the graph exchanged.
NO_GRAPH = "_no_graph"
SHUFFLED = "_shuffled"


@dataclass(frozen=True)
class Variant:
    """One of the models.

    Args:
        model: its name in tables.
        plugin: the module of the zoo it is made by.
        graph: the graph it is shown.
    """

    model: str
    plugin: str
    graph: GraphKind = "true"

    def load(self) -> ModuleType:
        """The plug-in."""
        return load_plugin(zoo.__name__, self.plugin)

    def seen(self, data: Dataset, *, config: ModelsConfig) -> Dataset:
        """The data as this model sees them."""
        return data.seen(self.graph, seed=config.seed)


def variants(config: ModelsConfig) -> tuple[Variant, ...]:
    """The candidate, the same without graph and with a shuffled one, and the baselines it must be seen beside."""
    return (
        Variant(config.candidate, config.candidate),
        Variant(config.candidate + NO_GRAPH, config.candidate, graph="identity"),
        Variant(config.candidate + SHUFFLED, config.candidate, graph="shuffled"),
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


def untrained_part(model: str) -> str:
    """What stands for a part where a model with nothing to train scores without any weights."""
    return f"{model}/untrained"


def expected_shapes(data: Dataset, *, part: str, config: ModelsConfig) -> Shapes:
    """Name → (shape, dtype) of a part's arrays; empty for a model with nothing to train.

    Raises:
        ModelError: if the configuration has no such model.
    """
    return variant_of(part.partition("/")[0], config).load().expected_shapes(data, config)
