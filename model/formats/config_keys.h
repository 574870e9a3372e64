#pragma once

#include <span>
#include <vector>

#include "base/file_keys.h"

namespace dtrain::model {

struct Family;

/// What config.json may hold with every family.
std::span<const FileKey> common_config_keys();
/// The same, and what it may hold with this one.
std::vector<FileKey> config_keys(const Family& family);

}  // namespace dtrain::model
