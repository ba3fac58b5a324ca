"""Questions about stories: the stories themselves, and a run that answers."""

import dataclasses

import numpy as np
import pytest

from tests.inference.test_devices import assert_scores_of_one_device
from tests.tiny_run import Now, digest, losses
from transformer import cli
from transformer.data.batching import Rows
from transformer.data.sources.base import split_of
from transformer.data.sources.dates import Dates
from transformer.data.sources.stories import PLACES, Stories, story_text
from transformer.experiment import Config
from transformer.models.memory_network import MemoryNetwork
from transformer.runs import trainer
from transformer.runs.metrics import Metrics
from transformer.runs.run import Run
from transformer.tasks.question_answering import QuestionAnswering, Story, read_story

TINY = Config(
  data=Stories(facts=2, sentences=6, examples=120, held_out=10),
  model=MemoryNetwork(hops=2, d_model=8, memory_size=5),
  task=QuestionAnswering(sentences=5, words=6),
  batching=Rows(16),
  steps=4,
  log_every=1,
  eval_every=4,
  save_every=4,
  metric="accuracy",
)


def follow(story: Story) -> str:
  """The answer by keeping book, in other words than the generator's."""
  at, has = {}, {}
  for sentence in story.sentences:
    words = sentence.rstrip(".").split()
    who, what = words[0], words[-1]
    if words[-2:-1] == ["the"] and what in PLACES:
      at[who] = what
      for thing, holder in has.items():
        if holder == who:
          at[thing] = what
    elif "down" in words:
      has.pop(what)
    else:
      has[what] = who
      assert at.get(what, at[who]) == at[who]
      at[what] = at[who]
  return at[story.question.rstrip("?").split()[-1]]


@pytest.mark.parametrize("facts", [1, 2])
def test_every_answer_follows_from_its_story(facts):
  stories = Stories(facts=facts, sentences=9, held_out=300).open("test")
  assert len(stories) == 300
  for story in stories:
    assert len(story.sentences) == 9
    assert follow(story) == story.answer
  assert len({story.answer for story in stories}) == len(PLACES)
  if facts == 2:
    assert any("down" in sentence for s in stories for sentence in s.sentences)


def test_stories_follow_from_the_seed_and_no_split_has_one_of_another():
  data = Stories(sentences=2, examples=300, held_out=60)
  again = Stories(sentences=2, examples=300, held_out=60)
  stories_by_split = {split: data.open(split)[:] for split in ("train", "val", "test")}
  assert stories_by_split["train"] == again.open("train")[:]
  assert stories_by_split["train"] != dataclasses.replace(data, seed=1).open("train")[:]
  for split, stories in stories_by_split.items():
    assert {split_of(story_text(story)) for story in stories} == {split}
    for other in set(stories_by_split) - {split}:
      assert not set(stories) & set(stories_by_split[other])
  assert len({data.fingerprint(split) for split in stories_by_split}) == 3


def test_impossible_stories_are_refused():
  with pytest.raises(ValueError, match=r"Stories\.facts: expected 1 or 2, got 3"):
    Stories(facts=3)
  with pytest.raises(ValueError, match="expected 4 or more for 2 facts, got 3"):
    Stories(facts=2, sentences=3)


def test_a_batch_is_the_end_of_a_story():
  task = TINY.task
  names = task.vocabulary(task.make_vocabulary(TINY.data, None), None)
  examples = task.examples(TINY.data, "train", names)
  batch, story = examples.batch(np.array([7, -1])), TINY.data.open("train")[7]
  words = [names.words[i] for i in batch.id_bst[0, 0] if i >= 0]
  assert " ".join(words) == story.sentences[1].lower().rstrip(".")
  assert batch.age_bs[0].tolist() == [4, 3, 2, 1, 0]
  assert (
    names.words[batch.label_b[0]] == story.answer == names.words[examples.label_n[7]]
  )
  assert batch.real_b.tolist() == [1, 0] and np.all(batch.id_bst[1] == -1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  path = tmp_path_factory.mktemp("runs") / "whole"
  assert trainer.train(TINY, path) == 0
  return path


def test_a_stopped_run_goes_on_as_the_same_run(trained, tmp_path, monkeypatch):
  with monkeypatch.context() as patch:
    patch.setattr(trainer, "Interrupt", Now)
    assert trainer.train(TINY, tmp_path / "run") == trainer.INTERRUPTED
  assert Run.open(tmp_path / "run").steps() == [1]
  assert trainer.train(TINY, tmp_path / "run") == 0
  assert losses(tmp_path / "run") == losses(trained)
  assert digest(tmp_path / "run") == digest(trained)
  scores = {name: value for _, name, value in Metrics.read(trained)}
  assert scores["val/examples"] == 10


def test_classify_answers_stories_in_the_users_words(trained, capsys, monkeypatch):
  story = "Anna goes to the garden. Anna takes the ball. Where is the ball?"
  other = "Ben walks to the office. Where is BEN?"
  assert cli.main(["classify", str(trained), story, other]) == 0
  lines = capsys.readouterr().out.splitlines()
  assert [line.split("\t")[0] for line in lines] == [story, other]
  known = Run.open(trained).vocabulary.words
  assert {line.split("\t")[1] for line in lines} <= set(known)
  assert cli.main(["classify", str(trained), other]) == 0
  assert capsys.readouterr().out == lines[1] + "\n"


@pytest.mark.parametrize(
  "text, message",
  [
    ("Anna goes to the garden.", "and then a question"),
    ("Where is Anna?", "and then a question"),
    ("Anna goes to the moon. Where is Anna?", "'moon' is in none of the training"),
    (
      "Anna goes and goes to the garden now. Where is Anna?",
      "at most 6 words (task.words), got 8",
    ),
  ],
)
def test_a_story_that_cannot_be_read_is_told_in_one_line(
  trained, text, message, capsys
):
  assert cli.main(["classify", str(trained), text]) == 1
  error = capsys.readouterr().err
  assert message in error and error.count("\n") == 1


def test_a_story_is_read_as_it_is_written():
  found = read_story(" Anna is here.  Ben\nis there. Where is Ben? ")
  assert found == (("Anna is here.", "Ben\nis there."), "Where is Ben?", "")


def test_other_data_is_refused(tmp_path):
  changed = dataclasses.replace(TINY, data=Dates())
  with pytest.raises(ValueError, match="expected stories with questions, got Dates"):
    trainer.train(changed, tmp_path / "run")
  assert not (tmp_path / "run" / "config.json").exists()


def test_eight_devices_score_answers_as_one_does(trained, eight_devices):
  assert_scores_of_one_device(eight_devices, trained, __name__)
