"""Every key that a model's or tokenizer's files may hold: known to dtrain, and used as transformers uses it.

What is called heeded gives what transformers gives, what is called without effect changes nothing there either, and what
is called refused is refused by its name. docs/model-files.md is the same list, for people to read; with
DTRAIN_WRITE_DOCS=1 in the environment this test writes it.
"""

import dataclasses
import inspect
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerFast

PROBE = os.environ["DTRAIN_TEST_MODEL_FILE_PROBE"]
DOCS = pathlib.Path(__file__).parents[2] / "docs" / "model-files.md"

KEYS = [json.loads(line) for line in subprocess.run([PROBE, "keys"], capture_output=True, check=True,
                                                    text=True).stdout.splitlines()]
FAMILIES = {"bert": transformers.BertConfig, "distilbert": transformers.DistilBertConfig,
            "roberta": transformers.RobertaConfig}


def keys_of(*files):
    return [key for key in KEYS if key["file"] in files]


def is_known(key, *files):
    return any(key.endswith(known["key"][1:]) if known["key"].startswith("*") else known["key"] == key
               for known in keys_of(*files))


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


# --- Model directories ------------------------------------------------------------------------------------------------

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


@pytest.mark.parametrize("name", ["bert", "distilbert", "roberta", "generic", "bert_whole", "roberta_whole"])
def test_the_plain_directories_give_what_transformers_gives(directories, probe, name):
    found = probe(directories[name], TEXTS)
    assert_same(found, of_transformers(directories[name]))
    assert found["notes"] == []


# --- The list ---------------------------------------------------------------------------------------------------------

HEAD = """# What is read of a model directory

dtrain reads Hugging Face's files of a model and its tokenizer, and what sentence-transformers writes beside them. Each key
that they may hold is one of three: **heeded** (computed with as transformers does), **no effect** (it changes nothing that
dtrain computes), or **refused**: it would change what is computed, and that is not supported, so that only its neutral
values (`null`, and those that are named) are taken. A key that is in no table is said once, with its file, and not heeded.

Weights are read from `model.safetensors`, the files of `model.safetensors.index.json`, `pytorch_model.bin`, or the files of
`pytorch_model.bin.index.json`, the first of these that is there. Of a `.bin` file the tensors alone are read; no code in it is
run. `vocab.txt`, `vocab.json` and `merges.txt` are read where there is no `tokenizer.json`.

`architectures` in config.json says what the head is: `evaluate`, `predict` and `merge` want `...ForSequenceClassification`,
and refuse a head for another task (`BertForTokenClassification`) by name; `train` takes the encoder of any of them and gives
it a new head.

The class of one architecture (`BertTokenizer`, `DistilBertTokenizer`, `RobertaTokenizer`, and the names that transformers
takes for them) has vocabulary, merges, added tokens and the side of truncation from tokenizer.json and its options from
tokenizer_config.json; the generic class (`PreTrainedTokenizerFast`) has all from tokenizer.json. That is how transformers
loads them.

The tables are those of the program: `tests/launcher/model_files_test.py` holds this page to them, and each line of them to
what transformers computes.
"""


def page():
    text = HEAD
    for file in dict.fromkeys(key["file"] for key in KEYS):
        text += f"\n## {file}\n\n| key | | |\n|---|---|---|\n"
        for key in keys_of(file):
            neutral = " or ".join(f"`{json.dumps(value)}`" for value in key["neutral"])
            use = f"refused unless {neutral}" if neutral else key["use"]
            text += f"| `{key['key']}` | {use} | {key['reason']} |\n"
    return text


def test_the_page_for_people_is_the_programs_list():
    if os.environ.get("DTRAIN_WRITE_DOCS"):
        DOCS.write_text(page())
    assert DOCS.read_text() == page(), "write it anew: DTRAIN_WRITE_DOCS=1"


def test_no_key_is_listed_twice():
    for file in {key["file"] for key in KEYS}:
        names = [key["key"] for key in keys_of(file)]
        assert len(names) == len(set(names)), file
    for family in FAMILIES:
        assert not {key["key"] for key in keys_of("config.json")} & {key["key"] for key in
                                                                   keys_of(f"config.json of {family}")}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_key_of_a_config_class_is_known(family, tmp_path):
    config_class = FAMILIES[family]
    written = {field.name for field in dataclasses.fields(config_class)} | set(config_class().to_dict())
    written |= set(config_class.attribute_map) | set(transformers.GenerationConfig._get_default_generation_params())
    # What the base class takes or drops besides its fields.
    source = inspect.getsource(transformers.PreTrainedConfig.__post_init__)
    written |= set(re.findall(r'kwargs\.(?:pop|get)\("(\w+)"', source))
    # transformers puts rotary embeddings in a family that has them; none of these has.
    written -= {"rope_scaling", "rope_theta"}
    config_class(num_labels=5, problem_type="regression", architectures=["X"]).save_pretrained(tmp_path)
    written |= set(json.loads((tmp_path / "config.json").read_text()))
    assert [key for key in sorted(written) if not is_known(key, "config.json", f"config.json of {family}")] == []
    # And what its models read of it.
    module = inspect.getsource(inspect.getmodule(MODELS[family]))
    read = set(re.findall(r"config\.([a-z_]\w*)", module)) - {"get_text_config"}
    assert [key for key in sorted(read) if not is_known(key, "config.json", f"config.json of {family}")] == []


def init_arguments(tokenizer_class):
    """The names of all that a tokenizer class and its bases take."""
    names = set()
    for base in tokenizer_class.__mro__:
        if "__init__" not in vars(base) or base is object:
            continue
        names |= {name for name, parameter in inspect.signature(base.__init__).parameters.items()
                  if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)}
        names |= set(re.findall(r'kwargs\.(?:pop|get|setdefault)\(\s*"(\w+)"', inspect.getsource(base.__init__)))
        if base.__name__ == "TokenizersBackend":
            break
    names |= set(transformers.PreTrainedTokenizerBase.SPECIAL_TOKENS_ATTRIBUTES)
    base = transformers.PreTrainedTokenizerBase
    names |= set(re.findall(r'(?:kwargs|tokenizer_config)(?:\.(?:pop|get|setdefault)\(|\[)\s*"(\w+)"',
                            inspect.getsource(base.__init__) + inspect.getsource(base._from_pretrained) +
                            inspect.getsource(base.save_pretrained)))
    # Arguments of calls, not of files.
    return names - {"self", "vocab", "merges", "tokenizer_object", "gguf_file", "post_processor", "tokenizer_padding",
                    "tokenizer_truncation", "tokenizer", "fix_mistral_regex", "_json_truncation", "_json_padding",
                    "_spm_precompiled_charsmap", "commit_message", "repo_id", "save_jinja_files", "unk_id",
                    "slow_tokenizer_class", "unk_token_id", "from_slow", "_from_auto", "added_tokens_file", "subfolder",
                    "trust_remote_code", "cache_dir", "revision", "token"}


def slow_classes():
    from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy
    from transformers.models.bert_japanese.tokenization_bert_japanese import BertJapaneseTokenizer
    return [BertTokenizerLegacy, BertJapaneseTokenizer]


@pytest.mark.parametrize("name", ["BertTokenizer", "DistilBertTokenizer", "RobertaTokenizer", "PreTrainedTokenizerFast",
                                  "BertTokenizerLegacy", "BertJapaneseTokenizer"])
def test_every_argument_of_a_tokenizer_class_is_known(name):
    slow = {found.__name__: found for found in slow_classes()}
    arguments = init_arguments(slow.get(name) or getattr(transformers, name))
    assert len(arguments) > 20
    unknown = [key for key in sorted(arguments) if not is_known(key, "tokenizer_config.json")]
    assert unknown == []


def test_every_key_that_a_tokenizer_saves_is_known(directories, tmp_path):
    for name in ("bert", "roberta", "generic"):
        tokenizer = AutoTokenizer.from_pretrained(directories[name], do_lower_case=False, truncation_side="left",
                                                  padding_side="left", model_max_length=7, extra_special_tokens=["<e>"],
                                                  chat_template="x", clean_up_tokenization_spaces=True)
        tokenizer(["a"], padding="max_length", truncation=True, max_length=5)
        tokenizer.add_tokens(["more"])
        tokenizer.save_pretrained(tmp_path / name)
        read = lambda file: json.loads((tmp_path / name / file).read_text())
        assert [key for key in read("tokenizer_config.json") if not is_known(key, "tokenizer_config.json")] == []
        whole = read("tokenizer.json")
        assert [key for key in whole if not is_known(key, "tokenizer.json")] == []
        assert {key for token in whole["added_tokens"] for key in token} <= {key["key"] for key in
                                                                             keys_of("an added token")}
        kind = "tokenizer.json of " + ("byte-level BPE" if name == "roberta" else "WordPiece")
        for part in ("model", "normalizer", "pre_tokenizer"):
            assert [key for key in whole[part] or {} if not is_known(f"{part}.{key}", kind)] == [], part


def test_every_key_of_sentence_transformers_is_known():
    from sentence_transformers.base.modules.transformer import Transformer
    from sentence_transformers.sentence_transformer.modules import pooling
    keys = {*pooling.Pooling.config_keys, *pooling.Pooling.config_key_renames, *pooling._LEGACY_POOLING_MODE_KWARGS}
    assert [key for key in keys if not is_known(key, "1_Pooling/config.json")] == []
    keys = {*Transformer.config_keys, "max_seq_length", "do_lower_case"}
    assert [key for key in keys if not is_known(key, "sentence_bert_config.json")] == []


# --- Heeded, one after the other ----------------------------------------------------------------------------------------

def token(content, **flags):
    return dict(dict(content=content, lstrip=False, rstrip=False, single_word=False, normalized=False, special=True),
                **flags)


def added(identity, content, **flags):
    return {str(identity): token(content, **flags)}


NEXT = len(SPECIAL + WORDS)
ADDED = dict(added(NEXT, "<new>", lstrip=True, rstrip=True), **added(NEXT + 1, "CovidTest", normalized=True, special=False),
             **added(19, "中", normalized=True, special=False), **added(4, "[MASK]", lstrip=True))
assert (SPECIAL + WORDS)[19] == "中"
OF_SPECIAL = dict(
    bos_token=["<bos>"], eos_token=["<eos>"], pad_token=["<p>"], mask_token=["<new>"],
    additional_special_tokens=[["<new>", "<image>"]], extra_special_tokens=[["<new>", "<image>"], {"a_token": "<new>"}],
    image_token=["<image>"])
FLAGGED = token("<new>", lstrip=True)
OF_OPTIONS = dict(OF_SPECIAL, model_specific_special_tokens=[{"a_token": "<new>"}],
                  mask_token=["<new>", dict(FLAGGED, __type="AddedToken")])

# file, directory, key: values. Each has to give what transformers gives, and one of them something else than before.
HEEDED = {
    ("tokenizer_config.json", "bert"): dict(
        OF_OPTIONS, do_lower_case=[False, True], strip_accents=[False, True], tokenize_chinese_chars=[False],
        truncation_side=["left", "right"], unk_token=["[X]", "a"], cls_token=["[X]"], sep_token=["[X]"],
        model_input_names=[["input_ids", "attention_mask"], ["input_ids", "token_type_ids", "attention_mask"]],
        added_tokens_decoder=[ADDED], tokenizer_class=["DistilBertTokenizer", "ElectraTokenizer", "BertTokenizerFast"]),
    ("tokenizer_config.json", "bert_whole"): dict(
        truncation_side=["left"], mask_token=["[X]"], do_lower_case=[False],
        tokenizer_class=["TokenizersBackend", "PreTrainedTokenizerFast", "DistilBertTokenizerFast"]),
    ("tokenizer_config.json", "roberta"): dict(
        OF_OPTIONS, add_prefix_space=[True, False], cls_token=["<unk>"], sep_token=["<unk>"], unk_token=["<new>"],
        truncation_side=["left"], model_input_names=[["input_ids", "token_type_ids"]],
        tokenizer_class=["BartTokenizer", "LongformerTokenizerFast"]),
    ("tokenizer_config.json", "generic"): dict(
        model_input_names=[["input_ids"]], mask_token=["<new>"], truncation_side=["left"], cls_token=["[X]"]),
    ("tokenizer.json", "generic"): {
        "model.unk_token": ["[X]"], "model.max_input_chars_per_word": [4], "normalizer.lowercase": [False],
        "normalizer.strip_accents": [False, True], "normalizer.handle_chinese_chars": [False],
        "truncation": [dict(direction="Left", max_length=9, strategy="LongestFirst", stride=0)],
        "added_tokens": [[dict(value, id=int(key)) for key, value in ADDED.items()]],
        "post_processor": [dict(type="BertProcessing", sep=["[X]", 5], cls=["[MASK]", 4]),
                           dict(type="RobertaProcessing", sep=["[SEP]", 3], cls=["[CLS]", 2], trim_offsets=True,
                                add_prefix_space=False)]},
    ("tokenizer.json", "bert_whole"): {
        "truncation": [dict(direction="Left", max_length=9, strategy="LongestFirst", stride=0)],
        "added_tokens": [[dict(value, id=int(key)) for key, value in ADDED.items()]]},
    ("tokenizer.json", "roberta_whole"): {
        "truncation": [dict(direction="Left", max_length=9, strategy="LongestFirst", stride=0)]},
    ("special_tokens_map.json", "bert"): dict(OF_SPECIAL, unk_token=["[X]"], cls_token=["[X]"],
                                               mask_token=["<new>", FLAGGED]),
    ("added_tokens.json", "bert"): {"<new>": [NEXT], "Covidtest": [NEXT], "[X]": [5]},
    ("config.json", "bert"): dict(num_attention_heads=[4], hidden_act=["gelu_new", "relu"], layer_norm_eps=[0.1],
                                  id2label=[{"0": "x", "1": "y", "2": "z"}]),
    ("config.json", "distilbert"): dict(n_heads=[4], num_attention_heads=[4], activation=["relu"]),
    ("config.json", "roberta"): dict(pad_token_id=[0, 5], layer_norm_eps=[0.1], hidden_act=["relu"]),
}
CASES = [(file, name, key) for (file, name), keys in HEEDED.items() for key in keys]


@pytest.mark.parametrize("file, name, key", CASES)
def test_a_heeded_key_gives_what_transformers_gives(directories, copy_of, probe, file, name, key):
    logits = file == "config.json"
    plain = of_transformers(directories[name], logits)
    changes = False
    for value in HEEDED[file, name][key]:
        folder = patch(copy_of(name), file, **{key: value})
        expected = of_transformers(folder, logits)
        assert_same(probe(folder, TEXTS, logits=logits), expected)
        changes |= differs(expected, plain)
    same = {"add_prefix_space"} if name != "roberta" else {"model_input_names", "tokenizer_class", "unk_token"}
    assert changes or key in same, "transformers gives the same with and without it"


SHAPES = {"bert": dict(hidden_size=[48], num_hidden_layers=[1], intermediate_size=[40], max_position_embeddings=[95],
                       vocab_size=[130], type_vocab_size=[1, 3]),
          "distilbert": dict(dim=[48], n_layers=[3], hidden_dim=[40], max_position_embeddings=[95], vocab_size=[130])}


@pytest.mark.parametrize("family, key", [(family, key) for family in SHAPES for key in SHAPES[family]])
def test_a_heeded_size_gives_the_model_of_transformers(copy_of, probe, family, key):
    for value in SHAPES[family][key]:
        folder = copy_of(family)
        save_model(folder, family, **{key: value})
        if value == 1 and key == "type_vocab_size":
            patch(folder, "tokenizer_config.json", model_input_names=["input_ids"])
        assert_same(probe(folder, TEXTS), of_transformers(folder))


def test_a_size_that_is_missing_is_the_classs_own(copy_of, probe):
    folder = copy_of("bert")
    save_model(folder, "bert", intermediate_size=3072, num_attention_heads=12, hidden_size=48, num_hidden_layers=12)
    without(folder, "config.json", "intermediate_size", "num_attention_heads", "num_hidden_layers", "type_vocab_size",
            "hidden_act", "layer_norm_eps", "pad_token_id")
    assert_same(probe(folder, TEXTS[:2]), {key: value[:2] if key != "labels" else value
                                           for key, value in of_transformers(folder).items()})


@pytest.mark.parametrize("given", [dict(num_labels=3), dict(num_labels=3, id2label={"0": "a", "1": "b"}),
                                   dict(id2label={"0": "a", "1": "b", "2": "c"}), dict(num_labels=3, _num_labels=7)])
def test_classes_are_those_of_transformers(copy_of, probe, given):
    folder = patch(without(copy_of("bert"), "config.json", "id2label", "label2id", "num_labels"), "config.json", **given)
    assert_same(probe(folder, TEXTS), of_transformers(folder))


@pytest.mark.parametrize("value", ["DistilBertTokenizer", "PreTrainedTokenizerFast"])
def test_the_tokenizers_class_may_be_in_config_json(copy_of, probe, value):
    folder = patch(without(copy_of("bert_whole"), "tokenizer_config.json", "tokenizer_class"), "config.json",
                   tokenizer_class=value)
    expected = of_transformers(folder)
    assert not any(1 in types for types in expected["types"])
    assert_same(probe(folder, TEXTS), expected)


def test_a_vocabulary_with_added_tokens_and_the_models_embeddings_fit(copy_of, probe):
    folder = copy_of("bert")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["covidtest", "<NEW>", "文"])
    tokenizer.add_special_tokens(dict(extra_special_tokens=["<image>"]))
    tokenizer.save_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(folder)
    expected = of_transformers(folder)
    assert NEXT in expected["ids"][1] and NEXT + 2 in expected["ids"][1]
    found = probe(folder, TEXTS)
    assert_same(found, expected)
    assert found["vocabulary"] == len(tokenizer)


# --- Without effect, one after the other --------------------------------------------------------------------------------

# Other values than 1 where transformers takes none such.
VALUES = {
    "label2id": {"a": 2, "b": 1, "c": 0}, "dtype": "float32", "torch_dtype": "float32", "transformers_version": "4.0.0",
    "architectures": ["BertModel"], "chunk_size_feed_forward": 0, "bad_words_ids": [[1]], "_attn_implementation": "eager",
    "attn_implementation": "eager", "_attn_implementation_internal": "eager", "_experts_implementation": None,
    "experts_implementation": None, "_output_attentions": False, "output_attentions": False, "use_cache": False,
    "output_hidden_states": False, "return_dict": True, "_name_or_path": "x", "name_or_path": "x", "torchscript": False,
    "tie_word_embeddings": False, "padding_side": "left", "model_max_length": 9, "max_len": 9, "chat_template": "x",
    "chat_control_tokens": ["x"], "init_inputs": [], "never_split": ["covidtest"], "do_basic_tokenize": False,
    "files_loaded": [], "stride": 2, "max_length": 9, "truncation_strategy": "only_first", "pad_to_multiple_of": 8,
    "pad_token_type_id": 1, "clean_up_tokenization_spaces": True, "errors": "strict", "trim_offsets": False,
    "add_bos_token": True, "add_eos_token": True, "vocab_file": "elsewhere.txt", "tokenizer_file": "elsewhere.json",
    "merges_file": "elsewhere.txt", "special_tokens_map_file": "elsewhere.json", "padding": True, "truncation": True,
    "response_template": {}, "device_map": "cpu", "qa_dropout": 0.5, "sinusoidal_pos_embds": True,
    "sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Tanh"},
    "bos_token_id": 3, "eos_token_id": 3,
}


@pytest.mark.parametrize("file, family", [("config.json", "bert"), ("config.json of distilbert", "distilbert"),
                                          ("config.json of bert", "bert"), ("tokenizer_config.json", "bert"),
                                          ("tokenizer_config.json", "roberta"), ("tokenizer_config.json", "generic")])
def test_what_has_no_effect_here_has_none_in_transformers(directories, copy_of, probe, file, family):
    logits = file.startswith("config")
    plain = of_transformers(directories[family], logits)
    keys = [key["key"] for key in keys_of(file) if key["use"] == "no effect"]
    for key in keys:
        value = VALUES.get(key, 1)
        folder = patch(copy_of(family), file.split(" ")[0], **{key: value})
        assert not differs(of_transformers(folder, logits), plain), key
        assert_same(probe(folder, TEXTS, logits=logits), plain)
    assert keys or file == "config.json of bert"


# --- Refused ------------------------------------------------------------------------------------------------------------

REFUSED = [("config.json", "config.json", "bert"), ("config.json of bert", "config.json", "bert"),
           ("config.json of bert", "config.json", "roberta"), ("config.json of distilbert", "config.json", "distilbert"),
           ("tokenizer_config.json", "tokenizer_config.json", "bert"),
           ("tokenizer_config.json", "tokenizer_config.json", "roberta"),
           ("tokenizer.json of WordPiece", "tokenizer.json", "generic"),
           ("tokenizer.json of byte-level BPE", "tokenizer.json", "roberta_whole"),
           ("sentence_bert_config.json", "sentence_bert_config.json", "bert")]


@pytest.mark.parametrize("list_name, file, directory", REFUSED)
def test_what_is_refused_is_named_and_its_neutral_values_are_taken(directories, copy_of, probe, list_name, file,
                                                                   directory):
    plain = probe(directories[directory], TEXTS)
    keys = [key for key in keys_of(list_name) if key["use"] == "refused"]
    assert keys
    for key in keys:
        error = probe(patch(copy_of(directory), file, **{key["key"]: "other"}), TEXTS).get("error", "")
        assert f"{file}: '{key['key']}': \"other\" is not supported" in error, key
        for value in key["neutral"]:
            found = probe(patch(copy_of(directory), file, **{key["key"]: value}), TEXTS)
            assert_same(found, plain)


def test_a_key_that_nobody_knows_is_said(copy_of, probe):
    for file in ("config.json", "tokenizer_config.json"):
        folder = patch(copy_of("bert"), file, alibi_starting_size=512)
        notes = probe(folder, TEXTS)["notes"]
        assert [note for note in notes if f"{file}: a key that is not known and not heeded: 'alibi_starting_size'" in note]


@pytest.mark.parametrize("name", ["BertJapaneseTokenizer", "GPT2Tokenizer", "XLMRobertaTokenizerFast", "Nobody"])
def test_a_tokenizer_of_another_class_is_refused_by_its_name(copy_of, probe, name):
    for directory in ("bert", "roberta", "generic"):
        error = probe(patch(copy_of(directory), "tokenizer_config.json", tokenizer_class=name), TEXTS)["error"]
        assert f"tokenizer_config.json: 'tokenizer_class': \"{name}\" is not supported" in error
    assert "'tokenizer_class'" in probe(patch(copy_of("bert"), "tokenizer_config.json",
                                              tokenizer_class="RobertaTokenizer"), TEXTS)["error"]


# --- Weights ------------------------------------------------------------------------------------------------------------

def as_pickle(folder, shards=1):
    from safetensors.torch import load_file
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = list(tensors)
    if shards == 1:
        torch.save(tensors, folder / "pytorch_model.bin")
        return folder
    where = {}
    for shard in range(shards):
        file = f"pytorch_model-{shard + 1:05}-of-{shards:05}.bin"
        torch.save({name: tensors[name] for name in names[shard::shards]}, folder / file)
        where |= {name: file for name in names[shard::shards]}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(dict(metadata={}, weight_map=where)))
    return folder


@pytest.mark.parametrize("shards", [1, 3])
def test_weights_that_torch_saved_are_read(directories, copy_of, probe, shards):
    expected = of_transformers(directories["bert"])
    assert_same(probe(as_pickle(copy_of("bert"), shards), TEXTS), expected)


def test_a_state_dict_with_its_metadata_is_read(directories, copy_of, probe):
    folder = copy_of("bert")
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    assert_same(probe(folder, TEXTS), of_transformers(directories["bert"]))


class Code:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return pathlib.Path.touch, (self.file,)


def test_code_in_weights_is_not_run(copy_of, probe, tmp_path):
    folder = copy_of("bert")
    (folder / "model.safetensors").unlink()
    for content, found in (({"bert.pooler.dense.weight": Code(tmp_path / "ran")}, "which is not run"),
                           (Code(tmp_path / "ran"), "which is not run"), ({"a": 1}, 'no tensor under "a"'),
                           ({1: torch.ones(1)}, "a key that is no text"), ([1], "something that is no dictionary")):
        torch.save(content, folder / "pytorch_model.bin")
        error = probe(folder, TEXTS)["error"]
        assert "pytorch_model.bin: expected a dictionary of tensors" in error and found in error
    torch.save({"a": torch.ones(1)}, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    assert "torch.save of PyTorch 1.6 or later" in probe(folder, TEXTS)["error"]
    assert not (tmp_path / "ran").exists()


def with_pickle(path, change):
    """The file that torch.save wrote, with another program in it."""
    import zipfile
    with zipfile.ZipFile(path) as archive:
        records = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in records.items():
            archive.writestr(name, change(content) if name.endswith("/data.pkl") else content)


def test_views_and_other_types_are_read_as_torch_reads_them(directories, copy_of, probe):
    folder = copy_of("bert")
    model = AutoModelForSequenceClassification.from_pretrained(folder).double()
    state = {name: torch.nn.Parameter(value.T.contiguous().T) if value.dim() == 2 else torch.stack([value, value])[1]
             for name, value in model.state_dict().items() if value.is_floating_point()}
    state["bert.embeddings.position_ids"] = torch.arange(5)
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin", pickle_protocol=4)
    assert_same(probe(folder, TEXTS), of_transformers(directories["bert"]))


def test_a_pickle_that_is_damaged_is_refused(copy_of, probe):
    import random
    chance = random.Random(5)
    folder = as_pickle(copy_of("bert"))
    whole = (folder / "pytorch_model.bin").read_bytes()

    def damaged(content):
        content = bytearray(content)
        for _ in range(chance.choice([1, 1, 3, 20])):
            content[chance.randrange(len(content))] = chance.choice([chance.randrange(256), *b"(0tRbQsueqh}]).NK"])
        return bytes(content[:chance.choice([len(content), chance.randrange(len(content))])])

    refused = 0
    for _ in range(300):
        (folder / "pytorch_model.bin").write_bytes(whole)
        with_pickle(folder / "pytorch_model.bin", damaged)
        refused += "error" in probe(folder, TEXTS[:1])
    assert refused > 200
    for size in range(0, len(whole), len(whole) // 20):
        (folder / "pytorch_model.bin").write_bytes(whole[:size])
        assert "pytorch_model.bin: expected" in probe(folder, TEXTS)["error"]


@pytest.mark.parametrize("name", ["../outside", "sub/inside", "/tmp/outside", "..", ""])
@pytest.mark.parametrize("index", ["model.safetensors.index.json", "pytorch_model.bin.index.json"])
def test_an_index_that_leads_out_of_its_directory_is_refused(copy_of, probe, tmp_path, name, index):
    folder = copy_of("bert")
    (folder / "sub").mkdir()
    for place in (tmp_path / "outside", folder / "sub" / "inside"):
        shutil.copy(folder / "model.safetensors", place)
    (folder / "model.safetensors").unlink()
    (folder / index).write_text(json.dumps(dict(weight_map={"classifier.weight": name})))
    error = probe(folder, TEXTS)["error"]
    assert f"{index}: weight_map: tensor 'classifier.weight': expected the name of a file beside this one" in error


# --- Heads --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("head", ["BertForTokenClassification", "BertForQuestionAnswering", "BertForMultipleChoice",
                                  "BertForMaskedLM", "BertForPreTraining", "BertForNextSentencePrediction"])
def test_a_head_for_another_task_is_no_trained_classifier(directories, copy_of, probe, head):
    folder = patch(copy_of("bert"), "config.json", architectures=[head])
    error = probe(folder, TEXTS)["error"]
    assert f"'architectures': expected a trained BertForSequenceClassification, found {head}" in error


def test_a_body_with_another_head_is_trained_on_a_new_one(dtrain, tmp_path, data):
    from conftest import MINILM
    folder = tmp_path / "ner"
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=30522, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                                     intermediate_size=64, max_position_embeddings=64, num_labels=5)
    transformers.BertForTokenClassification(config).save_pretrained(folder)
    shutil.copy(MINILM / "vocab.txt", folder / "vocab.txt")
    dtrain.succeeds("train", "--model", folder, "--train", data / "train.tsv", "--dev", data / "dev.tsv", "--max-length",
                    "32", "--max-steps", "2", "--pooling", "mean", "--output", "out")
    config = json.loads((dtrain.folder / "out" / "model" / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert sorted(config["id2label"].values()) == ["animal", "plant", "tool"]
    dtrain.refuses("predict", "--run", folder, "--input", data / "test.tsv", "--output", "predicted", "--max-length",
                   "32", code=3, says=["config.json", "'architectures'", "BertForTokenClassification"])


# --- Files that are meant to do harm ------------------------------------------------------------------------------------

@pytest.mark.parametrize("file, content", [
    ("config.json", '{"model_type": ' + "[" * 2_000_000 + "]" * 2_000_000 + "}"),
    ("tokenizer.json", '{"a":' * 500_000 + "1" + "}" * 500_000),
    ("tokenizer_config.json", '{"a":' * 500_000 + "1" + "}" * 500_000),
    ("special_tokens_map.json", "[" * 2_000_000),
    ("added_tokens.json", '{"a":' * 500_000),
    ("modules.json", "[" * 2_000_000),
    ("sentence_bert_config.json", '{"a":' * 500_000)])
def test_a_file_that_nests_without_end_is_refused_at_once(copy_of, probe, file, content):
    import time
    folder = copy_of("bert")
    (folder / file).write_text(content)
    begin = time.monotonic()
    assert f"{file}: nests deeper than" in probe(folder, TEXTS)["error"]
    assert time.monotonic() - begin < 1


@pytest.mark.parametrize("key", ["num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size",
                                 "vocab_size", "max_position_embeddings", "type_vocab_size", "num_labels"])
def test_a_size_beyond_all_is_refused_at_once(copy_of, probe, key):
    import time
    for value in (2_000_000_000, 2**63 - 1, 2**64 - 1, 1e300, -1, 0, "many", None):
        folder = patch(copy_of("bert"), "config.json", **{key: value})
        begin = time.monotonic()
        error = probe(folder, TEXTS)["error"]
        assert f"config.json: '{key}' must be " in error and "found" in error
        assert time.monotonic() - begin < 1
