#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "data/task.h"
#include "train/options.h"

namespace dtrain::launcher {

/// Every option of every command, resolved: command line over environment over configuration file over defaults.
struct Options {
  std::string command;

  // Data
  std::string task = "wordnet";
  std::string train_file, dev_file, test_file;
  std::vector<std::string> ood;
  std::string text_column, pair_column, label_column;
  std::string header = "auto";
  std::string separator, label_separator;
  std::vector<std::string> ignored_labels;
  bool drop_unknown_labels = false;
  std::string problem_type = "auto";
  std::string class_weights;
  std::int64_t max_length = 128;
  std::string samples;
  std::uint64_t subset_seed = 0;
  std::string test_samples = "0";
  std::string ood_samples = "0";
  std::string token_cache;

  // Model and method
  std::string model;
  std::string pooling = "auto";
  std::string method = "full";
  std::string methods = "full,head,lora";
  std::string lr;
  std::string lrs;

  // Training
  train::TrainOptions training;
  std::string select_metric = "auto";
  std::string reduce_precision = "fp32";
  std::string shard_optimizer = "auto";
  std::string scaling_ranks;
  double bench_seconds = 2;
  bool whole_epochs = false;
  std::int64_t norm_parameters = 22'500'000;  // as the embedded model has
  std::string json_file;
  std::string svg_file;
  double epochs = 3;
  std::int64_t max_steps = 0;
  std::int64_t seeds = 0;  // 0: by the budget
  std::string budget = "auto";
  std::string plan_file;
  std::string search = "auto";
  std::string ranks_per_trial = "auto";
  std::string trials_per_gpu = "auto";
  std::string metric = "auto";
  double margin = 1;

  // Machine
  std::string precision = "auto";
  std::string device = "auto";
  std::string backend = "auto";
  int threads = 0;
  double comm_timeout = 600;
  std::string cache_memory;

  // Files
  std::string output;
  bool resume = false;
  bool overwrite = false;
  bool tensorboard = false;
  std::string max_time = "auto";
  std::string run;
  std::string input;
  std::string labels;
  std::string retain;
  std::string then;
  std::string adapters;
  std::string weights;
  std::string how = "linear";
  double density = 0.5;
  std::vector<std::string> targets;  // positional: what to inspect, what to time

  /// All of the above as an INI file, which --config takes back.
  std::string resolved;

  /// What the user should know about the way the options were given.
  std::vector<std::string> notes;

  std::filesystem::path share_directory;
};

/// What a command is: its name, one line, and the groups of options it takes.
struct CommandInfo {
  std::string name;
  std::string summary;
  std::string groups;  // of those in option_groups.cpp, and "targets" for words without an option name
};
const std::vector<CommandInfo>& commands();

/// Throws UsageError: an unknown command or option (with the nearest), a value of the wrong kind or range; InputError
/// for one in the --config file. The message names the source where that is not the command line.
Options parse_options(int argc, const char* const* argv);

/// The options of a command where nothing is given, as config.ini has them. Throws UsageError for an unknown command.
std::string default_options(const std::string& command);

/// What needs less memory, of the options that the command has: "a smaller --batch-size needs less". Empty: none does.
std::string memory_advice(const Options& options);

/// Whether the arguments ask for help or the version alone; the text then.
std::string help_text(int argc, const char* const* argv);

/// The model directory: --model, or the embedded one.
std::filesystem::path model_directory(const Options& options);
/// The files of the task: --train and its companions, or the embedded one.
data::TaskFiles task_files(const Options& options);
/// How to read data files: --text-column and its companions.
data::Columns columns_of(const Options& options, bool label_required);
/// --samples as numbers; empty: all.
std::vector<std::int64_t> sample_counts(const Options& options);
/// One --ood: "NAME=FILE" -> {"NAME", "FILE"}.
std::pair<std::string, std::filesystem::path> named_file(const std::string& text);
/// --budget: "90s", "10m", "6h", "2d" in seconds; nothing for "none" and "auto".
std::optional<double> budget_seconds(const Options& options);
/// --max-time in seconds, as --budget is written; nothing for "none" and "auto".
std::optional<double> max_seconds(const Options& options);
/// --ranks-per-trial and --trials-per-gpu; nothing for "auto".
std::optional<int> ranks_per_trial(const Options& options);
std::optional<int> trials_per_gpu(const Options& options);
/// --test-samples and --ood-samples: how many examples of a set are scored; 0: all; nothing for "auto".
std::optional<std::int64_t> test_samples(const Options& options);
std::optional<std::int64_t> ood_samples(const Options& options);
/// What "auto" begins with, and what it comes to where time allows.
constexpr std::int64_t kFewTestSamples = 2000;
constexpr std::int64_t kFewOodSamples = 1000;
constexpr std::int64_t kManySamples = 20'000;
/// --lrs as numbers; empty: each method's own.
std::vector<double> learning_rates(const Options& options);
/// --weights as numbers; where not given, equal ones that add up to 1.
std::vector<double> adapter_weights(const Options& options, std::size_t adapters);
/// "a,b" -> {"a", "b"}.
std::vector<std::string> split_list(const std::string& text);

}  // namespace dtrain::launcher
