"""One recogniser at every pair of rates: the battery, one pass of the encoders, sequences, tasks, rates, costs."""

import numpy as np
import pytest
import torch

from anysize.core.errors import AnysizeError, DataError, SizeError
from anysize.testing import check_nested_model
from anysize.tokens.adapters.scale import FILL
from anysize.tokens.speech.clips import Clip
from anysize.tokens.speech.scaled.scales import Scale, nested
from anysize.tokens.speech.scaled.sequences import AUDIO, TEXT, VIDEO
from tests.tiny_speech import (
    LORA,
    WORDS,
    film,
    noise,
    tiny_speech,
    tiny_vit,
    tiny_wav2vec,
    write_film,
    write_wav,
)  # fmt: skip

CLIPS = [Clip(noise(0.7, 1), film(0.7, 1)), Clip(noise(0.4, 2), film(0.4, 2))]
KINDS = {
    "ss": {},
    "mss, wav2vec, vit": {"sound": tiny_wav2vec, "lips": tiny_vit, "adapter": {**LORA, "strategy": "mss"}},
    "sound alone": {"video": None, "tasks": ["asr"]},
    "lips alone": {"audio": None, "tasks": ["vsr"]},
    "stacked": {"mode": "stack", "remainder": "drop"},
    "all tasks, shared, tied": {
        "share": True, "tasks": ["avsr", "asr", "vsr"], "adapter": {**LORA, "strategy": "ms"},
        "lm": {"tie_word_embeddings": True},
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_it_keeps_every_promise_of_a_nested_model(kind):
    check_nested_model(tiny_speech(**KINDS[kind]), CLIPS, shape=lambda size: (2, len(WORDS)))


def test_clips_of_one_batch_are_written_down_as_alone():
    model = tiny_speech()
    assert model.run(CLIPS, max_new_tokens=5) == [model.run([one], max_new_tokens=5)[0] for one in CLIPS]
    twice = model.read([*CLIPS, CLIPS[0]], batch_size=1)
    assert torch.equal(twice.frames["audio"][0], twice.frames["audio"][2])
    sizes = [tuple(model.at(size)(CLIPS)[0].tolist()) for size in model.nesting]
    assert len(set(sizes)) == 4
    took = model.run(CLIPS, max_new_tokens=2).took
    assert [(one["audio_tokens"], one["video_tokens"]) for one in took] == [(9, 9), (5, 5)]
    assert took[0]["real_time_factor"] == took[1]["real_time_factor"] > 0


def test_all_sizes_cost_one_pass_of_the_encoders():
    model, passes = tiny_speech(), []
    model.encoders["audio"].model.register_forward_hook(lambda *_: passes.append(1))
    read = model.read(CLIPS)
    for size in model.nesting:
        model.at(size).answers(read, max_new_tokens=2)
    assert len(passes) == 1


def test_a_row_is_what_the_paper_says():
    model = tiny_speech()
    heard, scale = model.read(CLIPS), Scale(4, 2)
    rows = model.rows(heard, scale, ["one two", "three"])
    batch = model.writer.batch(rows, model.marks)
    # 35 frames of sound at 4 a token, 18 of lips at 2; the begin, four marks, five words of the prompt (one unknown)
    assert [len(row.audio) for row in rows] == [9, 5]
    assert [len(row.video) for row in rows] == [9, 5]
    prompt = model.tokenizer("Transcribe speech and video to text.", add_special_tokens=False)["input_ids"]
    whole = [TEXT, TEXT, *[AUDIO] * 9, TEXT, TEXT, *[VIDEO] * 9, TEXT, *[TEXT] * (len(prompt) + 3)]
    assert batch.kinds[0].tolist() == whole
    assert batch.kinds[1].tolist() == [FILL] * 9 + whole[:7] + whole[11:13] + whole[13:18] + whole[22:-1]
    assert batch.labels[0, -4:].tolist() == [-100, 12, 13, 2]
    table = model.lm.get_input_embeddings()
    assert torch.equal(batch.embeds[0, -3], table(torch.tensor(12)))
    assert torch.equal(batch.embeds[0, 1], model.marks[0])
    assert torch.equal(batch.embeds[0, 2], rows[0].audio[0])
    assert batch.positions[1, 9:].tolist() == list(range(len(whole) - 9))


def test_one_projector_for_all_rates_runs_at_others():
    shared = tiny_speech(share=True, adapter={**LORA, "strategy": "ms"})
    other = shared.again(nested(audio=(8,), video=(3,)))
    assert other(CLIPS).shape == (2, len(WORDS))
    assert other.tokens(1.0) == {"audio": 7, "video": 9}
    with pytest.raises(SizeError, match="belong to single rates, so it runs at audio=1/16,video=1/5; "):
        tiny_speech().again(nested(audio=(8,), video=(3,)))
    with pytest.raises(SizeError, match=r"nested in audio and video|trained for audio 1/16, 1/4"):
        tiny_speech().at(audio="1/8")
    with pytest.raises(AnysizeError, match="stacked frames differ in width"):
        tiny_speech(share=True, mode="stack")


def test_what_a_clip_lacks_is_refused_or_filled(tmp_path):
    model = tiny_speech()
    wav = write_wav(tmp_path / "a.wav", noise(0.6))
    with pytest.raises(
        DataError, match=r"a.wav has no video, and this model was trained for avsr; train with --missing"
    ):
        model.run([str(wav)])
    filled = tiny_speech(missing="zero")
    dark = np.zeros((15, 16, 16), np.uint8)
    assert filled.run([str(wav)], max_new_tokens=4) == filled.run([Clip(str(wav), dark)], max_new_tokens=4)
    tasks = tiny_speech(tasks=["avsr", "asr"])
    heard = tasks.read([wav, CLIPS[0]])
    assert heard.tasks == ["asr", "avsr"]
    assert tasks.answers(heard, max_new_tokens=3) == [tasks.run([one], max_new_tokens=3)[0] for one in (wav, CLIPS[0])]
    with pytest.raises(DataError, match=r"lasts 0.40 s and its sound 0.70 s, 0.30 s apart; expected at most 0.25 s"):
        model.run([Clip(noise(0.7), film(0.4))])
    with pytest.raises(DataError, match="is no clip; expected a sound, a film, or one of each"):
        model.run([[{"text": "hello"}]])


def test_a_film_is_asked_for_its_own_sound_where_none_stands_beside_it(tmp_path):
    quiet = write_film(tmp_path / "a.mkv", film(0.4))
    with pytest.raises(DataError, match=r"a.mkv has no audio"):
        tiny_speech().run([str(quiet)])
    lips = tiny_speech(audio=None, tasks=["vsr"])
    assert lips.run([str(quiet)], max_new_tokens=3) == lips.run([Clip(video=film(0.4))], max_new_tokens=3)


def test_a_clip_of_a_moment_and_one_that_is_too_long():
    model = tiny_speech(video=None, tasks=["asr"])
    assert len(model.run([Clip(noise(0.05))], max_new_tokens=3)) == 1
    with pytest.raises(
        AnysizeError, match=r"a clip takes 765 tokens, 750 of them .* the model reads 256; use a smaller"
    ):
        model.run([Clip(noise(60.0))], max_new_tokens=8)
    assert model.at(audio="1/16").run([Clip(noise(60.0))], max_new_tokens=8)


def test_costs_are_those_of_ten_seconds():
    model = tiny_speech()
    # two blocks keep a key and a value of one head of 8 numbers, of 4 bytes, for each of the tokens
    for size, tokens in zip(model.nesting, (32 + 50, 32 + 125, 125 + 50, 125 + 125), strict=True):
        assert model.at(size).cost().bytes == 128 * tokens
    assert model.at(audio="1/16", video="1/5").paid() == "32 of audio and 50 of video tokens for 10 s of speech"
