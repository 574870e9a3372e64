#include "base/named_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>

#include "base/error.h"
#include "base/listing.h"

namespace dtrain {
namespace {

namespace fs = std::filesystem;

bool is_within(const fs::path& path, const fs::path& directory) {
  return std::mismatch(directory.begin(), directory.end(), path.begin(), path.end()).first == directory.end();
}

}  // namespace

fs::path named_file(const fs::path& directory, const std::string& name, const std::string& place) {
  const fs::path inner(name);
  const bool leads_out = inner.is_absolute() || std::find(inner.begin(), inner.end(), "..") != inner.end();
  if (name.empty() || name.find('\0') != name.npos || leads_out) {
    throw InputError(
        fmt::format("{}: expected the name of a file beside this one, found '{}'", place, shown_text(name)));
  }
  const fs::path path = directory / inner;
  std::error_code error;
  const fs::path found = fs::canonical(path, error);
  if (error) return path;
  const fs::path root = fs::canonical(directory, error);
  const fs::path snapshots = root.parent_path();
  const bool is_blob = snapshots.filename() == "snapshots" && is_within(found, snapshots.parent_path() / "blobs");
  if (!error && (is_within(found, root) || is_blob)) return path;
  throw InputError(
      fmt::format("{}: expected a file in {}, found a symbolic link that leads to {}; put the file in its "
                  "place if it is meant",
                  place, directory.string(), found.string()));
}

}  // namespace dtrain
