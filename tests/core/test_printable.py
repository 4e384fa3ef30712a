import json

from hypothesis import given
from hypothesis import strategies as st

from anysize.core.printable import printable, printable_json, printable_page


@given(st.text(st.characters()))
def test_nothing_that_a_terminal_acts_on_is_left_and_nothing_else_changes(text):
    shown = printable(text)
    for char in shown:
        assert char >= " "
        assert not "\x7f" <= char <= "\x9f"
        assert char not in "\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    shown.encode()  # can be written
    assert printable_page(text).replace("\n", "\\n") == shown
    if shown != text:
        assert "\\" in shown


def test_words_in_any_script_stay_as_they_are():
    text = "naïve Straße 東京 «שלום» می‌خواهم 👩‍👩‍👧 a\u00a0b \\x1b"
    assert printable(text) == text


@given(st.text(st.characters()))
def test_json_means_the_same(text):
    written = json.dumps({"a": text}, ensure_ascii=False, indent=1)
    shown = printable_json(written)
    assert json.loads(shown) == {"a": text}
    assert printable_page(shown) == shown
