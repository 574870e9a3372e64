#include "dist/first_rank.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "base/error.h"

namespace dtrain::dist {
namespace {

struct Failure {
  int exit_code = 0;
  std::string message;
};

Failure failure_of(const std::function<void()>& action) {
  try {
    action();
    return {};
  } catch (const Error& error) {
    return {error.exit_code(), error.what()};
  }
}

// On every rank, where the root's is one.
void throw_failure_of(int root, const Failure& mine, Communicator& control) {
  const auto size =
      at::tensor({std::int64_t{mine.exit_code}, static_cast<std::int64_t>(mine.message.size())}, at::kLong);
  control.broadcast(size, root);
  if (size[0].item<int>() == 0) return;
  const auto text = at::empty({size[1].item<std::int64_t>()}, at::kByte);
  if (control.rank() == root) std::ranges::copy(mine.message, static_cast<char*>(text.mutable_data_ptr()));
  control.broadcast(text, root);
  throw_error_of(size[0].item<int>(), std::string(static_cast<const char*>(text.const_data_ptr()), text.nbytes()));
}

}  // namespace

void on_first_rank(Communicator& control, const std::function<void()>& action) {
  throw_failure_of(0, control.rank() == 0 ? failure_of(action) : Failure{}, control);
}

void on_ranks(Communicator& control, bool acts, const std::function<void()>& action) {
  Failure mine = acts ? failure_of(action) : Failure{};
  if (control.rank() > 0) mine.message = fmt::format("rank {}: {}", control.rank(), mine.message);
  const auto failed = control.all_gather(at::tensor({mine.exit_code != 0 ? 1 : 0}, at::kInt)).nonzero();
  if (failed.size(0) > 0) throw_failure_of(failed[0].item<int>(), mine, control);
}

}  // namespace dtrain::dist
