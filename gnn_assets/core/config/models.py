"""Features, targets and the models that are trained on them."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gnn_assets.core.config.base import Name, Positive
from gnn_assets.core.execution import Count, NonNegative, Section

Dropout = Annotated[float, Field(ge=0, lt=1)]
# What models are trained on; see `gnn_assets.models.dataset.Dataset.targets`.
Target = Literal["label", "residual", "scaled"]


class FeaturesConfig(Section):
    """Node features, all from bars known at the session's close."""

    groups: Annotated[tuple[Name, ...], Field(min_length=1)]
    compared: tuple[Name, ...]
    lags: Count
    windows: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1)]
    short: Annotated[int, Field(ge=2)]
    long: Annotated[int, Field(ge=2)]
    min_share: Annotated[float, Field(gt=0, le=1)]
    event_size: Positive
    scaling: Literal["rank", "robust"]
    clip: Positive
    history: Count

    @model_validator(mode="after")
    def _windows_ascend(self) -> "FeaturesConfig":
        if list(self.windows) != sorted(set(self.windows)):
            raise ValueError(f"models.features.windows must ascend, was {list(self.windows)}")
        if self.short >= self.long:
            raise ValueError(
                f"models.features.short must be below models.features.long ({self.long}), was {self.short}"
            )
        return self

    @property
    def lookback(self) -> int:
        """Sessions of returns the longest feature needs."""
        return max(*self.windows, self.long, self.history)


class TargetsConfig(Section):
    """What models are trained on."""

    clip: Positive
    clip_scaled: Positive
    window: Annotated[int, Field(ge=2)]
    min_share: Annotated[float, Field(gt=0, le=1)]


class FoldsConfig(Section):
    """Lengths of a walk-forward fold's parts, in sessions."""

    train: Count
    validation: Count
    test: Count
    embargo: Annotated[int, Field(ge=0)]


class GraphAttentionConfig(Section):
    """Size of the graph attention network."""

    hidden: Count
    heads: Count
    layers: Count
    dropout: Dropout

    @model_validator(mode="after")
    def _heads_divide(self) -> "GraphAttentionConfig":
        if self.hidden % self.heads:
            raise ValueError(
                f"graph_attention.hidden must be a multiple of graph_attention.heads ({self.heads}), was {self.hidden}"
            )
        return self


class HighPassConfig(Section):
    """Size of the high-pass graph network."""

    hidden: Count
    narrow: Count
    feature_dropout: Dropout
    dropout: Dropout


class MlpConfig(Section):
    """Size of the network without graph."""

    hidden: Count
    layers: Count
    dropout: Dropout


class TrainingConfig(Section):
    """How a neural network is trained."""

    targets: Annotated[tuple[Target, ...], Field(min_length=1)]
    loss: Literal["ic", "huber", "rank", "pairwise"]
    epochs: Count
    patience: Count
    sessions_per_step: Count
    learning_rate: Positive
    warm_up: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: NonNegative
    gradient_clip: Positive
    average: Annotated[float, Field(ge=0, lt=1)]
    ensemble: Count
    workers: Count
    attempts: Count
    retry_delay_seconds: NonNegative
    budget_seconds: Positive | None


class LightgbmConfig(Section):
    """The boosted trees."""

    targets: Annotated[tuple[Target, ...], Field(min_length=1)]
    trees: Count
    learning_rate: Positive
    leaves: Annotated[int, Field(ge=2)]
    min_leaf_share: Annotated[float, Field(ge=0, lt=1)]
    feature_fraction: Annotated[float, Field(gt=0, le=1)]
    l2: NonNegative


class RidgeConfig(Section):
    """The ridge baseline."""

    target: Target
    penalty: NonNegative


class BlendConfig(Section):
    """The blend."""

    members: Annotated[tuple[Name, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _members_differ(self) -> "BlendConfig":
        if len(set(self.members)) < len(self.members) or "blend" in self.members:
            raise ValueError(f"blend.members must be different models, none of them blend, was {list(self.members)}")
        return self


class ReversalConfig(Section):
    """Reversal, as a baseline and as a strategy."""

    window: Count


class ModelsConfig(Section):
    """The candidate, its baselines and how they are trained."""

    candidate: Name
    baselines: tuple[Name, ...]
    seed: Annotated[int, Field(ge=0)]
    features: FeaturesConfig
    targets: TargetsConfig
    folds: FoldsConfig
    training: TrainingConfig
    graph_attention: GraphAttentionConfig
    high_pass: HighPassConfig
    mlp: MlpConfig
    lightgbm: LightgbmConfig
    ridge: RidgeConfig
    blend: BlendConfig
    reversal: ReversalConfig
