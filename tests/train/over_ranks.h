#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include "dist/communicator.h"
#include "dist/mpi/mpi_communicator.h"
#include "tests/train/small_run.h"

namespace dtrain::train {

/// A test that all ranks of an MPI job run together, each a process with one thread.
class OverRanks : public testing::Test {
 protected:
  OverRanks() { at::set_num_threads(1); }

  int rank() const { return together->rank(); }
  int ranks() const { return together->size(); }

  /// A folder that all ranks see, empty.
  std::filesystem::path shared_folder() const {
    const std::filesystem::path folder = reference_directory() / ("run_on_" + std::to_string(ranks()));
    together->barrier();
    if (rank() == 0) {
      std::filesystem::remove_all(folder);
      std::filesystem::create_directories(folder);
    }
    together->barrier();
    return folder;
  }

  /// Whether every rank has these bytes.
  bool alike(const at::Tensor& tensor) const {
    const auto all = together->all_gather(tensor.contiguous().view({1, -1}));
    return at::equal(all, all[0].expand_as(all));
  }

  const std::unique_ptr<dist::Communicator> together =
      dist::make_mpi_communicator(MPI_COMM_WORLD, std::chrono::seconds(300));
  const std::unique_ptr<dist::Communicator> alone = dist::make_single_communicator();
  const Examples examples = random_data(60, 6);
  const Examples dev = random_data(1000, 7);  // seven evaluation batches
  // One batch, for what is scored often.
  const Examples few = dev.subset({0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987});
};

}  // namespace dtrain::train
