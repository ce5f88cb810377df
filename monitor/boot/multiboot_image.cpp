#include "monitor/boot/multiboot_image.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

// Multiboot specification 0.6.96, section 3.1.
namespace header {
constexpr uint32_t kMagic = 0x1BADB002;
constexpr size_t kSearchBytes = 8192, kAlignment = 4;
constexpr size_t kFlags = 4, kChecksum = 8, kHeaderAddress = 12, kLoadAddress = 16, kLoadEnd = 20, kBssEnd = 24,
                 kEntry = 28;
constexpr size_t kBaseSize = 12, kSizeWithAddresses = 32;
// Flags 0..15 are demands: a loader must refuse those that it does not know.
constexpr uint32_t kPageAlign = 1u << 0, kMemoryInfo = 1u << 1, kVideoMode = 1u << 2, kAddresses = 1u << 16;
// A demand for a video mode is heard and not met: the information structure says that there is none.
constexpr uint32_t kUnknownDemands = 0xFFFF & ~(kPageAlign | kMemoryInfo | kVideoMode);
}  // namespace header

// ELF32 file header and program header.
namespace elf {
constexpr uint8_t kMagic[4] = {0x7F, 'E', 'L', 'F'};
constexpr size_t kClass = 4, kData = 5, kMachine = 18, kEntry = 24, kProgramOffset = 28, kProgramEntrySize = 42,
                 kProgramCount = 44, kHeaderSize = 52;
constexpr uint8_t kClass32 = 1, kClass64 = 2, kLittleEndian = 1;
constexpr uint16_t kMachine386 = 3;
constexpr size_t kType = 0, kOffset = 4, kVirtual = 8, kPhysical = 12, kFileSize = 16, kMemorySize = 20,
                 kProgramHeaderSize = 32;
constexpr uint32_t kLoad = 1;
}  // namespace elf

[[noreturn]] void Refuse(const NamedImage& kernel, const std::string& why) {
  throw UsageError("kernel " + kernel.name + " " + why);
}

std::optional<size_t> FindHeader(std::span<const uint8_t> file) {
  const size_t end = std::min(file.size(), header::kSearchBytes);
  for (size_t offset = 0; offset + header::kBaseSize <= end; offset += header::kAlignment) {
    if (LoadField<uint32_t>(file, offset) != header::kMagic) continue;
    const uint32_t flags = LoadField<uint32_t>(file, offset + header::kFlags);
    const uint32_t checksum = LoadField<uint32_t>(file, offset + header::kChecksum);
    if (static_cast<uint32_t>(header::kMagic + flags + checksum) == 0) return offset;
  }
  return std::nullopt;
}

// The "a.out kludge": the header itself says what to load where.
void ReadAddressFields(const NamedImage& kernel, size_t at, MultibootImage& image) {
  const std::span<const uint8_t> file = kernel.bytes;
  if (file.size() - at < header::kSizeWithAddresses) Refuse(kernel, "is truncated inside its Multiboot header");
  const uint32_t header_address = LoadField<uint32_t>(file, at + header::kHeaderAddress);
  const uint32_t load_address = LoadField<uint32_t>(file, at + header::kLoadAddress);
  const uint32_t load_end = LoadField<uint32_t>(file, at + header::kLoadEnd);
  const uint32_t bss_end = LoadField<uint32_t>(file, at + header::kBssEnd);
  image.entry = LoadField<uint32_t>(file, at + header::kEntry);

  if (header_address < load_address || header_address - load_address > at) {
    Refuse(kernel, "has contradictory addresses in its Multiboot header");
  }
  const size_t first = at - (header_address - load_address);
  const uint64_t end = load_end ? load_end : load_address + uint64_t{file.size() - first};
  if (end < load_address || (bss_end && bss_end < end)) {
    Refuse(kernel, "has contradictory addresses in its Multiboot header");
  }
  const uint64_t loaded = end - load_address;
  if (loaded > file.size() - first) Refuse(kernel, "is truncated: its Multiboot header promises more bytes");
  image.segments.push_back({load_address, file.subspan(first, loaded), (bss_end ? bss_end : end) - load_address});
}

void CheckElf(const NamedImage& kernel) {
  const std::span<const uint8_t> file = kernel.bytes;
  if (file.size() < elf::kHeaderSize || std::memcmp(file.data(), elf::kMagic, sizeof elf::kMagic) != 0) {
    Refuse(kernel, "has a Multiboot header but is neither ELF nor has load addresses");
  }
  if (file[elf::kClass] == elf::kClass64) Refuse(kernel, "is 64-bit; ring3 runs 32-bit guests");
  if (file[elf::kClass] != elf::kClass32 || file[elf::kData] != elf::kLittleEndian ||
      LoadField<uint16_t>(file, elf::kMachine) != elf::kMachine386) {
    Refuse(kernel, "is an ELF file for another machine than i386");
  }
  if (LoadField<uint16_t>(file, elf::kProgramEntrySize) < elf::kProgramHeaderSize) {
    Refuse(kernel, "has malformed ELF program headers");
  }
}

void ReadElf(const NamedImage& kernel, MultibootImage& image) {
  CheckElf(kernel);
  const std::span<const uint8_t> file = kernel.bytes;
  const uint64_t table = LoadField<uint32_t>(file, elf::kProgramOffset);
  const uint64_t entry_size = LoadField<uint16_t>(file, elf::kProgramEntrySize);
  const uint64_t count = LoadField<uint16_t>(file, elf::kProgramCount);
  if (table + entry_size * count > file.size()) Refuse(kernel, "is truncated inside its ELF program headers");

  const uint32_t entry = LoadField<uint32_t>(file, elf::kEntry);
  image.entry = entry;
  for (uint64_t i = 0; i < count; ++i) {
    const std::span<const uint8_t> row = file.subspan(table + i * entry_size, elf::kProgramHeaderSize);
    const uint64_t memory_size = LoadField<uint32_t>(row, elf::kMemorySize);
    if (LoadField<uint32_t>(row, elf::kType) != elf::kLoad || memory_size == 0) continue;
    const uint64_t offset = LoadField<uint32_t>(row, elf::kOffset);
    const uint64_t file_size = LoadField<uint32_t>(row, elf::kFileSize);
    const uint32_t physical = LoadField<uint32_t>(row, elf::kPhysical);
    const uint32_t virtual_address = LoadField<uint32_t>(row, elf::kVirtual);
    if (file_size > memory_size) Refuse(kernel, "has an ELF segment larger in the file than in memory");
    if (offset + file_size > file.size()) Refuse(kernel, "is truncated: an ELF segment ends behind the file");
    image.segments.push_back({physical, file.subspan(offset, file_size), memory_size});
    // Kernels linked high name their entry by its virtual address; paging is off when they are entered.
    if (entry >= virtual_address && entry - virtual_address < memory_size) {
      image.entry = physical + (entry - virtual_address);
    }
  }
}

void SortAndCheckSegments(const NamedImage& kernel, std::vector<MultibootSegment>& segments) {
  std::erase_if(segments, [](const MultibootSegment& segment) { return segment.memory_bytes == 0; });
  if (segments.empty()) Refuse(kernel, "has nothing to load");
  std::sort(segments.begin(), segments.end(),
            [](const MultibootSegment& a, const MultibootSegment& b) { return a.address < b.address; });
  for (size_t i = 1; i < segments.size(); ++i) {
    if (segments[i].address < segments[i - 1].End()) Refuse(kernel, "has overlapping segments");
  }
}

}  // namespace

bool IsMultiboot(std::span<const uint8_t> file) { return FindHeader(file).has_value(); }

MultibootImage ParseMultiboot(const NamedImage& kernel) {
  const std::optional<size_t> at = FindHeader(kernel.bytes);
  if (!at) Refuse(kernel, "has no Multiboot header");
  const uint32_t flags = LoadField<uint32_t>(kernel.bytes, *at + header::kFlags);
  if (flags & header::kUnknownDemands) Refuse(kernel, "demands Multiboot features that ring3 does not have");

  MultibootImage image{};
  image.page_align_modules = flags & header::kPageAlign;
  if (flags & header::kAddresses) {
    ReadAddressFields(kernel, *at, image);
  } else {
    ReadElf(kernel, image);
  }
  SortAndCheckSegments(kernel, image.segments);
  const bool entry_loaded = std::any_of(image.segments.begin(), image.segments.end(), [&](const MultibootSegment& s) {
    return image.entry >= s.address && image.entry < s.End();
  });
  if (!entry_loaded) Refuse(kernel, "has its entry in none of its segments");
  return image;
}

}  // namespace ring3
