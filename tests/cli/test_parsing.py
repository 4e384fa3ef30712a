"""Words of a command line become a dataclass, or one sentence that names what is wrong."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anysize.cli.options import Positional, options
from anysize.cli.parsing import parse, value_of
from anysize.core.errors import AnysizeError


@dataclass(frozen=True)
class Every:
    """A command with a field of every kind."""

    data: Annotated[str, Positional("DATA")]
    """What to read."""
    out: Path
    """Where to
    write."""
    second: Annotated[str | None, Positional("SECOND")] = None
    k: int = 10
    batch_size: int | None = None
    rate: float = 0.5
    widths: tuple[int, ...] | None = None
    shares: tuple[float, ...] = (1.0,)
    names: tuple[str, ...] = ()
    places: tuple[int | str, ...] = ()
    tune: Literal["head", "full"] = "head"
    task: Annotated[list[str], "TASK=DATA"] = field(default_factory=list)
    resume: bool = False
    symmetric: bool = True


FILLED = Every("d", Path("o"))
GIVEN = ("d", "--out", "o")


def filled(*words: str) -> Every:
    return parse(Every, words, prog="anysize every")[0]


@pytest.mark.parametrize(
    ("words", "change"),
    [
        ([], {}),
        (["s"], {"second": "s"}),
        (["--", "--json"], {"second": "--json"}),
        (["-5 degrees"], {"second": "-5 degrees"}),
        (["-"], {"second": "-"}),
        (["--a text of words"], {"second": "--a text of words"}),
        (["-k", "3"], {"k": 3}),
        (["-k3"], {"k": 3}),
        (["-k", "-3"], {"k": -3}),
        (["--k=3"], {"k": 3}),
        (["--batch_size", "4"], {"batch_size": 4}),
        (["--rate", "1e-3"], {"rate": 1e-3}),
        (["--widths", "8,16, 32"], {"widths": (8, 16, 32)}),
        (["--widths="], {"widths": ()}),
        (["--shares", "1,0.5"], {"shares": (1.0, 0.5)}),
        (["--names=a,b"], {"names": ("a", "b")}),
        (["--places=3,h.4,50%"], {"places": (3, "h.4", "50%")}),
        (["--tune", "full"], {"tune": "full"}),
        (["--task", "a=b", "--task=c=d"], {"task": ["a=b", "c=d"]}),
        (["--resume"], {"resume": True}),
        (["--resume", "--resume"], {"resume": True}),  # said twice it says no more
        (["--no-symmetric"], {"symmetric": False}),
    ],
)
def test_every_kind_of_field_is_filled(words, change):
    assert filled(*GIVEN, *words) == replace(FILLED, **change)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "DATA and --out are missing"),
        (["d"], "--out is missing"),
        (["d", "--out"], "--out needs a value, PATH"),
        (["d", "--out", "--resume"], "--out needs a value, PATH"),
        (["d", "--out", "--", "o"], "--out needs a value, PATH"),
        ([*GIVEN, "s", "t"], "'t' is one word too many"),
        ([*GIVEN, "--out", "p"], "--out is given twice (o and p); give it once"),
        ([*GIVEN, "--batchsize", "4"], "there is no option --batchsize; did you mean --batch-size?"),
        ([*GIVEN, "--batch", "4"], "there is no option --batch; did you mean --batch-size?"),
        ([*GIVEN, "--jsn"], "there is no option --jsn; did you mean --json?"),
        ([*GIVEN, "-x"], "there is no option -x; where it is a word, write -- before it"),
        (["d", "--out", "-o"], "--out needs a value; one that begins with a hyphen is written --out=-o"),
        ([*GIVEN, "--resume=yes"], "--resume takes no value; got 'yes'"),
        ([*GIVEN, "-k", "x"], "--k: 'x' is not a whole number"),
        ([*GIVEN, "--rate", "fast"], "--rate: 'fast' is not a number"),
        ([*GIVEN, "--widths", "8,x"], "--widths: '8,x' is not a list of whole numbers such as 8,16,32"),
        ([*GIVEN, "--tune", "ful"], "--tune: 'ful' is none of 'head', 'full'"),
    ],
)
def test_a_mistake_is_one_sentence(words, says):
    with pytest.raises(AnysizeError) as raised:
        filled(*words)
    assert str(raised.value) == f"{says}{' ' if says.endswith('?') else '; '}`anysize every --help` lists what there is"


@dataclass
class OnlyWord:
    """A verb of one word and, perhaps, a file for JSON."""

    word: Annotated[str, Positional("WORD")]
    json: Path | None = None


def test_json_is_asked_for_anywhere_and_is_a_file_where_a_verb_takes_one():
    for place in range(len(GIVEN) + 1):
        words = [*GIVEN[:place], "--json", *GIVEN[place:]]
        if place == 2:  # between --out and its value
            continue
        assert parse(Every, words, prog="x") == (FILLED, True)
    assert parse(Every, ["--json", *GIVEN, "--json"], prog="x") == (FILLED, True)
    assert parse(OnlyWord, ["w", "--json"], prog="x") == (OnlyWord("w"), True)
    assert parse(OnlyWord, ["w", "--json", "f"], prog="x") == (OnlyWord("w", Path("f")), False)
    assert parse(OnlyWord, ["w", "--json=f"], prog="x") == (OnlyWord("w", Path("f")), False)


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["-k", "--out", "--rate", "--task", "--json"]) | st.text(), max_size=6))
def test_any_words_are_read_or_refused_in_one_sentence(words):
    with contextlib.suppress(AnysizeError):
        filled(*GIVEN, *words)


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ([], None),
        (["--method", "csr"], "csr"),
        (["--method=csr"], "csr"),
        (["--method="], ""),
        (["--", "--method", "csr"], None),
        (["--out", "--method"], AnysizeError),
        (["--method"], AnysizeError),
        (["--method", "--out"], AnysizeError),
        (["--method", "csr", "--method=mrl"], AnysizeError),
        (["--methods", "csr", "--meth", "x"], None),
    ],
)
def test_an_option_is_read_before_the_others_are_known(words, value):
    if value is AnysizeError:
        with pytest.raises(AnysizeError, match=r"--method (needs a value|is given twice)"):
            value_of("--method", words)
    else:
        assert value_of("--method", words) == value


def test_an_option_has_the_text_under_its_field_of_the_nearest_class():
    @dataclass
    class Base:
        a: int = 1
        """The base's a."""
        b: int = 2
        """The base's b."""

    @dataclass
    class Own(Base):
        b: int = 3
        """Own b."""

    assert [(one.name, one.doc, one.default) for one in options(Own)] == [
        ("--a", "The base's a.", 1),
        ("--b", "Own b.", 3),
    ]
    assert options(Every)[0].doc == "What to read."
    assert next(one for one in options(Every) if one.field == "out").doc == "Where to write."


def test_a_type_that_no_word_can_be_is_named():
    @dataclass
    class Odd:
        place: dict[str, int] = field(default_factory=dict)

    with pytest.raises(AnysizeError, match="the option place is of the type dict"):
        options(Odd)


def test_a_dataclass_that_refuses_its_values_in_its_own_words_is_one_sentence():
    @dataclass
    class Strict:
        k: int = 1

        def __post_init__(self) -> None:
            if self.k > 1:
                raise ValueError("k is\ntoo large")

    with pytest.raises(AnysizeError, match=r"^k is too large$"):
        parse(Strict, ["-k", "2"], prog="x")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--method", "mrll"], ["'mrll'", "did you mean mrl?"]),
        (["--methd", "csr"], ["--methd", "did you mean --method?"]),
        (["--method", "csr", "--method", "mrl"], ["--method is given twice (csr and mrl)"]),
        (["--method"], ["--method needs a value"]),
        (["--method", "csr", "--tune", "full"], ["there is no option --tune"]),
        (["--method="], ["''"]),
    ],
)
def test_fit_names_what_is_wrong_with_its_method(anysize, words, says):
    anysize("fit", "v.npy", "--out", "m", *words).refused(*says)
