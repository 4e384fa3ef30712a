"""What data must hold for a method: checked once, and said in one sentence with what there is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from anysize.core.errors import DataError

if TYPE_CHECKING:
    from anysize.core.data.data import Data


def offered(data: Data) -> dict[str, None]:
    """
    The columns of a table, and the kind of the items that there are (text, vector, image, ...); label if they have one.

    Pairs and scored pairs are texts too, one by one, and a train split of judgements makes pairs.
    """
    found = dict.fromkeys(data.table.columns) if data.table is not None else {}
    if data.corpus is not None:
        found[data.corpus.of] = None
        if data.labels is not None:
            found["label"] = None
        if data.table is None and data.training_pairs() is not None:
            found |= {"anchor": None, "positive": None}
    elif data.table is not None and not data.table.kinds and (data.pairs is not None or data.scored is not None):
        found["text"] = None
    return found


def check_needs(who: str, needs: Iterable[str], data: Data) -> None:
    """
    Raise `DataError` unless the data offer all the names of one of `needs`, each a list such as ``"anchor, positive"``.

    Without `needs`, anything will do, also nothing.
    """
    every, there = list(needs), offered(data)
    known = {*there, *(data.table.called if data.table is not None else ())}
    if not every or any(known.issuperset(one.split(", ")) for one in every):
        return
    from anysize.core.data.files.rows import short_list
    from anysize.core.data.layouts import misnamed

    asked = ", or ".join(every)
    given = f"has {short_list(there)}" if there else "holds nothing"
    hint = misnamed(there) if data.table is not None and data.corpus is None else ""
    raise DataError(f"{who} needs {asked}; {data.name} {given}" + (f"; {hint}" if hint else ""))
