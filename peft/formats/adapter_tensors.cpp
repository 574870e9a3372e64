#include "peft/formats/adapter_tensors.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ostream.h>

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/nearest_name.h"

namespace dtrain::peft {
namespace {

namespace fs = std::filesystem;

// The parameters of the head that its family of models has.
std::set<const model::Parameter*> head_parameters(const model::Classifier& classifier) {
  std::set<const model::Parameter*> head = {&classifier.classifier.weight, &classifier.classifier.bias};
  if (classifier.dense_is_head) head.insert({&classifier.dense.weight, &classifier.dense.bias});
  return head;
}

}  // namespace

std::string first_of(const TensorsByName& tensors) {
  if (tensors.empty()) return "";
  return fmt::format("; the file's tensors are such as '{}'", tensors.begin()->first);
}

TensorsByName::const_iterator find_tensor(const TensorsByName& tensors, const std::string& name) {
  for (const char* prefix : {"base_model.model.", "base_model.", ""}) {
    if (const auto found = tensors.find(prefix + name); found != tensors.end()) return found;
  }
  return tensors.end();
}

std::optional<std::int64_t> count_classes(const TensorsByName& tensors, const model::EncoderConfig& config,
                                          const model::Family& family, const fs::path& file) {
  const auto found = find_tensor(tensors, family.head.classifier + ".weight");
  if (found == tensors.end()) return std::nullopt;
  // Another width is another model's, which the tensors of its layers say better; but many classes of it would take
  // more memory than the file.
  const auto shape = found->second.sizes();
  if (shape.size() != 2 || shape[1] == 0 || (shape[0] > config.hidden_size && shape[1] != config.hidden_size)) {
    throw InputError(fmt::format("{}: tensor '{}': expected shape [classes, hidden], here [classes, {}], found {}",
                                 file.string(), found->first, config.hidden_size, fmt::streamed(shape)));
  }
  return shape[0];
}

void take_word_embeddings(model::Classifier& classifier, const TensorsByName& tensors, const fs::path& file) {
  const model::Parameter& words = *classifier.encoder().embedding_parameters().front();
  const auto found = find_tensor(tensors, words.name());
  if (found == tensors.end()) return;
  if (found->second.dim() != 2 || found->second.size(1) != words.value().size(1)) {
    throw InputError(
        fmt::format("{}: tensor '{}': expected shape [tokens, {}], found {}. Is the adapter for another model?",
                    file.string(), found->first, words.value().size(1), fmt::streamed(found->second.sizes())));
  }
  classifier.replace_word_embeddings(found->second.to(words.value().device()));
}

void drop_word_embeddings(model::Classifier& classifier, const Method& method, TensorsByName& tensors) {
  const model::Parameter* words = classifier.encoder().embedding_parameters().front();
  const auto named = method.file_parameters(classifier);
  const bool trains = std::any_of(named.begin(), named.end(), [&](const auto& each) { return each.second == words; });
  if (!trains) tensors.erase(find_tensor(tensors, words->name()));
}

void load_tensors(model::Classifier& classifier, const Method& method, TensorsByName tensors, bool keeps_head,
                  const fs::path& file, const fs::path& base_model) {
  const auto head = head_parameters(classifier);
  std::vector<std::string> known;
  for (const auto& [name, parameter] : method.file_parameters(classifier)) {
    known.push_back(name);
    const auto found = tensors.find(name);
    if (found == tensors.end() && keeps_head && head.count(parameter) > 0) continue;
    if (found == tensors.end()) {
      throw InputError(fmt::format("{}: tensor '{}' of shape {} is missing{}. Is the adapter for another model?",
                                   file.string(), name, fmt::streamed(parameter->value().sizes()), first_of(tensors)));
    }
    if (found->second.sizes() != parameter->value().sizes()) {
      throw InputError(
          fmt::format("{}: tensor '{}': the base model {} needs shape {}, found {}. Is the adapter for "
                      "another model?",
                      file.string(), name, base_model.string(), fmt::streamed(parameter->value().sizes()),
                      fmt::streamed(found->second.sizes())));
    }
    parameter->set_value(found->second.to(parameter->value().device()));
    tensors.erase(found);
  }
  if (!tensors.empty()) {
    const std::string& name = tensors.begin()->first;
    throw InputError(
        fmt::format("{}: tensor '{}' has no place in the base model {}{}. Is the adapter for another model?",
                    file.string(), name, base_model.string(), did_you_mean(name, known)));
  }
}

}  // namespace dtrain::peft
