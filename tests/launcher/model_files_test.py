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
import transformers
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from model_directories import (FAMILIES, MODELS, PROBE, SPECIAL, TEXTS, WORDS, assert_same, copy_of, differs, directories,
                               of_transformers, patch, probe, save_model, without)

DOCS = pathlib.Path(__file__).parents[2] / "docs" / "model-files.md"

KEYS = [json.loads(line) for line in subprocess.run([PROBE, "keys"], capture_output=True, check=True,
                                                    text=True).stdout.splitlines()]


def keys_of(*files):
    return [key for key in KEYS if key["file"] in files]


def is_known(key, *files):
    return any(key.endswith(known["key"][1:]) if known["key"].startswith("*") else known["key"] == key
               for known in keys_of(*files))


@pytest.mark.parametrize("name", ["bert", "distilbert", "roberta", "generic", "bert_whole", "roberta_whole", "byte_level"])
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
        special = read("special_tokens_map.json") if (tmp_path / name / "special_tokens_map.json").exists() else {}
        names = {*special, *transformers.PreTrainedTokenizerBase.SPECIAL_TOKENS_ATTRIBUTES}
        assert [key for key in names if not is_known(key, "special_tokens_map.json")] == []


@pytest.fixture(scope="module")
def sentence_directory(directories, tmp_path_factory):
    """A directory that sentence-transformers has saved."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules.transformer import Transformer
    from sentence_transformers.sentence_transformer.modules.pooling import Pooling
    folder = tmp_path_factory.mktemp("sentence") / "model"
    body = Transformer(str(directories["bert"]))
    SentenceTransformer(modules=[body, Pooling(32, pooling_mode="mean")], device="cpu").save_pretrained(str(folder))
    return folder


def test_every_key_of_sentence_transformers_is_known():
    from sentence_transformers.base.model import BaseModel
    from sentence_transformers.base.modules.transformer import Transformer
    from sentence_transformers.sentence_transformer.modules import pooling
    keys = {*pooling.Pooling.config_keys, *pooling.Pooling.config_key_renames, *pooling._LEGACY_POOLING_MODE_KWARGS}
    assert [key for key in keys if not is_known(key, "1_Pooling/config.json")] == []
    keys = {*Transformer.config_keys, "max_seq_length", "do_lower_case"}
    assert [key for key in keys if not is_known(key, "sentence_bert_config.json")] == []
    # What it reads of a module.
    keys = set(re.findall(r'module_config(?:\.get\(|\[)"(\w+)"', inspect.getsource(BaseModel)))
    assert {"path", "type"} <= keys
    assert [key for key in keys if not is_known(key, "modules.json")] == []


def test_every_key_that_sentence_transformers_saves_is_known(sentence_directory):
    read = lambda file: json.loads((sentence_directory / file).read_text())
    modules = read("modules.json")
    assert len(modules) == 2
    assert [key for module in modules for key in module if not is_known(key, "modules.json")] == []
    for file in ("1_Pooling/config.json", "sentence_bert_config.json"):
        assert [key for key in read(file) if not is_known(key, file)] == [], file


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
    ("tokenizer.json", "byte_level"): {
        "model.unk_token": ["<mask>", None], "model.fuse_unk": [True], "pre_tokenizer.add_prefix_space": [True]},
    ("special_tokens_map.json", "bert"): dict(OF_SPECIAL, unk_token=["[X]"], cls_token=["[X]"],
                                               mask_token=["<new>", FLAGGED]),
    ("added_tokens.json", "bert"): {"<new>": [NEXT], "Covidtest": [NEXT], "[X]": [5]},
    ("config.json", "bert"): dict(num_attention_heads=[4], hidden_act=["gelu_new", "relu"], layer_norm_eps=[0.1],
                                  id2label=[{"0": "x", "1": "y", "2": "z"}]),
    ("config.json", "distilbert"): dict(n_heads=[4], num_attention_heads=[4], activation=["relu"]),
    ("config.json", "roberta"): dict(num_attention_heads=[4], pad_token_id=[0, 5], layer_norm_eps=[0.1],
                                     hidden_act=["relu"]),
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
          "distilbert": dict(dim=[48], n_layers=[3], hidden_dim=[40], max_position_embeddings=[95], vocab_size=[130]),
          "roberta": dict(hidden_size=[48], num_hidden_layers=[1], intermediate_size=[40], type_vocab_size=[1, 3])}


@pytest.mark.parametrize("family, key", [(family, key) for family in SHAPES for key in SHAPES[family]])
def test_a_heeded_size_gives_the_model_of_transformers(copy_of, probe, family, key):
    for value in SHAPES[family][key]:
        folder = copy_of(family)
        save_model(folder, family, **{key: value})
        if value == 1 and key == "type_vocab_size" and family == "bert":
            patch(folder, "tokenizer_config.json", model_input_names=["input_ids"])
        assert_same(probe(folder, TEXTS), of_transformers(folder))


# DistilBERT's other names of two sizes, and what its own say beside them.
RENAMED = {"hidden_size": ("dim", 48, 40), "num_hidden_layers": ("n_layers", 3, 2)}


@pytest.mark.parametrize("key", RENAMED)
def test_a_size_of_distilbert_may_have_the_name_that_it_has_for_bert(copy_of, probe, key):
    own, value, other = RENAMED[key]
    folder = copy_of("distilbert")
    save_model(folder, "distilbert", **{own: value})
    for changed in (patch(folder, "config.json", **{key: value, own: other}), without(folder, "config.json", own)):
        assert_same(probe(changed, TEXTS), of_transformers(changed))


# A flag of an added token, where it is written, and its values: the first two tokenize otherwise.
FLAGS = {"content": ("bert", ["<new>", "<image>"]), "normalized": ("bert", [False, True]),
         "special": ("bert", [True, False]), "lstrip": ("roberta", [False, True]), "rstrip": ("roberta", [False, True])}


@pytest.mark.parametrize("flag", FLAGS)
def test_a_heeded_flag_of_an_added_token_gives_what_transformers_gives(copy_of, probe, flag):
    name, values = FLAGS[flag]
    expected = []
    for value in values:
        folder = copy_of(name)
        flags = token("<new>") | {flag: value}
        if flag == "special":
            del flags["normalized"]
        patch(folder, "tokenizer_config.json", **({"added_tokens_decoder": {str(NEXT): flags}} if name == "bert" else
                                                  {"mask_token": flags | dict(__type="AddedToken")}))
        expected.append(of_transformers(folder, logits=False))
        assert_same(probe(folder, TEXTS, logits=False), expected[-1])
    assert differs(*expected)


# Heeded keys that no table above has, and what holds them instead.
RATES = "in training alone; tests/model/classifier_files_test.cpp"
ELSEWHERE = {
    "config.json": {
        "model_type": "the plain directories are of three families",
        "architectures": "model_weights_test.py: heads for other tasks",
        "num_labels": "test_classes_are_those_of_transformers",
        "problem_type": "objectives_test.py",
        "dtrain_pooling": "transformers has no such key; tests/model/classifier_files_test.cpp",
        "tokenizer_class": "test_the_tokenizers_class_may_be_in_config_json",
        "initializer_range": "a trained head has its weights; tests/model/classifier_files_test.cpp"},
    **{f"config.json of {family}": dict.fromkeys(
        ["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"], RATES)
       for family in ("bert", "roberta")},
    "config.json of distilbert": dict.fromkeys(["dropout", "attention_dropout", "seq_classif_dropout"], RATES),
    "tokenizer.json of WordPiece": {
        "model.type": "the plain directories have two", "model.vocab": "every id of the plain directories is of it"},
    "tokenizer.json of byte-level BPE": {
        "model.type": "the plain directories have two", "model.vocab": "every id of the plain directories is of it",
        "model.merges": "the plain directories' tokens of several letters are of them"},
    "an added token": {"id": "transformers gives another one all the same: refused"},
    "modules.json": {"type": "tests/model/classifier_files_test.cpp", "path": "tests/model/classifier_files_test.cpp"},
    "1_Pooling/config.json": {
        key: "tests/model/classifier_files_test.cpp" for key in (
            "pooling_mode", "pooling_mode_mean_tokens", "pooling_mode_cls_token", "pooling_mode_max_tokens",
            "pooling_mode_mean_sqrt_len_tokens", "pooling_mode_weightedmean_tokens", "pooling_mode_lasttoken")},
}
PARTS_OF = {"generic": "WordPiece", "byte_level": "byte-level BPE"}


def keys_that_are_tried():
    """(list, key) of the tables above; a part of a key's value (normalizer.lowercase) tries the key, too."""
    tried = {("an added token", flag) for flag in FLAGS}
    tried |= {("config.json of distilbert", key) for key in RENAMED}
    for (file, name), keys in [*HEEDED.items(), *((("config.json", family), keys) for family, keys in SHAPES.items())]:
        lists = {"config.json": [file, f"{file} of {name}"],
                 "tokenizer.json": [file, f"{file} of {PARTS_OF.get(name)}"]}.get(file, [file])
        tried |= {(of, part) for of in lists for key in keys for part in (key, key.split(".")[0])}
    return tried


def test_every_heeded_key_is_tried():
    tried = keys_that_are_tried()
    for file in dict.fromkeys(key["file"] for key in KEYS):
        heeded = {key["key"] for key in keys_of(file) if key["use"] == "heeded"}
        named = {key for of, key in tried if of == file}
        patterns = {pattern for pattern in heeded if pattern.startswith("*") and
                    any(key.endswith(pattern[1:]) and key not in heeded for key in named)}
        assert sorted(heeded - named - patterns) == sorted(ELSEWHERE.get(file, {})), file


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
    "bos_token_id": 3, "eos_token_id": 3, "decoder": {"type": "Fuse"}, "pre_tokenizer.trim_offsets": False,
}
PADDING = dict(strategy=dict(Fixed=80), direction="Left", pad_to_multiple_of=None, pad_id=1, pad_type_id=1, pad_token="[X]")
WITHOUT_EFFECT = [("config.json", "bert"), ("config.json of distilbert", "distilbert"), ("tokenizer_config.json", "bert"),
                  ("tokenizer_config.json", "roberta"), ("tokenizer_config.json", "generic"),
                  ("tokenizer.json", "generic"), ("tokenizer.json", "bert_whole"), ("tokenizer.json", "roberta_whole"),
                  ("tokenizer.json", "byte_level"), ("tokenizer.json of byte-level BPE", "byte_level")]


@pytest.mark.parametrize("file, family", WITHOUT_EFFECT)
def test_what_has_no_effect_here_has_none_in_transformers(directories, copy_of, probe, file, family):
    logits = file.startswith("config")
    plain = of_transformers(directories[family], logits)
    keys = [key["key"] for key in keys_of(file) if key["use"] == "no effect"]
    assert keys
    for key in keys:
        folder, name = copy_of(family), file.split(" ")[0]
        if (name, key) == ("tokenizer.json", "version"):
            without(folder, name, key)  # the tokenizers package reads no other version
        else:
            patch(folder, name, **{key: PADDING if (name, key) == ("tokenizer.json", "padding") else VALUES.get(key, 1)})
        assert not differs(of_transformers(folder, logits), plain), key
        assert_same(probe(folder, TEXTS, logits=logits), plain)


def test_the_mark_of_an_added_token_has_no_effect(copy_of, probe):
    found = []
    for mark in ({}, dict(__type="AddedToken")):
        folder = patch(copy_of("bert"), "special_tokens_map.json", mask_token=FLAGGED | mark)
        found.append(of_transformers(folder, logits=False))
        assert_same(probe(folder, TEXTS, logits=False), found[-1])
    assert not differs(*found)


def change_modules(folder, **values):
    path = folder / "modules.json"
    path.write_text(json.dumps([module | values for module in json.loads(path.read_text())]))


@pytest.mark.parametrize("file", ["modules.json", "1_Pooling/config.json", "sentence_bert_config.json"])
def test_what_has_no_effect_of_sentence_transformers_changes_nothing_and_is_not_said(copy_of, probe, sentence_directory,
                                                                                    file):
    def beside_a_classifier():
        folder = copy_of("bert")
        (folder / "1_Pooling").mkdir()
        for name in ("modules.json", "1_Pooling/config.json", "sentence_bert_config.json"):
            shutil.copy(sentence_directory / name, folder / name)
        return folder

    plain = probe(beside_a_classifier(), TEXTS)
    assert plain["notes"] == []
    for key in [key["key"] for key in keys_of(file) if key["use"] == "no effect"]:
        folder = beside_a_classifier()
        if file == "modules.json":
            change_modules(folder, **{key: "other"})
        else:
            patch(folder, file, **{key: "other"})
        assert probe(folder, TEXTS) == plain, key


def test_every_key_without_effect_is_tried():
    tried = {file for file, _ in WITHOUT_EFFECT} | {"an added token", "modules.json", "1_Pooling/config.json",
                                                    "sentence_bert_config.json"}
    assert {key["file"] for key in KEYS if key["use"] == "no effect"} == tried


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
