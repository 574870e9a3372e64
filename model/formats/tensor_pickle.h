#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace dtrain::model {

/// The bytes of a record of the archive that torch.save wrote ("0" for the first storage).
using ReadStorage = std::function<std::string(const std::string& key)>;

/// The tensors by name of a pickled dictionary, which may be a state_dict() (an OrderedDict with its metadata). The
/// pickle's own language can call any function of Python; here the few calls that rebuild tensors are known by name,
/// and another ends the reading. Throws InputError saying what was found, without the file.
std::map<std::string, at::Tensor> read_tensor_pickle(std::string_view pickle, const ReadStorage& read_storage);

}  // namespace dtrain::model
