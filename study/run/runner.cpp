#include "study/run/runner.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "base/error.h"
#include "dist/first_rank.h"
#include "peft/formats/trained_model.h"
#include "peft/registry.h"
#include "study/run/coordinator.h"
#include "train/out_of_memory.h"

namespace dtrain::study {
namespace {

using Clock = std::chrono::steady_clock;

// A folder that is gone afterwards, whatever happens.
struct Scratch {
  const std::filesystem::path& path;
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

double seconds_of(const FinishedTrials& finished) {
  double last = 0;
  for (const auto& [key, trial] : finished) last = std::max(last, trial.second.started + trial.second.seconds);
  return last;
}

// A rank of a study: asks for trials with its group, runs them, and on the first rank looks after the others meanwhile.
class Member {
 public:
  Member(TrialRunner& runner, const Groups& groups, Post& post, Coordinator* coordinator,
         const train::RunContext& world)
      : runner_(runner),
        groups_(groups),
        post_(post),
        coordinator_(coordinator),
        world_(world),
        timeout_(world.control.timeout()) {}

  // Returns when nothing is left, or the study stops: then true.
  bool work() {
    for (;;) {
      // Whoever waits has said so, also where it was told to stop as its trial ended: only then is it counted as gone.
      write({stop_ ? Letter::Kind::stopped : Letter::Kind::ask, {}, {}});
      const Letter order = next_order();
      if (order.kind == Letter::Kind::leave) return true;
      if (order.kind == Letter::Kind::end) return false;
      train::RunContext context = groups_.context();
      context.tick = [&] { look_around(); };
      context.stop_requested = [&] { return stop_ || world_.stop_requested(); };
      context.end_if_stopped = [&] {
        if (stop_ || world_.stop_requested()) throw Stopped("");
      };
      try {
        const TrialOutcome outcome = runner_.run(*order.trial, context);
        write({Letter::Kind::result, order.trial, outcome});
        if (may_leave_) return true;
      } catch (const Stopped&) {
        if (may_leave_) return true;
        stop_ = true;
      } catch (const std::exception& error) {
        if (const auto lack = train::lack_of_memory(error, context.memory_advice)) report_loss(*order.trial, *lack);
        throw;
      }
    }
  }

 private:
  void write(const Letter& letter) {
    if (groups_.leads()) post_.requests->post(0, letter.text());
  }

  // The job ends with this rank, for which the others of its group wait; resumed, it would meet the same again.
  void report_loss(const Trial& trial, const std::string& lack) {
    TrialOutcome outcome;
    outcome.failure = fmt::format("rank {}: {}", world_.control.rank(), lack);
    outcome.ranks = groups_.ranks_per_trial();
    post_.requests->post(0, Letter{Letter::Kind::result, trial, outcome}.text());
    if (coordinator_ != nullptr) coordinator_->serve();
  }

  // While a trial is under way: the first rank hands out trials, every rank hears of a stop, and shows that it lives.
  void look_around() {
    if (coordinator_ != nullptr) coordinator_->serve();
    while (const auto letter = post_.orders->take()) {
      const auto kind = Letter::of(letter->text).kind;
      // Where this group said that it had nothing under way while this trial was on its way to it, nothing else comes.
      if (kind == Letter::Kind::leave) may_leave_ = true;
      if (kind == Letter::Kind::leave || kind == Letter::Kind::stop) stop_ = true;
    }
    if (Clock::now() - last_sign_ < std::chrono::seconds(1)) return;
    last_sign_ = Clock::now();
    write({Letter::Kind::alive, {}, {}});
  }

  Letter next_order() {
    auto heard = Clock::now();
    for (auto pause = std::chrono::microseconds(20);; pause = std::min(2 * pause, std::chrono::microseconds(2000))) {
      if (coordinator_ != nullptr) coordinator_->serve();
      while (const auto letter = post_.orders->take()) {
        heard = Clock::now();
        Letter order = Letter::of(letter->text);
        if (order.kind == Letter::Kind::stop) {
          stop_ = true;  // what was written meanwhile is answered
        } else if (order.kind != Letter::Kind::alive) {
          return order;
        }
      }
      if (!stop_ && world_.stop_requested()) {
        stop_ = true;
        write({Letter::Kind::stopped, {}, {}});
      }
      if (coordinator_ == nullptr && Clock::now() - heard > timeout_) {
        throw CommunicationError(
            fmt::format("the first rank has been silent for {} while this one waited for a trial",
                        duration_text(std::chrono::duration<double>(Clock::now() - heard).count())));
      }
      std::this_thread::sleep_for(pause);
    }
  }

  TrialRunner& runner_;
  const Groups& groups_;
  Post& post_;
  Coordinator* coordinator_;
  const train::RunContext& world_;
  std::chrono::milliseconds timeout_;
  Clock::time_point last_sign_ = Clock::now();
  bool stop_ = false;
  bool may_leave_ = false;
};

train::Estimate measure(const StudyPlan& plan, const MethodPlan& method, const Material& material, std::int64_t samples,
                        const train::RunContext& context) {
  auto classifier = material.classifier(plan.search_seed);
  peft::make_method(method.method)->attach(*classifier, {.seed = plan.search_seed, .tokenize = material.tokenize});
  train::TrainOptions options = material.training;
  options.method = method.method;
  train::RunContext quiet = context;
  quiet.log = {};
  return train::estimate(*classifier, material.train(samples, plan.subset_seed), 0, options, quiet);
}

// The first rank's, on every rank.
train::Estimate of_first(const train::Estimate& mine, dist::Communicator& control) {
  const auto counts = at::tensor({mine.parameters, mine.trainable_parameters, mine.steps, mine.allreduce_bytes,
                                  mine.state_bytes, mine.peak_memory_bytes, mine.peak_memory_above_base_bytes},
                                 at::kLong);
  const auto seconds = at::tensor(
      {mine.step_seconds, mine.train_seconds, mine.evaluation_seconds, mine.prefix_example_seconds,
       mine.score_example_seconds, mine.step_flop, mine.prefix_example_flop, mine.tokens_per_example, mine.matmul_rate},
      at::kDouble);
  control.broadcast(counts, 0);
  control.broadcast(seconds, 0);
  const auto* count = counts.const_data_ptr<std::int64_t>();
  const auto* second = seconds.const_data_ptr<double>();
  return {count[0],  count[1],  count[2],  count[3],  count[4],  count[5],  count[6],  second[0],
          second[1], second[2], second[3], second[4], second[5], second[6], second[7], second[8]};
}

// What the slowest group took, in place of what this one did.
void take_slowest(train::Estimate& estimate, dist::Communicator& control) {
  const auto mine =
      at::tensor({estimate.step_seconds, estimate.prefix_example_seconds, estimate.score_example_seconds}, at::kDouble)
          .unsqueeze(0);
  const auto slowest = std::get<0>(control.all_gather(mine).max(0));
  const auto* seconds = slowest.const_data_ptr<double>();
  estimate.step_seconds = seconds[0];
  estimate.prefix_example_seconds = seconds[1];
  estimate.score_example_seconds = seconds[2];
}

}  // namespace

std::vector<MethodForecast> forecast(const StudyPlan& plan, const Material& material, std::int64_t samples,
                                     const std::filesystem::path& scratch, const Groups& groups,
                                     const train::RunContext& world) {
  std::vector<MethodForecast> forecasts;
  for (const MethodPlan& method : plan.methods) {
    world.log.progress(fmt::format("measuring {}", method.method.text()));
    MethodForecast forecast{method.method.text(), {}, {}, 0, groups.ranks_per_trial(), at::get_num_threads()};
    const auto stored = at::zeros({1}, at::kLong);
    {
      const dist::TimeoutScope patience = dist::wait_for_files(world.control);
      dist::on_first_rank(world.control, [&] {
        const Scratch folder{scratch};
        auto classifier = material.classifier(plan.search_seed);
        peft::make_method(method.method)
            ->attach(*classifier, {.seed = plan.search_seed, .tokenize = material.tokenize});
        stored[0] = peft::stored_bytes(
            peft::save_trained(*classifier, method.method, material.labels, material.model_directory, scratch));
      });
    }
    world.control.broadcast(stored, 0);
    forecast.stored_bytes = stored[0].item<std::int64_t>();
    const train::RunContext context = groups.context();
    if (groups.own() == 0) forecast.alone = measure(plan, method, material, samples, context);
    forecast.alone = of_first(forecast.alone, world.control);
    forecast.beside = forecast.alone;
    if (groups.count() > 1) {
      world.control.barrier();
      forecast.beside = measure(plan, method, material, samples, context);
      take_slowest(forecast.beside, world.control);
    }
    forecasts.push_back(std::move(forecast));
  }
  world.log.progress("");
  return forecasts;
}

TrialSizes trial_sizes(const StudyPlan& plan, const Material& material, std::int64_t dev_available) {
  TrialSizes sizes;
  sizes.dev_available = dev_available;
  sizes.scored = examples_of(plan.sets) + material.forgetting_examples;
  sizes.has_next_task = material.next_task != nullptr;
  sizes.batch_size = material.training.batch_size;
  sizes.seeds = static_cast<std::int64_t>(plan.result_seeds.size());
  return sizes;
}

StudyRun run_study(const StudyPlan& plan, const Material& material, const FinishedTrials& finished, Journal* journal,
                   const std::vector<MethodForecast>& forecasts, const TrialSizes& sizes, const Groups& groups,
                   Post& post, const StudyLimits& limits, const train::RunContext& world) {
  std::map<std::string, std::int64_t> stored_bytes;
  for (const MethodForecast& forecast : forecasts) stored_bytes[forecast.method] = forecast.stored_bytes;
  TrialRunner runner(plan, material, std::move(stored_bytes));
  std::optional<Coordinator> coordinator;
  if (journal != nullptr) {
    coordinator.emplace(
        Coordinator::Setting{plan, groups, *journal, *post.requests, *post.orders, world.log, world.control.timeout(),
                             limits.budget_seconds, limits.may_add_seeds, seconds_of(finished), limits.began},
        finished, TimeLeft(plan, forecasts, sizes));
  }
  bool stopped = Member(runner, groups, post, coordinator ? &*coordinator : nullptr, world).work();
  while (coordinator && !coordinator->is_over()) {
    coordinator->serve();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  world.log.progress("");
  StudyRun result;
  if (coordinator) {
    result = {coordinator->plan(), coordinator->schedule().finished(), coordinator->facts()};
    stopped = coordinator->is_stopped();
  }
  // The job ends with its first rank that ends: not before every group has.
  world.control.barrier();
  if (!stopped) return result;
  if (!coordinator) throw Stopped(stop_text(world));
  const std::size_t ended = coordinator->schedule().ended();
  // Whoever starts it again and again would wait for ever.
  if (world.time_is_up() && coordinator->schedule().finished().size() == finished.size()) {
    throw TrainingError(
        "the time limit came before a single trial had ended, and what is under way runs again from its beginning: "
        "give the study more time, more ranks a trial (--ranks-per-trial) or fewer samples");
  }
  throw Stopped(
      fmt::format("{}; {} of {} trials are in the journal, what was under way runs again: go on with --resume",
                  stop_text(world), ended, coordinator->schedule().expected()));
}

}  // namespace dtrain::study
