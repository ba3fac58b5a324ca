"""Lines of odd characters, the same on every machine: what tokenizers disagree on."""

import random

WORDS = (
  *("the", "a", "of", "an", "expression", "statement", "value", "class"),
  *("function", "is", "returned", "by", "and", "not", "Übung", "naïve"),
  *("Straße", "déjà", "façade", "İstanbul", "ǆ", "ﬁne", "ﬂow", "Ａｌｐｈａ"),
  *("１２３", "½", "²", "ℌ", "Привет", "мир", "ещё", "ёлка", "Καλημέρα"),
  *("ΌΣΟΣ", "日本語", "東京", "한국어", "각", "हिन्दी", "ไทย", "你好，世界。", "שלום"),
  *("עולם", "مرحبا", "بالعالم", "١٢٣", "لا", "e\u0301", "o\u0308\u0323"),
  *("a\u030a", "\u0301", "Z\u0351\u0343\u0321algo", "👍"),
  *("\U0001f469\u200d\U0001f469\u200d\U0001f467",),
  *("\U0001f3f3\ufe0f\u200d\U0001f308", "🇩🇪", "👋🏽", "\ufe0f", "\u200d"),
  *("3.14", "1,000", "don't", "I'm", "we've", "it's", '"quoted"', "(x)"),
  *("a-b", "...", "<s>", "</s>", "<pad>", "<unk>", "<mask>", "[MASK]"),
  *("[CLS]", "[SEP]", "[UNK]", "<extra_id_0>", "<extra_id_99>"),
  *("<|endoftext|>", "__de__", "deu_Latn", "de_DE", ">>de<<", ">>deu<<"),
  *("<<", ">>", "##ing", "Ġthe", "▁", "▁the", "the▁", "▁▁"),
  *("http://example.org/?q=a+b", "x = y**2", "\\n", "&amp;", "x" * 120),
  *("é" * 40, "\x00", "\x07", "\x1b[0m", "\x7f", "\x85", "\xad", "\ufeff"),
  *("�", "\u202eabc\u202c", "\u200e", "\u200f", "\u2028", "\u2066x\u2069"),
  *("\U000e0041", "\ue000", "\uffff", "\U0010ffff", "𝒜𝓑", "𐍈", "\u0378"),
  *("ﷺ", "ſt", "ß", "K"),
)

SPACES = (
  *(" ",) * 12,
  *(
    "",
    "",
    "  ",
    "    ",
    "\t",
    "\u00a0",
    "\u3000",
    "\u2009",
    "\u200b",
    "\r",
    "\n",
    "\u000b",
  ),
)


def odd_lines(count: int = 1000, seed: int = 17) -> list[str]:
  """`count` lines; the first are each word alone, the empty line and spaces alone, and
  the others are random."""
  rng = random.Random(seed)
  lines = ["", " ", "   ", "\t", "\u00a0", "\n", " the", "the ", "  the   a  ", *WORDS]
  while len(lines) < count:
    parts = []
    for _ in range(rng.randrange(1, 14)):
      # A character of any plane, surrogates aside, is a word too.
      code = rng.randrange(0x20, 0x30000)
      word = rng.choice(WORDS)
      parts.append(
        chr(code) if rng.random() < 0.1 and not 0xD800 <= code < 0xE000 else word
      )
      parts.append(rng.choice(SPACES))
    lines.append("".join(parts if rng.random() < 0.5 else parts[:-1]))
  return lines[:count]
