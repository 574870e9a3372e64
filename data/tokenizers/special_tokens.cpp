#include "data/tokenizers/special_tokens.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <map>
#include <unordered_set>

#include "data/tokenizers/tokenizer_keys.h"

namespace dtrain::data {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// In the order in which transformers adds them, with what the class of an architecture calls them; null: it has none.
struct Named {
  const char* key;
  const char* of_bert;
  const char* of_roberta;
};
constexpr Named kNamed[] = {{"bos_token", nullptr, "<s>"},     {"eos_token", nullptr, "</s>"},
                            {"unk_token", "[UNK]", "<unk>"},   {"sep_token", "[SEP]", "</s>"},
                            {"pad_token", "[PAD]", "<pad>"},   {"cls_token", "[CLS]", "<s>"},
                            {"mask_token", "[MASK]", "<mask>"}};

bool is_named(std::string_view key) {
  return std::any_of(std::begin(kNamed), std::end(kNamed), [&](const Named& named) { return key == named.key; });
}

// A token as its text, or as an object of that and its flags. A special one is not normalized unless it says so.
AddedToken token_of(const json& value, const std::string& key, bool special, const fs::path& path) {
  if (value.is_string()) return {.content = value.get<std::string>(), .normalized = !special};
  if (!value.is_object() || !member(value, "content").is_string())
    throw InputError(fmt::format("{}: '{}': expected a token, found {}", path.string(), key, shown_json(value)));
  check_keys(value, added_token_keys(), path);
  return {.content = value["content"].get<std::string>(),
          .lstrip = value_or(value, "lstrip", false, path),
          .rstrip = value_or(value, "rstrip", false, path),
          .normalized = value_or(value, "normalized", !value_or(value, "special", special, path), path)};
}

// Each is looked for in every text.
constexpr std::size_t kMostAddedTokens = 100'000;

// The special tokens without an id: by their keys, and beyond those.
struct NamedTokens {
  std::map<std::string, AddedToken, std::less<>> by_key;
  std::map<std::string, AddedToken, std::less<>> specific;
  std::vector<AddedToken> extra;
  std::unordered_set<std::string> extra_contents;

  // Those of tokenizer_config.json, or of special_tokens_map.json after it.
  void read(const json& document, const fs::path& path) {
    for (const auto& [key, value] : document.items()) {
      if (is_named(key)) {
        by_key.erase(key);
        if (!value.is_null()) by_key[key] = token_of(value, key, true, path);
      } else if (key.ends_with("_token") && (value.is_string() || value.is_object())) {
        specific[key] = token_of(value, key, true, path);  // a model's own, "image_token"
      }
    }
    read_specific(member(document, "model_specific_special_tokens"), "model_specific_special_tokens", path);
    if (const json& more = member(document, "extra_special_tokens"); more.is_object()) {
      read_specific(more, "extra_special_tokens", path);
    } else {
      read_extra(more, "extra_special_tokens", path);
    }
    // The older name of the same list, which transformers reads where the newer one is not there.
    if (extra.empty()) read_extra(member(document, "additional_special_tokens"), "additional_special_tokens", path);
  }

  // Named ones in their order, then a model's own.
  std::vector<AddedToken> in_order() const {
    std::vector<AddedToken> tokens;
    for (const Named& named : kNamed) {
      if (const auto found = by_key.find(named.key); found != by_key.end()) tokens.push_back(found->second);
    }
    for (const auto& [key, token] : specific) tokens.push_back(token);
    tokens.insert(tokens.end(), extra.begin(), extra.end());
    return tokens;
  }

  bool has(const std::string& content) const {
    return extra_contents.contains(content) || std::any_of(by_key.begin(), by_key.end(), [&](const auto& named) {
             return named.second.content == content;
           });
  }

 private:
  void read_specific(const json& tokens, const char* key, const fs::path& path) {
    if (!tokens.is_null() && !tokens.is_object())
      throw InputError(
          fmt::format("{}: '{}': expected tokens by their names, found {}", path.string(), key, shown_json(tokens)));
    for (const auto& [name, token] : tokens.items()) specific[name] = token_of(token, name, true, path);
  }

  void read_extra(const json& tokens, const char* key, const fs::path& path) {
    if (!tokens.is_null() && !tokens.is_array())
      throw InputError(fmt::format("{}: '{}': expected a list, found {}", path.string(), key, shown_json(tokens)));
    for (const json& token : tokens) {
      AddedToken next = token_of(token, key, true, path);
      if (extra_contents.insert(next.content).second) extra.push_back(std::move(next));
    }
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
    throw InputError(fmt::format("{}: 'added_tokens': expected a list, found {}", path.string(), shown_json(tokens)));
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
        fmt::format("{}: 'added_tokens_decoder': expected an object, found {}", path.string(), shown_json(decoder)));
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
    const auto [place, is_new] = places_.emplace(token.content, tokens_.size());
    if (is_new)
      tokens_.push_back(std::move(token));
    else
      tokens_[place->second] = std::move(token);
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
  bool contains(const std::string& content) const { return places_.contains(content); }
  const std::vector<AddedToken>& tokens() const { return tokens_; }

 private:
  std::int32_t id_of(const std::string& content) const {
    if (const auto found = vocabulary_.find(content); found != vocabulary_.end()) return found->second;
    const auto place = places_.find(content);
    return place == places_.end() ? next_ : tokens_[place->second].id;
  }

  const TokenIds& vocabulary_;
  std::int32_t next_ = static_cast<std::int32_t>(vocabulary_.size());
  std::vector<AddedToken> tokens_;
  std::unordered_map<std::string, std::size_t> places_;
};

}  // namespace

SpecialTokens read_special_tokens(const TokenizerFiles& files, const TokenIds& vocabulary) {
  NamedTokens named;
  for (const Named& token : kNamed) {
    if (files.is_generic()) break;
    const char* content = files.tokenizer_class == TokenizerClass::roberta ? token.of_roberta : token.of_bert;
    if (content != nullptr) named.by_key[token.key] = {.content = content};
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
    if (const fs::path map = files.path("special_tokens_map.json"); fs::exists(map)) {
      const json document = read_json_object(map);
      check_keys(document, special_tokens_map_keys(), map);
      named.read(document, map);
    }
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
    result.unknown = named.by_key["unk_token"].content;
  }
  for (const AddedToken& token : named.in_order()) {
    if (!token.content.empty() && !list.contains(token.content)) list.add(token);
  }
  if (list.tokens().size() > kMostAddedTokens) {
    throw InputError(fmt::format("{}: expected at most {} tokens beside the vocabulary, found {}",
                                 files.directory.string(), kMostAddedTokens, list.tokens().size()));
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
