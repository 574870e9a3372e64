#include "data/token_dataset.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <system_error>
#include <thread>

#include "base/atomic_file.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/mapped_file.h"

namespace dtrain::data {

// One run of 32-bit numbers, the same in memory and in a cache file: a header, offsets [examples + 1], second segments,
// ids.
struct TokenDataset::Storage {
  struct Header {
    char magic[8];
    std::uint32_t version;
    std::uint32_t examples;
    std::uint64_t tokens;
    std::uint64_t truncated;
    std::uint64_t digest_low;  // XXH3-128 of all the rest: the fields above and what follows the header
    std::uint64_t digest_high;
  };

  // One of these has them.
  std::vector<std::byte> memory;
  std::unique_ptr<MappedFile> file;
  std::span<const std::byte> image;

  std::filesystem::path file_name;
  std::shared_ptr<const void> image_keeper;

  std::span<const std::byte> bytes() const { return file ? file->bytes() : image.empty() ? std::span(memory) : image; }
  const std::byte* begin() const { return bytes().data(); }
  const Header& header() const { return *reinterpret_cast<const Header*>(begin()); }
  const std::uint32_t* offsets() const { return reinterpret_cast<const std::uint32_t*>(begin() + sizeof(Header)); }
  const std::int32_t* second_segments() const {
    return reinterpret_cast<const std::int32_t*>(offsets() + header().examples + 1);
  }
  const std::int32_t* ids() const { return second_segments() + header().examples; }
};

namespace {

using Storage = TokenDataset::Storage;
constexpr char kMagic[8] = {'d', 't', 'r', 't', 'o', 'k', 'e', 'n'};
constexpr std::uint32_t kVersion = 3;

Digest::Value digest_of(const Storage::Header& header, std::span<const std::byte> body) {
  Digest digest;
  digest.add(&header, offsetof(Storage::Header, digest_low));
  digest.add(body.data(), body.size());
  return digest.value();
}

// Of a file that has a header: whether all of it is what was written.
bool is_whole(const Storage& storage) {
  const auto found = digest_of(storage.header(), storage.bytes().subspan(sizeof(Storage::Header)));
  return found.low == storage.header().digest_low && found.high == storage.header().digest_high;
}

std::string cache_key(const LabelledTexts& rows, const Tokenizer& tokenizer, const TokenizeOptions& options) {
  Digest digest;
  digest.add(tokenizer.digest());
  digest.add(fmt::format("{} {} {}", kVersion, options.max_length, rows.has_pairs));
  for (const LabelledText& row : rows.rows) {
    digest.add(row.text);
    digest.add(row.pair);
  }
  return digest.text();
}

// Whether every number in a cache is one that `rows` and the tokenizer can have: nothing is read beyond what is there,
// whoever wrote the file.
bool is_sound(const Storage& storage, std::size_t size, const LabelledTexts& rows, const Tokenizer& tokenizer,
              const TokenizeOptions& options) {
  const Storage::Header& header = storage.header();
  const std::uint64_t examples = header.examples;
  if (examples != rows.rows.size() || header.tokens > UINT32_MAX || header.truncated > examples) return false;
  if (size != sizeof header + (2 * examples + 1 + header.tokens) * sizeof(std::int32_t)) return false;
  const std::uint32_t* offsets = storage.offsets();
  if (offsets[0] != 0 || offsets[examples] != header.tokens) return false;
  for (std::uint64_t i = 0; i < examples; ++i) {
    if (offsets[i + 1] < offsets[i]) return false;
    const std::int64_t length = std::int64_t{offsets[i + 1]} - offsets[i];
    const std::int32_t second = storage.second_segments()[i];
    if (length > options.max_length || second < 0 || second > length) return false;
  }
  const std::span ids(storage.ids(), header.tokens);
  const std::int64_t vocabulary = tokenizer.vocabulary_size();
  return std::all_of(ids.begin(), ids.end(), [&](std::int32_t id) { return id >= 0 && id < vocabulary; });
}

std::shared_ptr<const Storage> read_cache(const std::filesystem::path& path, const LabelledTexts& rows,
                                          const Tokenizer& tokenizer, const TokenizeOptions& options, const Log& log) {
  std::error_code unreachable;
  if (!std::filesystem::exists(path, unreachable) && !unreachable) return nullptr;
  try {
    auto storage = std::make_shared<Storage>();
    storage->file = std::make_unique<MappedFile>(path);
    storage->file_name = path;
    const auto bytes = storage->file->bytes();
    const bool has_header = bytes.size() >= sizeof(Storage::Header);
    if (has_header && std::memcmp(storage->header().magic, kMagic, sizeof kMagic) == 0 &&
        storage->header().version == kVersion && is_whole(*storage) &&
        is_sound(*storage, bytes.size(), rows, tokenizer, options))
      return storage;
  } catch (const InputError&) {
    // Gone or unreadable since: the data is tokenized anew.
  }
  log.warning(fmt::format("the token cache {} is damaged; tokenizing again", path.string()));
  return nullptr;
}

std::vector<TokenizedText> tokenize_rows(const std::vector<LabelledText>& rows, bool pairs, const Tokenizer& tokenizer,
                                         const TokenizeOptions& options) {
  std::vector<TokenizedText> results(rows.size());
  constexpr std::size_t kBlock = 512;
  std::atomic<std::size_t> next{0};
  std::exception_ptr failure;
  std::atomic<bool> failed{false};
  const auto work = [&] {
    for (std::size_t begin = next.fetch_add(kBlock); begin < rows.size() && !failed; begin = next.fetch_add(kBlock)) {
      try {
        for (std::size_t i = begin; i < std::min(begin + kBlock, rows.size()); ++i) {
          const std::string_view pair = rows[i].pair;
          results[i] = tokenizer.tokenize(rows[i].text, pairs ? &pair : nullptr, options.max_length);
        }
      } catch (...) {
        if (!failed.exchange(true)) failure = std::current_exception();
      }
    }
  };
  std::vector<std::jthread> threads;
  for (int i = 1; i < options.threads; ++i) threads.emplace_back(work);
  work();
  threads.clear();
  if (failure) std::rethrow_exception(failure);
  return results;
}

std::shared_ptr<Storage> pack(const std::vector<TokenizedText>& texts) {
  Storage::Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.version = kVersion;
  header.examples = static_cast<std::uint32_t>(texts.size());
  for (const TokenizedText& text : texts) {
    header.tokens += text.ids.size();
    header.truncated += text.truncated ? 1 : 0;
  }
  if (header.tokens > UINT32_MAX)
    throw InputError("a data file of more than 4,294,967,295 tokens is not supported; split it");
  auto storage = std::make_shared<Storage>();
  const std::size_t body_size = (2 * texts.size() + 1 + header.tokens) * sizeof(std::int32_t);
  storage->memory.resize(sizeof header + body_size);
  auto* next = reinterpret_cast<std::int32_t*>(storage->memory.data() + sizeof header);
  std::uint32_t offset = 0;
  for (const TokenizedText& text : texts) {
    *next++ = static_cast<std::int32_t>(offset);
    offset += static_cast<std::uint32_t>(text.ids.size());
  }
  *next++ = static_cast<std::int32_t>(offset);
  for (const TokenizedText& text : texts) *next++ = text.second_segment;
  for (const TokenizedText& text : texts) next = std::copy(text.ids.begin(), text.ids.end(), next);
  const auto hash = digest_of(header, std::span(storage->memory).subspan(sizeof header));
  header.digest_low = hash.low;
  header.digest_high = hash.high;
  std::memcpy(storage->memory.data(), &header, sizeof header);
  return storage;
}

}  // namespace

TokenDataset::TokenDataset(std::shared_ptr<const Storage> storage, Targets targets)
    : storage_(std::move(storage)), targets_(std::make_shared<const Targets>(std::move(targets))) {}

std::int64_t TokenDataset::size() const {
  if (indices_) return static_cast<std::int64_t>(indices_->size());
  return storage_ ? storage_->header().examples : 0;
}

TokenDataset::Example TokenDataset::example(std::int64_t index) const {
  const auto row = static_cast<std::size_t>(indices_ ? (*indices_)[static_cast<std::size_t>(index)] : index);
  const std::uint32_t begin = storage_->offsets()[row];
  const std::uint32_t end = storage_->offsets()[row + 1];
  return {{storage_->ids() + begin, end - begin}, storage_->second_segments()[row]};
}

std::int64_t TokenDataset::truncated() const {
  return storage_ ? static_cast<std::int64_t>(storage_->header().truncated) : 0;
}

std::string TokenDataset::digest() const {
  if (!storage_) return "";
  Digest digest;
  digest.add(&storage_->header().digest_low, 2 * sizeof(std::uint64_t));
  if (indices_) digest.add(indices_->data(), indices_->size() * sizeof(std::int64_t));
  digest.add(targets_->digest());
  return digest.text();
}

TokenDataset TokenDataset::subset(std::vector<std::int64_t> indices) const {
  TokenDataset part(storage_, targets_->subset(indices));
  if (indices_) {
    for (std::int64_t& index : indices) index = (*indices_)[static_cast<std::size_t>(index)];
  }
  part.indices_ = std::make_shared<const std::vector<std::int64_t>>(std::move(indices));
  return part;
}

void TokenDataset::add_to(ImageWriter& image, CachedTokens cached) const {
  targets_->add_to(image);
  image.add_number(storage_ != nullptr);
  if (!storage_) return;
  const bool is_named = storage_->file && cached == CachedTokens::by_name;
  image.add_text(is_named ? storage_->file_name.string() : "");
  // A file is known by its header, which holds the digest of all of it.
  image.add_bytes(is_named ? storage_->bytes().first(sizeof(Storage::Header)) : storage_->bytes());
  image.add_number(static_cast<std::int64_t>(storage_->bytes().size()));
  image.add_number(indices_ != nullptr);
  if (indices_) image.add_list(*indices_);
}

TokenDataset TokenDataset::from(ImageReader& image) {
  Targets targets = Targets::from(image);
  if (image.next_number() == 0) return TokenDataset(nullptr, std::move(targets));
  auto storage = std::make_shared<Storage>();
  storage->file_name = image.next_text();
  const auto bytes = image.next_bytes();
  const auto size = static_cast<std::size_t>(image.next_number());
  if (storage->file_name.empty()) {
    storage->image = bytes;
    storage->image_keeper = image.keeper();
  } else {
    storage->file = std::make_unique<MappedFile>(storage->file_name);
    // In a container of its own it may be another file, and was checked by nobody.
    if (storage->bytes().size() != size || std::memcmp(storage->begin(), bytes.data(), bytes.size()) != 0 ||
        !is_whole(*storage)) {
      throw InputError(
          fmt::format("the token cache {} is another here, or has changed since", storage->file_name.string()));
    }
  }
  TokenDataset examples(std::move(storage), std::move(targets));
  if (image.next_number() != 0)
    examples.indices_ = std::make_shared<const std::vector<std::int64_t>>(image.next_list<std::int64_t>());
  return examples;
}

void require_embeddings(const TokenDataset& examples, const ModelVocabulary& vocabulary,
                        const std::function<std::string(std::int64_t example)>& place_of) {
  for (std::int64_t i = 0; i < examples.size(); ++i) {
    const auto ids = examples.example(i).ids;
    if (std::all_of(ids.begin(), ids.end(), [&](std::int32_t id) { return id < vocabulary.embeddings; })) continue;
    throw InputError(
        fmt::format("{}: the tokenizer of {} makes token {} of this text, but the model {} has only {} embeddings",
                    place_of(i), vocabulary.tokenizer.string(), *std::max_element(ids.begin(), ids.end()),
                    vocabulary.model.string(), vocabulary.embeddings));
  }
}

TokenDataset tokenize(const LabelledTexts& rows, Targets targets, const Tokenizer& tokenizer,
                      const TokenizeOptions& options, const Log& log) {
  std::filesystem::path path;
  if (!options.cache_directory.empty()) {
    path = options.cache_directory / (cache_key(rows, tokenizer, options) + ".tokens");
    if (auto cached = read_cache(path, rows, tokenizer, options, log)) return {std::move(cached), std::move(targets)};
  }
  auto storage = pack(tokenize_rows(rows.rows, rows.has_pairs, tokenizer, options));
  if (!path.empty()) {
    try {
      // Whoever reads the tokens has the texts.
      ensure_private_directory(options.cache_directory);
      AtomicFile file(path, kOwnerAlone);
      file.write(storage->memory.data(), storage->memory.size());
      file.commit();
      if (auto mapped = read_cache(path, rows, tokenizer, options, log)) return {std::move(mapped), std::move(targets)};
    } catch (const Error& error) {
      log.warning(fmt::format("no token cache: {}", error.what()));
    }
  }
  return {std::move(storage), std::move(targets)};
}

}  // namespace dtrain::data
