"""What a coder is measured beside, apart from its fixed-size twins."""

from __future__ import annotations

import copy
from dataclasses import replace

from anysize.coding.coder import Coder
from anysize.coding.fit import linked
from anysize.coding.reading.data import coding_data
from anysize.core.data.data import Data
from anysize.core.errors import AnysizeError
from anysize.core.sizes.nesting import Nesting
from anysize.core.verbs.rivals import check_same_data, method_of


def plain(model: Coder, data: Data) -> list[Coder]:
    """
    Vectors trained at the full size alone and cut to each size; detector and judge are the model's own.

    Raises `AnysizeError` for data that the model was not fitted on.
    """
    check_same_data(model, data, "plain")
    method = method_of(model)
    if method.dictionary is not None:
        raise AnysizeError("the arm plain needs the dictionary beside the data; leave out that arm")
    read = coding_data(data)
    documents = [one for one in read.to_learn() if one.text.strip()]
    trained = linked(replace(method, dims=method.dims[-1:]), documents, model.dictionary, model.backbone)
    assert trained.names is not None
    whole = Coder(Nesting(dims=method.dims, candidates=method.candidates), trained.encoder, model.settings)
    whole.names = copy.copy(trained.names)
    whole.names.keep(trained.vectors(trained.names.texts), method.dims)
    whole.dictionary, whole.detector, whole.backbone = model.dictionary, model.detector, model.backbone
    whole.judge, whole.idf = model.judge, trained.idf
    return [whole.at(size) for size in whole.nesting]
