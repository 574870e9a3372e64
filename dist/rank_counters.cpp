#include "dist/rank_counters.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <chrono>
#include <limits>
#include <map>
#include <thread>

namespace dtrain::dist {

namespace {

constexpr std::int64_t kGivenUp = std::numeric_limits<std::int64_t>::min();

// {1, 3} -> "ranks 1, 3".
std::string ranks_text(const std::vector<int>& names) {
  return fmt::format("{} {}", names.size() == 1 ? "rank" : "ranks", fmt::join(names, ", "));
}

}  // namespace

RankCounters::RankCounters(std::vector<Counter*> counters, std::vector<int> names, int rank,
                           std::vector<Counter*> beats, std::vector<std::string> hosts)
    : counters_(std::move(counters)),
      names_(std::move(names)),
      rank_(rank),
      beats_(std::move(beats)),
      hosts_(std::move(hosts)) {}

std::int64_t RankCounters::start() { return counters_[rank_]->fetch_add(1) + 1; }

std::int64_t RankCounters::last() const { return counters_[rank_]->load(); }

void RankCounters::beat() {
  if (!beats_.empty()) beats_[rank_]->fetch_add(1);
}

void RankCounters::give_up() {
  if (!beats_.empty()) beats_[rank_]->store(kGivenUp);
}

std::vector<int> RankCounters::who_stands_still() const {
  std::vector<std::int64_t> before;
  for (const Counter* beat : beats_) before.push_back(beat == nullptr ? kGivenUp : beat->load());
  // The others may look at this rank in the same moment.
  for (int i = 0; i < 200 && !beats_.empty(); ++i) {
    beats_[rank_]->fetch_add(1);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  std::vector<int> still;
  for (std::size_t i = 0; i < beats_.size(); ++i) {
    if (before[i] != kGivenUp && beats_[i]->load() == before[i]) still.push_back(names_[i]);
  }
  return still;
}

std::string RankCounters::who_did_not_come(std::int64_t number) const {
  std::map<std::int64_t, std::vector<int>> behind;
  std::map<std::string, std::vector<int>> unseen;  // by host
  for (std::size_t i = 0; i < counters_.size(); ++i) {
    if (counters_[i] == nullptr) {
      unseen[hosts_.at(i)].push_back(names_[i]);
    } else if (const std::int64_t at = counters_[i]->load(); at < number) {
      behind[at].push_back(names_[i]);
    }
  }
  std::vector<std::string> parts;
  for (const auto& [at, names] : behind) {
    parts.push_back(
        fmt::format("{} did not come ({} at #{})", ranks_text(names), names.size() == 1 ? "it is" : "they are", at));
  }
  if (behind.empty()) {
    const std::vector<int> still = who_stands_still();
    parts.push_back(still.empty() ? "every rank seen from here has started it"
                                  : fmt::format("{} started it and {} still since", ranks_text(still),
                                                still.size() == 1 ? "stands" : "stand"));
  }
  if (!unseen.empty()) {
    std::vector<std::string> places;
    for (const auto& [host, names] : unseen) places.push_back(fmt::format("{} on {}", ranks_text(names), host));
    parts.push_back(fmt::format("on other nodes: unknown ({})", fmt::join(places, "; ")));
  }
  return fmt::format("{}", fmt::join(parts, "; "));
}

std::string RankCounters::where_is(int rank) const {
  if (counters_[rank] == nullptr)
    return fmt::format("rank {} is on {}, another node: unknown where", names_[rank], hosts_.at(rank));
  return fmt::format("rank {} is at #{}", names_[rank], counters_[rank]->load());
}

}  // namespace dtrain::dist
