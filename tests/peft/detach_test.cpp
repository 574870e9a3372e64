#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "model/formats/classifier_files.h"
#include "peft/registry.h"
#include "tests/model/reference_case.h"
#include "tests/peft/small_specs.h"

namespace dtrain::peft {
namespace {

using model::Parameter;
using model::Pooling;
using model::ReferenceCase;

// Methods that train tensors of the pretrained body itself; the others only add to it.
const std::set<std::string> kChangeTheBody = {"full", "layers", "bitfit", "norm", "lp-ft", "gradual"};

// Their virtual tokens take positions, of which the reference's longest texts leave none.
const std::set<std::string> kTakePositions = {"prefix", "prompt", "p-tuning"};

std::unique_ptr<model::Classifier> pretrained(const ReferenceCase& reference) {
  return model::load_classifier({.directory = reference.directory(),
                                 .pooling = Pooling::mean,
                                 .classes = 3,
                                 .head_seed = 1,
                                 .device = model::test_device()});
}

// What training could leave: another value of everything that trains.
void change_what_trains(model::Classifier& classifier) {
  for (Parameter* parameter : classifier.parameters()) {
    if (parameter->trainable()) parameter->set_value(parameter->value() + 0.1 * at::randn_like(parameter->value()));
  }
}

// Takes away all that a method has added.
void empty_slots(model::Classifier& classifier) {
  model::Encoder& encoder = classifier.encoder();
  encoder.embedding_slot.reset();
  encoder.position_shift = 0;
  for (int i = 0; i < encoder.layers(); ++i) {
    encoder.layer(i).attention_slot.reset();
    encoder.layer(i).attention_output_slot.reset();
    encoder.layer(i).output_slot.reset();
  }
  for (model::Linear* linear : classifier.linears()) linear->slot.reset();
}

at::Tensor states(model::Classifier& classifier, const ReferenceCase& reference) {
  return classifier.run_prefix(reference.batch(), classifier.head_stage(), at::kFloat);
}

class DetachingMethod : public testing::TestWithParam<std::string> {};

TEST_P(DetachingMethod, GivesTheBaseModelBackBitForBitUnlessItTrainsTheBody) {
  at::manual_seed(3);
  const ReferenceCase reference("no_dropout");
  const auto base = pretrained(reference);
  const auto expected = states(*base, reference);
  const auto classifier = pretrained(reference);
  const auto method = make_method(parse_method_spec(small_spec(GetParam())));
  method->attach(*classifier, {.seed = 2});
  // What trains in the last phase is the most that trains.
  for (int phase = 1; phase < static_cast<int>(method->phases(*classifier).size()); ++phase)
    method->enter_phase(*classifier, phase);
  change_what_trains(*classifier);
  const bool adds = GetParam() != "head";
  if (kTakePositions.count(GetParam()) == 0) {
    EXPECT_NE(at::equal(states(*classifier, reference), expected), adds) << "it changes nothing";
  }
  empty_slots(*classifier);
  EXPECT_EQ(at::equal(states(*classifier, reference), expected), kChangeTheBody.count(GetParam()) == 0);
  // The pretrained tensors themselves, too, with those that the pooling leaves out.
  const auto own = classifier->stored_parameters();
  const auto theirs = base->stored_parameters();
  ASSERT_EQ(own.size(), theirs.size());
  bool is_same = true;
  for (std::size_t i = 0; i < own.size(); ++i) {
    if (own[i] == &classifier->classifier.weight || own[i] == &classifier->classifier.bias) continue;
    is_same = is_same && at::equal(own[i]->value(), theirs[i]->value());
  }
  EXPECT_EQ(is_same, kChangeTheBody.count(GetParam()) == 0);
}

std::vector<std::string> detachable_names() {
  std::vector<std::string> all;
  for (const auto& kind : method_kinds()) all.push_back(kind.name);
  return all;
}

INSTANTIATE_TEST_SUITE_P(Every, DetachingMethod, testing::ValuesIn(detachable_names()), [](const auto& of) {
  std::string name = of.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace dtrain::peft
