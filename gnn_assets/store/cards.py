"""Cards: small JSON documents named by the hash of what they say."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gnn_assets.core.errors import CorruptArtefact, MissingArtefact
from gnn_assets.core.hashing import canonical_json, sha256_hex
from gnn_assets.store.files import read_verified, sweep_temporaries, sync_folder, write_atomic


class Cards:
    """A folder of cards.

    Args:
        folder: made at the first `put`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, card: Mapping[str, Any]) -> str:
        """Stores a card; one that says the same is stored once. What dead writers of cards left is swept.

        Args:
            card: JSON data.

        Returns:
            Its id: SHA-256 of its canonical JSON, 64 hex digits.

        Raises:
            DiskFull: nothing was stored.
        """
        sweep_temporaries(self.folder)
        data = canonical_json(card).encode()
        card_id = sha256_hex(data)
        try:
            self.get(card_id)
        except (MissingArtefact, CorruptArtefact):
            write_atomic(self._path(card_id), data)
        else:
            # Whoever wrote it may have died before this.
            sync_folder(self._path(card_id).parent)
        return card_id

    def get(self, card_id: str) -> dict[str, Any]:
        """The card of that id.

        Raises:
            MissingArtefact: if there is none.
            CorruptArtefact: if it does not say what its id promises.
        """
        # An id comes from outside at times: it must not lead out of the folder.
        if re.fullmatch("[0-9a-f]{64}", card_id) is None:
            raise MissingArtefact.of(
                f"card {card_id!r}", expected="an id of 64 hex digits", was="none", do="take the id from `forecasts`"
            )
        return json.loads(read_verified(self._path(card_id), card_id))

    def _path(self, card_id: str) -> Path:
        return self.folder / card_id[:2] / f"{card_id}.json"
