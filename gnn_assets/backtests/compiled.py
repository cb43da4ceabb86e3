"""Compiled loops of the engine; `engine` says what they are for and calls them.

Positions are kept as values on the scale of the last trade, when the portfolio was 1: between two trades a session
touches the names that are held and nothing else. Sums run in the order in which names came to be held, so the bits of
a portfolio depend on nothing that is simulated beside it.

All of it is in one file: what is compiled is kept until that file changes, whatever other files it was made from.
Nothing in here carries shape annotations: a checked wrapper around a compiled function would no longer compile.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

# What is left of a position below this share of the portfolio is what rounding left of nothing.
DUST = 1e-12
# What is held long beyond the portfolio's value by no more than that (share) is what rounding made of all of it.
_ROUNDING = 1e-9


class Market(NamedTuple):
    """What every portfolio meets.

    Args:
        simple_TxN: float64, simple return from the last price there was to this session's fill; NaN without a price.
        traded_TxN: float64, average daily traded value known at the close (quote currency): 0 where nothing can be traded,
            NaN where anything can; no rows if nothing is known.
        volatility_TxN: float64, deviation of daily returns known at the close, NaN where unknown; no rows likewise.
    """

    simple_TxN: np.ndarray
    traded_TxN: np.ndarray
    volatility_TxN: np.ndarray


class Ranks(NamedTuple):
    """Names of the rows that were ranked, the highest score first.

    Args:
        row_T: int32, a session's row below; -1 where it was not ranked.
        order_RxN: int32, those with a finite score first; equal scores in the order of their columns.
        count_R: int32, finite scores.
        flat_R: bool, whether these are all equal.
    """

    row_T: np.ndarray
    order_RxN: np.ndarray
    count_R: np.ndarray
    flat_R: np.ndarray


class Picks(NamedTuple):
    """How many of the best and the worst names are held.

    Args:
        held: names a side.
        limit: a name of the pick before stays while its rank is at most this; at least `held`.
        long: value of the best together (share of the portfolio).
        short: value of the worst together, as a positive number; 0 for none.
        cap: most of the portfolio in one name.
    """

    held: int
    limit: int
    long: float
    short: float
    cap: float


class Targets(NamedTuple):
    """Weights made beforehand, those that are not 0, session by session.

    Args:
        start_T: int64 (T + 1,), where each session's begin.
        name_P: int32, columns.
        weight_P: float64, shares of the portfolio.
    """

    start_T: np.ndarray
    name_P: np.ndarray
    weight_P: np.ndarray


class Rules(NamedTuple):
    """What an `ExecutionConfig` and a brake come to, as plain numbers.

    Args:
        lag: sessions from signal to fill.
        commission: commission and half spread (share of traded value).
        slippage: likewise.
        impact: coefficient of the square-root law.
        capital: value in the beginning (quote currency).
        participation: most of the average daily traded value in one trade (share).
        borrow: cost of one session (share of the short value).
        financing: cost of one session (share of the long value above the portfolio's own).
        delisting_sessions: sessions without a price that end a position.
        delisting_return: what a long one then earns (simple return).
        leverage: most of long and short value together at a trade.
        drawdown: fall that sets the brake; above 1 for none.
        exposure: share of the target held while it is set.
        restore: fall at which it is let go.
    """

    lag: int
    commission: float
    slippage: float
    impact: float
    capital: float
    participation: float
    borrow: float
    financing: float
    delisting_sessions: int
    delisting_return: float
    leverage: float
    drawdown: float
    exposure: float
    restore: float


class Books(NamedTuple):
    """Where a portfolio is written, all zeros before; what they hold is said in `engine.Simulation`."""

    gross_T: np.ndarray
    net_T: np.ndarray
    turnover_T: np.ndarray
    commission_T: np.ndarray
    slippage_T: np.ndarray
    borrow_T: np.ndarray
    financing_T: np.ndarray
    long_T: np.ndarray
    short_T: np.ndarray
    held_T: np.ndarray
    without_impact_T: np.ndarray


class State(NamedTuple):
    """A portfolio between two sessions.

    Args:
        value_N: float64, value of each position.
        target_N: float64, weights of the last signal, before brake and leverage.
        silent_N: int64, sessions without a price up to the one in `heard_N`.
        heard_N: int64, the last session without a price.
        held_N: int64, names held, as many as there are.
        wanted_N: int64, names with a target, likewise.
        names_N: int64, room for the names of a trade.
        goal_N: float64, room for what a trade leads to.
    """

    value_N: np.ndarray
    target_N: np.ndarray
    silent_N: np.ndarray
    heard_N: np.ndarray
    held_N: np.ndarray
    wanted_N: np.ndarray
    names_N: np.ndarray
    goal_N: np.ndarray


@njit(cache=True, nogil=True, error_model="numpy")
def impact_share(value, impact, volatility, traded):
    """Share of a trade's value that moving the market costs; NaN where the market is not known.

    References: R. Almgren, C. Thum, E. Hauptmann, H. Li, Direct Estimation of Equity Market Impact, Risk 18 (2005);
    R. Grinold, R. Kahn, Active Portfolio Management, McGraw-Hill 2000, ch. 16.
    """
    if traded > 0.0:
        return impact * volatility * math.sqrt(value / traded)
    return np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def impact_shares(value_N, impact, volatility_N, traded_N, shares_N):
    """`impact_share` of every name."""
    for n in range(len(value_N)):
        shares_N[n] = impact_share(value_N[n], impact, volatility_N[n], traded_N[n])


@njit(cache=True, nogil=True, error_model="numpy")
def _side(order_N, count, sign, held, limit, target_N, chosen_N, at):
    """Adds one side's names to the chosen: those already on it that rank within the limit, then the best others."""
    kept = 0
    for i in range(limit):
        n = order_N[i] if sign > 0 else order_N[count - 1 - i]
        kept += target_N[n] * sign > 0
    kept = min(kept, held)
    new = held - kept
    for i in range(limit):
        n = order_N[i] if sign > 0 else order_N[count - 1 - i]
        if target_N[n] * sign > 0:
            if kept:
                kept -= 1
                chosen_N[at] = n
                at += 1
        elif new:
            new -= 1
            chosen_N[at] = n
            at += 1
    return at


@njit(cache=True, nogil=True, error_model="numpy")
def pick(order_N, count, flat, picks, target_N, wanted_N, n_wanted, chosen_N):
    """Replaces the targets by those of a new ranking; the number of names that have one."""
    both = picks.short > 0
    room = count // 2 if both else count
    held, limit = min(picks.held, room), min(picks.limit, room)
    if flat:
        held = limit = 0 if both else count
    n_long = _side(order_N, count, 1, held, limit, target_N, chosen_N, 0)
    n_all = _side(order_N, count, -1, held, limit, target_N, chosen_N, n_long) if both else n_long
    for i in range(n_wanted):
        target_N[wanted_N[i]] = 0.0
    for i in range(n_all):
        wanted_N[i] = chosen_N[i]
        share = picks.long / n_long if i < n_long else picks.short / (n_all - n_long)
        target_N[chosen_N[i]] = min(share, picks.cap) * (1.0 if i < n_long else -1.0)
    return n_all


@njit(cache=True, nogil=True, error_model="numpy")
def pick_rows(ranks, picks, weights_RxN):
    """The targets of every ranked row, one after another."""
    n_names = weights_RxN.shape[1]
    target_N = np.zeros(n_names)
    wanted_N, chosen_N = np.empty(n_names, np.int64), np.empty(n_names, np.int64)
    n_wanted = 0
    for row in range(len(weights_RxN)):
        n_wanted = pick(
            ranks.order_RxN[row], ranks.count_R[row], ranks.flat_R[row], picks, target_N, wanted_N, n_wanted, chosen_N
        )
        weights_RxN[row] = target_N


@njit(cache=True, nogil=True, error_model="numpy")
def _earn(simple_N, t, rules, state, n_held):
    """A session's moves: what was earned, long and short value after it, and how many names are still held."""
    earned = long = short = 0.0
    n_left = 0
    for i in range(n_held):
        n = state.held_N[i]
        value, moved = state.value_N[n], simple_N[n]
        if moved == moved:  # noqa: PLR0124 - NaN alone differs from itself
            gain = value * moved
            earned += gain
            value += gain
        else:
            state.silent_N[n] = state.silent_N[n] + 1 if state.heard_N[n] == t - 1 else 1
            state.heard_N[n] = t
            if state.silent_N[n] >= rules.delisting_sessions:
                # A short position is closed at its last value.
                earned += max(value, 0.0) * rules.delisting_return
                value = 0.0
        state.value_N[n] = value
        if value == 0.0:
            continue
        if value > 0.0:
            long += value
        else:
            short -= value
        state.held_N[n_left] = n
        n_left += 1
    return earned, long, short, n_left


@njit(cache=True, nogil=True, error_model="numpy")
def _targets(ranks, targets, picks, state, n_wanted, row):
    """Takes up a signal; the number of names it wants."""
    if len(ranks.row_T):
        at = ranks.row_T[row]
        order_N, count, flat = ranks.order_RxN[at], ranks.count_R[at], ranks.flat_R[at]
        return pick(order_N, count, flat, picks, state.target_N, state.wanted_N, n_wanted, state.names_N)
    for i in range(n_wanted):
        state.target_N[state.wanted_N[i]] = 0.0
    first, last = targets.start_T[row], targets.start_T[row + 1]
    for at in range(first, last):
        state.wanted_N[at - first] = targets.name_P[at]
        state.target_N[targets.name_P[at]] = targets.weight_P[at]
    return last - first


@njit(cache=True, nogil=True, error_model="numpy")
def _goals(market, rules, state, total, n_held, n_wanted, t, exposure, worth):
    """What each name of a trade is to weigh; the number of these names.

    A name without a price keeps its weight, and the others share what is left. A trade larger than the market takes is
    cut; where sales were cut, purchases shrink until nothing beyond the target's size is invested.
    """
    simple_N, names_N, goal_N = market.simple_TxN[t], state.names_N, state.goal_N
    known = len(market.traded_TxN) > 0
    n_names = 0
    for i in range(n_held):
        n = state.held_N[i]
        state.value_N[n] /= total
        # Beside something that grew beyond all numbers nothing is left of it: a name must not be listed twice.
        if state.value_N[n] != 0.0:
            names_N[n_names] = n
            n_names += 1
    size = 0.0
    for i in range(n_wanted):
        n = state.wanted_N[i]
        size += abs(state.target_N[n])
        if state.value_N[n] == 0.0:
            names_N[n_names] = n
            n_names += 1
    scale = exposure if size * exposure <= rules.leverage else rules.leverage / size
    most = size * scale
    stuck = asked = 0.0
    for i in range(n_names):
        n = names_N[i]
        if np.isnan(simple_N[n]):
            stuck += abs(state.value_N[n])
        else:
            asked += abs(state.target_N[n]) * scale
    if stuck > 0.0 and asked > max(most - stuck, 0.0):
        scale *= max(most - stuck, 0.0) / asked
    cut = False
    invested, added = stuck, 0.0
    for i in range(n_names):
        n = names_N[i]
        weight = state.value_N[n]
        if np.isnan(simple_N[n]):
            goal_N[i] = weight
            continue
        goal = state.target_N[n] * scale
        if known and market.traded_TxN[t - rules.lag, n] >= 0.0:
            limit = rules.participation * market.traded_TxN[t - rules.lag, n] / worth
            if abs(goal - weight) > limit:
                cut = True
                goal = weight + limit if goal > weight else weight - limit
        goal_N[i] = goal
        invested += abs(goal)
        added += max(abs(goal) - abs(weight), 0.0)
    if cut and invested > most and added > 0.0:
        left = max(1.0 - (invested - most) / added, 0.0)
        for i in range(n_names):
            weight = state.value_N[names_N[i]]
            if abs(goal_N[i]) > abs(weight):
                goal_N[i] = weight + left * (goal_N[i] - weight)
    return n_names


@njit(cache=True, nogil=True, error_model="numpy")
def _trade(market, rules, state, n_names, t, worth):
    """Trades to the goals: turnover, impact, turnover without known impact, long and short weight, names held."""
    turnover = impact = unknown = long = short = 0.0
    known = len(market.traded_TxN) > 0
    n_held = 0
    for i in range(n_names):
        n, goal = state.names_N[i], state.goal_N[i]
        if abs(goal) < DUST:
            goal = 0.0
        traded = abs(goal - state.value_N[n])
        turnover += traded
        if rules.impact > 0.0 and traded > 0.0:
            share = np.nan
            if known:
                at = t - rules.lag
                volatility = market.volatility_TxN[at, n]
                share = impact_share(traded * worth, rules.impact, volatility, market.traded_TxN[at, n])
            if np.isnan(share):
                unknown += traded
            else:
                impact += traded * share
        state.value_N[n] = goal
        if goal != 0.0:
            state.held_N[n_held] = n
            n_held += 1
            if goal > 0.0:
                long += goal
            else:
                short -= goal
    return turnover, impact, unknown, long, short, n_held


@njit(cache=True, nogil=True, error_model="numpy")
def simulate(market, ranks, targets, picks, signal_T, rules, books):
    """Writes one portfolio's books; by ranks if there are any, else by targets."""
    n_sessions, n_names = market.simple_TxN.shape
    state = State(
        value_N=np.zeros(n_names),
        target_N=np.zeros(n_names),
        silent_N=np.zeros(n_names, np.int64),
        heard_N=np.full(n_names, -2, np.int64),
        held_N=np.empty(n_names, np.int64),
        wanted_N=np.empty(n_names, np.int64),
        names_N=np.empty(n_names, np.int64),
        goal_N=np.empty(n_names),
    )
    n_held = n_wanted = 0
    total = equity = peak = 1.0
    long = short = 0.0
    decided = applied = signalled = False
    for t in range(n_sessions):
        borrow = rules.borrow * short / total
        financing = rules.financing * (long / total - 1.0) if long > (1.0 + _ROUNDING) * total else 0.0
        earned, long, short, n_held = _earn(market.simple_TxN[t], t, rules, state, n_held)
        gross = max(earned / total, -1.0)
        total += earned
        grown = 1.0 + gross - borrow - financing
        books.gross_T[t], books.borrow_T[t] = gross, min(borrow, 1.0 + gross)
        books.financing_T[t] = min(financing, 1.0 + gross - books.borrow_T[t])
        if not grown > 0.0:
            books.net_T[t] = -1.0
            return
        peak = max(peak, equity * grown)
        fall = 1.0 - equity * grown / peak
        before = decided
        decided = fall > rules.restore if decided else fall >= rules.drawdown
        braked = before if rules.lag else decided
        cost = 0.0
        row = t - rules.lag
        signal = row >= 0 and signal_T[row]
        if signal:
            n_wanted = _targets(ranks, targets, picks, state, n_wanted, row)
            signalled = True
        if signal or (signalled and braked != applied):
            worth = rules.capital * equity * grown
            exposure = rules.exposure if braked else 1.0
            n_traded = _goals(market, rules, state, total, n_held, n_wanted, t, exposure, worth)
            turnover, impact, unknown, long, short, n_held = _trade(market, rules, state, n_traded, t, worth)
            applied, total = braked, 1.0
            slippage = turnover * rules.slippage + impact
            cost = turnover * rules.commission + slippage
            # No more can be paid than is there.
            paid = grown / max(cost, 1.0)
            books.turnover_T[t], books.without_impact_T[t] = turnover, unknown
            books.commission_T[t] = paid * turnover * rules.commission
            books.slippage_T[t] = paid * slippage
        books.net_T[t] = (
            gross - books.borrow_T[t] - books.financing_T[t] - (books.commission_T[t] + books.slippage_T[t])
        )
        if cost >= 1.0:
            books.net_T[t] = -1.0
            return
        equity *= 1.0 + books.net_T[t]
        books.long_T[t], books.short_T[t], books.held_T[t] = long / total, short / total, n_held
