#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/classifier.h"
#include "peft/method.h"

namespace dtrain::peft {

/// What an adapter is written from.
struct TrainedAdapter {
  model::Classifier& classifier;
  const Method& method;
  const std::vector<std::string>& labels;
  std::string base_model;
};

/// An adapter that lies in a directory, whoever wrote it. Everything throws InputError.
class AdapterFiles {
 public:
  virtual ~AdapterFiles() = default;
  /// As its files name it; empty: they do not.
  virtual std::filesystem::path base_model() const = 0;
  /// Of the classes, in order; empty: its files do not say.
  virtual std::vector<std::string> labels() const { return {}; }
  /// The file that messages about the tensors name.
  virtual std::filesystem::path tensor_file() const = 0;
  /// In float, under the names that Method::file_parameters has for them; `family` is the base model's.
  virtual std::map<std::string, at::Tensor> tensors(const model::Family& family) const = 0;
  /// Which method it is of, with which settings.
  virtual MethodSpec method(model::Classifier& classifier) const = 0;
  /// Whether it leaves the base model its own head, and has none.
  virtual bool keeps_head() const { return false; }
  /// What `tensors` and `method` have read and ignored or taken for something else, a sentence each.
  virtual std::vector<std::string> notices() const { return {}; }
};

/// A way to lay an adapter out in files.
struct AdapterLayout {
  AdapterFormat format;
  bool (*is_in)(const std::filesystem::path& directory);
  std::unique_ptr<AdapterFiles> (*open)(const std::filesystem::path& directory);
  void (*write)(const TrainedAdapter& adapter, const std::filesystem::path& directory);
};

/// Every layout there is. Adding one: its file pair, a line here, a line in CMakeLists.txt, a value of AdapterFormat.
const std::vector<AdapterLayout>& adapter_layouts();

/// Null where the directory holds no adapter.
std::unique_ptr<AdapterFiles> open_adapter(const std::filesystem::path& directory);

/// In the layout of the method's format.
void write_adapter(const TrainedAdapter& adapter, const std::filesystem::path& directory);

/// What dtrain writes beside an adapter of any layout: method, base model, pooling, labels.
inline constexpr const char* kDescriptionFile = "dtrain.json";

/// A file of tensors by the names that a package writes it under: with safetensors, and with torch.save before that.
struct TensorFile {
  const char* safetensors;
  const char* torch;

  /// The one that is there; the first where both or none are.
  std::filesystem::path in(const std::filesystem::path& directory) const;
};

/// All tensors of a file as float: of torch.save where its name ends in .bin, else safetensors.
std::map<std::string, at::Tensor> float_tensors(const std::filesystem::path& path);

}  // namespace dtrain::peft
