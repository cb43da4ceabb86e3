"""The command `gnn-assets drill`: the list of drills, and one of them done on a copy of the home."""

import inspect
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import dagster as dg
from rich.console import Console

from gnn_assets.core.errors import ConfigError, GnnAssetsError
from gnn_assets.core.plugins import load_plugin, plugin_names
from gnn_assets.defs.drills import cases
from gnn_assets.defs.drills.bench import ABOUT, Bench, is_pass
from gnn_assets.defs.drills.copied import copy_home, refuse_empty
from gnn_assets.defs.resources import Platform

CASES = cases.__name__


def drills() -> dict[str, str]:
    """Every drill: name → what will be broken, in a line."""
    return {name: told_of(load_plugin(CASES, name)).partition("\n")[0] for name in plugin_names(CASES)}


def told_of(case: ModuleType) -> str:
    """What a drill will break, and what has to come of it."""
    return inspect.cleandoc(case.__doc__ or "")


def run_drill(
    home: Platform, define: Callable[[Platform], dg.Definitions], name: str, *, keep: bool, console: Console
) -> bool:
    """Does one drill on a copy of the home, which is removed after it.

    Args:
        home: the home's platform; nothing of it changes.
        define: makes the definitions of a platform.
        name: of the drill.
        keep: whether the copy stays, to be looked at.
        console: where it is shown.

    Returns:
        Whether its verdict is PASS.

    Raises:
        PluginError: if there is no drill of that name.
        MissingArtefact: if the home serves no forecasts yet.
        DiskFull: if there is no room for the copy.
        ConfigError: if its copy cannot stay, or its disk cannot be made.
    """
    case = load_plugin(CASES, name)
    refuse_empty(home)
    elsewhere = getattr(case, "elsewhere", None)
    if elsewhere is not None:
        if keep:
            raise ConfigError.of(
                "drill --keep",
                expected="a drill whose copy stands on a disk that stays",
                was=f"{name}, whose disk goes with it",
                do="leave --keep out",
            )
        if (done := elsewhere(home)) is not None:
            return done
    folder = Path(tempfile.mkdtemp(prefix=f"gnn-assets-drill-{name}-")).resolve()
    try:
        copy_home(home, folder)
        bench = Bench(home=home, folder=folder, define=define, console=console)
        try:
            with bench.platform.logging(drill=name):
                return _done(bench, case, name)
        finally:
            bench.close()
    finally:
        if keep:
            console.print(f"The copy is kept in {folder}", highlight=False, soft_wrap=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _done(bench: Bench, case: ModuleType, name: str) -> bool:
    bench.console.print(f"[bold]drill {name}[/bold], on a copy of {bench.home.settings.home.resolve()}", soft_wrap=True)
    bench.say("will be broken", told_of(case))
    # What is wrong with the home already is told now, and is none of the drill's.
    bench.look()
    fault = ""
    try:
        case.run(bench)
    except GnnAssetsError as error:
        fault = f"{type(error).__name__}: {error}"
    passed = is_pass(bench.claims) and not fault
    bench.say("verdict", "PASS" if passed else "FAIL")
    for claim in bench.claims:
        bench.say("", f"{'ok  ' if claim.holds else 'FAIL'} {claim.about}: {claim.sentence}")
    if fault:
        bench.say("", f"FAIL the drill was broken off: {fault}")
    seen = {claim.about for claim in bench.claims}
    for about in ABOUT:
        if about not in seen:
            bench.say("", f"FAIL {about}: nothing was seen of it")
    return passed
