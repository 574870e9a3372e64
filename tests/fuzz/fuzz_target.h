#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>

#include "base/error.h"

/// What a target defines, and libFuzzer or tests/fuzz/replay_main.cpp calls.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace dtrain::fuzz {

namespace fs = std::filesystem;

/// A directory of this process, the same for every input: in TMPDIR, else in memory where the system has such a place.
inline const fs::path& scratch() {
  static const struct Directory {
    Directory() {
      const char* chosen = std::getenv("TMPDIR");
      std::string name = chosen != nullptr ? chosen : fs::is_directory("/dev/shm") ? "/dev/shm" : "/tmp";
      name += "/dtrain-fuzz-XXXXXX";
      if (mkdtemp(name.data()) == nullptr) std::abort();
      path = name;
    }
    ~Directory() {
      std::error_code ignored;
      fs::remove_all(path, ignored);
    }
    fs::path path;
  } directory;
  return directory.path;
}

inline void write(const fs::path& path, std::string_view content) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

/// A safetensors file from its header, a line end and the data, so that a change of the header need not find the length
/// that goes with it.
inline std::string with_header_length(std::string_view content) {
  const std::size_t end = std::min(content.find('\n'), content.size());
  std::string file;
  for (int byte = 0; byte < 8; ++byte)
    file += static_cast<char>((static_cast<std::uint64_t>(end) >> (8 * byte)) & 0xFFU);
  file += content.substr(0, end);
  if (end < content.size()) file += content.substr(end + 1);
  return file;
}

/// Makes `directory` hold the files of an input and no others: each behind a line "==== NAME", where NAME is one of
/// `names`. Those that end in .safetensors as with_header_length.
inline void unpack(std::string_view input, const std::set<std::string>& names, const fs::path& directory) {
  constexpr std::string_view kMark = "==== ";
  fs::remove_all(directory);
  fs::create_directories(directory);
  while (input.starts_with(kMark)) {
    const std::size_t line_end = std::min(input.find('\n'), input.size());
    const std::string name(input.substr(kMark.size(), line_end - kMark.size()));
    input.remove_prefix(std::min(line_end + 1, input.size()));
    const std::size_t next = input.starts_with(kMark) ? 0 : input.find("\n==== ");
    const std::string_view content = input.substr(0, next);
    if (names.contains(name))
      write(directory / name, name.ends_with(".safetensors") ? with_header_length(content) : std::string(content));
    if (next == input.npos) return;
    input.remove_prefix(next == 0 ? 0 : next + 1);
  }
}

/// Reads an input: no error, or a refusal that a person can read. Another exception ends the process, as a fault found.
template <typename... Refusals>
void read_or_refuse(const std::function<void()>& read) {
  // A message is for a terminal, whatever the file holds.
  constexpr std::size_t kLongestMessage = 20'000;
  const auto check = [&](const std::exception& error) {
    const std::string_view message = error.what();
    if (!message.empty() && message.size() <= kLongestMessage) return;
    std::cerr << "a message of " << message.size() << " bytes: " << message.substr(0, 1000) << "\n";
    std::abort();
  };
  try {
    read();
  } catch (const InputError& error) {
    check(error);
  } catch (const UsageError& error) {
    if (!(std::is_same_v<Refusals, UsageError> || ...)) throw;
    check(error);
  }
}

/// Ends the process, as a fault found, unless `holds`.
inline void require(bool holds, const char* what) {
  if (holds) return;
  std::cerr << "not so: " << what << "\n";
  std::abort();
}

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace dtrain::fuzz
