"""Walk-forward folds: train on the past, choose on what follows, be judged on what follows that.

A label of session d is the return from its fill, `fill_lag` sessions later, over `horizon` sessions. It is known
`horizon + fill_lag` sessions after d, so that many sessions are purged between two parts of a fold: the last label
used for training is known strictly before the first session that is judged.

References:
    M. Lopez de Prado, Advances in Financial Machine Learning, Wiley 2018, ch. 7 (purging, embargo).
"""

from dataclasses import dataclass

from gnn_assets.core.errors import ConfigError


@dataclass(frozen=True)
class Fold:
    """One walk-forward fold as index ranges into the session axis.

    Args:
        number: 0, 1, ... in order of time.
        train: sessions whose labels train the model.
        validation: sessions whose labels choose the stopping epoch.
        test: sessions that are scored, never seen by training or choice.
    """

    number: int
    train: range
    validation: range
    test: range


def walk_forward(
    n_sessions: int, *, first: int, train: int, validation: int, test: int, purge: int, embargo: int
) -> tuple[Fold, ...]:
    """Folds whose test parts tile the session axis from the first possible session to the last.

    The training part rolls: it has the same length in every fold, so one compiled program serves all. Later
    sessions only ever lengthen the last test part or add a fold: earlier folds never change.

    Args:
        n_sessions: length of the session axis.
        first: index of the first session with complete features.
        train: sessions of the training part.
        validation: sessions of the validation part.
        test: sessions of a full test part; the last one may be shorter.
        purge: sessions dropped between two parts, `horizon + fill_lag`.
        embargo: sessions dropped beyond the purge.

    Raises:
        ConfigError: if not even one test session fits.
    """
    gap = purge + embargo
    lead = train + gap + validation + gap
    first_test = first + lead
    if first_test >= n_sessions:
        raise ConfigError.of(
            "models.folds",
            expected=f"at most {n_sessions - first - 1} sessions for train, validation and their gaps",
            was=lead,
            do="shorten models.folds.train or models.folds.validation, or start the bars earlier",
        )
    return tuple(
        Fold(
            number=number,
            train=range(start - lead, start - lead + train),
            validation=range(start - gap - validation, start - gap),
            test=range(start, min(start + test, n_sessions)),
        )
        for number, start in enumerate(range(first_test, n_sessions, test))
    )
