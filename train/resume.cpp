#include "train/resume.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "base/digest.h"
#include "base/error.h"
#include "base/image.h"
#include "dist/node_image.h"
#include "train/objective.h"
#include "train/optimizer.h"

namespace dtrain::train {
namespace {

// The first rank's, on every rank: hashing the weights takes as long as reading them.
std::string digest_of_weights(model::Classifier& classifier, dist::Communicator& control) {
  Digest digest;
  if (control.rank() == 0) {
    digest.add(model::pooling_name(classifier.pooling()));
    for (const model::Parameter* parameter : classifier.parameters()) {
      const auto values = parameter->value().detach().cpu().contiguous();
      digest.add(parameter->name());
      digest.add(values.const_data_ptr(), values.nbytes());
    }
  }
  const std::string text = digest.text();  // as long for any content
  const auto bytes = at::empty({static_cast<std::int64_t>(text.size())}, at::kByte);
  std::copy(text.begin(), text.end(), bytes.mutable_data_ptr<std::uint8_t>());
  const dist::TimeoutScope patience = dist::wait_for_files(control);
  control.broadcast(bytes, 0);
  return {static_cast<const char*>(bytes.const_data_ptr()), text.size()};
}

std::string digest_of_text(const std::string& text) {
  Digest digest;
  digest.add(text);
  return digest.text();
}

std::int64_t trainable_parameters(model::Classifier& classifier) {
  std::int64_t count = 0;
  for (const model::Parameter* parameter : classifier.parameters()) {
    if (parameter->trainable()) count += parameter->value().numel();
  }
  return count;
}

// Where each node has a disk of its own, the ranks do not see the same checkpoints.
void check_agreement(std::int64_t step, const std::filesystem::path& directory, const RunContext& context) {
  const auto steps = context.control.all_gather(at::tensor({step}, at::kLong));
  for (std::int64_t rank = 1; rank < steps.size(0); ++rank) {
    if (steps[rank].item<std::int64_t>() == steps[0].item<std::int64_t>()) continue;
    throw InputError(fmt::format(
        "{}: rank 0 finds a checkpoint of step {} there, rank {} of step {} (0: none). --output must be on a disk that "
        "all nodes share; where it is, one of them reads the newest as damaged",
        directory.string(), steps[0].item<std::int64_t>(), rank, steps[rank].item<std::int64_t>()));
  }
}

}  // namespace

std::map<std::string, std::string> run_identity(const TrainOptions& options, std::int64_t steps,
                                                const Examples& examples, const Examples& dev,
                                                model::Classifier& classifier, const RunContext& context) {
  return {{"method", options.method.text()},
          {"problem type", std::string(problem_type_name(options.problem_type))},
          {"loss", loss_text(options.loss)},
          {"learning rate", fmt::format("{}", learning_rate_of(options))},
          {"steps", std::to_string(steps)},
          {"batch size", std::to_string(options.batch_size)},
          {"seed", std::to_string(options.seed)},
          {"virtual ranks", std::to_string(options.virtual_ranks)},
          {"training data", examples.digest()},
          {kDevData, dev.size() > 0 ? dev.digest() : ""},
          {"trainable parameters", std::to_string(trainable_parameters(classifier))},
          {kModelConfiguration, digest_of_text(classifier.config().json.dump())},
          {"weights of the model at the start", digest_of_weights(classifier, context.control)},
          {"micro batch size", std::to_string(options.micro_batch_size)},
          {"weight decay", fmt::format("{}", options.weight_decay)},
          {"betas", fmt::format("{} {}", options.beta1, options.beta2)},
          {"epsilon", fmt::format("{}", options.epsilon)},
          {"warm-up", fmt::format("{}", options.warmup_ratio)},
          {"gradient norm", fmt::format("{}", options.max_gradient_norm)},
          {"select metric", options.select_metric},
          {"patience", std::to_string(options.patience)},
          {kReducePrecision, dist::wire_format_name(options.reduce_format)},
          {"precision", context.matmul_type == at::kBFloat16 ? "bf16" : "fp32"}};
}

std::optional<Checkpoint> checkpoint_to_resume(const std::filesystem::path& directory,
                                               const std::map<std::string, std::string>& identity,
                                               const RunContext& context, int node) {
  std::optional<Checkpoint> checkpoint;
  const dist::TimeoutScope patience = dist::wait_for_files(context.control);
  dist::share_on_node(context.control, node, std::chrono::milliseconds(0),
                      {.read = [&] { checkpoint = read_checkpoint(directory, identity, context.log); },
                       .describe =
                           [&](ImageWriter& image) {
                             image.add_number(checkpoint.has_value());
                             if (checkpoint) checkpoint->add_to(image);
                           },
                       .take =
                           [&](ImageReader& image) {
                             checkpoint.reset();
                             if (image.next_number() != 0) checkpoint = Checkpoint::from(image);
                           }});
  check_agreement(checkpoint ? checkpoint->step : 0, directory, context);
  return checkpoint;
}

}  // namespace dtrain::train
