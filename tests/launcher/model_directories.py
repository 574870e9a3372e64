"""Small model directories of every kind that is read, and what transformers and dtrain make of them."""

import json
import os
import shutil
import subprocess

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerFast

PROBE = os.environ["DTRAIN_TEST_MODEL_FILE_PROBE"]
FAMILIES = {"bert": transformers.BertConfig, "distilbert": transformers.DistilBertConfig,
            "roberta": transformers.RobertaConfig}


class Probe:
    """dtrain's answers to requests, one after the other."""

    def __init__(self):
        self.process = subprocess.Popen([PROBE, "ask"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=os.environ | {"OMP_NUM_THREADS": "1"})

    def __call__(self, directory, texts, logits=True):
        request = dict(directory=str(directory), texts=texts, logits=logits)
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def probe():
    asked = Probe()
    yield asked
    asked.process.stdin.close()
    assert asked.process.wait(timeout=30) == 0


SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[X]"]
WORDS = ["the", "The", "cafe", "café", "covid", "test", "##test", "##s", "a", "A", "##a", "b", "##b", "中", "##文", "文",
         "中文", "'", "s", "<", ">", "new", "image", "it", "##em", "is", "good", "bad", "very", "[", "]", "mask", "x"]
# Text, pair and the most tokens, which cut the last two.
TEXTS = [["The café is very good", None, 60], ["The Café covidtest's [MASK] <new> <image> 中文 zzz aab", None, 70],
         ["a b", "The very bad new item", 60], ["the COVIDTEST <New>x <new>", "<bos>a [X] b<eos> <p> [mask]", 70],
         ["a b a b a b a b a b a b the very good cafe is it new", None, 14],
         ["the very good cafe is it new a b a b", "b a b a the test is bad is bad very very bad", 17]]
SIZES = {"bert": dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
                      max_position_embeddings=90),
         "distilbert": dict(dim=32, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=90)}
SIZES["roberta"] = SIZES["bert"] | dict(type_vocab_size=2, pad_token_id=1)
MODELS = {"bert": transformers.BertForSequenceClassification,
          "distilbert": transformers.DistilBertForSequenceClassification,
          "roberta": transformers.RobertaForSequenceClassification}


def save_model(folder, family, **changed):
    torch.manual_seed(0)
    config = FAMILIES[family](**dict(dict(SIZES[family], vocab_size=120, initializer_range=0.3, num_labels=3), **changed))
    model = MODELS[family](config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, 0, 0.3)
    model.save_pretrained(folder)
    return folder


def patch(folder, file, **values):
    path = folder / file
    document = json.loads(path.read_text()) if path.exists() else {}
    for key, value in values.items():
        inner = document
        *parts, last = key.split(".")
        for part in parts:
            inner = inner[part]
        inner[last] = value
    path.write_text(json.dumps(document))
    return folder


def without(folder, file, *keys):
    document = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({key: value for key, value in document.items() if key not in keys}))
    return folder


def wordpiece_files(folder):
    (folder / "vocab.txt").write_text("".join(word + "\n" for word in SPECIAL + WORDS))
    (folder / "tokenizer_config.json").write_text(json.dumps(dict(tokenizer_class="BertTokenizer")))


def generic_files(folder):
    vocabulary = {word: place for place, word in enumerate(SPECIAL + WORDS)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    names = dict(cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]", pad_token="[PAD]")
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_input_names=inputs, **names).save_pretrained(folder)


def byte_level_files(folder):
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: place for place, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])}
    for token in [letter for letter in letters if letter.isascii()] + ["Ġ", "Ġa", "Ġb", "Ã", "©", "th", "the"]:
        vocabulary.setdefault(token, len(vocabulary))
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\nĠ a\nĠ b\nt h\nth e\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(dict(tokenizer_class="RobertaTokenizer")))


@pytest.fixture(scope="module")
def directories(tmp_path_factory):
    """The plain directory of each kind."""
    root = tmp_path_factory.mktemp("models")
    found = {name: save_model(root / name, name) for name in FAMILIES}
    save_model(root / "generic", "bert")
    found["generic"] = root / "generic"
    for name, files in (("bert", wordpiece_files), ("distilbert", wordpiece_files), ("generic", generic_files)):
        files(found[name])
    byte_level_files(found["roberta"])
    vocabulary = len(json.loads((found["roberta"] / "vocab.json").read_text()))
    save_model(found["roberta"], "roberta", vocab_size=vocabulary + 20)
    # The whole tokenizer in one file, as transformers saves it.
    found["bert_whole"] = shutil.copytree(found["bert"], root / "bert_whole")
    AutoTokenizer.from_pretrained(found["bert"]).save_pretrained(found["bert_whole"])
    found["roberta_whole"] = shutil.copytree(found["roberta"], root / "roberta_whole")
    AutoTokenizer.from_pretrained(found["roberta"]).save_pretrained(found["roberta_whole"])
    for file in ("vocab.txt", "vocab.json", "merges.txt"):
        for name in ("bert_whole", "roberta_whole"):
            (found[name] / file).unlink(missing_ok=True)
    # The generic class, which takes more from that file; with a token for what the vocabulary has no bytes of.
    found["byte_level"] = shutil.copytree(found["roberta_whole"], root / "byte_level")
    patch(found["byte_level"], "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    patch(found["byte_level"], "tokenizer.json", **{"model.unk_token": "<unk>"})
    return found


@pytest.fixture
def copy_of(directories, tmp_path):
    def copy(name):
        return shutil.copytree(directories[name], tmp_path / "model", dirs_exist_ok=False)

    def fresh(name):
        shutil.rmtree(tmp_path / "model", ignore_errors=True)
        return copy(name)
    return fresh


def of_transformers(folder, logits=True):
    """ids, token types as the model sees them, labels and logits for TEXTS."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval() if logits else None
    found = dict(ids=[], types=[], logits=[])
    for text, pair, max_length in TEXTS:
        tokens = tokenizer(text, pair, truncation=True, max_length=max_length, return_tensors="pt")
        found["ids"].append(tokens["input_ids"][0].tolist())
        types = tokens.get("token_type_ids", torch.zeros_like(tokens["input_ids"]))
        found["types"].append(types[0].tolist())
        if model is not None:
            with torch.no_grad():
                found["logits"].append(model(**tokens).logits[0].tolist())
    if model is not None:
        found["labels"] = [model.config.id2label[i] for i in range(model.config.num_labels)]
    return found


def assert_same(found, expected):
    assert "error" not in found, found
    assert found["ids"] == expected["ids"]
    assert found["types"] == expected["types"]
    if expected["logits"]:
        assert found["labels"] == expected["labels"]
        torch.testing.assert_close(torch.tensor(found["logits"]), torch.tensor(expected["logits"]), atol=2e-4, rtol=1e-3)


def differs(left, right):
    numbers = lambda found: torch.tensor(found["logits"])
    if any(left.get(part) != right.get(part) for part in ("ids", "types", "labels")):
        return True
    return bool(left["logits"]) and (numbers(left).shape != numbers(right).shape or
                                     not torch.allclose(numbers(left), numbers(right), atol=1e-3))
