#include "dist/mpi/mpi_mailbox.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "dist/mpi/mpi_work.h"

namespace dtrain::dist {
namespace {

constexpr int kTag = 0;

class MpiMailbox final : public Mailbox {
 public:
  explicit MpiMailbox(MPI_Comm parent) {
    check_mpi(MPI_Comm_dup(parent, &communicator_), "making a mailbox");
    MPI_Comm_set_errhandler(communicator_, MPI_ERRORS_RETURN);
  }
  // The communicator is not freed: that would be collective, and some rank may have gone.
  ~MpiMailbox() override {
    for (Sending& sending : sending_) {
      // MPI may still read the text: it stays until the end of the process.
      if (!has_ended(sending)) static_cast<void>(sending.text.release());
    }
  }
  MpiMailbox(const MpiMailbox&) = delete;
  MpiMailbox& operator=(const MpiMailbox&) = delete;

  void post(int to, const std::string& text) override {
    forget_sent();
    Sending& sending = sending_.emplace_back();
    sending.text = std::make_unique<std::string>(text);
    check_mpi(MPI_Isend(sending.text->data(), static_cast<int>(text.size()), MPI_CHAR, to, kTag, communicator_,
                        &sending.request),
              "posting a letter");
  }

  std::optional<Letter> take() override {
    forget_sent();
    int there = 0;
    MPI_Status status;
    MPI_Message message = MPI_MESSAGE_NULL;
    check_mpi(MPI_Improbe(MPI_ANY_SOURCE, kTag, communicator_, &there, &message, &status), "looking for letters");
    if (there == 0) return std::nullopt;
    int size = 0;
    MPI_Get_count(&status, MPI_CHAR, &size);
    Letter letter{status.MPI_SOURCE, std::string(static_cast<std::size_t>(size), '\0')};
    check_mpi(MPI_Mrecv(letter.text.data(), size, MPI_CHAR, &message, MPI_STATUS_IGNORE), "taking a letter");
    return letter;
  }

 private:
  struct Sending {
    std::unique_ptr<std::string> text;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  static bool has_ended(Sending& sending) {
    int ended = 0;
    check_mpi(MPI_Test(&sending.request, &ended, MPI_STATUS_IGNORE), "posting a letter");
    return ended != 0;
  }

  void forget_sent() {
    sending_.erase(
        std::remove_if(sending_.begin(), sending_.end(), [](Sending& sending) { return has_ended(sending); }),
        sending_.end());
  }

  MPI_Comm communicator_ = MPI_COMM_NULL;
  std::deque<Sending> sending_;
};

}  // namespace

std::unique_ptr<Mailbox> make_mpi_mailbox(MPI_Comm parent) { return std::make_unique<MpiMailbox>(parent); }

}  // namespace dtrain::dist
