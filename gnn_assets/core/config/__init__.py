"""Configuration as validated, frozen data: its shape here, a module a stage; its values in `core/defaults.yaml`.

No class in here carries a default: every number stands, with its unit, in one file. An unknown or misspelt setting is
refused by name. What others use of it, they import from this package.
"""

from gnn_assets.core.config.alerts import AlertsConfig, RoutesConfig
from gnn_assets.core.config.backtests import BacktestsConfig, RegimesConfig
from gnn_assets.core.config.bars import BarsConfig, RulesConfig
from gnn_assets.core.config.base import Name
from gnn_assets.core.config.build import DEFAULTS_FILE, Config, build_config, profile_names, restored
from gnn_assets.core.config.graphs import DriftConfig, FactorsConfig, GraphsConfig
from gnn_assets.core.config.models import (
    FeaturesConfig,
    GraphAttentionConfig,
    HighPassConfig,
    LightgbmConfig,
    MlpConfig,
    ModelsConfig,
    TargetsConfig,
    TrainingConfig,
)
from gnn_assets.core.config.operations import (
    AgeLimit,
    AutomationConfig,
    ForecastsConfig,
    GateConfig,
    LiveConfig,
    LiveDriftConfig,
    RetrainConfig,
)
from gnn_assets.core.config.sizing import ForecastRiskConfig, GapConfig, KellyConfig, SizingConfig
from gnn_assets.core.config.sources import FailoverConfig, FilesConfig, RateConfig, SimulatedConfig
from gnn_assets.core.execution import ExecutionConfig, Section

__all__ = [
    "DEFAULTS_FILE",
    "AgeLimit",
    "AlertsConfig",
    "AutomationConfig",
    "BacktestsConfig",
    "BarsConfig",
    "Config",
    "DriftConfig",
    "ExecutionConfig",
    "FactorsConfig",
    "FailoverConfig",
    "FeaturesConfig",
    "FilesConfig",
    "ForecastRiskConfig",
    "ForecastsConfig",
    "GapConfig",
    "GateConfig",
    "GraphAttentionConfig",
    "GraphsConfig",
    "HighPassConfig",
    "KellyConfig",
    "LightgbmConfig",
    "LiveConfig",
    "LiveDriftConfig",
    "MlpConfig",
    "ModelsConfig",
    "Name",
    "RateConfig",
    "RegimesConfig",
    "RetrainConfig",
    "RoutesConfig",
    "RulesConfig",
    "Section",
    "SimulatedConfig",
    "SizingConfig",
    "TargetsConfig",
    "TrainingConfig",
    "build_config",
    "profile_names",
    "restored",
]
