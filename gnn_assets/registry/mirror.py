"""A copy of the champion's story in MLflow, for people. Nothing reads it to train or to serve."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gnn_assets.registry.pointer import Champion

EXPERIMENT = "gnn_assets"
_VERSION_TAG = "gnn_weights_version"
_LARGEST_BATCH = 1000  # metrics MLflow takes in one call


def mirror(
    champion: Champion,
    *,
    folder: Path,
    parameters: Mapping[str, Any],
    metrics: Mapping[str, float],
    curves: Mapping[str, Sequence[Mapping[str, float]]],
) -> str:
    """Writes one MLflow run per champion version; a second call for the same version finds it, and says who put it there.

    Args:
        champion: what is served.
        folder: where the SQLite database and the artefacts live; made if absent.
        parameters: flat settings the weights were trained with.
        metrics: flat backtest figures.
        curves: part of the weights → rows with ``epoch``, ``loss`` and ``validation_ic``.

    Returns:
        The MLflow run id.
    """
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag

    # Making its tables is no news to whoever reads the log.
    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    # The URI is always explicit: MLflow's default drops a database into the working directory.
    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    found = client.get_experiment_by_name(EXPERIMENT)
    experiment = found.experiment_id if found else client.create_experiment(EXPERIMENT, (folder / "artifacts").as_uri())
    known = client.search_runs([experiment], filter_string=f"tags.{_VERSION_TAG} = '{champion.version}'", max_results=1)
    told = {"rule": champion.rule, "reason": champion.reason, "verdict": champion.verdict, "by": champion.by or "gate"}
    if known:
        run_id, tags = known[0].info.run_id, known[0].data.tags
        for name, value in told.items():
            if tags.get(name) != value:
                client.set_tag(run_id, name, value)
        return run_id
    run = client.create_run(experiment, run_name=f"champion {champion.version[:12]}")
    run_id = run.info.run_id
    # Moments are the client's own: the mirror is read by people, not by the platform.
    started = run.info.start_time
    figures = [
        *(Metric(_safe(name), value, started, 0) for name, value in metrics.items()),
        *(
            Metric(f"{_safe(part)}/{figure}", float(row[figure]), started, int(row["epoch"]))
            for part, rows in curves.items()
            for row in rows
            for figure in ("loss", "validation_ic")
            if row[figure] is not None
        ),
    ]
    for start in range(0, len(figures), _LARGEST_BATCH):
        client.log_batch(run_id, metrics=figures[start : start + _LARGEST_BATCH])
    client.log_batch(
        run_id,
        params=[Param(_safe(name), str(value)) for name, value in parameters.items()],
        tags=[
            RunTag(_VERSION_TAG, champion.version),
            *(RunTag(name, value) for name, value in told.items()),
        ],
    )
    client.set_terminated(run_id)
    return run_id


def _safe(name: str) -> str:
    """MLflow allows letters, digits and a few marks in names."""
    return "".join(letter if letter.isalnum() or letter in "_-./ " else "_" for letter in name)
