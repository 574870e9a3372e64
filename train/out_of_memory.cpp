#include "train/out_of_memory.h"

#include <ATen/ATen.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <string_view>

namespace dtrain::train {
namespace {

// LibTorch has an error of its own for a GPU's memory alone.
constexpr std::string_view kHostAllocator = "DefaultCPUAllocator: ";
constexpr const char* kNeedsLess = "a smaller --batch-size, --micro-batch-size or --cache-memory needs less";
// Of a message that goes to all ranks.
constexpr std::int64_t kMostBytes = 512;

}  // namespace

std::optional<std::string> lack_of_memory(const std::exception& error) {
  if (const auto* gpu = dynamic_cast<const c10::OutOfMemoryError*>(&error))
    return fmt::format("out of GPU memory; {} ({})", kNeedsLess, gpu->what_without_backtrace());
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return fmt::format("out of memory; {}", kNeedsLess);
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  if (torch == nullptr) return std::nullopt;
  const std::string_view message = torch->what_without_backtrace();
  const auto begin = message.find(kHostAllocator);
  if (begin == std::string_view::npos) return std::nullopt;
  return fmt::format("out of memory; {} ({})", kNeedsLess, message.substr(begin + kHostAllocator.size()));
}

void throw_out_of_memory(const std::string& mine, const RunContext& context) {
  const auto lacking = context.control.all_gather(at::tensor({mine.empty() ? 0 : 1}, at::kInt)).nonzero();
  const int rank = lacking[0].item<int>();
  const auto text = at::zeros({kMostBytes}, at::kByte);
  char* bytes = static_cast<char*>(text.mutable_data_ptr());
  if (context.control.rank() == rank)
    std::memcpy(bytes, mine.data(), std::min(mine.size(), static_cast<std::size_t>(kMostBytes - 1)));
  context.control.broadcast(text, rank);
  throw OutOfMemoryError(context.control.size() == 1 ? std::string(bytes) : fmt::format("rank {}: {}", rank, bytes));
}

}  // namespace dtrain::train
