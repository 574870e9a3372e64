#pragma once

#include <memory>
#include <vector>

#include "peft/parts/adalora_slot.h"
#include "peft/training_hooks.h"

namespace dtrain::peft {

/// PEFT's RankAllocator: after each step it smooths how much the loss depends on every element, and cuts the rows of E
/// that matter least to a budget which falls from init_r to target_r; to the loss it adds what keeps A and B
/// orthogonal. Throws UsageError where the run has too few steps for tinit and tfinal.
std::unique_ptr<TrainingHooks> make_rank_allocator(std::vector<AdaLoraSlot*> slots, const AdaLoraConfig& config,
                                                   std::int64_t steps);

}  // namespace dtrain::peft
