"""A verb that runs as a service reads what its line leaves out from the environment."""

import pytest

from anysize.cli.parsing import parse
from anysize.cli.verbs.index import Index
from anysize.cli.verbs.serve import Serve
from anysize.core.errors import AnysizeError


def read(*words):
    return parse(Serve, words, prog="anysize serve")[0]


def test_what_the_line_leaves_out_is_read_from_variables(monkeypatch):
    for name, value in {
        "TARGETS": "mine other=/models/b", "INDEX": "'an index'", "PORT": "9000", "TIMEOUT": "2.5", "LENIENT": "true",
        "METRICS_OPEN": "0", "ON_LONG": "cut", "HOST": " ",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"ANYSIZE_SERVE_{name}", value)
    found = read("--timeout", "4")
    assert (found.targets, found.index) == (["mine", "other=/models/b"], ["an index"])
    assert (found.port, found.timeout, found.on_long) == (9000, 4.0, "cut")  # what the line says comes first
    assert (found.lenient, found.metrics_open, found.host) == (True, False, "127.0.0.1")
    assert read("this").targets == ["this"]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PORT", "tcp://10.0.0.1:80", ("ANYSIZE_SERVE_PORT", "is not a whole number")),
        ("PROT", "1", ("ANYSIZE_SERVE_PROT names no option", "ANYSIZE_SERVE_PORT")),
        ("LENIENT", "maybe", ("ANYSIZE_SERVE_LENIENT", "neither 1 nor 0")),
        ("ON_LONG", "drop", ("ANYSIZE_SERVE_ON_LONG", "'cut'")),
        ("TARGETS", "'open", ("ANYSIZE_SERVE_TARGETS",)),
    ],
)
def test_a_variable_that_is_wrong_is_named(monkeypatch, name, value, words):
    monkeypatch.setenv(f"ANYSIZE_SERVE_{name}", value)
    with pytest.raises(AnysizeError) as refused:
        read("mine")
    assert all(word in str(refused.value) for word in words), refused.value


def test_other_verbs_read_none(monkeypatch):
    monkeypatch.setenv("ANYSIZE_SERVE_PORT", "nonsense")
    assert parse(Index, ["mine", "a.txt"], prog="anysize index")[0]
