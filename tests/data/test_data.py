"""From text to batches: aligned, complete, and a pure function of the step."""

import datetime
import errno
import gzip
import itertools
import os
import stat

import numpy as np
import pytest

from transformer import config as configs
from transformer.batch import BOS, EOS, PAD
from transformer.data.batching import Grouped, Packed, Rows
from transformer.data.corpus import Corpus
from transformer.data.packing import pack
from transformer.data.pipeline import batches
from transformer.data.sources import parallel_text
from transformer.data.sources.base import split_of
from transformer.data.sources.dates import FORMS, LOCALES, Dates, write
from transformer.data.sources.multi30k import Multi30k
from transformer.data.sources.parallel_text import ParallelText
from transformer.data.tokenizers.sentence_piece import (
  SentencePiece,
  SentencePieceTokenizer,
)


def test_no_written_date_stands_for_two_days():
  assert len(LOCALES) >= 25
  seen = {}
  first = datetime.date(2023, 11, 20)
  for offset in range(430):
    day = first + datetime.timedelta(offset)
    for locale, form in itertools.product(LOCALES, FORMS):
      text = write(day, locale, form)
      assert seen.setdefault(text, day) == day, text


def test_splits_share_no_date_and_examples_follow_from_their_number():
  data = Dates(examples=3000, held_out=600)
  days = {s: {p.target for p in data.open(s)} for s in ("train", "val", "test")}
  assert not days["train"] & (days["val"] | days["test"])
  assert not days["val"] & days["test"]
  train = data.open("train")
  assert train[17] == Dates(examples=20, held_out=600).open("train")[17]
  assert train[17] != Dates(examples=3000, seed=1).open("train")[17]
  assert datetime.date.fromisoformat(train[17].target)
  for shown in ("1915-10-08", "2030-09-06"):
    assert split_of(shown) != "train"
  written = {write(datetime.date(1915, 10, 8), "en_US", form) for form in FORMS}
  assert "Friday, October 8, 1915" in written


@pytest.mark.parametrize(
  "changes", [dict(first="1999-13-01"), dict(first="2001-01-01", last="2000-01-01")]
)
def test_impossible_spans_are_refused(changes):
  with pytest.raises(ValueError, match="Dates"):
    Dates(**changes)


def put(path, data):
  path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
  return str(path)


def test_parallel_text_reads_plain_and_packed_lines_and_holds_some_out(tmp_path):
  # Only a line feed ends a line.
  lines = [f"line {i}\u2028\x0b {i}" for i in range(100)]
  source = put(tmp_path / "a.gz", "\n".join(lines).encode())
  target = put(tmp_path / "b", "".join(f"Zeile {i}\r\n" for i in range(100)).encode())
  data = ParallelText(source, target)
  train, val, test = (data.open(split) for split in ("train", "val", "test"))
  assert (len(train), len(val), len(test)) == (90, 5, 5)
  assert train[89] == (lines[89], "Zeile 89") and val[0] == (lines[90], "Zeile 90")
  assert test[4] == (lines[99], "Zeile 99")
  with pytest.raises(IndexError):
    train[90]
  assert data.notes() == [
    f"{source}: train is lines 1 to 90, val is lines 91 to 95, test is lines 96 to 100"
  ]
  assert data.locate("test", 2) == "in line 98"
  own = ParallelText(source, target, val_source=source, val_target=target)
  sizes = [len(own.open(split)) for split in ("train", "val", "test")]
  assert sizes == [95, 100, 5]
  assert own.notes() == [
    f"{source}: train is lines 1 to 95, val is {source}, test is lines 96 to 100"
  ]
  fingerprints = {
    d.fingerprint(s) for d in (data, own) for s in ("train", "val", "test")
  }
  assert len(fingerprints) == 5  # both have the same test
  before = data.fingerprint("train")
  put(tmp_path / "b", b"x\n" * 100)
  assert data.fingerprint("train") != before


@pytest.mark.parametrize(
  "count, sizes", [(1, (1, 1, 1)), (2, (2, 2, 2)), (3, (1, 1, 1)), (10, (8, 1, 1))]
)
def test_few_pairs_hold_out_at_least_one_or_are_held_out_themselves(
  tmp_path, count, sizes
):
  files = [put(tmp_path / name, b"x y\n" * count) for name in ("a", "b")]
  data = ParallelText(*files)
  assert tuple(len(data.open(split)) for split in ("train", "val", "test")) == sizes
  assert ("the training text itself" in data.notes()[0]) == (count < 3)


@pytest.mark.parametrize(
  "a, b, message",
  [
    (b"1\n2\n3\n", b"1\n2\n", "a: 3 lines, .*b: 2; the two sides"),
    (b"1\n\n3\n", b"1\n2\n", "near line 2 one side is empty"),
    (b"1\n2\xff\n", b"1\n2\n", r"a: line 2: invalid UTF-8 \(byte 3 .* 0xff"),
  ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, a, b, message):
  data = ParallelText(put(tmp_path / "a", a), put(tmp_path / "b", b))
  with pytest.raises(ValueError, match=message) as error:
    data.open("train")
  assert "\n" not in str(error.value)


def test_broken_and_missing_files_are_named(tmp_path):
  whole = put(tmp_path / "a.gz", b"1\n2\n")
  (tmp_path / "b.gz").write_bytes((tmp_path / "a.gz").read_bytes()[:-9])
  with pytest.raises(ValueError, match=r"b\.gz: not a whole gzip file"):
    ParallelText(whole, str(tmp_path / "b.gz")).open("train")
  with pytest.raises(FileNotFoundError, match="c: no such file"):
    ParallelText(whole, str(tmp_path / "c")).open("train")
  with pytest.raises(FileNotFoundError, match=r"train\.en\.gz: no such file"):
    Multi30k("en-de", str(tmp_path)).open("train")
  with pytest.raises(ValueError, match="expected one of train, val, test"):
    Multi30k("en-de", str(tmp_path)).open("dev")
  with pytest.raises(ValueError, match="two of en, de, fr"):
    Multi30k("en-en")
  with pytest.raises(ValueError, match="two of en, de, fr"):
    Multi30k("en-de-en")


def test_multi30k_is_whole(multi30k):
  data = Multi30k("en-de", str(multi30k))
  sizes = [len(data.open(split)) for split in ("train", "val", "test")]
  assert sizes == [29_000, 1_014, 1_000]
  pair = data.open("train")[0]
  assert pair.source == "Two young, White males are outside near many bushes."
  assert Multi30k("de-en", str(multi30k)).open("train")[0] == pair[::-1]


@pytest.fixture(scope="module")
def tokenizer():
  data = Dates(examples=400).open("train")
  texts = [text for pair in data for text in pair]
  return SentencePieceTokenizer(
    SentencePiece(vocabulary=700, split_digits=True).train(texts)
  )


def test_text_comes_back_as_it_went_in(tokenizer):
  texts = [pair.source for pair in Dates(held_out=50).open("test")]
  texts += ["", "unseen: ﷽ 🦊 ½…", "</s><s> <pad> are plain text"]
  encoded = tokenizer.encode(texts)
  assert tokenizer.decode(encoded) == texts
  for ids in encoded:
    assert ids.dtype == np.int32 and ids[-1] == EOS
    assert not set(ids[:-1].tolist()) & {PAD, EOS, BOS}
  assert tokenizer.decode([[*encoded[0], *encoded[1]], [PAD, EOS, 9]]) == [texts[0], ""]
  pieces = tokenizer.pieces(tokenizer.encode(["2030-09-06 1999"])[0])
  words = [piece.strip("▁") for piece in pieces]
  assert all(len(word) == 1 for word in words if word.isdigit())


def test_training_a_tokenizer_is_deterministic_and_its_size_is_checked(tokenizer):
  data = Dates(examples=400).open("train")
  texts = [text for pair in data for text in pair]
  again = SentencePiece(vocabulary=700, split_digits=True).train(texts)
  assert (
    SentencePieceTokenizer(again).sha256 == tokenizer.sha256 and tokenizer.size == 700
  )
  with pytest.raises(ValueError, match=r"vocabulary: 50,000 is more .* at most"):
    SentencePiece(vocabulary=50_000).train(texts)
  with pytest.raises(ValueError, match=r"vocabulary: 270 "):
    SentencePiece(vocabulary=270).train(texts)
  with pytest.raises(ValueError, match="damaged"):
    SentencePieceTokenizer(tokenizer.model[:100])


@pytest.fixture(scope="module")
def corpus(tokenizer, tmp_path_factory):
  cache = tmp_path_factory.mktemp("cache")
  return Corpus.build(Dates(examples=400), "train", tokenizer, cache, progress=False)


def test_a_corpus_is_the_text_and_is_made_once(tokenizer, tmp_path):
  data = Dates(examples=60)
  built = Corpus.build(data, "train", tokenizer, tmp_path, progress=False)
  pairs = data.open("train")
  assert len(built) == 60
  for i in (0, 31, 59):
    assert tokenizer.decode(built[i]) == list(pairs[i])
    assert built.lengths_n2[i].tolist() == [len(side) for side in built[i]]
  (made,) = tmp_path.iterdir()
  before = (made / "tokens.npy").stat().st_mtime_ns
  Corpus.build(data, "train", tokenizer, tmp_path, progress=False)
  assert (made / "tokens.npy").stat().st_mtime_ns == before
  Corpus.build(Dates(examples=61), "train", tokenizer, tmp_path, progress=False)
  assert len(list(tmp_path.iterdir())) == 2


def test_a_corpus_is_for_all_users_whom_the_umask_lets_read(tokenizer, tmp_path):
  before = os.umask(0o027)
  try:
    Corpus.build(Dates(examples=9), "train", tokenizer, tmp_path, progress=False)
  finally:
    os.umask(before)
  (made,) = tmp_path.iterdir()
  assert stat.S_IMODE(made.stat().st_mode) == 0o750


def test_a_corpus_that_cannot_be_read_is_made_elsewhere(
  tokenizer, tmp_path, monkeypatch
):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
  data, shared, load = Dates(examples=9), tmp_path / "shared", np.load
  wanted = Corpus.build(data, "train", tokenizer, shared, progress=False)

  def refuse(path, **options):
    if path.is_relative_to(shared):
      raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return load(path, **options)

  monkeypatch.setattr(np, "load", refuse)
  built = Corpus.build(data, "train", tokenizer, shared, progress=False)
  assert len(built) == len(wanted) and built[3][0].tolist() == wanted[3][0].tolist()
  assert len([*(tmp_path / "user").glob("transformer/tokens/*/tokens.npy")]) == 1


BATCHINGS = [
  Grouped(tokens=256, lengths=(10, 16, 24, 64)),
  Packed(tokens=256, length=64),
]


@pytest.mark.parametrize("batching", BATCHINGS, ids=lambda b: type(b).__name__)
def test_every_epoch_has_every_example_once_in_an_order_of_its_own(corpus, batching):
  plan = batching.plan(corpus.lengths_n2, seed=3)
  assert len(plan.left_out) == 0
  orders = []
  for epoch in range(3):
    steps = range(epoch * plan.batches, (epoch + 1) * plan.batches)
    rows = [plan.batch(step)[1] for step in steps]
    order = np.concatenate([row[row >= 0] for row in rows])
    assert sorted(order) == list(range(400))
    orders.append(order.tolist())
  assert orders[0] != orders[1] != orders[2]
  again = batching.plan(corpus.lengths_n2, seed=3)
  late = 2 * plan.batches + 1
  assert again.batch(late)[1].tolist() == plan.batch(late)[1].tolist()
  other = batching.plan(corpus.lengths_n2, seed=4)
  assert any(
    other.batch(s)[1].tolist() != plan.batch(s)[1].tolist() for s in range(plan.batches)
  )


@pytest.mark.parametrize("batching", BATCHINGS, ids=lambda b: type(b).__name__)
def test_batches_hold_the_tokens_of_their_examples(corpus, batching):
  plan = batching.plan(corpus.lengths_n2, seed=3)
  shape, rows = plan.batch(5)
  assert shape in plan.shapes
  found = corpus.batch(shape, rows)
  for side, tokens in enumerate(found):
    assert tokens.id_bt.shape == (shape.rows, shape[1 + side])
    assert all(array.dtype == np.int32 for array in tokens)
    for row in range(shape.rows):
      members = rows[row][rows[row] >= 0]
      for segment, example in enumerate(members, start=1):
        own = tokens.seg_bt[row] == segment
        assert tokens.id_bt[row][own].tolist() == corpus[example][side].tolist()
        assert tokens.pos_bt[row][own].tolist() == list(range(own.sum()))
      empty = tokens.seg_bt[row] == 0
      assert not tokens.id_bt[row][empty].any()
      assert not tokens.pos_bt[row][empty].any()


def test_starting_later_gives_the_tail(corpus):
  plan = BATCHINGS[0].plan(corpus.lengths_n2, seed=3)
  stop = plan.batches + 4
  whole = list(batches(corpus, plan, 0, stop))
  tail = list(batches(corpus, plan, plan.batches - 3, stop))
  assert [step for step, _ in whole] == list(range(stop)) and len(tail) == 7
  for (a, x), (b, y) in zip(whole[-7:], tail, strict=True):
    assert a == b
    for left, right in zip((*x.source, *x.target), (*y.source, *y.target), strict=True):
      np.testing.assert_array_equal(left, right)
  assert list(batches(corpus, plan, 5, 5)) == []


def test_what_does_not_fit_is_left_out_and_counted():
  lengths = np.array([[3, 4], [1, 5], [5, 1], [20, 3], [4, 4], [16, 16]], np.int32)
  left_out = Grouped(tokens=16, lengths=(8, 16)).plan(lengths, 0).left_out
  assert (left_out.short_n.tolist(), left_out.long_n.tolist()) == ([1, 2], [3])
  left_out = Packed(tokens=16, length=8).plan(lengths, 0).left_out
  assert (left_out.short_n.tolist(), left_out.long_n.tolist()) == ([1, 2], [3, 5])
  assert left_out.notes("pairs", "one side is empty", lambda i: f"in line {i}") == [
    "2 pairs left out: one side is empty, the first in line 1",
    "2 pairs left out: longer than 8 tokens (batching.length), the first in line 3",
  ]
  message = r"none of the 3 .*: 2 are empty, 1 are longer than 16 tokens \(batching.l"
  with pytest.raises(ValueError, match=message):
    Grouped(tokens=16, lengths=(8, 16)).plan(lengths[1:4], 0)


@pytest.mark.parametrize(
  "batching, rows",
  [
    (Grouped(2048, (12, 16, 24, 48)), [168, 128, 80, 40]),
    (Grouped(2048, (12, 16, 24, 48), row_multiple=1), [170, 128, 85, 42]),
    (Grouped(600, (12, 100)), [48, 6]),
    (Packed(4200, 64), [64]),
    (Packed(192, 64), [3]),
    (Rows(30), [30]),
  ],
)
def test_rows_are_a_multiple_where_as_many_fit(batching, rows):
  assert [shape.rows for shape in batching.shapes] == rows


@pytest.mark.parametrize("count", [1, 2, 10])
@pytest.mark.parametrize(
  "batching", [Grouped(1024, (8, 16)), Packed(1024, 32), Rows(64)], ids=configs.written
)
def test_a_corpus_smaller_than_a_batch_is_filled_up_with_padding(batching, count):
  plan = batching.plan(np.full((count, 2), 5), 0)
  assert [plan.examples(step).tolist() for step in (0, 1)] == [[*range(count)]] * 2
  with pytest.raises(ValueError, match=r"--config.data: none of the 0 training ex"):
    batching.plan(np.zeros((0, 2), np.int32), 0)


@pytest.mark.parametrize(
  "make",
  [
    lambda: Grouped(tokens=16, lengths=(8, 32)),
    lambda: Grouped(lengths=(8, 8)),
    lambda: Grouped(lengths=()),
    lambda: Grouped(lengths=(0, 8)),
    lambda: Grouped(lengths=(-4, 8)),
    lambda: Packed(tokens=16, length=32),
  ],
)
def test_batchings_that_cannot_be_are_refused(make):
  with pytest.raises(ValueError, match=r"Grouped|batching\.tokens: 16"):
    make()


def test_packing_fills_rows_and_overfills_none():
  rng = np.random.default_rng(0)
  lengths = rng.integers(4, 25, (3000, 2))
  rows = pack(lengths, 64)
  sizes = np.where(rows[:, :, None] >= 0, lengths[rows], 0).sum(axis=1)
  assert sizes.max() <= 64
  assert sorted(rows[rows >= 0]) == list(range(3000))
  plan = Packed(tokens=640, length=64).plan(lengths.astype(np.int32), 0)
  assert plan.fill(lengths) > 0.85


def test_facts_of_parallel_text_are_read_once_until_a_file_changes(
  tmp_path, monkeypatch
):
  reads = []
  read_pairs = parallel_text.read_pairs
  monkeypatch.setattr(
    parallel_text, "read_pairs", lambda *paths: reads.append(1) or read_pairs(*paths)
  )
  source, target = tmp_path / "a.en", tmp_path / "a.de"
  for path in (source, target):
    path.write_text("".join(f"line {i}\n" for i in range(50)))
  data = ParallelText(str(source), str(target))
  before = [data.fingerprint(split) for split in ("train", "val", "test")]
  assert len(set(before)) == 3
  assert "lines 1 to 46" in data.notes()[0] and data.locate("train", 4) == "in line 5"
  assert len(reads) == 1
  target.write_text("".join(f"line {i + 1}\n" for i in range(50)))
  after = [data.fingerprint(split) for split in ("train", "val", "test")]
  assert len(reads) == 2 and not {*after} & {*before}
