#include "dist/rank_counters.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>

namespace dtrain::dist {

namespace {

// {1, 3} -> "ranks 1, 3".
std::string ranks_text(const std::vector<int>& names) {
  return fmt::format("{} {}", names.size() == 1 ? "rank" : "ranks", fmt::join(names, ", "));
}

}  // namespace

RankCounters::RankCounters(std::vector<Counter*> counters, std::vector<int> names, int rank)
    : counters_(std::move(counters)), names_(std::move(names)), rank_(rank) {}

std::int64_t RankCounters::start() { return counters_[rank_]->fetch_add(1) + 1; }

std::int64_t RankCounters::last() const { return counters_[rank_]->load(); }

std::string RankCounters::who_did_not_come(std::int64_t number) const {
  std::map<std::int64_t, std::vector<int>> behind;
  std::vector<int> unseen;
  for (std::size_t i = 0; i < counters_.size(); ++i) {
    if (counters_[i] == nullptr) {
      unseen.push_back(names_[i]);
    } else if (const std::int64_t at = counters_[i]->load(); at < number) {
      behind[at].push_back(names_[i]);
    }
  }
  std::vector<std::string> parts;
  for (const auto& [at, names] : behind) {
    parts.push_back(
        fmt::format("{} did not come ({} at #{})", ranks_text(names), names.size() == 1 ? "it is" : "they are", at));
  }
  if (behind.empty()) parts.push_back("every rank seen from here has started it");
  if (!unseen.empty()) parts.push_back(fmt::format("on other nodes: unknown ({})", ranks_text(unseen)));
  return fmt::format("{}", fmt::join(parts, "; "));
}

std::string RankCounters::where_is(int rank) const {
  if (counters_[rank] == nullptr) return fmt::format("rank {} is on another node: unknown where", names_[rank]);
  return fmt::format("rank {} is at #{}", names_[rank], counters_[rank]->load());
}

}  // namespace dtrain::dist
