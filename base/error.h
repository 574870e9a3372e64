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
  explicit UsageError(const std::string& message) : Error(2, message) {}
};

/// Data, a model, an adapter or a checkpoint that is not what it should be (exit code 3). The message says what was
/// expected, what was found, where (file, line, column, tensor), and what to do.
class InputError : public Error {
 public:
  explicit InputError(const std::string& message) : Error(3, message) {}
};

/// Training that cannot go on: a loss that is not finite, no memory left, a file that cannot be written (exit code 4).
class TrainingError : public Error {
 public:
  explicit TrainingError(const std::string& message) : Error(4, message) {}
};

/// A collective that failed or did not end in time (exit code 5).
class CommunicationError : public Error {
 public:
  explicit CommunicationError(const std::string& message) : Error(5, message) {}
};

/// A run stopped by a signal after its checkpoint was written (exit code 75, EX_TEMPFAIL: try again).
class Stopped : public Error {
 public:
  explicit Stopped(const std::string& message) : Error(75, message) {}
};

/// Throws the kind that has this exit code, as another rank has thrown it.
[[noreturn]] inline void throw_error_of(int exit_code, const std::string& message) {
  switch (exit_code) {
    case 2:
      throw UsageError(message);
    case 3:
      throw InputError(message);
    case 4:
      throw TrainingError(message);
    case 5:
      throw CommunicationError(message);
    case 75:
      throw Stopped(message);
    default:
      throw Error(exit_code, message);
  }
}

}  // namespace dtrain
