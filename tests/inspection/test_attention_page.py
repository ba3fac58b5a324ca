"""The page of attention in a browser: what it shows are the model's own numbers."""

import numpy as np
import pytest

from transformer.inspection.attention import Attention, AttentionMap, attention_of
from transformer.inspection.attention_page import page
from transformer.inspection.packing import FixedPoint, pack
from transformer.inspection.page import embed
from transformer.runs.run import Run

TEXT = "Friday, </script><b>8</b>"


@pytest.fixture(scope="module")
def found(translation_run):
  return attention_of(Run.open(translation_run), TEXT)


@pytest.fixture
def opened(found, browser, tmp_path):
  file = tmp_path / "page.html"
  file.write_text(page(found), encoding="utf-8")
  browser.view()
  browser.open(file)
  browser.wait()
  return browser


def shown_weights(browser) -> np.ndarray:
  """The numbers of the table, which is opened."""
  browser.run("document.getElementById('numbers').open = true")
  browser.run("drawNumbers()")
  rows = browser.run(
    "return [...document.querySelectorAll('#numbers tbody tr')].map((row) =>"
    " [...row.querySelectorAll('td')].map((cell) => Number(cell.dataset.value)))"
  )
  return np.array(rows)


def test_every_number_is_the_models_own(opened, found):
  for each in found.maps:
    opened.find(f"#maps button[data-name='{each.name}']").click()
    for button in opened.find_all("#heads button"):
      button.click()
      layer, view = (button.get_attribute(f"data-{x}") for x in ("layer", "view"))
      wanted_ts = (
        each.weights_lhts[int(layer), int(view)]
        if view.isdigit()
        else getattr(each, f"{view}_lts")[int(layer)]
      )
      weights_ts = shown_weights(opened)
      np.testing.assert_allclose(weights_ts, wanted_ts, atol=1e-6, rtol=0)
      if view != "rollout":
        np.testing.assert_allclose(weights_ts.sum(axis=1), 1.0, atol=1e-5)
  assert opened.messages() == [] and opened.requests() == []


def test_the_inside_of_a_head_leads_from_products_to_weights(opened, found):
  each = found.map()
  opened.find("#heads button[data-layer='1'][data-view='1']").click()
  opened.find("#queries button[data-t='0']").click()
  score_s, weight_s = (
    np.array(opened.run(
      "return [...document.querySelectorAll(`#channels td[data-${arguments[0]}]`)]"
      ".map((cell) => Number(cell.dataset[arguments[0]]))", name,
    ))
    for name in ("score", "weight")
  )  # fmt: skip
  wanted_s = each.scale * each.k_lshk[1, :, 1] @ each.q_lthk[1, 0, 1]
  np.testing.assert_allclose(score_s, wanted_s, atol=1e-5)
  np.testing.assert_allclose(weight_s, each.weights_lhts[1, 1, 0], atol=1e-6)
  softmax_s = np.exp(score_s - score_s.max())
  np.testing.assert_allclose(weight_s, softmax_s / softmax_s.sum(), atol=1e-5)


def test_pointer_and_keyboard_follow_a_token(opened, found):
  def followed():
    return opened.find("#queries .followed").get_attribute("data-t")

  assert followed() == "0" and len(found.map().queries) > 1
  opened.hover(opened.find("#queries button[data-t='1']"))
  assert followed() == "1"
  opened.hover(opened.find("h1"))
  assert followed() == "0"
  opened.find("#queries button[data-t='0']").click()
  opened.hover(opened.find("h1"))
  opened.press("ARROW_DOWN")
  assert followed() == "1"
  assert "attends to" in opened.find("#status").get_attribute("textContent")
  chosen = "#heads button[aria-checked=true]"
  opened.find(chosen).click()
  before = opened.find(chosen).get_attribute("aria-label")
  opened.press("ARROW_UP")
  after = opened.find(chosen).get_attribute("aria-label")
  assert "layer 2" in before and after == before.replace("layer 2", "layer 1")
  assert opened.find("#one-title").text == after
  assert opened.messages() == []


def test_text_stays_text_in_both_schemes_and_on_a_phone(opened):
  assert TEXT in opened.find("#facts").text
  assert opened.find_all("#facts b") == []
  papers = []
  for scheme in ("light", "dark"):
    opened.view(390, 800, scheme)
    papers.append(opened.run("return getComputedStyle(document.body).backgroundColor"))
    assert opened.run("return document.documentElement.scrollWidth") == 390
  assert papers[0] != papers[1]
  assert opened.messages() == []


def test_attention_is_laid_over_an_image(browser, tmp_path):
  rng = np.random.default_rng(0)
  weights_lhts = rng.dirichlet(np.ones(5), (1, 2, 5)).astype(np.float32)
  tokens = ("[class]", "1,1", "1,2", "2,1", "2,2")
  each = AttentionMap(
    "encoder/self_attention", tokens, tokens, weights_lhts, weights_lhts.mean(axis=1)
  )
  image_yxc = rng.integers(0, 255, (4, 4, 3), np.uint8)
  found = Attention("run", "VisionTransformer", "x.png", "7", (each,), image_yxc)
  file = tmp_path / "page.html"
  file.write_text(page(found), encoding="utf-8")
  browser.view()
  browser.open(file)
  browser.wait()
  for selector in ("#picture", "#overlay"):
    size = browser.find(selector).size
    assert size["width"] == pytest.approx(size["height"], abs=1) and size["width"] > 100
  browser.find("#heads button[data-view='1']").click()
  browser.hover(browser.find("#queries button[data-t='3']"))
  titles = [each.get_attribute("title") for each in browser.find_all("#overlay span")]
  wanted = [
    f"patch {token}: {weight:.3f}"
    for token, weight in zip(tokens[1:], weights_lhts[0, 1, 3, 1:], strict=True)
  ]
  assert titles == wanted
  assert browser.find("#class-weight").text == (
    f"class token: {weights_lhts[0, 1, 3, 0]:.3f}"
  )
  assert not browser.find("#inside").is_displayed()  # it needs queries and keys
  assert browser.messages() == [] and browser.requests() == []


def test_a_large_model_is_under_two_megabytes():
  rng = np.random.default_rng(0)
  maps = []
  names = "encoder/self", "decoder/self", "decoder/source", "self"
  for name, layers in zip(names, (6, 6, 6, 12), strict=True):
    score_lhts = 2.0 * rng.normal(size=(layers, 8, 30, 30))
    weights_lhts = np.exp(score_lhts) / np.exp(score_lhts).sum(axis=-1, keepdims=True)
    weights_lhts = weights_lhts.astype(np.float32)
    q, k = rng.normal(size=(2, layers, 30, 8, 64)).astype(np.float32)
    tokens = tuple(f"▁token{i}" for i in range(30))
    mean_lts = weights_lhts.mean(axis=1)
    maps.append(
      AttentionMap(
        f"{name}_attention", tokens, tokens, weights_lhts, mean_lts, mean_lts, q, k
      )
    )
  twelve = Attention("run", "DecoderOnly", "text", "", tuple(maps[3:]))
  both = Attention("run", "Transformer", "text", "text", tuple(maps[:3]))
  for found in (twelve, both):
    assert len(page(found).encode()) < 2_000_000


def test_rounding_is_within_its_bound():
  weights = {"a": np.random.default_rng(0).random((7, 11), np.float32)}
  part, how = FixedPoint(21).encode(weights["a"])
  planes = np.frombuffer(part, np.uint8).reshape(how["size"], -1).astype(np.int32)
  numbers = sum(plane << (8 * i) for i, plane in enumerate(planes)) * how["step"]
  np.testing.assert_allclose(numbers, weights["a"].ravel(), atol=5e-7, rtol=0)
  assert pack(weights, {})["index"]["a"]["kind"] == "float32"  # small arrays are exact


def test_no_text_ends_the_data():
  assert "<" not in embed({"text": TEXT})
