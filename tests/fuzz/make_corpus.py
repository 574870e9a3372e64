"""make_corpus.py FOLDER: writes the inputs that the fuzz targets begin with, in one folder a target.

The files are what transformers, peft, torch and dtrain itself write, of models as small as they get. What fuzzers have
found since (names that begin with "found-") lies beside them and is not written here.
"""

import io
import json
import pathlib
import struct
import sys
import tempfile
import zipfile

import torch

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "launcher"))
import digests  # noqa: E402
import journals  # noqa: E402

CORPUS = pathlib.Path(sys.argv[1])
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "the", "##a", "##b", "é"]


def save(target, name, content):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def with_line_ends(safetensors):
    """Of a safetensors file what fuzz_target.h puts a length before."""
    size = struct.unpack("<Q", safetensors[:8])[0]
    return safetensors[8:8 + size] + b"\n" + safetensors[8 + size:]


def bundle(files):
    parts = []
    for name, content in files.items():
        if isinstance(content, (dict, list)):
            content = json.dumps(content, ensure_ascii=False)
        content = content if isinstance(content, bytes) else content.encode()
        if name.endswith(".safetensors"):
            content = with_line_ends(content)
        parts.append(b"==== " + name.encode() + b"\n" + content)
    return b"\n".join(parts)


def tensors(metadata=None, **named):
    from safetensors.torch import save as serialized
    return serialized({name: tensor.clone() for name, tensor in named.items()}, metadata)


def torch_file(state, protocol=2):
    """What torch.save writes."""
    file = io.BytesIO()
    torch.save(state, file, pickle_protocol=protocol)
    return file.getvalue()


def pickled(torch_bytes):
    """Of a torch file the pickle, what torch_archive.h makes an archive of."""
    with zipfile.ZipFile(io.BytesIO(torch_bytes)) as archive:
        return archive.read(next(entry for entry in archive.namelist() if entry.endswith("/data.pkl")))


# --- Models --------------------------------------------------------------------------------------------------------------

def model_configs():
    from transformers import BertConfig, DistilBertConfig, RobertaConfig
    small = dict(vocab_size=11, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
                 max_position_embeddings=64)
    configs = {
        "bert": BertConfig(**small, architectures=["BertForSequenceClassification"], num_labels=2),
        "roberta": RobertaConfig(**small, architectures=["RobertaModel"]),
        "distilbert": DistilBertConfig(vocab_size=11, dim=8, n_layers=2, n_heads=2, hidden_dim=16, dropout=0.2,
                                       problem_type="regression"),
    }
    for name, config in configs.items():
        files = {"config.json": config.to_dict()}
        if name == "bert":
            files["modules.json"] = [
                {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
                {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]
            files["1_Pooling/config.json"] = {"word_embedding_dimension": 8, "pooling_mode_mean_tokens": True,
                                              "pooling_mode_cls_token": False}
            files["sentence_bert_config.json"] = {"max_seq_length": 64, "do_lower_case": False}
        if name == "roberta":
            files["model.safetensors.index.json"] = {"metadata": {"total_size": 8}, "weight_map": {"a": "a.safetensors"}}
            files["a.safetensors"] = tensors(a=torch.ones(2))
        save("model_config", name, bundle(files))
    state = pickled(torch_file({"a": torch.ones(2, 8), "b": torch.arange(4)}))
    save("model_config", "torch", bundle({"config.json": configs["bert"].to_dict(), "pytorch_model.bin": state}))
    save("model_config", "torch-shards", bundle({
        "pytorch_model.bin.index.json": {"metadata": {"total_size": 96}, "weight_map": {"a": "a.bin", "b": "a.bin"}},
        "a.bin": state}))


def tokenizers():
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    added = [{"id": index, "content": WORDS[index], "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": True} for index in range(5)]
    template = {"type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                           {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
                "pair": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                         {"SpecialToken": {"id": "[SEP]", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}},
                         {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
                "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                                   "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}}
    whole = {"version": "1.0", "truncation": {"direction": "Left", "max_length": 16, "strategy": "LongestFirst", "stride": 0},
             "padding": None, "added_tokens": added,
             "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                            "strip_accents": None, "lowercase": True},
             "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": template,
             "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
             "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                       "max_input_chars_per_word": 100, "vocab": vocabulary}}
    options = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "strip_accents": None,
               "tokenize_chinese_chars": True, "truncation_side": "left", "unk_token": "[UNK]", "model_max_length": 64,
               "added_tokens_decoder": {str(token["id"]): {key: token[key] for key in token if key != "id"}
                                        for token in added}}
    save("tokenizer", "wordpiece", bundle({"tokenizer.json": whole, "tokenizer_config.json": options}))
    save("tokenizer", "wordpiece-generic",
         bundle({"tokenizer.json": whole, "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"}}))
    save("tokenizer", "vocabulary", bundle({
        "vocab.txt": "\n".join(WORDS) + "\n", "tokenizer_config.json": {"do_lower_case": False},
        "special_tokens_map.json": {"cls_token": "[CLS]", "mask_token": {"content": "[MASK]", "lstrip": True},
                                    "additional_special_tokens": ["[A]", "[B]"]},
        "added_tokens.json": {"[A]": 11, "[B]": 12}}))
    # Every byte, and two merges.
    bytes_shown = [chr(code) for code in [*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324)]]
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *bytes_shown, "Ġa", "Ġab"]
    bpe = {token: index for index, token in enumerate(tokens)}
    save("tokenizer", "bpe", bundle({"vocab.json": bpe, "merges.txt": "#version: 0.2\nĠ a\nĠa b\n",
                                     "tokenizer_config.json": {"add_prefix_space": True}}))
    save("tokenizer", "bpe-generic", bundle({
        "tokenizer.json": {
            "version": "1.0", "added_tokens": [], "normalizer": None,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            "post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": True,
                               "add_prefix_space": False},
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "fuse_unk": False, "vocab": bpe,
                      "merges": [["Ġ", "a"], "Ġa b"]}},
        "tokenizer_config.json": {"tokenizer_class": "TokenizersBackend"}}))


# --- Tensors -------------------------------------------------------------------------------------------------------------

def weights():
    types = tensors(a=torch.ones(2, 3), b=torch.zeros(2, dtype=torch.float64), c=torch.ones(3, dtype=torch.bfloat16),
                    d=torch.arange(2), e=torch.tensor([True]), f=torch.zeros(0, 4, dtype=torch.float16),
                    g=torch.zeros((), dtype=torch.int8))
    save("safetensors", "types", types)
    save("safetensors", "lines", b"\n" + with_line_ends(types))
    save("safetensors", "digest", b"\n" + with_line_ends(tensors(
        metadata={"format": "pt", "dtrain_digest": digests.xxh3_128(torch.ones(2, 3).numpy().tobytes())}, a=torch.ones(2, 3))))
    shared = torch.arange(16.0)
    states = {"plain": {"a": torch.ones(2, 3), "b": shared[2:6], "c": shared.view(4, 4).T},
              "state": torch.nn.Linear(2, 3).state_dict(),
              "parameters": {"a": torch.nn.Parameter(torch.zeros(1)), "b": torch.ones(2, dtype=torch.int64),
                             "c": torch.zeros(3, dtype=torch.bfloat16)}}
    for name, state in states.items():
        for protocol in (2, 4):
            file = torch_file(state, protocol)
            save("tensor_pickle", f"{name}-{protocol}", pickled(file))
            if protocol == 2:
                save("torch_file", name, file)


# --- Adapters ------------------------------------------------------------------------------------------------------------

def adapters():
    import peft
    from safetensors.torch import load as loaded
    from transformers import BertConfig, BertForSequenceClassification
    base = BertConfig(vocab_size=11, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
                      max_position_embeddings=64, num_labels=2)
    linear = dict(task_type="SEQ_CLS", target_modules=["query", "value"])
    task = dict(task_type="SEQ_CLS")
    configs = {
        "lora": peft.LoraConfig(r=2, **linear, rank_pattern={"layer.0.*query": 1}, layers_to_transform=[0],
                                layers_pattern="layer"),
        "dora": peft.LoraConfig(r=2, use_dora=True, task_type="SEQ_CLS", target_modules=r".*\.1\..*(key|value)"),
        "adalora": peft.AdaLoraConfig(init_r=3, target_r=2, total_step=10, tinit=1, tfinal=1, **linear),
        "loha": peft.LoHaConfig(r=2, **linear), "lokr": peft.LoKrConfig(r=2, **linear),
        "oft": peft.OFTConfig(r=0, oft_block_size=4, **linear), "boft": peft.BOFTConfig(boft_block_size=4, **linear),
        "hra": peft.HRAConfig(r=2, **linear), "vera": peft.VeraConfig(r=2, **linear),
        "randlora": peft.RandLoraConfig(r=2, **linear), "fourierft": peft.FourierFTConfig(n_frequency=5, **linear),
        "ia3": peft.IA3Config(task_type="SEQ_CLS", target_modules=["key", "output.dense"],
                              feedforward_modules=["output.dense"]),
        "prefix": peft.PrefixTuningConfig(num_virtual_tokens=2, **task),
        "prompt": peft.PromptTuningConfig(num_virtual_tokens=2, **task),
        "p-tuning": peft.PromptEncoderConfig(num_virtual_tokens=2, encoder_hidden_size=8, **task),
        "norm": peft.LNTuningConfig(task_type="SEQ_CLS", target_modules=["LayerNorm"]),
    }
    for name, config in configs.items():
        torch.manual_seed(0)
        model = peft.get_peft_model(BertForSequenceClassification(base), config)
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            files = {file: (pathlib.Path(folder) / file).read_bytes()
                     for file in ("adapter_config.json", "adapter_model.safetensors")}
            save("adapter", name, bundle(files))
            if name == "lora":
                state = loaded(files["adapter_model.safetensors"])
                save("adapter", "lora-torch", bundle({"adapter_config.json": files["adapter_config.json"],
                                                      "adapter_model.bin": pickled(torch_file(state))}))
    head = {"classifier.weight": torch.ones(2, 8), "classifier.bias": torch.zeros(2)}
    save("adapter", "head", bundle({
        "dtrain.json": {"schema": 1, "method": "head", "base_model": "base", "pooling": "mean", "labels": ["a", "b"],
                        "problem_type": "single_label_classification"},
        "weights.safetensors": tensors(**head)}))
    bottleneck = {}
    for layer in (0, 1):
        place = f"bert.encoder.layer.{layer}.output.adapters.x"
        bottleneck |= {f"{place}.adapter_down.0.weight": torch.ones(4, 8), f"{place}.adapter_down.0.bias": torch.ones(4),
                       f"{place}.adapter_up.weight": torch.ones(8, 4), f"{place}.adapter_up.bias": torch.ones(8)}
    described = {
        "adapter_config.json": {
            "config": {"mh_adapter": False, "output_adapter": True, "reduction_factor": 2, "non_linearity": "relu",
                       "original_ln_before": True, "original_ln_after": True, "residual_before_ln": True,
                       "adapter_residual_before_ln": False, "ln_before": False, "ln_after": False,
                       "is_parallel": False, "scaling": 1.0, "use_gating": False, "dropout": 0.0, "leave_out": []},
            "hidden_size": 8, "model_class": "BertAdapterModel", "model_name": "base", "model_type": "bert", "name": "x",
            "version": "adapters.1.2.0"},
        "head_config.json": {"config": None, "hidden_size": 8, "label2id": {"a": 0, "b": 1}, "model_name": "base",
                             "model_type": "bert", "name": None, "num_labels": 2,
                             "model_class": "BertForSequenceClassification"}}
    save("adapter", "pfeiffer", bundle(described | {
        "adapter.safetensors": tensors(**bottleneck), "model_head.safetensors": tensors(**head)}))
    save("adapter", "pfeiffer-torch", bundle(described | {
        "pytorch_adapter.bin": pickled(torch_file(bottleneck)), "pytorch_model_head.bin": pickled(torch_file(head))}))


# --- Data and runs -------------------------------------------------------------------------------------------------------

def data_files():
    save("data_file", "pairs-tsv", "tsv\nlabel\tsentence1\tsentence2\nnoun.plant\tash tree\tany of various trees\n"
                                   "b\té\t中文\r\n\n")
    save("data_file", "plain-tsv", "tsv\nx\tone\ny\ttwo\ty\n")
    save("data_file", "quoted-tsv", 'tsv\n"label"\t"text"\r"x"\t"a ""quoted""\tword"\r"y"\t"two\r\nlines"\r')
    save("data_file", "csv", 'csv\nlabel,text,pair\r\nx,"a ""quoted"" word","two\r\nlines"\r\ny,,\r\n"",b,c\r\n')
    save("data_file", "semicolons", 'csv unlabelled\ntext;label\r\n"a; b";x \r\nc;X\r\n;-\r\n')
    save("data_file", "numbers", "csv first second rows\none,1\ntwo,2.5\nthree,-1\n")
    save("data_file", "lists", "csv lists header\ntext,label\none,a;b\ntwo,\n")
    save("data_file", "jsonl", 'jsonl\n{"label": 1, "text": "\\u00e9 \\ud83d\\ude00", "pair": null}\n'
                               '{"text": "b", "label": true, "more": [1, {"a": ["b"]}]}\n')
    save("data_file", "array", 'json\n[{"text": "a ]}", "label": ["x", 1]},\n {"text": "b", "label": []}]\n')
    save("data_file", "within", 'json\n{"n": [2], "data": [{"sentence1": "a", "sentence2": "\\u00e9", "label": 1.0}, '
                                '{"sentence1": "b", "sentence2": "", "label": -1}]}')
    save("data_file", "columns", 'json\n{"text": {"0": "a", "1": "b"}, "label": {"0": 1, "1": 0}}')


def token_caches():
    """Of token_cache_fuzz.cpp's two texts, "abc" with "de" and "z"; the target puts the digest right."""
    def cache(offsets, segments, ids, examples=2):
        header = struct.pack("<8sIIQQ16x", b"dtrtoken", 3, examples, len(ids), 0)
        return header + struct.pack(f"<{len(offsets + segments + ids)}i", *offsets, *segments, *ids)

    save("token_cache", "whole", cache([0, 5, 6], [3, 1], [0, 1, 2, 3, 4, 25]))
    save("token_cache", "other-ids", cache([0, 2, 5], [1, 3], [7, 8, 9, 10, 11]))
    save("token_cache", "many", cache([0, 5, 6], [3, 1], [0, 1, 2, 3, 4, 25], examples=2**32 - 1))
    save("token_cache", "beyond", cache([0, 600, 6], [3, 1], [0, 1, 2, 3, 4, 25]))
    save("token_cache", "cut", cache([0, 5, 6], [3, 1], [0, 1, 2, 3, 4, 25])[:-3])


def checkpoints():
    values = torch.linspace(-1, 1, 5)
    state = {"schema": 3, "step": 2, "best_step": 1, "passed_over": 0, "train_seconds": 1.5, "flop": 1e9,
             "identity": {"method": "lora", "steps": "4", "learning rate": "0.001"}}
    whole = tensors(values=values, first_moments=values, second_moments=values.abs(), best_values=values,
                    best_metric=torch.tensor([0.5], dtype=torch.float64),
                    **{"hooks.a.exp_avg_ipt": torch.ones(2), "hooks.a.rank_pattern": torch.tensor([True, False])})
    log = "".join(json.dumps({"step": step, "steps": 4, "loss": 1.0, "learning_rate": 1e-3}) + "\n" for step in (1, 2, 5))
    save("checkpoint", "two", bundle({"step-2/state.json": state, "step-2/state.safetensors": whole,
                                      "step-1/state.json": state | {"step": 1}, "step-1/state.safetensors": whole,
                                      "log.jsonl": log}))
    save("checkpoint", "log", bundle({"log.jsonl": log + '{"step": 3'}))


def studies():
    plan = journals.study_plan(["full", "head"], [100, 1000], seeds=2, examples=8)
    trials = journals.study_trials(plan, curves=False)
    lines = [{"schema": 2, "plan": plan}, *trials,
             {"costs": [{"method": "head", "samples": 100, "cost": trials[0]["cost"]}]},
             {"run": {"ended": True, "groups": 2, "ranks_per_trial": 1, "budget_seconds": None,
                      "forecast_seconds": 9.0, "seconds": 10.0, "idle_share": 0.1, "changes": []}}]
    save("journal", "study", "".join(json.dumps(line) + "\n" for line in lines))
    one = journals.study_plan(["head"], [100], seeds=1, examples=4, sets=("test",))
    few = journals.study_trials(one)
    save("journal", "one-method", "".join(json.dumps(line) + "\n" for line in [{"schema": 2, "plan": one}, *few]))
    save("journal", "digests", "".join(digests.with_digest(json.dumps(line)) + "\n" for line in [{"schema": 2, "plan": one}, *few]))
    scores = few[-1] | {"scores": {"test": {"examples": 4, "numbers": [0.5, 1, 0, 0.25]}}}
    save("journal", "begun", "".join(json.dumps(line) + "\n" for line in [{"schema": 2, "plan": one}, scores]) + '{"pha')
    save("study_files", "diagnosed", bundle({
        "journal.jsonl": "".join(json.dumps(line) + "\n" for line in [{"schema": 2, "plan": one}, *few]),
        "study.json": {"schema": 1, "begun": "2026-11-29 10:00 UTC", "machine": "2 cores", "command": "dtrain compare",
                       "versions": ["dtrain 0.1.0"], "labels": journals.LABELS, "notes": ["a <note>"]},
        "diagnose.json": {"schema": 1, "words": ["The frozen body <costs> 9 points."]}}))
    save("finished_run", "same", bundle({
        "config.ini": "# dtrain train\nlr = 1e-3\nmethod = lora:r=8\nood = forum=c.tsv\ntrain = a.tsv\nthreads = 2\n",
        "results.json": {"schema": 1, "data": {"train": "01", "ood.forum": "02"}}}))
    save("finished_run", "other", bundle({
        "config.ini": "lr = 0.01\nmethod = head\nclass-weights = w.json\nood = forum=b.tsv\nood = more=d.tsv\n",
        "results.json": {"data": {"train": "03", "dev": "04", "class-weights": "05"}}}))
    save("finished_run", "by-name", bundle({"config.ini": "train = b.tsv\n", "results.json": {"schema": 1}}))
    save("class_weights", "weights", json.dumps({"spam": 5, "ham": 0.5}))
    save("class_weights", "another", json.dumps({"ham": 1, "spam": 1e-3, "hamm": 2}))
    save("class_weights", "text", json.dumps({"ham": "1", "spam": None}))
    save("plan_file", "plan", json.dumps({
        "schema": 1, "samples": [100, 1000], "seed": 0, "subset_seed": 0, "result_seeds": [1, 2, 3], "search": "halving",
        "methods": [{"method": "lora:r=16:target_modules=query+value", "learning_rates": [5e-4, 1.5e-3],
                     "range": [5e-5, 5e-3]}, {"method": "head", "learning_rates": [0.01], "range": [0.003, 0.03]}]}))
    save("config_file", "config", "# dtrain train\nmethod = lora:r=8\nlr = 0.001\nepochs = 3\nbatch-size = 32\n"
                                  "max-length = 128\npooling = auto\nood = forum=forum.csv\nseed = 1 # the first\n"
                                  "text-column = c#\nprecision = fp32\nresume = false\nwarmup-ratio = .06\n")


for write in (model_configs, tokenizers, weights, adapters, data_files, token_caches, checkpoints, studies):
    write()
