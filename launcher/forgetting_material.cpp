#include "launcher/forgetting_material.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "base/digest.h"
#include "data/retained_text.h"
#include "launcher/loading.h"
#include "launcher/text_examples.h"

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
  const auto examples = [&](const std::vector<std::string>& of) {
    return of.empty() ? train::Examples()
                      : text_examples(data::tokenize_texts(of, *tokenizer, tokenize_options(options, session), log));
  };
  return {.retain = examples(texts),
          .mask_token = data::mask_token(*tokenizer),
          .queries = examples(queries),
          .answers = examples(answers),
          .base_directory = base,
          .digest = digest.text()};
}

}  // namespace dtrain::launcher
