"""Folds of sessions: walk-forward ones, and combinatorial purged ones.

Walk-forward: train on the past, choose on what follows, be judged on what follows that. Combinatorial: every choice of
groups of sessions is tested once on a model trained on the others, later ones too; for research on how sure a result
is, never for what is served.

A label of session d is the return from its fill, `fill_lag` sessions later, over `horizon` sessions. It is known
`horizon + fill_lag` sessions after d, so that many sessions are purged between two parts of a fold: the last label
used for training is known strictly before the first session that is judged.

References:
    M. Lopez de Prado, Advances in Financial Machine Learning, Wiley 2018, ch. 7 (purging, embargo), 12 (combinatorial).
"""

from dataclasses import dataclass

import numpy as np

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


@dataclass(frozen=True)
class CombinatorialFold:
    """One combinatorial fold as indices into the session axis.

    Args:
        number: 0, 1, ... in lexicographic order of the tested groups.
        train: int64 (S,), ascending sessions that train.
        tests: the tested groups, ascending.
        paths: the path each tested group belongs to; every path holds every session once.
    """

    number: int
    train: np.ndarray
    tests: tuple[range, ...]
    paths: tuple[int, ...]


def combinatorial_purged(
    n_sessions: int, *, first: int, groups: int, tested: int, purge: int, embargo: int
) -> tuple[CombinatorialFold, ...]:
    """Every choice of `tested` out of `groups` groups of sessions, with what trains beside it.

    Sessions are split, never rows of a panel: symbols of one session stay together. A session before a tested group
    trains if its label is known before the group begins, one after it if no label of the group reaches it and the
    embargo has passed. Each session is tested in (groups − 1 over tested − 1) folds, so many are the paths.

    Args:
        n_sessions: length of the session axis.
        first: index of the first session with complete features.
        groups: groups of neighbouring sessions, of one length but for the last, which may be longer.
        tested: groups tested at once, at least 2.
        purge: sessions until a label is known, `horizon + fill_lag`.
        embargo: sessions dropped beyond the purge, after a tested group.

    Raises:
        ConfigError: if a group is not longer than the purge and the embargo, or there is no group to train on.

    References:
        M. Lopez de Prado 2018, ch. 12.
    """
    from skfolio.model_selection import CombinatorialPurgedCV

    try:
        splitter = CombinatorialPurgedCV(n_folds=groups, n_test_folds=tested, purged_size=purge, embargo_size=embargo)
        splits = list(splitter.split(np.empty((max(n_sessions - first, 0), 1))))
    except ValueError as error:
        raise ConfigError.of(
            "backtests.combinatorial",
            expected=f"at least 2 of at least 3 groups tested, each longer than {purge + embargo + 1} sessions",
            was=f"{tested} of {groups} groups of {max(n_sessions - first, 0)} sessions",
            do="lower backtests.combinatorial.groups or start the bars earlier",
        ) from error
    return tuple(
        CombinatorialFold(
            number=number,
            train=first + train,
            tests=tuple(range(first + int(test[0]), first + int(test[-1]) + 1) for test in tests),
            paths=tuple(int(path) for path in paths),
        )
        for number, ((train, tests), paths) in enumerate(zip(splits, splitter.get_path_ids(), strict=True))
    )
