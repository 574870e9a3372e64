#include "model/formats/tensor_pickle.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/json_file.h"

namespace dtrain::model {
namespace {

struct Value;
// Of the machine's own values, which live as long as it does: a pickle may nest them a million deep or in a circle.
using Reference = const Value*;
struct Sequence {
  std::vector<Reference> items;
};
struct Dictionary {
  std::vector<std::pair<Reference, Reference>> items;
};
// A function or class by its name, "torch._utils._rebuild_tensor_v2".
struct Global {
  std::string name;
};
struct Value {
  std::variant<std::monostate, bool, std::int64_t, double, std::string, Sequence, Dictionary, Global, at::Tensor> is;
};

struct StorageType {
  const char* name;
  at::ScalarType type;
};
constexpr std::array kStorages = {
    StorageType{"torch.DoubleStorage", at::kDouble}, StorageType{"torch.FloatStorage", at::kFloat},
    StorageType{"torch.HalfStorage", at::kHalf},     StorageType{"torch.BFloat16Storage", at::kBFloat16},
    StorageType{"torch.LongStorage", at::kLong},     StorageType{"torch.IntStorage", at::kInt},
    StorageType{"torch.ShortStorage", at::kShort},   StorageType{"torch.CharStorage", at::kChar},
    StorageType{"torch.ByteStorage", at::kByte},     StorageType{"torch.BoolStorage", at::kBool},
};

[[noreturn]] void fail(const std::string& found) { throw InputError(found); }

// A few bytes of a pickle can name what came before again and again: what each step may copy is bounded.
constexpr std::size_t kLongestName = 200;    // of a function
constexpr std::size_t kMostDimensions = 64;  // of a tensor, LibTorch's own limit
// How often the numbers of a file may be in tensors, for tensors that share a storage.
constexpr std::int64_t kMostShared = 8;

// The machine that a pickle is a program of: a stack, marks on it, and a memory (Python's pickletools names the codes).
class Unpickler {
 public:
  Unpickler(std::string_view program, const ReadStorage& read_storage)
      : program_(program), read_storage_(read_storage) {}

  Reference run() {
    while (true) {
      const auto code = static_cast<unsigned char>(take(1)[0]);
      if (code == '.') return pop();
      step(code);
    }
  }

 private:
  void step(unsigned char code) {
    switch (code) {
      case 0x80:  // PROTO
        take(1);
        break;
      case 0x95:  // FRAME
        take(8);
        break;
      case '(':
        marks_.push_back(stack_.size());
        break;
      case '0':
        pop();
        break;
      case 'N':
        push(std::monostate{});
        break;
      case 0x88:
      case 0x89:
        push(code == 0x88);
        break;
      case 'K':
        push(integer(1));
        break;
      case 'M':
        push(integer(2));
        break;
      case 'J':
        push(static_cast<std::int64_t>(static_cast<std::int32_t>(integer(4))));
        break;
      case 0x8a:
        push(long_integer(static_cast<std::size_t>(integer(1))));
        break;
      case 'G':
        push(real());
        break;
      case 0x8c:
        push(std::string(take(static_cast<std::size_t>(integer(1)))));
        break;
      case 'X':
        push(std::string(take(static_cast<std::size_t>(integer(4)))));
        break;
      case '}':
        push(Dictionary{});
        break;
      case ']':
      case ')':
        push(Sequence{});
        break;
      case 't':
        push(sequence(above_mark()));
        break;
      case 0x85:
      case 0x86:
      case 0x87:
        push(sequence(last(code - 0x84U)));
        break;
      case 'a':
      case 'e':
        append(code == 'a' ? last(1) : above_mark());
        break;
      case 's':
      case 'u':
        set_items(code == 's' ? last(2) : above_mark());
        break;
      case 'q':
        remember(integer(1));
        break;
      case 'r':
        remember(integer(4));
        break;
      case 0x94:
        remember(static_cast<std::int64_t>(memory_.size()));
        break;
      case 'h':
        recall(integer(1));
        break;
      case 'j':
        recall(integer(4));
        break;
      case 'c': {
        const std::string module = line();
        push(global(module, line()));
        break;
      }
      case 0x93: {
        const std::string& name = text(pop());
        push(global(text(pop()), name));
        break;
      }
      case 'Q':
        push(storage(items_of(pop())));
        break;
      case 'R': {
        const auto& arguments = items_of(pop());
        call(std::get_if<Global>(&pop()->is), arguments);
        break;
      }
      case 'b':  // the state of an object: of a state_dict() its metadata
        pop();
        if (!std::holds_alternative<Dictionary>(top()->is)) fail("an object with a state");
        break;
      default:
        fail(fmt::format("the pickle code {:#x}", code));
    }
  }

  // The functions that tensors are rebuilt with, and nothing else.
  void call(const Global* function, const std::vector<Reference>& arguments) {
    if (function == nullptr) fail("a call of what is no function");
    if (function->name == "collections.OrderedDict" && arguments.empty()) {
      push(Dictionary{});
    } else if (function->name == "torch._utils._rebuild_tensor_v2" && arguments.size() >= 4) {
      push(view(tensor(arguments[0]), number(arguments[1]), sizes(arguments[2]), sizes(arguments[3])));
    } else if (function->name == "torch._utils._rebuild_parameter" && !arguments.empty()) {
      push(tensor(arguments[0]));
    } else {
      fail(fmt::format("a call of {}, which is not run", shown_json(function->name)));
    }
  }

  // A copy, so that it takes no more memory than the file: one number seen many times (a stride of 0) is refused.
  at::Tensor view(const at::Tensor& storage, std::int64_t begin, const std::vector<std::int64_t>& shape,
                  const std::vector<std::int64_t>& strides) {
    std::int64_t extent = 1;  // the product of the sizes that are not 0, which LibTorch's strides must hold
    bool fits = shape.size() == strides.size();
    bool is_empty = false;
    for (const std::int64_t size : shape) {
      is_empty = is_empty || size == 0;
      fits = fits && !__builtin_mul_overflow(extent, std::max<std::int64_t>(size, 1), &extent);
    }
    if (!fits || (!is_empty && extent > storage.numel())) fail("a tensor that is larger than its storage");
    if (is_empty) return at::empty(shape, storage.options());
    tensor_bytes_ += extent * static_cast<std::int64_t>(storage.element_size());
    if (tensor_bytes_ > kMostShared * storage_bytes_)
      fail(fmt::format("tensors that together are more than {} times as large as what the file holds", kMostShared));
    return storage.as_strided(shape, strides, begin).clone();
  }

  static Global global(const std::string& module, const std::string& name) {
    if (module.size() + name.size() > kLongestName) fail("a function whose name is no name");
    return {module + "." + name};
  }

  // ("storage", its class, its key, its device, its size) names a record of the archive.
  at::Tensor storage(const std::vector<Reference>& id) {
    if (id.size() < 5 || text(id[0]) != "storage") fail("a reference to something that is no storage");
    const auto* kind = std::get_if<Global>(&id[1]->is);
    const auto* type = std::find_if(kStorages.begin(), kStorages.end(), [&](const StorageType& known) {
      return kind != nullptr && kind->name == known.name;
    });
    if (type == kStorages.end())
      fail(fmt::format("a storage of another type, {}", kind == nullptr ? "without a name" : shown_json(kind->name)));
    const auto [place, is_new] = storages_.try_emplace(text(id[2]));
    if (is_new) {
      const std::string bytes = read_storage_(place->first);
      storage_bytes_ += static_cast<std::int64_t>(bytes.size());
      place->second = at::empty({static_cast<std::int64_t>(bytes.size() / at::elementSize(type->type))}, type->type);
      if (!bytes.empty()) std::memcpy(place->second.mutable_data_ptr(), bytes.data(), place->second.nbytes());
    }
    if (place->second.scalar_type() != type->type) fail("one storage of two types");
    return place->second;
  }

  std::string_view take(std::size_t count) {
    if (count > program_.size() - at_) fail("a pickle that ends early");
    const auto taken = program_.substr(at_, count);
    at_ += count;
    return taken;
  }
  std::int64_t integer(std::size_t bytes) {
    std::uint64_t value = 0;
    const auto read = take(bytes);
    std::memcpy(&value, read.data(), bytes);
    return static_cast<std::int64_t>(value);
  }
  std::int64_t long_integer(std::size_t bytes) {
    if (bytes > 8) fail("an integer of more than 64 bits");
    const std::uint64_t value = static_cast<std::uint64_t>(integer(bytes));
    const std::size_t shift = 64 - 8 * bytes;  // to bring the sign to its place
    return bytes == 0 ? 0 : static_cast<std::int64_t>(value << shift) >> shift;
  }
  double real() {
    std::string bytes(take(8));
    std::reverse(bytes.begin(), bytes.end());
    double value = 0;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }
  std::string line() {
    const std::size_t end = program_.find('\n', at_);
    if (end == program_.npos) fail("a pickle that ends early");
    std::string found(take(end - at_));
    take(1);
    return found;
  }

  template <typename Content>
  void push(Content content) {
    values_.push_back(Value{std::move(content)});
    stack_.push_back(&values_.back());
  }
  Value* top() const {
    if (stack_.empty()) fail("a pickle whose stack is empty");
    return stack_.back();
  }
  Value* pop() {
    Value* value = top();
    stack_.pop_back();
    return value;
  }
  std::vector<Value*> last(std::size_t count) {
    if (count > stack_.size()) fail("a pickle whose stack is empty");
    std::vector<Value*> values(stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return values;
  }
  std::vector<Value*> above_mark() {
    if (marks_.empty() || marks_.back() > stack_.size()) fail("a pickle without a mark");
    const std::size_t mark = marks_.back();
    marks_.pop_back();
    return last(stack_.size() - mark);
  }
  void append(const std::vector<Value*>& values) {
    auto* list = std::get_if<Sequence>(&top()->is);
    if (list == nullptr) fail("an item of what is no list");
    list->items.insert(list->items.end(), values.begin(), values.end());
  }
  void set_items(const std::vector<Value*>& values) {
    auto* dictionary = std::get_if<Dictionary>(&top()->is);
    if (dictionary == nullptr || values.size() % 2 != 0) fail("an item of what is no dictionary");
    for (std::size_t i = 0; i < values.size(); i += 2) dictionary->items.emplace_back(values[i], values[i + 1]);
  }
  void remember(std::int64_t place) { memory_[place] = top(); }
  void recall(std::int64_t place) {
    const auto found = memory_.find(place);
    if (found == memory_.end()) fail("a pickle that recalls what it has not");
    stack_.push_back(found->second);
  }

  static Sequence sequence(const std::vector<Value*>& values) { return {{values.begin(), values.end()}}; }
  static const std::vector<Reference>& items_of(Reference value) {
    const auto* sequence = std::get_if<Sequence>(&value->is);
    if (sequence == nullptr) fail("another value where a tuple belongs");
    return sequence->items;
  }
  static const std::string& text(Reference value) {
    const auto* found = std::get_if<std::string>(&value->is);
    if (found == nullptr) fail("another value where a text belongs");
    return *found;
  }
  static std::int64_t number(Reference value) {
    const auto* found = std::get_if<std::int64_t>(&value->is);
    if (found == nullptr || *found < 0) fail("another value where a size belongs");
    return *found;
  }
  static std::vector<std::int64_t> sizes(Reference value) {
    if (items_of(value).size() > kMostDimensions) fail("a tensor of too many dimensions");
    std::vector<std::int64_t> all;
    for (const Reference item : items_of(value)) all.push_back(number(item));
    return all;
  }
  static const at::Tensor& tensor(Reference value) {
    const auto* found = std::get_if<at::Tensor>(&value->is);
    if (found == nullptr) fail("another value where a tensor belongs");
    return *found;
  }

  std::string_view program_;
  const ReadStorage& read_storage_;
  std::size_t at_ = 0;
  std::deque<Value> values_;  // every one that was made; none moves
  std::vector<Value*> stack_;
  std::vector<std::size_t> marks_;
  std::map<std::int64_t, Value*> memory_;
  std::map<std::string, at::Tensor> storages_;
  std::int64_t storage_bytes_ = 0;
  std::int64_t tensor_bytes_ = 0;
};

}  // namespace

std::map<std::string, at::Tensor> read_tensor_pickle(std::string_view pickle, const ReadStorage& read_storage) {
  Unpickler machine(pickle, read_storage);
  const Reference content = machine.run();
  const auto* dictionary = std::get_if<Dictionary>(&content->is);
  if (dictionary == nullptr) fail("something that is no dictionary");
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, value] : dictionary->items) {
    const auto* text = std::get_if<std::string>(&name->is);
    const auto* tensor = std::get_if<at::Tensor>(&value->is);
    if (text == nullptr) fail("a key that is no text");
    if (tensor == nullptr) fail(fmt::format("no tensor under {}", shown_json(*text)));
    tensors[*text] = *tensor;
  }
  return tensors;
}

}  // namespace dtrain::model
