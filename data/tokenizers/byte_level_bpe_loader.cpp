#include "data/tokenizers/byte_level_bpe_loader.h"

#include <algorithm>
#include <utility>

#include "base/atomic_file.h"
#include "data/tokenizers/byte_level_bpe_tokenizer.h"
#include "data/tokenizers/post_processor.h"
#include "data/tokenizers/special_tokens.h"
#include "data/tokenizers/tokenizer_keys.h"

namespace dtrain::data {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

TokenIds read_vocabulary(const json& tokens, const fs::path& path, ByteLevelBpeConfig& config) {
  if (!tokens.is_object() || tokens.empty())
    throw InputError(
        fmt::format("{}: expected an object of tokens and their ids, found {}", path.string(), shown_json(tokens)));
  config.vocabulary.resize(tokens.size());
  std::vector<bool> taken(tokens.size());
  TokenIds ids;
  for (const auto& [token, value] : tokens.items()) {
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() >= tokens.size()) {
      throw InputError(fmt::format("{}: token '{}': expected an id below the number of tokens, {}, found {}",
                                   path.string(), token, tokens.size(), shown_json(value)));
    }
    const auto id = value.get<std::size_t>();
    if (taken[id]) {
      throw InputError(fmt::format("{}: the tokens '{}' and '{}' have the same id, {}", path.string(),
                                   config.vocabulary[id], token, id));
    }
    taken[id] = true;
    config.vocabulary[id] = token;
    ids.emplace(token, static_cast<std::int32_t>(id));
  }
  return ids;
}

void add_merge(const std::string& left, const std::string& right, const TokenIds& ids, const std::string& place,
               ByteLevelBpeConfig& config) {
  const auto id_of = [&](const std::string& token) {
    const auto found = ids.find(token);
    if (found == ids.end()) throw InputError(fmt::format("{}: '{}' is not in the vocabulary", place, token));
    return found->second;
  };
  config.merges.push_back({id_of(left), id_of(right), id_of(left + right)});
}

void add_merge(const std::string& merge, const TokenIds& ids, const std::string& place, ByteLevelBpeConfig& config) {
  const std::size_t space = merge.find(' ');
  if (space == std::string::npos || space == 0 || space + 1 == merge.size() ||
      merge.find(' ', space + 1) != std::string::npos)
    throw InputError(fmt::format("{}: expected two tokens with one space between them, found '{}'", place, merge));
  add_merge(merge.substr(0, space), merge.substr(space + 1), ids, place, config);
}

void read_merges_text(const fs::path& path, const TokenIds& ids, ByteLevelBpeConfig& config) {
  const std::string content = read_file(path);
  std::int64_t number = 0;
  for (std::size_t begin = 0; begin < content.size();) {
    ++number;
    const std::size_t end = std::min(content.find('\n', begin), content.size());
    std::string line = content.substr(begin, end - begin);
    if (line.ends_with('\r')) line.pop_back();
    if (!line.starts_with("#version")) add_merge(line, ids, fmt::format("{}:{}", path.string(), number), config);
    begin = end + 1;
  }
}

// Each as "left right", or as a list of the two.
void read_merges(const json& merges, const fs::path& path, const TokenIds& ids, ByteLevelBpeConfig& config) {
  if (!merges.is_array())
    throw InputError(fmt::format("{}: 'model.merges': expected a list, found {}", path.string(), shown_json(merges)));
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const json& merge = merges[rank];
    const std::string place = fmt::format("{}: 'model.merges[{}]'", path.string(), rank);
    if (merge.is_string()) {
      add_merge(merge.get<std::string>(), ids, place, config);
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      add_merge(merge[0].get<std::string>(), merge[1].get<std::string>(), ids, place, config);
    } else {
      throw InputError(fmt::format("{}: expected two tokens, found {}", place, shown_json(merge)));
    }
  }
}

void check_pipeline(const json& document, const fs::path& path) {
  if (!member(document, "normalizer").is_null())
    refuse(path, "normalizer", document["normalizer"], "none, as RoBERTa's tokenizer");
  const json& parts = member(document, "pre_tokenizer");
  if (!parts.is_object() || member(parts, "type").is_null()) refuse(path, "pre_tokenizer", parts, "ByteLevel");
  check_keys(parts, byte_level_pipeline_keys(), path, "pre_tokenizer.");
  check_keys(member(document, "model"), byte_level_pipeline_keys(), path, "model.");
}

}  // namespace

std::unique_ptr<Tokenizer> load_byte_level_bpe_tokenizer(const TokenizerFiles& files) {
  const fs::path whole = files.path("tokenizer.json");
  const bool has_whole = files.has("tokenizer.json");
  if (has_whole ? files.model() != "BPE" : !files.has("vocab.json") && !files.has("merges.txt")) return nullptr;
  const fs::path options = files.path("tokenizer_config.json");
  if (!files.is_generic() && files.tokenizer_class != TokenizerClass::roberta)
    refuse(options, "tokenizer_class", member(files.options, "tokenizer_class"),
           "RobertaTokenizer or PreTrainedTokenizerFast with a byte-level BPE model");
  if (files.is_generic() && !has_whole)
    refuse(options, "tokenizer_class", member(files.options, "tokenizer_class"), "tokenizer.json with it");
  ByteLevelBpeConfig config;
  TokenIds ids;
  if (has_whole) {
    check_pipeline(files.pipeline, whole);
    const json& model = files.pipeline["model"];
    ids = read_vocabulary(member(model, "vocab"), whole, config);
    read_merges(member(model, "merges"), whole, ids, config);
  } else {
    for (const char* name : {"vocab.json", "merges.txt"}) {
      if (!files.has(name))
        throw InputError(
            fmt::format("{}: expected both vocab.json and merges.txt; {} is missing", files.directory.string(), name));
    }
    ids = read_vocabulary(read_json_object(files.path("vocab.json")), files.path("vocab.json"), config);
    read_merges_text(files.path("merges.txt"), ids, config);
  }
  SpecialTokens special = read_special_tokens(files, ids);
  if (files.is_generic()) {
    const json& model = files.pipeline["model"];
    config.add_prefix_space = value_or(files.pipeline["pre_tokenizer"], "add_prefix_space", true, whole);
    if (const auto unknown = value_or<std::string>(model, "unk_token", "", whole); !unknown.empty())
      config.unknown = special_id(unknown, ids, {}, whole.string());
    config.fuse_unknown = value_or(model, "fuse_unk", false, whole);
    config.layout = read_post_processor(member(files.pipeline, "post_processor"), whole, ids, special.added);
  } else {
    config.layout.first = special.first;
    config.layout.separator = special.separator;
    config.add_prefix_space = value_or(files.options, "add_prefix_space", false, options);
  }
  config.layout.typed = config.layout.typed && files.has_token_types();
  if (files.truncation_side() == "left") config.layout.truncation_side = TruncationSide::left;
  config.added = std::move(special.added);
  return make_byte_level_bpe_tokenizer(std::move(config));
}

}  // namespace dtrain::data
