"""
Nothing is made on the default device: whatever a kernel creates stands where its inputs stand.

No test has a GPU, so the default device is set to one that holds no numbers. A tensor that a kernel made there, instead
of beside its input, meets tensors of the processor in the next operation, and that fails.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from anysize.core.errors import AnysizeError
from anysize.core.sizes.nesting import Nesting
from anysize.core.training.processes import device_of
from anysize.sparse import BatchTopK, calibrate, reconstruction
from anysize.sparse.learning.learner import Learner
from anysize.sparse.learning.loop import one_step
from anysize.sparse.learning.selecting import _numpy_places, _torch_places
from anysize.sparse.rows.stored import ArrayRows, SparseBatch, mean_and_scale
from tests.sparse.learning.test_loop import RECIPES, D
from tests.sparse.making import LATENTS, features, inputs, random_sae

EVERY = {
    **RECIPES,
    "pairs": replace(RECIPES["tied"], positives="pair"),
    "labels": replace(RECIPES["tied"], positives="label"),
    "annealed": replace(RECIPES["ranks"], k_anneal=1.0, initial_topk=8),
    "halves": replace(RECIPES["prefixes"], bf16=True),
}


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return features(400, D)


def test_the_check_itself_sees_a_tensor_that_was_made_elsewhere():
    with torch.device("meta"), pytest.raises((RuntimeError, NotImplementedError)):
        float((torch.zeros(3) + torch.ones(3, device="cpu")).sum())


@pytest.mark.parametrize("name", EVERY)
def test_a_training_step_makes_everything_beside_its_input(name, vectors):
    rows = ArrayRows(vectors, labels=np.arange(400) % 4)
    recipe = replace(EVERY[name], dead_after=1)  # so that the dead-latent loss has its say
    sample, batch = rows.sample(), SparseBatch(rows.sample()[:64], torch.arange(64) % 4)

    def trained(held: Learner, kept: Learner) -> tuple[dict[str, torch.Tensor], list[float]]:
        held.begin(sample)
        losses = [one_step(held, batch, step, 6).loss for step in range(6)]
        kept.load_state(held.state())
        losses.append(one_step(kept, batch, 5, 6).loss)
        return dict(kept.sae.state_dict()), losses

    learners = [Learner(recipe, *mean_and_scale(sample), "cpu") for _ in range(4)]
    wanted, losses = trained(*learners[:2])
    with torch.device("meta"):
        found, again = trained(*learners[2:])
    assert {tensor.device.type for tensor in found.values()} == {"cpu"}
    torch.testing.assert_close(found, wanted, atol=0, rtol=0)
    assert again == losses


@pytest.mark.parametrize("activation", ["topk", "batchtopk", "jumprelu", "relu"])
def test_codes_and_what_is_made_of_them_stay_beside_the_weights(activation):
    nesting = Nesting(active=(2, 6, LATENTS)) if activation == "topk" else Nesting(latents=(8, LATENTS))
    sae, x = random_sae(activation, nesting), torch.from_numpy(inputs())

    def used() -> list[torch.Tensor]:
        codes = sae.encode(x)
        some = codes.take(slice(3, 20)).prefix(30).strongest(4)
        made = [codes.dense(), some.dense(), sae.decode(codes), sae.decode(some), sae.encode_dense(inputs())]
        made += [sae.at(size).encode_dense(x) for size in nesting]
        made += list(sae.outputs(x).values())
        found = reconstruction(sae, inputs())
        made.append(torch.tensor([found.fvu, found.cosine, found.l0, found.dead], device="cpu"))
        if activation in ("batchtopk", "jumprelu"):
            calibrate(sae, x, 5)
            made.append(sae.threshold.clone())
        return made

    wanted = used()
    sae = random_sae(activation, nesting)
    with torch.device("meta"):
        found = used()
    assert {tensor.device.type for tensor in found} == {"cpu"}
    torch.testing.assert_close(found, wanted, atol=0, rtol=0)


def test_both_ways_to_find_the_few_among_many_agree():
    mask = torch.rand(37, 53, generator=torch.Generator().manual_seed(0)) < 0.02
    torch.testing.assert_close(_torch_places(mask), _numpy_places(mask))


def test_a_device_is_one_that_is_there(monkeypatch, vectors):
    from anysize.core.data.data import Data
    from anysize.core.data.records import Items

    assert device_of("cpu").type == "cpu"
    if not torch.cuda.is_available():
        assert device_of(None).type == "cpu"
        data = Data("x", "x", corpus=Items([str(n) for n in range(400)], vectors, "vector"))
        with pytest.raises(AnysizeError, match="the device cuda is not here, of 0 CUDA devices"):
            BatchTopK(latents=(64,), active=(4,), device="cuda").fit(data)
    with pytest.raises(AnysizeError, match="'fast' names no device"):
        device_of("fast")
    with pytest.raises(AnysizeError, match="not on meta"):
        device_of("meta")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert device_of(None) == torch.device("cuda:1")  # each process of torchrun its own
    assert device_of("cuda:0") == torch.device("cuda:0")
    with pytest.raises(AnysizeError, match="cuda:2 is not here, of 2"):
        device_of("cuda:2")
