#include "launcher/options.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cstdlib>

#include "base/error.h"
#include "tests/base/failure_of.h"
#include "tests/base/temporary_directory.h"

namespace dtrain::launcher {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Lt;
using testing::Not;
using testing::SizeIs;

Options parsed(const std::vector<std::string>& arguments) {
  std::vector<const char*> argv = {"dtrain"};
  for (const auto& argument : arguments) argv.push_back(argument.c_str());
  return parse_options(static_cast<int>(argv.size()), argv.data());
}

// What parsing the arguments refuses with; empty where it accepts them.
std::string refusal(const std::vector<std::string>& arguments) {
  try {
    parsed(arguments);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(Options, AreUtf8ButForNamesOfFiles) {
  EXPECT_EQ(refusal({"train", "--method", "lora:r=\xff"}), "--method: expected UTF-8, found 'lora:r=\uFFFD'");
  EXPECT_EQ(refusal({"train", "--train", "a.tsv", "--text-column", "caf\xe9"}),
            "--text-column: expected UTF-8, found 'caf\uFFFD'");
  EXPECT_EQ(refusal({"train", "--train", "caf\xe9.tsv", "--output", "caf\xe9", "--text-column", "caf\u00e9"}), "");
}

TEST(MemoryAdvice, NamesOptionsThatTheCommandHas) {
  EXPECT_EQ(memory_advice(parsed({"train"})),
            "a smaller --batch-size, --micro-batch-size or --cache-memory needs less");
  EXPECT_EQ(memory_advice(parsed({"bench", "gemm"})), "a smaller --batch-size needs less");
  for (const char* command : {"evaluate", "predict", "extract", "merge"})
    EXPECT_EQ(memory_advice(parsed({command})), "") << command;
}

struct Case {
  std::vector<std::string> arguments;
  std::vector<std::string> says;
};

// One test over all: a process for each would start LibTorch dozens of times.
TEST(Options, NameAWrongOneWithWhatWasExpectedAndFound) {
  const std::vector<Case> cases = {
      {{"trian"}, {"unknown command 'trian'", "did you mean 'train'?", "evaluate"}},
      {{"train", "--epoch", "3"}, {"unknown option 'epoch'", "did you mean 'epochs'?", "dtrain train --help"}},
      {{"train", "--input", "x"}, {"no option 'input'", "evaluate, predict"}},
      {{"train", "--lr", "0"}, {"--lr: expected a number above 0, found '0'"}},
      {{"train", "--lr", "-1e-3"}, {"--lr: expected a number above 0, found '-1e-3'"}},
      {{"train", "--lr", "nan"}, {"--lr: expected a number above 0, found 'nan'"}},
      {{"train", "--lr", "fast"}, {"--lr: expected a number above 0, found 'fast'"}},
      {{"train", "--lr", "1e-3x"}, {"--lr: expected a number above 0, found '1e-3x'"}},
      {{"compare", "--lrs", "1e-3,0"}, {"--lrs: expected a number above 0, found '0'"}},
      {{"train", "--samples", "many"}, {"--samples: expected whole numbers from 2, found 'many'"}},
      {{"train", "--samples", "1.5"}, {"--samples: expected whole numbers from 2, found '1.5'"}},
      {{"train", "--samples", "0"}, {"--samples: expected whole numbers from 2, found '0'"}},
      {{"train", "--epochs", "0"}, {"--epochs: expected a number above 0, found 0"}},
      {{"train", "--epochs", "inf"}, {"--epochs: expected a number above 0, found inf"}},
      {{"train", "--epochs", "two"}, {"--epochs: expected a number, found 'two'"}},
      {{"train", "--batch-size", "0"}, {"--batch-size: expected at least 1, found 0"}},
      {{"train", "--batch-size", "2.5"}, {"--batch-size: expected a whole number, found '2.5'"}},
      {{"train", "--max-steps", "-1"}, {"--max-steps: expected 0 or more, found -1"}},
      {{"train", "--test-samples", "-1"}, {"--test-samples: expected auto or a whole number from 0, found '-1'"}},
      {{"train", "--seed", "-1"}, {"--seed: expected a whole number from 0, found '-1'"}},
      {{"train", "--threads", "99999999999"}, {"--threads: expected a whole number, found '99999999999'"}},
      {{"train", "--virtual-ranks", "-2"}, {"--virtual-ranks: expected 0 or more, found -2"}},
      {{"train", "--warmup-ratio", "1"}, {"--warmup-ratio: expected from 0 to below 1, found 1"}},
      {{"train", "--max-length", "2"}, {"--max-length: expected at least 3, found 2"}},
      {{"train", "--comm-timeout", "0"}, {"--comm-timeout: expected seconds above 0, found 0"}},
      {{"train", "--cache-memory", "5Q"}, {"--cache-memory: expected", "found '5Q'"}},
      {{"train", "--batch-size", "9223372036854775807"}, {"--batch-size: expected at most 1000000000, found 92233720"}},
      {{"train", "--micro-batch-size", "1000000001"}, {"--micro-batch-size: expected at most 1000000000"}},
      {{"train", "--epochs", "1e30"}, {"--epochs: expected at most 1000000, found 1e+30"}},
      {{"train", "--max-steps", "9223372036854775807"}, {"--max-steps: expected at most 1000000000"}},
      {{"train", "--min-steps", "9223372036854775807"}, {"--min-steps: expected at most 1000000000"}},
      {{"train", "--save-steps", "9223372036854775807"}, {"--save-steps: expected at most 1000000000"}},
      {{"train", "--log-steps", "9223372036854775807"}, {"--log-steps: expected at most 1000000000"}},
      {{"train", "--samples", "9223372036854775807"}, {"--samples: expected at most 1000000000"}},
      {{"train", "--test-samples", "9223372036854775807"}, {"--test-samples: expected at most 1000000000"}},
      {{"train", "--ood-samples", "9223372036854775807"}, {"--ood-samples: expected at most 1000000000"}},
      {{"train", "--virtual-ranks", "2147483647"}, {"--virtual-ranks: expected at most 65536"}},
      {{"train", "--bucket-bytes", "9223372036854775807"}, {"--bucket-bytes: expected at most 1099511627776"}},
      {{"train", "--max-length", "2147483648"}, {"--max-length: expected at most 1048576"}},
      {{"train", "--comm-timeout", "1e300"}, {"--comm-timeout: expected at most 100000000"}},
      {{"train", "--weight-decay", "1e300"}, {"--weight-decay: expected at most 1000000"}},
      {{"train", "--max-grad-norm", "1e300"}, {"--max-grad-norm: expected at most 1e+30"}},
      {{"compare", "--seeds", "9223372036854775807"}, {"--seeds: expected at most 10000"}},
      {{"compare", "--metric", "acuracy"},
       {"expected one of auto, accuracy, balanced_accuracy", "did you mean 'accuracy'?"}},
      {{"compare", "--metric", "calibration_error"},
       {"--metric: expected one of auto, accuracy, balanced_accuracy, macro_f1, weighted_f1, matthews, log_loss, "
        "samples_f1, subset_accuracy, r2, mae, mse, found 'calibration_error'"}},
      {{"compare", "--margin", "0"}, {"--margin: expected points, above 0 and below 100, found 0"}},
      {{"compare", "--margin", "100"}, {"--margin: expected points, above 0 and below 100, found 100"}},
      {{"compare", "--metric", "mse", "--margin", "-1"}, {"--margin: expected points above 0, found -1"}},
      {{"compare", "--margin", "nan"}, {"--margin: expected points"}},
      {{"train", "--overlap", "maybe"}, {"--overlap: expected true or false, found 'maybe'"}},
      {{"train", "--precision", "fp61"}, {"expected one of auto, fp32, bf16, found 'fp61'", "did you mean"}},
      {{"train", "--reduce-precision", "fp16"}, {"--reduce-precision: expected one of fp32, bf16, found 'fp16'"}},
      {{"compare", "--reduce-precision", "bf16", "--virtual-ranks", "4"},
       {"--reduce-precision: expected fp32 with --virtual-ranks", "found bf16"}},
      {{"train", "--select-metric", "acuracy"}, {"found 'acuracy'", "did you mean 'accuracy'?"}},
      {{"train", "--pooling", "max"}, {"'max'", "pooler", "cls", "mean"}},
      {{"train", "--method", "lor"}, {"unknown method 'lor'", "did you mean 'lora'?"}},
      {{"train", "--method", "lora:rank=4"}, {"method 'lora' has no setting 'rank'", "it has:", "lora_alpha"}},
      {{"train", "--method", "lora:r=0"}, {"method 'lora': r must be a whole number from 1, found '0'"}},
      {{"train", "--ood", "file.tsv"}, {"--ood: expected NAME=FILE, found 'file.tsv'"}},
      {{"train", "--ood", "a=x.tsv", "--ood", "a=y.tsv"}, {"--ood: the name 'a' is given twice"}},
      {{"train", "--ood", "web/forum=x.tsv"}, {"--ood: expected a name that a file can have", "found 'web/forum'"}},
      {{"compare", "--ood", "caf\xe9=x.tsv"}, {"--ood: expected a name that a file can have"}},
      {{"compare", "--ood", std::string(201, 'a') + "=x.tsv"}, {"--ood: expected a name that a file can have"}},
      {{"train", "--header", "maybe"}, {"--header: expected one of auto, yes, no, found 'maybe'"}},
      {{"train", "--separator", "x"}, {"--separator: expected punctuation, such as ;, or one of tab, comma", "'x'"}},
      {{"train", "--separator", "\t"}, {"--separator: expected punctuation", "tab"}},
      {{"train", "--separator", "\""}, {"--separator: expected punctuation", "'\"'"}},
      {{"train", "--separator", "||"}, {"--separator: expected one character, found '||'"}},
      {{"train", "--label-separator", "and"}, {"--label-separator: expected punctuation", "'and'"}},
      {{"train", "--ignore-label", "#N/A", "--output", "x"}, {"--ignore-label: config.ini could not", "'#N/A'"}},
      {{"compare", "--train", "a #1.tsv"}, {"--train: config.ini could not give this value back", "'a #1.tsv'"}},
      {{"predict", "--ignore-label", "-"}, {"dtrain predict has no option 'ignore-label'", "evaluate"}},
      {{"train", "--lr"}, {"--lr"}},
      {{"train", "somewhere"}, {"too many positional options"}},
      {{"train", "--seed", "1", "--seed", "2"}, {"--seed", "more than once"}},
  };
  for (const auto& [arguments, says] : cases) {
    SCOPED_TRACE(testing::PrintToString(arguments));
    const std::string message = refusal(arguments);
    for (const auto& words : says) EXPECT_THAT(message, HasSubstr(words));
  }
}

TEST(Options, SayHowDataFilesAreRead) {
  const auto columns = columns_of(parsed({"train", "--train", "x.csv", "--text-column", "4", "--pair-column", "none",
                                          "--label-column", "2", "--header", "no", "--separator", "tab",
                                          "--label-separator", "||", "--ignore-label", "-", "--ignore-label", "-1"}),
                                  true);
  EXPECT_EQ(columns.text, "4");
  EXPECT_EQ(columns.pair, "none");
  EXPECT_EQ(columns.label, "2");
  EXPECT_TRUE(columns.label_required);
  EXPECT_EQ(columns.header, data::Header::no);
  EXPECT_EQ(columns.separator, '\t');
  EXPECT_EQ(columns.label_separator, "||");
  EXPECT_EQ(columns.ignored_labels, (std::vector<std::string>{"-", "-1"}));
  const auto defaults = columns_of(parsed({"train"}), false);
  EXPECT_FALSE(defaults.label_required);
  EXPECT_EQ(defaults.header, data::Header::automatic);
  EXPECT_EQ(defaults.separator, '\0');
  EXPECT_EQ(columns_of(parsed({"inspect", "--separator", "\\t"}), false).separator, '\t');
  EXPECT_EQ(columns_of(parsed({"train", "--ignore-label", ""}), true).ignored_labels, std::vector<std::string>{""});
}

TEST(Options, ThatContradictEachOtherAreRefused) {
  for (const auto& [one, other] : std::vector<std::pair<std::vector<std::string>, std::vector<std::string>>>{
           {{"--epochs", "2"}, {"--max-steps", "5"}},
           {{"--min-steps", "2"}, {"--max-steps", "5"}},
           {{"--run", "x"}, {"--method", "head"}},
           {{"--task", "wordnet"}, {"--train", "x"}},
           {{"--resume"}, {"--overwrite"}}}) {
    std::vector<std::string> both = {"train"};
    both.insert(both.end(), one.begin(), one.end());
    EXPECT_EQ(refusal(both), "");
    both.insert(both.end(), other.begin(), other.end());
    EXPECT_EQ(refusal(both), one[0] + " and " + other[0] + ": expected one of them, found both");
  }
}

// The options of these arguments under this --config file.
Options parsed_with(const std::string& config, std::vector<std::string> arguments) {
  const TemporaryDirectory directory;
  arguments.insert(arguments.end(), {"--config", directory.file("run.ini", config)});
  return parsed(arguments);
}

TEST(Options, OfSomebodyElsesConfigMakeNoLongMessages) {
  const std::string longest(100'000, 'x');
  for (const std::string& line : {"lr = " + longest, "epochs = " + longest, longest + " = 1"}) {
    EXPECT_THAT(failure_of<InputError>([&] { parsed_with(line + "\n", {"train"}); }),
                AllOf(HasSubstr("run.ini: "), SizeIs(Lt(3000U))));
  }
}

class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Variable() { unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

TEST(Options, OfAHigherSourceSwitchOffTheirRivalsInALowerOne) {
  const Options by_epochs = parsed_with("max-steps = 2\n", {"train", "--epochs", "1", "--output", "o"});
  EXPECT_EQ(by_epochs.epochs, 1);
  EXPECT_FALSE(by_epochs.training.max_steps);
  EXPECT_THAT(by_epochs.resolved, AllOf(HasSubstr("epochs = 1\n"), Not(HasSubstr("max-steps"))));
  const Options by_steps = parsed_with("epochs = 1\nmin-steps = 7\n", {"train", "--max-steps", "2", "--output", "o"});
  EXPECT_EQ(by_steps.training.max_steps, 2);
  EXPECT_THAT(by_steps.resolved,
              AllOf(HasSubstr("max-steps = 2\n"), Not(HasSubstr("epochs")), Not(HasSubstr("min-steps"))));
  // 0 is no number of steps.
  EXPECT_EQ(parsed_with("epochs = 2\n", {"train", "--max-steps", "0"}).epochs, 2);
  EXPECT_EQ(parsed_with("max-steps = 0\nepochs = 2\n", {"train"}).epochs, 2);

  const Options of_task = parsed_with("train = t.tsv\ndev = d.tsv\ntest-samples = 5\n", {"train", "--task", "wordnet"});
  EXPECT_EQ(of_task.train_file + of_task.dev_file, "");
  EXPECT_EQ(test_samples(of_task), 5);
  const Options of_file = parsed_with("task = wordnet\ndev = d.tsv\n", {"train", "--train", "t.tsv"});
  EXPECT_EQ(of_file.train_file, "t.tsv");
  EXPECT_EQ(of_file.dev_file, "d.tsv");
  EXPECT_THAT(of_file.resolved, Not(HasSubstr("task =")));

  const Options onward = parsed_with("method = lora\n", {"train", "--run", "r"});
  EXPECT_EQ(onward.run, "r");
  EXPECT_THAT(onward.resolved, Not(HasSubstr("method =")));
  EXPECT_EQ(parsed_with("run = r\n", {"train", "--method", "lora"}).run, "");
  EXPECT_EQ(parsed_with("adapters = a,b\n", {"merge", "--run", "r"}).adapters, "");
  // Of extract the method is the one to extract.
  EXPECT_EQ(parsed_with("method = lora:r=4\n", {"extract", "--run", "r"}).method, "lora:r=4");
}

TEST(Options, OfTheEnvironmentStandBetweenTheCommandLineAndTheFile) {
  const Variable variable("DTRAIN_MAX_STEPS", "3");
  EXPECT_EQ(parsed_with("epochs = 1\n", {"train"}).training.max_steps, 3);
  const Options by_epochs = parsed_with("min-steps = 7\n", {"train", "--epochs", "1"});
  EXPECT_FALSE(by_epochs.training.max_steps);
  EXPECT_EQ(by_epochs.training.min_steps, 7);
}

TEST(Options, SayWhatGradientsTravelAs) {
  EXPECT_EQ(parsed({"train"}).training.reduce_format, dist::WireFormat::fp32);
  for (const char* command : {"train", "compare", "diagnose", "estimate"}) {
    EXPECT_EQ(parsed({command, "--reduce-precision", "bf16"}).training.reduce_format, dist::WireFormat::bf16);
  }
  EXPECT_EQ(parsed({"bench", "allreduce", "--reduce-precision", "bf16"}).training.reduce_format,
            dist::WireFormat::bf16);
  EXPECT_EQ(parsed_with("reduce-precision = bf16\n", {"train"}).training.reduce_format, dist::WireFormat::bf16);
  EXPECT_EQ(refusal({"train", "--reduce-precision", "fp32", "--virtual-ranks", "4"}), "");
  const Variable variable("DTRAIN_REDUCE_PRECISION", "bf16");
  EXPECT_EQ(parsed({"train"}).training.reduce_format, dist::WireFormat::bf16);
  EXPECT_THAT(refusal({"train", "--virtual-ranks", "4"}),
              HasSubstr("found bf16 (from the environment variable DTRAIN_REDUCE_PRECISION)"));
}

TEST(Options, ThatContradictEachOtherInOneSourceAreRefusedWithItsName) {
  EXPECT_THAT(failure_of<InputError>([] { parsed_with("epochs = 1\nmax-steps = 2\n", {"train"}); }),
              HasSubstr("run.ini: --epochs and --max-steps: expected one of them, found both"));
  const Variable run("DTRAIN_RUN", "r");
  const Variable method("DTRAIN_METHOD", "lora");
  EXPECT_THAT(refusal({"train"}), HasSubstr("--run and --method: expected one of them, found both (from "));
}

TEST(Options, OfARunAreTakenBackFromWhatItWrites) {
  for (auto arguments : std::vector<std::vector<std::string>>{{"train"},
                                                              {"train", "--max-steps", "2", "--train", "t"},
                                                              {"train", "--run", "r", "--epochs", "2"},
                                                              {"train", "--reduce-precision", "bf16"},
                                                              {"merge", "--adapters", "a,b"},
                                                              {"compare"}}) {
    arguments.insert(arguments.end(), {"--output", "o#1"});
    const std::string written = parsed(arguments).resolved;
    EXPECT_THAT(written, HasSubstr("output = o#1\n"));
    EXPECT_EQ(parsed_with(written, {arguments[0]}).resolved, written);
  }
}

TEST(Options, WithoutAnEffectAreNotTaken) {
  for (const char* name : {"--test", "--ood", "--test-samples", "--ood-samples", "--lr", "--warmup-ratio"}) {
    EXPECT_THAT(refusal({"estimate", name, "1"}), HasSubstr("dtrain estimate has no option"));
    EXPECT_THAT(refusal({"bench", "step", name, "1"}), HasSubstr("dtrain bench has no option"));
  }
  EXPECT_THAT(refusal({"bench", "step", "--epochs", "1"}), HasSubstr("dtrain bench has no option 'epochs'"));
  EXPECT_EQ(refusal({"bench", "gemm", "--method", "lora"}), "--method: dtrain bench gemm does not use it");
  EXPECT_EQ(refusal({"bench", "allreduce", "--batch-size", "8"}),
            "--batch-size: dtrain bench allreduce does not use it");
  EXPECT_EQ(refusal({"bench", "gemm", "--reduce-precision", "bf16"}),
            "--reduce-precision: dtrain bench gemm does not use it");
  EXPECT_EQ(refusal({"bench", "gemm", "--parameters", "8"}), "--parameters: dtrain bench gemm does not use it");
  EXPECT_EQ(refusal({"bench", "norm", "--model", "m"}), "--model: dtrain bench norm does not use it");
  EXPECT_EQ(parsed({"bench", "norm", "--parameters", "8"}).norm_parameters, 8);
  EXPECT_EQ(refusal({"bench", "norm", "--parameters", "0"}), "--parameters: expected at least 1, found 0");
  EXPECT_EQ(parsed({"bench", "step", "--seconds", "0.1"}).bench_seconds, 0.1);
  EXPECT_EQ(refusal({"bench", "norm", "--seconds", "0"}), "--seconds: expected a number above 0, found 0");
  EXPECT_TRUE(parsed({"bench", "step", "--whole-epochs"}).whole_epochs);
  EXPECT_EQ(refusal({"bench", "forward", "--whole-epochs"}), "--whole-epochs: dtrain bench forward does not use it");
  EXPECT_EQ(refusal({"bench", "gemm", "--batch-size", "8", "--threads", "1"}), "");
  EXPECT_EQ(refusal({"bench", "step", "--method", "lora", "--train", "t"}), "");
  EXPECT_EQ(refusal({"bench", "forward", "--method", "lora"}), "--method: dtrain bench forward does not use it");
  EXPECT_EQ(refusal({"bench", "forward", "--train", "t", "--samples", "8", "--json", "f"}), "");
  EXPECT_THAT(refusal({"predict", "--drop-unknown-labels"}), HasSubstr("dtrain predict has no option"));
  const Variable meant_for_another("DTRAIN_METHOD", "lora");
  EXPECT_EQ(refusal({"bench", "gemm"}), "");
}

TEST(Options, OfNoCommandAreThoseOfCompare) {
  EXPECT_EQ(parsed({}).command, "compare");
  EXPECT_EQ(parsed({"--seeds", "4"}).seeds, 4);
}

TEST(Options, TakeTheirDefaultsFromTheDesign) {
  const Options options = parsed({"train"});
  EXPECT_EQ(options.epochs, 3);
  EXPECT_EQ(options.training.min_steps, 100);
  EXPECT_EQ(options.training.batch_size, 32);
  EXPECT_EQ(options.max_length, 128);
  EXPECT_EQ(options.comm_timeout, 600);
  EXPECT_EQ(options.training.virtual_ranks, 0);
  EXPECT_FALSE(options.training.learning_rate);
}

TEST(Options, ReadBytesWithUnits) {
  EXPECT_EQ(parsed({"train", "--cache-memory", "1.5K"}).training.cache_memory, 1536);
  EXPECT_EQ(parsed({"train", "--cache-memory", "2g"}).training.cache_memory, std::int64_t{2} << 30);
  EXPECT_EQ(parsed({"train", "--cache-memory", "0"}).training.cache_memory, 0);
}

TEST(Help, ShowsEveryOptionOfEveryCommandWithWhatItIs) {
  for (const CommandInfo& command : commands()) {
    SCOPED_TRACE(command.name);
    const std::vector<const char*> argv = {"dtrain", command.name.c_str(), "--help"};
    std::istringstream text(help_text(3, argv.data()));
    int options = 0;
    for (std::string line; std::getline(text, line);) {
      EXPECT_LE(line.size(), 100u) << line;
      if (!line.starts_with("  --")) continue;
      ++options;
      // "  --name VALUE (=default)   what it is"
      EXPECT_NE(line.find("  ", 3), std::string::npos) << line;
    }
    EXPECT_GE(options, 2);
  }
}

}  // namespace
}  // namespace dtrain::launcher
