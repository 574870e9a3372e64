#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <optional>

#include "model/classifier.h"

namespace dtrain::train {

/// The most memory that a run takes on this rank, whatever ran in the process before: the weights of its model, which
/// are there when it begins, and what it holds besides at its peak. On the CPU by the resident set, on a GPU by what is
/// allocated there; of the host's memory beside a GPU what it holds at its peak. Not in it: the data sets, pages of
/// files (the program, libraries, whatever is mapped), which the kernel drops and reads again as it likes, and what
/// LibTorch keeps for every run (the first run of a process pays for that).
///
/// Where the kernel does not let a process reset its high-water mark (/proc/self/clear_refs), it is that of the process
/// so far, and a run after a larger one reports too much.
class PeakMemory {
 public:
  /// The run begins.
  PeakMemory(model::Classifier& classifier, at::Device device);
  std::int64_t bytes() const;
  /// In the host's memory, of a run on a GPU.
  std::optional<std::int64_t> host_bytes() const;
  /// Of `bytes`, the weights of the base model and of the head, which every method has.
  std::int64_t base_bytes() const { return base_; }

 private:
  // Above what was resident when it began.
  std::int64_t resident_bytes() const;

  at::Device device_;
  std::int64_t weights_ = 0;    // bytes
  std::int64_t base_ = 0;       // of these, what a checkpoint holds
  std::int64_t allocated_ = 0;  // bytes on the GPU when it began
  std::int64_t resident_ = 0;   // bytes in the host's memory when it began
  std::int64_t files_ = 0;      // of these, pages of files
};

}  // namespace dtrain::train
