import pytest

from gnn_assets.core.errors import CorruptArtefact, MissingArtefact
from gnn_assets.core.hashing import json_hash
from gnn_assets.store.cards import Cards
from gnn_assets.store.files import staging
from gnn_assets_tests.store.states import temporaries

CARD = {"session": "2022-12-28", "bars": "abc", "threads": 2, "interval": [0.1, 0.9]}


def test_a_card_is_named_by_what_it_says(tmp_path):
    cards = Cards(tmp_path / "cards")
    card_id = cards.put(CARD)
    assert card_id == json_hash(CARD) == cards.put(dict(reversed(CARD.items())))
    assert cards.get(card_id) == CARD
    assert len(list(tmp_path.rglob("*.json"))) == 1


def test_another_card_has_another_id(tmp_path):
    cards = Cards(tmp_path)
    assert cards.put(CARD) != cards.put({**CARD, "threads": 3})


@pytest.mark.parametrize("card_id", ["0" * 64, "unknown", "../../../etc/passwd", ""])
def test_a_card_that_is_not_stored_is_said_to_be_missing(tmp_path, card_id):
    with pytest.raises(MissingArtefact):
        Cards(tmp_path).get(card_id)


def test_a_damaged_card_is_refused_and_can_be_put_again(tmp_path):
    cards = Cards(tmp_path)
    card_id = cards.put(CARD)
    (path,) = tmp_path.rglob("*.json")
    path.write_bytes(path.read_bytes().replace(b"abc", b"abd"))
    with pytest.raises(CorruptArtefact, match=card_id):
        cards.get(card_id)
    cards.put(CARD)
    assert cards.get(card_id) == CARD


def test_what_a_dead_writer_left_is_swept_and_a_living_ones_stays(tmp_path):
    cards = Cards(tmp_path)
    dead = tmp_path / "00" / ".tmp-0123456789abcdef"
    dead.mkdir(parents=True)
    (dead / "half.json").write_bytes(b"{")
    with staging(tmp_path / "01") as living:
        cards.put(CARD)
        assert temporaries(tmp_path) == [living]


def test_a_card_put_over_a_damaged_one_heals_it(tmp_path):
    cards = Cards(tmp_path)
    card_id = cards.put(CARD)
    (path,) = tmp_path.rglob("*.json")
    path.write_bytes(b"")
    assert cards.put(CARD) == card_id
    assert cards.get(card_id) == CARD
