#pragma once

#include <stdexcept>
#include <string>

namespace dtrain {

/// What the launcher turns into a message and the exit code of the process. Library code throws one of the kinds
/// below and never exits or prints.
class Error : public std::runtime_error {
 public:
  Error(int exit_code, const std::string& message) : std::runtime_error(message), exit_code_(exit_code) {}
  int exit_code() const { return exit_code_; }

 private:
  int exit_code_;
};

/// A command line, environment variable or configuration file that asks for something impossible (exit code 2).
class UsageError : public Error {
 public:
  static constexpr int kExitCode = 2;
  explicit UsageError(const std::string& message) : Error(kExitCode, message) {}
};

/// Data, a model, an adapter or a checkpoint that is not what it should be (exit code 3). The message says what was
/// expected, what was found, where (file, line, column, tensor), and what to do.
class InputError : public Error {
 public:
  static constexpr int kExitCode = 3;
  explicit InputError(const std::string& message) : Error(kExitCode, message) {}
};

/// Training that cannot go on: a loss that is not finite, no memory left, a file that cannot be written (exit code 4).
class TrainingError : public Error {
 public:
  static constexpr int kExitCode = 4;
  explicit TrainingError(const std::string& message) : Error(kExitCode, message) {}
};

/// A collective that failed or did not end in time (exit code 5).
class CommunicationError : public Error {
 public:
  static constexpr int kExitCode = 5;
  explicit CommunicationError(const std::string& message) : Error(kExitCode, message) {}
};

/// A run stopped by a signal after its checkpoint was written (exit code 75, EX_TEMPFAIL: try again).
class Stopped : public Error {
 public:
  static constexpr int kExitCode = 75;
  explicit Stopped(const std::string& message) : Error(kExitCode, message) {}
};

template <typename... Kinds>
struct ErrorList {};
/// Every kind.
using ErrorKinds = ErrorList<UsageError, InputError, TrainingError, CommunicationError, Stopped>;

template <typename... Kinds>
[[noreturn]] void throw_error_of(int exit_code, const std::string& message, ErrorList<Kinds...>) {
  ((exit_code == Kinds::kExitCode ? throw Kinds(message) : void()), ...);
  throw Error(exit_code, message);
}

/// Throws the kind that has this exit code, as another rank has thrown it.
[[noreturn]] inline void throw_error_of(int exit_code, const std::string& message) {
  throw_error_of(exit_code, message, ErrorKinds());
}

}  // namespace dtrain
