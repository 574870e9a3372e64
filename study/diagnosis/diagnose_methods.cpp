#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <sstream>

#include "base/error.h"
#include "peft/registry.h"
#include "study/diagnosis/diagnose.h"

namespace dtrain::study {
namespace {

std::int64_t whole_number(const std::string& text, const std::string& part) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw UsageError(fmt::format("--methods: expected a range of whole numbers such as k=1..4, found '{}'", part));
  return value;
}

// "layers:k=1..3" -> "layers:k=1", "layers:k=2", "layers:k=3".
std::vector<std::string> expanded(const std::string& text) {
  const std::size_t dots = text.find("..");
  if (dots == std::string::npos) return {text};
  const std::size_t equals = text.rfind('=', dots);
  std::size_t end = text.find(':', dots);
  if (end == std::string::npos) end = text.size();
  if (equals == std::string::npos) whole_number("", text);
  const std::int64_t first = whole_number(text.substr(equals + 1, dots - equals - 1), text);
  const std::int64_t last = whole_number(text.substr(dots + 2, end - dots - 2), text);
  if (last < first || last - first >= 100)
    throw UsageError(fmt::format("--methods: expected a range of at most 100 numbers that rise, found '{}'", text));
  std::vector<std::string> all;
  for (std::int64_t value = first; value <= last; ++value)
    all.push_back(text.substr(0, equals + 1) + std::to_string(value) + text.substr(end));
  return all;
}

// Models with more layers are tried at powers of two alone.
constexpr std::int64_t kEveryLayer = 6;

std::vector<TriedMethod> usual_methods(std::int64_t layers) {
  std::vector<TriedMethod> methods;
  for (std::int64_t k = 1; k <= layers; ++k) {
    const bool always = (k & (k - 1)) == 0 && k < layers;
    if (always || layers <= kEveryLayer) methods.push_back({{"layers", {{"k", std::to_string(k)}}}, !always});
  }
  methods.push_back({{"lora", {}}});
  for (const char* name : {"bitfit", "pfeiffer"}) methods.push_back({{name, {}}, true});
  return methods;
}

}  // namespace

std::vector<TriedMethod> diagnosis_methods(const std::string& text, std::int64_t layers) {
  if (text == "auto") return usual_methods(layers);
  std::vector<std::string> texts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) {
    for (auto& one : expanded(part)) texts.push_back(std::move(one));
  }
  std::vector<TriedMethod> methods;
  std::vector<std::string> known;
  for (const auto& one : texts) {
    methods.push_back({peft::parse_method_spec(one)});
    peft::make_method(methods.back().method);
    const auto name = methods.back().method.text();
    if (name == "full" || name == "head")
      throw UsageError(fmt::format("--methods: {} is in every diagnosis; name what is tried besides", name));
    if (std::find(known.begin(), known.end(), name) != known.end())
      throw UsageError(fmt::format("--methods: {} is named twice", name));
    known.push_back(name);
  }
  return methods;
}

}  // namespace dtrain::study
