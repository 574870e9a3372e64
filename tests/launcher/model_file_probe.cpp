// What dtrain makes of model directories, for model_files_test.py to compare with transformers.
//
// model_file_probe keys: the lists of what the files may hold, a JSON line for each key.
// model_file_probe ask: a JSON request a line on standard input, its answer a line on standard output:
//   {"directory", "texts": [[text, pair or null, max_length], ...], "logits"}
//   {"ids", "types", "notes", "vocabulary"} and, where asked for, {"labels", "logits"}; else {"error"}.

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "base/error.h"
#include "base/file_keys.h"
#include "data/tokenizers/tokenizer.h"
#include "data/tokenizers/tokenizer_keys.h"
#include "model/formats/classifier_files.h"
#include "model/formats/config_keys.h"
#include "model/formats/sentence_transformers.h"
#include "model/registry.h"
#include "model/token_batch.h"

namespace dtrain {
namespace {

using nlohmann::json;

void print_keys(const std::string& file, std::span<const FileKey> keys) {
  for (const FileKey& key : keys) {
    std::cout << json{{"file", file},
                      {"key", key.key},
                      {"use", key_use_name(key.use)},
                      {"reason", key.reason},
                      {"neutral", json::parse(key.neutral)}}
                     .dump()
              << "\n";
  }
}

void print_all_keys() {
  print_keys("config.json", model::common_config_keys());
  for (const model::Family& family : model::families())
    print_keys("config.json of " + family.model_type, family.config_keys);
  print_keys("tokenizer_config.json", data::tokenizer_config_keys());
  print_keys("tokenizer.json", data::tokenizer_json_keys());
  print_keys("tokenizer.json of WordPiece", data::wordpiece_pipeline_keys());
  print_keys("tokenizer.json of byte-level BPE", data::byte_level_pipeline_keys());
  print_keys("an added token", data::added_token_keys());
  print_keys("special_tokens_map.json", data::special_tokens_map_keys());
  print_keys("added_tokens.json", data::added_tokens_json_keys());
  print_keys("modules.json", model::modules_keys());
  print_keys("1_Pooling/config.json", model::pooling_keys());
  print_keys("sentence_bert_config.json", model::sentence_bert_keys());
}

model::TokenBatch one_example(const data::TokenizedText& tokens) {
  const auto size = static_cast<std::int64_t>(tokens.ids.size());
  const auto places = at::arange(size, at::kLong);
  return {.ids = at::tensor(tokens.ids, at::kLong),
          .types = places.ge(tokens.second_segment).to(at::kLong),
          .positions = places,
          .offsets = at::tensor(std::vector<std::int64_t>{0, size}, at::kLong),
          .max_length = size};
}

json numbers(const at::Tensor& row) {
  const auto values = row.to(at::kDouble).contiguous();
  return std::vector<double>(values.const_data_ptr<double>(), values.const_data_ptr<double>() + values.numel());
}

json answer(const json& request) {
  const std::filesystem::path directory = request["directory"].get<std::string>();
  json found = {{"ids", json::array()}, {"types", json::array()}, {"notes", json::array()}};
  Log log;
  log.warning = [&](std::string_view note) { found["notes"].push_back(note); };
  const auto tokenizer = data::load_tokenizer(directory, log);
  found["vocabulary"] = tokenizer->vocabulary_size();
  std::unique_ptr<model::Classifier> classifier;
  if (request.value("logits", false)) {
    classifier = model::load_classifier({.directory = directory, .pooling = {}, .trained_head = true});
    for (const auto& note : classifier->config().notes) found["notes"].push_back(note);
    found["labels"] = classifier->config().labels;
    found["logits"] = json::array();
  }
  for (const json& row : request["texts"]) {
    const auto text = row[0].get<std::string>();
    const auto pair = row[1].is_null() ? "" : row[1].get<std::string>();
    const std::string_view second = pair;
    const auto tokens = tokenizer->tokenize(text, row[1].is_null() ? nullptr : &second, row[2].get<std::int32_t>());
    found["ids"].push_back(tokens.ids);
    std::vector<int> types(tokens.ids.size(), 1);
    std::fill_n(types.begin(), tokens.second_segment, 0);
    found["types"].push_back(types);
    if (classifier) {
      model::ForwardContext context;
      found["logits"].push_back(numbers(classifier->forward(one_example(tokens), context)));
    }
  }
  return found;
}

}  // namespace
}  // namespace dtrain

int main(int count, char** arguments) {
  if (count != 2) return 2;
  if (std::string(arguments[1]) == "keys") {
    dtrain::print_all_keys();
    return 0;
  }
  const at::NoGradGuard no_grad;
  std::string line;
  while (std::getline(std::cin, line)) {
    nlohmann::json answer;
    try {
      answer = dtrain::answer(nlohmann::json::parse(line));
    } catch (const dtrain::Error& error) {
      answer = {{"error", error.what()}};
    }
    // A message may hold bytes of a damaged file.
    std::cout << answer.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << std::endl;
  }
}
