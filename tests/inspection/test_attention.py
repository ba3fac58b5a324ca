"""The arrays of attention, for every model and task that has them."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import linen as nn

from tests.models.test_family import small
from tests.tiny import TINY
from transformer import cli
from transformer.batch import BOS, EOS
from transformer.data.sources.digits import Digits
from transformer.data.sources.stories import Stories
from transformer.inspection.attention import attention_of
from transformer.inspection.attention_page import as_json, as_npz
from transformer.inspection.inputs import Opened
from transformer.inspection.rollout import decoder_rollout, self_rollout
from transformer.layers.positions import Learned
from transformer.models.bert import Bert, BertClassifier, BertEncoder
from transformer.models.conv_seq2seq import ConvSeq2Seq
from transformer.models.decoder_only import DecoderOnly
from transformer.models.memory_network import MemoryNetwork
from transformer.models.resnet import ResNet
from transformer.models.rnn_search import RNNSearch
from transformer.models.transformer_xl import TransformerXL
from transformer.models.vit import VisionTransformer
from transformer.runs.prepare import prepare
from transformer.runs.run import Run
from transformer.runs.translator import Translator
from transformer.tasks.image_classification import ImageClassification
from transformer.tasks.language_modelling import LanguageModelling
from transformer.tasks.masked_language_modelling import MaskedLanguageModelling
from transformer.tasks.question_answering import QuestionAnswering
from transformer.tasks.segment_language_modelling import SegmentLanguageModelling
from transformer.tasks.sentence_embedding import SentenceEmbedding
from transformer.tasks.text_classification import TextClassification

TEXT = "Friday, October 8"


@pytest.fixture(scope="module")
def found(translation_run):
  return attention_of(Run.open(translation_run), TEXT)


def test_rows_sum_to_one_and_means_are_means(translation_run, found):
  assert {each.name for each in found.maps} == {
    "encoder/self_attention", "decoder/self_attention", "decoder/source_attention",
  }  # fmt: skip
  for each in found.maps:
    t, s = len(each.queries), len(each.keys)
    assert each.weights_lhts.shape == (2, 2, t, s)
    assert each.weights_lhts.dtype == np.float32
    np.testing.assert_allclose(each.weights_lhts.sum(axis=-1), 1.0, atol=1e-5)
    np.testing.assert_allclose(each.mean_lts, each.weights_lhts.mean(axis=1))
  source = found.map()
  assert source.name == "decoder/source_attention" and source.keys[-1] == "</s>"
  tokenizer = Run.open(translation_run).tokenizer
  assert source.keys == tuple(tokenizer.pieces(tokenizer.encode([TEXT])[0]))
  assert found.map("decoder/self_attention").keys[0] == "<s>"


def test_padding_and_the_way_of_opening_change_nothing(translation_run, found):
  translator = Translator.open(translation_run)
  again = attention_of(translator, TEXT, reference=found.output)
  assert found.output == translator.translate([TEXT])[0] == again.output
  for one, other in zip(found.maps, again.maps, strict=True):
    # Read from its text, the output may be of other pieces.
    if one.queries == other.queries:
      np.testing.assert_allclose(one.weights_lhts, other.weights_lhts, atol=1e-6)
  assert again.map("encoder/self_attention").queries == found.map().keys


def test_a_reference_is_shown_in_place_of_the_output(translation_run):
  run = Run.open(translation_run)
  found = attention_of(run, TEXT, reference="1915-10-08")
  (ids,) = run.tokenizer.encode(["1915-10-08"])
  assert found.map().queries == tuple(run.tokenizer.pieces(ids))
  assert found.output == "1915-10-08"


def test_rollout_follows_its_equations():
  """Abnar and Zuidema 2020, §3, token by token."""
  rng = np.random.default_rng(0)
  encoder, own = rng.random((3, 2, 5, 5)), np.tril(rng.random((3, 2, 4, 4)))
  source = rng.random((3, 2, 4, 5))
  encoder, own, source = (
    weights / weights.sum(axis=-1, keepdims=True) for weights in (encoder, own, source)
  )
  wanted = np.eye(5)
  for weights_ts in encoder.mean(axis=1):
    wanted = np.array(
      [
        [
          sum(0.5 * (weights_ts[t, u] + (t == u)) * wanted[u, s] for u in range(5))
          for s in range(5)
        ]
        for t in range(5)
      ]
    )
  found = self_rollout(encoder)
  np.testing.assert_allclose(found[-1], wanted)
  np.testing.assert_allclose(found.sum(axis=-1), 1.0)
  to_target, to_source = decoder_rollout(own, source, found[-1])
  np.testing.assert_allclose(to_target.sum(-1) + to_source.sum(-1), 1.0)
  assert (np.triu(to_target, 1) == 0).all()
  first = 0.5 * (own[0].mean(axis=0) + np.eye(4))
  np.testing.assert_allclose(to_target[0], first / 2)
  np.testing.assert_allclose(to_source[0], source[0].mean(axis=0) @ found[-1] / 2)


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> str:
  pillow = pytest.importorskip("PIL.Image")
  file = tmp_path_factory.mktemp("image") / "image.png"
  pixels = np.random.default_rng(0).integers(0, 255, (4, 6), np.uint8)
  pillow.fromarray(pixels).save(file)
  return str(file)


TASKS = {
  RNNSearch: (TINY.task, TEXT),
  ConvSeq2Seq: (TINY.task, TEXT),
  Bert: (MaskedLanguageModelling(context=32), "Octo[MASK] 8"),
  BertClassifier: (TextClassification(labels=tuple("abcdefg"), context=32), TEXT),
  BertEncoder: (SentenceEmbedding(context=8), TEXT),
  DecoderOnly: (LanguageModelling(context=32), TEXT),
  TransformerXL: (SegmentLanguageModelling(context=32), TEXT),
  VisionTransformer: (ImageClassification(size=4, channels=3), None),
  MemoryNetwork: (QuestionAnswering(sentences=4, words=8), None),
}
SOURCES = {VisionTransformer: Digits(), MemoryNetwork: Stories(sentences=4)}


@pytest.mark.parametrize("kind", TASKS, ids=lambda kind: kind.__name__)
def test_every_task_shows_its_own_input(kind, image, tmp_path, tiny_tokenizer):
  task, text = TASKS[kind]
  model = small(kind)
  if "position" in {field.name for field in dataclasses.fields(kind)}:
    berts = Bert, BertClassifier, BertEncoder
    changed = Learned(40) if kind in berts else model.position
    model = dataclasses.replace(model, position=changed)
  source = SOURCES.get(kind, TINY.data)
  config = dataclasses.replace(TINY, model=model, task=task, data=source)
  story = Stories(sentences=4).open("train")[0]
  if kind is MemoryNetwork:
    text = " ".join((*story.sentences, story.question))
  run = Run(tmp_path, config, tiny_tokenizer)
  if kind in SOURCES:
    run = prepare(config, tmp_path / "run")
  shapes = nn.unbox(run.boxed_params())
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: rng.normal(size=leaf.shape, scale=0.3).astype(leaf.dtype), shapes
  )
  found = attention_of(Opened(run, params), text or image)
  for each in found.maps:
    t, s = len(each.queries), len(each.keys)
    assert each.weights_lhts.shape[-2:] == (t, s) and min(t, s) >= 1
    np.testing.assert_allclose(each.weights_lhts.sum(axis=-1), 1.0, atol=1e-5)
    assert (each.rollout_lts is not None) == each.name.endswith("self_attention")
  if kind is BertEncoder:
    # The text is longer than the context, and cut as `embed` cuts it.
    ids = tiny_tokenizer.encode([TEXT])[0]
    pieces = tiny_tokenizer.pieces([BOS, *ids[:6], EOS])
    assert len(ids) > 8 and found.maps[0].keys == tuple(pieces)
  if kind is VisionTransformer:
    assert found.image_yxc.shape == (4, 4, 3)
    assert found.maps[0].keys == ("[class]", "1,1", "1,2", "2,1", "2,2")
  if kind is MemoryNetwork:
    assert found.maps[0].queries == (story.question,)
    assert found.maps[0].keys == story.sentences


def test_formats_hold_the_same_numbers(found, tmp_path):
  (tmp_path / "a.npz").write_bytes(as_npz(found))
  arrays = np.load(tmp_path / "a.npz", allow_pickle=False)
  record = json.loads(as_json(found))["attention"]
  for each in found.maps:
    for field, array in each.arrays.items():
      np.testing.assert_array_equal(arrays[f"{each.name}/{field}"], array)
      np.testing.assert_array_equal(np.float32(record[each.name][field]), array)
    assert tuple(arrays[f"{each.name}/keys"]) == each.keys
    assert record[each.name]["queries"] == list(each.queries)


@pytest.mark.parametrize("kind", ["html", "png", "npz", "json"])
def test_the_command_writes_every_format(kind, translation_run, tmp_path, capsys):
  file = tmp_path / f"x.{kind}"
  words = ["attend", translation_run, TEXT, "--output", file, "--extra", "2"]
  assert cli.main([str(word) for word in words]) == 0, capsys.readouterr().err
  assert capsys.readouterr().out == f"{file}\n"
  begin = {"html": b"<!doc", "png": b"\x89PNG", "npz": b"PK", "json": b"{"}[kind]
  assert file.read_bytes().startswith(begin)


@pytest.mark.parametrize(
  "words, message",
  [
    ([TEXT, "--output", "x.gif"], "--output: expected a name that ends in .html"),
    ([TEXT, "--output", "no/x.html"], "no/x.html: cannot be written"),
    (["", "--output", "x.html"], "the text is empty"),
    (["a " * 300, "--output", "x.html"], "expected at most 256 tokens, got"),
    ([TEXT, "--output", "x.png", "--layer", "3"], "--layer: expected 1 to 2, got 3"),
    ([TEXT, "--output", "x.png", "--attention", "self"], "there are: decoder/self"),
  ],
)
def test_mistakes_get_one_line(words, message, translation_run, tmp_path, capsys):
  words = [str(tmp_path / word) if word.startswith(("x.", "no/")) else word
           for word in words]  # fmt: skip
  assert cli.main(["attend", str(translation_run), *words, "--extra", "2"]) == 1
  captured = capsys.readouterr()
  assert captured.out == "" and message in captured.err
  assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
  assert list(Path(tmp_path).iterdir()) == []


def test_what_has_no_attention_says_so(tmp_path):
  config = dataclasses.replace(TINY, model=small(ResNet))
  run = Run(tmp_path, config, None)
  run.module = lambda: small(ResNet).module(7)
  with pytest.raises(ValueError, match="ResNet has no attention to show"):
    attention_of(Opened(run, {}), "x")


def test_a_reference_is_for_translations_alone(language_run):
  with pytest.raises(
    ValueError, match=r"--reference: the task of .* LanguageModelling"
  ):
    attention_of(Run.open(language_run), "the cat", reference="x")
