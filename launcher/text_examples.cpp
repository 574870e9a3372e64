#include "launcher/text_examples.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/token_batch.h"

namespace dtrain::launcher {
namespace {

class TextSource final : public train::ExampleSource {
 public:
  explicit TextSource(data::TokenDataset texts) : texts_(std::move(texts)) {}

  std::int64_t size() const override { return texts_.size(); }
  std::int32_t length(std::int64_t index) const override { return texts_.length(index); }
  std::string digest() const override { return texts_.digest(); }

  model::TokenBatch collate(const std::vector<std::int64_t>& indices, at::Device device) const override {
    std::vector<model::ExampleTokens> examples;
    examples.reserve(indices.size());
    for (const std::int64_t index : indices) {
      const auto example = texts_.example(index);
      examples.push_back({example.ids, example.second_segment});
    }
    return model::packed(examples, device);
  }

 private:
  data::TokenDataset texts_;
};

}  // namespace

train::Examples text_examples(data::TokenDataset texts) {
  auto targets = texts.targets();
  return {std::make_shared<const TextSource>(std::move(texts)), std::move(targets)};
}

}  // namespace dtrain::launcher
