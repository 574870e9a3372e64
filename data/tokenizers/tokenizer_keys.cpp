#include "data/tokenizers/tokenizer_keys.h"

#include <array>

namespace dtrain::data {
namespace {

constexpr KeyUse heeded = KeyUse::heeded;
constexpr KeyUse no_effect = KeyUse::no_effect;
constexpr KeyUse refused = KeyUse::refused;

constexpr const char* kSpecial = "split off the text before anything else";
constexpr const char* kNoPadding = "no text is padded";
constexpr const char* kMaxLength = "--max-length decides";
constexpr const char* kOrigin = "says where the files come from";
constexpr const char* kNoDecoding = "for ids back to text";
constexpr const char* kNoOffsets = "for offsets of tokens in the text";
constexpr const char* kNoChat = "for chats";
constexpr const char* kJapanese = "the words of another tokenizer";
constexpr const char* kSlow = "transformers' tokenizers of today do not read it";

constexpr std::array kTokenizerConfig = {
    FileKey{"tokenizer_class", heeded, "which rules and defaults hold; a class that is not supported is refused"},
    FileKey{"do_lower_case", heeded, "BertTokenizer: letters made small (and accents dropped, where not said)"},
    FileKey{"strip_accents", heeded, "BertTokenizer: accents dropped"},
    FileKey{"tokenize_chinese_chars", heeded, "BertTokenizer: each Chinese character a word"},
    FileKey{"add_prefix_space", heeded, "RobertaTokenizer: a text begins as if after a space"},
    FileKey{"truncation_side", heeded, "which end of a long text is cut"},
    FileKey{"model_input_names", heeded, "whether the model is given token types"},
    FileKey{"unk_token", heeded, "what an unknown word becomes (BertTokenizer); split off the text"},
    FileKey{"cls_token", heeded, "the first token; split off the text"},
    FileKey{"sep_token", heeded, "the token behind a text; split off the text"},
    FileKey{"bos_token", heeded, kSpecial},
    FileKey{"eos_token", heeded, kSpecial},
    FileKey{"pad_token", heeded, kSpecial},
    FileKey{"mask_token", heeded, kSpecial},
    FileKey{"additional_special_tokens", heeded, kSpecial},
    FileKey{"extra_special_tokens", heeded, kSpecial},
    FileKey{"model_specific_special_tokens", heeded, kSpecial},
    FileKey{"added_tokens_decoder", heeded, "added tokens, their ids and flags"},
    FileKey{"split_special_tokens", refused, "special tokens in a text are no text", "[false]"},
    FileKey{"fast_tokenizer_files", refused, "a tokenizer.json for each version", R"([[], ["tokenizer.json"]])"},
    FileKey{"auto_map", refused, "a tokenizer with code of its own, which is not run", "[{}]"},
    FileKey{"word_tokenizer_type", refused, kJapanese},
    FileKey{"subword_tokenizer_type", refused, kJapanese},
    FileKey{"mecab_kwargs", refused, kJapanese},
    FileKey{"sudachi_kwargs", refused, kJapanese},
    FileKey{"jumanpp_kwargs", refused, kJapanese},
    FileKey{"spm_file", refused, kJapanese},
    FileKey{"do_word_tokenize", refused, kJapanese, "[true]"},
    FileKey{"do_subword_tokenize", refused, kJapanese, "[true]"},
    FileKey{"model_max_length", no_effect, kMaxLength},
    FileKey{"max_len", no_effect, kMaxLength},
    FileKey{"max_length", no_effect, kMaxLength},
    FileKey{"stride", no_effect, "a long text is cut, not split"},
    FileKey{"truncation_strategy", no_effect, "pairs are cut longest first, as with truncation=True"},
    FileKey{"padding", no_effect, kNoPadding},
    FileKey{"truncation", no_effect, kMaxLength},
    FileKey{"padding_side", no_effect, kNoPadding},
    FileKey{"pad_to_multiple_of", no_effect, kNoPadding},
    FileKey{"pad_token_type_id", no_effect, kNoPadding},
    FileKey{"clean_up_tokenization_spaces", no_effect, kNoDecoding},
    FileKey{"clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output", no_effect, kNoDecoding},
    FileKey{"errors", no_effect, kNoDecoding},
    FileKey{"trim_offsets", no_effect, kNoOffsets},
    FileKey{"add_bos_token", no_effect, "the class, or tokenizer.json, says what is put around a text"},
    FileKey{"add_eos_token", no_effect, "the class, or tokenizer.json, says what is put around a text"},
    FileKey{"do_basic_tokenize", no_effect, kSlow},
    FileKey{"never_split", no_effect, kSlow},
    FileKey{"use_fast", no_effect, kSlow},
    FileKey{"special_tokens_pattern", no_effect, kSlow},
    FileKey{"token_type_ids_pattern", no_effect, kSlow},
    FileKey{"token_type_ids_include_special_tokens", no_effect, kSlow},
    FileKey{"init_inputs", no_effect, kOrigin},
    FileKey{"backend", no_effect, kOrigin},
    FileKey{"is_local", no_effect, kOrigin},
    FileKey{"local_files_only", no_effect, kOrigin},
    FileKey{"files_loaded", no_effect, kOrigin},
    FileKey{"name_or_path", no_effect, kOrigin},
    FileKey{"_commit_hash", no_effect, kOrigin},
    FileKey{"processor_class", no_effect, kOrigin},
    FileKey{"special_tokens_map_file", no_effect, kOrigin},
    FileKey{"tokenizer_file", no_effect, kOrigin},
    FileKey{"vocab_file", no_effect, kOrigin},
    FileKey{"merges_file", no_effect, kOrigin},
    FileKey{"device_map", no_effect, kOrigin},
    FileKey{"verbose", no_effect, "for transformers' log"},
    FileKey{"chat_template", no_effect, kNoChat},
    FileKey{"chat_control_tokens", no_effect, kNoChat},
    FileKey{"response_template", no_effect, kNoChat},
    FileKey{"response_schema", no_effect, kNoChat},
    FileKey{"*_token", heeded, kSpecial},
};

constexpr std::array kTokenizerJson = {
    FileKey{"added_tokens", heeded, "added tokens, their ids and flags"},
    FileKey{"model", heeded, "vocabulary and merges; the rest of it with the generic class"},
    FileKey{"truncation", heeded, "its direction, where tokenizer_config.json says no truncation_side"},
    FileKey{"normalizer", heeded, "with the generic class; a class of one architecture has its own"},
    FileKey{"pre_tokenizer", heeded, "with the generic class; a class of one architecture has its own"},
    FileKey{"post_processor", heeded, "with the generic class; a class of one architecture has its own"},
    FileKey{"padding", no_effect, kNoPadding},
    FileKey{"decoder", no_effect, kNoDecoding},
    FileKey{"version", no_effect, kOrigin},
};

constexpr std::array kWordPiecePipeline = {
    FileKey{"model.type", heeded, "which kind of tokenizer it is"},
    FileKey{"model.vocab", heeded, "the tokens and their ids"},
    FileKey{"model.unk_token", heeded, "what an unknown word becomes"},
    FileKey{"model.max_input_chars_per_word", heeded, "a longer word is unknown; more than 1,000 are refused"},
    FileKey{"model.continuing_subword_prefix", refused, "what marks the pieces inside of a word", R"(["##"])"},
    FileKey{"normalizer.type", refused, "how text is normalized", R"(["BertNormalizer"])"},
    FileKey{"normalizer.clean_text", refused, "control characters and white space", "[true]"},
    FileKey{"normalizer.handle_chinese_chars", heeded, "each Chinese character a word"},
    FileKey{"normalizer.strip_accents", heeded, "accents dropped"},
    FileKey{"normalizer.lowercase", heeded, "letters made small"},
    FileKey{"pre_tokenizer.type", refused, "where words end", R"(["BertPreTokenizer"])"},
};

constexpr std::array kByteLevelPipeline = {
    FileKey{"model.type", heeded, "which kind of tokenizer it is"},
    FileKey{"model.vocab", heeded, "the tokens and their ids"},
    FileKey{"model.merges", heeded, "the pairs that become one token, in their order"},
    FileKey{"model.unk_token", heeded, "what a byte without a token becomes"},
    FileKey{"model.fuse_unk", heeded, "whether several in a row become one"},
    FileKey{"model.dropout", refused, "merges left out at random", "[0, 0.0]"},
    FileKey{"model.continuing_subword_prefix", refused, "what marks the pieces inside of a word", R"([""])"},
    FileKey{"model.end_of_word_suffix", refused, "what marks the end of a word", R"([""])"},
    FileKey{"model.byte_fallback", refused, "tokens for single bytes", "[false]"},
    FileKey{"model.ignore_merges", refused, "whole words before merges", "[false]"},
    FileKey{"pre_tokenizer.type", refused, "where words end", R"(["ByteLevel"])"},
    FileKey{"pre_tokenizer.use_regex", refused, "where words end", "[true]"},
    FileKey{"pre_tokenizer.add_prefix_space", heeded, "a text begins as if after a space"},
    FileKey{"pre_tokenizer.trim_offsets", no_effect, kNoOffsets},
};

constexpr std::array kAddedToken = {
    FileKey{"content", heeded, "the token's text"},
    FileKey{"id", heeded, "its own in the vocabulary, or the next"},
    FileKey{"lstrip", heeded, "takes the white space before it"},
    FileKey{"rstrip", heeded, "takes the white space behind it"},
    FileKey{"normalized", heeded, "looked for in the normalized text"},
    FileKey{"single_word", refused, "a token that is no part of a word", "[false]"},
    FileKey{"special", heeded, "not normalized, where the file does not say"},
    FileKey{"__type", no_effect, "says that this is a token"},
};

constexpr std::array kSpecialTokensMap = {
    FileKey{"unk_token", heeded, "as in tokenizer_config.json, where that has no added_tokens_decoder"},
    FileKey{"additional_special_tokens", heeded, "as in tokenizer_config.json"},
    FileKey{"extra_special_tokens", heeded, "as in tokenizer_config.json"},
    FileKey{"*_token", heeded, "as in tokenizer_config.json"},
};

constexpr std::array kAddedTokens = {
    FileKey{"*", heeded, "a token and its id, where tokenizer_config.json has no added_tokens_decoder"},
};

}  // namespace

std::span<const FileKey> tokenizer_config_keys() { return kTokenizerConfig; }
std::span<const FileKey> tokenizer_json_keys() { return kTokenizerJson; }
std::span<const FileKey> wordpiece_pipeline_keys() { return kWordPiecePipeline; }
std::span<const FileKey> byte_level_pipeline_keys() { return kByteLevelPipeline; }
std::span<const FileKey> added_token_keys() { return kAddedToken; }
std::span<const FileKey> special_tokens_map_keys() { return kSpecialTokensMap; }
std::span<const FileKey> added_tokens_json_keys() { return kAddedTokens; }

}  // namespace dtrain::data
