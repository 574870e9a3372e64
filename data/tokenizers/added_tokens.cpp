#include "data/tokenizers/added_tokens.h"

#include <fmt/format.h>
#include <utf8cpp/utf8/unchecked.h>

#include <algorithm>
#include <cstddef>

#include "data/tokenizers/unicode_tables.h"

namespace dtrain::data {
namespace {

bool is_space(char32_t point) { return unicode::contains(unicode::kWhiteSpace, point); }

// Where the white space begins that ends at `end`, not before `begin`.
std::size_t begin_of_space(std::string_view text, std::size_t begin, std::size_t end) {
  const char* position = text.data() + end;
  while (position > text.data() + begin) {
    const char* before = position;
    if (!is_space(static_cast<char32_t>(utf8::unchecked::prior(before)))) break;
    position = before;
  }
  return static_cast<std::size_t>(position - text.data());
}

std::size_t end_of_space(std::string_view text, std::size_t begin) {
  const char* position = text.data() + begin;
  while (position < text.data() + text.size()) {
    const char* after = position;
    if (!is_space(static_cast<char32_t>(utf8::unchecked::next(after)))) break;
    position = after;
  }
  return static_cast<std::size_t>(position - text.data());
}

// As find_matches of the `tokenizers` package's added_vocabulary.rs. Each token is looked for again only when the text
// has come past it: a long text full of one of them would be searched to its end for the others.
void split_off(std::string_view text, const std::vector<AddedToken>& tokens, std::vector<TextPart>& parts) {
  std::vector<std::size_t> next(tokens.size());
  for (std::size_t i = 0; i < next.size(); ++i) next[i] = text.find(tokens[i].content);
  std::size_t searched = 0;  // behind the last match
  std::size_t taken = 0;     // behind the last part, which may have taken white space beyond its match
  while (searched < text.size()) {
    std::size_t begin = text.size();
    const AddedToken* match = nullptr;
    for (std::size_t i = 0; i < next.size(); ++i) {
      if (next[i] < searched) next[i] = text.find(tokens[i].content, searched);
      const bool longer = match != nullptr && tokens[i].content.size() > match->content.size();
      if (next[i] < begin || (next[i] == begin && longer)) {
        begin = next[i];
        match = &tokens[i];
      }
    }
    if (match == nullptr) break;
    searched = begin + match->content.size();
    if (match->lstrip) begin = std::max(begin_of_space(text, std::min(taken, begin), begin), taken);
    if (taken < begin) parts.push_back({text.substr(taken, begin - taken)});
    taken = match->rstrip ? end_of_space(text, searched) : searched;
    parts.push_back({text.substr(begin, taken - begin), match->id});
  }
  if (taken < text.size()) parts.push_back({text.substr(taken)});
}

}  // namespace

std::string digest_text(const AddedToken& token) {
  return fmt::format("{} {} {} {} {} {}\n", token.id, token.lstrip, token.rstrip, token.normalized,
                     token.content.size(), token.content);
}

AddedTokens::AddedTokens(const std::vector<AddedToken>& tokens) {
  for (const AddedToken& token : tokens) {
    if (!token.content.empty()) (token.normalized ? second_ : first_).push_back(token);
  }
}

std::vector<TextPart> AddedTokens::split(std::string_view text) const {
  std::vector<TextPart> parts;
  split_off(text, first_, parts);
  if (second_.empty()) return parts;
  std::vector<TextPart> smaller;
  for (const TextPart& part : parts) {
    if (part.id >= 0) {
      smaller.push_back(part);
    } else {
      split_off(part.text, second_, smaller);
    }
  }
  return smaller;
}

}  // namespace dtrain::data
