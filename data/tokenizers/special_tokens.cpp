#include "data/tokenizers/special_tokens.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

namespace dtrain::data {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// In the order in which transformers adds them, with the names that RobertaTokenizer gives them.
struct Named {
  const char* key;
  const char* content;
};
constexpr Named kNamed[] = {{"bos_token", "<s>"},    {"eos_token", "</s>"},  {"unk_token", "<unk>"},
                            {"sep_token", "</s>"},   {"pad_token", "<pad>"}, {"cls_token", "<s>"},
                            {"mask_token", "<mask>"}};

// A token as its text, or as an object of that and its flags. A special one is not normalized unless it says so.
AddedToken token_of(const json& value, const std::string& key, bool special, const fs::path& path) {
  if (value.is_string()) return {.content = value.get<std::string>(), .normalized = !special};
  if (!value.is_object() || !member(value, "content").is_string())
    throw InputError(fmt::format("{}: '{}': expected a token, found {}", path.string(), key, shown(value)));
  AddedToken token{.content = value["content"].get<std::string>(),
                   .lstrip = value_or(value, "lstrip", false, path),
                   .rstrip = value_or(value, "rstrip", false, path),
                   .normalized = value_or(value, "normalized", !value_or(value, "special", special, path), path)};
  if (value_or(value, "single_word", false, path)) {
    throw InputError(
        fmt::format("{}: '{}': token '{}': 'single_word' is not supported", path.string(), key, token.content));
  }
  return token;
}

bool contains(const std::vector<AddedToken>& tokens, const std::string& content) {
  return std::any_of(tokens.begin(), tokens.end(), [&](const auto& token) { return token.content == content; });
}

// The special tokens without an id: by their keys, and beyond those.
struct NamedTokens {
  std::map<std::string, AddedToken, std::less<>> by_key;
  std::vector<AddedToken> extra;

  void read(const json& document, const fs::path& path) {
    for (const Named& named : kNamed) {
      if (!document.contains(named.key)) continue;
      by_key.erase(named.key);
      if (!document[named.key].is_null()) by_key[named.key] = token_of(document[named.key], named.key, true, path);
    }
    for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
      const json& tokens = member(document, key);
      if (!tokens.is_null() && !tokens.is_array())
        throw InputError(fmt::format("{}: '{}': expected a list, found {}", path.string(), key, shown(tokens)));
      for (const json& token : tokens) extra.push_back(token_of(token, key, true, path));
    }
  }

  bool has(const std::string& content) const {
    return contains(extra, content) || std::any_of(by_key.begin(), by_key.end(),
                                                   [&](const auto& named) { return named.second.content == content; });
  }
};

// A token as a file lists it, with the id that the file gives it.
struct Listed {
  AddedToken token;
  fs::path path;
};

std::int32_t parse_id(const std::string& text, const fs::path& path) {
  std::int32_t id = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size() || id < 0)
    throw InputError(fmt::format("{}: 'added_tokens_decoder': expected an id, found '{}'", path.string(), text));
  return id;
}

std::vector<Listed> listed_in_pipeline(const TokenizerFiles& files) {
  const fs::path path = files.path("tokenizer.json");
  const json& tokens = member(files.pipeline, "added_tokens");
  if (!tokens.is_null() && !tokens.is_array())
    throw InputError(fmt::format("{}: 'added_tokens': expected a list, found {}", path.string(), shown(tokens)));
  std::vector<Listed> listed;
  for (const json& value : tokens) {
    listed.push_back({token_of(value, "added_tokens", false, path), path});
    listed.back().token.id = value_or(value, "id", -1, path);
  }
  return listed;
}

std::vector<Listed> listed_beside_vocabulary(const TokenizerFiles& files, const NamedTokens& named) {
  const fs::path path = files.path("added_tokens.json");
  std::vector<Listed> listed;
  if (!files.has("added_tokens.json")) return listed;
  const json document = read_json_object(path);
  for (const auto& [content, id] : document.items()) {
    listed.push_back({{.content = content, .normalized = !named.has(content)}, path});
    listed.back().token.id = value_or(document, content.c_str(), -1, path);
  }
  return listed;
}

// What tokenizer_config.json lists, which is all there is where it lists any.
std::vector<Listed> listed_in_options(const TokenizerFiles& files) {
  const fs::path path = files.path("tokenizer_config.json");
  const json& decoder = files.options["added_tokens_decoder"];
  if (!decoder.is_object())
    throw InputError(
        fmt::format("{}: 'added_tokens_decoder': expected an object, found {}", path.string(), shown(decoder)));
  std::vector<Listed> listed;
  for (const auto& [id, value] : decoder.items()) {
    listed.push_back({token_of(value, fmt::format("added_tokens_decoder.{}", id), false, path), path});
    listed.back().token.id = parse_id(id, path);
  }
  return listed;
}

// The added tokens so far; the ids beyond the vocabulary follow from their order.
class AddedTokenList {
 public:
  explicit AddedTokenList(const TokenIds& vocabulary) : vocabulary_(vocabulary) {}

  // One that is there already takes its later flags.
  void add(AddedToken token) {
    token.id = id_of(token.content);
    next_ = std::max(next_, token.id + 1);
    for (AddedToken& other : tokens_) {
      if (other.content == token.content) {
        other = std::move(token);
        return;
      }
    }
    tokens_.push_back(std::move(token));
  }
  void add(const Listed& listed) {
    const std::int32_t id = id_of(listed.token.content);
    // transformers would give it the id all the same, and leave the one in the file unsaid.
    if (listed.token.id != id) {
      throw InputError(fmt::format(
          "{}: added token '{}': expected the id {}, {}, found {}", listed.path.string(), listed.token.content, id,
          vocabulary_.contains(listed.token.content) ? "its own in the vocabulary" : "the next", listed.token.id));
    }
    add(listed.token);
  }
  const std::vector<AddedToken>& tokens() const { return tokens_; }

 private:
  std::int32_t id_of(const std::string& content) const {
    if (const auto found = vocabulary_.find(content); found != vocabulary_.end()) return found->second;
    for (const AddedToken& token : tokens_) {
      if (token.content == content) return token.id;
    }
    return next_;
  }

  const TokenIds& vocabulary_;
  std::int32_t next_ = static_cast<std::int32_t>(vocabulary_.size());
  std::vector<AddedToken> tokens_;
};

}  // namespace

SpecialTokens read_special_tokens(const TokenizerFiles& files, const TokenIds& vocabulary) {
  NamedTokens named;
  if (!files.is_generic()) {
    for (const Named& token : kNamed) named.by_key[token.key] = {.content = token.content};
  }
  named.read(files.options, files.path("tokenizer_config.json"));
  AddedTokenList list(vocabulary);
  if (files.is_generic()) {
    for (const Listed& listed : listed_in_pipeline(files)) list.add(listed);
  }
  std::vector<Listed> listed;
  if (files.options.contains("added_tokens_decoder")) {
    listed = listed_in_options(files);
  } else {
    if (files.has("special_tokens_map.json"))
      named.read(read_json_object(files.path("special_tokens_map.json")), files.path("special_tokens_map.json"));
    listed = listed_beside_vocabulary(files, named);
    for (Listed& token : listed_in_pipeline(files)) listed.push_back(std::move(token));
  }
  std::stable_sort(listed.begin(), listed.end(),
                   [](const Listed& left, const Listed& right) { return left.token.id < right.token.id; });
  for (const Listed& token : listed) list.add(token);

  SpecialTokens result;
  if (!files.is_generic()) {
    const std::string place = files.directory.string();
    result.first = special_id(named.by_key["cls_token"].content, vocabulary, list.tokens(), place);
    result.separator = special_id(named.by_key["sep_token"].content, vocabulary, list.tokens(), place);
  }
  for (const Named& token : kNamed) {
    const auto found = named.by_key.find(token.key);
    if (found != named.by_key.end() && !contains(list.tokens(), found->second.content)) list.add(found->second);
  }
  for (const AddedToken& token : named.extra) {
    if (!contains(list.tokens(), token.content)) list.add(token);
  }
  result.added = list.tokens();
  return result;
}

std::int32_t special_id(const std::string& content, const TokenIds& vocabulary, const std::vector<AddedToken>& added,
                        const std::string& place) {
  if (const auto found = vocabulary.find(content); found != vocabulary.end()) return found->second;
  for (const AddedToken& token : added) {
    if (token.content == content) return token.id;
  }
  throw InputError(fmt::format("{}: the special token '{}' is not in the vocabulary", place, content));
}

}  // namespace dtrain::data
