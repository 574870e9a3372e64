#include "model/formats/config_keys.h"

#include <array>

#include "model/registry.h"

namespace dtrain::model {
namespace {

using enum KeyUse;

constexpr const char* kOrigin = "says where the model comes from";
constexpr const char* kOutputs = "asks transformers for other outputs besides";
constexpr const char* kKernels = "other ways to compute the same numbers";
constexpr const char* kGeneration = "for text generation";
constexpr const char* kTokens = "the tokenizer's files say which token it is";
constexpr const char* kOwnCode = "a model with code of its own, which is not run";
constexpr const char* kPooler = "of models before transformers; read by nothing";
constexpr const char* kCrossEncoder =
    "transformers' own classifier does not read it: probabilities are softmax or sigmoid";

constexpr std::array kCommon = {
    FileKey{"model_type", heeded, "the family; one that is not supported is refused"},
    FileKey{"architectures", heeded, "what the head is: trained for classification, for another task, or none"},
    FileKey{"num_labels", heeded, "the classes; where id2label has another number, they are LABEL_0 and so on"},
    FileKey{"id2label", heeded, "the names of the classes"},
    FileKey{"label2id", no_effect, "id2label decides"},
    FileKey{"problem_type", heeded, "one class of several, several labels, or numbers"},
    FileKey{"dtrain_pooling", heeded, "how dtrain pooled when it trained the model"},
    FileKey{"tokenizer_class", heeded, "where tokenizer_config.json names none"},
    FileKey{"pad_token_id", heeded, "its embedding does not train; RoBERTa's positions count from it"},
    FileKey{"max_position_embeddings", heeded, "the shape of the positions; the most tokens of a text"},
    FileKey{"vocab_size", heeded, "the shape of the embeddings"},
    FileKey{"initializer_range", heeded, "the deviation of a new head's weights"},
    FileKey{"is_encoder_decoder", refused, "a model of two parts", "[false]"},
    FileKey{"pruned_heads", refused, "layers with fewer heads", "[{}]"},
    FileKey{"per_layer_config", refused, "layers that differ from each other", "[{}]"},
    FileKey{"quantization_config", refused, "weights that are not plain floating-point numbers", "[{}]"},
    FileKey{"auto_map", refused, kOwnCode, "[{}]"},
    FileKey{"chunk_size_feed_forward", no_effect, kKernels},
    FileKey{"tie_word_embeddings", no_effect, "for language modelling"},
    FileKey{"use_cache", no_effect, kGeneration},
    FileKey{"dtype", no_effect, "weights are read as float; --precision decides"},
    FileKey{"torch_dtype", no_effect, "weights are read as float; --precision decides"},
    FileKey{"use_bfloat16", no_effect, "--precision decides"},
    FileKey{"gradient_checkpointing", no_effect, kKernels},
    FileKey{"attn_implementation", no_effect, kKernels},
    FileKey{"_attn_implementation", no_effect, kKernels},
    FileKey{"_attn_implementation_autoset", no_effect, kKernels},
    FileKey{"_attn_implementation_internal", no_effect, kKernels},
    FileKey{"experts_implementation", no_effect, kKernels},
    FileKey{"_experts_implementation", no_effect, kKernels},
    FileKey{"_experts_implementation_internal", no_effect, kKernels},
    FileKey{"torchscript", no_effect, kKernels},
    FileKey{"output_attentions", no_effect, kOutputs},
    FileKey{"_output_attentions", no_effect, kOutputs},
    FileKey{"output_hidden_states", no_effect, kOutputs},
    FileKey{"output_past", no_effect, kOutputs},
    FileKey{"return_dict", no_effect, kOutputs},
    FileKey{"transformers_version", no_effect, kOrigin},
    FileKey{"adapter_transformers_version", no_effect, kOrigin},
    FileKey{"_name_or_path", no_effect, kOrigin},
    FileKey{"name_or_path", no_effect, kOrigin},
    FileKey{"_commit_hash", no_effect, kOrigin},
    FileKey{"_num_labels", no_effect, "of transformers before 4; num_labels decides"},
    FileKey{"finetuning_task", no_effect, kOrigin},
    FileKey{"task_specific_params", no_effect, kGeneration},
    FileKey{"language", no_effect, kOrigin},
    FileKey{"directionality", no_effect, kPooler},
    FileKey{"pooler_fc_size", no_effect, kPooler},
    FileKey{"pooler_num_attention_heads", no_effect, kPooler},
    FileKey{"pooler_num_fc_layers", no_effect, kPooler},
    FileKey{"pooler_size_per_head", no_effect, kPooler},
    FileKey{"pooler_type", no_effect, kPooler},
    FileKey{"sentence_transformers", no_effect, kCrossEncoder},
    FileKey{"sbert_ce_default_activation_function", no_effect, kCrossEncoder},
    FileKey{"bos_token_id", no_effect, kTokens},
    FileKey{"eos_token_id", no_effect, kTokens},
    FileKey{"sep_token_id", no_effect, kTokens},
    FileKey{"cls_token_id", no_effect, kTokens},
    FileKey{"mask_token_id", no_effect, kTokens},
    FileKey{"decoder_start_token_id", no_effect, kGeneration},
    FileKey{"prefix", no_effect, kGeneration},
    FileKey{"assistant_confidence_threshold", no_effect, kGeneration},
    FileKey{"assistant_lookbehind", no_effect, kGeneration},
    FileKey{"bad_words_ids", no_effect, kGeneration},
    FileKey{"begin_suppress_tokens", no_effect, kGeneration},
    FileKey{"diversity_penalty", no_effect, kGeneration},
    FileKey{"do_sample", no_effect, kGeneration},
    FileKey{"early_stopping", no_effect, kGeneration},
    FileKey{"encoder_no_repeat_ngram_size", no_effect, kGeneration},
    FileKey{"encoder_repetition_penalty", no_effect, kGeneration},
    FileKey{"epsilon_cutoff", no_effect, kGeneration},
    FileKey{"eta_cutoff", no_effect, kGeneration},
    FileKey{"exponential_decay_length_penalty", no_effect, kGeneration},
    FileKey{"forced_bos_token_id", no_effect, kGeneration},
    FileKey{"forced_eos_token_id", no_effect, kGeneration},
    FileKey{"length_penalty", no_effect, kGeneration},
    FileKey{"max_length", no_effect, kGeneration},
    FileKey{"min_length", no_effect, kGeneration},
    FileKey{"no_repeat_ngram_size", no_effect, kGeneration},
    FileKey{"num_assistant_tokens", no_effect, kGeneration},
    FileKey{"num_assistant_tokens_schedule", no_effect, kGeneration},
    FileKey{"num_beam_groups", no_effect, kGeneration},
    FileKey{"num_beams", no_effect, kGeneration},
    FileKey{"num_return_sequences", no_effect, kGeneration},
    FileKey{"output_scores", no_effect, kGeneration},
    FileKey{"remove_invalid_values", no_effect, kGeneration},
    FileKey{"repetition_penalty", no_effect, kGeneration},
    FileKey{"return_dict_in_generate", no_effect, kGeneration},
    FileKey{"suppress_tokens", no_effect, kGeneration},
    FileKey{"target_lookbehind", no_effect, kGeneration},
    FileKey{"temperature", no_effect, kGeneration},
    FileKey{"top_k", no_effect, kGeneration},
    FileKey{"top_p", no_effect, kGeneration},
    FileKey{"typical_p", no_effect, kGeneration},
};

}  // namespace

std::span<const FileKey> common_config_keys() { return kCommon; }

std::vector<FileKey> config_keys(const Family& family) {
  std::vector<FileKey> keys(family.config_keys.begin(), family.config_keys.end());
  keys.insert(keys.end(), kCommon.begin(), kCommon.end());
  return keys;
}

}  // namespace dtrain::model
