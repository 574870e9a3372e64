#include "dist/mpi/mpi_mailbox.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "dist/mpi/mpi_work.h"

namespace dtrain::dist {
namespace {

constexpr int kTag = 0;

// A letter that MPI reads or writes.
struct OnItsWay {
  int from = -1;  // of one that comes
  std::unique_ptr<std::string> text;
  MPI_Request request = MPI_REQUEST_NULL;

  // Also while it is destroyed: what MPI says against it goes to `code`.
  bool has_ended(int& code) {
    int ended = 0;
    code = MPI_Test(&request, &ended, MPI_STATUS_IGNORE);
    return code == MPI_SUCCESS && ended != 0;
  }
  bool has_ended() {
    int code = MPI_SUCCESS;
    const bool ended = has_ended(code);
    check_mpi(code, from < 0 ? "posting a letter" : "taking a letter");
    return ended;
  }
};

class MpiMailbox final : public Mailbox {
 public:
  MpiMailbox(MPI_Comm parent, std::chrono::milliseconds timeout)
      : communicator_(duplicate(parent, "making a mailbox", timeout)) {}
  // The communicator is not freed: that would be collective, and some rank may have gone.
  ~MpiMailbox() override {
    for (std::deque<OnItsWay>* letters : {&sent_, &coming_}) {
      for (OnItsWay& letter : *letters) {
        // MPI may still use the text: it stays until the end of the process.
        int ignored = MPI_SUCCESS;
        if (!letter.has_ended(ignored)) static_cast<void>(letter.text.release());
      }
    }
  }
  MpiMailbox(const MpiMailbox&) = delete;
  MpiMailbox& operator=(const MpiMailbox&) = delete;

  void post(int to, const std::string& text) override {
    forget_sent();
    OnItsWay& letter = sent_.emplace_back();
    letter.text = std::make_unique<std::string>(text);
    check_mpi(MPI_Isend(letter.text->data(), static_cast<int>(text.size()), MPI_CHAR, to, kTag, communicator_,
                        &letter.request),
              "posting a letter");
  }

  std::optional<Letter> take() override {
    forget_sent();
    while (begin_to_receive()) {
    }
    for (auto letter = coming_.begin(); letter != coming_.end(); ++letter) {
      // One that is still coming holds up those that its rank posted after it, and nobody else's.
      const bool follows_another =
          std::any_of(coming_.begin(), letter, [&](const OnItsWay& before) { return before.from == letter->from; });
      if (follows_another || !letter->has_ended()) continue;
      Letter taken{letter->from, std::move(*letter->text)};
      coming_.erase(letter);
      return taken;
    }
    return std::nullopt;
  }

 private:
  // Of the next letter that a rank has begun to send, if there is one.
  bool begin_to_receive() {
    int there = 0;
    MPI_Status status;
    MPI_Message message = MPI_MESSAGE_NULL;
    check_mpi(MPI_Improbe(MPI_ANY_SOURCE, kTag, communicator_, &there, &message, &status), "looking for letters");
    if (there == 0) return false;
    int size = 0;
    MPI_Get_count(&status, MPI_CHAR, &size);
    OnItsWay& letter = coming_.emplace_back();
    letter.from = status.MPI_SOURCE;
    letter.text = std::make_unique<std::string>(static_cast<std::size_t>(size), '\0');
    // Not MPI_Mrecv: a rank that stands still would hold up this one.
    check_mpi(MPI_Imrecv(letter.text->data(), size, MPI_CHAR, &message, &letter.request), "taking a letter");
    return true;
  }

  void forget_sent() {
    sent_.erase(std::remove_if(sent_.begin(), sent_.end(), [](OnItsWay& letter) { return letter.has_ended(); }),
                sent_.end());
  }

  MPI_Comm communicator_;
  std::deque<OnItsWay> sent_;
  std::deque<OnItsWay> coming_;  // in the order in which they were sent
};

}  // namespace

std::unique_ptr<Mailbox> make_mpi_mailbox(MPI_Comm parent, std::chrono::milliseconds timeout) {
  return std::make_unique<MpiMailbox>(parent, timeout);
}

}  // namespace dtrain::dist
