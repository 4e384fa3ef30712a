"""What was trained, alone: equal over the models it stands on, refused over others and where these learnt too."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from anysize.core.errors import AnysizeError, CheckpointError
from anysize.core.verbs.load import load
from anysize.tokens.speech.adapters import MARKER, WEIGHTS, fingerprint, join
from anysize.tokens.speech.clips import Clip
from anysize.tokens.speech.fit import untrained
from anysize.tokens.speech.methods import MTSK, MoME
from tests.tiny_speech import film, noise, write_bases

CLIPS = [Clip(noise(0.7, 1), film(0.7, 1)), Clip(noise(0.4, 2), film(0.4, 2))]
RATES = {"audio_rates": (4, 16), "video_rates": (2, 5)}
METHODS = {"mss": (MTSK, {"strategy": "mss", "rank": 2}), "mome": (MoME, {"experts": 4, "bottleneck": 4})}


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    sound, lm = write_bases(tmp_path_factory.mktemp("bases"))
    return {"encoder": str(sound), "lm": str(lm)}


def made(bases, kind="mss", **more):
    method, options = METHODS[kind]
    model = untrained(method(**RATES, **options, **more, **bases))
    for name, weight in model.learnt().items():
        if "lora_B" in name or name.endswith("up"):
            weight.data.normal_(std=0.3)
    model.about = {"options": {**bases, "lips": "pixels", **more}}
    return model.eval()


@pytest.mark.parametrize("kind", METHODS)
def test_adapters_over_their_base_are_the_whole_model(bases, tmp_path, kind):
    model = made(bases, kind)
    view = model.at(audio="1/4", video="1/5")
    view.export(tmp_path / "alone", "adapters")
    joined = load(tmp_path / "alone")
    assert joined.nesting == model.nesting.up_to(view.size)
    assert joined.fingerprint == model.fingerprint
    for size in joined.nesting:
        assert (joined.at(size)(CLIPS) == model.at(size)(CLIPS)).all()
    held = load_file(tmp_path / "alone" / WEIGHTS)
    assert held.keys() == joined.learnt().keys()
    assert not any("video2" in name or ".base_layer." in name for name in held)


def test_another_base_is_refused_by_name(bases, tmp_path):
    from transformers import AutoModelForCausalLM

    made(bases).export(tmp_path / "alone", "adapters")
    other = AutoModelForCausalLM.from_pretrained(bases["lm"])
    other.model.norm.weight.data += 0.01
    other.save_pretrained(tmp_path / "other")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "other" / file).write_bytes((Path(bases["lm"]) / file).read_bytes())
    with pytest.raises(AnysizeError, match=r"trained over another language model than .*other, whose weights differ"):
        join(tmp_path / "alone", lm=str(tmp_path / "other"))
    with pytest.raises(AnysizeError, match=r"cannot load the language model .*nowhere.: it is no folder here"):
        join(tmp_path / "alone", lm=str(tmp_path / "nowhere"))


def test_what_cannot_stand_alone_or_is_damaged(bases, tmp_path):
    with pytest.raises(AnysizeError, match="learnt too, so its adapters cannot stand without them"):
        made(bases, train="all").export(tmp_path / "all", "adapters")
    assert not (tmp_path / "all").exists()
    alone = tmp_path / "alone"
    made(bases).export(alone, "adapters")
    told = json.loads((alone / MARKER).read_text())
    (alone / MARKER).write_text(json.dumps({**told, "format": 2}))
    with pytest.raises(CheckpointError, match="written by a newer anysize; update"):
        load(alone)
    (alone / MARKER).write_text(json.dumps({**told, "base": {"lm": {"name": None, "fingerprint": ""}}}))
    with pytest.raises(AnysizeError, match="does not say which language model it stands on; give it as lm="):
        load(alone)
    (alone / MARKER).write_text(json.dumps(told))
    held = load_file(alone / WEIGHTS)
    save_file({name: held[name] for name in sorted(held)[1:]}, alone / WEIGHTS)
    with pytest.raises(CheckpointError, match=r"holds other weights than speech-adapters.json describes"):
        load(alone)


def test_a_fingerprint_is_of_the_base_alone(bases):
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(bases["lm"], dtype="float32")
    assert fingerprint(made(bases).lm) == fingerprint(made(bases, "mome").lm) == fingerprint(plain)
