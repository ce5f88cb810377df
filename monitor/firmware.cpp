#include "monitor/firmware.h"

#include <fmt/core.h>
#include <unistd.h>

#include <cstring>

#include "devices/fw_cfg.h"
#include "monitor/boot/acpi_tables.h"
#include "monitor/boot/bios.h"
#include "monitor/boot/memory_map.h"
#include "monitor/boot/smbios_tables.h"
#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

constexpr char kSeaBios[] = "/usr/share/seabios/bios-256k.bin";
constexpr char kAcpiRsdp[] = "etc/acpi/rsdp", kAcpiTables[] = "etc/acpi/tables";

// Commands of the table loader: firmware places files, writes their addresses into each other, and makes checksums.
constexpr uint32_t kAllocate = 1, kAddPointer = 2, kAddChecksum = 3;
constexpr uint8_t kHighMemoryZone = 1, kFirstMebibyteZone = 2;
constexpr size_t kLoaderEntryBytes = 128, kFileNameBytes = 56;
constexpr uint32_t kTableAlignment = 64, kRsdpAlignment = 16;

// CMOS: what to boot from, a nibble each.
constexpr uint8_t kCmosBootThird = 0x38, kCmosBootFirst = 0x3D;
constexpr uint8_t kSkipFloppySignature = 0x01;

class LoaderScript {
 public:
  void Allocate(const char* file, uint32_t alignment, uint8_t zone) {
    Bytes& entry = Add(kAllocate);
    Name(entry, file);
    AppendField<uint32_t>(entry, alignment);
    entry.push_back(zone);
  }
  void AddPointer(const char* in, const char* to, uint32_t offset, uint8_t bytes) {
    Bytes& entry = Add(kAddPointer);
    Name(entry, in);
    Name(entry, to);
    AppendField<uint32_t>(entry, offset);
    entry.push_back(bytes);
  }
  void AddChecksum(const char* in, uint32_t offset, uint32_t start, uint32_t bytes) {
    Bytes& entry = Add(kAddChecksum);
    Name(entry, in);
    for (const uint32_t field : {offset, start, bytes}) AppendField<uint32_t>(entry, field);
  }
  const Bytes& Content() {
    script_.resize(AlignUp(script_.size(), kLoaderEntryBytes));
    return script_;
  }

 private:
  Bytes& Add(uint32_t command) {
    script_.resize(AlignUp(script_.size(), kLoaderEntryBytes));
    AppendField<uint32_t>(script_, command);
    return script_;
  }
  static void Name(Bytes& entry, const char* name) {
    const size_t start = entry.size();
    entry.resize(start + kFileNameBytes);
    std::memcpy(entry.data() + start, name, std::strlen(name));
  }
  Bytes script_;
};

Bytes LoaderFor(const AcpiImage& image) {
  LoaderScript script;
  const auto file = [](bool in_rsdp) { return in_rsdp ? kAcpiRsdp : kAcpiTables; };
  script.Allocate(kAcpiRsdp, kRsdpAlignment, kFirstMebibyteZone);
  script.Allocate(kAcpiTables, kTableAlignment, kHighMemoryZone);
  for (const AcpiImage::Pointer& pointer : image.pointers) {
    script.AddPointer(file(pointer.in_rsdp), kAcpiTables, pointer.offset, pointer.bytes);
  }
  for (const AcpiImage::Checksum& sum : image.checksums) {
    script.AddChecksum(file(sum.in_rsdp), sum.offset, sum.start, sum.bytes);
  }
  return script.Content();
}

/// Only RAM; what else there is, firmware knows.
Bytes MemoryMapFile(uint64_t ram_bytes) {
  Bytes file;
  AppendField<uint64_t>(file, 0);
  AppendField<uint64_t>(file, ram_bytes);
  AppendField<uint32_t>(file, static_cast<uint32_t>(MemoryType::kUsable));
  return file;
}

/// The number that CMOS has for a letter of --boot.
uint8_t BootDevice(char letter) {
  switch (letter) {
    case 'a':
      return 1;
    case 'c':
      return 2;
    case 'd':
      return 3;
    default:
      return 4;  // n
  }
}

void DescribeBoot(FwCfg& config, const BootMenuOptions& boot, const BootOrder& order) {
  if (const Bytes file = order.File(boot.strict); !file.empty()) config.SetFile("bootorder", file);
  if (boot.menu_wait_ms) {
    Bytes file;
    AppendField<uint16_t>(file, *boot.menu_wait_ms);
    config.SetFile("etc/boot-menu-wait", file);
  }
  if (boot.retry_ms) {
    Bytes file;
    AppendField<uint32_t>(file, *boot.retry_ms);
    config.SetFile("etc/boot-fail-wait", file);
  }
}

}  // namespace

Bytes ReadFirmware(const Options& options) {
  if (!options.UsesFirmware()) return {};
  if (!options.bios.empty()) return ReadBios(options.bios);
  if (access(kSeaBios, R_OK) != 0) {
    throw UsageError(
        fmt::format("no firmware to boot with: {} is not there; apt-get install seabios, or name a ROM "
                    "image with --bios",
                    kSeaBios));
  }
  return ReadBios(kSeaBios);
}

void StoreBootLetters(Rtc146818& rtc, const std::string& letters) {
  const auto device = [&](size_t place) {
    return static_cast<uint8_t>(place < letters.size() ? BootDevice(letters[place]) : 0);
  };
  rtc.SetCmos(kCmosBootFirst, static_cast<uint8_t>(device(1) << 4 | device(0)));
  rtc.SetCmos(kCmosBootThird, static_cast<uint8_t>(device(2) << 4 | kSkipFloppySignature));
}

AcpiMachine AcpiMachineOf(Board& board, const Options& options) {
  return {.ram_bytes = options.memory_bytes,
          .apic = board.Apic() != nullptr,
          .hpet = board.HasHpet(),
          .serial_ports = board.SerialPorts()};
}

void DescribeMachine(Board& board, const Options& options, const BootOrder& order) {
  FwCfg& config = *board.Config();
  config.SetNumber(FwCfg::kRamBytes, options.memory_bytes, 8);
  config.SetNumber(FwCfg::kCpuCount, 1, 2);
  config.SetNumber(FwCfg::kMostCpus, 1, 2);
  config.SetNumber(FwCfg::kBootMenu, options.boot.menu ? 1 : 0, 2);
  config.SetNumber(FwCfg::kNoGraphics, options.nographic ? 1 : 0, 2);
  // For the MP table that SeaBIOS makes.
  Bytes timer_at_input_2;
  AppendField<uint64_t>(timer_at_input_2, 1);
  config.SetFile("etc/irq0-override", timer_at_input_2);
  config.SetFile("etc/e820", MemoryMapFile(options.memory_bytes));
  // Firmware chooses where the power management registers go before it asks for the tables.
  const auto image = [&board, before = AcpiMachineOf(board, options)] {
    AcpiMachine machine = before;
    if (const std::optional<uint16_t> base = board.PowerManagement().Base()) machine.pm_base = *base;
    return BuildAcpiImage(machine);
  };
  config.SetFile(kAcpiRsdp, [image] { return image().rsdp; });
  config.SetFile(kAcpiTables, [image] { return image().tables; });
  config.SetFile("etc/table-loader", LoaderFor(image()));
  const SmbiosImage smbios = BuildSmbios(options.memory_bytes);
  config.SetFile("etc/smbios/smbios-anchor", smbios.anchor);
  config.SetFile("etc/smbios/smbios-tables", smbios.tables);
  DescribeBoot(config, options.boot, order);
  StoreBootLetters(board.Rtc(), options.boot.once.empty() ? options.boot.order : options.boot.once);
}

}  // namespace ring3
