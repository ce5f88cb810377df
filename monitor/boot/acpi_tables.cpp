#include "monitor/boot/acpi_tables.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "devices/acpi_pm.h"
#include "devices/hpet.h"
#include "devices/io_apic.h"
#include "devices/layout.h"
#include "devices/local_apic.h"
#include "devices/pci_bus.h"
#include "monitor/boot/aml.h"
#include "monitor/boot/memory_map.h"

namespace ring3 {
namespace {

constexpr char kOemId[] = "RING3 ";
constexpr char kOemTableId[] = "RING3PC ";
constexpr size_t kHeaderSize = 36;  // System Description Table Header, ACPI 3.0 5.2.6
constexpr size_t kLengthOffset = 4, kChecksumOffset = 9;

constexpr size_t kRsdpSize = 36, kRsdpChecksumOffset = 8, kRsdpOldSize = 20, kRsdpExtendedChecksumOffset = 32,
                 kRsdpRsdtOffset = 16, kRsdpXsdtOffset = 24;
constexpr size_t kFacsSize = 64, kFacsAlignment = 64;

// Fixed ACPI Description Table revision 3, ACPI 3.0 5.2.9.
namespace fadt {
constexpr uint8_t kRevision = 3;
constexpr size_t kSize = 244;
constexpr size_t kFacs = 36, kDsdt = 40, kSciInterrupt = 46, kSmiCommand = 48, kAcpiEnable = 52, kAcpiDisable = 53,
                 kPm1aEvent = 56, kPm1aControl = 64, kPmTimer = 76, kPm1EventLength = 88, kPm1ControlLength = 89,
                 kPmTimerLength = 91, kC2Latency = 96, kC3Latency = 98, kCentury = 108, kBootFlags = 109, kFlags = 112,
                 kResetRegister = 116, kResetValue = 128, kXDsdt = 140, kXPm1aEvent = 148, kXPm1aControl = 172,
                 kXPmTimer = 208;
// Flags, table 5-10. TMR_VAL_EXT stays clear (a 24-bit timer), and so does PWR_BUTTON (a fixed power button).
constexpr uint32_t kWbinvd = 1u << 0, kProcC1 = 1u << 2, kNoFixedSleepButton = 1u << 5,
                   kResetRegisterSupported = 1u << 10;
// IA-PC boot architecture flags, table 5-11.
constexpr uint16_t kLegacyDevices = 1u << 0, kKeyboardController = 1u << 1, kNoVga = 1u << 2;
constexpr uint16_t kNoC2 = 101, kNoC3 = 1001;  // latencies, microseconds: larger than these limits means unsupported
constexpr uint8_t kRtcCenturyIndex = 0x32;
constexpr uint8_t kResetCommand = 0x06;  // reset control register: system reset, reset CPU
}  // namespace fadt

// Generic Address Structure, ACPI 3.0 5.2.3.1.
constexpr uint8_t kSystemIo = 1;

uint8_t Checksum(std::span<const uint8_t> bytes) {
  return static_cast<uint8_t>(-std::accumulate(bytes.begin(), bytes.end(), 0u));
}

void StoreText(Bytes& table, size_t offset, const char* text, size_t length) {
  std::memcpy(table.data() + offset, text, length);
}

Bytes NewTable(const char* signature, uint8_t revision, size_t size) {
  Bytes table(size);
  StoreText(table, 0, signature, 4);
  table[8] = revision;
  StoreText(table, 10, kOemId, 6);
  StoreText(table, 16, kOemTableId, 8);
  StoreField<uint32_t>(table, 24, 1);  // OEM revision
  StoreText(table, 28, "RNG3", 4);     // creator
  StoreField<uint32_t>(table, 32, 1);
  return table;
}

// Fills in length and checksum once the table is complete.
void Seal(Bytes& table) {
  StoreField<uint32_t>(table, kLengthOffset, static_cast<uint32_t>(table.size()));
  table[kChecksumOffset] = 0;
  table[kChecksumOffset] = Checksum(table);
}

// The line that each pin of each slot is wired to (_PRT, ACPI 3.0 6.2.12): as a BIOS routes PIRQA# to PIRQD#.
Bytes BuildPciRouting() {
  using namespace aml;
  constexpr unsigned kSlots = 32, kPins = 4;
  std::vector<Bytes> routes;
  for (unsigned slot = 1; slot < kSlots; ++slot) {
    for (unsigned pin = 0; pin < kPins; ++pin) {
      const unsigned pirq = PciBus::PirqOf(slot, pin + 1);
      unsigned irq = pirq < 2 ? layout::kFirstPciIrq : layout::kSecondPciIrq;
      if (slot == layout::kSouthBridgeSlot && pin == 0) irq = layout::kSciIrq;  // the power management function's own
      routes.push_back(Package({Integer(slot << 16 | 0xFFFF), Integer(pin), Integer(0), Integer(irq)}));
    }
  }
  return Name("_PRT", Package(routes));
}

Bytes BuildPciHostBridge(uint64_t ram_bytes) {
  using namespace aml;
  const auto first_free = static_cast<uint32_t>(std::max(ram_bytes, boot_layout::kHighMemory));
  return Device(
      "PCI0",
      {
          Name("_HID", EisaId("PNP0A03")),
          Name("_UID", Integer(0)),
          Name("_BBN", Integer(0)),
          Name("_CRS", ResourceTemplate({
                           BusNumbers(0, 0),
                           IoPorts(layout::kPciAddressPort, layout::kPciAddressPortCount + layout::kPciDataPortCount),
                           PortWindow(0, layout::kPciAddressPort - 1),
                           PortWindow(layout::kPciDataPort + layout::kPciDataPortCount, UINT16_MAX),
                           MemoryWindow(boot_layout::kVideoArea, 0xBFFFF),
                           MemoryWindow(first_free, kPciMemoryEnd - 1),
                       })),
          BuildPciRouting(),
      });
}

Bytes BuildIsaDevice(std::string_view name, std::string_view id, std::initializer_list<Bytes> resources) {
  using namespace aml;
  return Device(name, {Name("_HID", EisaId(id)), Name("_CRS", ResourceTemplate(resources))});
}

// The serial ports' devices, COM1 to COM4.
Bytes BuildSerialPorts(unsigned ports) {
  using namespace layout;
  constexpr const char* kNames[] = {"COM1", "COM2", "COM3", "COM4"};
  Bytes devices;
  for (unsigned port = 0; port < std::size(kNames); ++port) {
    if (!(ports >> port & 1)) continue;
    const unsigned irq = port % 2 == 0 ? kFirstSerialIrq : kSecondSerialIrq;
    AppendBytes(
        devices,
        aml::Device(kNames[port],
                    {aml::Name("_HID", aml::EisaId("PNP0501")), aml::Name("_UID", aml::Integer(port + 1)),
                     aml::Name("_CRS", aml::ResourceTemplate({aml::IoPorts(kSerialPortAt[port], kSerialPortCount),
                                                              aml::IsaInterrupt(irq)}))}));
  }
  return devices;
}

Bytes BuildDsdt(const AcpiMachine& machine) {
  using namespace aml;
  using namespace layout;
  Bytes table = NewTable("DSDT", 2, kHeaderSize);
  const Bytes sleep = Integer(AcpiPm::kSleepTypeS5);
  AppendBytes(table, Name("\\_S5", Package({sleep, sleep, Integer(0), Integer(0)})));
  AppendBytes(
      table,
      Scope("\\_SB", {
                         BuildPciHostBridge(machine.ram_bytes),
                         BuildIsaDevice("RTC0", "PNP0B00", {IoPorts(kRtcPort, kRtcPortCount), IsaInterrupt(kRtcIrq)}),
                         BuildIsaDevice("KBD0", "PNP0303",
                                        {IoPorts(kKeyboardDataPort, 1), IoPorts(kKeyboardCommandPort, 1),
                                         IsaInterrupt(kKeyboardIrq)}),
                         BuildIsaDevice("MOU0", "PNP0F13", {IsaInterrupt(kMouseIrq)}),
                         BuildSerialPorts(machine.serial_ports),
                     }));
  Seal(table);
  return table;
}

// One fixed register block: its port in the old 32-bit field and as a Generic Address Structure.
void StoreGenericPort(Bytes& table, size_t offset, uint16_t port, unsigned bytes) {
  table[offset] = kSystemIo;
  table[offset + 1] = static_cast<uint8_t>(bytes * 8);
  StoreField<uint64_t>(table, offset + 4, port);
}

void StorePortBlock(Bytes& table, size_t old_field, size_t length_field, size_t generic_field, uint16_t port,
                    unsigned bytes) {
  StoreField<uint32_t>(table, old_field, port);
  table[length_field] = static_cast<uint8_t>(bytes);
  StoreGenericPort(table, generic_field, port, bytes);
}

Bytes BuildFadt(uint32_t facs, uint32_t dsdt, uint16_t pm_base) {
  using namespace fadt;
  using namespace layout;
  Bytes table = NewTable("FACP", kRevision, kSize);
  StoreField<uint32_t>(table, kFacs, facs);
  StoreField<uint32_t>(table, kDsdt, dsdt);
  StoreField<uint64_t>(table, kXDsdt, dsdt);
  StoreField<uint16_t>(table, kSciInterrupt, kSciIrq);
  StoreField<uint32_t>(table, kSmiCommand, kSmiCommandPort);
  table[kAcpiEnable] = AcpiPm::kAcpiEnable;
  table[kAcpiDisable] = AcpiPm::kAcpiDisable;
  StorePortBlock(table, kPm1aEvent, fadt::kPm1EventLength, kXPm1aEvent, pm_base, layout::kPm1EventLength);
  StorePortBlock(table, kPm1aControl, fadt::kPm1ControlLength, kXPm1aControl,
                 static_cast<uint16_t>(pm_base + AcpiPm::kPm1ControlOffset), layout::kPm1ControlLength);
  StorePortBlock(table, kPmTimer, fadt::kPmTimerLength, kXPmTimer,
                 static_cast<uint16_t>(pm_base + AcpiPm::kTimerOffset), layout::kPmTimerLength);
  StoreField<uint16_t>(table, kC2Latency, kNoC2);
  StoreField<uint16_t>(table, kC3Latency, kNoC3);
  table[kCentury] = kRtcCenturyIndex;
  StoreField<uint16_t>(table, kBootFlags, kLegacyDevices | kKeyboardController | kNoVga);
  StoreField<uint32_t>(table, kFlags, kWbinvd | kProcC1 | kNoFixedSleepButton | kResetRegisterSupported);
  StoreGenericPort(table, kResetRegister, kResetControlPort, 1);
  table[kResetValue] = kResetCommand;
  Seal(table);
  return table;
}

// The FACS has no checksum and no common header.
Bytes BuildFacs() {
  Bytes table(kFacsSize);
  StoreText(table, 0, "FACS", 4);
  StoreField<uint32_t>(table, kLengthOffset, kFacsSize);
  table[32] = 1;  // version
  return table;
}

// Multiple APIC Description Table, ACPI 3.0 5.2.11: one processor, one I/O APIC for all lines, ISA's line 0 at its
// input 2, and lines that are level-triggered though ISA's usually are not.
Bytes BuildMadt() {
  constexpr uint8_t kRevision = 3;
  constexpr uint32_t kHas8259s = 1, kProcessorEnabled = 1;
  constexpr uint16_t kAsTheBusHasIt = 0x0, kActiveHighLevel = 0xD;
  constexpr uint8_t kProcessorApic = 0, kIoApicEntry = 1, kOverride = 2, kLocalNmi = 4, kAllProcessors = 0xFF,
                    kLint1 = 1;
  Bytes table = NewTable("APIC", kRevision, kHeaderSize);
  AppendField<uint32_t>(table, LocalApic::kAddress);
  AppendField<uint32_t>(table, kHas8259s);
  AppendBytes(table, Bytes{kProcessorApic, 8, 0, 0});
  AppendField<uint32_t>(table, kProcessorEnabled);
  AppendBytes(table, Bytes{kIoApicEntry, 12, IoApic::kId, 0});
  AppendField<uint32_t>(table, IoApic::kAddress);
  AppendField<uint32_t>(table, 0);  // its first line
  const auto add_override = [&table](unsigned source, unsigned line, uint16_t flags) {
    AppendBytes(table, Bytes{kOverride, 10, 0, static_cast<uint8_t>(source)});
    AppendField<uint32_t>(table, line);
    AppendField<uint16_t>(table, flags);
  };
  add_override(layout::kPitIrq, 2, kAsTheBusHasIt);
  for (const unsigned line : {layout::kSciIrq, layout::kFirstPciIrq, layout::kSecondPciIrq}) {
    add_override(line, line, kActiveHighLevel);
  }
  AppendBytes(table, Bytes{kLocalNmi, 6, kAllProcessors, 0, 0, kLint1});
  Seal(table);
  return table;
}

// IA-PC HPET specification, 3.2.4.
Bytes BuildHpetTable() {
  constexpr uint8_t kSystemMemory = 0, kPageProtected = 1;
  constexpr uint16_t kLeastTicks = 100;
  Bytes table = NewTable("HPET", 1, kHeaderSize);
  AppendField<uint32_t>(table, Hpet::kIdentity);
  AppendBytes(table, Bytes{kSystemMemory, 0, 0, 0});
  AppendField<uint64_t>(table, Hpet::kAddress);
  table.push_back(0);  // the first one
  AppendField<uint16_t>(table, kLeastTicks);
  table.push_back(kPageProtected);
  Seal(table);
  return table;
}

// RSDT and XSDT differ in the width of their pointers.
template <class Pointer>
Bytes BuildRootTable(const char* signature, std::span<const uint32_t> addresses) {
  Bytes table = NewTable(signature, 1, kHeaderSize);
  for (const uint32_t address : addresses) AppendField<Pointer>(table, address);
  Seal(table);
  return table;
}

Bytes BuildRsdp(uint32_t rsdt, uint32_t xsdt) {
  Bytes table(kRsdpSize);
  StoreText(table, 0, "RSD PTR ", 8);
  StoreText(table, 9, kOemId, 6);
  table[15] = 2;  // revision: ACPI 2.0 and later
  StoreField<uint32_t>(table, kRsdpRsdtOffset, rsdt);
  StoreField<uint32_t>(table, 20, kRsdpSize);
  StoreField<uint64_t>(table, kRsdpXsdtOffset, xsdt);
  table[kRsdpChecksumOffset] = Checksum(std::span(table).first(kRsdpOldSize));
  table[kRsdpExtendedChecksumOffset] = Checksum(table);
  return table;
}

}  // namespace

AcpiImage BuildAcpiImage(const AcpiMachine& machine) {
  AcpiImage image;
  const auto place = [&](const Bytes& table) {
    image.tables.resize(AlignUp(image.tables.size(), kFacsAlignment));
    const auto offset = static_cast<uint32_t>(image.tables.size());
    AppendBytes(image.tables, table);
    return offset;
  };
  const auto place_summed = [&](const Bytes& table, const std::vector<AcpiImage::Pointer>& pointers) {
    const uint32_t offset = place(table);
    for (AcpiImage::Pointer pointer : pointers) {
      pointer.offset += offset;
      image.pointers.push_back(pointer);
    }
    const auto bytes = static_cast<uint32_t>(table.size());
    image.checksums.push_back({false, offset + static_cast<uint32_t>(kChecksumOffset), offset, bytes});
    return offset;
  };
  const uint32_t facs = place(BuildFacs());
  const uint32_t dsdt = place_summed(BuildDsdt(machine), {});
  const uint32_t fadt_offset =
      place_summed(BuildFadt(facs, dsdt, machine.pm_base),
                   {{false, fadt::kFacs, 4}, {false, fadt::kDsdt, 4}, {false, fadt::kXDsdt, 8}});
  std::vector<uint32_t> all = {fadt_offset};
  if (machine.apic) all.push_back(place_summed(BuildMadt(), {}));
  if (machine.hpet) all.push_back(place_summed(BuildHpetTable(), {}));
  const auto place_root = [&](const Bytes& table, uint8_t pointer_bytes) {
    std::vector<AcpiImage::Pointer> pointers;
    for (size_t i = 0; i < all.size(); ++i) {
      pointers.push_back({false, static_cast<uint32_t>(kHeaderSize + i * pointer_bytes), pointer_bytes});
    }
    return place_summed(table, pointers);
  };
  const uint32_t rsdt = place_root(BuildRootTable<uint32_t>("RSDT", all), 4);
  const uint32_t xsdt = place_root(BuildRootTable<uint64_t>("XSDT", all), 8);
  image.rsdp = BuildRsdp(rsdt, xsdt);
  image.pointers.push_back({true, kRsdpRsdtOffset, 4});
  image.pointers.push_back({true, kRsdpXsdtOffset, 8});
  image.checksums.push_back({true, kRsdpChecksumOffset, 0, kRsdpOldSize});
  image.checksums.push_back({true, kRsdpExtendedChecksumOffset, 0, kRsdpSize});
  return image;
}

Bytes BuildAcpiTables(uint32_t base, const AcpiMachine& machine) {
  AcpiImage image = BuildAcpiImage(machine);
  const auto tables_offset = static_cast<uint32_t>(AlignUp(image.rsdp.size(), kFacsAlignment));
  const auto part = [&](bool in_rsdp) -> Bytes& { return in_rsdp ? image.rsdp : image.tables; };
  for (const AcpiImage::Pointer& pointer : image.pointers) {
    // The upper half of a pointer of 8 bytes is zero.
    const auto offset = LoadField<uint32_t>(part(pointer.in_rsdp), pointer.offset);
    StoreField<uint32_t>(part(pointer.in_rsdp), pointer.offset, base + tables_offset + offset);
  }
  for (const AcpiImage::Checksum& sum : image.checksums) {
    Bytes& bytes = part(sum.in_rsdp);
    bytes[sum.offset] = 0;
    bytes[sum.offset] = Checksum(std::span(bytes).subspan(sum.start, sum.bytes));
  }
  Bytes block = image.rsdp;
  block.resize(tables_offset);
  AppendBytes(block, image.tables);
  return block;
}

GuestPhysical WriteAcpiTables(PhysicalMemory& memory, AcpiMachine machine) {
  const GuestPhysical base(boot_layout::kAcpiTables);
  machine.ram_bytes = memory.RamBytes();
  const Bytes tables = BuildAcpiTables(static_cast<uint32_t>(base.value), machine);
  std::memcpy(memory.Flat(base), tables.data(), tables.size());
  return base;
}

}  // namespace ring3
