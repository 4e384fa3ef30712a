import json
import threading

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import anysize as az
from anysize.core.errors import AnysizeError, CheckpointError, SizeError
from anysize.core.model import checkpoint
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.quantize import Quantized, QuantizedEncoder, Scheme
from anysize.quantize.codes.slicing import MODES
from anysize.quantize.model.making import prepared
from anysize.quantize.model.mixing import average_bits, blocks, by_pattern, by_sensitivity
from anysize.testing import check_nested_model
from tests.conftest import WIDTH, sentences, tree, undigested

TEXTS = sentences(5)
GRID = Nesting(layers=(1, 2), dims=(8, WIDTH), bits=(2, 4, 8))


@pytest.mark.parametrize("mode", MODES)
def test_keeps_every_promise_of_a_nested_model(made, mode):
    model = made(modules="linear,embedding", scheme=Scheme(mode=mode, group_size=16))
    check_nested_model(model, TEXTS, shape=lambda size: (5, WIDTH))


def test_three_axes_keep_them_too(made):
    model = made(GRID, {"layers": (1, 2), "dims": (8, WIDTH)})
    check_nested_model(model, TEXTS, shape=lambda size: (5, size.dims))


def test_a_menu_and_interpolated_widths_keep_them_too(made):
    menu = Nesting.pairs([Size(layers=1, dims=8, bits=3), Size(layers=2, dims=8, bits=6)], names=["small", "tall"])
    model = made(menu, {"layers": (1, 2), "dims": (8,)}, scheme=Scheme(symmetric=True))
    check_nested_model(model, TEXTS)
    assert model.at("small").encode(TEXTS).shape == (5, 8)


def test_one_byte_a_code_keeps_them_too(made):
    check_nested_model(made(layout="uint8"), TEXTS)


def test_eight_bits_are_close_to_floats_and_two_are_not(made, base):
    floats, model = base().encode(TEXTS), made(modules="linear")
    near = {bits: float((model.at(bits=bits).encode(TEXTS) * floats).sum(1).mean()) for bits in (2, 4, 8)}
    assert near[8] > 0.999 > near[4] > near[2]


def test_encoding_at_several_sizes_is_encoding_at_each(made):
    model = made(GRID, {"layers": (1, 2), "dims": (8, WIDTH)})
    together = model.encode(TEXTS, sizes=model.nesting)
    assert list(together) == list(model.nesting)
    for size, vectors in together.items():
        np.testing.assert_allclose(vectors, model.at(size).encode(TEXTS), atol=1e-5)
        np.testing.assert_allclose(model.at(size).project(model.at(size).features(TEXTS)), vectors, atol=1e-5)


@pytest.mark.parametrize(("mode", "extra"), [("floor_mid", 0), ("round_clamp", 1), ("extra", 1)])
def test_a_width_reads_its_planes_and_no_others(made, mode, extra, tmp_path, monkeypatch):
    made(modules="linear", scheme=Scheme(mode=mode)).save(tmp_path / "m")
    read = []
    tensor = checkpoint._Stored.tensor
    monkeypatch.setattr(checkpoint._Stored, "tensor", lambda self, name: (read.append(name), tensor(self, name))[1])
    for bits, planes in ((2, 2 + extra), (4, 4 + extra), (8, 8)):
        read.clear()
        QuantizedEncoder.from_pretrained(tmp_path / "m", bits=bits)
        touched = {int(name.partition(".plane_")[2].partition("[")[0]) for name in read if ".plane_" in name}
        assert touched == set(range(planes))
    stored = load_file(tmp_path / "m" / checkpoint.WEIGHTS)
    name = "inner.encoder.transformer.encoder.layer.0.intermediate.dense.plane_0[0:64]"
    assert stored[name].shape == (64, WIDTH // 8)
    assert stored[name].dtype == torch.uint8


def test_bytes_are_planes_scales_and_the_rest(made):
    model = made(modules="linear", scheme=Scheme(mode="floor_mid", group_size=16))
    stored = model.layers().values()
    weights = sum(part.rows * part.features for part in stored)
    scales = 2 * 4 * weights // 16
    rest = sum(
        t.nbytes for n, t in model.saved_state().items() if ".plane_" not in n and not n.endswith(("scale", "offset"))
    )
    for bits in (2, 4, 8):
        assert model.at(bits=bits).cost().bytes == weights * bits // 8 + scales + rest


def test_switching_writes_nothing_and_threads_do_not_meet(made, tmp_path):
    made(modules="linear").save(tmp_path / "m")
    before = tree(tmp_path)
    model = az.load(tmp_path / "m")
    expected = {bits: model.at(bits=bits).encode(TEXTS) for bits in (2, 8)}
    wrong = []

    def run(bits):
        for _ in range(20):
            if not np.array_equal(model.at(bits=bits).encode(TEXTS), expected[bits]):
                wrong.append(bits)

    threads = [threading.Thread(target=run, args=(bits,)) for bits in (2, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert tree(tmp_path) == before


def test_a_width_per_layer(made, tmp_path):
    model = made(modules="linear")
    assert list(blocks(model)) == ["layers.0", "layers.1"]
    mixed = model.at(bits={"layers.0": 2})
    assert set(mixed.mixture.values()) == {2, 8}
    assert average_bits(mixed) == 5
    np.testing.assert_array_equal(model.mix({"layers.*": 2}).encode(TEXTS), model.at(bits=2).encode(TEXTS))
    vectors = mixed.encode(TEXTS)
    for bits in (2, 8):
        assert not np.allclose(vectors, model.at(bits=bits).encode(TEXTS), atol=1e-3)
    assert model.at(bits=2).cost().bytes < mixed.cost().bytes < model.cost().bytes
    np.testing.assert_allclose(mixed(TEXTS).numpy(), vectors, atol=1e-5)
    np.testing.assert_allclose(mixed.convert().encode(TEXTS), vectors, atol=1e-5)
    model.save(tmp_path / "m")
    again = QuantizedEncoder.from_pretrained(tmp_path / "m", bits={"layers.0": 2})
    np.testing.assert_array_equal(again.encode(TEXTS), vectors)
    shallow = az.load(tmp_path / "m", bits={"layers.0": 2})
    for name, part in shallow.layers().items():
        planes = [plane for plane in dict(part.named_buffers()) if plane.startswith("plane_")]
        assert len(planes) == (3 if "layer.0." in name else 8)
    assert shallow.cost().bytes == mixed.cost().bytes
    with pytest.raises(SizeError, match="was loaded at bits=2"):
        shallow.at(bits=4).encode(TEXTS)
    assert mixed.at(bits=4).mixture is None
    with pytest.raises(AnysizeError, match=r"'layers\.7'; there are: layers\.0, layers\.1"):
        model.mix({"layers.7": 2})
    with pytest.raises(SizeError, match="bits=3; trained for bits 2, 4, 8"):
        model.mix({"layers.0": 3})
    with pytest.raises(AnysizeError, match="fuse would have widths 2, 8"):
        model.mix({"layers.0.attention.self.query": 2})


def test_patterns_and_sensitivity_keep_to_the_average(made):
    model = made(modules="linear")
    assert by_pattern(model, "increasing", 5.0) == {"layers.0": 2, "layers.1": 8}
    assert by_pattern(model, "decreasing", 5.0) == {"layers.0": 8, "layers.1": 2}
    assert by_pattern(model, "decreasing", 3.0) == {"layers.0": 4, "layers.1": 2}
    assert by_sensitivity(model, {"layers.0": 0.1, "layers.1": 0.9}, 5.0) == {"layers.1": 8, "layers.0": 2}
    with pytest.raises(AnysizeError, match="pyramid, reverse, increasing, decreasing"):
        by_pattern(model, "hill", 4.0)
    with pytest.raises(SizeError, match="narrowest width is 2"):
        by_pattern(model, "pyramid", 1.0)


def test_the_cut_model_is_ordinary(made, tmp_path):
    from sentence_transformers import SentenceTransformer

    model = made(GRID, {"layers": (1, 2), "dims": (8, WIDTH)})
    model.at(layers=1, dims=8, bits=4).convert().save(str(tmp_path / "cut"), create_model_card=False)
    small = SentenceTransformer(str(tmp_path / "cut"), device="cpu")
    expected = model.at(layers=1, dims=8, bits=4).encode(TEXTS)
    np.testing.assert_allclose(small.encode(TEXTS, normalize_embeddings=True), expected, atol=1e-5)


def _rewrite(folder, change):
    path = undigested(folder) / "anysize.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_files_that_do_not_say_what_they_are(made, tmp_path):
    def saved(name):
        made().save(tmp_path / name)
        return tmp_path / name

    where = saved("mode")
    _rewrite(where, lambda m: m["config"]["quantization"]["scheme"].update(mode="floor"))
    with pytest.raises(CheckpointError, match="slice mode 'floor'; expected one of round_clamp, extra, floor_mid"):
        az.load(where)
    _rewrite(where, lambda m: m["config"]["quantization"]["scheme"].pop("mode"))
    with pytest.raises(CheckpointError, match="does not record its slice mode"):
        az.load(where, bits=2)
    where = saved("planes")
    weights = load_file(where / checkpoint.WEIGHTS)
    save_file({n: t for n, t in weights.items() if ".plane_6" not in n}, where / checkpoint.WEIGHTS)
    _rewrite(where, lambda m: [m["tensors"].pop(name) for name in list(m["tensors"]) if ".plane_6" in name])
    assert az.load(where, bits=4).encode(TEXTS).shape == (5, WIDTH)
    with pytest.raises(CheckpointError, match=r"lacks the bit planes 6 of encoder\..*, which bits=8 needs"):
        az.load(where)


def test_a_narrow_load_cannot_run_wider(made, tmp_path):
    made().save(tmp_path / "m")
    small = az.load(tmp_path / "m", bits=2)
    with pytest.raises(SizeError, match="trained for bits 2"):
        small.at(bits=8)
    small.save(tmp_path / "small")
    np.testing.assert_array_equal(az.load(tmp_path / "small").encode(TEXTS), small.encode(TEXTS))
    with pytest.raises(SizeError, match="nested in bits"):
        Quantized(Nesting(dims=(8,)), small.inner, small.plan, {})


def test_impossible_models_are_refused(base, made):
    with pytest.raises(SizeError, match="above the widest"):
        prepared(base(), Nesting(bits=(2, 8)), bits=(4, 2))
    with pytest.raises(AnysizeError, match="quantised already"):
        prepared(made().inner, Nesting(bits=(2, 8)), bits=(8, 2))
