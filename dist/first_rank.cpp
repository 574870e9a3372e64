#include "dist/first_rank.h"

#include <ATen/ATen.h>

#include <string>

#include "base/error.h"

namespace dtrain::dist {

void on_first_rank(Communicator& control, const std::function<void()>& action) {
  std::string message;
  int exit_code = 0;
  if (control.rank() == 0) {
    try {
      action();
    } catch (const Error& error) {
      message = error.what();
      exit_code = error.exit_code();
    }
  }
  const auto code = at::tensor({exit_code}, at::kInt);
  control.broadcast(code, 0);
  if (code.item<int>() != 0) throw Error(code.item<int>(), message);
}

}  // namespace dtrain::dist
