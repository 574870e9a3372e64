#pragma once

#include <filesystem>
#include <string>

namespace dtrain {

/// The file that another file names, which lies in `directory` or below it: a file of somebody else's leads nowhere
/// else. Throws InputError beginning with `place` for an absolute name, one with "..", and one that symbolic links lead
/// out of the directory; in a snapshot of the Hugging Face cache (models--X/snapshots/REVISION) they may lead to the
/// blobs beside the snapshots, where all of its files are. A file that is not there is for whoever reads it to miss.
std::filesystem::path named_file(const std::filesystem::path& directory, const std::string& name,
                                 const std::string& place);

}  // namespace dtrain
