// Every method on every family, for every objective, over several ranks: trained, saved, loaded, merged, gone on with.

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include <bit>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/registry.h"
#include "peft/formats/trained_model.h"
#include "peft/registry.h"
#include "tests/peft/small_specs.h"
#include "tests/train/over_ranks.h"
#include "train/evaluation.h"
#include "train/objective.h"
#include "train/optimizer.h"
#include "train/training_step.h"

namespace {
std::int64_t bytes_given_to_mpi = 0;
}  // namespace

// MPI's profiling interface: what is counted is what MPI itself was handed, of floats, which only gradients are.
extern "C" int MPI_Iallreduce(const void* send, void* receive, int count, MPI_Datatype type, MPI_Op op,
                              MPI_Comm communicator, MPI_Request* request) {
  if (type == MPI_FLOAT) bytes_given_to_mpi += std::int64_t{count} * 4;
  return PMPI_Iallreduce(send, receive, count, type, op, communicator, request);
}

namespace dtrain::train {
namespace {

namespace fs = std::filesystem;

/// Each method there is, on a checkpoint of each family there is, for each objective there is.
class MethodMatrix : public OverRanks {
 protected:
  static fs::path checkpoint_of(const model::Family& family) {
    return reference_directory() / "families" / family.model_type;
  }

  /// The loss falls, what is frozen stays as it is to the bit, and MPI is handed the trainable bytes and no more.
  /// Returns the first loss.
  double train_three_steps(model::Classifier& classifier, const TrainOptions& options, const Examples& set) const {
    std::map<const model::Parameter*, at::Tensor> before;
    for (const model::Parameter* parameter : classifier.parameters()) before[parameter] = parameter->value().clone();
    FeatureStore features(options.cache_memory);
    FlatParameters parameters = flatten(classifier);
    const RunContext context = context_over(*together);
    TrainingStep step(classifier, parameters, options, set, context, features);
    AdamW optimizer(parameters, options, step.sharding());
    bytes_given_to_mpi = 0;
    std::vector<double> losses;
    for (int i = 0; i < 3; ++i) {
      losses.push_back(step.run(0).loss);  // the same batch each time
      optimizer.step(1e-3);
    }
    EXPECT_LT(losses[2], losses[0]);
    // Of a lookup table, the rows that the batch has; how many ranks have each is counted in whole numbers.
    std::int64_t bytes = 4 * parameters.size();
    std::int64_t counts = 0;
    for (const std::size_t i : parameters.tables) {
      const model::Parameter& table = *parameters.parameters[i];
      const auto rows = static_cast<std::int64_t>(table.gradient_rows()->size());
      bytes -= 4 * (table.shape()[0] - rows) * table.shape()[1];
      counts += 4 * table.shape()[0];
      EXPECT_LT(rows, table.shape()[0]);
    }
    EXPECT_EQ(bytes_given_to_mpi, ranks() == 1 ? 0 : 3 * bytes);
    EXPECT_EQ(step.allreduce_bytes(), ranks() == 1 ? 0 : bytes + counts);
    EXPECT_TRUE(alike(parameters.values));
    for (const auto& [parameter, value] : before) {
      if (!parameter->trainable()) {
        EXPECT_TRUE(at::equal(parameter->value(), value)) << parameter->name();
      }
    }
    return losses[0];
  }

  at::Tensor logits(model::Classifier& classifier) const { return score(classifier, few, context_over(*alone)); }

  /// What three steps made of a checkpoint, and the same from the files that it was saved in.
  struct Saved {
    TrainOptions options;
    std::unique_ptr<model::Classifier> classifier;
    std::unique_ptr<model::Classifier> loaded;
  };
  Saved train_save_and_load(const model::Family& family, const peft::MethodKind& kind, ProblemType type,
                            const Examples& set) const {
    const std::string spec = peft::small_spec(kind.name);
    Saved saved;
    saved.options = short_run(spec, 3);
    saved.options.problem_type = type;
    saved.classifier = classifier_with("families/" + family.model_type, spec, model::Pooling::mean, type);
    train_three_steps(*saved.classifier, saved.options, set);
    const auto folder = shared_folder();
    const auto labels = type == ProblemType::regression ? std::vector<std::string>{"LABEL_0"}
                                                        : std::vector<std::string>{"a", "b", "c", "d"};
    if (rank() == 0) {
      peft::save_trained(*saved.classifier, saved.options.method, labels, checkpoint_of(family), folder);
    }
    together->barrier();
    auto loaded = peft::load_trained(folder, {}, {}, at::kCPU, Log());
    EXPECT_EQ(loaded.labels, labels);
    EXPECT_EQ(problem_type_name(loaded.classifier->problem_type), problem_type_name(type));
    EXPECT_TRUE(at::equal(logits(*loaded.classifier), logits(*saved.classifier)));
    saved.loaded = std::move(loaded.classifier);
    return saved;
  }

  void expect_that_merging_changes_no_logits(Saved& saved) const {
    const auto method = peft::make_method(saved.options.method);
    if (method->cannot_merge()) return;
    const auto trained = logits(*saved.classifier);
    method->merge(*saved.classifier);
    EXPECT_LT((logits(*saved.classifier) - trained).abs().max().item<double>(), 1e-5);
  }
};

TEST_F(MethodMatrix, TrainsSavesLoadsMergesAndGoesOnWithEachMethodOnEachFamily) {
  for (const model::Family& family : model::families()) {
    for (const peft::MethodKind& kind : peft::method_kinds()) {
      SCOPED_TRACE(family.model_type + " " + kind.name);
      Saved saved = train_save_and_load(family, kind, ProblemType::single_label_classification, examples);
      // From the adapter alone, with an optimiser that knows nothing: the same function is trained further.
      const auto method = peft::make_method(saved.options.method);
      if (method->changes_whole_model()) method->attach(*saved.loaded, {});
      const double loss = train_three_steps(*saved.loaded, saved.options, examples);
      EXPECT_EQ(loss, train_three_steps(*saved.classifier, saved.options, examples));
      expect_that_merging_changes_no_logits(saved);
    }
  }
}

// All methods on all families are above, for classes. For each further objective a method is tried on one family, which
// moves on with the method, the objective and the number of ranks: any number of ranks has each method and each family
// with each objective, and over 1, 2 and 4 ranks a method meets all three families for each objective (a Latin square).
TEST_F(MethodMatrix, TrainsSavesLoadsAndMergesWithEachMethodForEachObjective) {
  const auto& families = model::families();
  const auto& kinds = peft::method_kinds();
  const auto turn = static_cast<std::size_t>(std::bit_width(static_cast<unsigned>(ranks())) - 1);  // 0, 1, 2
  for (std::size_t o = 0; o < objectives().size(); ++o) {
    const ProblemType type = objectives()[o]->type();
    if (type == ProblemType::single_label_classification) continue;
    const Examples set = random_data(24, 6, 0, type);
    for (std::size_t m = 0; m < kinds.size(); ++m) {
      const model::Family& family = families[(m + o + turn) % families.size()];
      SCOPED_TRACE(std::string(problem_type_name(type)) + " " + family.model_type + " " + kinds[m].name);
      Saved saved = train_save_and_load(family, kinds[m], type, set);
      expect_that_merging_changes_no_logits(saved);
    }
  }
}

}  // namespace
}  // namespace dtrain::train
