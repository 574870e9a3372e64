#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "base/directory_lock.h"
#include "base/log.h"
#include "launcher/options.h"
#include "launcher/session/session.h"

namespace dtrain::launcher {

/// The options as config.ini keeps them: with what was chosen in place of "auto", so that it gives the same run on any
/// day.
std::string resolved_options(const Options& options, const Session& session);

/// The directory of a study: --output, or one that is named by the command in the working folder, so that hours of
/// results are never lost for want of an option. Where that exists: the newest with --resume or --overwrite, else the
/// next number, which is said.
std::filesystem::path study_output(const Options& options, const Log& log);

/// Whether a diagnosis goes into the directory of a study (dtrain compare), which then keeps every file that it has.
bool adds_to_study(const Options& options);

/// Throws UsageError where --output is a file, cannot be written, or holds something and neither --resume nor
/// --overwrite is given; of a study that is added to, where it holds a diagnosis and --overwrite is not given. Changes
/// nothing: for the time before data and model are known to be good, so that a command that failed on them can be given
/// again.
void check_output(const Options& options);

/// check_output, and from then on no other dtrain works in --output while the result lives, which is on rank 0 alone;
/// null where nothing is written. Collective: a failure is an error on every rank. Not for compare, which locks the
/// directory that it chooses, nor for report, which works beside a study that runs.
std::unique_ptr<DirectoryLock> lock_output(const Options& options, const Session& session);

/// Of `directory`, on one rank. Says whose lock it took over, and warns where the file system has none.
std::unique_ptr<DirectoryLock> lock_directory(const std::filesystem::path& directory, const std::string& command,
                                              const Log& log);

/// Warns, naming the nodes, where some do not see the directory that rank 0 has locked (`lock`: null elsewhere): a job
/// that starts again with its first rank on one of these would not find what it wrote. Collective.
void warn_where_not_shared(const Session& session, const DirectoryLock* lock);

/// Makes --output ready on rank 0 and writes config.ini into it. A non-empty directory is refused without --resume or
/// --overwrite; --overwrite removes only what dtrain writes. A study that is added to stays as it is. Collective: a
/// failure is an error on every rank. Throws UsageError.
void prepare_output(const Options& options, const Session& session);

/// Removes what a command that was killed left in `directory` under temporary names.
void remove_parts(const std::filesystem::path& directory);

/// Runs `action` on rank 0, for which the others wait ten times as long as for a collective: it may write to a slow
/// disk. Where it throws, every rank throws.
void on_first_rank(const Session& session, const std::function<void()>& action);

}  // namespace dtrain::launcher
