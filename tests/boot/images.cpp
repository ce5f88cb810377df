#include "tests/boot/images.h"

#include <algorithm>
#include <numeric>

namespace ring3 {
namespace {

constexpr uint32_t kMultibootMagic = 0x1BADB002;
constexpr size_t kElfHeader = 52, kProgramHeader = 32;

}  // namespace

Bytes MakeBzImage(const BzImageFields& fields) {
  const size_t payload = (fields.setup_sectors + 1u) * 512;
  Bytes file(payload + fields.payload_bytes);
  std::iota(file.begin() + static_cast<ptrdiff_t>(payload), file.end(), uint8_t{1});
  file[0x1F1] = fields.setup_sectors;
  StoreField<uint32_t>(file, 0x1F4, static_cast<uint32_t>((fields.payload_bytes + 15) / 16));
  StoreField<uint16_t>(file, 0x1FE, 0xAA55);
  StoreField<uint16_t>(file, 0x200, 0x66EB);  // jmp over the header, which ends at 0x268
  std::copy_n("HdrS", 4, file.begin() + 0x202);
  StoreField<uint16_t>(file, 0x206, fields.version);
  file[0x211] = fields.load_flags;
  StoreField<uint32_t>(file, 0x214, fields.code32_start);
  StoreField<uint32_t>(file, 0x22C, fields.max_initrd);
  StoreField<uint32_t>(file, 0x230, 0x1000);  // kernel_alignment: a field the loader only hands on
  StoreField<uint16_t>(file, 0x236, fields.xload_flags);
  StoreField<uint32_t>(file, 0x238, fields.command_line_size);
  StoreField<uint64_t>(file, 0x258, fields.preferred_address);
  StoreField<uint32_t>(file, 0x260, fields.init_size);
  return file;
}

Bytes MultibootHeader(uint32_t flags) {
  Bytes header;
  AppendField<uint32_t>(header, kMultibootMagic);
  AppendField<uint32_t>(header, flags);
  AppendField<uint32_t>(header, static_cast<uint32_t>(-(kMultibootMagic + flags)));
  return header;
}

Bytes MakeMultibootElf(uint32_t flags, uint32_t entry, const std::vector<ElfSegment>& segments) {
  Bytes file(kElfHeader);
  std::copy_n(
      "\x7F"
      "ELF\x01\x01\x01",
      7, file.begin());
  StoreField<uint16_t>(file, 16, 2);  // executable
  StoreField<uint16_t>(file, 18, 3);  // i386
  StoreField<uint32_t>(file, 24, entry);
  StoreField<uint32_t>(file, 28, kElfHeader);
  StoreField<uint16_t>(file, 42, kProgramHeader);
  StoreField<uint16_t>(file, 44, static_cast<uint16_t>(segments.size()));

  size_t offset = kElfHeader + kProgramHeader * segments.size() + MultibootHeader(flags).size();
  for (const ElfSegment& segment : segments) {
    for (const size_t field :
         {size_t{1} /* PT_LOAD */, offset, size_t{segment.virtual_address}, size_t{segment.physical_address},
          segment.content.size(), size_t{segment.memory_size}, size_t{7} /* rwx */, size_t{4} /* alignment */}) {
      AppendField<uint32_t>(file, static_cast<uint32_t>(field));
    }
    offset += segment.content.size();
  }
  AppendBytes(file, MultibootHeader(flags));
  for (const ElfSegment& segment : segments) AppendBytes(file, segment.content);
  return file;
}

std::string UsageMessage(const std::function<void()>& run) {
  try {
    run();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "(no error)";
}

Bytes GuestBytes(const PhysicalMemory& memory, uint64_t address, size_t size) {
  const uint8_t* first = memory.Flat(GuestPhysical(address));
  return Bytes(first, first + size);
}

std::string GuestString(const PhysicalMemory& memory, uint64_t address) {
  return reinterpret_cast<const char*>(memory.Flat(GuestPhysical(address)));
}

}  // namespace ring3
