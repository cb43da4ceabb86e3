"""Notebooks are documents people run: each is executed from start to end over a materialized platform."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
import pytest
from nbclient import NotebookClient
from traitlets.config import Config

from gnn_assets_tests.conftest import ROOT, Home

FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# Where a platform's own words for a fault would be.
FAULT = re.compile(r"Traceback|Error:|Warning")


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def execute(path: Path, *, home: Home, folder: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs it gets over a home, run in a kernel of its own that starts in `folder`.

    Raises:
        CellExecutionError: if a cell fails.
    """
    notebook = read(path)
    # Files for sockets: of ports, one that is free when the kernel is told of it may be taken when it wants it. Theirs
    # is a short folder, because the path of a socket may have no more than 107 characters.
    with TemporaryDirectory() as sockets:
        client = NotebookClient(
            notebook,
            timeout=300,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
            config=Config({"KernelManager": {"transport": "ipc", "ip": str(Path(sockets) / "kernel")}}),
        )
        # The debugger checks that it can see frozen modules, and would say that it cannot.
        client.execute(env=home.environment(PYDEVD_DISABLE_FILE_VALIDATION="1", IPYTHONDIR=str(folder / ".ipython")))
    return notebook


@pytest.fixture(scope="module")
def executed(request, demo_home, tmp_path_factory) -> nbformat.NotebookNode:
    """A notebook executed once; what its kernel leaves behind goes to a folder of its own."""
    folder = tmp_path_factory.mktemp("kernel")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "runtime"))
        patch.setenv("JUPYTER_PLATFORM_DIRS", "1")
        return execute(request.param, home=demo_home, folder=folder)


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def test_there_is_a_first_look():
    assert "first_look" in {path.stem for path in NOTEBOOKS}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_outputs(path):
    notebook = read(path)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.id for cell in code if cell.outputs or cell.execution_count is not None] == []
    assert notebook.metadata["kernelspec"]["name"] == "python3"
    assert all(not cell.metadata for cell in notebook.cells)


every_executed_notebook = pytest.mark.parametrize("executed", NOTEBOOKS, ids=lambda path: path.stem, indirect=True)


@every_executed_notebook
@pytest.mark.slow
def test_a_notebook_runs_from_start_to_end_without_a_complaint(executed):
    assert [cell.id for cell in executed.cells if cell.cell_type == "code" and cell.execution_count is None] == []
    said = [output.text for output in outputs(executed) if output.output_type == "stream"]
    assert [text for text in said if FAULT.search(text)] == []


@every_executed_notebook
@pytest.mark.slow
def test_every_picture_a_notebook_draws_appears(executed):
    drawn = [output for output in outputs(executed) if "image/png" in output.get("data", {})]
    wanted = sum("subplots(" in cell.source for cell in executed.cells if cell.cell_type == "code")
    assert len(drawn) == wanted > 0
    assert all(len(output.data["image/png"]) > 5_000 for output in drawn)


@pytest.mark.parametrize("executed", [FOLDER / "first_look.ipynb"], ids=["first_look"], indirect=True)
@pytest.mark.slow
def test_the_first_look_ends_with_forecasts_made_again(executed):
    (answer,) = executed.cells[-1].outputs
    assert "forecasts recomputed from their card, every bit equal" in answer.data["text/plain"]
