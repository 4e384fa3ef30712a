"""The page in a browser: a slider moves, one request goes out; texts stay texts; it says when it has no server."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil

import numpy as np
import pytest

from anysize.search import Index
from anysize.serve.held.house import House
from anysize.serve.held.settings import Settings
from anysize.tokens.vlm.asking import Asked
from tests.conftest import sentences
from tests.serve.conftest import running
from tests.serve.test_running import png
from tests.tiny_vlm import drawn

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def house_folder(kinds, tmp_path_factory):
    home = tmp_path_factory.mktemp("page")
    kinds("embedder").save(home / "mine")
    texts = ["<img src=x onerror=alert(1)>", *sentences(30)]
    Index.build(home / "idx", str(home / "mine"), texts)
    return home


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra test-clients)")
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine")
    with sync_api.sync_playwright() as found:
        started = found.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


def opened(browser, client, width=1280, **options):
    """The page, and what went wrong in it and what it asked for."""
    context = browser.new_context(viewport={"width": width, "height": 800}, **options)
    page, wrong, asked = context.new_page(), [], []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append("a dialog"), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request))
    page.goto(client.url)
    return page, wrong, asked


def test_only_its_own_script_may_run(kinds):
    house = House()
    house.add("mine", kinds("embedder"))
    with running(house) as client:
        answer = client.ask("/")
        policy, text = answer.headers["content-security-policy"], answer.content.decode()
        (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
        assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
        assert "default-src 'none'" in policy
        assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", text)  # nothing of any other host
        assert ".innerHTML" not in text


def test_a_slider_asks_once_for_its_size_and_texts_stay_texts(browser, house_folder):
    house = House()
    house.open(str(house_folder / "idx"))
    with running(house) as client:
        page, wrong, asked = opened(browser, client)
        page.fill("#text", "img onerror")
        page.wait_for_selector("#left li")
        before = len(asked)
        page.focus("#axis-dims")
        page.keyboard.press("ArrowRight")  # by the keyboard alone
        page.locator("#lefthead", has_text="dims=16").wait_for()
        sent = [one.post_data_json for one in asked[before:] if one.url.endswith("/search")]
        assert [one.get("stages") for one in sent] == [None, "dims=16"]
        assert page.get_attribute("#axis-dims", "aria-valuetext") == "16 of 16 dims"
        assert "size=dims%3D16" in page.url
        own = Index.open(house_folder / "idx").search("img onerror", k=10)
        assert page.locator("#right li").count() == len(own.hits)
        page.fill("#text", sentences(30)[3])
        page.locator("#right li", has_text=sentences(30)[3]).first.wait_for()
        with page.expect_request("**/search"):
            page.press("#text", "Enter")
        assert page.input_value("#text") == sentences(30)[3]
        page.press("#text", "Shift+Enter")
        assert page.input_value("#text") == sentences(30)[3] + "\n"
        assert {one.url.split("/")[2] for one in asked} == {client.url.split("/")[2]}
        assert page.locator("#left img, #right img").count() == 0
        assert not wrong
        page.context.close()


def test_it_fits_a_telephone_and_says_when_there_is_no_server(browser, house_folder):
    house = House()
    house.open(str(house_folder / "idx"))
    with running(house) as client:
        page, wrong, _ = opened(browser, client, width=390, color_scheme="dark")
        page.fill("#text", "a b c")
        page.wait_for_selector("#left li")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.route("**/search", lambda route: route.abort())
        page.fill("#text", "a b c d")
        page.locator("#trouble", has_text="does not answer").wait_for()
        page.unroute("**/search")
        page.fill("#text", "a b c d e")
        page.locator("#trouble:empty").wait_for(state="attached")
        assert not wrong
        page.context.close()


def test_a_key_is_asked_for_once(browser, kinds, tmp_path):
    (tmp_path / "keys").write_text("sesame\n", encoding="utf-8")
    house = House(Settings(api_key_file=tmp_path / "keys"))
    house.add("mine", kinds("encoder"))
    with running(house) as client:
        page, wrong, _ = opened(browser, client)
        page.wait_for_selector("#key", state="visible")
        page.fill("#key", "sesame")
        page.press("#key", "Enter")
        page.wait_for_selector("#table tr.now")
        assert page.locator("#table tr").count() == 1 + len(kinds("encoder").nesting)
        assert not wrong
        page.context.close()


def dropped(page, content, name, kind):
    """Drops a file on the page, as a person does."""
    page.wait_for_selector("#filebox", state="visible")
    given = page.evaluate_handle(
        """([text, name, kind]) => { const held = new DataTransfer();
        held.items.add(new File([Uint8Array.from(atob(text), one => one.charCodeAt(0))], name, {type: kind}));
        return held; }""",
        [base64.b64encode(content).decode(), name, kind],
    )
    page.dispatch_event("body", "drop", {"dataTransfer": given})
    page.locator("#curl", has_text="data:").wait_for()
    assert page.evaluate("document.getElementById('file').files[0].name") == name


def fewer(route):
    """Passes a request on with fewer tokens to say: a tiny model has no room for as many as the page asks for."""
    route.continue_(post_data=json.dumps({**route.request.post_data_json, "max_tokens": 8}))


def test_a_picture_that_is_dropped_on_it_is_asked_about(browser, kinds):
    house, picture = House(), drawn(1)[0]
    for name in ("vlm", "image-encoder"):
        house.add(name, kinds(name))
    with running(house) as client:
        page, wrong, _ = opened(browser, client)
        page.route("**/v1/chat/completions", fewer)
        dropped(page, png(picture), "a.png", "image/png")
        page.fill("#text", "how many red")
        page.click("#go")
        page.wait_for_selector("#right li:nth-child(2)")
        for side in ("left", "right"):
            size = page.text_content(f"#{side}head")
            (said,) = kinds("vlm").at(size).run([Asked(picture, "how many red")], max_new_tokens=8)
            assert page.text_content(f"#{side} li") == said
        page.select_option("#target", "model:image-encoder")
        page.fill("#text", "")
        dropped(page, png(picture), "b.png", "image/png")
        page.click("#go")
        page.locator("#right li", has_text="[").wait_for()
        expected = kinds("image-encoder").at().run([picture])
        found = json.loads(page.text_content("#right li"))
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert not wrong
        page.context.close()


def test_words_come_beside_each_other_at_two_sizes(browser, kinds):
    house = House()
    house.add("mine", kinds("quantized-lm"))
    with running(house) as client:
        page, wrong, _ = opened(browser, client)
        page.fill("#text", sentences(1)[0])
        page.click("#go")
        page.wait_for_selector("#right li:nth-child(2)")
        for side, size in (("left", "bits=2"), ("right", "bits=8")):
            (said,) = kinds("quantized-lm").at(size).run(sentences(1), max_new_tokens=48)
            assert page.text_content(f"#{side} li") == said
        assert not wrong
        page.context.close()
