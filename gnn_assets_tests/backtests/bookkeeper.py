"""The engine's rules as a bookkeeper would follow them: prices, shares, cash and lists, in plain Python, slowly.

Written from what `gnn_assets.backtests.engine` says it does; nothing of it is used here.
"""

import math
from dataclasses import dataclass, field

# Less of a name than this share of the portfolio is none of it.
DUST = 1e-12
KINDS = ("gross", "net", "turnover", "commission", "slippage", "borrow", "financing")
KINDS += ("long", "short", "held", "without_impact")


def chosen(scores, before, *, held, hysteresis):
    """The best names, those of `before` (a set) kept while they rank within the limit."""
    there = [name for name in range(len(scores)) if math.isfinite(scores[name])]
    ranking = sorted(there, key=lambda name: (-scores[name], name))
    if len({scores[name] for name in there}) == 1:
        return ranking
    limit = math.floor(held * (1 + hysteresis) + 1e-9)
    kept = [name for name in ranking[:limit] if name in before][:held]
    others = [name for name in ranking if name not in kept]
    return kept + others[: held - len(kept)]


def long_and_short(scores, before, *, held, hysteresis):
    """The best and the worst names; none where all are equal."""
    there = [name for name in range(len(scores)) if math.isfinite(scores[name])]
    if len({scores[name] for name in there}) <= 1:
        return [], []
    half = len(there) // 2
    ranking = sorted(there, key=lambda name: (-scores[name], name))
    sides = []
    for side, names in zip(before, (ranking, ranking[::-1]), strict=True):
        limit = min(math.floor(held * (1 + hysteresis) + 1e-9), half)
        kept = [name for name in names[:limit] if name in side][:held]
        others = [name for name in names[:half] if name not in kept]
        sides.append(kept + others[: min(held, half) - len(kept)])
    return sides


class Strategy:
    """Targets by name of the strategy, one signal after another."""

    def __init__(self, config):
        self.config = config
        self.before = set(), set()

    def targets(self, scores):
        config, names = self.config, range(len(scores))
        own = {"held": config.held, "hysteresis": config.hysteresis}
        if config.strategy == "rank_weighted":
            there = [name for name in names if math.isfinite(scores[name])]
            rank = {
                name: sum(scores[other] < scores[name] for other in there)
                + (sum(scores[other] == scores[name] for other in there) + 1) / 2
                for name in there
            }
            total = sum(rank.values())
            return [min(rank[name] / total, config.max_weight) if name in rank else 0.0 for name in names]
        if config.strategy == "top_k":
            sides, size = (chosen(scores, self.before[0], **own), []), 1.0
        else:
            sides = long_and_short(scores, self.before, **own)
            size = config.strategies.long_short.exposure / 2
        self.before = set(sides[0]), set(sides[1])
        weights = [0.0] * len(scores)
        for side, sign in zip(sides, (1, -1), strict=True):
            for name in side:
                weights[name] = sign * min(size / len(side), config.max_weight)
        return weights


@dataclass
class Book:
    """Cash and shares."""

    prices: list
    cash: float
    shares: list = field(default_factory=list)

    def values(self):
        return [shares * price for shares, price in zip(self.shares, self.prices, strict=True)]

    def worth(self):
        return self.cash + sum(self.values())

    def pay(self, amount):
        """Takes an amount from cash and positions alike, so that weights stay."""
        left = 1 - amount / self.worth()
        self.cash *= left
        self.shares = [shares * left for shares in self.shares]


def bookkeep(scores, moves, *, execution, config, traded=None, volatility=None, targets=None):
    """The books of one portfolio: kind → list of a number a session.

    Args:
        scores, moves, traded, volatility: lists of rows (sessions) of numbers (names), NaN where absent.
        targets: row → weights by name, in the place of what the strategy would say.
        execution, config: the settings.
    """
    n_names = len(moves[0])
    book = Book(prices=[100.0] * n_names, cash=execution.capital, shares=[0.0] * n_names)
    strategy, target = Strategy(config), None
    silent, peak, braked, applied = [0] * n_names, execution.capital, False, False
    told = {kind: [] for kind in KINDS}
    for t, row in enumerate(moves):
        worth = book.worth()
        if worth <= 0:
            for kind in KINDS:
                told[kind].append(0.0)
            continue
        lent = sum(-value for value in book.values() if value < 0)
        owed = max(sum(value for value in book.values() if value > 0) - worth, 0)
        priced = _move(book, row, silent, execution)
        gross = max(book.worth() / worth - 1, -1)
        borrow = lent * execution.borrow_bps_a_year * 1e-4 / config.sessions_per_year
        financing = owed * execution.financing_bps_a_year * 1e-4 / config.sessions_per_year
        today = dict.fromkeys(KINDS, 0.0) | {"gross": gross, "borrow": min(borrow / worth, 1 + gross)}
        today["financing"] = min(financing / worth, 1 + gross - today["borrow"])
        if book.worth() - borrow - financing <= 0:
            book.cash, book.shares = 0.0, [0.0] * n_names
            today["net"] = -1.0
        else:
            book.pay(borrow + financing)
            marked = book.worth()
            peak = max(peak, marked)
            was = braked
            if config.brake.drawdown is not None:
                fall = 1 - marked / peak
                braked = fall > config.brake.restore if braked else fall >= config.brake.drawdown
            brake = braked if execution.fill == "close_same" else was
            signal = t - (0 if execution.fill == "close_same" else 1)
            rebalance = signal >= 0 and signal % config.rebalance_sessions == 0
            fills = rebalance and any(math.isfinite(score) for score in scores[signal])
            if fills:
                target = strategy.targets(scores[signal]) if targets is None else targets[signal]
            if fills or (target is not None and brake != applied):
                applied = brake
                exposure = config.brake.exposure if brake else 1.0
                market = (traded[signal], volatility[signal]) if traded else ([math.nan] * n_names,) * 2
                wanted = [exposure * weight for weight in target]
                today |= _trade(book, wanted, priced, market, execution=execution, before=worth)
            today["net"] = book.worth() / worth - 1
        after = book.worth()
        if after > 0:
            today["long"] = sum(max(value, 0) for value in book.values()) / after
            today["short"] = sum(max(-value, 0) for value in book.values()) / after
            today["held"] = sum(abs(value) >= DUST * after for value in book.values())
        for kind in KINDS:
            told[kind].append(today[kind])
    return told


def _move(book, row, silent, execution):
    """New prices; who has one."""
    priced = []
    for name, move in enumerate(row):
        priced.append(not math.isnan(move))
        if priced[name]:
            book.prices[name] *= math.exp(move)
            silent[name] = 0
            continue
        silent[name] = silent[name] + 1 if book.shares[name] else 0
        if silent[name] == execution.delisting.sessions:
            value = book.shares[name] * book.prices[name]
            book.cash += value * (1 + execution.delisting.simple_return) if value > 0 else value
            book.shares[name] = 0.0
    return priced


def _trade(book, target, priced, market, *, execution, before):
    traded, volatility = market
    names, worth, values = range(len(target)), book.worth(), book.values()
    most = min(sum(map(abs, target)), execution.leverage)
    size = sum(map(abs, target))
    wanted = [weight * worth * (most / size if size else 0) for weight in target]
    stuck = sum(abs(values[name]) for name in names if not priced[name])
    asked = sum(abs(wanted[name]) for name in names if priced[name])
    room = max(most * worth - stuck, 0)
    if stuck and asked > room:
        wanted = [value * room / asked for value in wanted]
    wanted = [wanted[name] if priced[name] else values[name] for name in names]
    volumes = any(not math.isnan(value) for value in traded)
    for name in names:
        # Where volumes are known at all, a name without one is not traded.
        limit = 0 if math.isnan(traded[name]) else execution.max_participation * traded[name]
        if priced[name] and volumes:
            wanted[name] = values[name] + max(-limit, min(limit, wanted[name] - values[name]))
    grows = [abs(wanted[name]) - abs(values[name]) for name in names]
    excess = sum(map(abs, wanted)) - most * worth
    added = sum(grow for grow in grows if grow > 0)
    if excess > 1e-9 * worth and added > 0:
        left = max(1 - excess / added, 0)
        wanted = [values[name] + (wanted[name] - values[name]) * (left if grows[name] > 0 else 1) for name in names]
    trades = [abs(wanted[name] - values[name]) for name in names]
    impact = unknown = 0.0
    for name in names:
        if execution.impact and trades[name] > 0:
            if traded[name] > 0 and not math.isnan(volatility[name]):
                impact += trades[name] * execution.impact * volatility[name] * math.sqrt(trades[name] / traded[name])
            else:
                unknown += trades[name]
    turnover = sum(trades)
    book.cash = worth - sum(wanted)
    book.shares = [wanted[name] / book.prices[name] for name in names]
    commission = turnover * (execution.commission_bps + execution.half_spread_bps) * 1e-4
    slippage = turnover * execution.slippage_bps * 1e-4 + impact
    share = min(1.0, worth / (commission + slippage)) if commission + slippage else 1.0
    book.pay((commission + slippage) * share)
    if share < 1:
        book.cash, book.shares = 0.0, [0.0] * len(target)
    return {
        "turnover": turnover / worth,
        "without_impact": unknown / worth,
        "commission": commission * share / before,
        "slippage": slippage * share / before,
    }


def trailing(values, window):
    """Mean and deviation about it of the last rows that are there, if half of them are; column by column."""
    means, deviations = [], []
    for t in range(len(values)):
        rows = values[max(t - window + 1, 0) : t + 1]
        columns = [[row[name] for row in rows if math.isfinite(row[name])] for name in range(len(values[0]))]
        enough = [column if len(column) >= window / 2 else [] for column in columns]
        means.append([sum(column) / len(column) if column else math.nan for column in enough])
        deviations.append(
            [
                math.sqrt(sum((value - mean) ** 2 for value in column) / len(column)) if column else math.nan
                for column, mean in zip(enough, means[-1], strict=True)
            ]
        )
    return means, deviations
