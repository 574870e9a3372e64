#include "data/tokenizers/byte_level_bpe_loader.h"

#include <algorithm>
#include <utility>

#include "base/atomic_file.h"
#include "data/tokenizers/byte_level_bpe_tokenizer.h"
#include "data/tokenizers/special_tokens.h"

namespace dtrain::data {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

[[noreturn]] void refuse(const fs::path& path, const std::string& key, const json& found, const std::string& expected) {
  throw InputError(
      fmt::format("{}: '{}': {} is not supported; expected {}", path.string(), key, shown(found), expected));
}

TokenIds read_vocabulary(const json& tokens, const fs::path& path, ByteLevelBpeConfig& config) {
  if (!tokens.is_object() || tokens.empty())
    throw InputError(
        fmt::format("{}: expected an object of tokens and their ids, found {}", path.string(), shown(tokens)));
  config.vocabulary.resize(tokens.size());
  std::vector<bool> taken(tokens.size());
  TokenIds ids;
  for (const auto& [token, value] : tokens.items()) {
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() >= tokens.size()) {
      throw InputError(fmt::format("{}: token '{}': expected an id below the number of tokens, {}, found {}",
                                   path.string(), token, tokens.size(), shown(value)));
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
    throw InputError(fmt::format("{}: 'model.merges': expected a list, found {}", path.string(), shown(merges)));
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const json& merge = merges[rank];
    const std::string place = fmt::format("{}: 'model.merges[{}]'", path.string(), rank);
    if (merge.is_string()) {
      add_merge(merge.get<std::string>(), ids, place, config);
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      add_merge(merge[0].get<std::string>(), merge[1].get<std::string>(), ids, place, config);
    } else {
      throw InputError(fmt::format("{}: expected two tokens, found {}", place, shown(merge)));
    }
  }
}

void check_pipeline(const json& document, const fs::path& path) {
  if (!member(document, "normalizer").is_null())
    refuse(path, "normalizer", document["normalizer"], "none, as RoBERTa's tokenizer");
  const json& parts = member(document, "pre_tokenizer");
  if (!parts.is_object() || value_or<std::string>(parts, "type", "", path) != "ByteLevel" ||
      !value_or(parts, "use_regex", true, path)) {
    refuse(path, "pre_tokenizer", parts, "ByteLevel with use_regex");
  }
  const json& model = member(document, "model");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!value_or<std::string>(model, key, "", path).empty())
      refuse(path, fmt::format("model.{}", key), model[key], "none");
  }
  for (const char* key : {"byte_fallback", "ignore_merges"}) {
    if (value_or(model, key, false, path)) refuse(path, fmt::format("model.{}", key), model[key], "false");
  }
  if (value_or(model, "dropout", 0.0, path) != 0) refuse(path, "model.dropout", model["dropout"], "none");
  const json& truncation = member(document, "truncation");
  if (truncation.is_object() && value_or<std::string>(truncation, "direction", "Right", path) != "Right")
    refuse(path, "truncation.direction", truncation["direction"], "Right");
}

void check_options(const TokenizerFiles& files) {
  const fs::path path = files.path("tokenizer_config.json");
  const std::string name = files.tokenizer_class("RobertaTokenizer");
  if (!files.is_generic() && name != "RobertaTokenizer" && name != "RobertaTokenizerFast")
    refuse(path, "tokenizer_class", name, "RobertaTokenizer or PreTrainedTokenizerFast");
  if (value_or<std::string>(files.options, "truncation_side", "right", path) != "right")
    refuse(path, "truncation_side", files.options["truncation_side"], "right");
  if (value_or(files.options, "split_special_tokens", false, path)) refuse(path, "split_special_tokens", true, "false");
}

// The tokens of a template as text, "<s> A </s>"; the types of all have to be 0.
std::string template_text(const json& parts, const std::string& key, const fs::path& path) {
  std::string text;
  for (const json& part : parts) {
    for (const char* kind : {"SpecialToken", "Sequence"}) {
      const json& token = member(part, kind);
      if (!token.is_object()) continue;
      if (value_or(token, "type_id", 0, path) != 0) refuse(path, key, part, "type_id 0, as RoBERTa has no other");
      text += (text.empty() ? "" : " ") + value_or<std::string>(token, "id", "", path);
    }
  }
  return text;
}

// The processor that puts special tokens around the texts, alone or beside ByteLevel, which trims the offsets only.
const json& around_texts(const json& processor, const fs::path& path) {
  if (!processor.is_object() || value_or<std::string>(processor, "type", "", path) != "Sequence") return processor;
  const json* found = nullptr;
  for (const json& part : member(processor, "processors")) {
    if (value_or<std::string>(part, "type", "", path) == "ByteLevel") continue;
    if (found != nullptr) refuse(path, "post_processor", processor, "one besides ByteLevel");
    found = &part;
  }
  if (found == nullptr) refuse(path, "post_processor", processor, "one besides ByteLevel");
  return *found;
}

// What the generic class puts around the texts.
void read_post_processor(const json& all, const fs::path& path, const TokenIds& ids,
                         const std::vector<AddedToken>& added, ByteLevelBpeConfig& config) {
  const json& processor = around_texts(all, path);
  const std::string kind = processor.is_object() ? value_or<std::string>(processor, "type", "", path) : "";
  const auto id_of = [&](const std::string& token, const json& given) {
    const std::int32_t id = special_id(token, ids, added, path.string());
    if (given != id) refuse(path, "post_processor", given, "the id of " + token + " in the vocabulary");
    return id;
  };
  if (kind == "RobertaProcessing") {
    for (const auto& [key, id] : {std::pair("cls", &config.first), std::pair("sep", &config.separator)}) {
      const json& token = member(processor, key);
      if (!token.is_array() || token.size() != 2 || !token[0].is_string())
        refuse(path, fmt::format("post_processor.{}", key), token, "a token and its id");
      *id = id_of(token[0].get<std::string>(), token[1]);
    }
  } else if (kind == "TemplateProcessing") {
    const std::string single = template_text(member(processor, "single"), "post_processor.single", path);
    const std::string pair = template_text(member(processor, "pair"), "post_processor.pair", path);
    const std::size_t middle = std::min(single.find(" A "), single.size());
    const std::string first = single.substr(0, middle);
    const std::string separator = single.substr(std::min(middle + 3, single.size()));
    if (separator.empty() || pair != fmt::format("{0} A {1} {1} B {1}", first, separator))
      refuse(path, "post_processor", processor, "<s> A </s> and <s> A </s> </s> B </s>");
    const auto given = [&](const std::string& token) {
      const json& token_ids = member(member(member(processor, "special_tokens"), token.c_str()), "ids");
      return token_ids.is_array() && token_ids.size() == 1 ? token_ids[0] : token_ids;
    };
    config.first = id_of(first, given(first));
    config.separator = id_of(separator, given(separator));
  } else {
    refuse(path, "post_processor", processor, "RobertaProcessing or TemplateProcessing");
  }
}

}  // namespace

std::unique_ptr<Tokenizer> load_byte_level_bpe_tokenizer(const TokenizerFiles& files) {
  const fs::path whole = files.path("tokenizer.json");
  const bool has_whole = files.has("tokenizer.json");
  if (has_whole ? files.model() != "BPE" : !files.has("vocab.json") && !files.has("merges.txt")) return nullptr;
  check_options(files);
  ByteLevelBpeConfig config;
  config.files = files.present();
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
    if (!has_whole)
      refuse(files.path("tokenizer_config.json"), "tokenizer_class", files.tokenizer_class(""),
             "tokenizer.json with it");
    const json& model = files.pipeline["model"];
    config.add_prefix_space = value_or(files.pipeline["pre_tokenizer"], "add_prefix_space", true, whole);
    if (const auto unknown = value_or<std::string>(model, "unk_token", "", whole); !unknown.empty())
      config.unknown = special_id(unknown, ids, {}, whole.string());
    config.fuse_unknown = value_or(model, "fuse_unk", false, whole);
    read_post_processor(member(files.pipeline, "post_processor"), whole, ids, special.added, config);
  } else {
    config.first = special.first;
    config.separator = special.separator;
    config.add_prefix_space = value_or(files.options, "add_prefix_space", false, files.path("tokenizer_config.json"));
  }
  config.added = std::move(special.added);
  return make_byte_level_bpe_tokenizer(std::move(config));
}

}  // namespace dtrain::data
