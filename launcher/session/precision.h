#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "dist/communicator.h"
#include "launcher/options.h"

namespace dtrain::launcher {

/// What matmuls are computed in, "fp32" or "bf16", and why.
struct Precision {
  std::string name;
  std::string reason;
};

/// Whether this CPU multiplies bfloat16 numbers by instructions of its own. Else they are emulated, at a hundredth of
/// the speed.
bool has_bf16_instructions();

/// How many times as fast as in fp32 a matmul as the encoder has them is in bf16 on this CPU. Takes milliseconds where
/// there are instructions for it.
double measured_bf16_gain();

/// bf16 where this CPU computes it faster. `gain` is measured only where there are instructions for it.
Precision faster_on_cpu(bool has_instructions, const std::function<double()>& gain);

/// The precision that a run wrote into its config.ini; empty where there is none.
std::string precision_of_run(const std::filesystem::path& output);

/// As asked, as the run that is resumed (in `resumed`; empty: none) began, or what computes faster. Collective: every
/// rank gets the same.
Precision choose_precision(dist::Communicator& control, bool is_cuda, const std::string& asked,
                           const std::filesystem::path& resumed);

}  // namespace dtrain::launcher
