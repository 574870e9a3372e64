#include "launcher/option_groups.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <type_traits>
#include <typeinfo>

namespace dtrain::launcher {
namespace {

namespace po = boost::program_options;

constexpr unsigned kLineLength = 100;

template <typename Value>
po::typed_value<Value>* bound(Value& value, const char* name = std::is_floating_point_v<Value> ? "X" : "N") {
  return po::value<Value>(&value)->default_value(value, fmt::format("{}", value))->value_name(name);
}

// An option whose default is decided later, from other facts.
po::typed_value<std::string>* open(std::string& value, const char* name) {
  return po::value<std::string>(&value)->value_name(name);
}

using Adder = po::options_description_easy_init;

void add_data(Adder add, Options& o) {
  add("task", bound(o.task, "NAME"), "embedded task, where --train is not given");
  add("train", open(o.train_file, "FILE"), "training file (TSV, CSV, JSON or JSONL)");
  add("dev", open(o.dev_file, "FILE"), "dev file: chooses steps and learning rates");
  add("samples", open(o.samples, "N"),
      o.command == "compare"    ? "training examples to use, a list such as 100,1000,10000 (default: 1000)"
      : o.command == "diagnose" ? "training examples to use (default: 1000, or as the study in --output has)"
                                : "training examples to use (default: all)");
  add("subset-seed", bound(o.subset_seed), "seed of the draw of --samples");
}

void add_test(Adder add, Options& o) {
  add("test", open(o.test_file, "FILE"), "test file");
  add("test-samples", bound(o.test_samples, "N"),
      o.command == "train" ? "test examples to score; 0: all"
      : o.command == "compare"
          ? "test examples to score; 0: all; auto: up to 20,000 where the time allows, else 2,000"
          : "test examples to score; 0: all; auto: 2,000, or as many as the study in --output scored");
}

void add_ood(Adder add, Options& o) {
  add("ood", po::value(&o.ood)->value_name("NAME=FILE"), "out-of-domain test set (repeatable)");
  add("ood-samples", bound(o.ood_samples, "N"),
      o.command == "compare" ? "the same of each out-of-domain set; auto: up to 20,000 or 1,000"
                             : "examples of each out-of-domain set to score; 0: all");
}

void add_columns(Adder add, Options& o) {
  add("text-column", open(o.text_column, "NAME"),
      "column of the text, by name or number from 1 (default: text, sentence, the first of a known pair)");
  add("pair-column", open(o.pair_column, "NAME"),
      "column of the second text; none: no pair (default: pair, or the second of a known pair, such as sentence2)");
  add("label-column", open(o.label_column, "NAME"), "column of the label (default: label, labels or gold_label)");
  add("header", bound(o.header, "NAME"), "whether the first line names the columns: auto, yes or no");
  add("separator", open(o.separator, "C"),
      "what separates fields: a character, or tab, comma, semicolon, bar, space (default: by the file)");
  add("label-separator", open(o.label_separator, "C"),
      "what separates the labels of a row that has several (default: a row has one)");
}

void add_ignored(Adder add, Options& o) {
  add("ignore-label", po::value(&o.ignored_labels)->value_name("LABEL"),
      "leave out rows with this label, which stands for none, such as - or -1 (repeatable)");
}

void add_unknown(Adder add, Options& o) {
  add("drop-unknown-labels", po::bool_switch(&o.drop_unknown_labels), "drop rows whose label training did not see");
}

void add_problem(Adder add, Options& o) {
  add("problem-type", bound(o.problem_type, "NAME"),
      "auto (as the labels, or the trained model, say), single_label_classification, multi_label_classification or "
      "regression");
}

void add_loss(Adder add, Options& o) {
  add("class-weights", open(o.class_weights, "balanced|FILE"),
      "weights of classes or labels in the loss: balanced, or a JSON object of names and numbers");
  add("label-smoothing", bound(o.training.loss.label_smoothing), "share of each class that goes to all alike");
}

void add_tokens(Adder add, Options& o) {
  add("max-length", bound(o.max_length), "most tokens of an example, special ones included");
  add("token-cache", open(o.token_cache, "DIR"), "folder of the token cache; none: off (default: ~/.cache/dtrain)");
}

void add_model(Adder add, Options& o) {
  const bool trained = o.command == "evaluate" || o.command == "predict";
  add("model", open(o.model, "DIR"),
      o.command == "evaluate" ? "the adapter's base model (default: where it was when the adapter was trained); with "
                                "--retain also what a whole model came from (default: as its run says)"
      : trained               ? "the adapter's base model (default: where it was when the adapter was trained)"
                              : "Hugging Face model directory (default: the embedded MiniLM)");
}

void add_pooling(Adder add, Options& o) {
  add("pooling", bound(o.pooling, "NAME"), "auto (as the model says), pooler, cls or mean");
}

void add_lora(Adder add, Options& o) {
  add("method", open(o.method, "SPEC"),
      "the LoRA to extract, such as lora:r=16:target_modules=query+value (default: lora:r=8 with all linear layers and "
      "all biases)");
}

void add_method(Adder add, Options& o) {
  add("method", bound(o.method, "SPEC"), "NAME[:key=value...], such as lora:r=16; see dtrain methods");
}

void add_rate(Adder add, Options& o) { add("lr", open(o.lr, "X"), "learning rate (default: the method's)"); }

void add_start(Adder add, Options& o) {
  add("run", open(o.run, "DIR"),
      "start from this run, model or adapter: its method (instead of --method), weights, head and labels");
}

void add_study(Adder add, Options& o) {
  add("methods", bound(o.methods, "A,B"), "methods to compare, each as --method takes it");
  add("lrs", open(o.lrs, "X,X"), "learning rates to search, for every method (default: each method's own)");
  add("seeds", bound(o.seeds),
      "seeds of the result for each method and sample count; 0: 3, or as many as --budget has time for");
  add("budget", bound(o.budget, "TIME"),
      "the best plan that ends within 10m, 6h, 2d; none: just what is asked; auto: 10m where nothing of --samples, "
      "--seeds, --lrs and --plan is given");
  add("plan", open(o.plan_file, "FILE"), "what an earlier study planned (its plan.json), on this machine and data");
  add("search", bound(o.search, "HOW"),
      "for the learning rates: quick (short trainings alone), halving (whole ones of the best two), fine (and between "
      "them); auto: halving, or what --budget has time for");
  add("ranks-per-trial", bound(o.ranks_per_trial, "G"),
      "ranks that train one trial together, the others train others; auto: what ends first");
  add("trials-per-gpu", bound(o.trials_per_gpu, "K"),
      "most trials of one rank that share a GPU; auto: as many as asked");
  add("metric", bound(o.metric, "NAME"),
      "compare the methods by accuracy, balanced_accuracy, macro_f1, weighted_f1, matthews or log_loss; samples_f1, "
      "subset_accuracy or log_loss; r2, mae or mse; auto: as the task's own");
  add("margin", bound(o.margin),
      "points (hundredths) of that metric that do not matter: the cheapest method within them is advised");
}

void add_diagnosis(Adder add, Options& o) {
  add("lr", open(o.lr, "X"), "the learning rate that the frozen model was trained with (default: 5e-5)");
  add("methods", bound(o.methods, "A,B"),
      "methods to try besides, each as --method takes it, or a range: layers:k=1..4; auto: lora and "
      "layers:k=1,2,4,..., and what --budget has time for of bitfit, pfeiffer and, of at most 6 layers, every other k");
  add("lrs", open(o.lrs, "X,X"),
      "learning rates to search for these and full fine-tuning (default: those of the study in --output; else by a "
      "quick search, or where --budget has no time for it each method's middle one)");
  add("seeds", bound(o.seeds), "seeds of what is trained");
  add("budget", bound(o.budget, "TIME"),
      "what may be left out is tried as far as all of it ends within 10m, 6h, 2d; none: in any case; auto: 5m");
}

void add_length(Adder add, Options& o) {
  add("epochs", bound(o.epochs), "passes over the training data");
  add("min-steps", bound(o.training.min_steps), "least steps, in more epochs where data is small");
  add("max-steps", bound(o.max_steps), "exact number of steps, instead of epochs; 0: by epochs");
}

void add_batch(Adder add, Options& o) {
  add("batch-size", bound(o.training.batch_size), "examples of a step, over all ranks");
}

void add_step(Adder add, Options& o) {
  auto& t = o.training;
  add("micro-batch-size", bound(t.micro_batch_size), "examples a rank computes at once; 0: its share of the batch");
  add("seed", bound(t.seed), "seed of the head, the order and dropout");
  add("weight-decay", bound(t.weight_decay), "AdamW's, not on biases and norms");
  add("max-grad-norm", bound(t.max_gradient_norm), "gradients are clipped to this norm; 0: off");
  add("virtual-ranks", bound(t.virtual_ranks),
      "fixed shards of a batch: the same bytes on any number of ranks; 0: off");
}

void add_training(Adder add, Options& o) {
  add("warmup-ratio", bound(o.training.warmup_ratio), "share of the steps that warm up");
  add("select-metric", bound(o.select_metric, "NAME"),
      "metric on dev that chooses steps and learning rates; auto: the loss's own (log_loss, mse)");
  add("patience", bound(o.training.patience),
      o.command == "compare"
          ? "stop a training of the search after so many evaluations of dev that were no better; 0: never"
          : "stop after so many evaluations of dev that were no better; 0: never");
}

void add_tensorboard(Adder add, Options& o) {
  add("tensorboard", po::bool_switch(&o.tensorboard),
      o.command == "compare" ? "write event files for TensorBoard to tensorboard/ in the directory, a folder a trial"
                             : "write event files for TensorBoard to tensorboard/ in --output");
}

void add_files(Adder add, Options& o) {
  add("log-steps", bound(o.training.log_steps), "a line in log.jsonl every so many steps");
  add("save-steps", bound(o.training.save_steps), "a checkpoint every so many steps; 0: on a signal alone");
}

void add_machine(Adder add, Options& o) {
  add("precision", bound(o.precision, "NAME"), "fp32, bf16 or auto: bf16 where it is measured faster");
  add("device", bound(o.device, "NAME"), "auto, cpu or cuda");
  add("backend", bound(o.backend, "NAME"),
      "auto, single, mpi or nccl; one that does not serve the device and the ranks is refused");
  add("threads", bound(o.threads),
      "threads of a rank; 0: the node's cores over its ranks, or one with --virtual-ranks");
  add("comm-timeout", bound(o.comm_timeout, "SECONDS"), "until a collective counts as failed");
}

void add_reduction(Adder add, Options& o) {
  add("cache-memory", open(o.cache_memory, "BYTES"),
      "memory for frozen features, such as 4G (default: a quarter of the GPU's, or of the RAM that the "
      "node, or the control group, gives, over the node's ranks)");
  add("bucket-bytes", bound(o.training.bucket_bytes), "gradient bytes reduced at once");
  add("overlap", bound(o.training.overlap, "true|false"),
      "reduce while backward goes on, gather while the next forward does");
  add("shard-optimizer", bound(o.shard_optimizer, "auto|on|off"),
      "each rank keeps and updates a share of the optimizer's state (ZeRO stage 1); auto: on CPUs, from 4 million "
      "parameters on");
}

void add_exchange(Adder add, Options& o) {
  add("reduce-precision", bound(o.reduce_precision, "fp32|bf16"),
      "gradients travel between ranks as this; bf16: half the bytes, rounded at each addition");
}

void add_scaling(Adder add, Options& o) {
  add("methods", bound(o.methods, "A,B"), "methods to time, each as --method takes it");
  add("ranks", open(o.scaling_ranks, "N,N"),
      "numbers of ranks to time, each a part of those that were started (default: 1, 2, 4, ... up to these)");
}

void add_output(Adder add, Options& o) {
  add("output", open(o.output, "DIR"),
      o.command == "compare" || o.command == "diagnose"
          ? fmt::format("directory for the results (default: dtrain-{}, or the next free number){}", o.command,
                        o.command == "diagnose" ? "; that of a study: the diagnosis is added to it" : "")
                .c_str()
      : o.command == "report"
          ? "directory for the report, or a file that ends in .html for the page alone (default: the "
            "study's own directory)"
          : "directory for the results");
  add("overwrite", po::bool_switch(&o.overwrite), "replace what --output holds");
}

void add_resume(Adder add, Options& o) {
  add("resume", po::bool_switch(&o.resume), "go on with what --output holds");
  add("max-time", bound(o.max_time, "TIME"),
      "stop before 10m, 6h, 2d are over as on a signal: with what --resume goes on from, and exit code 75; auto: "
      "before the SLURM job ends; none: on a signal alone");
}

void add_merge(Adder add, Options& o) {
  add("adapters", open(o.adapters, "DIR,DIR"), "adapters of LoRA to combine into one");
  add("weights", open(o.weights, "X,X"), "a weight for each (default: equal, their sum 1)");
  add("how", bound(o.how, "NAME"), "linear, ties, dare, dare_ties, magnitude_prune or svd");
  add("density", bound(o.density), "share of the elements that ties, dare and magnitude_prune keep");
  add("seed", bound(o.training.seed), "seed of dare's choice");
}

struct Group {
  const char* name;
  const char* title;
  void (*add)(Adder, Options&);
};
// Groups of one title form one paragraph of --help.
constexpr Group kGroups[] = {
    {"run", "Input",
     [](Adder add, Options& o) {
       add("run", open(o.run, "DIR"), "output of a run, a model or an adapter");
       add("labels", open(o.labels, "A,B|FILE"),
           "names of its classes in order, where its files do not say them (a file: one a line)");
     }},
    {"merge", "Input", add_merge},
    {"retain", "Forgetting",
     [](Adder add, Options& o) {
       add("retain", open(o.retain, "FILE"),
           "measure what training forgot: on this text of no task (.txt with a text a line, or a data file), or "
           "embedded for Debian's fortunes");
     }},
    {"then", "Forgetting",
     [](Adder add, Options& o) {
       add("then", open(o.then, "DIR"),
           "measure what a next task makes a model forget: each result trains on the train, dev and test files of this "
           "folder, too, and is scored on its own test set again");
     }},
    {"input", "Input",
     [](Adder add, Options& o) { add("input", open(o.input, "FILE"), "file of inputs (TSV, CSV, JSON or JSONL)"); }},
    {"data", "Data", add_data},
    {"test", "Data", add_test},
    {"ood", "Data", add_ood},
    {"columns", "Data", add_columns},
    {"ignored", "Data", add_ignored},
    {"unknown", "Data", add_unknown},
    {"problem", "Data", add_problem},
    {"tokens", "Data", add_tokens},
    {"model", "Model", add_model},
    {"pooling", "Model", add_pooling},
    {"method", "Method", add_method},
    {"rate", "Method", add_rate},
    {"lora", "Method", add_lora},
    {"start", "Method", add_start},
    {"study", "Study", add_study},
    {"diagnosis", "Diagnosis", add_diagnosis},
    {"length", "Training", add_length},
    {"batch", "Training", add_batch},
    {"step", "Training", add_step},
    {"training", "Training", add_training},
    {"loss", "Training", add_loss},
    {"files", "Training", add_files},
    {"machine", "Machine", add_machine},
    {"reduction", "Machine", add_reduction},
    {"exchange", "Machine", add_exchange},
    {"parameters", "Norm",
     [](Adder add, Options& o) {
       add("parameters", bound(o.norm_parameters), "floats whose norm is taken, as many as a gradient has");
     }},
    {"scaling", "Scaling", add_scaling},
    {"duration", "Measuring",
     [](Adder add, Options& o) {
       add("seconds", bound(o.bench_seconds), "about how long each thing is repeated, a few times at least");
     }},
    {"epochs", "Measuring",
     [](Adder add, Options& o) {
       add("whole-epochs", po::bool_switch(&o.whole_epochs),
           "repeat the step for whole epochs, however long they take: the mean is that of all batches");
     }},
    {"output", "Output", add_output},
    {"resume", "Output", add_resume},
    {"json", "Output",
     [](Adder add, Options& o) { add("json", open(o.json_file, "FILE"), "write what was measured to this file"); }},
    {"svg", "Output",
     [](Adder add, Options& o) { add("svg", open(o.svg_file, "FILE"), "draw the figure into this file"); }},
    {"tensorboard", "Output", add_tensorboard},
};

}  // namespace

po::options_description describe_options(const CommandInfo& command, Options& options) {
  std::vector<po::options_description> paragraphs;
  std::vector<std::string> titles;
  const auto taken = split_list(command.groups);
  for (const Group& group : kGroups) {
    if (std::find(taken.begin(), taken.end(), group.name) == taken.end()) continue;
    if (titles.empty() || titles.back() != group.title) {
      titles.emplace_back(group.title);
      paragraphs.emplace_back(group.title, kLineLength);
    }
    group.add(paragraphs.back().add_options(), options);
  }
  paragraphs.emplace_back("General", kLineLength);
  paragraphs.back().add_options()("config", po::value<std::string>()->value_name("FILE"), "INI file of these options")(
      "help", "this text");
  po::options_description all("", kLineLength);
  for (const auto& paragraph : paragraphs) all.add(paragraph);
  return all;
}

const std::map<std::string, std::string>& bench_groups() {
  static const std::map<std::string, std::string> all = {
      {"gemm", "model,batch,machine,duration"},
      {"step",
       "data,columns,ignored,unknown,problem,tokens,model,pooling,method,batch,step,machine,reduction,exchange,"
       "duration,epochs"},
      {"forward", "data,columns,ignored,unknown,problem,tokens,model,pooling,machine,duration,json"},
      {"allreduce", "machine,exchange,duration,json"},
      {"norm", "parameters,machine,duration,json"},
      {"scaling",
       "data,columns,ignored,unknown,problem,tokens,model,pooling,scaling,batch,step,machine,reduction,exchange,"
       "duration,json,svg"}};
  return all;
}

std::string expected_value(const po::option_description& option) {
  const auto* typed = dynamic_cast<const po::typed_value_base*>(option.semantic().get());
  if (typed == nullptr) return "";
  const auto& type = typed->value_type();
  if (type == typeid(double)) return "a number";
  if (type == typeid(std::uint64_t)) return "a whole number from 0";
  if (type == typeid(std::int64_t) || type == typeid(int)) return "a whole number";
  if (type == typeid(bool)) return "true or false";
  return "";
}

bool names_files(const po::option_description& option) {
  const std::string value = option.format_parameter();
  return value.find("FILE") != std::string::npos || value.find("DIR") != std::string::npos;
}

bool is_switch(const po::option_description& option) { return option.semantic()->max_tokens() == 0; }

}  // namespace dtrain::launcher
