"""Shared homes: a whole platform, materialized once by the real command in its own folder; and checked shapes."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

# A deadline for one example says how busy the machine is, not what the code does. What lands is judged by the same
# examples each time, the inner loop by a few of them; `make drills` draws fresh ones, and many more.
settings.register_profile("seeded", deadline=None, derandomize=True)
settings.register_profile("few", deadline=None, derandomize=True, max_examples=10)
settings.register_profile("drawn", deadline=None, derandomize=False, max_examples=1000)
settings.load_profile("seeded")

# Most of what these tests compute is compiling small programs, and half of that is optimising them. It must be said
# before jax is loaded; processes the tests start inherit it.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0"

# It must be said before LightGBM is loaded, and a test may load it before the platform has said it. Threads that spin
# while they wait for one another, in two test processes on two cores, take many times as long.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

# A hundred processes are started, and where nothing compiled may be kept each compiles this package anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

ROOT = Path(__file__).parent.parent
COMMAND = Path(sys.executable).with_name("gnn-assets")
# Every call into these packages, of this process, is held to the shapes and types it is annotated with.
CHECKED = ("gnn_assets.graphs", "gnn_assets.models")


class _Compiled(MetaPathFinder):
    """Keeps modules named `compiled*` from being checked: numba compiles functions, not what is wrapped around them."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        del target
        package, _, name = fullname.rpartition(".")
        inside = any(f"{package}.".startswith(f"{each}.") for each in CHECKED)
        return PathFinder.find_spec(fullname, path) if inside and name.startswith("compiled") else None


# Here and not in a fixture: what is imported before the hook stands is never checked. An int may stand for a float.
install_import_hook(CHECKED, "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")
sys.meta_path.insert(0, _Compiled())


@dataclass(frozen=True)
class Home:
    """A folder a platform lives in, and the command line run inside it."""

    path: Path

    @classmethod
    def fresh(cls, path: Path) -> "Home":
        path.mkdir(parents=True)
        for name in ("dagster.yaml", "workspace.yaml"):
            shutil.copy(ROOT / name, path / name)
        return cls(path)

    def copy(self, path: Path) -> "Home":
        shutil.copytree(self.path, path)
        return Home(path)

    def environment(self, **extra: str) -> dict[str, str]:
        mine = {name: value for name, value in os.environ.items() if not name.startswith(("GNN_ASSETS", "DAGSTER"))}
        return {**mine, "GNN_ASSETS_PROFILE": "test", "GNN_ASSETS_HOME": str(self.path), "COLUMNS": "200", **extra}

    def run(self, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, *arguments],
            cwd=self.path,
            env=self.environment(**extra),
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="session")
def demo_home(tmp_path_factory) -> Home:
    """A home in which `gnn-assets demo` ran once. Read it; to change something, take a copy."""
    run = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        run = run.parent  # shared by the workers: whoever comes first makes the home, the other waits for it
    home = run / "platform" / "home"
    with (run / "platform.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            made = Home.fresh(home)
            result = made.run("demo")
            assert result.returncode == 0, result.stdout + result.stderr
            (home / "demo.txt").write_text(result.stdout, encoding="utf-8")
    return Home(home)


@pytest.fixture
def home_copy(demo_home, tmp_path) -> Home:
    """The materialized home, to be broken."""
    return demo_home.copy(tmp_path / "home")
