#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dtrain::data {

/// A token that Hugging Face splits off the raw text before anything else (the `AddedToken` of its `tokenizers`).
struct AddedToken {
  std::string content;
  std::int32_t id = 0;
  /// Whether it takes the white space before it (after it) with it.
  bool lstrip = false;
  bool rstrip = false;
  /// Looked for in the normalized text, which is after those that are not.
  bool normalized = false;
};

/// What of a token decides ids, for the digest of a tokenizer.
std::string digest_text(const AddedToken& token);

/// A part of a text: an added token, or what is between two of them.
struct TextPart {
  std::string_view text;
  /// -1 between added tokens.
  std::int32_t id = -1;
};

/// The added tokens of a tokenizer without a normalizer, or of one that normalizes none of them.
class AddedTokens {
 public:
  AddedTokens() = default;
  /// Tokens without content are left out.
  explicit AddedTokens(const std::vector<AddedToken>& tokens);

  /// The parts of valid UTF-8 in their order, none empty: the earliest token first, the longest of those that begin
  /// together. In time proportional to the text, however many tokens are in it.
  std::vector<TextPart> split(std::string_view text) const;

 private:
  std::vector<AddedToken> first_;   // those not normalized
  std::vector<AddedToken> second_;  // looked for in what those leave
};

}  // namespace dtrain::data
