"""A market that does not change: what a champion sees, says, misses and pays, each with a memory of its own."""

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

N_SYMBOLS = 12


def remembering(rng, shape, memory):
    """Gaussian, variance 1, autocorrelation `memory` along the first axis, from its stationary distribution on."""
    noise = rng.normal(size=shape)
    noise[1:] *= np.sqrt(1 - memory**2)
    return lfilter([1.0], [1.0, -memory], noise, axis=0)


@dataclass(frozen=True)
class Quiet:
    """Row slices of it are quiet too."""

    features: dict
    mask: np.ndarray
    scores: np.ndarray
    losses: np.ndarray
    modelled: np.ndarray
    traded: np.ndarray
    paid: np.ndarray

    def __getitem__(self, rows):
        kept = {name: values[rows] for name, values in vars(self).items() if name != "features"}
        return Quiet({name: values[rows] for name, values in self.features.items()}, **kept)


def quiet_market(seed, length, *, n_symbols=N_SYMBOLS):
    rng = np.random.default_rng(seed)
    shape = (length, n_symbols)
    factor = remembering(rng, (length, 1), 0.9)
    sparse = rng.exponential(size=shape) * (rng.random(shape) < 0.1)
    features = {
        "slow": 0.5 * factor + 0.8 * remembering(rng, shape, 0.8),
        "fast": rng.normal(size=shape) + 0.5 * rng.normal(size=(length, 1)),
        "tails": rng.standard_t(3, size=shape),
        "events": np.where(rng.random(shape) < 0.02, np.nan, sparse),
    }
    spread = np.exp(0.2 * remembering(rng, (length, 1), 0.8))
    scores = spread * remembering(rng, shape, 0.7)
    # Outcomes of five sessions overlap, and so do the losses.
    losses = np.convolve(rng.lognormal(sigma=0.6, size=length + 4), np.ones(5) / 5, mode="valid")
    traded = 1e4 * rng.lognormal(size=shape) * (rng.random(shape) < 0.3)
    modelled = 4e-4 * traded
    return Quiet(
        features,
        rng.random(shape) < 0.95,
        scores,
        losses,
        modelled,
        traded,
        modelled + 4e-4 * traded * rng.normal(size=shape),
    )
