// MTRRs, PAT and machine check MSRs: which models have them, what they refuse.
#include "tests/cpu/guest.h"

namespace ring3::test {

TEST_CASE("MTRRs hold what is valid and refuse the rest") {
  struct Row {
    uint32_t msr;
    uint64_t good, bad;
  };
  const Row rows[] = {
      {0x2FF, 0xC06, 0xC02},                                  // a reserved type
      {0x2FF, 0, 0x100},                                      // a reserved bit
      {0x200, 0xF'FFFF'F001, 0x10'0000'0000},                 // beyond the physical address
      {0x20E, 5, 7},                                          // UC- is for PAT only
      {0x200, 6, 0x106},                                      //
      {0x201, 0xF'8000'0800, 0x10'0000'0800},                 //
      {0x20F, 0xF'FFFF'F800, 0xF'FFFF'FC00},                  //
      {0x250, 0x0606'0505'0404'0100, 0x0606'0606'0606'0206},  //
      {0x26F, 0, 0x0700'0000'0000'0000},                      //
  };
  Guest guest;
  for (const Row& row : rows) {
    INFO(std::hex << row.msr << " := " << row.bad);
    WriteMsr(guest.cpu, row.msr, row.good);
    CHECK(ReadMsr(guest.cpu, row.msr) == row.good);
    CHECK_FAULT(guest, Gp(), WriteMsr(guest.cpu, row.msr, row.bad));
  }
  CHECK(ReadMsr(guest.cpu, 0xFE) == 0x508);
  CHECK_FAULT(guest, Gp(), WriteMsr(guest.cpu, 0xFE, 0x508));
  for (const uint32_t absent : {0x1FFu, 0x210u, 0x24Fu, 0x251u, 0x257u, 0x25Au, 0x267u, 0x270u, 0x2FEu, 0x300u}) {
    CHECK_FAULT(guest, Gp(), ReadMsr(guest.cpu, absent));
  }
}

TEST_CASE("each range register has its own storage") {
  Guest guest;
  std::vector<uint32_t> all{0x250, 0x258, 0x259, 0x2FF};
  for (uint32_t i = 0x268; i <= 0x26F; ++i) all.push_back(i);
  for (uint32_t i = 0x200; i <= 0x20F; ++i) all.push_back(i);
  for (const uint32_t msr : all) {
    for (const uint32_t other : all) WriteMsr(guest.cpu, other, 0);
    WriteMsr(guest.cpu, msr, msr >= 0x200 && msr < 0x210 && msr % 2 ? 0x800 : 6);
    for (const uint32_t other : all) CHECK((ReadMsr(guest.cpu, other) != 0) == (other == msr));
  }
}

TEST_CASE("machine check MSRs") {
  Guest guest;
  CHECK(ReadMsr(guest.cpu, 0x179) == 0);  // no banks
  WriteMsr(guest.cpu, 0x17A, 7);
  CHECK(ReadMsr(guest.cpu, 0x17A) == 7);
  CHECK_FAULT(guest, Gp(), WriteMsr(guest.cpu, 0x17A, 8));
  CHECK_FAULT(guest, Gp(), WriteMsr(guest.cpu, 0x179, 0));
  CHECK(ReadMsr(guest.cpu, 0) == 0);
  CHECK(ReadMsr(guest.cpu, 1) == 0);
}

TEST_CASE("an MSR exists exactly where CPUID says so") {
  using namespace cpuid_edx;
  struct Row {
    uint32_t msr, feature;
  };
  for (const CpuModel& model : CpuModels()) {
    Guest guest(model.name.c_str());
    for (const Row& row : {Row{0x10, kTsc}, Row{0x1B, kApic}, Row{0xFE, kMtrr}, Row{0x200, kMtrr}, Row{0x2FF, kMtrr},
                           Row{0x277, kPat}, Row{0x174, kSep}, Row{0x179, kMca}, Row{0x17A, kMca}, Row{0, kMce}}) {
      INFO(model.name << " " << std::hex << row.msr);
      const std::string absent = model.Has(kMsr) ? Gp() : Fault(Vector::kInvalidOpcode);
      CHECK(FaultOf([&] { ReadMsr(guest.cpu, row.msr); }) == (model.Has(row.feature) ? "none" : absent));
    }
  }
}

TEST_CASE("the Pentium's APIC has no base register") {
  for (const char* name : {"pentium", "pentium3"}) {
    Guest guest(name);
    CpuModel model = guest.cpu.model;
    model.features_edx |= cpuid_edx::kApic;
    const Cpu cpu{guest.cpu.state, model, guest.cpu.memory, guest.cpu.mmu, guest.cpu.ports};
    CHECK(FaultOf([&] { ReadMsr(cpu, 0x1B); }) == (model.Family() >= 6 ? "none" : Gp()));
  }
}

}  // namespace ring3::test
