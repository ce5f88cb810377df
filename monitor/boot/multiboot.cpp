#include "monitor/boot/multiboot.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "monitor/boot/flat_mode.h"
#include "monitor/boot/memory_map.h"
#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

// The information structure (specification section 3.3) and what hangs off it.
namespace info {
constexpr uint32_t kHasMemory = 1u << 0, kHasCommandLine = 1u << 2, kHasModules = 1u << 3, kHasMemoryMap = 1u << 6,
                   kHasLoaderName = 1u << 9;
constexpr size_t kFlags = 0, kMemoryLower = 4, kMemoryUpper = 8, kCommandLine = 16, kModuleCount = 20,
                 kModuleTable = 24, kMapLength = 44, kMapAddress = 48, kLoaderName = 64, kSize = 116;
constexpr size_t kMapEntrySize = 24;
}  // namespace info

constexpr char kLoaderName[] = "ring3";

struct PlacedModule {
  uint32_t start, end, command_line;
};

void PlaceSegments(const MultibootBoot& boot, const MultibootImage& image, const std::vector<MemoryRegion>& map,
                   PhysicalMemory& memory) {
  for (const MultibootSegment& segment : image.segments) {
    if (!IsUsable(map, segment.address, segment.memory_bytes)) {
      char range[48];
      std::snprintf(range, sizeof range, "[%#llx, %#llx)", static_cast<unsigned long long>(segment.address),
                    static_cast<unsigned long long>(segment.End()));
      throw UsageError("kernel " + boot.kernel.name + " wants to be loaded at " + range +
                       ", which is outside the guest's memory");
    }
    uint8_t* target = memory.Flat(GuestPhysical(segment.address));
    std::memcpy(target, segment.bytes.data(), segment.bytes.size());
    std::memset(target + segment.bytes.size(), 0, segment.memory_bytes - segment.bytes.size());
  }
}

// Modules follow the kernel in high memory, each on a page of its own.
std::vector<PlacedModule> PlaceModules(const MultibootBoot& boot, const MultibootImage& image, PhysicalMemory& memory) {
  uint64_t next = std::max(image.segments.back().End(), boot_layout::kHighMemory);
  std::vector<PlacedModule> placed;
  for (const MultibootModule& module : boot.modules) {
    next = AlignUp(next, kPageSize);
    const uint64_t size = module.image.bytes.size();
    if (next > memory.RamBytes() || size > memory.RamBytes() - next) {
      throw UsageError("initrd " + module.image.name + " (" + std::to_string(size) +
                       " bytes) does not fit into the guest's memory behind the kernel");
    }
    std::memcpy(memory.Flat(GuestPhysical(next)), module.image.bytes.data(), size);
    placed.push_back({static_cast<uint32_t>(next), static_cast<uint32_t>(next + size), 0});
    next += size;
  }
  return placed;
}

// Everything the kernel is told, as one block: descriptors, information structure, tables, strings. Pointers are
// resolved against `base`, where the block will lie.
class BootData {
 public:
  explicit BootData(uint64_t base) : base_(base) {}

  uint32_t InfoAddress() const { return Here(kInfoOffset); }
  const Bytes& Content() const { return bytes_; }

  void Build(const MultibootBoot& boot, std::vector<PlacedModule> modules, const std::vector<MemoryRegion>& map,
             uint64_t ram_bytes) {
    for (const uint64_t descriptor : FlatDescriptors()) AppendField<uint64_t>(bytes_, descriptor);
    bytes_.resize(kInfoOffset + info::kSize);
    SetInfo(info::kFlags,
            info::kHasMemory | info::kHasCommandLine | info::kHasModules | info::kHasMemoryMap | info::kHasLoaderName);
    SetInfo(info::kMemoryLower, static_cast<uint32_t>(boot_layout::kLowMemoryEnd >> 10));
    SetInfo(info::kMemoryUpper, static_cast<uint32_t>((ram_bytes - boot_layout::kHighMemory) >> 10));
    AppendMemoryMap(map);
    SetInfo(info::kLoaderName, AppendText(kLoaderName));
    SetInfo(info::kCommandLine, AppendText(boot.command_line));
    for (size_t i = 0; i < modules.size(); ++i) {
      modules[i].command_line = AppendText(boot.modules[i].command_line);
    }
    AppendModules(modules);
  }

 private:
  static constexpr size_t kInfoOffset = sizeof(decltype(FlatDescriptors()));

  uint32_t Here(size_t offset) const { return static_cast<uint32_t>(base_ + offset); }
  void SetInfo(size_t field, uint32_t value) { StoreField<uint32_t>(bytes_, kInfoOffset + field, value); }

  uint32_t AppendText(const std::string& text) {
    const uint32_t address = Here(bytes_.size());
    AppendCString(bytes_, text);
    return address;
  }

  void AppendMemoryMap(const std::vector<MemoryRegion>& map) {
    SetInfo(info::kMapAddress, Here(bytes_.size()));
    SetInfo(info::kMapLength, static_cast<uint32_t>(map.size() * info::kMapEntrySize));
    for (const MemoryRegion& region : map) {
      // An entry's size field does not count itself.
      AppendField<uint32_t>(bytes_, info::kMapEntrySize - sizeof(uint32_t));
      AppendField<uint64_t>(bytes_, region.base);
      AppendField<uint64_t>(bytes_, region.bytes);
      AppendField<uint32_t>(bytes_, static_cast<uint32_t>(region.type));
    }
  }

  void AppendModules(const std::vector<PlacedModule>& modules) {
    bytes_.resize(AlignUp(bytes_.size(), sizeof(uint32_t)));
    SetInfo(info::kModuleCount, static_cast<uint32_t>(modules.size()));
    SetInfo(info::kModuleTable, Here(bytes_.size()));
    for (const PlacedModule& module : modules) {
      AppendField<uint32_t>(bytes_, module.start);
      AppendField<uint32_t>(bytes_, module.end);
      AppendField<uint32_t>(bytes_, module.command_line);
      AppendField<uint32_t>(bytes_, 0);
    }
  }

  uint64_t base_;
  Bytes bytes_;
};

// The first pages of conventional memory that hold `size` bytes without touching a segment.
uint64_t FindLowGap(const MultibootBoot& boot, const MultibootImage& image, uint64_t size) {
  uint64_t start = boot_layout::kMultibootDataFloor;
  for (const MultibootSegment& segment : image.segments) {
    if (segment.address >= start + size) break;
    start = std::max(start, AlignUp(segment.End(), kPageSize));
  }
  if (start + size > boot_layout::kLowMemoryEnd) {
    throw UsageError("kernel " + boot.kernel.name + " leaves no conventional memory for the boot information (" +
                     std::to_string(size) + " bytes)");
  }
  return start;
}

}  // namespace

void LoadMultiboot(const MultibootBoot& boot, PhysicalMemory& memory, CpuState& cpu) {
  const MultibootImage image = ParseMultiboot(boot.kernel);
  const std::vector<MemoryRegion> map = BuildMemoryMap(memory.RamBytes());
  PlaceSegments(boot, image, map, memory);
  const std::vector<PlacedModule> modules = PlaceModules(boot, image, memory);

  // The block's size does not depend on where it lies.
  BootData draft(0);
  draft.Build(boot, modules, map, memory.RamBytes());
  const uint64_t base = FindLowGap(boot, image, draft.Content().size());
  BootData data(base);
  data.Build(boot, modules, map, memory.RamBytes());
  std::memcpy(memory.Flat(GuestPhysical(base)), data.Content().data(), data.Content().size());

  EnterFlatMode(cpu, GuestPhysical(base), image.entry);
  cpu.gpr[kEax] = kMultibootLoaderMagic;
  cpu.gpr[kEbx] = data.InfoAddress();
}

}  // namespace ring3
