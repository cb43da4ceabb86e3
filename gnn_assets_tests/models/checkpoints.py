"""Checkpoints for tests: kept in memory, and lost or refused where a test wants it."""

from collections.abc import Callable


class InMemory:
    """Keeps what is saved in a mapping.

    Args:
        before: called with each name before it is saved; what it raises, saving raises.
    """

    def __init__(self, before: Callable[[str], object] = str) -> None:
        self.kept: dict[str, tuple[dict, dict]] = {}
        self.before = before

    def load(self, name):
        return self.kept.get(name)

    def save(self, name, arrays, facts):
        self.before(name)
        self.kept[name] = (dict(arrays), dict(facts))
