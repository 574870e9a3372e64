#pragma once

#include <memory>
#include <optional>
#include <string>

namespace dtrain::dist {

/// Short texts between any two ranks, outside the collectives: from one rank to another they come in the order in which
/// they were posted. Neither side waits for the other, so both must look from time to time. Errors of MPI are
/// CommunicationError.
class Mailbox {
 public:
  virtual ~Mailbox() = default;

  struct Letter {
    int from;
    std::string text;
  };

  /// Returns at once; to the own rank, too.
  virtual void post(int to, const std::string& text) = 0;
  /// A letter that has come, if one has: as a whole, so that nobody waits for the rest of one.
  virtual std::optional<Letter> take() = 0;
};

/// Of one rank, which writes to itself.
std::unique_ptr<Mailbox> make_single_mailbox();

}  // namespace dtrain::dist
