import pytest

from gnn_assets.core.checks import Check


def test_a_failed_error_blocks_and_a_warning_is_only_shown():
    assert Check("share", passed=False, value=0.5, threshold=0.8, description="").blocks
    assert not Check("share", passed=False, value=0.5, threshold=0.8, description="", severity="warn").blocks
    assert not Check("share", passed=True, value=0.9, threshold=0.8, description="").blocks


@pytest.mark.parametrize(
    ("offenders", "tail"), [((), "Why it matters."), (("A", "B", "C", "D"), "First offenders: A; B; C.")]
)
def test_its_sentence_says_value_threshold_and_the_first_offenders(offenders, tail):
    check = Check("share", passed=False, value=0.5, threshold=0.8, description="Why it matters.", offenders=offenders)
    assert check.sentence.startswith("share failed: value 0.5, threshold 0.8.")
    assert check.sentence.endswith(tail)
