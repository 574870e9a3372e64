#include "launcher/options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <boost/program_options/options_description.hpp>
#include <sstream>

#include "base/error.h"
#include "base/nearest_name.h"
#include "launcher/option_groups.h"
#include "launcher/option_sources.h"
#include "launcher/share.h"

namespace dtrain::launcher {
namespace {

// What a command does when nothing is said.
Options defaults_of(const std::string& command) {
  Options options;
  options.command = command;
  if (command == "compare") {
    options.test_samples = "auto";
    options.ood_samples = "auto";
  }
  if (command == "diagnose") {
    options.test_samples = "auto";
    options.methods = "auto";
    options.seeds = 1;
    options.lr = "5e-5";
  }
  if (command == "extract") options.method = "lora:bias=all:lora_alpha=8:r=8:target_modules=all-linear";
  return options;
}

const CommandInfo* find_command(const std::string& name) {
  for (const CommandInfo& command : commands()) {
    if (command.name == name) return &command;
  }
  return nullptr;
}

const CommandInfo& known_command(const std::string& name) {
  if (const CommandInfo* command = find_command(name)) return *command;
  std::vector<std::string> names;
  for (const CommandInfo& known : commands()) names.push_back(known.name);
  throw UsageError(
      fmt::format("unknown command '{}'{}; there are: {}", name, did_you_mean(name, names), fmt::join(names, ", ")));
}

}  // namespace

const std::vector<CommandInfo>& commands() {
  static const std::vector<CommandInfo> all = {
      {"compare", "compares methods over sample counts, learning rates and seeds (the default command)",
       "data,test,ood,columns,ignored,unknown,problem,tokens,model,pooling,study,retain,then,length,batch,step,"
       "training,"
       "loss,"
       "machine,"
       "reduction,exchange,output,"
       "resume,tensorboard"},
      {"diagnose", "why a frozen body is worse: probes of every layer, and what each choice costs",
       "data,test,columns,ignored,unknown,problem,tokens,model,pooling,diagnosis,length,batch,step,machine,reduction,"
       "exchange,"
       "output"},
      {"train", "trains one model and writes it, its metrics and its log",
       "data,test,ood,columns,ignored,unknown,problem,tokens,model,pooling,method,rate,start,length,batch,step,"
       "training,"
       "loss,"
       "files,machine,"
       "reduction,exchange,output,resume,tensorboard"},
      {"evaluate", "metrics of a trained model or adapter on a file",
       "run,input,columns,ignored,unknown,problem,tokens,model,pooling,retain,machine,output"},
      {"predict", "labels and probabilities for a file of inputs",
       "run,input,columns,problem,tokens,model,pooling,machine,output"},
      {"merge", "an adapter into its base model, or several adapters into one",
       "run,merge,problem,model,pooling,output"},
      {"extract", "the LoRA that is closest to what full fine-tuning changed",
       "run,input,columns,ignored,unknown,problem,tokens,model,pooling,lora,machine,output"},
      {"estimate", "parameters, memory, bytes all-reduced and time of a run before it is run",
       "data,columns,ignored,unknown,problem,tokens,model,pooling,method,length,batch,step,machine,reduction,exchange"},
      {"inspect", "what is in a model, an adapter, a run or a data file", "columns,ignored,targets"},
      {"methods", "the methods there are, and what they train on a model; of one, its settings",
       "model,pooling,targets"},
      {"report", "a study's report again from its journal, also while it runs; several on one page", "output,targets"},
      {"bench", "times gemm, step, forward, allreduce, norm or scaling on this machine",
       bench_groups().at("step") + ",parameters,scaling,json,svg,targets"},
  };
  return all;
}

Options parse_options(int argc, const char* const* argv) {
  const bool named = argc > 1 && argv[1][0] != '-';
  Options options = defaults_of(named ? argv[1] : "compare");
  read_options(known_command(options.command), {argv + std::min(named ? 2 : 1, argc), argv + argc}, options);
  options.share_directory = find_share_directory();
  return options;
}

std::string default_options(const std::string& command) {
  Options options = defaults_of(command);
  read_defaults(known_command(command), options);
  return options.resolved;
}

std::string memory_advice(const Options& options) {
  CommandInfo command = known_command(options.command);
  if (command.name == "bench" && options.targets.size() == 1) {
    if (const auto kind = bench_groups().find(options.targets[0]); kind != bench_groups().end())
      command.groups = kind->second;
  }
  Options ignored;
  const auto described = describe_options(command, ignored);
  std::vector<std::string> names;
  for (const std::string name : {"batch-size", "micro-batch-size", "cache-memory"}) {
    if (described.find_nothrow(name, false) != nullptr) names.push_back("--" + name);
  }
  if (names.empty()) return "";
  const std::string last = names.back();
  names.pop_back();
  return fmt::format("a smaller {}{}{} needs less", fmt::join(names, ", "), names.empty() ? "" : " or ", last);
}

std::string help_text(int argc, const char* const* argv) {
  const bool named = argc > 1 && argv[1][0] != '-';
  const CommandInfo* command = named ? find_command(argv[1]) : nullptr;
  const std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  const auto has = [&](const char* word) {
    return std::find(arguments.begin(), arguments.end(), word) != arguments.end();
  };
  if (has("--version")) return version_text();
  if (!has("--help") && !has("-h") && !(named && arguments[0] == "help")) return "";
  std::ostringstream text;
  if (command != nullptr) {
    Options defaults = defaults_of(command->name);
    text << "dtrain " << command->name << ": " << command->summary << "\n\nusage: [mpirun -np N] dtrain "
         << command->name << (command->groups.find("targets") != std::string::npos ? " WHAT" : "") << " [options]\n"
         << describe_options(*command, defaults);
    return text.str();
  }
  text << "dtrain: should I fine-tune the whole model, freeze it, or use a parameter-efficient method?\n\n"
          "usage: [mpirun -np N] dtrain [COMMAND] [options]\n\n";
  for (const CommandInfo& known : commands()) text << fmt::format("  {:<10} {}\n", known.name, known.summary);
  text << "\ndtrain COMMAND --help lists a command's options. Every option is also a variable (DTRAIN_BATCH_SIZE) and "
          "a line of\n"
          "a --config file. Exit codes: 0 done, 2 usage, 3 input, 4 training failed, 5 communication failed, 75 "
          "stopped on a\n"
          "signal or at the time limit after a checkpoint.\n";
  return text.str();
}

std::filesystem::path model_directory(const Options& options) {
  if (!options.model.empty()) return options.model;
  return options.share_directory / "models" / "minilm-l6-h384";
}

data::TaskFiles task_files(const Options& o) {
  data::TaskFiles files;
  if (o.train_file.empty()) {
    files = data::embedded_task(o.task, o.share_directory);
  } else {
    files.name = std::filesystem::path(o.train_file).stem().string();
    files.train = o.train_file;
  }
  if (!o.dev_file.empty()) files.dev = o.dev_file;
  if (!o.test_file.empty()) files.test = o.test_file;
  if (!o.ood.empty()) files.ood.clear();
  for (const std::string& named : o.ood) files.ood.push_back(named_file(named));
  files.columns = columns_of(o, true);
  files.drop_unknown_labels = o.drop_unknown_labels;
  return files;
}

}  // namespace dtrain::launcher
