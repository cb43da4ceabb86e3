"""The only reader of the environment.

GNN_ASSETS_PROFILE               sample | live | test
GNN_ASSETS_HOME                  folder that holds dagster.yaml and data/; default: the working directory
GNN_ASSETS_CONFIG_FILE           a YAML file with settings that change the profile's
GNN_ASSETS_CONFIG__GRAPHS__K=7   one setting that changes both
GNN_ASSETS_MASSIVE_KEY           secret: key of the massive API
GNN_ASSETS_ALPACA_KEY            secret: key id of the Alpaca API
GNN_ASSETS_ALPACA_SECRET         secret: its secret key
GNN_ASSETS_ALERTS                secret: channels of alerts, as JSON: '{"team": "slack://...", "mail": "mailtos://..."}'
GNN_ASSETS_ALERTS_HEARTBEAT      secret: address that is asked now and then while all is well, such as a dead man's switch
GNN_ASSETS_FAILPOINT             name of a step at which the process kills itself (fault tests only)
"""

import os
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, SecretStr, TypeAdapter, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from gnn_assets.core.config import Config, Name, build_config
from gnn_assets.core.errors import ConfigError

_PREFIX = "GNN_ASSETS_"
_CHANNELS = TypeAdapter(dict[Name, str])


def _nearest_home() -> Path:
    """The working directory, or the nearest folder above it, that holds a dagster.yaml: notebooks live one below."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "dagster.yaml").is_file()), here)


class Settings(BaseSettings):
    """What the environment says."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, env_nested_delimiter="__", frozen=True)

    profile: str = "sample"
    home: Path = Field(default_factory=_nearest_home)
    config_file: Path | None = None
    config: dict[str, Any] = {}
    failpoint: str = ""
    massive_key: SecretStr | None = None
    alpaca_key: SecretStr | None = None
    alpaca_secret: SecretStr | None = None
    alerts: dict[str, SecretStr] = {}
    alerts_heartbeat: SecretStr | None = None

    @property
    def keys(self) -> dict[str, str]:
        """The secrets that are set, name → value: for sources only, never to be stored or shown."""
        secrets = {name: getattr(self, name) for name in ("massive_key", "alpaca_key", "alpaca_secret")}
        return {name: secret.get_secret_value() for name, secret in secrets.items() if secret}

    @property
    def channels(self) -> dict[str, str]:
        """Addresses that alerts are sent to, name → address: for sending only, never to be stored or shown."""
        return {name: address.get_secret_value() for name, address in self.alerts.items()}

    @property
    def data(self) -> Path:
        """Folder of the lake, the ledger and Dagster's state, absolute."""
        return self.home.resolve() / "data"


def read_settings() -> Settings:
    """Reads the environment now.

    Raises:
        ConfigError: if a variable that begins with GNN_ASSETS_ is none of ours, or the channels of alerts are not
            names with an address each.
    """
    _refuse_unknown_variables()
    _refuse_malformed_channels()
    return Settings()


def _refuse_unknown_variables() -> None:
    """A misspelt variable would otherwise be passed over, and the default run in its place."""
    known = [f"{_PREFIX}{name.upper()}" for name in Settings.model_fields if name != "config"]
    settings = f"{_PREFIX}CONFIG__"
    for name in os.environ:
        read_as = name.upper()  # Settings() minds no case
        if not read_as.startswith(_PREFIX) or read_as in known or read_as.startswith(settings):
            continue
        near = get_close_matches(read_as, [*known, settings], n=1)
        hint = f"did you mean '{near[0]}'?" if near else "remove it"
        # Its value stays unsaid: it may be a secret under a misspelt name.
        raise ConfigError(f"{name}: no such variable; {hint}")


def _refuse_malformed_channels() -> None:
    """What pydantic says of a value that it cannot read holds the value, and this one is secret."""
    variable = f"{_PREFIX}ALERTS"
    told = next((value for name, value in os.environ.items() if name.upper() == variable), None)
    if told is None:
        return
    try:
        _CHANNELS.validate_json(told)
    except ValidationError:
        raise ConfigError.of(
            variable,
            expected="""channels as JSON, such as {"team": "slack://..."}""",
            was="something else (not shown, it may be secret)",
            do="give each channel a name of small letters, digits and _, and one address",
        ) from None


def load_config(settings: Settings) -> Config:
    """The configuration the environment asks for.

    Raises:
        ConfigError: if the file is not readable YAML or a setting is wrong.
    """
    overrides: list[dict[str, Any]] = []
    if settings.config_file is not None:
        overrides.append(_read_yaml(settings.config_file))
    return build_config(settings.profile, *overrides, settings.config)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"GNN_ASSETS_CONFIG_FILE: {path} cannot be read as YAML ({error}); correct the file."
        ) from error
    if not isinstance(content, dict):
        raise ConfigError.of(
            f"GNN_ASSETS_CONFIG_FILE {path}",
            expected="a mapping of sections",
            was=type(content).__name__,
            do="write it in the shape `gnn-assets config show` prints",
        )
    return content


@cache
def failpoint() -> str:
    """The step at which a fault test wants this process to die; empty in any real run."""
    return read_settings().failpoint


def ensure_dagster_home(settings: Settings) -> Path:
    """Points Dagster at the project's home unless the environment already points elsewhere.

    Raises:
        ConfigError: if the home has no dagster.yaml.
    """
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(settings.home.resolve())))
    if not (home / "dagster.yaml").is_file():
        raise ConfigError.of(
            "home",
            expected="a folder with dagster.yaml in it",
            was=home,
            do="run from the project's root, or set GNN_ASSETS_HOME",
        )
    return home


def pin_threads(threads: int) -> None:
    """Fixes the number of compute threads of libraries not yet loaded, because it changes the last bits of a result."""
    for name in ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    # Threads of LightGBM that wait for one another would spin, and crawl as soon as anybody else wants a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def subprocess_environment(settings: Settings) -> dict[str, str]:
    """The environment for a process of our own: this one's, with the home made absolute."""
    return {**os.environ, "GNN_ASSETS_HOME": str(settings.home.resolve()), "GNN_ASSETS_PROFILE": settings.profile}
