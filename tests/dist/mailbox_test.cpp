#include <gtest/gtest.h>
#include <mpi.h>

#include <chrono>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "dist/mpi/mpi_mailbox.h"

namespace {
// Of a letter that does not come to its end while it is held up.
constexpr int kHeldUpSize = 1009;
bool holds_up = false;
MPI_Request held_up = MPI_REQUEST_NULL;
bool test_fails = false;
}  // namespace

// MPI's profiling interface, for letters of ranks that stand still and for errors.
extern "C" int MPI_Imrecv(void* text, int count, MPI_Datatype type, MPI_Message* message, MPI_Request* request) {
  const int code = PMPI_Imrecv(text, count, type, message, request);
  if (holds_up && count == kHeldUpSize) held_up = *request;
  return code;
}
extern "C" int MPI_Test(MPI_Request* request, int* ended, MPI_Status* status) {
  if (test_fails) return MPI_ERR_OTHER;
  if (holds_up && held_up != MPI_REQUEST_NULL && *request == held_up) {
    *ended = 0;
    return MPI_SUCCESS;
  }
  return PMPI_Test(request, ended, status);
}

namespace dtrain::dist {
namespace {

using namespace std::chrono_literals;

// Waits for the next letter.
Mailbox::Letter next(Mailbox& mailbox) {
  for (;;) {
    if (auto letter = mailbox.take()) return std::move(*letter);
    std::this_thread::yield();
  }
}

TEST(MpiMailbox, CarriesTextsInTheirOrderBetweenAnyRanks) {
  int rank = 0, size = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  const auto mailbox = make_mpi_mailbox(MPI_COMM_WORLD, 60s);
  // Longer ones than MPI sends before the other side asks, and empty ones; to itself, too.
  const std::vector<std::string> texts = {"first", "", std::string(3'000'000, 'x'), "last"};
  for (int to = 0; to < size; ++to) {
    for (const auto& text : texts) mailbox->post(to, text);
  }
  std::map<int, std::vector<std::string>> came;
  for (std::size_t i = 0; i < texts.size() * static_cast<std::size_t>(size); ++i) {
    auto letter = next(*mailbox);
    came[letter.from].push_back(std::move(letter.text));
  }
  EXPECT_EQ(came.size(), static_cast<std::size_t>(size));
  for (const auto& [from, letters] : came) EXPECT_EQ(letters, texts) << "from rank " << from;
  EXPECT_FALSE(mailbox->take());
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST(MpiMailbox, KeepsApartWhatOthersCarry) {
  int rank = 0, size = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  const auto one = make_mpi_mailbox(MPI_COMM_WORLD, 60s);
  const auto other = make_mpi_mailbox(MPI_COMM_WORLD, 60s);
  one->post((rank + 1) % size, "one");
  other->post((rank + 1) % size, "other");
  EXPECT_EQ(next(*other).text, "other");
  EXPECT_EQ(next(*one).text, "one");
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST(MpiMailbox, ALetterThatIsStillComingHoldsUpThoseOfItsRankAlone) {
  int rank = 0, size = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  const auto mailbox = make_mpi_mailbox(MPI_COMM_WORLD, 60s);
  const std::string long_one(kHeldUpSize, 'x');
  holds_up = true;
  mailbox->post(rank, long_one);
  mailbox->post(rank, "after it");
  if (size > 1) {
    mailbox->post((rank + 1) % size, "of another");
    EXPECT_EQ(next(*mailbox).text, "of another");
  }
  for (int i = 0; i < 1000; ++i) ASSERT_FALSE(mailbox->take());
  EXPECT_NE(held_up, MPI_REQUEST_NULL);
  holds_up = false;
  held_up = MPI_REQUEST_NULL;
  EXPECT_EQ(next(*mailbox).text, long_one);
  EXPECT_EQ(next(*mailbox).text, "after it");
  EXPECT_FALSE(mailbox->take());
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST(MpiMailbox, AnErrorOfMpiDoesNotEndTheProcessThatDestroysIt) {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  {
    const auto mailbox = make_mpi_mailbox(MPI_COMM_WORLD, 60s);
    mailbox->post(rank, "unread");
    test_fails = true;
    EXPECT_THROW(mailbox->take(), CommunicationError);
  }
  test_fails = false;
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST(SingleMailbox, CarriesToItself) {
  const auto mailbox = make_single_mailbox();
  EXPECT_FALSE(mailbox->take());
  mailbox->post(0, "a");
  mailbox->post(0, "b");
  EXPECT_EQ(mailbox->take()->text, "a");
  EXPECT_EQ(mailbox->take()->text, "b");
  EXPECT_FALSE(mailbox->take());
}

}  // namespace
}  // namespace dtrain::dist
