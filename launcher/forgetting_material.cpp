#include "launcher/forgetting_material.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "base/digest.h"
#include "base/listing.h"
#include "data/retained_text.h"
#include "launcher/loading.h"
#include "launcher/text_examples.h"
#include "model/encoder_config.h"

namespace dtrain::launcher {

study::ForgettingMaterial forgetting_material(const Options& options, const Session& session,
                                              const std::filesystem::path& base, const std::string& retain,
                                              std::int64_t most) {
  const auto& log = session.log();
  const auto path =
      retain == "embedded" ? data::embedded_retained_texts(options.share_directory) : std::filesystem::path(retain);
  auto texts = data::read_retained_texts(path, log);
  const auto count = static_cast<std::int64_t>(texts.size());
  if (count > most) {
    std::vector<std::string> kept;
    for (std::int64_t i = 0; i < most; ++i)
      kept.push_back(std::move(texts[static_cast<std::size_t>(i * count / most)]));
    texts = std::move(kept);
    log.line(fmt::format("{}: {} of {} texts are used, evenly over the file", path.string(), count_text(most),
                         count_text(count)));
  }
  std::vector<std::string> queries, answers;
  for (auto& [definition, example] : data::definition_pairs(options.share_directory, static_cast<std::size_t>(most))) {
    queries.push_back(std::move(definition));
    answers.push_back(std::move(example));
  }
  Digest digest;
  for (const auto* part : {&texts, &queries, &answers}) {
    for (const std::string& text : *part) digest.add(text);
  }
  const auto tokenizer = data::load_tokenizer(base, log);
  const std::int64_t embeddings = model::read_encoder_config(base).vocabulary_size;
  const auto examples = [&](const std::vector<std::string>& of, const std::string& name) {
    if (of.empty()) return train::Examples();
    auto tokens = data::tokenize_texts(of, *tokenizer, tokenize_options(options, session), log);
    data::require_embeddings(tokens, {base, base, embeddings}, [&](std::int64_t text) {
      return fmt::format("{}: '{}'", name, shown_text(of[static_cast<std::size_t>(text)]));
    });
    return text_examples(std::move(tokens));
  };
  auto mask = data::mask_token(*tokenizer);
  if (mask && *mask >= embeddings) mask.reset();
  return {.retain = examples(texts, path.string()),
          .mask_token = mask,
          .queries = examples(queries, "the embedded task"),
          .answers = examples(answers, "the embedded task"),
          .base_directory = base,
          .digest = digest.text()};
}

}  // namespace dtrain::launcher
