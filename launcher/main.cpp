#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <malloc.h>

#include <climits>
#include <cstdio>
#include <exception>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>

#include "base/error.h"
#include "launcher/commands.h"
#include "launcher/options.h"
#include "launcher/output_directory.h"
#include "launcher/session/launch_variables.h"
#include "launcher/session/mpi_environment.h"
#include "launcher/session/session.h"
#include "launcher/session/slurm_job.h"
#include "launcher/session/time_limit.h"
#include "launcher/terminal_log.h"
#include "train/out_of_memory.h"

namespace {

using namespace dtrain;

const std::map<std::string, void (*)(const launcher::Options&, const launcher::Session&)> kCommands = {
    {"compare", launcher::run_compare}, {"train", launcher::run_train},       {"evaluate", launcher::run_evaluate},
    {"predict", launcher::run_predict}, {"estimate", launcher::run_estimate}, {"inspect", launcher::run_inspect},
    {"methods", launcher::run_methods}, {"bench", launcher::run_bench},       {"merge", launcher::run_merge},
    {"extract", launcher::run_extract}, {"diagnose", launcher::run_diagnose}, {"report", launcher::run_report},
};

struct Outcome {
  int exit_code = 0;
  std::string message;
};

// Of what is none of dtrain's own kinds.
std::string words_of(const std::exception& error, const std::string& memory_advice) {
  if (const auto lack = train::lack_of_memory(error, memory_advice)) return *lack;
  if (const auto* torch = dynamic_cast<const c10::Error*>(&error))
    return fmt::format("LibTorch: {}", torch->what_without_backtrace());
  if (dynamic_cast<const std::logic_error*>(&error) != nullptr)
    return fmt::format("a fault of dtrain itself, please report it: {}", error.what());
  return error.what();
}

Outcome run(int argc, char** argv, const launcher::MpiEnvironment& environment) {
  std::string advice;
  try {
    launcher::Options options = launcher::parse_options(argc, argv);
    advice = launcher::memory_advice(options);
    launcher::go_on_after_restart(options, launcher::slurm_job(launcher::process_environment()));
    const launcher::Session session(environment, options);
    for (const auto& note : options.notes) session.log().warning(note);
    if (!session.stop_plan().empty()) session.log().line(session.stop_plan());
    const auto lock = launcher::lock_output(options, session);
    kCommands.at(options.command)(options, session);
    session.have_ended();
    return {};
  } catch (const Error& error) {
    return {error.exit_code(), error.what()};
  } catch (const std::exception& error) {
    return {TrainingError::kExitCode, words_of(error, advice)};
  }
}

// Where nothing has told this process its rank, MPI will see one; in a task of srun OpenMPI would end it with advice on
// how to build OpenMPI.
Outcome refuse_without_mpi() {
  const auto variables = launcher::process_environment();
  if (launcher::launched_rank(variables)) return {};
  try {
    launcher::check_world_size(1, variables);
    return {};
  } catch (const UsageError& error) {
    const char* task = variables("SLURM_PROCID");
    if (task == nullptr || std::string(task) == "0") launcher::print_error(error.what());
    return {error.exit_code(), error.what()};
  }
}

// A training step asks for the same megabytes again and again. glibc would give them back to the kernel each time and
// take them again page by page, zeroed, which costs a tenth of the step.
void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the most it takes
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  mallopt(M_TOP_PAD, 64 << 20);
}

}  // namespace

int main(int argc, char** argv) {
  keep_freed_memory();
  // Help needs no ranks.
  const std::string help = launcher::help_text(argc, argv);
  if (!help.empty()) {
    if (launcher::launched_rank(launcher::process_environment()).value_or("0") == "0") std::fputs(help.c_str(), stdout);
    return 0;
  }
  if (const Outcome outcome = refuse_without_mpi(); outcome.exit_code != 0) return outcome.exit_code;
  const launcher::MpiEnvironment environment(&argc, &argv);
  const Outcome outcome = run(argc, argv, environment);
  return environment.agree_on_end(outcome.exit_code, outcome.message);
}
