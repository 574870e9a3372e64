#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file_keys.h"
#include "model/pooling.h"

namespace dtrain::model {

/// How sentence-transformers would pool a directory that it wrote.
struct SentencePooling {
  /// Unset: it says nothing, or what cannot be computed.
  std::optional<Pooling> pooling;
  /// Why it cannot be computed; empty: it can, or nothing is said.
  std::string problem;
  /// For a person to read.
  std::vector<std::string> notes;
};

/// Reads modules.json and the configuration of its pooling module (1_Pooling/config.json), and
/// sentence_bert_config.json, where they are there. Throws InputError naming file and key.
SentencePooling read_sentence_pooling(const std::filesystem::path& directory);

/// What these files may hold.
std::span<const FileKey> modules_keys();
std::span<const FileKey> pooling_keys();
std::span<const FileKey> sentence_bert_keys();

}  // namespace dtrain::model
