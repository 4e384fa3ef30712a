"""What a user may give that does not fit: answered in one sentence, or run and marked."""

import json

import numpy as np
import pytest

from anysize.core.errors import AnysizeError, DataError, SizeError
from anysize.core.verbs.fit import fit
from anysize.core.verbs.load import load
from anysize.core.verbs.run import job
from anysize.tokens.speech.clips import Clip
from tests.tiny_speech import LORA, film, noise, tiny_speech, write_bases, write_film, write_wav

SHARED = {"share": True, "adapter": {**LORA, "strategy": "ms"}}
CLIP = Clip(noise(0.7, 1), film(0.7, 1))


def test_rates_that_were_not_trained_run_and_are_marked(tmp_path):
    model = tiny_speech(**SHARED)
    known, strange = model.run([CLIP], max_new_tokens=3), model.at(audio="1/8").run([CLIP], max_new_tokens=3)
    assert "untrained_rates" not in known.took[0]
    assert strange.took[0]["untrained_rates"] == 1
    assert strange.took[0]["audio_tokens"] == 5  # 35 frames, 8 a token
    assert model.at(audio="1/8", video="1/3").run([CLIP], max_new_tokens=1).took[0]["untrained_rates"] == 2
    model.save(tmp_path / "m")
    assert load(tmp_path / "m", audio="1/8").run([CLIP], max_new_tokens=3) == strange
    with pytest.raises(SizeError, match="audio 1/16, 1/4, and runs at any share up to 1/4; 1/2 is larger than all"):
        model.at(audio="1/2")
    with pytest.raises(SizeError, match="audio=3/16 keeps no whole number of frames a token"):
        model.at(audio="3/16").run([CLIP])
    with pytest.raises(SizeError, match="trained for audio 1/16, 1/4; 1/8 lies between 1/16 and 1/4"):
        tiny_speech().at(audio="1/8")


def test_silence_darkness_and_moments_are_written_down_alike_every_time():
    model = tiny_speech()
    for seconds in (0.05, 0.5):
        nothing = Clip(np.zeros(int(16000 * seconds), np.float32), np.zeros((round(25 * seconds), 16, 16), np.uint8))
        assert torch_is_finite(model([nothing]))
        assert model.run([nothing], max_new_tokens=3) == model.run([nothing], max_new_tokens=3)


def torch_is_finite(values):
    return bool(values.isfinite().all())


def test_five_minutes_run_where_they_fit_and_else_say_what_they_take():
    long = Clip(noise(300.0))
    heard = tiny_speech(video=None, audio=(4, 100), tasks=["asr"])
    read = heard.read([long])
    assert len(read.frames["audio"][0]) == 15000
    with pytest.raises(AnysizeError, match=r"a clip takes 3765 tokens, 3750 of them .* the model reads 256; use a sma"):
        heard.answers(read, max_new_tokens=8)
    assert len(heard.at(audio="1/100").answers(read, max_new_tokens=8)) == 1


def test_a_folder_of_clips_in_which_one_lacks_its_film(tmp_path):
    for place in range(3):
        write_wav(tmp_path / f"{place}.wav", noise(0.4, place))
        if place:
            write_film(tmp_path / f"{place}.mkv", film(0.4, place))
    (tmp_path / "notes.txt").write_text("not read")
    refusing, filling = (job(tiny_speech(missing=how), tmp_path, max_new_tokens=3) for how in ("refuse", "zero"))
    assert filling.inputs.items.ids == ["0", "1", "2"]
    assert filling.inputs.notes == ("1 other files are not read",)
    with pytest.raises(
        DataError, match=r"0.wav has no video, and this model was trained for avsr; train with --missing"
    ):
        refusing.made(slice(0, 3))
    dark = tiny_speech().run([Clip(noise(0.4), np.zeros((10, 16, 16), np.uint8))], max_new_tokens=3)
    assert filling.made(slice(0, 3))[0] == dark[0]
    write_wav(tmp_path / "0.flac", noise(0.4))
    with pytest.raises(DataError, match=r"holds 0.flac and 0.wav; give each clip a name of its own"):
        job(tiny_speech(), tmp_path)


def test_a_table_in_which_a_modality_is_missing_or_words_are_unknown(tmp_path, capsys):
    rows = []
    for place in range(4):
        write_wav(tmp_path / f"{place}.wav", noise(0.4, place))
        write_film(tmp_path / f"{place}.mkv", film(0.4, place))
        text = "дом" if place == 2 else "one"
        rows.append(
            {"audio": f"{place}.wav", "video": f"{place}.mkv" if place else None, "text": text, "split": "train"}
        )
    (tmp_path / "clips.jsonl").write_text("\n".join(map(json.dumps, rows)))
    sound, lm = write_bases(tmp_path)
    given = {"encoder": str(sound), "lm": str(lm), "audio_rates": (4,), "video_rates": (2,), "epochs": 1.0}
    with pytest.raises(DataError, match=r"0.wav has no video, and this model was trained for avsr"):
        fit(tmp_path / "clips.jsonl", method="mtsk", **given)
    made = fit(tmp_path / "clips.jsonl", method="mtsk", missing="zero", **given)
    assert made.about["rows"] == 4
    assert (
        "1 of 4 transcripts hold words that the language model has no token for, such as 'дом'"
        in capsys.readouterr().err
    )
    both = fit(tmp_path / "clips.jsonl", method="mtsk", tasks=("avsr", "asr"), **given)
    assert both.about["rows"] == 4
