"""Fitting a quantised model: the float model, its layers in training, what they learn, and the codes they become."""

from __future__ import annotations

from pathlib import Path

from anysize.core.data.data import Data
from anysize.core.errors import AnysizeError
from anysize.core.model.contract import NestedModel
from anysize.quantize.model.making import finished, prepared
from anysize.quantize.model.model import Quantized
from anysize.quantize.training.method import MatQuant
from anysize.quantize.training.omniquant import calibrate
from anysize.quantize.training.qat import teacher_for, train_codes
from anysize.quantize.training.source import source


def fit(method: MatQuant, data: Data, workdir: Path, resume: bool) -> Quantized:
    """What the method ``matquant`` does."""
    inner = float_model(method)
    teacher = teacher_for(method, data, inner) if method.base == "qat" else None
    model = prepared(
        inner,
        method.nesting(),
        bits=method.widths().trained,
        modules=method.modules,
        scheme=method.scheme(),
        layout=method.layout,
    )
    if method.base == "qat":
        learnt = train_codes(method, data, model, teacher, workdir, resume)
    elif method.base == "omniquant":
        learnt = calibrate(method, data, model, workdir, resume)
    else:
        learnt = {"learnt_from": "texts, for min-max scales are those of the weights", "rows": 0}
    model = finished(model)
    model.about = learnt
    return model


def float_model(method: MatQuant) -> NestedModel:
    """The float model, nested as the sizes need. Raises `AnysizeError` if none was named."""
    if method.model is None:
        raise AnysizeError("name the model to quantise with --model, for example all-MiniLM-L6-v2")
    return source(method.model, method.nesting(), method.max_length)
