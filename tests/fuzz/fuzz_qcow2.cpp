// A qcow2 image with bytes of it changed, read and written at any places: every error is one that is thrown. Without
// changes it must keep what is written.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "devices/block/open_image.h"
#include "monitor/cpu/fault.h"
#include "tests/block/test_qcow2.h"
#include "tests/fuzz/input.h"

namespace ring3::fuzz {
namespace {

constexpr unsigned kMostChanges = 32, kMostSteps = 64;
constexpr uint64_t kMostLooked = 1 << 20;  // of images whose header claims more

/// A file in memory.
class MemoryFile {
 public:
  explicit MemoryFile(const Bytes& bytes) : fd_(memfd_create("qcow2", MFD_CLOEXEC)) {
    Require(write(fd_, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()), "no memory file");
  }
  ~MemoryFile() { close(fd_); }
  std::string Path() const { return "/proc/self/fd/" + std::to_string(fd_); }
  void Truncate(uint64_t bytes) const { Require(ftruncate(fd_, static_cast<off_t>(bytes)) == 0, "ftruncate"); }

 private:
  int fd_;
};

Qcow2Shape TakeShape(Input& input) {
  Qcow2Shape shape;
  shape.version = input.Bit() ? 3 : 2;
  shape.cluster_bits = 9 + input.Below(4);
  if (shape.version == 3) shape.refcount_order = input.Below(7);
  shape.size_bytes = 512u * (1 + input.Below(400));
  return shape;
}

/// True when any byte was changed.
bool Change(Bytes& bytes, Input& input) {
  const unsigned changes = input.Below(kMostChanges);
  for (unsigned i = 0; i < changes; ++i) {
    const auto value = input.TakeBytes(1 + input.Below(8));
    const size_t at = input.Bit() ? input.Below(256) : input.Below(static_cast<uint32_t>(bytes.size()));
    for (size_t j = 0; j < value.size() && at + j < bytes.size(); ++j) bytes[at + j] = value[j];
  }
  return changes != 0;
}

void Step(Image& image, Input& input, Bytes& model, bool sound) {
  const uint64_t size = std::min<uint64_t>(image.SizeBytes(), kMostLooked);
  const uint64_t offset = input.Take<uint32_t>() % size;
  Bytes bytes(1 + input.Take<uint16_t>() % std::min<uint64_t>(size - offset, 20'000));
  const auto there = model.begin() + static_cast<ptrdiff_t>(offset);
  if (input.Bit()) {
    std::fill(bytes.begin(), bytes.end(), input.Byte());
    image.Write(offset, bytes);
    if (sound) std::copy(bytes.begin(), bytes.end(), there);
  } else {
    image.Read(offset, bytes);
    Require(!sound || std::equal(bytes.begin(), bytes.end(), there), "the image reads otherwise than it was written");
  }
}

}  // namespace

void Run(Input input) {
  Bytes bytes = EmptyQcow2(TakeShape(input));
  const bool sound = !Change(bytes, input);
  const MemoryFile file(bytes);
  const ImageSource source{.file = file.Path(), .format = ImageFormat::kQcow2, .read_only = !sound && input.Bit()};
  Bytes model(kMostLooked);
  const bool reopen = sound && input.Bit(), truncate = !sound && input.Bit();
  try {
    auto image = OpenImage(source);
    for (unsigned i = 0; i < kMostSteps && !input.Empty(); ++i) {
      try {
        Step(*image, input, model, sound);
      } catch (const ImageError&) {
        Require(!sound, "a sound image fails");
      }
      if (truncate && i == kMostSteps / 4) file.Truncate(bytes.size() / 2);
      if (!reopen || i != kMostSteps / 4) continue;
      image.reset();
      image = OpenImage(source);
    }
  } catch (const UsageError&) {
    Require(!sound, "a sound image is refused");
  }
}

}  // namespace ring3::fuzz
