"""What is kept of each version of weights for people: its score card in Markdown and its tear sheet in HTML.

One file each; they stay when the tables move on.
"""

from pathlib import Path
from typing import Literal

from gnn_assets.core.errors import MissingArtefact
from gnn_assets.defs.resources import Platform
from gnn_assets.store.files import write_atomic

Kind = Literal["md", "html"]
_CALLED = {"md": "score card", "html": "tear sheet"}


def report_file(platform: Platform, version: str, *, kind: Kind = "md") -> Path:
    """Where the page of a version of weights is."""
    return platform.data / "reports" / f"{version}.{kind}"


def write_report(platform: Platform, version: str, page: str, *, kind: Kind = "md") -> None:
    """Keeps a page; a file that holds it already, to the byte, is left alone."""
    file, data = report_file(platform, version, kind=kind), page.encode()
    if not file.exists() or file.read_bytes() != data:
        write_atomic(file, data)


def report_of(platform: Platform, version: str | None) -> str:
    """The score card of a version of weights.

    Args:
        platform: the opened platform.
        version: the version or how it begins; None for the champion's.

    Raises:
        MissingArtefact: if there is no champion, or not exactly one page whose version begins so.
    """
    return _stored(platform, version, kind="md").read_text(encoding="utf-8")


def tear_sheet_file(platform: Platform, version: str | None) -> Path:
    """Where the tear sheet of a version of weights is; what is asked and raised is as of `report_of`."""
    return _stored(platform, version, kind="html")


def _stored(platform: Platform, version: str | None, *, kind: Kind) -> Path:
    if version is None:
        champion = platform.champion.current()
        if champion is None:
            raise MissingArtefact.of("champion", expected="one", was="none yet", do="run gnn-assets demo")
        version = champion.version
    stored = sorted(file.stem for file in report_file(platform, "").parent.glob(f"*.{kind}"))
    found = [stem for stem in stored if stem.startswith(version)]
    if len(found) != 1:
        raise MissingArtefact.of(
            f"{_CALLED[kind]} of {version}",
            expected="one page",
            was=f"{len(found)} of {len(stored)}",
            do=f"name one of {', '.join(found or stored) or 'none yet'}, or materialize score_cards",
        )
    return report_file(platform, found[0], kind=kind)
