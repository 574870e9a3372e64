#include "launcher/options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <set>
#include <sstream>

#include "base/error.h"
#include "base/nearest_name.h"
#include "launcher/share.h"
#include "model/pooling.h"
#include "peft/registry.h"
#include "study/plan.h"
#include "train/metrics.h"

namespace dtrain::launcher {
namespace {

namespace po = boost::program_options;

template <typename Value>
po::typed_value<Value>* bound(Value& value) {
  return po::value<Value>(&value)->default_value(value);
}

// An option whose default is decided later, from other facts.
template <typename Value>
po::typed_value<Value>* open(Value& value) {
  return po::value<Value>(&value);
}

// What a command does when nothing is said.
Options defaults_of(const std::string& command) {
  Options options;
  options.command = command;
  if (command == "compare") {
    options.test_samples = 2000;
    options.ood_samples = 1000;
  }
  return options;
}

void add_group(po::options_description& all, const std::string& group, Options& o) {
  po::options_description part(group == "data"      ? "Data"
                               : group == "model"   ? "Model"
                               : group == "method"  ? "Method"
                               : group == "train"   ? "Training"
                               : group == "study"   ? "Study"
                               : group == "machine" ? "Machine"
                               : group == "output"  ? "Output"
                               : group == "run"     ? "Run"
                                                    : "Input",
                               100);
  auto add = part.add_options();
  if (group == "data") {
    add("task", bound(o.task), "embedded task, where --train is not given");
    add("train", open(o.train_file), "training file (TSV, CSV or JSONL)");
    add("dev", open(o.dev_file), "dev file: chooses steps and learning rates");
    add("test", open(o.test_file), "test file");
    add("ood", po::value(&o.ood)->composing(), "out-of-domain test set, NAME=FILE (repeatable)");
    add("samples", open(o.samples),
        "training examples to use (default: all; compare: a list such as 100,1000, by default 1000)");
    add("subset-seed", bound(o.subset_seed), "seed of the draw of --samples");
    add("test-samples", bound(o.test_samples), "test examples to use; 0: all");
    add("ood-samples", bound(o.ood_samples), "examples of each out-of-domain set to use; 0: all");
  }
  if (group == "data" || group == "columns") {
    add("text-column", open(o.text_column), "column of the text (default: text, sentence or sentence1)");
    add("pair-column", open(o.pair_column), "column of the second text (default: pair or sentence2)");
    add("label-column", open(o.label_column), "column of the label (default: label)");
    add("drop-unknown-labels", po::bool_switch(&o.drop_unknown_labels), "drop rows whose label training did not see");
    add("max-length", bound(o.max_length), "most tokens of an example, special ones included");
    add("token-cache", open(o.token_cache), "folder of the token cache (default: ~/.cache/dtrain; none: off)");
  }
  if (group == "model") {
    add("model", open(o.model), "Hugging Face model directory (default: the embedded MiniLM)");
    add("pooling", bound(o.pooling), "auto, pooler, cls or mean");
  }
  if (group == "method") add("method", bound(o.method), "NAME[:key=value...], such as lora:r=16; see dtrain methods");
  if (group == "method") add("lr", open(o.lr), "learning rate (default: the method's)");
  if (group == "study") {
    add("methods", bound(o.methods), "methods to compare, each as --method takes it");
    add("lrs", open(o.lrs), "learning rates to search, for every method (default: each method's own)");
    add("seeds", bound(o.seeds), "seeds of the result for each method and sample count");
  }
  if (group == "train") {
    auto& t = o.training;
    add("epochs", bound(o.epochs), "passes over the training data");
    add("min-steps", bound(t.min_steps), "least steps, in more epochs where data is small");
    add("max-steps", open(o.max_steps), "exact number of steps, instead of epochs");
    add("batch-size", bound(t.batch_size), "examples of a step, over all ranks");
    add("micro-batch-size", bound(t.micro_batch_size), "examples a rank computes at once; 0: its share of the batch");
    add("seed", bound(t.seed), "seed of the head, the order and dropout");
    add("weight-decay", bound(t.weight_decay), "AdamW's, not on biases and norms");
    add("warmup-ratio", bound(t.warmup_ratio), "share of the steps that warm up");
    add("max-grad-norm", bound(t.max_gradient_norm), "gradients are clipped to this norm; 0: off");
    add("select-metric", bound(t.select_metric), "metric on dev that chooses steps and learning rates");
    add("virtual-ranks", bound(t.virtual_ranks),
        "fixed shards of a batch: the same bytes on any number of ranks; 0: off");
    add("log-steps", bound(t.log_steps), "a line in log.jsonl every so many steps");
  }
  if (group == "machine") {
    add("precision", bound(o.precision), "auto (bf16 where measured faster), fp32 or bf16");
    add("device", bound(o.device), "auto, cpu or cuda");
    add("backend", bound(o.backend), "auto, single, mpi or nccl");
    add("threads", bound(o.threads), "threads of a rank; 0: the node's cores over its ranks");
    add("comm-timeout", bound(o.comm_timeout), "seconds until a collective counts as failed");
    add("cache-memory", open(o.cache_memory),
        "memory for frozen features, such as 4G (default: a quarter of RAM over the node's ranks)");
    add("bucket-bytes", bound(o.training.bucket_bytes), "gradient bytes reduced at once");
    add("overlap", bound(o.training.overlap), "reduce while backward goes on");
  }
  if (group == "output") {
    add("output", open(o.output), "directory for the results");
    add("resume", po::bool_switch(&o.resume), "go on with what --output holds");
    add("overwrite", po::bool_switch(&o.overwrite), "replace what --output holds");
  }
  if (group == "checkpoints")
    add("save-steps", bound(o.training.save_steps), "a checkpoint every so many steps; 0: on a signal only");
  if (group == "run") add("run", open(o.run), "output of a run, a model or an adapter");
  if (group == "input") add("input", open(o.input), "file of inputs (TSV, CSV or JSONL)");
  all.add(part);
}

po::options_description describe(const CommandInfo& command, Options& options) {
  po::options_description all("", 100);
  for (const auto& group : split_list(command.groups)) {
    if (group != "targets") add_group(all, group, options);
  }
  po::options_description general("General", 100);
  general.add_options()("config", po::value<std::string>(), "INI file of these options")("help", "this text");
  all.add(general);
  return all;
}

const CommandInfo* find_command(const std::string& name) {
  for (const CommandInfo& command : commands()) {
    if (command.name == name) return &command;
  }
  return nullptr;
}

std::vector<std::string> option_names(const po::options_description& description) {
  std::vector<std::string> names;
  for (const auto& option : description.options()) names.push_back(option->long_name());
  return names;
}

// DTRAIN_BATCH_SIZE -> batch-size; variables that are no option of this command (DTRAIN_RANKS) are not ours.
std::string option_of_variable(const std::string& variable, const std::vector<std::string>& names) {
  if (!variable.starts_with("DTRAIN_")) return "";
  std::string name = variable.substr(7);
  for (char& character : name) character = character == '_' ? '-' : static_cast<char>(std::tolower(character));
  return std::find(names.begin(), names.end(), name) != names.end() ? name : "";
}

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
  if (digits == "0") return 0;
  return static_cast<std::int64_t>(positive_number(digits, "cache-memory") * unit);
}

void require(bool holds, const std::string& option, const std::string& expected, const std::string& found) {
  if (!holds) throw UsageError(fmt::format("--{}: expected {}, found {}", option, expected, found));
}

void check(Options& o) {
  auto& t = o.training;
  require(std::isfinite(o.epochs) && o.epochs > 0, "epochs", "a number above 0", fmt::format("{}", o.epochs));
  require(t.min_steps >= 1, "min-steps", "at least 1", std::to_string(t.min_steps));
  require(o.max_steps >= 0, "max-steps", "at least 1", std::to_string(o.max_steps));
  require(t.batch_size >= 1, "batch-size", "at least 1", std::to_string(t.batch_size));
  require(t.micro_batch_size >= 0, "micro-batch-size", "0 or more", std::to_string(t.micro_batch_size));
  require(t.virtual_ranks >= 0, "virtual-ranks", "0 or more", std::to_string(t.virtual_ranks));
  require(t.save_steps >= 0, "save-steps", "0 or more", std::to_string(t.save_steps));
  require(t.log_steps >= 1, "log-steps", "at least 1", std::to_string(t.log_steps));
  require(t.weight_decay >= 0 && std::isfinite(t.weight_decay), "weight-decay", "0 or more",
          fmt::format("{}", t.weight_decay));
  require(t.warmup_ratio >= 0 && t.warmup_ratio < 1, "warmup-ratio", "from 0 to below 1",
          fmt::format("{}", t.warmup_ratio));
  require(t.max_gradient_norm >= 0 && std::isfinite(t.max_gradient_norm), "max-grad-norm", "0 or more",
          fmt::format("{}", t.max_gradient_norm));
  require(t.bucket_bytes >= 1, "bucket-bytes", "at least 1", std::to_string(t.bucket_bytes));
  require(o.max_length >= 3 && o.max_length <= 1 << 20, "max-length", "at least 3", std::to_string(o.max_length));
  require(o.test_samples >= 0, "test-samples", "0 or more", std::to_string(o.test_samples));
  require(o.ood_samples >= 0, "ood-samples", "0 or more", std::to_string(o.ood_samples));
  require(o.seeds >= 1, "seeds", "at least 1", std::to_string(o.seeds));
  require(o.threads >= 0, "threads", "0 or more", std::to_string(o.threads));
  require(std::isfinite(o.comm_timeout) && o.comm_timeout > 0, "comm-timeout", "seconds above 0",
          fmt::format("{}", o.comm_timeout));
  const auto one_of = [](const std::string& value, const std::string& option, const std::vector<std::string>& choices) {
    if (std::find(choices.begin(), choices.end(), value) != choices.end()) return;
    throw UsageError(fmt::format("--{}: expected one of {}, found '{}'{}", option, fmt::join(choices, ", "), value,
                                 did_you_mean(value, choices)));
  };
  one_of(o.precision, "precision", {"auto", "fp32", "bf16"});
  one_of(o.device, "device", {"auto", "cpu", "cuda"});
  one_of(o.backend, "backend", {"auto", "single", "mpi", "nccl"});
  one_of(t.select_metric, "select-metric", train::metric_names());
  if (o.pooling != "auto") model::pooling_from_name(o.pooling);
  require(!(o.resume && o.overwrite), "resume", "one of --resume and --overwrite", "both");

  t.method = peft::parse_method_spec(o.method);
  peft::make_method(t.method);
  t.epochs = o.epochs;
  if (o.max_steps > 0) t.max_steps = o.max_steps;
  if (!o.lr.empty()) t.learning_rate = positive_number(o.lr, "lr");
  learning_rates(o);
  if (o.command == "compare") study::method_plans(split_list(o.methods), {});
  sample_counts(o);
  if (!o.cache_memory.empty()) t.cache_memory = byte_count(o.cache_memory);
}

std::string ini_of(const po::variables_map& values, const std::string& command) {
  std::string text = fmt::format("# dtrain {} --config THIS-FILE\n", command);
  for (const auto& [name, value] : values) {
    if (name == "config" || name == "help" || name == "targets" || name == "resume" || name == "overwrite") continue;
    const auto line = [&, key = name](const auto& shown) { text += fmt::format("{} = {}\n", key, shown); };
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

}  // namespace

const std::vector<CommandInfo>& commands() {
  static const std::vector<CommandInfo> all = {
      {"compare", "compares methods over sample counts, learning rates and seeds (the default command)",
       "data,model,study,train,machine,output"},
      {"train", "trains one model and writes it, its metrics and its log",
       "data,model,method,train,checkpoints,machine,output"},
      {"evaluate", "metrics of a trained model or adapter on a file", "run,input,columns,model,machine,output"},
      {"predict", "labels and probabilities for a file of inputs", "run,input,columns,model,machine,output"},
      {"estimate", "parameters, memory, bytes all-reduced and time of a run before it is run",
       "data,model,method,train,machine"},
      {"inspect", "what is in a model, an adapter, a run or a data file", "columns,targets"},
      {"methods", "the methods there are, and what they train on a model", "model"},
      {"bench", "times gemm, step or allreduce on this machine", "data,model,method,train,machine,targets"},
  };
  return all;
}

Options parse_options(int argc, const char* const* argv) {
  const bool named = argc > 1 && argv[1][0] != '-';
  Options options = defaults_of(named ? argv[1] : "compare");
  const CommandInfo* command = find_command(options.command);
  if (command == nullptr) {
    std::vector<std::string> names;
    for (const CommandInfo& known : commands()) names.push_back(known.name);
    throw UsageError(fmt::format("unknown command '{}'{}; there are: {}", options.command,
                                 did_you_mean(options.command, names), fmt::join(names, ", ")));
  }
  const auto visible = describe(*command, options);
  po::options_description all;
  all.add(visible);
  all.add_options()("targets", po::value(&options.targets), "");
  po::positional_options_description positional;
  if (command->groups.find("targets") != std::string::npos) positional.add("targets", -1);
  const auto names = option_names(visible);
  po::variables_map values;
  std::string source = "the command line";
  try {
    const int skip = named ? 2 : 1;
    const std::vector<std::string> arguments(argv + std::min(skip, argc), argv + argc);
    const int style = po::command_line_style::unix_style & ~po::command_line_style::allow_guessing;
    po::store(po::command_line_parser(arguments).options(all).positional(positional).style(style).run(), values);
    source = "the environment";
    po::store(
        po::parse_environment(all, [&](const std::string& variable) { return option_of_variable(variable, names); }),
        values);
    if (values.count("config") > 0) {
      source = values["config"].as<std::string>();
      std::ifstream file(source);
      if (!file) throw InputError(fmt::format("--config: cannot read {}", source));
      po::store(po::parse_config_file(file, all), values);
    }
    po::notify(values);
  } catch (const po::unknown_option& error) {
    std::string name = error.get_option_name();
    name.erase(0, name.find_first_not_of('-'));
    throw UsageError(fmt::format("{}: unknown option '{}'{} (dtrain {} --help lists them)", source, name,
                                 did_you_mean(name, names), options.command));
  } catch (const po::error& error) {
    throw UsageError(fmt::format("{}: {}", source, error.what()));
  }
  check(options);
  options.resolved = ini_of(values, options.command);
  options.share_directory = find_share_directory();
  return options;
}

std::string help_text(int argc, const char* const* argv) {
  const bool named = argc > 1 && argv[1][0] != '-';
  const CommandInfo* command = named ? find_command(argv[1]) : nullptr;
  const std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  const auto has = [&](const char* word) {
    return std::find(arguments.begin(), arguments.end(), word) != arguments.end();
  };
  if (has("--version")) return version_text();
  if (!has("--help") && !has("-h") && !(named && arguments[0] == "help")) return "";
  std::ostringstream text;
  if (command != nullptr) {
    Options defaults = defaults_of(command->name);
    text << "dtrain " << command->name << ": " << command->summary << "\n\nusage: [mpirun -np N] dtrain "
         << command->name << (command->groups.find("targets") != std::string::npos ? " WHAT" : "") << " [options]\n"
         << describe(*command, defaults);
    return text.str();
  }
  text << "dtrain: should I fine-tune the whole model, freeze it, or use a parameter-efficient method?\n\n"
          "usage: [mpirun -np N] dtrain [COMMAND] [options]\n\n";
  for (const CommandInfo& known : commands()) text << fmt::format("  {:<10} {}\n", known.name, known.summary);
  text << "\ndtrain COMMAND --help lists a command's options. Every option is also a variable (DTRAIN_BATCH_SIZE) and "
          "a line of\n"
          "a --config file. Exit codes: 0 done, 2 usage, 3 input, 4 training failed, 5 communication failed, 75 "
          "stopped on a\n"
          "signal after a checkpoint.\n";
  return text.str();
}

std::filesystem::path model_directory(const Options& options) {
  if (!options.model.empty()) return options.model;
  return options.share_directory / "models" / "minilm-l6-h384";
}

data::TaskFiles task_files(const Options& o) {
  data::TaskFiles files;
  if (o.train_file.empty()) {
    files = data::embedded_task(o.task, o.share_directory);
  } else {
    files.name = std::filesystem::path(o.train_file).stem().string();
    files.train = o.train_file;
  }
  if (!o.dev_file.empty()) files.dev = o.dev_file;
  if (!o.test_file.empty()) files.test = o.test_file;
  if (!o.ood.empty()) files.ood.clear();
  for (const std::string& named : o.ood) {
    const std::size_t equals = named.find('=');
    if (equals == std::string::npos || equals == 0)
      throw UsageError(fmt::format("--ood: expected NAME=FILE, found '{}'", named));
    files.ood.emplace_back(named.substr(0, equals), named.substr(equals + 1));
  }
  files.columns = {o.text_column, o.pair_column, o.label_column, true};
  files.drop_unknown_labels = o.drop_unknown_labels;
  return files;
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

std::vector<double> learning_rates(const Options& options) {
  std::vector<double> rates;
  for (const std::string& text : split_list(options.lrs)) rates.push_back(positive_number(text, "lrs"));
  return rates;
}

std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

}  // namespace dtrain::launcher
