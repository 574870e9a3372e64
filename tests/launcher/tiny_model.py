"""tiny_model.py TOKENIZER FOLDER: the model of most tests here, written once for all of their files: importing transformers
takes as long as several of them."""

import pathlib
import shutil
import sys


def write_tiny_model(tokenizer, folder):
    """A BERT of two layers, 32 wide, with 64 positions and the tokenizer of another model, saved by transformers."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=30522, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                         intermediate_size=64, max_position_embeddings=64)).save_pretrained(folder)
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, folder / name)
    (folder / "model.safetensors").chmod(0o644)


if __name__ == "__main__":
    given, made = map(pathlib.Path, sys.argv[1:])
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    write_tiny_model(given, made)
