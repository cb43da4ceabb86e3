"""What the log says of a command: that it began, and how it ended."""

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from uuid import uuid4

from gnn_assets.core.errors import GnnAssetsError
from gnn_assets.core.logs import get_log
from gnn_assets.defs.resources import Platform

_log = get_log()
# Whoever reads the log, or asks for help, adds nothing to it.
_UNTOLD = {"logs", "--help"}


@contextmanager
def command_logged(arguments: Sequence[str]) -> Generator[None]:
    """Logs what a command does inside, with an id of its own as the run, and its exit code.

    Outside a home, where its settings cannot be read, and of what only reads the log or asks for help nothing is kept.

    Args:
        arguments: of the command line, its name left out.
    """
    try:
        platform = Platform.from_environment()
    except GnnAssetsError:
        platform = None  # the command says so itself
    home = platform is not None and (platform.settings.home / "dagster.yaml").is_file()
    if platform is None or not home or not arguments or _UNTOLD & set(arguments):
        yield
        return
    with platform.logging(run=uuid4().hex, command=" ".join(arguments)):
        _log.info("command_started")
        began, code = time.monotonic(), 1
        try:
            yield
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
            raise
        except BaseException:
            _log.exception("command_failed")
            raise
        finally:
            _log.info("command_ended", exit_code=code, seconds=round(time.monotonic() - began, 3))
