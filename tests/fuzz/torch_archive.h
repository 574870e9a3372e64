#pragma once

#include <caffe2/serialize/inline_container.h>

#include <fstream>
#include <iterator>
#include <string>

#include "tests/fuzz/fuzz_target.h"

namespace dtrain::fuzz {

/// Makes each .bin file of a directory, the pickle of a torch file alone so far, the archive that torch.save would
/// write, with sixteen storages of 128 bytes: a change of the pickle need not find the checksum that goes with it.
inline void pack_torch_files(const fs::path& directory) {
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (entry.path().extension() != ".bin") continue;
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string pickle{std::istreambuf_iterator<char>(file), {}};
    file.close();
    const std::string numbers(128, '\x3f');
    caffe2::serialize::PyTorchStreamWriter writer(entry.path().string());
    writer.writeRecord("data.pkl", pickle.data(), pickle.size());
    for (int storage = 0; storage < 16; ++storage)
      writer.writeRecord("data/" + std::to_string(storage), numbers.data(), numbers.size());
    writer.writeEndOfFile();
  }
}

}  // namespace dtrain::fuzz
