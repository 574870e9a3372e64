"""config_keys_check.py peft|adapters FILE: every key that the installed package can write into the adapter_config.json of a
method that dtrain has is in the tables of FILE (docs/adapter-files.md)."""

import dataclasses
import pathlib
import re
import sys


def tables(text, part):
    """The keys of each section of a part of the document."""
    text = re.search(rf"^## {part}\n(.*?)(?=^## |\Z)", text, re.M | re.S)[1]
    sections = re.split(r"^### (.+)\n", text, flags=re.M)[1:]
    return {title: set(re.findall(r"^\| `(\w+)` \|", body, re.M)) for title, body in zip(sections[::2], sections[1::2])}


def fields(config):
    return {field.name for field in dataclasses.fields(config)}


def check_peft(text):
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PeftConfig, PeftType

    known = tables(text, "PEFT")
    common = known.pop("every method")
    yield "every method", fields(PeftConfig), common
    assert len(known) >= 15, sorted(known)
    for title, keys in known.items():
        config = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(title)]
        yield title, fields(config), common | keys


def check_adapters(text):
    import tempfile

    import adapters
    from transformers import BertConfig, BertForSequenceClassification

    known = tables(text, "adapter-hub")
    configs = {"bottleneck": adapters.BnConfig, "lora": adapters.LoRAConfig, "prefix_tuning": adapters.PrefixTuningConfig}
    assert configs.keys() | {"adapter_config.json", "head_config.json", "union"} == known.keys(), sorted(known)
    for title, config in configs.items():
        yield title, fields(config) | {"architecture"}, known[title]
    yield "union", set(adapters.MAMConfig().to_dict()), known["union"]
    model = BertForSequenceClassification(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, intermediate_size=8,
                                                     num_attention_heads=1))
    adapters.init(model)
    model.add_adapter("a", config="seq_bn")
    with tempfile.TemporaryDirectory() as folder:
        import json

        model.save_adapter(folder, "a")
        model.save_head(folder)
        for name in ("adapter_config.json", "head_config.json"):
            yield name, set(json.loads((pathlib.Path(folder) / name).read_text())), known[name]


def main():
    package, file = sys.argv[1:]
    text = pathlib.Path(file).read_text(encoding="utf-8")
    failed = False
    for title, written, known in {"peft": check_peft, "adapters": check_adapters}[package](text):
        assert len(written) > 1, title
        for key in sorted(written - known):
            failed = True
            print(f"{title}: {key} is not in {file}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
