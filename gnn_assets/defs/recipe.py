"""What a forecast is made from, by name: shared by the asset that publishes it and the command that verifies it."""

from collections.abc import Iterable

import polars as pl

from gnn_assets.core.config import Config, restored
from gnn_assets.core.hashing import code_version, json_hash
from gnn_assets.defs.resources import Platform
from gnn_assets.forecasts.publish import Served
from gnn_assets.graphs.correlation import MEASURES
from gnn_assets.models.schema import OOS_PREDICTIONS
from gnn_assets.registry.pointer import Champion

ZOO = "gnn_assets.models.zoo"
FEATURES = "gnn_assets.models.features.groups"

# What a graph is made by; the rest of its section is about checks, drift and what models make of graphs.
_GRAPH = ("measure", "signed", "window", "k", "min_abs_corr", "min_overlap", "exponential", "lead_lag")
GRAPH_SETTINGS = tuple(f"graphs.{name}" for name in _GRAPH)
# What models make of graphs besides.
MODEL_GRAPH_SETTINGS = (*GRAPH_SETTINGS, "graphs.factors")

# What is stored of the configuration beside weights; `recipe_hash` says which part of it makes another recipe.
RECIPE_SECTIONS = ("universe", "execution", "graphs", "models")
# The part of it that weights are served by, whatever is configured by then.
_SERVED_SECTIONS = ("execution", "graphs", "models")
# What a forecast's bits depend on.
FORECAST_SECTIONS = ("calendar", "universe", "bars", "execution", *MODEL_GRAPH_SETTINGS, "models", "forecasts")
_FORECAST_CODE = (
    "gnn_assets.forecasts.publish",
    "gnn_assets.forecasts.card",
    "gnn_assets.forecasts.verify",
)


# What a candidate's own training reads. Costs, checks and the baselines' settings are stored, but make no new recipe.
_TRAINED_BY = {
    "universe": ("file",),
    "execution": ("fill", "horizon"),
    "graphs": (*_GRAPH, "factors"),
    "models": ("candidate", "seed", "features", "targets", "folds"),
}


def recipe_hash(config: Config) -> str:
    """Hash of what the candidate's own training reads: equal ones and newer data make a refresh, others a new recipe."""
    stored = config.slice(*_TRAINED_BY)
    recipe = {section: {name: stored[section][name] for name in names} for section, names in _TRAINED_BY.items()}
    # What each plug-in reads stands under its name; networks share `training`.
    own = {name: stored["models"].get(name) for name in (*plugins_of(config.models.candidate, config), "training")}
    return json_hash({**recipe, "own": own})


def plugins_of(model: str, config: Config) -> tuple[str, ...]:
    """The plug-in of a model, and those it is put together from."""
    return (model, *config.models.blend.members) if model == "blend" else (model,)


def model_modules(models: Iterable[str], config: Config) -> tuple[str, ...]:
    """Modules of all the plug-ins behind some models, those of their features included, sorted."""
    zoo = {f"{ZOO}.{name}" for model in models for name in plugins_of(model, config)}
    return tuple(sorted(zoo | {f"{FEATURES}.{group}" for group in config.models.features.groups}))


def forecast_code_version(config: Config, *, model: str) -> str:
    """Version of the code between bars and forecast, the plug-ins of the measure and of the model included."""
    zoo = model_modules([model], config)
    return code_version(*_FORECAST_CODE, *zoo, f"{MEASURES}.{config.graphs.measure}")


def champion_config(platform: Platform, champion: Champion) -> Config:
    """The configuration with the recipe the champion was trained by in it: another one may be configured by now.

    Raises:
        CorruptArtefact: if the weights' manifest is damaged.
        ConfigError: if a stored setting is no longer allowed.
    """
    recipe = platform.weights.facts(champion.version)["recipe"]
    return restored(platform.config, {section: recipe[section] for section in _SERVED_SECTIONS})


def served_champion(platform: Platform, champion: Champion) -> Served:
    """The champion's weights and predictions, opened.

    Raises:
        CorruptArtefact: if weights or predictions are damaged.
    """
    weights = platform.weights
    predictions = platform.lake.read(OOS_PREDICTIONS, version=champion.oos_predictions)
    return Served(
        version=champion.version,
        model=champion.model,
        verdict=champion.verdict,
        facts=weights.facts(champion.version),
        load_part=lambda part: weights.load(champion.version, part),
        predictions=predictions.filter(pl.col("model") == champion.model),
    )
