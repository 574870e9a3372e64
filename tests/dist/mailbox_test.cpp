#include <gtest/gtest.h>
#include <mpi.h>

#include <map>
#include <string>
#include <thread>
#include <vector>

#include "dist/mpi/mpi_mailbox.h"

namespace dtrain::dist {
namespace {

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
  const auto mailbox = make_mpi_mailbox(MPI_COMM_WORLD);
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
  const auto one = make_mpi_mailbox(MPI_COMM_WORLD);
  const auto other = make_mpi_mailbox(MPI_COMM_WORLD);
  one->post((rank + 1) % size, "one");
  other->post((rank + 1) % size, "other");
  EXPECT_EQ(next(*other).text, "other");
  EXPECT_EQ(next(*one).text, "one");
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
