"""The list of methods: what each says of itself, ours and a stranger's."""

from __future__ import annotations

import textwrap

import pytest

from anysize.cli.known import known_methods
from anysize.core.registry import names

STRANGER = '''
from dataclasses import dataclass
from typing import ClassVar
from anysize.core.verbs.method import Method

@dataclass(frozen=True)
class Shuffle(Method):
    """
    Orders coordinates by chance.

    More of it.
    """

    name: ClassVar[str] = "shuffle"
    runs: ClassVar[str] = "stranger.fit:fit"
    axes: ClassVar[tuple[str, ...]] = ("dims",)
    paper: ClassVar[str] = "none: a test"
    learns_from: ClassVar[str] = "vectors"
    extra: ClassVar[str | None] = "luck"

    rounds: int = 3
    """How often."""
'''


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """A package that is installed, with one method that works and one that cannot be imported."""
    told = tmp_path / "stranger-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\nProvides-Extra: luck\n"
        "Requires-Dist: numpy\nRequires-Dist: no-such-package>=2; extra == 'luck'\n"
    )
    (told / "entry_points.txt").write_text(
        "[anysize.methods]\nshuffle = stranger.method:Shuffle\nbroken = stranger.nowhere:Broken\n"
    )
    package = tmp_path / "stranger"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "method.py").write_text(textwrap.dedent(STRANGER))
    monkeypatch.syspath_prepend(tmp_path)


def test_every_method_says_what_it_is():
    known = known_methods()
    assert {one.name for one in known} == set(names("methods"))
    for one in known:
        assert one.trouble is None
        assert one.name == one.method.name
        assert 10 < len(one.line) < 120
        assert "arXiv" in one.method.paper
        assert one.method.learns_from
        assert all(axis.isidentifier() for axis in one.method.axes)
        assert one.method.axes or one.name == "mlm"


def test_a_stranger_s_method_stands_beside_ours_and_a_broken_one_hides_none(anysize, stranger):
    said = anysize("methods", "--json").json
    own = {one["method"]: one for one in said}
    assert own["shuffle"] == {
        "method": "shuffle",
        "family": "stranger",
        "package": "stranger",
        "line": "Orders coordinates by chance.",
        "axes": ["dims"],
        "paper": "none: a test",
        "learns_from": "vectors",
        "extra": "luck",
        "installed": False,
        "missing": ["no-such-package"],
    }
    assert own["broken"]["installed"] is False
    assert own["broken"]["line"].startswith("cannot be imported (ModuleNotFoundError")
    assert (own["mrl"]["family"], own["mrl"]["extra"], own["mrl"]["axes"]) == ("text", "text", ["dims"])
    assert [one["family"] for one in said][-2:] == ["stranger", "stranger"]


def test_people_read_the_same(anysize, stranger):
    said = " ".join(anysize("methods").out.split())
    assert "shuffle Orders coordinates by chance. Nests in dims; learns from vectors." in said
    assert "The extra stranger[luck] lacks no-such-package. none: a test." in said
    assert "2dmse 2D Matryoshka Sentence Embeddings: any depth, any width. Nests in layers and dims" in said
    assert "Orders coordinates by chance." in anysize("fit", "--help").out
    assert "--rounds N How often. Default: 3." in " ".join(anysize("fit", "--method", "shuffle", "--help").out.split())
