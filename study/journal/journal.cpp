#include "study/journal/journal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#include "base/atomic_file.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/json_file.h"

namespace dtrain::study {
namespace {

using nlohmann::json;

constexpr int kSchema = 2;

// "precision is bf16 there and fp32 here".
std::vector<std::string> differences(const std::map<std::string, std::string>& there,
                                     const std::map<std::string, std::string>& here) {
  std::vector<std::string> texts;
  const auto value = [](const std::map<std::string, std::string>& values, const std::string& name) {
    const auto found = values.find(name);
    return found == values.end() ? std::string("not set") : found->second;
  };
  std::map<std::string, std::string> all = there;
  all.insert(here.begin(), here.end());
  for (const auto& [name, ignored] : all) {
    if (value(there, name) != value(here, name))
      texts.push_back(fmt::format("{} is {} there and {} here", name, value(there, name), value(here, name)));
  }
  return texts;
}

json costs_json(const MethodCosts& costs) {
  json lines = json::array();
  for (const auto& [method, of_method] : costs) {
    for (const auto& [samples, cost] : of_method)
      lines.push_back({{"method", method}, {"samples", samples}, {"cost", train::cost_json(cost)}});
  }
  return lines;
}

MethodCosts costs_from_json(const json& lines) {
  MethodCosts costs;
  for (const auto& line : lines) costs[line.at("method")][line.at("samples")] = train::cost_from_json(line.at("cost"));
  return costs;
}

// A line's last key: the digest of the line's bytes before it.
constexpr std::string_view kDigestKey = R"(,"digest":")";

std::string line_digest(std::string_view bytes) {
  Digest digest;
  digest.add(bytes.data(), bytes.size());
  return digest.text();
}

std::string line_text(const json& document) {
  std::string line = json_text(document);
  line.pop_back();  // the brace, which comes behind the digest
  return fmt::format("{}{}{}\"}}\n", line, kDigestKey, line_digest(line));
}

// Lines of earlier versions have no digest.
json parsed_line(std::string_view text) {
  json line = parse_json(text, "the line");
  if (!line.contains("digest")) return line;
  const std::string found = line_digest(text.substr(0, text.rfind(kDigestKey)));
  if (line["digest"] == found) return line;
  throw InputError(fmt::format("expected one of digest {}, found \"{}\": it is not what was written",
                               shown_json(line["digest"]), found));
}

}  // namespace

JournalContent read_journal(const std::filesystem::path& path, const Log& log) {
  const std::string text = read_file(path);
  JournalContent content;
  std::int64_t number = 0;
  while (content.whole_bytes < text.size()) {
    ++number;
    const std::size_t end = text.find('\n', content.whole_bytes);
    const bool last = end == std::string::npos || end + 1 == text.size();
    const std::string place = fmt::format("{}:{}", path.string(), number);
    const auto refuse = [&](const std::string& reason) {
      throw InputError(fmt::format("{}: not a line of a study's journal ({}); {}compare --overwrite begins anew", place,
                                   reason,
                                   number > 1 ? "take it out, and compare --resume runs its trial again; " : ""));
    };
    json line;
    std::string problem;
    try {
      line = parsed_line(std::string_view(text).substr(content.whole_bytes, end - content.whole_bytes));
    } catch (const InputError& error) {
      problem = error.what();
    }
    // A process that is killed, or a full disk, leaves a part of the last line. The plan was written as a whole.
    if (number > 1 && last && (end == std::string::npos || !problem.empty())) {
      log.warning(fmt::format("{}: the last line {} and is dropped; its trial runs again", place,
                              end == std::string::npos ? "was cut short" : "is damaged (" + problem + ")"));
      break;
    }
    if (!problem.empty()) refuse(problem);
    try {
      if (number == 1) {
        if (line.at("schema") != kSchema) throw std::invalid_argument(fmt::format("expected schema {}", kSchema));
        content.plan = plan_from_json(line.at("plan"));
      } else if (line.contains("plan")) {
        content.plan = plan_from_json(line.at("plan"));
      } else if (line.contains("costs")) {
        content.costs = costs_from_json(line.at("costs"));
      } else if (line.contains("run")) {
        content.run = run_facts_from_json(line.at("run"));
        // Earlier versions kept them here.
        const auto changes = line.at("run").value("changes", std::vector<std::string>());
        if (!changes.empty()) content.plan.changes = changes;
      } else {
        auto trial = trial_from_json(line);
        content.finished.insert_or_assign(trial.first.key(), std::move(trial));
      }
    } catch (const std::exception& error) {
      refuse(error.what());
    }
    content.whole_bytes = end + 1;
  }
  if (number == 0)
    throw InputError(fmt::format("{}: the journal is empty; compare --overwrite begins anew", path.string()));
  return content;
}

Journal Journal::begin(const std::filesystem::path& path, const StudyPlan& plan) {
  write_file_atomically(path, line_text({{"schema", kSchema}, {"plan", plan_json(plan)}}));
  return Journal(path);
}

Journal Journal::go_on(const std::filesystem::path& path, const StudyPlan& plan, const Log& log) {
  auto content = read_journal(path, log);
  const auto different = differences(content.plan.identity, plan.identity);
  if (!different.empty()) {
    throw UsageError(
        fmt::format("--resume: {} is of another study: {}. Resume it with its own options (--config {}), or choose "
                    "another --output.",
                    path.string(), fmt::join(different, "; "), (path.parent_path() / "config.ini").string()));
  }
  Journal journal(path);
  journal.finished_ = std::move(content.finished);
  if (truncate(path.c_str(), static_cast<off_t>(content.whole_bytes)) != 0)
    throw TrainingError(fmt::format("cannot write {}: {}", path.string(), std::strerror(errno)));
  return journal;
}

void Journal::append(const Trial& trial, const TrialOutcome& outcome) {
  append_line(trial_json(trial, outcome));
  finished_.insert_or_assign(trial.key(), std::make_pair(trial, outcome));
}

void Journal::append(const StudyPlan& plan) { append_line({{"plan", plan_json(plan)}}); }
void Journal::append(const MethodCosts& costs) { append_line({{"costs", costs_json(costs)}}); }
void Journal::append(const RunFacts& facts) { append_line({{"run", run_facts_json(facts)}}); }

void Journal::append_line(const json& document) {
  const std::string line = line_text(document);
  const int descriptor = open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  const auto fail = [&] {
    const int error = errno;
    if (descriptor >= 0) close(descriptor);
    throw TrainingError(fmt::format("cannot write {}: {}. What is in it stays good: go on with --resume.",
                                    path_.string(), std::strerror(error)));
  };
  if (descriptor < 0) fail();
  std::size_t written = 0;
  while (written < line.size()) {
    const ssize_t size = write(descriptor, line.data() + written, line.size() - written);
    if (size < 0 && errno != EINTR) fail();
    if (size > 0) written += static_cast<std::size_t>(size);
  }
  if (fsync(descriptor) != 0) fail();
  close(descriptor);
}

}  // namespace dtrain::study
