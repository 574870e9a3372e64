#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "model/classifier.h"
#include "model/encoder_config.h"
#include "model/registry.h"
#include "peft/method.h"

/// The tensors of an adapter's file and their places in its base model. `file` is named in messages, all of which are
/// InputErrors.
namespace dtrain::peft {

using TensorsByName = std::map<std::string, at::Tensor>;

/// For a message about a tensor that is not there: one that nobody has asked for.
std::string first_of(const TensorsByName& tensors);

/// The tensor of the base model's `name`; a method that wraps modules and one that does not write it under different
/// prefixes.
TensorsByName::const_iterator find_tensor(const TensorsByName& tensors, const std::string& name);

/// The classes that the head in an adapter's file has; unset where there is no head.
std::optional<std::int64_t> count_classes(const TensorsByName& tensors, const model::EncoderConfig& config,
                                          const model::Family& family, const std::filesystem::path& file);

/// Word embeddings of the adapter's own, of any number of tokens, take the place of the base model's, as where PEFT
/// loads an adapter into a model whose vocabulary was resized.
void take_word_embeddings(model::Classifier& classifier, const TensorsByName& tensors,
                          const std::filesystem::path& file);

/// They are where they belong; of `tensors` stays what a method trains.
void drop_word_embeddings(model::Classifier& classifier, const Method& method, TensorsByName& tensors);

/// Those of a method that is attached. `keeps_head`: the file may lack the head, which stays the base model's.
void load_tensors(model::Classifier& classifier, const Method& method, TensorsByName tensors, bool keeps_head,
                  const std::filesystem::path& file, const std::filesystem::path& base_model);

}  // namespace dtrain::peft
