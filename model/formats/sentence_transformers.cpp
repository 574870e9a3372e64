#include "model/formats/sentence_transformers.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/json_file.h"
#include "base/named_file.h"

namespace dtrain::model {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

using enum KeyUse;

constexpr const char* kModes = "mean and cls are computed; with another, or with several, --pooling has to be given";
constexpr const char* kShape = "config.json has the sizes";
constexpr const char* kSearch = "for search, not for classification";

constexpr std::array kModules = {
    FileKey{"type", heeded,
            "what a module is: modules between encoder and pooling are not computed (give --pooling); "
            "a Normalize or Dropout behind it has no effect, as the head is trained on what is before; "
            "another is left out, which is noted"},
    FileKey{"path", heeded, "where the pooling module's config.json is"},
    FileKey{"idx", no_effect, "the modules are in their order"},
    FileKey{"name", no_effect, "a module's name"},
    FileKey{"kwargs", no_effect, "what is handed through to a module when it is called"},
};

constexpr std::array kPooling = {
    FileKey{"pooling_mode", heeded, kModes},
    FileKey{"pooling_mode_mean_tokens", heeded, kModes},
    FileKey{"pooling_mode_cls_token", heeded, kModes},
    FileKey{"pooling_mode_max_tokens", heeded, kModes},
    FileKey{"pooling_mode_mean_sqrt_len_tokens", heeded, kModes},
    FileKey{"pooling_mode_weightedmean_tokens", heeded, kModes},
    FileKey{"pooling_mode_lasttoken", heeded, kModes},
    FileKey{"embedding_dimension", no_effect, kShape},
    FileKey{"word_embedding_dimension", no_effect, kShape},
    FileKey{"include_prompt", no_effect, "no prompt is put before a text"},
};

constexpr std::array kSentenceBert = {
    FileKey{"do_lower_case", refused, "texts made small before the tokenizer", "[false]"},
    FileKey{"processing_kwargs", refused, "options of the tokenizer", "[{}]"},
    FileKey{"max_seq_length", no_effect, "--max-length decides"},
    FileKey{"transformer_task", no_effect, "the encoder alone is taken"},
    FileKey{"modality_config", no_effect, "texts alone are read"},
    FileKey{"module_output_name", no_effect, "the encoder's last layer is taken"},
    FileKey{"unpad_inputs", no_effect, "no text is padded"},
    FileKey{"query_length", no_effect, kSearch},
    FileKey{"document_length", no_effect, kSearch},
    FileKey{"query_expansion", no_effect, kSearch},
};

constexpr const char* kOlderMode = "pooling_mode_";

// The modes of a pooling module, as sentence-transformers names them: "mean", "cls", ...
std::vector<std::string> pooling_modes(const json& config) {
  std::vector<std::string> modes;
  if (const auto named = config.find("pooling_mode"); named != config.end() && !named->is_null()) {
    for (const json& mode : named->is_array() ? *named : json::array({*named}))
      modes.push_back(mode.is_string() ? mode.get<std::string>() : shown_json(mode));
    return modes;
  }
  for (const auto& [key, value] : config.items()) {
    if (!key.starts_with(kOlderMode) || value != true) continue;
    std::string mode = key.substr(std::string(kOlderMode).size());
    if (mode == "mean_tokens") mode = "mean";
    if (mode == "cls_token") mode = "cls";
    modes.push_back(mode);
  }
  if (modes.empty()) modes.emplace_back("mean");  // its default
  return modes;
}

void read_pooling_module(const fs::path& path, SentencePooling& result) {
  const json config = read_json_object(path);
  for (auto& note : check_keys(config, kPooling, path)) result.notes.push_back(std::move(note));
  const auto modes = pooling_modes(config);
  if (modes == std::vector<std::string>{"mean"}) {
    result.pooling = Pooling::mean;
  } else if (modes == std::vector<std::string>{"cls"}) {
    result.pooling = Pooling::cls;
  } else {
    result.problem =
        fmt::format("{}: the pooling '{}' is not supported; expected mean or cls alone. Choose with --pooling.",
                    path.string(), fmt::join(modes, "' and '"));
  }
}

json read_modules(const fs::path& path) {
  json modules = parse_json(read_file(path), path.string());
  const auto is_module = [](const json& module) {
    return module.is_object() && module.contains("type") && module["type"].is_string() &&
           (!module.contains("path") || module["path"].is_string());
  };
  if (!modules.is_array() || !std::all_of(modules.begin(), modules.end(), is_module)) {
    throw InputError(fmt::format("{}: expected a list of modules with their 'type' and 'path', found {}", path.string(),
                                 shown_json(modules)));
  }
  return modules;
}

void read_module_list(const fs::path& directory, SentencePooling& result) {
  const fs::path path = directory / "modules.json";
  bool pooled = false;
  for (const json& module : read_modules(path)) {
    for (auto& note : check_keys(module, kModules, path)) result.notes.push_back(std::move(note));
    const auto type = module["type"].get<std::string>();
    const std::string kind = type.substr(type.find_last_of('.') + 1);
    if (kind == "Transformer" || (pooled && (kind == "Normalize" || kind == "Dropout"))) continue;
    if (kind == "Pooling") {
      const std::string config = (fs::path(module.value("path", "")) / "config.json").string();
      read_pooling_module(named_file(directory, config, path.string()), result);
      pooled = true;
    } else if (pooled) {
      result.notes.push_back(fmt::format("{}: the module '{}' is left out: the head is trained on what is before it",
                                         path.string(), type));
    } else {
      result.problem = fmt::format("{}: the module '{}' before the pooling is not supported. Choose with --pooling.",
                                   path.string(), type);
      return;
    }
  }
}

}  // namespace

SentencePooling read_sentence_pooling(const fs::path& directory) {
  SentencePooling result;
  if (const fs::path path = directory / "sentence_bert_config.json"; fs::exists(path)) {
    for (auto& note : check_keys(read_json_object(path), kSentenceBert, path)) result.notes.push_back(std::move(note));
  }
  if (fs::exists(directory / "modules.json")) {
    read_module_list(directory, result);
  } else if (fs::exists(directory / "1_Pooling" / "config.json")) {
    read_pooling_module(directory / "1_Pooling" / "config.json", result);
  }
  return result;
}

std::span<const FileKey> modules_keys() { return kModules; }
std::span<const FileKey> pooling_keys() { return kPooling; }
std::span<const FileKey> sentence_bert_keys() { return kSentenceBert; }

}  // namespace dtrain::model
