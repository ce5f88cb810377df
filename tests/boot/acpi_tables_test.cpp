#include "monitor/boot/acpi_tables.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>
#include <string>

#include "devices/acpi_pm.h"
#include "devices/layout.h"
#include "monitor/boot/aml.h"

namespace ring3 {
namespace {

constexpr uint32_t kBase = 0xE0000;

struct Tables {
  Bytes block = BuildAcpiTables(kBase, {.ram_bytes = 128u << 20, .apic = true});

  std::span<const uint8_t> At(uint64_t address) const {
    REQUIRE(address >= kBase);
    REQUIRE(address + 8 <= kBase + block.size());
    const std::span<const uint8_t> rest = std::span(block).subspan(address - kBase);
    const uint32_t length = LoadField<uint32_t>(rest, 4);
    REQUIRE(length <= rest.size());
    return rest.first(length);
  }
  std::span<const uint8_t> Rsdp() const { return std::span(block).first(36); }
  std::span<const uint8_t> Xsdt() const { return At(LoadField<uint64_t>(Rsdp(), 24)); }
  std::span<const uint8_t> Fadt() const { return At(LoadField<uint64_t>(Xsdt(), 36)); }
  std::span<const uint8_t> Dsdt() const { return At(LoadField<uint64_t>(Fadt(), 140)); }
};

std::string Signature(std::span<const uint8_t> table) { return std::string(table.begin(), table.begin() + 4); }

uint8_t Sum(std::span<const uint8_t> bytes) {
  return static_cast<uint8_t>(std::accumulate(bytes.begin(), bytes.end(), 0u));
}

bool Contains(std::span<const uint8_t> table, const Bytes& term) {
  return std::search(table.begin(), table.end(), term.begin(), term.end()) != table.end();
}

}  // namespace

TEST_CASE("the RSDP has both checksums and points to both root tables") {
  const Tables tables;
  const auto rsdp = tables.Rsdp();
  CHECK(std::string(rsdp.begin(), rsdp.begin() + 8) == "RSD PTR ");
  CHECK(Sum(rsdp.first(20)) == 0);
  CHECK(Sum(rsdp) == 0);
  CHECK(rsdp[15] == 2);

  const auto rsdt = tables.At(LoadField<uint32_t>(rsdp, 16));
  CHECK(Signature(rsdt) == "RSDT");
  CHECK(rsdt.size() == 44);
  CHECK(Sum(rsdt) == 0);
  CHECK(Signature(tables.Xsdt()) == "XSDT");
  CHECK(tables.Xsdt().size() == 52);
  CHECK(Sum(tables.Xsdt()) == 0);
  CHECK(LoadField<uint32_t>(rsdt, 36) == LoadField<uint64_t>(tables.Xsdt(), 36));
}

TEST_CASE("the FADT names the fixed hardware") {
  const Tables tables;
  const auto fadt = tables.Fadt();
  CHECK(Signature(fadt) == "FACP");
  CHECK(fadt.size() == 244);
  CHECK(fadt[8] == 3);
  CHECK(Sum(fadt) == 0);
  CHECK(LoadField<uint16_t>(fadt, 46) == layout::kSciIrq);
  CHECK(LoadField<uint32_t>(fadt, 48) == layout::kSmiCommandPort);
  CHECK(fadt[52] == AcpiPm::kAcpiEnable);
  CHECK(fadt[53] == AcpiPm::kAcpiDisable);
  CHECK(LoadField<uint32_t>(fadt, 56) == layout::kPm1EventPort);
  CHECK(LoadField<uint32_t>(fadt, 64) == layout::kPm1ControlPort);
  CHECK(LoadField<uint32_t>(fadt, 76) == layout::kPmTimerPort);
  CHECK(fadt[88] == 4);
  CHECK(fadt[89] == 2);
  CHECK(fadt[91] == 4);
  CHECK((LoadField<uint32_t>(fadt, 112) & (1u << 8)) == 0);  // the timer has 24 bits
  // The generic addresses: system I/O, and the same ports.
  for (const auto& [generic, old] : {std::pair{148, 56}, {172, 64}, {208, 76}}) {
    CHECK(fadt[static_cast<size_t>(generic)] == 1);
    CHECK(LoadField<uint64_t>(fadt, static_cast<size_t>(generic) + 4) ==
          LoadField<uint32_t>(fadt, static_cast<size_t>(old)));
  }
  CHECK(LoadField<uint64_t>(fadt, 120) == layout::kResetControlPort);
}

TEST_CASE("the FACS is aligned to 64 bytes") {
  const Tables tables;
  const uint32_t facs = LoadField<uint32_t>(tables.Fadt(), 36);
  CHECK(facs % 64 == 0);
  CHECK(Signature(tables.At(facs)) == "FACS");
  CHECK(tables.At(facs).size() == 64);
}

TEST_CASE("the DSDT describes the devices and soft-off") {
  const Tables tables;
  const auto dsdt = tables.Dsdt();
  CHECK(Signature(dsdt) == "DSDT");
  CHECK(Sum(dsdt) == 0);
  CHECK(LoadField<uint32_t>(tables.Fadt(), 40) == LoadField<uint64_t>(tables.Fadt(), 140));
  const Bytes type = aml::Integer(AcpiPm::kSleepTypeS5);
  CHECK(Contains(dsdt, aml::Name("\\_S5", aml::Package({type, type, aml::Integer(0), aml::Integer(0)}))));
  for (const char* id : {"PNP0A03", "PNP0B00", "PNP0303", "PNP0F13", "PNP0501"}) {
    INFO(id);
    CHECK(Contains(dsdt, aml::Name("_HID", aml::EisaId(id))));
  }
  // INTA# of slot 3 is PIRQC#; the power management function has the SCI's line.
  CHECK(Contains(dsdt, aml::Package({aml::Integer(0x3FFFF), aml::Integer(0), aml::Integer(0), aml::Integer(11)})));
  CHECK(Contains(dsdt, aml::Package({aml::Integer(0x1FFFF), aml::Integer(0), aml::Integer(0), aml::Integer(9)})));
  // PCI memory begins where RAM ends.
  CHECK(Contains(dsdt, aml::MemoryWindow(128u << 20, kPciMemoryEnd - 1)));
}

TEST_CASE("the tables are where systems look for them") {
  PhysicalMemory memory(2u << 20);
  const GuestPhysical rsdp = WriteAcpiTables(memory, {.apic = true});
  CHECK(rsdp.value >= 0xE0000);
  CHECK(rsdp.value % 16 == 0);
  const Bytes expected =
      BuildAcpiTables(static_cast<uint32_t>(rsdp.value), {.ram_bytes = memory.RamBytes(), .apic = true});
  CHECK(rsdp.value + expected.size() <= 0x100000);
  CHECK(std::equal(expected.begin(), expected.end(), memory.Flat(rsdp)));
}

}  // namespace ring3
