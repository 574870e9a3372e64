#include "peft/method_settings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/nearest_name.h"

namespace dtrain::peft {
namespace {

template <typename Number>
bool parse(const std::string& text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

MethodSettings::MethodSettings(std::string method, const std::vector<MethodSetting>& known,
                               const std::map<std::string, std::string>& given, std::int64_t largest_size)
    : method_(std::move(method)), largest_size_(largest_size) {
  std::vector<std::string> keys;
  for (const MethodSetting& setting : known) {
    values_[setting.key] = setting.default_value;
    keys.push_back(setting.key);
  }
  for (const auto& [key, value] : given) {
    if (values_.count(key) == 0) {
      throw UsageError(fmt::format("method '{}' has no setting '{}'{}; it has: {}", method_, key,
                                   did_you_mean(key, keys),
                                   keys.empty() ? "none" : fmt::format("{}", fmt::join(keys, ", "))));
    }
    values_[key] = value;
  }
}

void MethodSettings::refuse(const std::string& key, const std::string& expected) const {
  throw UsageError(fmt::format("method '{}': {} must be {}, found '{}'", method_, key, expected, values_.at(key)));
}

std::int64_t MethodSettings::integer(const std::string& key, std::int64_t lowest) const {
  std::int64_t number = 0;
  if (!parse(values_.at(key), number) || number < lowest) refuse(key, fmt::format("a whole number from {}", lowest));
  return number;
}

std::int64_t MethodSettings::size(const std::string& key, std::int64_t lowest,
                                  std::optional<std::int64_t> highest) const {
  const std::int64_t number = integer(key, lowest);
  const std::int64_t largest = highest.value_or(largest_size_);
  if (number > largest) refuse(key, fmt::format("a whole number from {} to {}", lowest, largest));
  return number;
}

double MethodSettings::number(const std::string& key, double lowest, double highest) const {
  double number = 0;
  if (!parse(values_.at(key), number) || !(number >= lowest && number <= highest)) {
    refuse(key, fmt::format("a number from {} to {}", lowest, highest));
  }
  return number;
}

bool MethodSettings::boolean(const std::string& key) const {
  const std::string& text = values_.at(key);
  if (text != "true" && text != "false") refuse(key, "true or false");
  return text == "true";
}

std::string MethodSettings::choice(const std::string& key, const std::vector<std::string>& choices) const {
  const std::string& text = values_.at(key);
  if (std::find(choices.begin(), choices.end(), text) == choices.end()) {
    refuse(key, fmt::format("one of {}", fmt::join(choices, ", ")));
  }
  return text;
}

std::vector<std::string> MethodSettings::list(const std::string& key) const {
  if (values_.at(key).empty()) return {};
  std::vector<std::string> items(1);
  for (const char character : values_.at(key)) {
    if (character == '+') {
      items.emplace_back();
    } else {
      items.back() += character;
    }
  }
  if (std::any_of(items.begin(), items.end(), [](const auto& item) { return item.empty(); }))
    refuse(key, "names joined by +");
  return items;
}

std::vector<std::int64_t> MethodSettings::integers(const std::string& key, std::int64_t lowest) const {
  std::vector<std::int64_t> numbers;
  for (const std::string& item : list(key)) {
    if (!parse(item, numbers.emplace_back()) || numbers.back() < lowest) {
      refuse(key, fmt::format("whole numbers from {} joined by +", lowest));
    }
  }
  return numbers;
}

std::vector<std::pair<std::string, double>> MethodSettings::pattern(const std::string& key, double lowest,
                                                                    double highest) const {
  std::vector<std::pair<std::string, double>> entries;
  for (const std::string& item : list(key)) {
    const std::size_t tilde = std::min(item.rfind('~'), item.size());
    auto& [name, number] = entries.emplace_back(item.substr(0, tilde), 0);
    const bool is_number = tilde < item.size() && parse(item.substr(tilde + 1), number);
    if (name.empty() || !is_number || !(number >= lowest && number <= highest)) {
      refuse(key, fmt::format("NAME~NUMBER joined by +, each number from {} to {}", lowest, highest));
    }
  }
  return entries;
}

}  // namespace dtrain::peft
