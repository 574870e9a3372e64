#include "launcher/option_sources.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <boost/make_shared.hpp>
#include <boost/program_options.hpp>
#include <cctype>
#include <cstdint>
#include <fstream>
#include <map>

#include "base/error.h"
#include "base/listing.h"
#include "base/nearest_name.h"
#include "launcher/config_file.h"
#include "launcher/option_checks.h"
#include "launcher/option_groups.h"

namespace dtrain::launcher {
namespace {

namespace po = boost::program_options;

std::vector<std::string> option_names(const po::options_description& description) {
  std::vector<std::string> names;
  for (const auto& option : description.options()) names.push_back(option->long_name());
  return names;
}

// Options of which one alone can have its effect.
struct Rivals {
  std::string one;
  std::string other;
  std::string command;  // where they are rivals; empty: in every command that has both
};
const std::vector<Rivals> kRivals = {
    {"epochs", "max-steps", ""}, {"min-steps", "max-steps", ""}, {"task", "train", ""},
    {"run", "method", "train"},  {"run", "adapters", ""},        {"resume", "overwrite", ""},
    {"plan", "methods", ""},     {"plan", "samples", ""},        {"plan", "seeds", ""},
    {"plan", "lrs", ""},         {"plan", "search", ""},         {"plan", "budget", ""}};

// What says more about the file that --train names.
const std::vector<std::string> kOfTrainingFile = {
    "dev",          "test",   "ood",       "text-column",     "pair-column",
    "label-column", "header", "separator", "label-separator", "ignore-label"};

// A value that stands for "not given": 0 of --max-steps, an empty text, a switch that is off.
bool is_off(const boost::any& value) {
  const auto* number = boost::any_cast<std::int64_t>(&value);
  const auto* text = boost::any_cast<std::string>(&value);
  const auto* is_on = boost::any_cast<bool>(&value);
  return (number != nullptr && *number == 0) || (text != nullptr && text->empty()) || (is_on != nullptr && !*is_on);
}

// With `returns`, throws UsageError for a value that --config could not give back.
std::string ini_of(const po::variables_map& values, const std::string& command, bool returns) {
  std::string text = fmt::format("# dtrain {} --config THIS-FILE\n", command);
  for (const auto& [name, value] : values) {
    if (name == "config" || name == "help" || name == "targets" || name == "resume" || name == "overwrite") continue;
    const auto line = [&, key = name](const auto& shown) {
      const std::string given = fmt::format("{}", shown);
      text += returns ? config_line(key, given) : fmt::format("{} = {}\n", key, given);
    };
    const boost::any& content = value.value();
    if (const auto* as_text = boost::any_cast<std::string>(&content)) {
      if (!as_text->empty()) line(*as_text);
    } else if (const auto* as_list = boost::any_cast<std::vector<std::string>>(&content)) {
      for (const auto& item : *as_list) line(item);
    } else if (const auto* as_bool = boost::any_cast<bool>(&content)) {
      line(*as_bool);
    } else if (const auto* as_double = boost::any_cast<double>(&content)) {
      line(*as_double);
    } else if (const auto* as_int = boost::any_cast<int>(&content)) {
      line(*as_int);
    } else if (const auto* as_long = boost::any_cast<std::int64_t>(&content)) {
      line(*as_long);
    } else if (const auto* as_unsigned = boost::any_cast<std::uint64_t>(&content)) {
      line(*as_unsigned);
    }
  }
  return text;
}

// Variables of the scripts and of the share directory, which are no options.
const std::vector<std::string> kOtherVariables = {"DTRAIN_BUILD", "DTRAIN_CMAKE_OPTIONS", "DTRAIN_RANKS",
                                                  "DTRAIN_SHARE"};

std::string variable_of(std::string option) {
  for (char& character : option) character = character == '-' ? '_' : static_cast<char>(std::toupper(character));
  return "DTRAIN_" + option;
}

// Every option of every command, and the commands that take it.
std::map<std::string, std::vector<std::string>> commands_of_options() {
  std::map<std::string, std::vector<std::string>> all;
  for (const CommandInfo& command : commands()) {
    Options ignored;
    for (const auto& name : option_names(describe_options(command, ignored))) all[name].push_back(command.name);
  }
  return all;
}

// The options of a command from their sources. Where a value is wrong, the message says which source it came from.
class Sources {
 public:
  Sources(const CommandInfo& command, Options& options)
      : command_(command), options_(options), visible_(describe_options(command, options)) {
    all_.add(visible_);
    all_.add_options()("targets", po::value(&options.targets), "");
    if (command.groups.find("targets") != std::string::npos) positional_.add("targets", -1);
    names_ = option_names(visible_);
  }

  void read_command_line(const std::vector<std::string>& arguments) {
    const int style = po::command_line_style::unix_style & ~po::command_line_style::allow_guessing;
    take("the command line",
         [&] { return po::command_line_parser(arguments).options(all_).positional(positional_).style(style).run(); });
  }

  void read_environment() {
    for (char** entry = environ; *entry != nullptr; ++entry) {
      const std::string text = *entry;
      const std::string variable = text.substr(0, text.find('='));
      if (!variable.starts_with("DTRAIN_")) continue;
      const auto name = std::find_if(names_.begin(), names_.end(),
                                     [&](const auto& option) { return variable_of(option) == variable; });
      if (name != names_.end()) {
        po::parsed_options parsed(&all_);
        parsed.options.emplace_back(*name, std::vector<std::string>{text.substr(variable.size() + 1)});
        take("the environment variable " + variable, [&] { return parsed; });
      } else {
        note_unknown(variable);
      }
    }
  }

  void read_config() {
    if (values_.count("config") == 0) return;
    const auto path = values_["config"].as<std::string>();
    std::ifstream file(path);
    if (!file || file.peek() == std::ifstream::traits_type::eof()) {
      throw InputError(fmt::format("--config: cannot read {}, or it is empty", path));
    }
    config_ = path;
    take(path, [&] { return read_config_file(file, all_); });
  }

  void finish() {
    settle_rivals();
    po::notify(values_);
    if (command_.name == "bench") refuse_what_bench_does_not_use();
    try {
      check_options(options_);
      const bool is_written = !options_.output.empty() || command_.name == "compare" || command_.name == "diagnose";
      options_.resolved = ini_of(values_, command_.name, is_written);
    } catch (const UsageError& error) {
      const std::string message = error.what();
      const auto source = sources_.find(message.starts_with("--") ? message.substr(2, message.find(':') - 2) : "");
      if (source == sources_.end()) throw;
      fail(source->second, message);
    }
  }

 private:
  template <typename Parse>
  void take(const std::string& source, const Parse& parse) {
    try {
      const po::parsed_options parsed = parse();
      check_spelling(parsed, source);
      po::store(parsed, values_);
      for (const auto& option : parsed.options) sources_.emplace(option.string_key, source);
    } catch (const po::unknown_option& error) {
      fail_unknown(source, error.get_option_name());
    } catch (const po::error& error) {
      fail(source, error.what());
    }
  }

  // What the library cannot say: the kind of value that was expected, and that it wraps a negative seed around.
  void check_spelling(const po::parsed_options& parsed, const std::string& source) const {
    for (const auto& option : parsed.options) {
      if (option.unregistered) fail_unknown(source, option.string_key);
      if (option.string_key.empty() || option.value.empty()) continue;
      const auto* known = all_.find_nothrow(option.string_key, false);
      if (known == nullptr) continue;
      if (!names_files(*known)) {
        try {
          for (const std::string& value : option.value) check_is_text(option.string_key, value);
        } catch (const UsageError& error) {
          fail(source, error.what());
        }
      }
      const std::string expected = expected_value(*known);
      if (expected.empty()) continue;
      po::options_description alone;
      alone.add(boost::make_shared<po::option_description>(*known));
      po::parsed_options one(&alone);
      one.options.push_back(option);
      po::variables_map ignored;
      bool valid = !(expected == "a whole number from 0" && option.value[0].find('-') != std::string::npos);
      try {
        po::store(one, ignored);
      } catch (const po::error&) {
        valid = false;
      }
      if (!valid) {
        fail(source, fmt::format("--{}: expected {}, found '{}'", option.string_key, expected, option.value[0]));
      }
    }
  }

  // 0: the command line, 1: the environment, 2: --config, 3: not given.
  int rank_of(const std::string& name) const {
    const auto source = sources_.find(name);
    if (source == sources_.end() || is_off(values_.at(name).value())) return 3;
    if (source->second == "the command line") return 0;
    return source->second == config_ ? 2 : 1;
  }

  // As if it had not been given.
  void drop(const std::string& name) {
    values_.erase(name);
    sources_.erase(name);
  }

  // Of rivals the one from the higher source holds, and the other is dropped.
  void settle_rivals() {
    std::vector<Rivals> here;
    for (const Rivals& rivals : kRivals) {
      if (rivals.command.empty() || rivals.command == command_.name) here.push_back(rivals);
    }
    // By epochs, then: config.ini needs no two lines for it.
    if (values_.count("max-steps") > 0 && is_off(values_.at("max-steps").value())) drop("max-steps");
    if (rank_of("task") < rank_of("train")) {
      for (const auto& name : kOfTrainingFile) {
        if (rank_of(name) >= rank_of("train")) drop(name);
      }
    }
    // First the one that has several rivals: where it does not hold, it drops none of them.
    for (const auto& [one, other, command] : here) {
      if (rank_of(one) < rank_of(other)) drop(other);
    }
    for (const auto& [one, other, command] : here) {
      if (rank_of(other) < rank_of(one)) drop(one);
      if (rank_of(one) < 3 && rank_of(one) == rank_of(other)) {
        fail(sources_.at(one), fmt::format("--{} and --{}: expected one of them, found both", one, other));
      }
    }
  }

  // Its times would be taken for those of what was asked: of LoRA, where gemm knows no method. A variable may be meant
  // for another kind.
  void refuse_what_bench_does_not_use() const {
    const auto& kinds = bench_groups();
    const auto kind = options_.targets.size() == 1 ? kinds.find(options_.targets[0]) : kinds.end();
    if (kind == kinds.end()) return;  // the command says what it expects
    Options ignored;
    auto used = option_names(describe_options({"bench", "", kind->second}, ignored));
    used.emplace_back("targets");
    for (const auto& [name, source] : sources_) {
      if (std::find(used.begin(), used.end(), name) != used.end() || rank_of(name) == 1) continue;
      fail(source, fmt::format("--{}: dtrain bench {} does not use it", name, kind->first));
    }
  }

  [[noreturn]] void fail(const std::string& source, const std::string& message) const {
    if (source == config_) throw InputError(fmt::format("{}: {}", source, shown_text(message, 2000)));
    if (source == "the command line") throw UsageError(message);
    throw UsageError(fmt::format("{} (from {})", message, source));
  }

  [[noreturn]] void fail_unknown(const std::string& source, std::string name) const {
    name.erase(0, name.find_first_not_of('-'));
    const auto known = commands_of_options();
    const auto elsewhere = known.find(name);
    if (elsewhere != known.end()) {
      fail(source, fmt::format("dtrain {} has no option '{}'; it is one of dtrain {}", command_.name, name,
                               fmt::join(elsewhere->second, ", ")));
    }
    fail(source, fmt::format("unknown option '{}'{} (dtrain {} --help lists them)", name, did_you_mean(name, names_),
                             command_.name));
  }

  // A variable of another command is meant for that one.
  void note_unknown(const std::string& variable) const {
    std::vector<std::string> known = kOtherVariables;
    for (const auto& [name, commands] : commands_of_options()) known.push_back(variable_of(name));
    if (std::find(known.begin(), known.end(), variable) != known.end()) return;
    options_.notes.push_back(fmt::format("{} is no option{}", variable, did_you_mean(variable, known)));
  }

  const CommandInfo& command_;
  Options& options_;
  po::options_description visible_;
  po::options_description all_;
  po::positional_options_description positional_;
  std::vector<std::string> names_;
  po::variables_map values_;
  std::map<std::string, std::string> sources_;
  std::string config_;
};

}  // namespace

void read_options(const CommandInfo& command, const std::vector<std::string>& arguments, Options& options) {
  // The first source that names an option decides.
  Sources sources(command, options);
  sources.read_command_line(arguments);
  sources.read_environment();
  sources.read_config();
  sources.finish();
}

void read_defaults(const CommandInfo& command, Options& options) {
  Sources sources(command, options);
  sources.read_command_line({});
  sources.finish();
}

}  // namespace dtrain::launcher
