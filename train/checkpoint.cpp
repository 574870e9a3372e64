#include "train/checkpoint.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstddef>
#include <system_error>
#include <utility>
#include <vector>

#include "base/atomic_file.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/json_file.h"
#include "base/mapped_file.h"
#include "model/formats/safetensors.h"

namespace dtrain::train {
namespace {

namespace fs = std::filesystem;

const std::string kHooksPrefix = "hooks.";
// 2: streams of random numbers for each purpose, without which a run would not go on in the same order. 3: what the
// steps so far took, and how many evaluations were no better than the best.
constexpr int kSchema = 3;

// Complete checkpoints, the newest first.
std::vector<std::pair<std::int64_t, fs::path>> checkpoints(const fs::path& directory) {
  std::vector<std::pair<std::int64_t, fs::path>> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("step-")) continue;
    std::int64_t step = 0;
    const auto [end, problem] = std::from_chars(name.data() + 5, name.data() + name.size(), step);
    if (problem == std::errc() && end == name.data() + name.size() && step >= 0) found.emplace_back(step, entry.path());
  }
  std::sort(found.rbegin(), found.rend());
  return found;
}

constexpr const char* kDigest = "digest";

// Of all that a checkpoint holds: of state.json what is beside the digest, and the file of tensors.
std::string digest_of(nlohmann::json state, const fs::path& tensors) {
  state.erase(kDigest);
  Digest digest;
  digest.add(state.dump());
  const MappedFile file(tensors);
  digest.add(file.bytes().data(), file.bytes().size());
  return digest.text();
}

// A bit that has flipped since. Checkpoints from before there were digests are taken as they are.
void check_digest(const nlohmann::json& state, const fs::path& directory) {
  const auto written = state.find(kDigest);
  if (written == state.end()) return;
  const std::string found = digest_of(state, directory / "state.safetensors");
  if (*written == found) return;
  throw InputError(
      fmt::format("{}: expected state.json and state.safetensors of digest {}, found {}: they are not what "
                  "was written",
                  directory.string(), written->dump(), found));
}

// What the run copies over its own numbers must be as many.
void check_shapes(const Checkpoint& checkpoint, const fs::path& file) {
  const auto check = [&](const char* name, const at::Tensor& tensor) {
    if (tensor.is_floating_point() && tensor.dim() == 1 && tensor.numel() == checkpoint.values.numel()) return;
    throw InputError(
        fmt::format("{}: tensor '{}': expected floating-point numbers, one row of {} as of 'values', found "
                    "shape {} of {}",
                    file.string(), name, checkpoint.values.numel(), model::shape_text(tensor.sizes()),
                    at::toString(tensor.scalar_type())));
  };
  check("values", checkpoint.values);
  check("first_moments", checkpoint.first_moments);
  check("second_moments", checkpoint.second_moments);
  if (checkpoint.best_values.defined()) check("best_values", checkpoint.best_values);
}

Checkpoint read_one(const fs::path& directory) {
  const auto state = read_json_object(directory / "state.json");
  // Of another version, and not damaged: nothing to fall back from.
  if (const auto schema = state.find("schema"); schema != state.end() && *schema != kSchema) {
    throw UsageError(
        fmt::format("cannot resume from {}: expected schema {}, found {}: another version of dtrain wrote it. Resume "
                    "with that version, or start anew with --overwrite.",
                    directory.string(), kSchema, schema->dump()));
  }
  const model::SafetensorsFile file(directory / "state.safetensors");
  check_digest(state, directory);
  Checkpoint checkpoint;
  try {
    checkpoint.step = state.at("step").get<std::int64_t>();
    checkpoint.evaluation_due = state.value("evaluation_due", false);
    checkpoint.passed_over = state.at("passed_over").get<std::int64_t>();
    checkpoint.best_step = state.at("best_step").get<std::int64_t>();
    checkpoint.train_seconds = state.at("train_seconds").get<double>();
    checkpoint.flop = state.at("flop").get<double>();
    checkpoint.identity = state.at("identity").get<std::map<std::string, std::string>>();
    checkpoint.identity.try_emplace(kReducePrecision, "fp32");  // of all runs before there was a choice
  } catch (const nlohmann::json::exception& error) {
    throw InputError(fmt::format("{}: {}", (directory / "state.json").string(), error.what()));
  }
  if (checkpoint.step < 0 || checkpoint.best_step < 0 || checkpoint.best_step > checkpoint.step) {
    throw InputError(fmt::format("{}: expected 'step' from 0 and 'best_step' from 0 to that, found {} and {}",
                                 (directory / "state.json").string(), checkpoint.step, checkpoint.best_step));
  }
  checkpoint.values = file.tensor("values");
  checkpoint.first_moments = file.tensor("first_moments");
  checkpoint.second_moments = file.tensor("second_moments");
  if (file.contains("best_values")) checkpoint.best_values = file.tensor("best_values");
  check_shapes(checkpoint, directory / "state.safetensors");
  const auto best_metric = file.tensor("best_metric");
  if (best_metric.scalar_type() != at::kDouble || best_metric.numel() != 1) {
    throw InputError(fmt::format("{}: 'best_metric' is not one F64", (directory / "state.safetensors").string()));
  }
  checkpoint.best_metric = best_metric.item<double>();
  for (const std::string& name : file.names()) {
    if (name.starts_with(kHooksPrefix)) {
      checkpoint.hooks.emplace_back(name.substr(kHooksPrefix.size()), file.tensor(name));
    }
  }
  return checkpoint;
}

void add_tensor(ImageWriter& image, const at::Tensor& tensor) {
  image.add_number(tensor.defined());
  if (!tensor.defined()) return;
  image.add_number(static_cast<std::int64_t>(tensor.scalar_type()));
  image.add_number(tensor.dim());
  for (const std::int64_t size : tensor.sizes()) image.add_number(size);
  image.add_bytes({static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()});
}

at::Tensor next_tensor(ImageReader& image) {
  if (image.next_number() == 0) return {};
  const auto type = static_cast<at::ScalarType>(image.next_number());
  std::vector<std::int64_t> shape(static_cast<std::size_t>(image.next_number()));
  for (std::int64_t& size : shape) size = image.next_number();
  return at::from_blob(
      const_cast<std::byte*>(image.next_bytes().data()), shape, [keeper = image.keeper()](void*) {},
      at::TensorOptions(type));
}

}  // namespace

void Checkpoint::add_to(ImageWriter& image) const {
  for (const std::int64_t number : {step, std::int64_t{evaluation_due}, best_step, passed_over})
    image.add_number(number);
  for (const double number : {best_metric, train_seconds, flop}) image.add_number(std::bit_cast<std::int64_t>(number));
  for (const at::Tensor* tensor : {&values, &first_moments, &second_moments, &best_values}) add_tensor(image, *tensor);
  image.add_number(static_cast<std::int64_t>(identity.size()));
  for (const auto& [name, value] : identity) {
    image.add_text(name);
    image.add_text(value);
  }
  image.add_number(static_cast<std::int64_t>(hooks.size()));
  for (const auto& [name, tensor] : hooks) {
    image.add_text(name);
    add_tensor(image, tensor);
  }
}

Checkpoint Checkpoint::from(ImageReader& image) {
  Checkpoint checkpoint;
  checkpoint.step = image.next_number();
  checkpoint.evaluation_due = image.next_number() != 0;
  checkpoint.best_step = image.next_number();
  checkpoint.passed_over = image.next_number();
  for (double* number : {&checkpoint.best_metric, &checkpoint.train_seconds, &checkpoint.flop})
    *number = std::bit_cast<double>(image.next_number());
  for (at::Tensor* tensor :
       {&checkpoint.values, &checkpoint.first_moments, &checkpoint.second_moments, &checkpoint.best_values})
    *tensor = next_tensor(image);
  for (std::int64_t left = image.next_number(); left > 0; --left) {
    std::string name = image.next_text();
    checkpoint.identity[std::move(name)] = image.next_text();
  }
  for (std::int64_t left = image.next_number(); left > 0; --left) {
    std::string name = image.next_text();
    // Hooks go on with theirs: the image would live as long.
    checkpoint.hooks.emplace_back(std::move(name), next_tensor(image).clone());
  }
  return checkpoint;
}

void write_checkpoint(const fs::path& directory, const Checkpoint& checkpoint) {
  const fs::path final_name = directory / fmt::format("step-{}", checkpoint.step);
  const fs::path temporary = directory / fmt::format("step-{}.part", checkpoint.step);
  std::error_code ignored;
  fs::remove_all(temporary, ignored);
  ensure_directory(temporary);
  std::vector<std::pair<std::string, at::Tensor>> tensors = {
      {"values", checkpoint.values},
      {"first_moments", checkpoint.first_moments},
      {"second_moments", checkpoint.second_moments},
      // JSON has no infinity
      {"best_metric", at::tensor({checkpoint.best_metric}, at::kDouble)}};
  if (checkpoint.best_values.defined()) tensors.emplace_back("best_values", checkpoint.best_values);
  for (const auto& [name, tensor] : checkpoint.hooks) tensors.emplace_back(kHooksPrefix + name, tensor);
  nlohmann::json state = {{"schema", kSchema},
                          {"step", checkpoint.step},
                          {"evaluation_due", checkpoint.evaluation_due},
                          {"best_step", checkpoint.best_step},
                          {"passed_over", checkpoint.passed_over},
                          {"train_seconds", checkpoint.train_seconds},
                          {"flop", checkpoint.flop},
                          {"identity", checkpoint.identity}};
  try {
    model::write_safetensors(temporary / "state.safetensors", tensors, {}, model::DataDigest::without);
    state[kDigest] = digest_of(state, temporary / "state.safetensors");
    write_file_atomically(temporary / "state.json", state.dump(2) + "\n");
  } catch (...) {
    fs::remove_all(temporary, ignored);
    throw;
  }
  replace_directory(temporary, final_name);
  const auto all = checkpoints(directory);
  for (std::size_t i = 2; i < all.size(); ++i) fs::remove_all(all[i].second, ignored);
}

std::optional<Checkpoint> read_checkpoint(const fs::path& directory, const std::map<std::string, std::string>& identity,
                                          const Log& log) {
  for (const auto& [step, path] : checkpoints(directory)) {
    Checkpoint checkpoint;
    try {
      checkpoint = read_one(path);
    } catch (const InputError& error) {
      log.warning(fmt::format("the checkpoint {} is damaged and skipped: {}", path.string(), error.what()));
      continue;
    }
    std::vector<std::string> differences;
    for (const auto& [name, value] : identity) {
      const auto found = checkpoint.identity.find(name);
      const bool came_later = name == kDevData || name == kModelConfiguration;
      if (came_later && found == checkpoint.identity.end()) continue;
      const std::string before = found == checkpoint.identity.end() ? "" : found->second;
      if (before != value) differences.push_back(fmt::format("{} was '{}' and is now '{}'", name, before, value));
    }
    if (!differences.empty()) {
      throw UsageError(
          fmt::format("cannot resume from {}: {}. Resume with the same options and files, or start anew with "
                      "--overwrite.",
                      path.string(), fmt::join(differences, "; ")));
    }
    return checkpoint;
  }
  return std::nullopt;
}

}  // namespace dtrain::train
