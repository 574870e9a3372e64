#include "train/out_of_memory.h"

#include <ATen/ATen.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <string_view>

#include "base/listing.h"

namespace dtrain::train {
namespace {

// LibTorch has an error of its own for a GPU's memory alone.
constexpr std::string_view kHostAllocator = "DefaultCPUAllocator: ";
// Of a message that goes to all ranks.
constexpr std::int64_t kMostBytes = 512;

std::string lack_text(const char* lack, const std::string& advice, std::string_view detail) {
  std::string text = lack;
  if (!advice.empty()) text += "; " + advice;
  if (!detail.empty()) text += fmt::format(" ({})", detail);
  return text;
}

}  // namespace

std::optional<std::string> lack_of_memory(const std::exception& error, const std::string& advice) {
  if (const auto* gpu = dynamic_cast<const c10::OutOfMemoryError*>(&error))
    return lack_text("out of GPU memory", advice, gpu->what_without_backtrace());
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return lack_text("out of memory", advice, "");
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  if (torch == nullptr) return std::nullopt;
  const std::string_view message = torch->what_without_backtrace();
  const auto begin = message.find(kHostAllocator);
  if (begin == std::string_view::npos) return std::nullopt;
  return lack_text("out of memory", advice, message.substr(begin + kHostAllocator.size()));
}

void throw_out_of_memory(const std::string& mine, const RunContext& context) {
  const auto lacking = context.control.all_gather(at::tensor({mine.empty() ? 0 : 1}, at::kInt)).nonzero();
  const int rank = lacking[0].item<int>();
  const auto text = at::zeros({kMostBytes}, at::kByte);
  char* bytes = static_cast<char*>(text.mutable_data_ptr());
  if (context.control.size() == 1) throw OutOfMemoryError(mine);
  if (context.control.rank() == rank) {
    const std::string shown = shown_text(mine, kMostBytes - std::string_view("...").size() - 1);
    std::copy(shown.begin(), shown.end(), bytes);
  }
  context.control.broadcast(text, rank);
  throw OutOfMemoryError(fmt::format("rank {}: {}", context.first_rank + rank, bytes));
}

}  // namespace dtrain::train
