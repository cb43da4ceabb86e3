"""Score cards as pages: one Markdown file for each version of weights. They stay when the tables move on."""

from pathlib import Path

from gnn_assets.core.errors import MissingArtefact
from gnn_assets.defs.resources import Platform
from gnn_assets.store.files import write_atomic


def report_file(platform: Platform, version: str) -> Path:
    """Where the page of a version of weights is."""
    return platform.data / "reports" / f"{version}.md"


def write_report(platform: Platform, version: str, page: str) -> None:
    """Keeps a page; a file that holds it already, to the byte, is left alone."""
    file, data = report_file(platform, version), page.encode()
    if not file.exists() or file.read_bytes() != data:
        write_atomic(file, data)


def report_of(platform: Platform, version: str | None) -> str:
    """The page of a version of weights.

    Args:
        platform: the opened platform.
        version: the version or how it begins; None for the champion's.

    Raises:
        MissingArtefact: if there is no champion, or not exactly one page whose version begins so.
    """
    if version is None:
        champion = platform.champion.current()
        if champion is None:
            raise MissingArtefact.of("champion", expected="one", was="none yet", do="run gnn-assets demo")
        version = champion.version
    stored = sorted(file.stem for file in report_file(platform, "").parent.glob("*.md"))
    found = [stem for stem in stored if stem.startswith(version)]
    if len(found) != 1:
        raise MissingArtefact.of(
            f"score card of {version}",
            expected="one page",
            was=f"{len(found)} of {len(stored)}",
            do=f"name one of {', '.join(found or stored) or 'none yet'}, or materialize score_cards",
        )
    return report_file(platform, found[0]).read_text(encoding="utf-8")
