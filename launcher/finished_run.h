#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data/task.h"

namespace dtrain::launcher {

/// The content of the files of a task, as XXH3-128 in hexadecimal: "train", "dev", "test", "ood.NAME", and
/// "class-weights" where --class-weights (`class_weights`) names a file; those that there are, but for pipes.
/// results.json of a run keeps them as `data`. Throws InputError for a file that cannot be read.
std::map<std::string, std::string> data_digests(const data::TaskFiles& files, const std::string& class_weights);

/// Throws InputError, naming them, where files of `before` have other content `now`.
void check_unchanged(const std::map<std::string, std::string>& before, const std::map<std::string, std::string>& now);

/// What two trainings' options differ in, both as config.ini has them: "lr was '0.001' and is now '0.01'". Left out is
/// what changes no result: places of files, threads, logs, how ranks talk. Files of data and of class weights are
/// compared by name only where `with_files` is true. Values that are equal as numbers, methods or directories are
/// equal; an option that `before` lacks had its default.
std::vector<std::string> option_differences(const std::string& before, const std::string& now, bool with_files);

/// Throws UsageError, naming each difference, where the finished run in `output` had other options than `now` or other
/// data than `digests`. Throws InputError where its results.json cannot be read.
void check_finished_run(const std::filesystem::path& output, const std::string& now,
                        const std::map<std::string, std::string>& digests);

}  // namespace dtrain::launcher
