"""The spectral side of the graph: the leading directions in which symbols move together, and what is left without them.

Loadings are the right singular vectors of a trailing window of standardised, clipped returns: the eigenvectors of its
correlation matrix, strongest first. The graph's value lies here: as a high-pass filter that takes the common part off a
return (`residual_returns`) or off a score (`project_off`).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from jaxtyping import Bool, Float

from gnn_assets.core.config import FactorsConfig
from gnn_assets.graphs.one_thread import one_thread

# A series counts as constant when its standard deviation is below this share of its root mean square, and a direction
# as dependent on others when so little of its length is its own.
_NEGLIGIBLE = 1e-8


@dataclass(frozen=True, eq=False)
class Factors:
    """Loadings of N symbols on C directions, fitted anew at R sessions.

    Args:
        sessions_R: sessions at whose close the fits were made, ascending.
        loadings_RxNxC: float64, orthonormal columns, strongest direction first; the largest |loading| of a direction
            is positive. NaN for symbols with too little history; all 0 for directions that the data do not have.
        deviation_RxN: float64, standard deviation over the window (unit of the returns); NaN as above.
        beta_RxN: float64, slope of the symbol's clipped return on the equal-weight mean of all; NaN as above.
        explained_RxC: float64, share of the standardised variance along each direction.

    Known at: each fit at the close of its session.
    """

    sessions_R: tuple[date, ...]
    loadings_RxNxC: Float[np.ndarray, "R N C"]
    deviation_RxN: Float[np.ndarray, "R N"]
    beta_RxN: Float[np.ndarray, "R N"]
    explained_RxC: Float[np.ndarray, "R C"]

    def known_before(self, session: date) -> int | None:
        """Position of the newest fit made before the session: for what is done to the session's own return."""
        position = bisect_left(self.sessions_R, session) - 1
        return position if position >= 0 else None

    def known_at(self, session: date) -> int | None:
        """Position of the newest fit made at the session's close or before: for a score made at that close."""
        position = bisect_right(self.sessions_R, session) - 1
        return position if position >= 0 else None


def factor_loadings(returns_TxN: np.ndarray, *, sessions: Sequence[date], config: FactorsConfig) -> Factors:
    """Singular vectors of the trailing standardised, clipped returns, at every session due for a fit.

    Over the window each symbol's returns are centred on their mean, divided by their standard deviation and clipped;
    missing ones then count as 0. A symbol that is constant, or present in less than `min_share` of the window, takes
    no part. Of few symbols fewer directions are fitted, at least one: as many as there are symbols would leave nothing of a
    return. A fit is due at the first session of every `refresh_weeks` calendar weeks, counted in fixed steps from
    Monday 0001-01-01: neither where the panel starts nor where it ends moves it. Sessions before a full window have
    none. A panel of the last `config.lookback` sessions gives the fit known before its last session.

    Args:
        returns_TxN: float (T, N), log returns; what is not finite is missing.
        sessions: the row axis, ascending.
        config: window, schedule, clip and number of directions.

    Returns:
        Factors with C = `config.count`.

    Known at: the close of each fit's session; later rows are never read.

    Raises:
        ValueError: if the sessions are not ascending.

    References:
        M. Avellaneda, J.-H. Lee, "Statistical arbitrage in the US equities market", Quantitative Finance 10 (2010),
        761-782, section 2; sign: scikit-learn's `svd_flip`.
    """
    ordinals_T = np.array([session.toordinal() for session in sessions], dtype=np.int64)
    if (np.diff(ordinals_T) <= 0).any():
        later = int(np.argmax(np.diff(ordinals_T) <= 0)) + 1
        raise ValueError(f"sessions: expected ascending dates, was {sessions[later]} after {sessions[later - 1]}")
    # Ordinal 1 is a Monday.
    period_T = (ordinals_T - 1) // (7 * config.refresh_weeks)
    due = np.flatnonzero(np.diff(period_T)) + 1
    rows_R = due[due >= config.window - 1]
    n_fits, n_symbols = len(rows_R), returns_TxN.shape[1]
    loadings = np.full((n_fits, n_symbols, config.count), np.nan)
    deviation, beta = np.full((2, n_fits, n_symbols), np.nan)
    explained = np.zeros((n_fits, config.count))
    with one_thread():
        for fit, row in enumerate(rows_R):
            values_WxN = np.array(returns_TxN[row - config.window + 1 : row + 1], dtype=np.float64, order="C")
            columns, mean, scale = _taking_part(values_WxN, config)
            standardised = (values_WxN[:, columns] - mean) / scale
            clipped = np.where(np.isfinite(standardised), np.clip(standardised, -config.clip, config.clip), np.nan)
            loadings[fit, columns], explained[fit] = _leading(
                np.nan_to_num(clipped), count=config.count, most=max(1, int(config.max_share * len(columns)))
            )
            deviation[fit, columns] = scale
            beta[fit, columns] = _market_beta(mean + scale * clipped)
    return Factors(tuple(sessions[row] for row in rows_R), loadings, deviation, beta, explained)


def residual_returns(returns_TxN: np.ndarray, factors: Factors, *, sessions: Sequence[date]) -> np.ndarray:
    """What a regression of each session's returns on the loadings known before that session leaves of them.

    Returns are divided by their known deviations first, so that the least squares weigh every symbol by 1 / variance
    and the residuals, so divided, are orthogonal to the loadings. Otherwise the market stays in what is left: on
    NASDAQ 2013-2017 the residuals of undivided returns shared 5.9 % of their variance along one direction, these
    1.4 %, where independent ones would share 0.9 % and returns share 28 %.

    Args:
        returns_TxN: float (T, N), log returns; what is not finite is missing.
        factors: fits over the same symbols.
        sessions: the row axis.

    Returns:
        float64 (T, N), unit of the returns. NaN where the return is missing or the symbol has no loadings, and for
        the whole session if no fit is known before it or no more symbols are there than directions.

    Known at: the close of each session, from fits of earlier sessions alone.
    """
    return residual_rows(returns_TxN, factors, [factors.known_before(session) for session in sessions])


def residual_rows(returns_SxN: np.ndarray, factors: Factors, fits_S: Sequence[int | None]) -> np.ndarray:
    """What one fit a session leaves of that session's returns; see `residual_returns`.

    A session's bits do not depend on the others: sessions that have fit and symbols in common share its directions.

    Args:
        returns_SxN: float (S, N), log returns; what is not finite is missing.
        factors: fits over the same symbols.
        fits_S: position of each session's fit; None where there is none.

    Returns:
        float64 (S, N); NaN where a return or a loading is missing, and for the whole session if there is no fit, or no
        more symbols are there than directions.
    """
    residual_SxN = np.full(returns_SxN.shape, np.nan)
    fitted_RxN = np.isfinite(factors.deviation_RxN)
    present_SxN = np.isfinite(returns_SxN)
    for row, fit in enumerate(fits_S):
        present_SxN[row] &= fit is not None and fitted_RxN[fit]
    with one_thread():
        for fit, rows in _runs(fits_S, present_SxN):
            present_N = present_SxN[rows[0]]
            directions = factors.loadings_RxNxC[fit][:, factors.explained_RxC[fit] > 0]
            if present_N.sum() <= directions.shape[1]:
                continue
            basis = orthonormal_basis(directions[present_N])
            deviation_n = factors.deviation_RxN[fit, present_N]
            # One product a session: those of several at once round otherwise.
            for row in rows:
                scaled_n = returns_SxN[row, present_N].astype(np.float64) / deviation_n
                residual_SxN[row, present_N] = (scaled_n - basis @ (basis.T @ scaled_n)) * deviation_n
    return residual_SxN


def project_off(
    scores_TxN: np.ndarray,
    factors: Factors,
    *,
    sessions: Sequence[date],
    count: int,
    with_constant: bool = True,
    with_beta: bool = True,
) -> np.ndarray:
    """The score s less Q Qᵀ s, session by session, over the symbols that have one; Q as in `projection_basis`.

    Args:
        scores_TxN: float (T, N), made at the close of each session or later; what is not finite is missing.
        factors: fits over the same symbols.
        sessions: the row axis.
        count: leading directions taken off.
        with_constant: also take off the mean.
        with_beta: also take off what is proportional to beta.

    Returns:
        float64 (T, N). NaN where the score is missing, and for the whole session if no fit is known at its close; all
        0 where the symbols are too few for anything to be left.

    Known at: the close of each session, from fits of that close or earlier.
    """
    projected_TxN = np.full(scores_TxN.shape, np.nan)
    present_TxN = np.isfinite(scores_TxN)
    fits_T = [factors.known_at(session) for session in sessions]
    with one_thread():
        for rows, basis_NxD in projection_bases(
            factors, fits_T, present_TxN, count=count, with_constant=with_constant, with_beta=with_beta
        ):
            for row in rows:
                present_N = present_TxN[row]
                scores_N = np.where(present_N, scores_TxN[row], 0.0)
                # What rounding leaves of nothing would become a score again once it is standardised.
                left = basis_NxD.shape[1] < present_N.sum()
                left_N = scores_N - basis_NxD @ (basis_NxD.T @ scores_N) if left else 0.0
                projected_TxN[row] = np.where(present_N, left_N, np.nan)
    return projected_TxN


def projection_bases(
    factors: Factors,
    fits_S: Sequence[int | None],
    present_SxN: Bool[np.ndarray, "S N"],
    *,
    count: int,
    with_constant: bool = True,
    with_beta: bool = True,
) -> Iterator[tuple[range, np.ndarray]]:
    """The basis of every session that has a fit and a symbol: made once for sessions on end that have both in common.

    Args:
        factors: the fits.
        fits_S: position of each session's fit, from `Factors.known_at`; None where there is none.
        present_SxN: bool (S, N), symbols that take part.
        count: leading directions in it.
        with_constant: whether the constant is in it.
        with_beta: whether beta is in it.

    Yields:
        The sessions, as positions in S, and their basis, as `projection_basis` gives it.
    """
    for fit, rows in _runs(fits_S, present_SxN):
        yield (
            rows,
            projection_basis(
                factors,
                fit,
                present_N=present_SxN[rows[0]],
                count=count,
                with_constant=with_constant,
                with_beta=with_beta,
            ),
        )


def projection_basis(
    factors: Factors, fit: int, *, present_N: np.ndarray, count: int, with_constant: bool, with_beta: bool
) -> np.ndarray:
    """Orthonormal basis, over the symbols present, of a fit's leading directions, the constant and beta.

    Loadings are of standardised returns; times its deviation they are how a symbol's return moves with each direction.
    A score without a part along these has no return from any move of theirs: on NASDAQ 2015 and 2016 that steadied the
    daily IC of a score, where loadings of standardised returns left some of it. A symbol without loadings counts with 0 on every direction and the mean beta: nothing is known of it, so nothing
    but the mean is taken off it.

    Args:
        factors: the fits.
        fit: position of the fit, from `Factors.known_at`.
        present_N: bool (N,), symbols that take part.
        count: leading directions in it.
        with_constant: whether the constant is in it.
        with_beta: whether beta is in it.

    Returns:
        float64 (N, D), D at most `count` + 2: directions that depend on others are left out; rows of absent symbols
        are 0.

    Known at: the close of the fit's session.
    """
    beta_n = factors.beta_RxN[fit, present_N]
    known = np.isfinite(beta_n)
    beta_n = np.where(known, beta_n, beta_n[known].mean() if known.any() else 0.0)
    deviation_n = factors.deviation_RxN[fit, present_N]
    directions = [np.nan_to_num(factors.loadings_RxNxC[fit, present_N, :count] * deviation_n[:, None])]
    if with_constant:
        directions.append(np.ones((len(beta_n), 1)))
    if with_beta:
        directions.append(beta_n[:, None])
    basis_nxD = orthonormal_basis(np.concatenate(directions, axis=1))
    basis_NxD = np.zeros((len(present_N), basis_nxD.shape[1]))
    basis_NxD[present_N] = basis_nxD
    return basis_NxD


def orthonormal_basis(directions_NxD: np.ndarray) -> np.ndarray:
    """Orthonormal columns that span the same space.

    Args:
        directions_NxD: float64 (N, D).

    Returns:
        float64 (N, rank); a direction nearly all of whose length lies along the others adds no column.
    """
    length_D = np.linalg.norm(directions_NxD, axis=0)
    unit_NxD = directions_NxD[:, length_D > 0] / length_D[length_D > 0]
    left, singular, _ = np.linalg.svd(unit_NxD, full_matrices=False)
    return np.ascontiguousarray(left[:, singular > _NEGLIGIBLE])


def _runs(fits_S: Sequence[int | None], present_SxN: np.ndarray) -> Iterator[tuple[int, range]]:
    """Fit and rows of sessions on end with the same fit and the same symbols; those without either are left out."""
    start = 0
    for row in range(1, len(fits_S) + 1):
        if row < len(fits_S) and fits_S[row] == fits_S[start] and (present_SxN[row] == present_SxN[start]).all():
            continue
        fit = fits_S[start]
        if fit is not None and present_SxN[start].any():
            yield fit, range(start, row)
        start = row


def _taking_part(values_WxN: np.ndarray, config: FactorsConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions of the symbols with enough history that is not constant, their means and their deviations."""
    present = np.isfinite(values_WxN)
    count_N = np.maximum(present.sum(axis=0), 1)
    mean_N = np.where(present, values_WxN, 0.0).sum(axis=0) / count_N
    variance_N = (np.where(present, values_WxN - mean_N, 0.0) ** 2).sum(axis=0) / count_N
    moving = variance_N > _NEGLIGIBLE**2 * (variance_N + mean_N**2)
    columns = np.flatnonzero(moving & (present.mean(axis=0) >= config.min_share))
    return columns, mean_N[columns], np.sqrt(variance_N[columns])


def _leading(standardised_WxN: np.ndarray, *, count: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Loadings (N, `count`) and explained shares (`count`,) of the leading directions; 0 beyond the rank, or `most`."""
    n_sessions, n_symbols = standardised_WxN.shape
    loadings_NxC, explained_C = np.zeros((n_symbols, count)), np.zeros(count)
    if n_symbols == 0:
        return loadings_NxC, explained_C
    _, singular, right = np.linalg.svd(standardised_WxN, full_matrices=False)
    tolerance = max(n_sessions, n_symbols) * np.finfo(np.float64).eps * singular[0]
    rank = min(count, most, int((singular > tolerance).sum()))
    leading = right[:rank]
    sign = np.sign(leading[np.arange(rank), np.abs(leading).argmax(axis=1)])
    loadings_NxC[:, :rank] = (sign[:, None] * leading).T
    explained_C[:rank] = singular[:rank] ** 2 / (singular**2).sum()
    return loadings_NxC, explained_C


def _market_beta(returns_WxN: np.ndarray) -> np.ndarray:
    """Least-squares slope of each column on the mean of all, over the rows it has; 0 where that mean stands still."""
    present = np.isfinite(returns_WxN)
    values = np.where(present, returns_WxN, 0.0)
    market_W = values.sum(axis=1) / np.maximum(present.sum(axis=1), 1)
    count_N = present.sum(axis=0)
    about_WxN = np.where(present, market_W[:, None] - market_W @ present / count_N, 0.0)
    variance_N = (about_WxN**2).sum(axis=0)
    still_N = variance_N <= _NEGLIGIBLE**2 * (values**2).sum(axis=0)
    return np.where(still_N, 0.0, (about_WxN * values).sum(axis=0) / np.where(still_N, 1.0, variance_N))
