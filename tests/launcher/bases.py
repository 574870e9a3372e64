"""Small models of random weights, of families beside BERT, as transformers and tokenizers write them."""

import shutil

from conftest import MINILM, rows

# The files of each family's tokenizer.
TOKENIZERS = {"roberta": ["vocab.json", "merges.txt"],
              "distilbert": ["vocab.txt", "tokenizer.json", "tokenizer_config.json"]}


def write_roberta(folder, positions):
    """Byte pairs that are learnt here, no tokenizer.json, and positions that count from the padding token on."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaConfig, RobertaModel

    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator([text for _, text in rows(120, 1)], vocab_size=320, show_progress=False,
                                  special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    tokenizer.save_model(str(folder))
    RobertaModel(RobertaConfig(vocab_size=tokenizer.get_vocab_size(), hidden_size=32, num_hidden_layers=2,
                               num_attention_heads=4, intermediate_size=64, max_position_embeddings=positions + 2,
                               type_vocab_size=1)).save_pretrained(folder)


def write_distilbert(folder, positions):
    from transformers import DistilBertConfig, DistilBertModel

    for name in TOKENIZERS["distilbert"]:
        shutil.copy(MINILM / name, folder)
    DistilBertModel(DistilBertConfig(vocab_size=30522, dim=32, n_layers=2, n_heads=4, hidden_dim=64,
                                     max_position_embeddings=positions)).save_pretrained(folder)
