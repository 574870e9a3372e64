#include "launcher/output_directory.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <system_error>

#include "base/atomic_file.h"
#include "base/error.h"

namespace dtrain::launcher {
namespace {

namespace fs = std::filesystem;

constexpr std::array kContents = {"model",      "adapter",    "results.json",  "log.jsonl",   "predictions",
                                  "checkpoint", "config.ini", "journal.jsonl", "report.html", "report.md"};

void prepare(const Options& options) {
  const fs::path output = options.output;
  std::error_code error;
  if (fs::exists(output, error) && !fs::is_directory(output, error))
    throw UsageError(fmt::format("--output {}: it is a file", output.string()));
  const bool empty = !fs::exists(output, error) || fs::is_empty(output, error);
  if (!empty && !options.resume && !options.overwrite) {
    throw UsageError(
        fmt::format("--output {}: the directory is not empty; --resume goes on with it, --overwrite replaces what "
                    "dtrain wrote there",
                    output.string()));
  }
  if (options.overwrite) {
    for (const char* name : kContents) fs::remove_all(output / name, error);
  }
  ensure_directory(output);
  if (access(output.c_str(), W_OK) != 0)
    throw UsageError(fmt::format("--output {}: the directory is not writable", output.string()));
  write_file_atomically(output / "config.ini", options.resolved);
}

}  // namespace

void on_first_rank(const Session& session, const std::function<void()>& action) {
  std::string message;
  int exit_code = 0;
  if (session.control().rank() == 0) {
    try {
      action();
    } catch (const Error& error) {
      message = error.what();
      exit_code = error.exit_code();
    }
  }
  const auto code = at::tensor({exit_code}, at::kInt);
  session.control().broadcast(code, 0);
  if (code.item<int>() != 0) throw Error(code.item<int>(), message);
}

void prepare_output(const Options& options, const Session& session) {
  on_first_rank(session, [&] { prepare(options); });
}

}  // namespace dtrain::launcher
