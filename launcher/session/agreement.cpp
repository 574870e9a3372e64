#include "launcher/session/agreement.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "base/error.h"

namespace dtrain::launcher {

std::vector<std::string> gather_texts(dist::Communicator& control, const std::string& mine) {
  const auto bytes = at::empty({static_cast<std::int64_t>(mine.size())}, at::kByte);
  std::ranges::copy(mine, static_cast<char*>(bytes.mutable_data_ptr()));
  const auto sizes = control.all_gather(at::tensor({static_cast<std::int64_t>(mine.size())}, at::kLong));
  const auto all = control.all_gather(bytes);
  std::vector<std::string> texts;
  const char* next = static_cast<const char*>(all.const_data_ptr());
  for (std::int64_t rank = 0; rank < sizes.size(0); ++rank) {
    const auto size = static_cast<std::size_t>(sizes[rank].item<std::int64_t>());
    texts.emplace_back(next, size);
    next += size;
  }
  return texts;
}

std::string first_line_not_in(const std::string& others, const std::string& mine) {
  std::istringstream stream(mine);
  for (std::string line; std::getline(stream, line);) {
    if (others.find("\n" + line + "\n") == std::string::npos && !others.starts_with(line + "\n")) return line;
  }
  return "fewer options";
}

void check_agreement(dist::Communicator& control, const Options& options) {
  const auto texts = gather_texts(control, fmt::format("command = {}\n{}resume = {}\noverwrite = {}\n", options.command,
                                                       options.resolved, options.resume, options.overwrite));
  for (std::size_t rank = 1; rank < texts.size(); ++rank) {
    if (texts[rank] == texts[0]) continue;
    throw UsageError(
        fmt::format("the ranks were started with different options: {} on rank 0, {} on rank {}. Start all ranks with "
                    "the same command line, DTRAIN_ variables and --config.",
                    first_line_not_in(texts[rank], texts[0]), first_line_not_in(texts[0], texts[rank]), rank));
  }
}

}  // namespace dtrain::launcher
