"""Exports, each run or read by the engine that it is for."""

import json

import gguf
import numpy as np
import onnxruntime
import pytest
import torch
from benchmarks.quantize.tiny_models import byte_pairs
from transformers import LlamaConfig, LlamaForCausalLM

from anysize.core.errors import AnysizeError
from anysize.core.sizes.nesting import Nesting
from anysize.quantize import CausalLM, Scheme
from anysize.quantize.codes.scales import Grid, encode, fit_grid
from anysize.quantize.codes.slicing import MODES
from anysize.quantize.export.gguf_blocks import as_blocks
from anysize.quantize.export.onnx import write_onnx
from anysize.quantize.layers.grid_codes import GridCodes, levels
from anysize.quantize.layers.stored import StoredLinear
from anysize.quantize.model.making import finished, prepared
from tests.conftest import WIDTH, sentences, tree

TEXTS = sentences(4)
BITS = Nesting(bits=(2, 3, 4, 6, 8))
SYMMETRIC = Scheme(symmetric=True)
pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries that read what was written


@pytest.fixture
def lm(lm_path):
    return lambda **options: finished(prepared(CausalLM.from_pretrained(lm_path), BITS, **options))


@pytest.fixture
def encoder(made):
    return lambda **options: made(BITS, **options)


def stored(scheme, rows=6, features=64, seed=0):
    torch.manual_seed(seed)
    weight = torch.randn(rows, features)
    weight[1], weight[2] = 0.7, 0.0
    part = StoredLinear(rows, features, scheme, 8, "it", "uint8", bias=False, transformed=False)
    grid = fit_grid(weight, scheme)
    part.fill(grid, encode(weight, grid, scheme))
    return part


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("group", [None, 32])
def test_levels_are_the_same_weights_counted_otherwise(mode, symmetric, group):
    part = stored(Scheme(mode=mode, symmetric=symmetric, group_size=group))
    for bits in range(1, 9):
        found = levels(part, bits)
        assert found.width == bits + (mode == "extra" and bits < 8)
        assert found.codes.min() >= 0
        assert found.codes.max() < 2**found.width
        scale, offset = (x.repeat_interleave(64 // x.shape[1], dim=1) for x in (found.grid.scale, found.grid.offset))
        torch.testing.assert_close(scale * found.codes + offset, part.floats(bits), atol=1e-6, rtol=1e-5)
        whole = symmetric and (mode != "floor_mid" or bits == 8)
        assert (found.zero_point is not None) == whole


@pytest.mark.parametrize(
    ("top", "zero", "features", "kind"),
    [(255, 128, 64, "Q8_0"), (15, 8, 64, "Q4_0"), (31, 16, 64, "Q5_0"), (15, 7.3, 64, "Q4_1"), (31, 2.5, 64, "Q5_1"),
     (3, 1.7, 512, "Q2_K"), (3, 2, 512, "Q2_K"), (3, 1.7, 64, "Q4_1"), (63, 32, 64, "Q8_0")],
)  # fmt: skip
def test_codes_in_ggufs_blocks_are_what_its_reader_decodes(top, zero, features, kind):
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(top + 1, (5, features), generator=generator, dtype=torch.int32)
    scale = torch.rand(5, 1, generator=generator).half().float()
    offset = -zero * scale
    width = int(np.log2(top + 1))
    blocks = as_blocks(GridCodes(codes, width, Grid(scale, offset)), "it")
    assert blocks.kind == kind
    found = gguf.quants.dequantize(blocks.content, gguf.GGMLQuantizationType[kind])
    expected = (scale * codes + offset).numpy()
    np.testing.assert_allclose(found, expected, atol=float(offset.abs().max()) * 2**-11 + 1e-6)


@pytest.mark.parametrize(
    ("bits", "scheme"), [(2, Scheme(symmetric=False)), (4, Scheme(mode="extra", group_size=16, symmetric=False))]
)
def test_onnx_runtime_gives_what_we_give(encoder, bits, scheme, tmp_path):
    model = encoder(scheme=scheme, modules="linear,embedding").at(bits=bits)
    assert model.export(tmp_path / "x", "onnx", accuracy=0).format == "onnx"
    said = json.loads((tmp_path / "x" / "anysize-export.json").read_text())
    assert said["size"] == {"bits": bits}
    session = onnxruntime.InferenceSession(str(tmp_path / "x" / "model.onnx"), providers=["CPUExecutionProvider"])
    inputs = model.extract().preprocess(TEXTS[:3])
    (found,) = session.run(None, {name: inputs[name].numpy() for name in said["inputs"]})
    np.testing.assert_allclose(found, model.encode(TEXTS[:3]), atol=1e-4)
    import onnx

    used = [node for node in onnx.load(tmp_path / "x" / "model.onnx").graph.node if node.op_type == "MatMulNBits"]
    assert len(used) == 12
    widths = {attribute.i for node in used for attribute in node.attribute if attribute.name == "bits"}
    assert widths == {2 if bits == 2 else 8}  # five bits for extra precision at 4, in a container of 8


def test_onnx_of_a_language_model_with_a_width_per_block(lm, tmp_path):
    model = lm(modules="linear").mix({"layers.0": 2, "layers.1": 8})
    model.export(tmp_path / "x", "onnx", accuracy=0)
    session = onnxruntime.InferenceSession(str(tmp_path / "x" / "model.onnx"), providers=["CPUExecutionProvider"])
    ids = torch.randint(3, 200, (3, 7))
    (found,) = session.run(None, {"input_ids": ids.numpy(), "attention_mask": torch.ones_like(ids).numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(found, model(ids).numpy(), atol=1e-3)


@pytest.mark.parametrize(("bits", "scheme"), [(2, SYMMETRIC), (3, Scheme(mode="extra", symmetric=True))])
def test_transformers_and_sentence_transformers_read_compressed_tensors(encoder, lm, bits, scheme, tmp_path):
    from sentence_transformers import SentenceTransformer
    from transformers import AutoModelForCausalLM

    view = encoder(scheme=scheme, modules="linear,embedding").at(bits=bits)
    assert view.export(tmp_path / "e", "compressed-tensors").format == "compressed-tensors"
    read = SentenceTransformer(str(tmp_path / "e"), device="cpu")
    np.testing.assert_allclose(read.encode(TEXTS, normalize_embeddings=True), view.encode(TEXTS), atol=1e-5)
    model = lm(scheme=scheme)
    mixed = model.mix({"layers.0": bits, "layers.1": 8})
    ids = torch.arange(3, 13).view(2, 5)
    for name, view in {"even": model.at(bits=bits), "mixed": mixed}.items():
        if name == "mixed" and scheme.mode == "extra":
            with pytest.raises(AnysizeError, match=r"a width per layer .* use the format onnx"):
                view.export(tmp_path / name, "compressed-tensors")
            continue
        view.export(tmp_path / name, "compressed-tensors")
        with torch.no_grad():
            found = AutoModelForCausalLM.from_pretrained(tmp_path / name)(ids).logits
            torch.testing.assert_close(found, view(ids), atol=1e-4, rtol=1e-4)
        packed = json.loads((tmp_path / name / "anysize-export.json").read_text())["widths"]
        assert packed == ({"2": 3, "8": 3} if name == "mixed" else {str(bits + (scheme.mode == "extra")): 6})


def test_gguf_holds_what_we_hold(encoder, tmp_path):
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
    )
    base = CausalLM.from_pretrained(LlamaForCausalLM(config))
    base.tokenizer = byte_pairs("gpt-2")
    scheme = Scheme(group_size=32, symmetric=False)
    view = finished(prepared(base, BITS, scheme=scheme, modules="linear")).at(bits=4)
    view.export(tmp_path / "m", "gguf")
    reader = gguf.GGUFReader(str(tmp_path / "m" / "model.gguf"))
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    assert tensors["blk.0.attn_q.weight"].tensor_type.name == "Q4_1"

    def read(name):
        return gguf.quants.dequantize(np.array(tensors[name].data), tensors[name].tensor_type)

    mine = view.layers()["lm.model.layers.1.mlp.down_proj"].floats(4).numpy()
    np.testing.assert_allclose(read("blk.1.ffn_down.weight"), mine, atol=2e-3 * abs(mine).max())
    # llama.cpp turns neighbours: the rows of one head's halves stand alternately.
    query = read("blk.0.attn_q.weight")
    mine = view.layers()["lm.model.layers.0.self_attn.q_proj"].floats(4).numpy()
    np.testing.assert_allclose(query[[0, 1, 2, 3, 16]], mine[[0, 8, 1, 9, 16]], atol=2e-3 * abs(mine).max())
    assert reader.get_field("general.architecture").contents() == "llama"
    assert reader.get_field("llama.attention.head_count_kv").contents() == 1
    encoder(scheme=SYMMETRIC, modules="linear,embedding").at(bits=2).export(tmp_path / "e", "gguf")
    reader = gguf.GGUFReader(str(tmp_path / "e" / "model.gguf"))
    tokens = reader.get_field("tokenizer.ggml.tokens").contents()
    assert tokens[2] == "[CLS]"
    assert tokens[5].startswith("\u2581")
    assert {tensor.tensor_type.name for tensor in reader.tensors} == {"F32", "Q4_0"}


def test_what_a_format_cannot_hold_is_refused_with_what_would(encoder, lm, tmp_path):
    plain, middle = (
        encoder(modules="linear", scheme=Scheme(symmetric=False)),
        encoder(modules="linear", scheme=Scheme(mode="floor_mid", symmetric=True)),
    )
    words = r"fractional .*fit with symmetric codes and another slice mode than floor_mid, or cut with --format onnx"
    for view, form in ((plain.at(bits=4), "compressed-tensors"), (plain.at(bits=8), "gguf"),
                       (middle.at(bits=4), "compressed-tensors"), (middle.at(bits=6), "gguf")):  # fmt: skip
        with pytest.raises(AnysizeError, match=words):
            view.export(tmp_path / "x", form)
    with pytest.raises(AnysizeError, match=r"blocks of 32.*--group-size 32"):
        encoder(scheme=Scheme(group_size=16, symmetric=False)).at(bits=4).export(tmp_path / "x", "gguf")
    with pytest.raises(AnysizeError, match="multiples of 16; fit with --group-size 32"):
        encoder(scheme=Scheme(group_size=8, symmetric=False)).at(bits=4).export(tmp_path / "x", "onnx")
    with pytest.raises(AnysizeError, match="cannot be written as exe; expected one of safetensors, onnx"):
        plain.export(tmp_path / "x", "exe")
    assert not tree(tmp_path)


def test_a_cut_on_three_axes(made, tmp_path):
    from sentence_transformers import SentenceTransformer

    grid = Nesting(layers=(1, 2), dims=(8, WIDTH), bits=(2, 4))
    model = made(grid, {"layers": (1, 2), "dims": (8, WIDTH)}, bits=(4, 2), scheme=SYMMETRIC, modules="linear")
    view = model.at(layers=1, dims=8, bits=2)
    view.export(tmp_path / "c", "compressed-tensors")
    read = SentenceTransformer(str(tmp_path / "c"), device="cpu")
    np.testing.assert_allclose(read.encode(TEXTS, normalize_embeddings=True), view.encode(TEXTS), atol=1e-5)
    assert json.loads((tmp_path / "c" / "anysize-export.json").read_text())["widths"] == {"2": 6}
    with pytest.raises(AnysizeError, match=r"this model has Dense after it, .* cut at the full dims"):
        view.export(tmp_path / "g", "gguf")
    model.at(layers=1, dims=WIDTH, bits=4).export(tmp_path / "g", "gguf")
    names = [tensor.name for tensor in gguf.GGUFReader(str(tmp_path / "g" / "model.gguf")).tensors]
    assert {name.split(".")[1] for name in names if name.startswith("blk.")} == {"0"}


def test_layers_that_scale_their_inputs_need_a_graph(base, tmp_path):
    from anysize.quantize.layers.fake import FakeQuantLinear
    from anysize.quantize.layers.learnt import Learnt

    model = prepared(base(), BITS, modules="linear", scheme=SYMMETRIC)
    for part in model.inner.modules():
        if isinstance(part, FakeQuantLinear):
            part.learnt = Learnt(part.out_features, part.in_features, part.scheme, part.name, transform=True)
            torch.nn.init.normal_(part.learnt.log_scale, std=0.2)
            torch.nn.init.normal_(part.learnt.shift, std=0.2)
    view = finished(model).at(bits=4)
    for form in ("gguf", "compressed-tensors"):
        with pytest.raises(AnysizeError, match="--clip-only, or cut with --format onnx"):
            view.export(tmp_path / "x", form)
    view.export(tmp_path / "x", "onnx")  # checks that ONNX Runtime gives what we give


def test_a_file_that_reads_otherwise_is_noticed_and_nothing_is_left(encoder, tmp_path, monkeypatch):
    view = encoder(scheme=SYMMETRIC).at(bits=4)
    view.export(tmp_path / "x", "gguf")
    before = tree(tmp_path)
    monkeypatch.setattr("anysize.quantize.export.gguf.ATOL", -1.0)
    with pytest.raises(AnysizeError, match=r"as gguf's reader decodes it differs .*nothing was written"):
        view.export(tmp_path / "x", "gguf")
    assert tree(tmp_path) == before


def test_the_verb_writes_every_format(anysize, encoder, tmp_path):
    model = encoder(scheme=SYMMETRIC)
    model.save(tmp_path / "q")
    for form, there in (("safetensors", "modules.json"), ("gguf", "model.gguf"), ("compressed-tensors", "config.json")):
        said = anysize("cut", tmp_path / "q", "--size", "bits=4", "--out", tmp_path / form, "--format", form)
        assert said.status == 0, said
        assert (tmp_path / form / there).exists()
    said = anysize("cut", tmp_path / "q", "--size", "bits=4", "--out", tmp_path / "no", "--format", "tflite")
    said.refused("no format 'tflite'; there are: safetensors, onnx, gguf, compressed-tensors")
    said = anysize("cut", tmp_path / "q", "--size", "bits=4", "--out", tmp_path / "q", "--format", "gguf")
    said.refused("holds no anysize-export.json")


def test_eight_bit_arithmetic_is_near(encoder, tmp_path):
    written = write_onnx(encoder(modules="linear").at(bits=8), tmp_path)
    assert written.said["accuracy_level"] == 4
    floats, rounded = (check.difference for check in written.checks)
    assert floats < 1e-5
    assert 1e-4 < rounded < 0.05
