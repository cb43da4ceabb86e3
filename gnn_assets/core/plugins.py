"""Finding plug-ins by name: one module in a folder is one source, model or strategy.

Adding one is adding one file; nothing else registers it. Plug-ins never import each other.
"""

import importlib
import pkgutil
from difflib import get_close_matches
from types import ModuleType

from gnn_assets.core.errors import PluginError


def plugin_names(package: str) -> tuple[str, ...]:
    """Names of the plug-ins in a package, sorted.

    Args:
        package: dotted name, such as ``gnn_assets.models.zoo``.
    """
    folder = importlib.import_module(package)
    return tuple(sorted(module.name for module in pkgutil.iter_modules(folder.__path__)))


def load_plugin(package: str, name: str) -> ModuleType:
    """Imports one plug-in.

    Raises:
        PluginError: if the package has no module of that name; the message lists those it has.
    """
    names = plugin_names(package)
    if name not in names:
        near = get_close_matches(name, names, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "choose one of them"
        raise PluginError.of(f"plug-in of {package}", expected=f"one of {', '.join(names)}", was=repr(name), do=hint)
    return importlib.import_module(f"{package}.{name}")
