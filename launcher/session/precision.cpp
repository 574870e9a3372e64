#include "launcher/session/precision.h"

#include <ATen/ATen.h>
#include <ATen/cpu/Utils.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <string_view>

#include "base/seconds.h"
#include "launcher/session/agreement.h"

namespace dtrain::launcher {

bool has_bf16_instructions() {
  // Named avx512_bf16, amx_bf16 and so on: whatever the kind of CPU.
  const auto capabilities = at::cpu::get_cpu_capabilities();
  return std::any_of(capabilities.begin(), capabilities.end(), [](const auto& capability) {
    return capability.first.find("bf16") != std::string::npos && capability.second.isBool() &&
           capability.second.toBool();
  });
}

double measured_bf16_gain() {
  const auto left = at::randn({512, 384});
  const auto right = at::randn({384, 1536});
  const auto seconds = [&](const at::Tensor& a, const at::Tensor& b) {
    const auto begin = std::chrono::steady_clock::now();
    at::mm(a, b);
    return seconds_since(begin);
  };
  const auto left_bf16 = left.to(at::kBFloat16);
  const auto right_bf16 = right.to(at::kBFloat16);
  // The first of each makes its kernel; then the best of a few in turn, because another process may take the cores.
  seconds(left, right);
  seconds(left_bf16, right_bf16);
  double fp32 = 1e9;
  double bf16 = 1e9;
  for (int i = 0; i < 5; ++i) {
    fp32 = std::min(fp32, seconds(left, right));
    bf16 = std::min(bf16, seconds(left_bf16, right_bf16));
  }
  return fp32 / bf16;
}

Precision faster_on_cpu(bool has_instructions, const std::function<double()>& gain) {
  if (!has_instructions) return {"fp32", "this CPU has no bf16 instructions"};
  const double times = gain();
  return {times > 1.2 ? "bf16" : "fp32", fmt::format("bf16 measured {:.1f}x as fast as fp32", times)};
}

std::string precision_of_run(const std::filesystem::path& output) {
  std::ifstream config(output / "config.ini");
  constexpr std::string_view kKey = "precision = ";
  for (std::string line; std::getline(config, line);) {
    if (line.starts_with(kKey)) return line.substr(kKey.size());
  }
  return "";
}

Precision choose_precision(dist::Communicator& control, bool is_cuda, const std::string& asked,
                           const std::filesystem::path& resumed) {
  if (asked != "auto") return {asked, "as asked"};
  // The first rank decides: all must choose alike, whatever their CPUs measure and their disks hold.
  Precision chosen;
  if (control.rank() == 0) {
    // A run goes on as it began, whatever is faster this time.
    const std::string before = resumed.empty() ? "" : precision_of_run(resumed);
    if (before == "bf16" || before == "fp32") {
      chosen = {before, "as before"};
    } else if (is_cuda) {
      chosen = {"bf16", "the default on GPUs"};
    } else {
      chosen = faster_on_cpu(has_bf16_instructions(), measured_bf16_gain);
    }
  }
  return {gather_texts(control, chosen.name).at(0), gather_texts(control, chosen.reason).at(0)};
}

}  // namespace dtrain::launcher
