#include "train/event_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/crc.hpp>
#include <chrono>
#include <climits>
#include <protozero/pbf_builder.hpp>
#include <string_view>

#include "base/atomic_file.h"
#include "base/error.h"

namespace dtrain::train {
namespace {

namespace fs = std::filesystem;

// Fields of the messages, by their numbers.
enum class Event : protozero::pbf_tag_type { wall_time = 1, step = 2, file_version = 3, summary = 5, session_log = 7 };
enum class Summary : protozero::pbf_tag_type { value = 1 };
enum class Value : protozero::pbf_tag_type { tag = 1, simple_value = 2 };
enum class SessionLog : protozero::pbf_tag_type { status = 1 };
constexpr std::int32_t kStart = 1;  // SessionLog::START

constexpr std::string_view kPrefix = "events.out.tfevents.";

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string host_name() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

// Readers take the files of a folder in the order of their names, which begin with a time.
fs::path next_file(const fs::path& folder) {
  auto second = static_cast<long long>(seconds_now());
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kPrefix)) continue;
    const std::string digits = name.substr(kPrefix.size(), name.find('.', kPrefix.size()) - kPrefix.size());
    if (digits.find_first_not_of("0123456789") == std::string::npos && digits.size() == 10)
      second = std::max(second, std::stoll(digits) + 1);
  }
  return folder / fmt::format("{}{:010}.{}.{}.dtrain", kPrefix, second, host_name(), getpid());
}

// A number as four or eight bytes, the lowest first.
template <typename Number>
std::string bytes_of(Number number) {
  std::string bytes;
  for (std::size_t i = 0; i < sizeof(Number); ++i) bytes += static_cast<char>((number >> (8 * i)) & 0xFF);
  return bytes;
}

// TFRecord's: rotated and shifted, so that the check of content that holds checks is none of theirs.
std::uint32_t masked_crc(const std::string& bytes) {
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> crc;
  crc.process_bytes(bytes.data(), bytes.size());
  const auto value = static_cast<std::uint32_t>(crc.checksum());
  return ((value >> 15) | (value << 17)) + 0xA282EAD8U;
}

std::string record_of(const std::string& content) {
  const std::string length = bytes_of(static_cast<std::uint64_t>(content.size()));
  return length + bytes_of(masked_crc(length)) + content + bytes_of(masked_crc(content));
}

}  // namespace

EventFile::EventFile(fs::path folder) {
  if (folder.empty()) return;
  ensure_directory(folder);
  path_ = next_file(folder);
  stream_.open(path_, std::ios::binary);
  std::string event;
  protozero::pbf_builder<Event> builder(event);
  builder.add_double(Event::wall_time, seconds_now());
  builder.add_string(Event::file_version, "brain.Event:2");
  append(event);
}

void EventFile::begin_again_at(std::int64_t step) {
  std::string event;
  protozero::pbf_builder<Event> builder(event);
  builder.add_double(Event::wall_time, seconds_now());
  builder.add_int64(Event::step, step);
  {
    protozero::pbf_builder<SessionLog> log(builder, Event::session_log);
    log.add_enum(SessionLog::status, kStart);
  }
  append(event);
}

void EventFile::write(std::int64_t step, const Scalars& scalars) {
  std::string event;
  protozero::pbf_builder<Event> builder(event);
  builder.add_double(Event::wall_time, seconds_now());
  builder.add_int64(Event::step, step);
  {
    protozero::pbf_builder<Summary> summary(builder, Event::summary);
    for (const auto& [tag, number] : scalars) {
      protozero::pbf_builder<Value> value(summary, Summary::value);
      value.add_string(Value::tag, tag);
      value.add_float(Value::simple_value, static_cast<float>(number));
    }
  }
  append(event);
}

void EventFile::append(const std::string& event) {
  if (path_.empty()) return;
  stream_ << record_of(event) << std::flush;
  if (!stream_) throw TrainingError(fmt::format("cannot write {}: is the disk full?", path_.string()));
}

Scalars scalars_of(const std::string& set, const Metrics& metrics) {
  Scalars scalars;
  for (const auto& [name, value] : metrics.values) scalars.emplace_back(set + "/" + name, value);
  return scalars;
}

}  // namespace dtrain::train
