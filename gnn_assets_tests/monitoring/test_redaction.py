"""No secret survives in what people read."""

from hypothesis import given
from hypothesis import strategies as st

from gnn_assets.monitoring.redaction import HIDDEN, redacted, secrets_of

SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
MAIL = "mailtos://ops:pa%40ss@mail.example.com?to=ops@example.com"


def test_keys_addresses_and_each_part_of_them_are_taken_out():
    secrets = secrets_of(keys=["key-4711"], addresses=[SLACK, MAIL])
    said = f"401 for key-4711 at {SLACK}: token TIiajkdnlazkcOXrIdevi7FQ; mail: pa@ss and pa%40ss of mail.example.com"
    told = redacted(said, secrets)
    assert told == f"401 for {HIDDEN} at {HIDDEN}: token {HIDDEN}; mail: {HIDDEN} and {HIDDEN} of {HIDDEN}"


def test_a_secret_that_holds_another_goes_as_a_whole():
    assert redacted("abcdefgh-1", secrets_of(keys=["abcdefgh", "abcdefgh-1"], addresses=[])) == HIDDEN


def test_the_values_of_a_query_and_of_its_headers_are_secrets_however_short_they_are():
    address = "jsons://hooks.example.com/x?token=abc123&+X-Key=k%2B7&-to=a+b9z&+Authorization=Bearer%20tok42&region=eu"
    secrets = secrets_of(keys=[], addresses=[address])
    assert redacted("abc123, k+7, k%2B7, a b9z, tok42; eu", secrets) == "***, ***, ***, ***, ***; eu"


def test_ordinary_words_stay():
    text = "run_failed gnn_weights: expected 20 rows, was 3 (run 4f2a9c31)"
    assert redacted(text, secrets_of(keys=[], addresses=[SLACK, MAIL])) == text


@given(
    text=st.text(max_size=60), key=st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=4, max_size=9)
)
def test_no_key_is_left_whatever_stands_around_it(text, key):
    assert key not in redacted(f"{text}{key}{text}{key}", secrets_of(keys=[key], addresses=[])).replace(HIDDEN, "")
