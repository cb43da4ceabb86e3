import numpy as np

from gnn_assets.models.checkpoint import NO_CHECKPOINT, within
from gnn_assets_tests.models.checkpoints import InMemory


def test_nothing_is_kept_where_nothing_is_to_be_kept():
    NO_CHECKPOINT.save("name", {"a": np.ones(2)}, {})
    assert NO_CHECKPOINT.load("name") is None


def test_a_part_of_a_checkpoint_keeps_its_names_apart():
    whole = InMemory()
    part = within(within(whole, "model"), "fold_00")
    part.save("epoch", {"a": np.ones(2)}, {"epoch": 1})
    assert list(whole.kept) == ["model/fold_00/epoch"]
    assert part.load("epoch") == whole.load("model/fold_00/epoch")
    assert within(whole, "other").load("epoch") is None
