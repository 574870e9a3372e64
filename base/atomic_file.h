#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace dtrain {

/// Who may read and write a new file, where the umask lets them.
inline constexpr unsigned kEverybody = 0666;
inline constexpr unsigned kOwnerAlone = 0600;

/// A file under a temporary name beside its final one, which it takes only when `commit` has synced it to disk.
/// Destroyed without `commit`, it leaves nothing behind. Every failure (no space, no permission) throws TrainingError
/// naming the file and the reason. A symbolic link under either name is replaced, not followed.
class AtomicFile {
 public:
  /// `access`: the permissions of the file, of which the umask takes away.
  explicit AtomicFile(std::filesystem::path path, unsigned access = kEverybody);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* bytes, std::size_t size);
  void write(std::string_view text) { write(text.data(), text.size()); }

  /// Syncs, renames to the final name, and syncs the directory.
  void commit();

 private:
  [[noreturn]] void fail(const char* action) const;

  std::filesystem::path path_;
  std::string temporary_;
  int descriptor_ = -1;
};

/// Writes a whole file so that a reader finds the old content or the new one, never a part.
void write_file_atomically(const std::filesystem::path& path, std::string_view content);

/// Brings to disk what was written to a file and flushed; nothing where it was removed. Throws TrainingError.
void sync_file(const std::filesystem::path& path);

/// Removes what there is under a name, in one step: a power cut leaves all of it, or nothing under that name (but
/// perhaps under the name with ".part").
void take_name_away(const std::filesystem::path& path);

/// Gives a directory whose files are synced its final name, in place of what has it, and syncs that. Throws
/// TrainingError.
void replace_directory(const std::filesystem::path& temporary, const std::filesystem::path& path);

/// What may be read: a file that has a size, or also what has none until its end (a pipe, a terminal).
enum class Readable { regular_file, stream };

/// The content of a file. Throws InputError naming it when it cannot be read. A directory of somebody else's may hold a
/// pipe or a device under any name, which would be waited for, or read without end.
std::string read_file(const std::filesystem::path& path, Readable readable = Readable::regular_file);

/// Of `path` and the directories above it, those that are missing, the innermost first; absolute.
std::vector<std::filesystem::path> missing_directories(const std::filesystem::path& path);

/// Creates a directory and its parents, and syncs the names that are new. Throws UsageError naming it and the reason.
void ensure_directory(const std::filesystem::path& path);

/// Likewise, but the directory, where it is made, is its owner's alone.
void ensure_private_directory(const std::filesystem::path& path);

}  // namespace dtrain
