#include "monitor/boot/linux_boot.h"

#include <algorithm>
#include <cstring>

#include "monitor/boot/flat_mode.h"
#include "monitor/boot/memory_map.h"
#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

// struct boot_params ("zero page") and the setup header in it; offsets in the header are file offsets too.
namespace zero_page {
constexpr size_t kAcpiRsdpAddress = 0x070, kE820Entries = 0x1E8, kE820Table = 0x2D0;
constexpr size_t kE820EntrySize = 20;
constexpr size_t kVideoMode = 0x06, kVideoColumns = 0x07, kVideoLines = 0x0E, kVideoIsVga = 0x0F, kVideoPoints = 0x10;
constexpr size_t kSetupHeaderEnd = 0x290;  // room that the page keeps for the header
}  // namespace zero_page

namespace header {
constexpr size_t kStart = 0x1F1, kSetupSectors = 0x1F1, kSystemSize = 0x1F4, kVideoMode = 0x1FA, kBootFlag = 0x1FE,
                 kJumpOffset = 0x201, kMagic = 0x202, kVersion = 0x206, kLoaderType = 0x210, kLoadFlags = 0x211,
                 kCode32Start = 0x214, kRamdiskImage = 0x218, kRamdiskSize = 0x21C, kCommandLine = 0x228,
                 kMaxInitrd = 0x22C, kXLoadFlags = 0x236, kCommandLineSize = 0x238, kPreferredAddress = 0x258,
                 kInitSize = 0x260;
constexpr uint16_t kBootSignature = 0xAA55;
constexpr uint8_t kLoadedHigh = 1u << 0, kCanUseHeap = 1u << 7;  // loadflags
constexpr uint16_t kXlfKernel64 = 1u << 0;                       // xloadflags
constexpr uint8_t kUnknownLoader = 0xFF;
constexpr uint16_t kNormalVideo = 0xFFFF;
}  // namespace header

constexpr size_t kSector = 512;
constexpr uint8_t kDefaultSetupSectors = 4;
constexpr uint32_t kDefaultMaxInitrd = 0x37FF'FFFF;
constexpr uint32_t kDefaultCommandLineMax = 255;
// Protocol versions that brought a field.
constexpr uint16_t kFirstWithCommandLinePointer = 0x0202, kFirstWithMaxInitrd = 0x0203,
                   kFirstWithLongSystemSize = 0x0204, kFirstWithCommandLineSize = 0x0206, kFirstWithInitSize = 0x020A,
                   kFirstWithXLoadFlags = 0x020C;

[[noreturn]] void Refuse(const NamedImage& image, const std::string& why) {
  throw UsageError("kernel " + image.name + " " + why);
}

std::string MebibytesFor(uint64_t bytes) { return std::to_string(AlignUp(bytes, 1 << 20) >> 20) + " MiB"; }

// The header must be in the file as far as its version says it goes.
size_t HeaderEndNeeded(uint16_t version) {
  if (version >= kFirstWithInitSize) return header::kInitSize + sizeof(uint32_t);
  if (version >= kFirstWithCommandLineSize) return header::kCommandLineSize + sizeof(uint32_t);
  return header::kMaxInitrd + sizeof(uint32_t);
}

void CheckBootable(const NamedImage& kernel, uint16_t version) {
  if (version < kFirstWithCommandLinePointer) Refuse(kernel, "uses a Linux boot protocol older than 2.02");
  if (kernel.bytes.size() < HeaderEndNeeded(version)) Refuse(kernel, "is truncated inside its setup header");
  if (version >= kFirstWithXLoadFlags &&
      (LoadField<uint16_t>(kernel.bytes, header::kXLoadFlags) & header::kXlfKernel64)) {
    Refuse(kernel, "is 64-bit; ring3 runs 32-bit guests");
  }
  if (!(kernel.bytes[header::kLoadFlags] & header::kLoadedHigh)) {
    Refuse(kernel, "is a zImage, which loads below 1 MiB; ring3 boots bzImages");
  }
}

// Bytes of protected-mode code the header announces.
uint64_t AnnouncedPayload(const NamedImage& kernel, uint16_t version) {
  const uint64_t paragraphs = version >= kFirstWithLongSystemSize
                                  ? LoadField<uint32_t>(kernel.bytes, header::kSystemSize)
                                  : LoadField<uint16_t>(kernel.bytes, header::kSystemSize);
  return paragraphs * 16;
}

uint64_t MemoryEnd(const NamedImage& kernel, const BzImage& image) {
  const uint64_t payload = kernel.bytes.size() - image.payload_offset;
  const uint64_t loaded_end = image.load_address + payload;
  if (image.version < kFirstWithInitSize) return loaded_end;
  // A kernel that finds itself below its preferred address moves there before it unpacks.
  const uint64_t preferred = LoadField<uint64_t>(kernel.bytes, header::kPreferredAddress);
  const uint64_t start = std::max<uint64_t>(image.load_address, std::min<uint64_t>(preferred, UINT32_MAX));
  return std::max(loaded_end, start + LoadField<uint32_t>(kernel.bytes, header::kInitSize));
}

void PlaceKernel(const NamedImage& kernel, const BzImage& image, PhysicalMemory& memory) {
  const std::span<const uint8_t> payload = kernel.bytes.subspan(image.payload_offset);
  if (image.load_address < boot_layout::kHighMemory) Refuse(kernel, "asks to be loaded below 1 MiB");
  if (image.memory_end > memory.RamBytes()) {
    Refuse(kernel, "needs at least " + MebibytesFor(image.memory_end) + " of memory; the guest has " +
                       MebibytesFor(memory.RamBytes()));
  }
  std::memcpy(memory.Flat(GuestPhysical(image.load_address)), payload.data(), payload.size());
}

// As high as the kernel can reach, out of the way of its unpacking. Returns its address.
uint32_t PlaceInitrd(const LinuxBoot& boot, const BzImage& image, PhysicalMemory& memory) {
  const uint64_t size = boot.initrd.bytes.size();
  if (size == 0) return 0;
  const uint64_t top = std::min<uint64_t>(memory.RamBytes(), uint64_t{image.max_initrd} + 1);
  const uint64_t floor = AlignUp(image.memory_end, kPageSize);
  const uint64_t start = size <= top ? AlignDown(top - size, kPageSize) : 0;
  if (start < floor) {
    throw UsageError("initrd " + boot.initrd.name + " (" + std::to_string(size) + " bytes) does not fit: " +
                     std::to_string(top > floor ? top - floor : 0) + " bytes of memory are left beside the kernel");
  }
  std::memcpy(memory.Flat(GuestPhysical(start)), boot.initrd.bytes.data(), size);
  return static_cast<uint32_t>(start);
}

void PlaceCommandLine(const LinuxBoot& boot, const BzImage& image, PhysicalMemory& memory) {
  const uint64_t room = boot_layout::kLowMemoryEnd - boot_layout::kLinuxCommandLine - 1;
  const uint64_t limit = std::min<uint64_t>(image.command_line_max, room);
  if (boot.command_line.size() > limit) {
    throw UsageError("command line is too long: " + std::to_string(boot.command_line.size()) + " characters, kernel " +
                     boot.kernel.name + " takes " + std::to_string(limit));
  }
  std::memcpy(memory.Flat(GuestPhysical(boot_layout::kLinuxCommandLine)), boot.command_line.c_str(),
              boot.command_line.size() + 1);
}

void WriteMemoryMap(std::span<uint8_t> page, uint64_t ram_bytes) {
  const std::vector<MemoryRegion> map = BuildMemoryMap(ram_bytes);
  page[zero_page::kE820Entries] = static_cast<uint8_t>(map.size());
  size_t offset = zero_page::kE820Table;
  for (const MemoryRegion& region : map) {
    StoreField<uint64_t>(page, offset, region.base);
    StoreField<uint64_t>(page, offset + 8, region.bytes);
    StoreField<uint32_t>(page, offset + 16, static_cast<uint32_t>(region.type));
    offset += zero_page::kE820EntrySize;
  }
}

/// struct screen_info: BIOS text mode 3 with an empty screen. Left zero, it says that there is no video adapter.
void WriteScreenInfo(std::span<uint8_t> page) {
  constexpr uint8_t kTextMode = 3, kColumns = 80, kLines = 25, kGlyphLines = 16, kIsVga = 1;
  page[zero_page::kVideoMode] = kTextMode;
  page[zero_page::kVideoColumns] = kColumns;
  page[zero_page::kVideoLines] = kLines;
  page[zero_page::kVideoIsVga] = kIsVga;
  StoreField<uint16_t>(page, zero_page::kVideoPoints, kGlyphLines);
}

// All else in the page stays zero.
void WriteZeroPage(const LinuxBoot& boot, const BzImage& image, uint32_t initrd, PhysicalMemory& memory) {
  const std::span<uint8_t> page(memory.Flat(GuestPhysical(boot_layout::kLinuxZeroPage)), kPageSize);
  std::fill(page.begin(), page.end(), 0);
  std::copy(boot.kernel.bytes.begin() + header::kStart,
            boot.kernel.bytes.begin() + static_cast<ptrdiff_t>(image.header_end), page.begin() + header::kStart);

  StoreField<uint16_t>(page, header::kVideoMode, header::kNormalVideo);
  page[header::kLoaderType] = header::kUnknownLoader;
  page[header::kLoadFlags] &= static_cast<uint8_t>(~header::kCanUseHeap);
  StoreField<uint32_t>(page, header::kCode32Start, image.load_address);
  StoreField<uint32_t>(page, header::kRamdiskImage, initrd);
  StoreField<uint32_t>(page, header::kRamdiskSize, static_cast<uint32_t>(boot.initrd.bytes.size()));
  StoreField<uint32_t>(page, header::kCommandLine, static_cast<uint32_t>(boot_layout::kLinuxCommandLine));
  // Kernels before protocol 2.14 ignore this field and search the BIOS area.
  StoreField<uint64_t>(page, zero_page::kAcpiRsdpAddress, boot.acpi_rsdp.value);
  if (boot.vga_text) WriteScreenInfo(page);
  WriteMemoryMap(page, memory.RamBytes());
}

}  // namespace

bool IsBzImage(std::span<const uint8_t> file) {
  return file.size() >= header::kVersion + sizeof(uint16_t) &&
         LoadField<uint16_t>(file, header::kBootFlag) == header::kBootSignature &&
         std::memcmp(file.data() + header::kMagic, "HdrS", 4) == 0;
}

BzImage ParseBzImage(const NamedImage& kernel) {
  const std::span<const uint8_t> file = kernel.bytes;
  if (!IsBzImage(file)) Refuse(kernel, "is not a bzImage");

  BzImage image{};
  image.version = LoadField<uint16_t>(file, header::kVersion);
  CheckBootable(kernel, image.version);

  const uint8_t setup_sectors = file[header::kSetupSectors] ? file[header::kSetupSectors] : kDefaultSetupSectors;
  image.payload_offset = (setup_sectors + size_t{1}) * kSector;
  // The jump at the header's start leads over it.
  image.header_end = std::min(header::kMagic + file[header::kJumpOffset], zero_page::kSetupHeaderEnd);
  if (file.size() <= image.payload_offset || file.size() < image.header_end) Refuse(kernel, "is truncated");
  // The announced size is rounded up to paragraphs of 16 bytes.
  const uint64_t announced = AnnouncedPayload(kernel, image.version);
  if (file.size() - image.payload_offset + 15 < announced) {
    Refuse(kernel, "is truncated: " + std::to_string(file.size()) + " bytes of " +
                       std::to_string(image.payload_offset + announced));
  }

  image.load_address = LoadField<uint32_t>(file, header::kCode32Start);
  image.max_initrd =
      image.version >= kFirstWithMaxInitrd ? LoadField<uint32_t>(file, header::kMaxInitrd) : kDefaultMaxInitrd;
  image.command_line_max = image.version >= kFirstWithCommandLineSize
                               ? LoadField<uint32_t>(file, header::kCommandLineSize)
                               : kDefaultCommandLineMax;
  image.memory_end = MemoryEnd(kernel, image);
  return image;
}

void LoadLinux(const LinuxBoot& boot, PhysicalMemory& memory, CpuState& cpu) {
  const BzImage image = ParseBzImage(boot.kernel);
  PlaceKernel(boot.kernel, image, memory);
  const uint32_t initrd = PlaceInitrd(boot, image, memory);
  PlaceCommandLine(boot, image, memory);
  WriteZeroPage(boot, image, initrd, memory);

  const std::array<uint64_t, 4> descriptors = FlatDescriptors();
  const GuestPhysical gdt(boot_layout::kLinuxGdt);
  std::memcpy(memory.Flat(gdt), descriptors.data(), sizeof descriptors);
  EnterFlatMode(cpu, gdt, image.load_address);
  cpu.gpr[kEsi] = static_cast<uint32_t>(boot_layout::kLinuxZeroPage);
}

}  // namespace ring3
