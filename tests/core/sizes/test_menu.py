import pytest

from anysize.core.errors import SizeError
from anysize.core.sizes.menu import diagonal, menu
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size


def test_a_menu_reads_as_it_is_typed():
    sizes = [Size(layers=2, dims=24), Size(layers=4, dims=96)]
    assert menu("2:24,4:96") == menu(["2:24", " 4:96 "]) == menu([(2, 24), (4, 96)]) == Nesting.pairs(sizes)
    assert menu("demi=2:24,tall=4:96").resolve("tall") == sizes[1]
    assert menu("8,16", axes=("tokens",)) == Nesting(tokens=(8, 16))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2:24,4", "'4' is no size"),
        ("2:24,four:96", "'four:96' is no size"),
        ("", "'' is no size"),
        ("a=2:24,4:96", "name all or none"),
        ("4:24,2:96", "must contain all"),
        ("a=2:24,a=4:96", "cannot name"),
    ],
)
def test_what_is_no_menu_is_refused(text, words):
    with pytest.raises(SizeError, match=words):
        menu(text)


def test_the_diagonal_is_the_papers_for_bert_base():
    assert diagonal(12, 768) == menu("2:32,4:64,6:128,8:256,10:512,12:768")
    assert diagonal(6, 384) == menu("1:16,2:32,3:64,4:128,5:256,6:384")
    assert diagonal(2, 32) == menu("1:16,2:32")
    assert diagonal(9, 2).full == Size(layers=9, dims=2)
