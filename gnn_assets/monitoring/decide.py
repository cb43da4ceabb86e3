"""Whether a challenger is trained now, and why: a pure function of what was measured and of what was decided before.

An alarm begins an episode, and an episode trains once, however long it lasts. It ends when the value has come back by
more than it took to begin, so that a value that trembles at its limit begins no second one, or when what it was about is
no more: drift of another champion is another alarm. What cannot train at once,
because of the pause after the last decision or of the most in a session, stays pending and trains later. A training
that failed is tried again, each time after a longer pause, a few times; then it is given up, and if its alarm lasts there
is another decision after the pause.

Time is the market's: sessions for pauses and limits, the platform's clock for tries. Replay, tests and the daemon give
the same answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Literal

from gnn_assets.core.config import RetrainConfig
from gnn_assets.monitoring.reasons import RESPONSES, Reason, Response, Signal

Action = Literal["train", "retry", "hold", "none"]
State = Literal["asked", "trained", "failed"]


@dataclass(frozen=True)
class Episode:
    """An alarm that lasts.

    Args:
        since: session at which it began.
        signal: what began it.
        answered: whether a challenger was trained for it, or somebody told.
    """

    since: date
    signal: Signal
    answered: bool


@dataclass(frozen=True)
class Training:
    """The newest challenger that was asked for.

    Args:
        number: 1, 2, ... in order of decision.
        session: at which it was decided.
        asked_at: aware UTC moment of the newest try.
        attempt: number of that try, from 1.
        signals: why.
        state: what has become of the newest try.
        ended_at: aware UTC moment it failed at; None otherwise.
    """

    number: int
    session: date
    asked_at: datetime
    attempt: int
    signals: tuple[Signal, ...]
    state: State = "asked"
    ended_at: datetime | None = None


@dataclass(frozen=True)
class Memory:
    """All that a decision knows of those before it.

    Args:
        episodes: reason → the episode that lasts.
        training: the newest; None before the first.
        asked: the session of the newest try, once for each try in it.
    """

    episodes: Mapping[Reason, Episode] = field(default_factory=dict)
    training: Training | None = None
    asked: tuple[date, ...] = ()


@dataclass(frozen=True)
class Decision:
    """What to do now.

    Args:
        action: train a challenger, try it again, hold back what should be trained, or nothing.
        signals: why; for `hold`, what is held back.
        cause: why it is held back, as a sentence; empty otherwise.
        memory: what the next decision is to know.
    """

    action: Action
    signals: tuple[Signal, ...]
    cause: str
    memory: Memory

    @property
    def asks(self) -> bool:
        """Whether a training is asked for."""
        return self.action in ("train", "retry")

    @property
    def sentence(self) -> str:
        """Reasons with value and limit, such as "graph_drift 3.4 > 2.1; sharpe_below_benchmark -0.8 < 0.5"."""
        return "; ".join(signal.sentence for signal in self.signals)


def decide(
    signals: Sequence[Signal],
    memory: Memory,
    *,
    session: date,
    sessions: Sequence[date],
    now: datetime,
    config: RetrainConfig,
) -> Decision:
    """Decides whether a challenger is trained.

    Args:
        signals: what was measured, one or more a reason; a reason without one keeps its episode.
        memory: of the decision before, with what has become of the training it asked for.
        session: the newest complete session.
        sessions: the exchange's, ascending, the session among them.
        now: aware UTC moment.
        config: pause, most a session, tries and their pause, hysteresis.

    Known at: the session's close plus grace; it depends on nothing but its arguments.
    """
    training = memory.training
    given_up = training is not None and training.state == "failed" and training.attempt >= config.attempts
    episodes = _episodes(signals, memory.episodes, session=session, config=config)
    if training is not None and given_up:
        # Nobody was trained for them: they wait for the next decision, which the pause still holds back.
        unheard = {signal.reason for signal in training.signals} & episodes.keys()
        episodes |= {reason: replace(episodes[reason], answered=False) for reason in unheard}
    memory = replace(memory, episodes=episodes)
    pending = {
        reason: episode
        for reason, episode in episodes.items()
        if RESPONSES[reason] is Response.TRAIN and not episode.answered
    }
    why = tuple(episode.signal for episode in pending.values())
    if training is not None and training.state == "asked":
        return Decision("hold" if why else "none", why, "a challenger is being trained" if why else "", memory)
    full = sum(asked == session for asked in memory.asked) >= config.most_a_session
    if training is not None and training.state == "failed" and not given_up:
        return _again(training, memory, session=session, now=now, full=full, config=config)
    if not pending:
        return Decision("none", (), "", memory)
    cause = _paused(training, session=session, sessions=sessions, config=config)
    if cause and given_up:
        cause = f"given up after {config.attempts} tries, see why they failed: {cause}"
    if full:
        cause = f"{config.most_a_session} were asked for in session {session}, the most there may be"
    if cause:
        return Decision("hold", why, cause, memory)
    answered = {reason: replace(episode, answered=True) for reason, episode in pending.items()}
    return Decision(
        "train",
        why,
        "",
        Memory(
            episodes={**episodes, **answered},
            training=Training(
                number=training.number + 1 if training else 1, session=session, asked_at=now, attempt=1, signals=why
            ),
            asked=_counted(memory.asked, session),
        ),
    )


def _episodes(
    signals: Sequence[Signal], before: Mapping[Reason, Episode], *, session: date, config: RetrainConfig
) -> dict[Reason, Episode]:
    episodes = dict(before)
    for reason in dict.fromkeys(signal.reason for signal in signals):
        own = [signal for signal in signals if signal.reason is reason]
        firing = [signal for signal in own if signal.firing]
        if reason in episodes and episodes[reason].signal.subject not in {signal.subject for signal in own}:
            del episodes[reason]  # what it was about is no more
        if firing and reason not in episodes:
            episodes[reason] = Episode(since=session, signal=firing[0], answered=False)
        elif reason in episodes and all(signal.cleared(hysteresis=config.hysteresis) for signal in own):
            del episodes[reason]
    return episodes


def _paused(training: Training | None, *, session: date, sessions: Sequence[date], config: RetrainConfig) -> str:
    """Why a new decision must wait; empty if it need not."""
    if training is None:
        return ""
    passed = sum(training.session < one <= session for one in sessions)
    if passed >= config.pause_sessions:
        return ""
    return (
        f"{passed} sessions have passed since the decision of {training.session}, of {config.pause_sessions} to pause"
    )


def _counted(asked: Sequence[date], session: date) -> tuple[date, ...]:
    """The tries of one session; those of earlier ones count no more."""
    return (*(one for one in asked if one == session), session)


def _again(
    training: Training, memory: Memory, *, session: date, now: datetime, full: bool, config: RetrainConfig
) -> Decision:
    failed_at = training.ended_at or training.asked_at
    due = failed_at + timedelta(hours=config.retry_hours * 2 ** (training.attempt - 1))
    if now < due or full:
        until = f"try {training.attempt + 1} of {config.attempts} is due at {due.isoformat()}"
        return Decision("hold", training.signals, until, memory)
    again = replace(
        training,
        asked_at=now,
        attempt=training.attempt + 1,
        state="asked",
        ended_at=None,
    )
    return Decision(
        "retry", training.signals, "", replace(memory, training=again, asked=_counted(memory.asked, session))
    )
