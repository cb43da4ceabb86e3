"""skfolio's optimisers, told a forecast of risk and return instead of a sample. Import it inside functions: it is slow.

References:
    R. Grinold, R. Kahn, Active Portfolio Management, McGraw-Hill 2000, ch. 14 (mean-risk).
    M. Lopez de Prado, Building Diversified Portfolios that Outperform Out of Sample, Journal of Portfolio Management
    42(4), 2016 (hierarchical risk parity).
    S. Maillard, T. Roncalli, J. Teiletche, The Properties of Equally Weighted Risk Contribution Portfolios, Journal of
    Portfolio Management 36(4), 2010 (risk budgeting).
"""

import warnings
from dataclasses import dataclass
from typing import Any

import cvxpy
import numpy as np
from skfolio import RiskMeasure
from skfolio.distance import CovarianceDistance
from skfolio.exceptions import SkfolioError
from skfolio.optimization import HierarchicalRiskParity, MeanRisk, ObjectiveFunction, RiskBudgeting
from skfolio.prior import BasePrior, ReturnDistribution

from gnn_assets.core.errors import ModelError

# One solver for every machine, with one method of its own and one thread: other ones give other last digits. Where it
# is not sure of a solution as exact as the first tolerance (duality gap, absolute and relative), the second will do.
_SOLVER = "CLARABEL"
_SOLVER_PARAMS = {"direct_solve_method": "qdldl", "max_threads": 1}
_TOLERANCES = (1e-10, 1e-8)
_UNSOLVED = (SkfolioError, cvxpy.SolverError, np.linalg.LinAlgError, ValueError, UserWarning)
# A solution misses its own constraints by no more than that (share of the portfolio).
_FEASIBLE = 1e-6


@dataclass(frozen=True, eq=False)
class Problem:
    """A portfolio to be found: long only, everything invested.

    Args:
        method: `backtests.portfolios.method`.
        covariance_MxM: float64, of a session's simple returns.
        expected_M: float64, expected simple return of a session; only read by max_ratio.
        cost_M: float64, cost of buying or selling, spread over the sessions it is held for (share of the value a
            session); likewise.
        before_M: float64, weights held before; likewise.
        max_weight: most in one name, so that all of them together hold at least 1.
    """

    method: str
    covariance_MxM: np.ndarray
    expected_M: np.ndarray
    cost_M: np.ndarray
    before_M: np.ndarray
    max_weight: float


def solved(problem: Problem) -> np.ndarray:
    """The weights (M,) of a problem: at least 0, together 1.

    Raises:
        ModelError: if the solver finds none, or none it is sure of.
    """
    try:
        weights_M = _fitted(problem, _TOLERANCES[0])
    except _UNSOLVED:
        try:
            weights_M = _fitted(problem, _TOLERANCES[1])
        except _UNSOLVED as error:
            raise ModelError(f"{problem.method}: {' '.join(str(error).split())}") from error
    if not (abs(weights_M.sum() - 1.0) <= _FEASIBLE and weights_M.min() >= -_FEASIBLE):
        raise ModelError(f"{problem.method}: a solution outside of its constraints, of sum {weights_M.sum()}")
    weights_M = np.maximum(weights_M, 0.0)
    return np.minimum(weights_M / weights_M.sum(), problem.max_weight)


def _fitted(problem: Problem, tolerance: float) -> np.ndarray:
    """The solver's weights (M,), if it is sure of them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Solution may be inaccurate", category=UserWarning)
        fitted = _optimiser(problem, tolerance).fit(np.zeros((1, len(problem.expected_M))))
    return np.asarray(fitted.weights_, np.float64)


class _Told(BasePrior):
    """A forecast that is not fitted, but told."""

    def __init__(self, expected_M: np.ndarray, covariance_MxM: np.ndarray) -> None:
        self.expected_M = expected_M
        self.covariance_MxM = covariance_MxM

    def fit(self, X: Any, y: None = None, **fit_params: Any) -> "_Told":  # noqa: ARG002 - as scikit-learn calls it
        """Takes up what was told; every measure used here is one of the covariance, so there are no scenarios."""
        self.return_distribution_ = ReturnDistribution(
            mu=self.expected_M, covariance=self.covariance_MxM, returns=np.zeros((1, len(self.expected_M)))
        )
        return self


def _optimiser(problem: Problem, tolerance: float) -> MeanRisk | HierarchicalRiskParity | RiskBudgeting:
    # In units of the mean volatility the solver's tolerances mean the same in every market, and no solution changes.
    unit = np.sqrt(np.diag(problem.covariance_MxM).mean()) or 1.0
    prior = _Told(problem.expected_M / unit, problem.covariance_MxM / unit**2)
    most = problem.max_weight
    solver = {**_SOLVER_PARAMS, "tol_gap_abs": tolerance, "tol_gap_rel": tolerance}
    if problem.method == "hierarchical":
        distance = CovarianceDistance(covariance_estimator="precomputed")
        return HierarchicalRiskParity(prior_estimator=prior, distance_estimator=distance, max_weights=most)
    if problem.method == "risk_budgeting":
        return RiskBudgeting(prior_estimator=prior, max_weights=most, solver=_SOLVER, solver_params=solver)
    if problem.method == "min_variance":
        return MeanRisk(prior_estimator=prior, max_weights=most, solver=_SOLVER, solver_params=solver)
    return MeanRisk(
        objective_function=ObjectiveFunction.MAXIMIZE_RATIO,
        risk_measure=RiskMeasure.STANDARD_DEVIATION,
        prior_estimator=prior,
        max_weights=most,
        transaction_costs=problem.cost_M / unit,
        previous_weights=problem.before_M,
        solver=_SOLVER,
        solver_params=solver,
    )
