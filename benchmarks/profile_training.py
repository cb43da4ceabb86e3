"""Where the time of one training step goes: each piece compiled alone and timed, on a market of noise.

    python benchmarks/profile_training.py [--model high_pass --symbols 1026 --features 150 --neighbours 20 --repeats 5]

A piece is timed from its call to its result, median over repeats. Pieces do not add up to the step exactly: compiled
together they share buffers, and XLA joins what lies side by side. Size, loss and ensemble are those of the defaults.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gnn_assets.core.config import ModelsConfig, TrainingConfig, build_config
from gnn_assets.models import runtime
from gnn_assets.models.losses import LOSSES
from gnn_assets.models.network import Build, Inputs, Network
from gnn_assets.models.step import (
    Epoch,
    Examples,
    Member,
    batch_of,
    epoch_of,
    loss_of,
    moved,
    start,
    train_epoch,
    validate,
)
from gnn_assets.models.zoo.graph_attention import GraphAttention
from gnn_assets.models.zoo.high_pass import HighPass
from gnn_assets.models.zoo.mlp import Mlp

SEED = 1
DIRECTIONS = 14  # columns taken off a score
STEPS = 4  # gradient steps in the epoch that is timed
BUILDS: dict[str, Build] = {"graph_attention": GraphAttention, "high_pass": HighPass, "mlp": Mlp}


class Piece(NamedTuple):
    """A part of the work.

    Args:
        name: for people.
        function: of arrays alone.
        arguments: its arrays.
        steps: gradient steps it stands for, so that a time is told a step.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    steps: int = 1


def noise_examples(*, sessions: int, symbols: int, features: int, neighbours: int, targets: int) -> Examples:
    """Examples of a market of noise."""
    rng = np.random.default_rng(SEED)
    basis, _ = np.linalg.qr(rng.standard_normal((symbols, DIRECTIONS)))
    inputs = Inputs(
        jnp.asarray(rng.standard_normal((sessions, symbols, features), dtype=np.float32)),
        jnp.ones((sessions, symbols), dtype=bool),
        jnp.asarray(rng.integers(0, symbols, (sessions, symbols, neighbours), dtype=np.int32)),
        jnp.asarray(rng.random((sessions, symbols, neighbours), dtype=np.float32)),
        jnp.broadcast_to(jnp.asarray(basis, dtype=jnp.float32), (sessions, symbols, DIRECTIONS)),
    )
    targets_SxJxN = jnp.asarray(rng.standard_normal((sessions, targets, symbols), dtype=np.float32))
    return Examples(inputs, targets_SxJxN, jnp.ones(targets_SxJxN.shape, dtype=bool))


def pieces(network: Network, settings: TrainingConfig, examples: Examples) -> list[Piece]:
    """The step whole, its parts, and what a validation session costs."""
    sessions = len(examples.known_SxJxN)
    epoch = epoch_of(settings, number=1, n_rows=sessions, steps=STEPS, seed=SEED)
    members = jax.jit(partial(start, network))(jax.random.split(epoch.key, settings.ensemble))
    batch = batch_of(examples, epoch.order_MxB[0])
    keys = jax.random.split(epoch.key, settings.ensemble)
    loss = partial(loss_of, network=network, loss_name=settings.loss)
    scores = jnp.zeros((settings.ensemble, *batch.known_SxJxN[:, 0].shape))
    return [
        Piece("gather of the batch", batch_of, (examples, epoch.order_MxB[0])),
        Piece(
            "forward",
            _one_by_one(lambda params, batch, key: loss(params, batch=batch, key=key)),
            (members.params, batch, keys),
        ),
        Piece(
            "forward and backward",
            _one_by_one(lambda params, batch, key: jax.value_and_grad(loss)(params, batch=batch, key=key)),
            (members.params, batch, keys),
        ),
        Piece(
            "of it: the loss alone",
            _one_by_one(jax.value_and_grad(partial(_loss, settings.loss))),
            (scores, batch, keys),
        ),
        Piece(
            "update and average",
            lambda members, epoch: jax.lax.map(partial(_update, epoch=epoch), members),
            (members, epoch),
        ),
        Piece("the step whole", partial(train_epoch, network, settings.loss), (members, examples, epoch), STEPS),
        Piece(
            "validation of as many sessions",
            partial(validate, network),
            (members.average, examples, epoch.order_MxB[0]),
        ),
    ]


def timed(piece: Piece, *, repeats: int) -> tuple[float, float]:
    """Seconds to compile a piece, and median milliseconds of a step."""
    before = perf_counter()
    program = jax.jit(piece.function).lower(*piece.arguments).compile()
    compiled = perf_counter() - before
    jax.block_until_ready(program(*piece.arguments))
    taken = []
    for _ in range(repeats):
        before = perf_counter()
        jax.block_until_ready(program(*piece.arguments))
        taken.append(perf_counter() - before)
    return compiled, 1000 * median(taken) / piece.steps


def table(rows: Sequence[tuple[str, float, float]], *, graph_days: int) -> str:
    """What was measured, as Markdown."""
    whole = next(milliseconds for name, _, milliseconds in rows if name == "the step whole")
    lines = ["| piece | ms a step | share | ms a graph-day | compiling, s |", "|---|---|---|---|---|"]
    lines += [
        f"| {name} | {milliseconds:.2f} | {milliseconds / whole:.0%} | {milliseconds / graph_days:.3f} | {compiling:.1f} |"
        for name, compiling, milliseconds in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Measures and prints."""
    arguments = _arguments()
    models, settings = _configured(arguments.model)
    with TemporaryDirectory() as cache:
        threads = runtime.start(threads=arguments.threads, cache=Path(cache))
        network = Network(BUILDS[arguments.model], arguments.features, getattr(models, arguments.model))
        examples = noise_examples(
            sessions=STEPS * settings.sessions_per_step,
            symbols=arguments.symbols,
            features=arguments.features,
            neighbours=arguments.neighbours,
            targets=len(settings.targets),
        )
        rows = [(piece.name, *timed(piece, repeats=arguments.repeats)) for piece in pieces(network, settings, examples)]
    graph_days = settings.sessions_per_step * settings.ensemble
    print(
        f"{arguments.model}: N = {arguments.symbols}, F = {arguments.features}, K = {arguments.neighbours}, "
        f"{settings.sessions_per_step} sessions x {settings.ensemble} members a step, {threads} threads\n"
    )
    print(table(rows, graph_days=graph_days))


def _one_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function for each member in turn, as the step calls it, on one batch."""
    return lambda members, batch, keys: jax.lax.map(lambda one: function(one[0], batch, one[1]), (members, keys))


def _loss(name: str, scores_BxN: jax.Array, batch: Examples, key: jax.Array) -> jax.Array:
    on_target = jax.vmap(LOSSES[name], in_axes=(None, 1, 1, None))
    return on_target(scores_BxN, batch.targets_SxJxN, batch.known_SxJxN, key).mean()


def _update(member: Member, *, epoch: Epoch) -> Member:
    return moved(member, jnp.float32(0.0), member.params, rate=epoch.rates_M[0], epoch=epoch)


def _configured(model: str) -> tuple[ModelsConfig, TrainingConfig]:
    models = build_config("live", {"models": {"candidate": model}}).models
    return models, models.training


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=sorted(BUILDS), default="high_pass")
    parser.add_argument("--symbols", type=int, default=1026)
    parser.add_argument("--features", type=int, default=150)
    parser.add_argument("--neighbours", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
