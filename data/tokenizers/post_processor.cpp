#include "data/tokenizers/post_processor.h"

#include "base/json_file.h"

namespace dtrain::data {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// The parts of a template as text, "<s>:0 A:0 </s>:0".
std::string template_text(const json& parts, const fs::path& path) {
  std::string text;
  for (const json& part : parts) {
    for (const char* kind : {"SpecialToken", "Sequence"}) {
      const json& token = member(part, kind);
      if (!token.is_object()) continue;
      text += fmt::format("{}{}:{}", text.empty() ? "" : " ", value_or<std::string>(token, "id", "", path),
                          value_or(token, "type_id", 0, path));
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

// Reads the ids of a processor's tokens, which have to be those of the vocabulary.
class TokensOfProcessor {
 public:
  TokensOfProcessor(const fs::path& path, const TokenIds& vocabulary, const std::vector<AddedToken>& added)
      : path_(path), vocabulary_(vocabulary), added_(added) {}

  std::int32_t id(const std::string& token, const json& given) const {
    const std::int32_t own = special_id(token, vocabulary_, added_, path_.string());
    if (given != own) refuse(path_, "post_processor", given, "the id of " + token + " in the vocabulary");
    return own;
  }
  // Of a token as BertProcessing has it, ["[SEP]", 102].
  std::int32_t pair(const json& processor, const char* key) const {
    const json& token = member(processor, key);
    if (!token.is_array() || token.size() != 2 || !token[0].is_string())
      refuse(path_, fmt::format("post_processor.{}", key), token, "a token and its id");
    return id(token[0].get<std::string>(), token[1]);
  }

 private:
  const fs::path& path_;
  const TokenIds& vocabulary_;
  const std::vector<AddedToken>& added_;
};

SequenceLayout read_template(const json& processor, const fs::path& path, const TokensOfProcessor& tokens) {
  const std::string single = template_text(member(processor, "single"), path);
  const std::string pair = template_text(member(processor, "pair"), path);
  const std::string middle = ":0 A:0 ";
  const std::size_t begin = std::min(single.find(middle), single.size());
  const std::string first = single.substr(0, begin);
  const std::string last = single.substr(std::min(begin + middle.size(), single.size()));
  const std::string separator = last.ends_with(":0") ? last.substr(0, last.size() - 2) : "";
  for (const int between : {1, 2}) {
    for (const int type : {0, 1}) {
      std::string layout = first + middle + last;
      if (between == 2) layout += " " + last;
      if (first.empty() || separator.empty() || pair != fmt::format("{} B:{} {}:{}", layout, type, separator, type))
        continue;
      const auto given = [&](const std::string& token) {
        const json& ids = member(member(member(processor, "special_tokens"), token.c_str()), "ids");
        return ids.is_array() && ids.size() == 1 ? ids[0] : ids;
      };
      return {.first = tokens.id(first, given(first)),
              .separator = tokens.id(separator, given(separator)),
              .separators_between = between,
              .typed = type == 1};
    }
  }
  refuse(path, "post_processor", processor,
         "[CLS] A [SEP] and [CLS] A [SEP] B [SEP], or with two [SEP] between A and B; token type 0, of B and the last "
         "[SEP] 0 or 1");
}

}  // namespace

SequenceLayout read_post_processor(const json& all, const fs::path& path, const TokenIds& vocabulary,
                                   const std::vector<AddedToken>& added) {
  const json& processor = around_texts(all, path);
  const std::string kind = processor.is_object() ? value_or<std::string>(processor, "type", "", path) : "";
  const TokensOfProcessor tokens(path, vocabulary, added);
  if (kind == "TemplateProcessing") return read_template(processor, path, tokens);
  if (kind != "RobertaProcessing" && kind != "BertProcessing")
    refuse(path, "post_processor", processor, "BertProcessing, RobertaProcessing or TemplateProcessing");
  const bool is_bert = kind == "BertProcessing";
  return {.first = tokens.pair(processor, "cls"),
          .separator = tokens.pair(processor, "sep"),
          .separators_between = is_bert ? 1 : 2,
          .typed = is_bert};
}

}  // namespace dtrain::data
