#include "launcher/loading.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/random.h"
#include "launcher/class_weights.h"
#include "launcher/config_file.h"
#include "launcher/node_memory.h"
#include "launcher/node_share.h"
#include "launcher/text_examples.h"
#include "model/encoder_config.h"
#include "peft/registry.h"
#include "study/diagnosis/diagnose.h"

namespace dtrain::launcher {
namespace {

std::vector<std::filesystem::path> paths_of(const data::TaskFiles& files) {
  std::vector<std::filesystem::path> paths = {files.train, files.dev, files.test};
  for (const auto& [name, path] : files.ood) paths.push_back(path);
  return paths;
}

// Of one rank, while the others of its node wait (CoresOfAll).
data::TokenizeOptions tokenize_options_alone(const Options& options, const Session& session) {
  data::TokenizeOptions tokenize = tokenize_options(options, session);
  if (options.threads == 0) tokenize.threads = std::max(1, static_cast<int>(session.cores().shared.size()));
  return tokenize;
}

// On one rank of a node.
data::Task read_task(const Options& options, const Session& session, const Start& start, data::TaskFiles files) {
  const auto config = model::read_encoder_config(start.model);
  for (const auto& note : config.notes) session.log().warning(note);
  check_length(options, config.max_tokens(), start.virtual_tokens, start.model);
  const auto tokenizer = data::load_tokenizer(start.tokenizer, session.log());
  const std::int64_t embeddings = start.vocabulary_size > 0 ? start.vocabulary_size : config.vocabulary_size;
  files.labels = start.labels;
  files.labels_have_names = start.labels_have_names;
  files.problem_type = start.problem_type ? start.problem_type : problem_type_option(options);
  files.vocabulary = {.model = start.model, .tokenizer = start.tokenizer, .embeddings = embeddings};
  files.hold_out_dev = true;
  const CoresOfAll cores(session.cores());
  return data::load_task(files, *tokenizer, tokenize_options_alone(options, session), session.log());
}

// On one rank of a node.
data::LabelledSet read_scoring_set(const Options& options, const Session& session, const peft::TrainedModel& trained,
                                   bool labels_required) {
  const auto tokenizer = data::load_tokenizer(trained.tokenizer, session.log());
  const data::LabelMap labels(trained.labels);
  const data::Columns columns = columns_of(options, labels_required);
  const CoresOfAll cores(session.cores());
  const auto read = [&](const std::filesystem::path& path) {
    auto set = data::load_split(path, columns, trained.classifier->problem_type, labels, options.drop_unknown_labels,
                                *tokenizer, tokenize_options_alone(options, session), session.log());
    data::require_embeddings(
        set.examples, {trained.base_model, trained.tokenizer, trained.classifier->config().vocabulary_size},
        [&](std::int64_t example) {
          return fmt::format("{}:{}", path.string(), set.texts.rows[static_cast<std::size_t>(example)].line);
        });
    return set;
  };
  if (!options.input.empty()) return read(options.input);
  try {
    return read(data::embedded_task("wordnet", options.share_directory).test);
  } catch (const InputError& error) {
    throw UsageError(
        fmt::format("--input: expected a file of inputs; without it the embedded task's test set is taken, which does "
                    "not fit {} ({})",
                    options.run, error.what()));
  }
}

// The --max-length that a run trained with; 0 where there is no run, or it does not say.
std::int64_t length_of_run(const std::filesystem::path& run) {
  if (run.empty()) return 0;
  const auto config = run_directory(run) / "config.ini";
  std::int64_t length = 0;
  if (!std::filesystem::exists(config)) return length;
  for (const auto& [name, value] : config_entries(read_file(config))) {
    if (name == "max-length") std::from_chars(value.data(), value.data() + value.size(), length);
  }
  return length;
}

// The metrics of a run are not found again where its texts are cut elsewhere.
void note_other_length(const Options& options, const data::TokenDataset& examples, const Log& log) {
  const std::int64_t trained = length_of_run(options.run);
  if (trained <= 0 || trained == options.max_length) return;
  std::int64_t differ = trained > options.max_length ? examples.truncated() : 0;
  for (std::int64_t i = 0; i < examples.size(); ++i) differ += examples.length(i) > trained ? 1 : 0;
  if (differ == 0) return;
  log.warning(fmt::format("{}: it was trained with --max-length {}, and is used with {}: {} text{} cut elsewhere",
                          options.run, trained, options.max_length, count_text(differ), differ == 1 ? " is" : "s are"));
}

}  // namespace

std::filesystem::path run_directory(const std::filesystem::path& run) {
  auto directory = std::filesystem::absolute(run).lexically_normal();
  if (!directory.has_filename()) directory = directory.parent_path();
  const bool is_part = directory.filename() == "model" || directory.filename() == "adapter";
  return is_part && !std::filesystem::exists(directory / "config.ini") ? directory.parent_path() : directory;
}

std::optional<model::Pooling> pooling_option(const Options& options) {
  if (options.pooling == "auto") return std::nullopt;
  return model::pooling_from_name(options.pooling);
}

std::optional<ProblemType> problem_type_option(const Options& options) {
  if (options.problem_type == "auto") return std::nullopt;
  return problem_type(options.problem_type, "--problem-type");
}

data::TokenizeOptions tokenize_options(const Options& options, const Session& session) {
  data::TokenizeOptions tokenize{.max_length = static_cast<std::int32_t>(options.max_length),
                                 .threads = session.threads(),
                                 .cache_directory = options.token_cache};
  if (options.token_cache == "none") tokenize.cache_directory.clear();
  if (options.token_cache.empty()) {
    const char* cache = std::getenv("XDG_CACHE_HOME");
    const char* home = std::getenv("HOME");
    if (cache != nullptr && *cache != '\0') {
      tokenize.cache_directory = std::filesystem::path(cache) / "dtrain";
    } else if (home != nullptr) {
      tokenize.cache_directory = std::filesystem::path(home) / ".cache" / "dtrain";
    }
  }
  return tokenize;
}

void check_length(const Options& options, std::int64_t positions, std::int64_t virtual_tokens,
                  const std::filesystem::path& model) {
  const std::int64_t left = positions - virtual_tokens;
  if (options.max_length <= left) return;
  const std::string taken =
      virtual_tokens == 0 ? "" : fmt::format(", of which the method's virtual tokens take {}", virtual_tokens);
  throw UsageError(fmt::format(
      "--max-length {} is more than the {} positions of the model {}{}; {}", options.max_length, positions,
      model.string(), taken,
      left >= 3 ? fmt::format("--max-length {} fits", left) : std::string("the method needs fewer virtual tokens")));
}

Start start_of(const Options& options) {
  const auto directory = model_directory(options);
  Start start{.model = directory, .tokenizer = directory};
  std::vector<peft::MethodSpec> methods;
  if (options.command == "diagnose") {
    for (const auto& tried : study::diagnosis_methods(options.methods, model::read_encoder_config(directory).layers))
      methods.push_back(tried.method);
  } else {
    for (const auto& text : options.command == "compare" ? split_list(options.methods) : std::vector{options.method})
      methods.push_back(peft::parse_method_spec(text));
  }
  for (const auto& method : methods)
    start.virtual_tokens = std::max(start.virtual_tokens, peft::make_method(method)->virtual_tokens());
  return start;
}

data::Task load_task(const Options& options, const Session& session, const Start& start) {
  const auto files = task_files(options);
  data::Task task = share_task(
      session.control(), session.lowest_local_rank(), reading_time(paths_of(files)),
      [&] { return read_task(options, session, start, files); }, session.log());
  session.log().line(fmt::format("columns: {}", task.columns));
  for (const auto& note : task.notes) session.log().warning(note);
  session.have_loaded();
  return task;
}

study::TaskIdentity identity_of(const data::Task& task) {
  study::TaskIdentity identity{.name = task.name,
                               .labels = task.labels.names(),
                               .train = task.train.digest(),
                               .dev = task.dev.digest(),
                               .test = task.test.digest(),
                               .ood = {}};
  for (const auto& [name, set] : task.ood) identity.ood.emplace_back(name, set.digest());
  return identity;
}

std::shared_ptr<const model::ModelWeights> base_weights(const Options& options, const Session& session,
                                                        const data::Task& task) {
  return share_weights(session.control(), session.lowest_local_rank(),
                       {.directory = model_directory(options),
                        .pooling = pooling_option(options),
                        .classes = task.labels.size(),
                        .problem_type = task.problem_type});
}

train::TrainOptions training_options(const Options& options, const data::Task& task) {
  const train::Objective& objective = train::objective_of(task.problem_type);
  train::TrainOptions training = options.training;
  training.problem_type = task.problem_type;
  training.loss.balanced = options.class_weights == "balanced";
  if (!options.class_weights.empty() && !training.loss.balanced)
    training.loss.class_weights = read_class_weights(options.class_weights, task.labels);
  objective.make_loss(training.loss, task.train.targets(), at::kCPU);
  training.shard_optimizer = options.shard_optimizer == "on"    ? train::ShardOptimizer::on
                             : options.shard_optimizer == "off" ? train::ShardOptimizer::off
                                                                : train::ShardOptimizer::automatic;
  training.select_metric = options.select_metric == "auto" ? objective.select_metric() : options.select_metric;
  const auto& kinds = objective.metric_kinds();
  if (std::none_of(kinds.begin(), kinds.end(), [&](const auto& kind) { return kind.name == training.select_metric; })) {
    std::vector<std::string> names;
    for (const auto& kind : kinds) names.push_back(kind.name);
    throw UsageError(fmt::format("--select-metric: {} has no {}; expected one of {}",
                                 problem_type_name(task.problem_type), training.select_metric, fmt::join(names, ", ")));
  }
  return training;
}

data::LabelledSet scoring_set(const Options& options, const Session& session, const peft::TrainedModel& trained,
                              bool labels_required) {
  for (const auto& note : trained.classifier->config().notes) session.log().warning(note);
  check_length(options, trained.classifier->config().max_tokens(), peft::make_method(trained.method)->virtual_tokens(),
               trained.base_model);
  data::LabelledSet set;
  const auto read = [&] {
    set = read_scoring_set(options, session, trained, labels_required);
    data::Task task;
    task.test = set.examples;
    return task;
  };
  set.examples =
      share_task(session.control(), session.lowest_local_rank(), reading_time({options.input}), read, session.log())
          .test;
  session.log().line(fmt::format("columns: {}", set.texts.columns));
  for (const auto& note : set.texts.notes) session.log().warning(note);
  note_other_length(options, set.examples, session.log());
  session.have_loaded();
  return set;
}

train::Examples training_examples(const data::Task& task, std::int64_t samples, std::uint64_t subset_seed) {
  if (samples == 0) return text_examples(task.train);
  return text_examples(task.train.subset(data::stratified_draw(task.train.targets(), samples, subset_seed)));
}

void note_classes(data::Task& task, std::int64_t samples, const Log& log) {
  if (samples == 0 || samples == task.train.size()) return;  // load_task has noted those of the whole
  for (auto& note : data::target_notes(training_examples(task, samples, 0).targets(), task.labels,
                                       fmt::format("--samples {}", samples))) {
    log.warning(note);
    task.notes.push_back(std::move(note));
  }
}

void note_reduce_precision(const Options& options, int ranks, const Log& log) {
  if (ranks > 1 || options.training.reduce_format == dist::WireFormat::fp32) return;
  log.line(fmt::format("--reduce-precision {}: a training on one rank exchanges nothing, and rounds nothing",
                       options.reduce_precision));
}

data::TokenDataset capped(const data::TokenDataset& examples, std::int64_t count, std::uint64_t seed) {
  if (count == 0 || count >= examples.size()) return examples;
  return examples.subset(data::stratified_draw(examples.targets(), count, seed, Purpose::evaluation_subset));
}

std::int64_t cache_memory(const Options& options, const Session& session) {
  if (!options.cache_memory.empty()) return options.training.cache_memory;
  if (const auto device = session.context().device; !device.is_cpu()) {
    return static_cast<std::int64_t>(at::getDeviceAllocator(device.type())->getMemoryInfo(device.index()).second / 4);
  }
  return node_memory() / 4 / session.local_size();
}

}  // namespace dtrain::launcher
