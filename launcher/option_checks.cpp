#include "launcher/option_checks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <utf8cpp/utf8.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <map>
#include <set>
#include <sstream>

#include "base/error.h"
#include "base/listing.h"
#include "base/nearest_name.h"
#include "model/pooling.h"
#include "peft/formats/combination.h"
#include "peft/registry.h"
#include "study/plan/plan.h"
#include "train/objective.h"

namespace dtrain::launcher {
namespace {

double positive_number(const std::string& text, const std::string& option) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value) || value <= 0) {
    throw UsageError(fmt::format("--{}: expected a number above 0, found '{}'", option, text));
  }
  return value;
}

std::int64_t byte_count(const std::string& text) {
  std::string digits = text;
  double unit = 1;
  const std::string units = "KMGT";
  if (!digits.empty() && units.find(static_cast<char>(std::toupper(digits.back()))) != std::string::npos) {
    unit = std::pow(1024.0, 1.0 + static_cast<double>(units.find(static_cast<char>(std::toupper(digits.back())))));
    digits.pop_back();
  }
  double number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size() || !(number >= 0 && number * unit < 1e18)) {
    throw UsageError(fmt::format("--cache-memory: expected bytes, such as 500M or 4G, found '{}'", text));
  }
  return static_cast<std::int64_t>(number * unit);
}

void require(bool holds, const std::string& option, const std::string& expected, const std::string& found) {
  if (!holds) throw UsageError(fmt::format("--{}: expected {}, found {}", option, expected, found));
}

// The separator that a value of an option means. White space has words: a line of a --config file would lose it.
std::string separator_of(const std::string& value, const std::string& option) {
  static const std::map<std::string, std::string> kWords = {{"comma", ","}, {"semicolon", ";"}, {"tab", "\t"},
                                                            {"\\t", "\t"},  {"bar", "|"},       {"space", " "}};
  const auto word = kWords.find(value);
  if (word != kWords.end()) return word->second;
  const bool printable = std::all_of(value.begin(), value.end(), [](char byte) { return byte > ' ' && byte <= '~'; });
  const bool is_word = std::any_of(value.begin(), value.end(), [](char byte) { return std::isalnum(byte) != 0; });
  require(printable && !is_word && value.find_first_of("\"#") == std::string::npos, option,
          "punctuation, such as ;, or one of tab, comma, semicolon, bar, space", fmt::format("'{}'", value));
  return value;
}

data::Header header_of(const std::string& value) {
  return value == "yes" ? data::Header::yes : value == "no" ? data::Header::no : data::Header::automatic;
}

// A set's name is that of its file of predictions, beside others; results are kept by it.
void check_ood_names(const Options& o) {
  constexpr std::size_t kLongestName = 200;
  std::set<std::string> names;
  for (const std::string& named : o.ood) {
    const std::string name = named_file(named).first;
    const bool is_text = utf8::is_valid(name.begin(), name.end()) &&
                         std::none_of(name.begin(), name.end(), [](unsigned char byte) { return byte < 0x20; });
    require(is_text && name.size() <= kLongestName && name.find('/') == std::string::npos, "ood",
            fmt::format("a name that a file can have (UTF-8 without /, at most {} bytes)", kLongestName),
            fmt::format("'{}'", shown_text(name)));
    if (!names.insert(name).second)
      throw UsageError(fmt::format("--ood: the name '{}' is given twice; expected another one for each set", name));
  }
}

// Nobody needs more, and no product of two of them overflows.
constexpr std::int64_t kMostExamples = 1'000'000'000;
constexpr std::int64_t kMostSteps = 1'000'000'000;

void check_upper_bounds(const Options& o) {
  const auto at_most = [](const std::string& option, auto value, auto most) {
    require(value <= most, option, fmt::format("at most {}", most), fmt::format("{}", value));
  };
  const auto& t = o.training;
  at_most("epochs", o.epochs, 1'000'000);
  at_most("min-steps", t.min_steps, kMostSteps);
  at_most("max-steps", o.max_steps, kMostSteps);
  at_most("save-steps", t.save_steps, kMostSteps);
  at_most("log-steps", t.log_steps, kMostSteps);
  at_most("batch-size", t.batch_size, kMostExamples);
  at_most("micro-batch-size", t.micro_batch_size, kMostExamples);
  at_most("test-samples", test_samples(o).value_or(0), kMostExamples);
  at_most("ood-samples", ood_samples(o).value_or(0), kMostExamples);
  at_most("virtual-ranks", t.virtual_ranks, 65'536);
  at_most("bucket-bytes", t.bucket_bytes, std::int64_t{1} << 40);
  at_most("max-length", o.max_length, 1 << 20);
  at_most("seconds", o.bench_seconds, 3600);
  at_most("parameters", o.norm_parameters, std::int64_t{10'000'000'000});
  at_most("seeds", o.seeds, 10'000);
  at_most("comm-timeout", o.comm_timeout, 100'000'000);
  at_most("weight-decay", t.weight_decay, 1'000'000);
  at_most("max-grad-norm", t.max_gradient_norm, 1e30);
  for (const std::int64_t count : sample_counts(o)) at_most("samples", count, kMostExamples);
}

}  // namespace

void check_is_text(const std::string& option, const std::string& value) {
  require(utf8::is_valid(value.begin(), value.end()), option, "UTF-8",
          fmt::format("'{}'", shown_text(utf8::replace_invalid(value))));
}

void check_options(Options& o) {
  auto& t = o.training;
  require(std::isfinite(o.epochs) && o.epochs > 0, "epochs", "a number above 0", fmt::format("{}", o.epochs));
  require(t.min_steps >= 1, "min-steps", "at least 1", std::to_string(t.min_steps));
  require(o.max_steps >= 0, "max-steps", "0 or more", std::to_string(o.max_steps));
  require(t.batch_size >= 1, "batch-size", "at least 1", std::to_string(t.batch_size));
  require(t.micro_batch_size >= 0, "micro-batch-size", "0 or more", std::to_string(t.micro_batch_size));
  require(t.virtual_ranks >= 0, "virtual-ranks", "0 or more", std::to_string(t.virtual_ranks));
  require(t.patience >= 0, "patience", "0 or more", std::to_string(t.patience));
  require(t.save_steps >= 0, "save-steps", "0 or more", std::to_string(t.save_steps));
  require(t.log_steps >= 1, "log-steps", "at least 1", std::to_string(t.log_steps));
  require(t.weight_decay >= 0 && std::isfinite(t.weight_decay), "weight-decay", "0 or more",
          fmt::format("{}", t.weight_decay));
  require(t.warmup_ratio >= 0 && t.warmup_ratio < 1, "warmup-ratio", "from 0 to below 1",
          fmt::format("{}", t.warmup_ratio));
  require(t.max_gradient_norm >= 0 && std::isfinite(t.max_gradient_norm), "max-grad-norm", "0 or more",
          fmt::format("{}", t.max_gradient_norm));
  require(t.bucket_bytes >= 1, "bucket-bytes", "at least 1", std::to_string(t.bucket_bytes));
  require(o.norm_parameters >= 1, "parameters", "at least 1", std::to_string(o.norm_parameters));
  require(std::isfinite(o.bench_seconds) && o.bench_seconds > 0, "seconds", "a number above 0",
          fmt::format("{}", o.bench_seconds));
  require(o.max_length >= 3, "max-length", "at least 3", std::to_string(o.max_length));
  require(o.seeds >= 0, "seeds", "0 or more", std::to_string(o.seeds));
  budget_seconds(o);
  max_seconds(o);
  ranks_per_trial(o);
  trials_per_gpu(o);
  require(o.threads >= 0 && o.threads <= 1024, "threads", "from 0 to 1024", std::to_string(o.threads));
  require(std::isfinite(o.comm_timeout) && o.comm_timeout > 0, "comm-timeout", "seconds above 0",
          fmt::format("{}", o.comm_timeout));
  const auto one_of = [](const std::string& value, const std::string& option, const std::vector<std::string>& choices) {
    if (std::find(choices.begin(), choices.end(), value) != choices.end()) return;
    throw UsageError(fmt::format("--{}: expected one of {}, found '{}'{}", option, fmt::join(choices, ", "), value,
                                 did_you_mean(value, choices)));
  };
  require(o.density > 0 && o.density <= 1, "density", "above 0, at most 1", fmt::format("{}", o.density));
  one_of(o.how, "how", peft::combination_names());
  one_of(o.precision, "precision", {"auto", "fp32", "bf16"});
  one_of(o.device, "device", {"auto", "cpu", "cuda"});
  one_of(o.backend, "backend", {"auto", "single", "mpi", "nccl"});
  one_of(o.search, "search", {"auto", "quick", "halving", "fine"});
  one_of(o.reduce_precision, "reduce-precision", {"fp32", "bf16"});
  t.reduce_format = o.reduce_precision == "bf16" ? dist::WireFormat::bf16 : dist::WireFormat::fp32;
  require(t.reduce_format == dist::WireFormat::fp32 || t.virtual_ranks == 0, "reduce-precision",
          "fp32 with --virtual-ranks, where one rank, too, would have to round as many do", o.reduce_precision);
  one_of(o.shard_optimizer, "shard-optimizer", {"auto", "on", "off"});
  one_of(o.header, "header", {"auto", "yes", "no"});
  const std::string separator = separator_of(o.separator, "separator");
  require(separator.size() <= 1, "separator", "one character", fmt::format("'{}'", o.separator));
  separator_of(o.label_separator, "label-separator");
  auto metrics = train::metric_names();
  metrics.insert(metrics.begin(), "auto");
  one_of(o.select_metric, "select-metric", metrics);
  if (o.problem_type != "auto") problem_type(o.problem_type, "--problem-type");
  require(t.loss.label_smoothing >= 0 && t.loss.label_smoothing < 1, "label-smoothing", "from 0 to below 1",
          fmt::format("{}", t.loss.label_smoothing));
  std::vector<std::string> comparable = {"auto"};
  for (const ProblemType type : kProblemTypes) {
    for (const std::string& metric : study::comparable_metrics(type)) {
      if (std::find(comparable.begin(), comparable.end(), metric) == comparable.end()) comparable.push_back(metric);
    }
  }
  one_of(o.metric, "metric", comparable);
  // A loss, or an error, has no limit that a margin could reach.
  const bool is_bounded = o.metric == "auto" || train::metric_kind(o.metric).is_share;
  require(o.margin > 0 && (o.margin < 100 || !is_bounded) && std::isfinite(o.margin), "margin",
          is_bounded ? "points, above 0 and below 100" : "points above 0", fmt::format("{}", o.margin));
  if (o.pooling != "auto") model::pooling_from_name(o.pooling);
  check_ood_names(o);

  t.method = peft::parse_method_spec(o.method);
  peft::make_method(t.method);
  t.epochs = o.epochs;
  if (o.max_steps > 0) t.max_steps = o.max_steps;
  if (!o.lr.empty()) t.learning_rate = positive_number(o.lr, "lr");
  learning_rates(o);
  if (o.command == "compare") study::method_plans(split_list(o.methods), {});
  check_upper_bounds(o);
  if (!o.cache_memory.empty()) t.cache_memory = byte_count(o.cache_memory);
}

data::Columns columns_of(const Options& options, bool label_required) {
  const std::string separator = separator_of(options.separator, "separator");
  return {.text = options.text_column,
          .pair = options.pair_column,
          .label = options.label_column,
          .label_required = label_required,
          .header = header_of(options.header),
          .separator = separator.empty() ? '\0' : separator[0],
          .label_separator = separator_of(options.label_separator, "label-separator"),
          .ignored_labels = options.ignored_labels};
}

std::vector<std::int64_t> sample_counts(const Options& options) {
  std::vector<std::int64_t> counts;
  for (const std::string& text : split_list(options.samples)) {
    std::int64_t count = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
    if (error != std::errc() || end != text.data() + text.size() || count < 2) {
      throw UsageError(fmt::format("--samples: expected whole numbers from 2, found '{}'", text));
    }
    counts.push_back(count);
  }
  return counts;
}

namespace {

std::optional<double> seconds_of(const std::string& text, const std::string& option) {
  if (text == "auto" || text == "none") return std::nullopt;
  static const std::map<char, double> kUnits = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
  const auto unit = text.empty() ? kUnits.end() : kUnits.find(text.back());
  double number = 0;
  if (unit != kUnits.end()) {
    const char* const last = text.data() + text.size() - 1;
    const auto [end, error] = std::from_chars(text.data(), last, number);
    if (error == std::errc() && end == last && number > 0 && number * unit->second < 1e9) return number * unit->second;
  }
  throw UsageError(
      fmt::format("--{}: expected a time above 0 such as 90s, 10m, 6h or 2d, none or auto, found '{}'", option, text));
}

template <typename Count>
std::optional<Count> count_or_auto(const std::string& text, const std::string& option, Count least) {
  if (text == "auto") return std::nullopt;
  Count count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc() || end != text.data() + text.size() || count < least)
    throw UsageError(fmt::format("--{}: expected auto or a whole number from {}, found '{}'", option, least, text));
  return count;
}

}  // namespace

std::optional<double> budget_seconds(const Options& options) { return seconds_of(options.budget, "budget"); }

std::optional<double> max_seconds(const Options& options) { return seconds_of(options.max_time, "max-time"); }

std::optional<int> ranks_per_trial(const Options& options) {
  return count_or_auto(options.ranks_per_trial, "ranks-per-trial", 1);
}

std::optional<int> trials_per_gpu(const Options& options) {
  return count_or_auto(options.trials_per_gpu, "trials-per-gpu", 1);
}

std::optional<std::int64_t> test_samples(const Options& options) {
  return count_or_auto(options.test_samples, "test-samples", std::int64_t{0});
}

std::optional<std::int64_t> ood_samples(const Options& options) {
  return count_or_auto(options.ood_samples, "ood-samples", std::int64_t{0});
}

std::pair<std::string, std::filesystem::path> named_file(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size())
    throw UsageError(fmt::format("--ood: expected NAME=FILE, found '{}'", text));
  return {text.substr(0, equals), text.substr(equals + 1)};
}

std::vector<double> learning_rates(const Options& options) {
  std::vector<double> rates;
  for (const std::string& text : split_list(options.lrs)) rates.push_back(positive_number(text, "lrs"));
  return rates;
}

std::vector<double> adapter_weights(const Options& options, std::size_t adapters) {
  if (options.weights.empty()) return std::vector<double>(adapters, 1.0 / static_cast<double>(adapters));
  std::vector<double> weights;
  for (const std::string& text : split_list(options.weights)) {
    double weight = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), weight);
    if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(weight)) {
      throw UsageError(fmt::format("--weights: expected numbers joined by commas, found '{}'", text));
    }
    weights.push_back(weight);
  }
  return weights;
}

std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

}  // namespace dtrain::launcher
