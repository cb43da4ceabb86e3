"""Training at size: what a graph-day costs here and with PyTorch Geometric.

    python benchmarks/training.py [--torch-python PATH] [--threads 1 2] [--repeats 15] [--scaling] [--out FILE.md]

A graph-day is one session forward, backward and one update by AdamW. Every contender lives in a process of its own,
pinned to a number of threads, so that its peak memory is its own; a driver asks them in turn, one at a time, for the
same sessions, and compares the losses and gradients of those that are the same network. Times are medians. PyTorch may
live in another environment, named by its interpreter; where it is not, this project's networks are measured alone.
What each of them does is written under the tables. Linux only: peak memory is read from /proc.
"""

# ruff: noqa: D102 (what a contender's methods do is said once, in `Contender`)

import argparse
import os
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.contenders import (
    Process,
    command,
    forget_peak,
    in_turn,
    machine,
    medians,
    memory,
    ms,
    per_session,
    pinned,
    processes,
    publish,
    serve,
    table,
    versions,
)

# The project's own modules are imported where they are used: PyTorch's environment has none of them.

SEED = 20171211
K = 20  # neighbours
WIDTH = 64  # features, and channels of every state
HEADS = 4
LAYERS = 2
NARROW = 32  # channels behind the difference in the high-pass network
DIRECTIONS = 14  # taken off a score
SLOPE = 0.2  # of the leaky unit below zero
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.01
SESSIONS = 8  # graph-days asked for at a time
TOLERANCE = 1e-4  # of a gradient, relative to the largest of its array
SCALING_SYMBOLS = (250, 500, 1000)
SCALING_SESSIONS = (128, 256, 512)
SCALING_EPOCHS = 3  # timed, after one that compiles

OURS = "gnn_assets"
EAGER, COMPILED = "PyG GATConv, eager", "PyG GATConv, torch.compile"
Arrays = Mapping[str, np.ndarray]

_NOTES = f"""\
The first three are one and the same network with the same weights: {LAYERS} attention layers of {HEADS} heads by
{WIDTH // HEADS} (GATConv: static attention, no self-loops, bias), tanh-gelu behind each, a linear layer to one score,
the mean square of its error. Their losses and gradients are compared before anything is timed; a relative difference
above {TOLERANCE:.0e} ends the run. All keep float32 and AdamW.

* {OURS}: `models.attention.attend`; an epoch is one compiled scan over sessions, as in training.
* PyG: `torch_geometric.nn.GATConv` over an edge list that is made beforehand, AdamW with `fused=True`; compiled:
  `torch.compile` of network and loss, `dynamic=False`.
* graph_attention, high_pass: the networks of `gnn_assets/models/zoo` at this size, dropout and spectral last layer
  included. Other work than the three: encoder, own paths, norms, correlations; high_pass has no attention.

Peak memory is what the whole process holds at most while it takes its steps, libraries, sessions and compiled programs
included; loaded is what it held before the first.
"""


def market(n_sessions: int, n_symbols: int) -> dict[str, np.ndarray]:
    """Sessions with features, neighbours, correlations, directions and targets; the same for the same arguments."""
    rng = np.random.default_rng([SEED, n_symbols])
    # No symbol is a neighbour of itself; one may come twice.
    steps_SxNxK = rng.integers(1, n_symbols, size=(n_sessions, n_symbols, K))
    neighbours_SxNxK = (np.arange(n_symbols)[:, None] + steps_SxNxK) % n_symbols
    basis_SxNxD = np.linalg.qr(rng.standard_normal((n_sessions, n_symbols, DIRECTIONS)))[0]
    return {
        "features_SxNxF": rng.standard_normal((n_sessions, n_symbols, WIDTH), dtype=np.float32),
        "neighbours_SxNxK": neighbours_SxNxK.astype(np.int32),
        "corr_SxNxK": rng.random((n_sessions, n_symbols, K), dtype=np.float32),
        "basis_SxNxD": basis_SxNxD.astype(np.float32),
        "targets_SxN": rng.standard_normal((n_sessions, n_symbols), dtype=np.float32),
    }


def weights() -> dict[str, np.ndarray]:
    """Where the networks that are the same begin."""
    rng = np.random.default_rng(SEED)
    shapes = {"head": (WIDTH, 1), "offset": (1,)}
    for layer in range(LAYERS):
        shapes |= {f"{name}{layer}": (HEADS, WIDTH // HEADS) for name in ("sender", "receiver")}
        shapes |= {f"project{layer}": (WIDTH, WIDTH), f"bias{layer}": (WIDTH,)}
    return {name: (rng.standard_normal(shape) / np.sqrt(WIDTH)).astype(np.float32) for name, shape in shapes.items()}


class Contender(ABC):
    """One way to train. Public methods are what the driver may ask for.

    Args:
        days: the sessions that are trained on.
        threads: how many it may use; the libraries' own settings are in the environment already.
    """

    def __init__(self, days: Arrays, threads: int) -> None:
        self.days = days
        self.threads = threads
        self.loaded = memory("VmRSS")

    @abstractmethod
    def gradient(self) -> tuple[float, Arrays]:
        """Loss of the first session at `weights`, and its gradient by the names there; no gradient if it is another network."""

    @abstractmethod
    def train(self) -> None:
        """One step a session."""

    def answer(self, *, out: str) -> None:
        """Writes loss and gradient to a file."""
        loss, gradient = self.gradient()
        np.savez(out, loss=loss, **gradient)

    def times(self) -> dict[str, float]:
        """Wall and CPU seconds (of all threads) a graph-day."""

        def work() -> int:
            self.train()
            return SESSIONS

        return per_session(work)

    def memory(self) -> dict[str, int]:
        """Bytes held before the first step, and the most that is held while steps are taken."""
        self.train()
        forget_peak()
        self.train()
        return {"loaded": self.loaded, "peak": memory("VmHWM")}


class _Jax(Contender):
    """A network by jax: one compiled scan over the sessions."""

    def __init__(self, days: Arrays, threads: int) -> None:
        import jax
        import optax

        super().__init__(days, threads)
        self._jax = jax
        self._optimiser = optax.adamw(LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        self._sessions = {name: jax.numpy.asarray(array) for name, array in days.items()}
        self._params = self._start()
        self._state = self._optimiser.init(self._params)
        self._scan = jax.jit(lambda carry, sessions: jax.lax.scan(self._step, carry, sessions))

    @abstractmethod
    def _start(self) -> Any:
        """Parameters to begin with."""

    @abstractmethod
    def _scores(self, params: Any, session: Mapping[str, Any]) -> Any:
        """Scores of one session (N)."""

    def _loss(self, params: Any, session: Mapping[str, Any]) -> Any:
        return self._jax.numpy.square(self._scores(params, session) - session["targets_SxN"]).mean()

    def _step(self, carry: Any, session: Mapping[str, Any]) -> tuple[Any, Any]:
        params, state = carry
        loss, gradient = self._jax.value_and_grad(self._loss)(params, session)
        change, state = self._optimiser.update(gradient, state, params)
        return (self._jax.tree.map(self._jax.numpy.add, params, change), state), loss

    def gradient(self) -> tuple[float, Arrays]:
        first = {name: array[0] for name, array in self._sessions.items()}
        loss, gradient = self._jax.jit(self._jax.value_and_grad(self._loss))(self._params, first)
        return float(loss), {name: np.asarray(array) for name, array in gradient.items()}

    def train(self) -> None:
        carry, _ = self._scan((self._params, self._state), self._sessions)
        self._params, self._state = self._jax.block_until_ready(carry)


class Ours(_Jax):
    """This project's attention in the network that PyG's is."""

    def _start(self) -> Any:
        return {name: self._jax.numpy.asarray(array) for name, array in weights().items()}

    def _scores(self, params: Any, session: Mapping[str, Any]) -> Any:
        from gnn_assets.models.attention import attend

        jnp = self._jax.numpy
        states_NxH, neighbours_KxN = session["features_SxNxF"], session["neighbours_SxNxK"].T
        for layer in range(LAYERS):
            values_NxAxD = (states_NxH @ params[f"project{layer}"]).reshape(-1, HEADS, WIDTH // HEADS)
            sender_NxA, receiver_NxA = (
                jnp.einsum("nad,ad->na", values_NxAxD, params[f"{name}{layer}"]) for name in ("sender", "receiver")
            )
            bias_KxNxA = jnp.broadcast_to(receiver_NxA, (K, *receiver_NxA.shape))
            messages_NxAxD = attend(values_NxAxD, sender_NxA, bias_KxNxA, neighbours_KxN)
            states_NxH = self._jax.nn.gelu(messages_NxAxD.reshape(states_NxH.shape) + params[f"bias{layer}"])
        return (states_NxH @ params["head"])[:, 0] + params["offset"]


class PlugIn(_Jax):
    """A network of the zoo, with dropout, as it is trained."""

    def __init__(self, days: Arrays, threads: int, *, name: str) -> None:
        self._network = network(name)
        super().__init__(days, threads)

    def _start(self) -> Any:
        return self._network.initialise(self._jax.random.key(SEED))

    def _scores(self, params: Any, session: Mapping[str, Any]) -> Any:
        # Dropout costs the same whatever it drops.
        return self._network.scores(params, inputs(session), self._jax.random.key(SEED))

    def gradient(self) -> tuple[float, Arrays]:
        return super().gradient()[0], {}


def network(name: str) -> Any:
    """A network of the zoo at the size of this benchmark."""
    from gnn_assets.core.config import build_config
    from gnn_assets.models.network import Network
    from gnn_assets.models.zoo.graph_attention import GraphAttention
    from gnn_assets.models.zoo.high_pass import HighPass

    models = build_config("sample").models
    attention = models.graph_attention.model_copy(update={"hidden": WIDTH, "heads": HEADS, "layers": LAYERS})
    high_pass = models.high_pass.model_copy(update={"hidden": WIDTH, "narrow": NARROW})
    build, size = {"graph_attention": (GraphAttention, attention), "high_pass": (HighPass, high_pass)}[name]
    return Network(build, WIDTH, size)


def inputs(session: Mapping[str, Any]) -> Any:
    """What a network sees of one session, or of many: every symbol is there."""
    import jax.numpy as jnp

    from gnn_assets.models.network import Inputs

    return Inputs(
        features_SxNxF=session["features_SxNxF"],
        mask_SxN=jnp.ones(session["targets_SxN"].shape, dtype=bool),
        neighbours_SxNxK=session["neighbours_SxNxK"],
        corr_SxNxK=session["corr_SxNxK"],
        basis_SxNxD=session["basis_SxNxD"],
    )


class Scaling:
    """An epoch of this project's training; no contender, asked for times alone."""

    def __init__(self, days: Arrays, _threads: int) -> None:
        self._days = days

    def epochs(self) -> list[float]:
        """Wall seconds of each epoch, the one that compiles left out."""
        from gnn_assets.core.config import build_config
        from gnn_assets.models.checkpoint import NO_CHECKPOINT
        from gnn_assets.models.zoo import high_pass

        n_sessions, models = len(self._days["targets_SxN"]), build_config("sample").models
        size = models.high_pass.model_copy(update={"hidden": WIDTH, "narrow": NARROW})
        folds = models.folds.model_copy(update={"train": n_sessions, "validation": 1})
        ended: list[float] = []
        high_pass.fit(
            dataset(self._days),
            train=range(n_sessions),
            validation=None,
            config=models.model_copy(update={"high_pass": size, "folds": folds}),
            seed=SEED,
            epochs=1 + SCALING_EPOCHS,
            progress=lambda _share, _told: ended.append(perf_counter()),
            checkpoint=NO_CHECKPOINT,
        )
        return [float(took) for took in np.diff(ended)]


def dataset(days: Arrays) -> Any:
    """What a network's training asks of a `Dataset`, over ready arrays."""

    def part(name: str, rows: range) -> np.ndarray:
        return days[name][rows.start : rows.stop]

    return SimpleNamespace(
        symbols=range(days["targets_SxN"].shape[1]),
        feature_names=range(WIDTH),
        mask_TxN=np.ones(days["targets_SxN"].shape, dtype=bool),
        graph=SimpleNamespace(neighbours_TxNxK=days["neighbours_SxNxK"], corr_TxNxK=days["corr_SxNxK"]),
        recipe=SimpleNamespace(execution=SimpleNamespace(purge=0)),
        features=partial(part, "features_SxNxF"),
        basis=partial(part, "basis_SxNxD"),
        targets=lambda _target, rows: (part("targets_SxN", rows), np.ones(part("targets_SxN", rows).shape, dtype=bool)),
    )


class PyG(Contender):
    """PyTorch Geometric's GATConv."""

    def __init__(self, days: Arrays, threads: int, *, compiled: bool) -> None:
        import torch
        from torch_geometric.nn import GATConv

        super().__init__(days, threads)
        torch.set_num_threads(threads)
        self._torch = torch

        class Net(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                convs = [
                    GATConv(WIDTH, WIDTH // HEADS, heads=HEADS, add_self_loops=False, negative_slope=SLOPE)
                    for _ in range(LAYERS)
                ]
                self.convs = torch.nn.ModuleList(convs)
                self.head = torch.nn.Linear(WIDTH, 1)

            def forward(self, states_NxH: Any, edges_2xE: Any, targets_N: Any) -> Any:
                for conv in self.convs:
                    states_NxH = torch.nn.functional.gelu(conv(states_NxH, edges_2xE), approximate="tanh")
                return torch.square(self.head(states_NxH)[:, 0] - targets_N).mean()

        self._net = Net()
        self._load(weights())
        self._call = torch.compile(self._net, dynamic=False) if compiled else self._net
        self._optimiser = torch.optim.AdamW(
            self._net.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True
        )
        receiver_E = np.repeat(np.arange(days["targets_SxN"].shape[1]), K)
        self._sessions = [
            (
                torch.from_numpy(features_NxF),
                torch.from_numpy(np.stack([sender_NxK.ravel(), receiver_E]).astype(np.int64)),
                torch.from_numpy(targets_N),
            )
            for features_NxF, sender_NxK, targets_N in zip(
                days["features_SxNxF"], days["neighbours_SxNxK"], days["targets_SxN"], strict=True
            )
        ]

    def _named(self) -> dict[str, Any]:
        """Each parameter by its name in `weights`, in the shape it has there or transposed."""
        named = {"head": self._net.head.weight, "offset": self._net.head.bias}
        for layer, conv in enumerate(self._net.convs):
            named |= {f"project{layer}": conv.lin.weight, f"bias{layer}": conv.bias}
            named |= {f"sender{layer}": conv.att_src, f"receiver{layer}": conv.att_dst}
        return named

    def _load(self, start: Arrays) -> None:
        with self._torch.no_grad():
            for name, parameter in self._named().items():
                turned = start[name].T if name.startswith(("project", "head")) else start[name]
                parameter.copy_(self._torch.from_numpy(turned.reshape(parameter.shape).copy()))

    def gradient(self) -> tuple[float, Arrays]:
        self._optimiser.zero_grad()
        loss = self._call(*self._sessions[0])
        loss.backward()
        gradient = {}
        for name, parameter in self._named().items():
            array = parameter.grad.numpy()
            gradient[name] = array.T if name.startswith(("project", "head")) else np.squeeze(array)
        return float(loss.detach()), gradient

    def train(self) -> None:
        for session in self._sessions:
            self._optimiser.zero_grad()
            self._call(*session).backward()
            self._optimiser.step()


_SAME, _OTHER = "the same network", "other work"
CONTENDERS: Mapping[str, tuple[str, Callable[[Arrays, int], Contender | Scaling]]] = {
    OURS: (_SAME, Ours),
    EAGER: (_SAME, partial(PyG, compiled=False)),
    COMPILED: (_SAME, partial(PyG, compiled=True)),
    "graph_attention": (_OTHER, partial(PlugIn, name="graph_attention")),
    "high_pass": (f"{_OTHER}: no attention", partial(PlugIn, name="high_pass")),
    "scaling": ("an epoch", Scaling),
}


def _asked(name: str, days: Path, threads: int) -> Callable[..., Any]:
    """What a contender is asked by, over the sessions of a file."""
    with np.load(days) as arrays:
        contender = CONTENDERS[name][1](dict(arrays), threads)
    return lambda work, **settings: getattr(contender, work)(**settings)


def _processes(
    names: Sequence[str], days: Path, threads: int, interpreters: Mapping[str, str]
) -> AbstractContextManager[dict[str, Process]]:
    commands = {
        name: command(__file__, name, interpreter=interpreters.get(name, sys.executable), days=days, threads=threads)
        for name in names
    }
    return processes(commands, pinned(threads))


def difference(answer: Arrays, truth: Arrays) -> float:
    """Largest difference of a loss or gradient, relative to the largest number of its array; infinite if one is missing."""
    if answer.keys() != truth.keys():
        return float("inf")
    # numpy's largest: Python's own passes over a NaN.
    return float(np.max([np.abs(answer[name] - truth[name]).max() / np.abs(truth[name]).max() for name in truth]))


@dataclass(frozen=True)
class Result:
    """What was measured.

    Args:
        seconds: threads → contender → clock → median seconds a graph-day.
        memory: contender → bytes loaded and at the peak, with the fewest threads.
        differences: contender that is the same network → its largest difference from PyG, or from nothing.
        scaling: (symbols, sessions) → median seconds an epoch.
        torch: versions of PyTorch, or None where there was none.
        loads: of the machine, before and after.
    """

    seconds: Mapping[int, Mapping[str, Mapping[str, float]]]
    memory: Mapping[str, Mapping[str, int]]
    differences: Mapping[str, float]
    scaling: Mapping[tuple[int, int], float]
    torch: str | None
    loads: tuple[float, float]


def run(arguments: argparse.Namespace) -> Result:
    """Asks every contender in turn, as often as wanted, with each number of threads."""
    before = os.getloadavg()[0]
    torch = versions(arguments.torch_python, "torch", "torch_geometric")
    interpreters = dict.fromkeys((EAGER, COMPILED), arguments.torch_python)
    names = [name for name in CONTENDERS if name != "scaling" and (torch or name not in interpreters)]
    seconds: dict[int, dict[str, dict[str, float]]] = {}
    held: dict[str, dict[str, int]] = {}
    differences: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        days = Path(folder) / "days.npz"
        np.savez(days, **market(SESSIONS, arguments.symbols))
        for threads in arguments.threads:
            with _processes(names, days, threads, interpreters) as asked:
                differences = _differences(asked, Path(folder))
                peaks = {name: process.ask("memory") for name, process in asked.items()}
                held = held or peaks
                told = in_turn({name: partial(each.ask, "times") for name, each in asked.items()}, arguments.repeats)
            seconds[threads] = {name: medians(each) for name, each in told.items()}
        scaling = _scaling(Path(folder), max(arguments.threads)) if arguments.scaling else {}
    return Result(seconds, held, differences, scaling, torch, (before, os.getloadavg()[0]))


def _differences(asked: Mapping[str, Process], folder: Path) -> dict[str, float]:
    answers = {}
    for name, process in asked.items():
        out = folder / "answer.npz"
        process.ask("answer", out=str(out))  # also compiles, where it is compiled
        with np.load(out) as answer:
            answers[name] = dict(answer)
    if EAGER not in answers:
        return {}
    same = [name for name in answers if CONTENDERS[name][0] == _SAME and name != EAGER]
    differences = {name: difference(answers[name], answers[EAGER]) for name in same}
    for name, found in differences.items():
        if not found <= TOLERANCE:
            raise RuntimeError(f"{name}: expected the gradient of {EAGER} within {TOLERANCE}, was {found:.1g} away.")
    return differences


def _scaling(folder: Path, threads: int) -> dict[tuple[int, int], float]:
    """Each number of symbols at the middle number of sessions, and each number of sessions at the middle one of symbols."""
    middle = SCALING_SYMBOLS[1], SCALING_SESSIONS[1]
    cases = dict.fromkeys([(n, middle[1]) for n in SCALING_SYMBOLS] + [(middle[0], t) for t in SCALING_SESSIONS])
    took = {}
    for n_symbols, n_sessions in cases:
        days = folder / "epoch.npz"
        np.savez(days, **market(n_sessions, n_symbols))
        with _processes(["scaling"], days, threads, {}) as asked:
            took[n_symbols, n_sessions] = median(asked["scaling"].ask("epochs"))
    return took


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """The power of the size that seconds grow with, by least squares on logarithms: 1 is linear."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def report(result: Result, arguments: argparse.Namespace) -> str:
    """The tables and what stands behind them, as Markdown."""
    installed = ", ".join(f"{name} {version(name)}" for name in ("jax", "flax", "optax", "numpy"))
    how = (
        f"One session forward, backward and an update by AdamW: N = {arguments.symbols}, K = {K}, F = {WIDTH}, "
        f"{LAYERS} attention layers. Medians of {arguments.repeats} repeats of {SESSIONS} sessions, contenders asked in "
        f"turn, each in a process of its own. {machine(result.loads)}, {installed}, {result.torch or 'no PyTorch'}."
    )
    parts = [_times(result, threads) for threads in result.seconds]
    if result.torch is None:
        parts.append([f"PyTorch Geometric was not found by `{arguments.torch_python}`: {OURS} was measured alone."])
    parts.append(_memories(result))
    parts += [_epochs(result)] if result.scaling else []
    return "\n\n".join(["# Training at size", how, *("\n".join(part) for part in parts), _NOTES])


def _times(result: Result, threads: int) -> list[str]:
    seconds = result.seconds[threads]
    ours = seconds[OURS]
    rows = [
        [name, CONTENDERS[name][0], ms(took["wall"]), ms(took["cpu"]), f"{took['wall'] / ours['wall']:.2f}×"]
        for name, took in seconds.items()
    ]
    return [
        f"## {'One thread' if threads == 1 else f'{threads} threads'}: ms a graph-day",
        "",
        *table(["contender", "work", "wall", "CPU", f"times {OURS}, wall"], rows, words=2),
    ]


def _memories(result: Result) -> list[str]:
    rows = [
        [
            name,
            f"{held['loaded'] / 1e6:.0f} MB",
            f"{held['peak'] / 1e6:.0f} MB",
            f"{result.differences[name]:.0e}" if name in result.differences else "",
        ]
        for name, held in result.memory.items()
    ]
    header = ["contender", "loaded", "peak", "largest difference from PyG, eager"]
    return ["## Memory of the process, and what came out", "", *table(header, rows)]


def _epochs(result: Result) -> list[str]:
    n_middle, t_middle = SCALING_SYMBOLS[1], SCALING_SESSIONS[1]
    of_symbols = [result.scaling[n_symbols, t_middle] for n_symbols in SCALING_SYMBOLS]
    of_sessions = [result.scaling[n_middle, n_sessions] for n_sessions in SCALING_SESSIONS]
    rows = [
        [str(n_symbols), str(n_sessions), f"{took:.2f}"] for (n_symbols, n_sessions), took in result.scaling.items()
    ]
    grows = (
        f"Grows with N to the power of {exponent(SCALING_SYMBOLS, of_symbols):.2f}, with T to the power of "
        f"{exponent(SCALING_SESSIONS, of_sessions):.2f}."
    )
    return [
        "## Seconds an epoch of high_pass, the configured ensemble",
        "",
        grows,
        "",
        *table(["N", "T", "seconds"], rows, words=0),
    ]


def main() -> None:
    """Runs the benchmark, or one contender of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=1026)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads to measure with")
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter that has torch and torch_geometric")
    parser.add_argument("--scaling", action="store_true", help="also time epochs over numbers of symbols and sessions")
    parser.add_argument("--out", type=Path, help="write the tables to this Markdown file")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--days", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        serve(partial(_asked, arguments.contender, arguments.days, arguments.threads[0]))
        return
    publish(report(run(arguments), arguments), arguments.out)


if __name__ == "__main__":
    main()
