#pragma once

#include <gtest/gtest.h>

#include <string>

namespace dtrain {

/// Runs `call`, which must throw an `Expected`, and returns the message.
template <class Expected, class Call>
std::string failure_of(const Call& call) {
  try {
    call();
  } catch (const Expected& error) {
    return error.what();
  }
  ADD_FAILURE() << "no error was thrown";
  return "";
}

}  // namespace dtrain
