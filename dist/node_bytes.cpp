#include "dist/node_bytes.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <utility>

namespace dtrain::dist {
namespace {

class File {
 public:
  explicit File(int descriptor = -1) : descriptor_(descriptor) {}
  ~File() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  File(File&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  File& operator=(File&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

// How the others find the memory of rank 0 and know that it is that.
struct Address {
  std::int64_t size = 0;
  std::int64_t process = 0;
  std::int64_t descriptor = -1;
  std::int64_t device = 0;
  std::int64_t inode = 0;
};

struct stat status_of(int descriptor) {
  struct stat status {};
  fstat(descriptor, &status);
  return status;
}

// None where the kernel gives no such memory.
File written_file(std::size_t size, const std::function<void(std::span<std::byte>)>& write) {
  File file(memfd_create("dtrain", MFD_CLOEXEC));
  // Allocated now: where there is no memory, a page that is missing would end the process when it is touched.
  if (file.descriptor() < 0 || posix_fallocate(file.descriptor(), 0, static_cast<off_t>(size)) != 0) return File();
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file.descriptor(), 0);
  if (memory == MAP_FAILED) return File();
  write({static_cast<std::byte*>(memory), size});
  munmap(memory, size);
  return file;
}

File opened_file(const Address& address) {
  if (address.descriptor < 0) return File();
  const std::string path = fmt::format("/proc/{}/fd/{}", address.process, address.descriptor);
  File file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  // The number of a process is another one's in another namespace.
  const auto status = status_of(file.descriptor());
  const bool is_that = file.descriptor() >= 0 && static_cast<std::int64_t>(status.st_dev) == address.device &&
                       static_cast<std::int64_t>(status.st_ino) == address.inode && status.st_size == address.size;
  return is_that ? std::move(file) : File();
}

// Without bytes where that cannot be.
NodeBytes mapped(const File& file, std::size_t size) {
  if (file.descriptor() < 0) return {};
  // All pages at once; they would be copied at once where they could be written to already.
  void* memory = mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file.descriptor(), 0);
  if (memory == MAP_FAILED) return {};
  std::shared_ptr<const void> keeper(memory, [size](void* pages) { munmap(pages, size); });
  if (mprotect(memory, size, PROT_READ | PROT_WRITE) != 0) return {};
  return {{static_cast<std::byte*>(memory), size}, std::move(keeper)};
}

NodeBytes sent(Communicator& node, std::size_t size, const std::function<void(std::span<std::byte>)>& write) {
  const auto tensor = at::empty({static_cast<std::int64_t>(size)}, at::kByte);
  const std::span bytes(static_cast<std::byte*>(tensor.mutable_data_ptr()), size);
  if (node.rank() == 0) write(bytes);
  node.broadcast(tensor, 0);
  return {bytes, std::make_shared<const at::Tensor>(tensor)};
}

}  // namespace

NodeBytes share_bytes(Communicator& node, std::size_t size, const std::function<void(std::span<std::byte>)>& write) {
  File file;
  Address address;
  if (node.rank() == 0) {
    file = written_file(size, write);
    const auto status = status_of(file.descriptor());
    address = {static_cast<std::int64_t>(size), getpid(), file.descriptor(), static_cast<std::int64_t>(status.st_dev),
               static_cast<std::int64_t>(status.st_ino)};
  }
  const auto place =
      at::tensor({address.size, address.process, address.descriptor, address.device, address.inode}, at::kLong);
  node.broadcast(place, 0);
  const auto* numbers = place.const_data_ptr<std::int64_t>();
  address = {numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]};
  if (node.rank() != 0) file = opened_file(address);
  auto shared = mapped(file, static_cast<std::size_t>(address.size));
  // Rank 0 keeps its descriptor until all have come here.
  const auto all = node.all_gather(at::tensor({shared.keeper ? 1 : 0}, at::kInt));
  if (all.all().item<bool>()) return shared;
  shared = {};
  return sent(node, static_cast<std::size_t>(address.size), write);
}

}  // namespace dtrain::dist
