"""The page at `/` in a browser, against a server on the loopback."""

import contextlib
import socket
import threading
import time

import jax
import pytest
import uvicorn

from tests.server.runs import STORY, write_run
from transformer.runs.translator import Search, Translator
from transformer.server import page
from transformer.server.app import make_app
from transformer.server.batching import Batcher
from transformer.server.guard import Access
from transformer.server.limits import Limits
from transformer.server.metrics import Metrics
from transformer.server.models import Model
from transformer.server.process import OPEN_PATHS

LIMITS = Limits(tokens=24)
TOKEN = "a token of the tests"
IDLE = "!state.running && !document.getElementById('status').textContent.endsWith('…')"


@contextlib.contextmanager
def serving(*models: Model, access: Access = Access(open_paths=OPEN_PATHS)):
  """The URL of a server of models in a thread of this process."""
  batcher = Batcher(LIMITS, lambda *_: None, jax.clear_caches)
  metrics = Metrics(lambda: batcher.waiting)
  app = make_app(models, LIMITS, batcher, metrics, access, lambda line: None)
  config = uvicorn.Config(app, log_level="error", lifespan="off", ws="none")
  server = uvicorn.Server(config)
  listener = socket.create_server(("127.0.0.1", 0))
  thread = threading.Thread(target=server.run, args=([listener],))
  batcher.start()
  thread.start()
  try:
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
  finally:
    server.should_exit = True
    thread.join()
    batcher.close()


@pytest.fixture(scope="module")
def url(translation_run, language_run, tmp_path_factory):
  folder = tmp_path_factory.mktemp("runs")
  runs = {"tiny": translation_run, "language": language_run}
  runs |= {name: write_run(name, folder) for name in ("fill", "questions")}
  with serving(*(Model.open(name, run, LIMITS) for name, run in runs.items())) as url:
    yield url


@pytest.fixture
def opened(browser, url):
  browser.view()
  browser.open(url)
  browser.wait()
  return browser


def until(browser, condition: str) -> None:
  """Waits for an expression of the page's to become true."""
  deadline = time.monotonic() + 60
  while not browser.run(f"return Boolean({condition})"):
    assert time.monotonic() < deadline, (condition, browser.messages())
    time.sleep(0.05)


def write(browser, text: str) -> None:
  """Writes a text and presses the button."""
  browser.find("#text").clear()
  browser.find("#text").send_keys(text)
  browser.find("#go").click()
  until(browser, f"state.rows.length && {IDLE}")
  assert browser.find("#error").text == ""


def use(browser, model: str) -> None:
  """Chooses a model."""
  browser.find(f"#model option[value={model}]").click()


def test_a_text_is_translated_token_by_token(opened, translation_run):
  opened.run(
    "window.drafts = []; new MutationObserver(() => drafts.push("
    "document.querySelector('#output .draft')?.textContent)).observe("
    "document.getElementById('output'), {childList: true, subtree: true})"
  )
  # The tiny model's own outputs are bytes, which are no text before the last of them.
  opened.find("#settings summary").click()
  opened.find("#field-prefix").send_keys("a b")
  write(opened, "a b c")
  texts, prefixes = ["a b c"], ["a b"]
  (expected,) = Translator.open(translation_run, Search(beam=4, n_best=4)).hypotheses(
    texts, prefixes=prefixes
  )
  greedy = Translator.open(translation_run, Search(beam=1)).translate(
    texts, prefixes=prefixes
  )[0]
  drafts = [each for each in opened.run("return drafts") if each]
  assert len(set(drafts)) > 1 and drafts[-1] == greedy
  assert all(greedy.startswith(each) for each in drafts)
  assert opened.run("return outputOf(state.rows[0])") == expected[0].text
  found = "return state.rows[0].result.hypotheses.map((each) => each.text)"
  assert opened.run(found) == [each.text for each in expected]
  shown = opened.find_all("#alternatives button")
  assert len(shown) == len(expected) > 1
  shown[1].click()
  assert opened.find("#output .whole").get_attribute("textContent") == expected[1].text
  assert opened.messages() == []


def test_attention_and_beam_open_in_a_frame_without_an_origin(opened):
  write(opened, "<b>a</b>")
  assert opened.find_all("#output b") == []
  for view, title in (("attend", "What the model attends to"), ("beam", "How the")):
    opened.find(f"#{view}").click()
    until(opened, f"document.querySelector('iframe') && {IDLE}")
    frame = opened.find("iframe")
    assert frame.get_attribute("sandbox") == "allow-scripts"
    opened.driver.switch_to.frame(frame)
    until(opened, "document.documentElement.dataset.ready")
    assert opened.find("h1").text.startswith(title)
    assert "<b>a</b>" in opened.find("#facts").text
    assert opened.run("return self.origin") == "null"
    opened.driver.switch_to.default_content()
    opened.find("#close").click()
  assert opened.messages() == []


def test_each_line_is_a_text_and_the_keyboard_suffices(opened, translation_run):
  opened.find("#text").send_keys("a b\n\nc")
  opened.press(*["TAB"])
  assert opened.run("return document.activeElement.id") == "go"
  opened.press("ENTER")
  until(opened, f"state.rows.length === 3 && {IDLE}")
  expected = Translator.open(translation_run).translate(["a b", "c"])
  outputs = opened.run("return state.rows.filter((r) => !r.blank).map(outputOf)")
  assert outputs == expected
  opened.run("document.querySelectorAll('#output button')[1].focus()")
  opened.press("ENTER")
  until(opened, f"state.selected === 2 && state.rows[2].ranked && {IDLE}")
  assert opened.find("#one").is_displayed()
  opened.run("document.querySelector('#alternatives button').focus()")
  opened.press("ARROW_DOWN", "ENTER")
  assert opened.run("return state.rows[2].chosen") == 1
  assert opened.messages() == []


def test_a_refusal_is_shown(opened):
  opened.find("#text").send_keys("a " * 40)
  opened.find("#go").click()
  until(opened, "document.getElementById('error').textContent")
  assert "at most 24 are served" in opened.find("#error").text


HELD = """
window.sent = []; window.held = [];
window.fetch = (path, { body, signal }) => new Promise((done, fail) => {
  const { text, beam } = JSON.parse(body);
  const results = text.map((each) => ({ hypotheses: [{ text: each + beam }] }));
  sent.push(path + beam);
  held.push(() => done(new Response(JSON.stringify({ results }))));
  signal.addEventListener("abort", () => fail(signal.reason));
});
window.release = () => held.splice(0).forEach((each) => each());
window.choose = (name) => { convert(new File(["a\\n".repeat(40)], name)); };
"""
"""Requests wait for `release`. A file that is chosen needs three, two at a time."""


def test_a_file_is_converted_with_the_settings_it_began_with(opened):
  opened.run(HELD + "choose('one.en')")
  until(opened, "held.length === 2")
  opened.run("document.getElementById('field-beam').value = 9; release()")
  until(opened, "held.length === 1")
  opened.run("release()")
  until(opened, "!document.getElementById('download').hidden")
  assert opened.run("return sent") == ["translate4"] * 3
  assert opened.find("#download").text == "Download one.translate.txt"
  # Another model, and another file, end what is under way.
  opened.run("sent = []; choose('two.en')")
  until(opened, "held.length === 2")
  use(opened, "fill")
  until(opened, "document.getElementById('files-error').textContent === 'Cancelled.'")
  use(opened, "tiny")
  opened.run("held = []; choose('three.en')")
  until(opened, "held.length === 2")
  opened.run("held = []; choose('four.en')")
  until(opened, "release() || !document.getElementById('download').hidden")
  assert opened.find("#download").text == "Download four.translate.txt"
  assert opened.find("#files-error").text == ""
  assert len(opened.run("return sent")) == 2 + 2 + 3


def test_a_file_goes_in_and_a_file_comes_out(opened, translation_run, tmp_path):
  texts = ["a", "b c", "", "too long " * 20, *(f"a {i}" for i in range(40))]
  file = tmp_path / "texts.en"
  file.write_text("\n".join(texts) + "\n")
  # A page may not fetch its own blobs under the policy of this one.
  opened.run(
    "window.blobs = []; const make = URL.createObjectURL; URL.createObjectURL ="
    " (blob) => { blobs.push(blob); return make(blob); }"
  )
  opened.find("#file").send_keys(str(file))
  until(opened, "!document.getElementById('download').hidden")
  link = opened.find("#download")
  assert link.get_attribute("download") == "texts.translate.txt"
  written = opened.driver.execute_async_script(
    "const done = arguments[0]; blobs.at(-1).text().then(done)"
  )
  del texts[3]
  expected = Translator.open(translation_run).translate(texts)
  expected.insert(3, "")
  assert written == "\n".join(expected) + "\n"
  assert "the first of them line 4" in opened.find("#files-error").text


def test_every_model_offers_what_it_can_do(opened):
  use(opened, "language")
  opened.run("document.getElementById('field-max_length').value = 6")
  write(opened, "the cat")
  assert opened.find("#output .prompt").text == "the cat"
  assert opened.run("return state.rows[0].result.texts[0]")
  assert opened.find("#attend").is_displayed()
  assert not opened.find("#beam").is_displayed()
  use(opened, "fill")
  opened.find("#text").clear()
  opened.find("#insert").click()
  opened.find("#go").click()
  until(opened, f"state.selected === 0 && {IDLE}")
  assert len(opened.find_all(".ranked .name")) == 5
  use(opened, "questions")
  write(opened, STORY)
  shares = opened.find_all(".ranked .value")
  values = [float(each.text.rstrip("%")) for each in shares]
  assert len(values) == 5 and values == sorted(values, reverse=True)
  assert opened.messages() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(opened, scheme):
  write(opened, "a b c d e f g")
  opened.view(390, 800, scheme)
  assert opened.run("return document.documentElement.scrollWidth") == 390


def test_a_token_is_asked_for_and_kept_for_the_tab(browser, translation_run):
  access = Access(TOKEN, open_paths=OPEN_PATHS)
  with serving(Model.open("tiny", translation_run, LIMITS), access=access) as url:
    browser.view()
    browser.open(url)
    browser.wait()
    assert not browser.find("#main").is_displayed()
    for token, works in (("a wrong one", False), (TOKEN, True)):
      browser.find("#token").clear()
      browser.find("#token").send_keys(token)
      browser.press("ENTER")
      until(browser, "!state.running")
      until(
        browser, f"document.getElementById('main').hidden === {str(not works).lower()}"
      )
      assert bool(browser.find("#token-error").text) == (not works)
    browser.open(url)
    browser.wait()
    assert browser.find("#main").is_displayed()
    write(browser, "a b")
    browser.run("sessionStorage.clear()")


def test_the_page_has_no_inline_script_and_no_other_site():
  for path, (text, _, headers) in page.contents().items():
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text and "innerHTML" not in text
    if path == "/":
      assert "unsafe" not in headers["Content-Security-Policy"]
      assert "<script>" not in text and "style=" not in text
