#include <fmt/format.h>
#include <fmt/ranges.h>

#include <optional>

#include "base/error.h"
#include "launcher/commands.h"
#include "launcher/output_directory.h"
#include "launcher/trained_models.h"
#include "peft/formats/combination.h"
#include "peft/formats/trained_model.h"
#include "peft/registry.h"

namespace dtrain::launcher {
namespace {

// A base model and an adapter become a plain model.
peft::TrainedModel merge_into_base(const Options& options, const Session& session) {
  auto trained = load_trained(options, session, options.run, at::kCPU);
  const auto method = peft::make_method(trained.method);
  if (method->changes_whole_model()) {
    throw UsageError(fmt::format("--run: {} is a whole model already; expected an adapter", options.run));
  }
  if (const auto reason = method->cannot_merge()) {
    throw UsageError(fmt::format("{} of method {} cannot be merged: {}", options.run, trained.method.name, *reason));
  }
  method->merge(*trained.classifier);
  trained.method = {"full", {}};
  return trained;
}

// Several adapters become one.
peft::TrainedModel merge_adapters(const Options& options, const Session& session) {
  const auto directories = split_list(options.adapters);
  if (directories.size() < 2) throw UsageError("--adapters: expected at least two, joined by commas");
  peft::Combination combination;
  combination.how = options.how;
  combination.density = options.density;
  combination.seed = options.training.seed;
  combination.weights = adapter_weights(options, directories.size());
  std::vector<peft::TrainedModel> adapters;
  for (const auto& directory : directories) adapters.push_back(load_trained(options, session, directory, at::kCPU));
  auto one = peft::combine_adapters(std::move(adapters), combination);
  session.log().line(fmt::format("{} adapters combined by {} with weights {}; the head is their mean by the weights",
                                 directories.size(), combination.how, fmt::join(combination.weights, ", ")));
  return one;
}

}  // namespace

void run_merge(const Options& options, const Session& session) {
  if (options.output.empty()) throw UsageError("--output: expected a directory for what is merged");
  if (options.run.empty() == options.adapters.empty()) {
    throw UsageError("merge: expected --run with an adapter, or --adapters with several of them");
  }
  const Options defaults;
  const bool drops_none = options.how == "linear" || options.how == "svd";
  if (options.adapters.empty() && (options.how != defaults.how || !options.weights.empty())) {
    throw UsageError("merge: --how and --weights are about --adapters; --run takes one adapter as it is");
  }
  if (options.density != defaults.density && (options.adapters.empty() || drops_none)) {
    throw UsageError("--density: expected --adapters and a --how that drops elements, such as ties or dare");
  }
  check_output(options);
  std::optional<peft::TrainedModel> merged;
  on_first_rank(session, [&] {
    merged = options.adapters.empty() ? merge_into_base(options, session) : merge_adapters(options, session);
  });
  prepare_output(options, session);
  on_first_rank(session, [&] {
    const auto directory = peft::save_trained(*merged->classifier, merged->method, merged->labels, merged->base_model,
                                              options.output, peft::read_tokenizer_contents(merged->tokenizer));
    session.log().line(fmt::format("written: {} ({})", directory.string(),
                                   bytes_text(static_cast<double>(peft::stored_bytes(directory)))));
  });
}

}  // namespace dtrain::launcher
