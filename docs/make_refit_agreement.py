"""Measures the gate's check that the refit is the model whose folds were judged, on a home that `gnn-assets demo` made.

    python docs/make_refit_agreement.py HOME docs/results/YYYY-MM-DD-refit-agreement.md

HOME is of profile `sample`. Everything is seeded; only versions and seconds depend on the machine.
"""
# ruff: noqa: INP001, T201 - a script, not a package

import re
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from gnn_assets.core.config import Config, build_config
from gnn_assets.core.folds import Fold
from gnn_assets.core.settings import Settings
from gnn_assets.defs.models import dataset_of, start_jax
from gnn_assets.defs.recipe import champion_config
from gnn_assets.defs.resources import Platform
from gnn_assets.models.candidate import candidate_folds, predict_sessions
from gnn_assets.models.checkpoint import NO_CHECKPOINT
from gnn_assets.models.dataset import Dataset
from gnn_assets.models.schema import OOS_PREDICTIONS
from gnn_assets.models.variants import fold_part, refit_part, variant_of
from gnn_assets.registry.pointer import Champion
from gnn_assets.registry.probe import agreement
from gnn_assets.store.panel import to_panel

SHUFFLES, SEEDS, ENDS = 200, (1, 2), (5, 126, None)  # a fold's sessions so far, to its whole length
FLOORS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4)

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Bench:
    """A candidate, opened."""

    platform: Platform
    champion: Champion
    config: Config
    data: Dataset
    folds: tuple[Fold, ...]
    scores: pl.DataFrame

    def part(self, fold: Fold) -> Arrays:
        """A fold's own weights."""
        return self.platform.weights.load(self.champion.version, fold_part(self.champion.model, fold.number))

    def scored(self, arrays: Arrays, rows: range) -> np.ndarray:
        """Scores by some arrays."""
        part = refit_part(self.champion.model)
        models = self.config.models
        return predict_sessions(
            lambda _: arrays, self.data, model=self.champion.model, part=part, sessions=rows, config=models
        )

    def learned(self, fold: Fold) -> range:
        """The sessions the gate asks both on."""
        return range(fold.validation.stop - self.config.gate.agreement_sessions, fold.validation.stop)

    def tested(self, rows: range) -> np.ndarray:
        """Out-of-sample scores as they are stored."""
        return to_panel(
            self.scores, "score", sessions=self.data.sessions[rows.start : rows.stop], symbols=self.data.symbols
        )


def opened(home: Path) -> Bench:
    """The home's champion with its data."""
    platform = Platform(settings=Settings(profile="sample", home=home), config=build_config("sample"))
    start_jax(platform)
    champion = platform.champion.current()
    assert champion is not None
    config, facts = champion_config(platform, champion), platform.weights.facts(champion.version)
    data = dataset_of(platform, facts["inputs"], symbols=facts["symbols"], config=config)
    folds = candidate_folds(data, config=config.models, purge=config.execution.purge)
    predictions = platform.lake.read(OOS_PREDICTIONS, version=champion.oos_predictions)
    return Bench(platform, champion, config, data, folds, predictions.filter(pl.col("model") == champion.model))


def genuine(bench: Bench) -> pl.DataFrame:
    """Refits as they would have been made at other moments, held against the newest fold of that moment."""
    config, purge = bench.config.models, bench.config.execution.purge
    facts = bench.platform.weights.facts(bench.champion.version)["parts"]
    epochs = int(statistics.median(facts[fold_part(bench.champion.model, f.number)]["best_epoch"] for f in bench.folds))
    plugin, rows = variant_of(bench.champion.model, config).load(), []
    for fold in bench.folds:
        learned = bench.learned(fold)
        said = bench.scored(bench.part(fold), learned)
        for length in ENDS:
            end = fold.test.stop if length is None else fold.test.start + length
            train = range(end - purge - config.folds.train - config.folds.validation, end - purge)
            for seed in SEEDS:
                made = plugin.fit(
                    bench.data,
                    train=train,
                    validation=None,
                    config=config,
                    seed=seed,
                    epochs=epochs,
                    progress=lambda *_: None,
                    checkpoint=NO_CHECKPOINT,
                )
                test = range(fold.test.start, end)
                on_learned = agreement(bench.scored(made.arrays, learned), said).mean()
                on_test = agreement(bench.scored(made.arrays, test), bench.tested(test)).mean()
                rows.append((fold.number, len(test), seed, float(on_learned), float(on_test)))
                print(rows[-1], flush=True)
    return pl.DataFrame(rows, schema=["fold", "sessions", "seed", "learned", "test"], orient="row")


def shuffled(bench: Bench) -> tuple[np.ndarray, np.ndarray]:
    """Agreement of the refit's weights in a random order, on the sessions asked and on the newest fold's test part."""
    arrays = bench.platform.weights.load(bench.champion.version, refit_part(bench.champion.model))
    fold = bench.folds[-1]
    learned, test = bench.learned(fold), fold.test
    said, tested = bench.scored(bench.part(fold), learned), bench.tested(test)
    found = []
    for seed in range(SHUFFLES):
        generator = np.random.default_rng(seed)
        mixed = {name: in_any_order(array, generator) for name, array in arrays.items()}
        found.append(
            (
                agreement(bench.scored(mixed, learned), said).mean(),
                agreement(bench.scored(mixed, test), tested).mean(),
            )
        )
    on_learned, on_test = np.array(found).T
    return on_learned, on_test


def in_any_order(array: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The same numbers in a random order; of the text of a booster, its leaves' values."""
    if array.dtype != np.uint8:
        return generator.permutation(array.ravel()).reshape(array.shape)
    text = re.sub(r"tree_sizes=.*\n", "", array.tobytes().decode())
    values = iter(generator.permutation([one for line in re.findall("leaf_value=(.*)", text) for one in line.split()]))
    mixed = re.sub(
        "leaf_value=(.*)", lambda line: "leaf_value=" + " ".join(next(values) for _ in line[1].split()), text
    )
    return np.frombuffer(mixed.encode(), dtype=np.uint8).copy()


def page(
    bench: Bench, told: pl.DataFrame, mixed: tuple[np.ndarray, ...], *, title: str, command: str, seconds: float
) -> str:
    """The result, as it is kept."""
    gate = bench.config.gate
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)  # noqa: S607
    lines = [
        f"# {title}",
        "**Asked.** Is a refit whose weights are in a random order refused by `refit_agrees`, and a sound one let pass?",
        (
            f"**How.** `{command}` at commit {commit.stdout.strip()} and what followed it; profile `sample`, model "
            f"`{bench.champion.model}`, {len(bench.data.symbols)} symbols; {seconds:.0f} s of processor time. Sound refits "
            f"are trained as they would have been when the newest fold was 5, 126 or all its sessions long, with two seeds "
            f"each. Shuffled ones are the served refit with the numbers of each array in a random order, and the leaves of "
            f"all trees of a booster: {SHUFFLES} seeds. *Learned* is what the gate asks: the mean rank correlation with the "
            f"newest fold's scores on the last {gate.agreement_sessions} sessions that fold learned from. *Test part* is the "
            "same on the fold's own out-of-sample scores. A share of 5 % of 200 is known to 1.5 points."
        ),
        "**What came out: sound refits.**",
        "| fold | its sessions | seed | learned | test part |\n|---:|---:|---:|---:|---:|\n"
        + "\n".join(f"| {f} | {n} | {seed} | {one:.2f} | {two:.2f} |" for f, n, seed, one, two in told.iter_rows()),
        "**What came out: shares that pass, by floor.**",
        "| floor | sound, learned | shuffled, learned | sound, test part | shuffled, test part |\n|---:|---:|---:|---:|---:|\n"
        + "\n".join(
            f"| {floor} | {_share(told['learned'].to_numpy(), floor)} | {_share(mixed[0], floor)} "
            f"| {_share(told['test'].to_numpy(), floor)} | {_share(mixed[1], floor)} |"
            for floor in FLOORS
        ),
        (
            f"Shuffled weights still are a function of the features, the same every day: their agreement is {mixed[0].mean():+.2f} "
            f"in the mean with a deviation of {mixed[0].std():.2f}, and more sessions do not narrow it. What tells them from "
            "sound ones is how much two sound trainings share, and that is most where both have learned."
        ),
        f"The floor in use is {gate.refit_agreement}.",
        (
            "**What it does not show.** Other models: a network alone, stopped after an epoch or two, agrees with itself "
            "far less, and may be refused while sound. Weights damaged in part: those of one member of a blend leave the "
            "other's agreement. Larger universes."
        ),
    ]
    return "\n\n".join(lines) + "\n"


def _share(values: np.ndarray, floor: float) -> str:
    return f"{(values >= floor).mean():.1%}"


def main() -> None:
    """Measures, and writes the page."""
    home, out = Path(sys.argv[1]), Path(sys.argv[2])
    began = time.process_time()
    bench = opened(home)
    told, mixed = genuine(bench), shuffled(bench)
    date = out.name[:10]
    command = f"python docs/make_refit_agreement.py HOME docs/results/{out.name}"
    title = f"{date}: the refit held against its folds"
    out.write_text(
        page(bench, told, mixed, title=title, command=command, seconds=time.process_time() - began), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
