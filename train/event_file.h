#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "train/metrics.h"

namespace dtrain::train {

/// Numbers under their tags ("train/loss").
using Scalars = std::vector<std::pair<std::string, double>>;

/// TensorBoard's event file: protobuf messages of type Event (tensorflow/core/util/event.proto) in TFRecords, each with
/// the masked CRC-32C of its length and of its content. A folder is a run to TensorBoard, whatever number of files are
/// in it.
class EventFile {
 public:
  /// A new file in `folder`, which sorts after those that are there. An empty path writes nowhere.
  explicit EventFile(std::filesystem::path folder);

  /// Readers drop what earlier files say of this step and of those after it: a run goes on from the one before.
  void begin_again_at(std::int64_t step);
  /// Throws TrainingError when the disk refuses.
  void write(std::int64_t step, const Scalars& scalars);

 private:
  void append(const std::string& event);

  std::filesystem::path path_;
  std::ofstream stream_;
};

/// "SET/METRIC" for each metric of a set.
Scalars scalars_of(const std::string& set, const Metrics& metrics);

}  // namespace dtrain::train
