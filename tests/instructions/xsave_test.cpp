// XSAVE, XSAVEOPT, XSAVEC and XRSTOR against the processor, faults included; XGETBV and XSETBV by the manual.
#include <catch2/catch.hpp>
#include <cstring>

#include "tests/instructions/trials.h"

using namespace ring3;

namespace {

constexpr uint32_t kArea = guest::kData + 0x1000;
constexpr unsigned kMxcsrMask = 28, kHeader = 512, kCompaction = kHeader + 8;

bool HasXsave() { return FindCpuModel("max").Xcr0Supported(); }

/// Code put together from pieces; EBX holds the area's address.
struct Code {
  Bytes bytes;

  Code& Add(std::initializer_list<uint8_t> more) {
    bytes.insert(bytes.end(), more);
    return *this;
  }
  Code& Dword(uint32_t value) {
    for (unsigned i = 0; i < 4; ++i) bytes.push_back(static_cast<uint8_t>(value >> 8 * i));
    return *this;
  }
  Code& Store(uint32_t offset, uint32_t value) { return Add({0xC7, 0x83}).Dword(offset).Dword(value); }
  Code& Store64(uint32_t offset, uint64_t value) {
    return Store(offset, static_cast<uint32_t>(value)).Store(offset + 4, static_cast<uint32_t>(value >> 32));
  }
  Code& ClearHeader() {
    for (unsigned at = 0; at < 64; at += 4) Store(kHeader + at, 0);
    return *this;
  }
  /// EDX:EAX
  Code& Mask(uint32_t mask) { return Add({0xB8}).Dword(mask).Add({0x31, 0xD2}); }
  Code& Xsave() { return Add({0x0F, 0xAE, 0x23}).Store(kMxcsrMask, 0); }
  Code& Xsaveopt() { return Add({0x0F, 0xAE, 0x33}).Store(kMxcsrMask, 0); }
  Code& Xsavec() { return Add({0x0F, 0xC7, 0x23}).Store(kMxcsrMask, 0); }
  Code& Xrstor() { return Add({0x0F, 0xAE, 0x2B}); }
  Code& ClobberVectors() { return Add({0xC5, 0xFC, 0x77}); }  // vzeroall
  Code& ClearUpperHalves() { return Add({0xC5, 0xF8, 0x77}); }
};

struct XsaveTrials : Trials {
  XsaveTrials() {
    seeds = 2;
    adjust = [](Program& p) {
      p.gpr[kEbx] = kArea;
      p.fxsave[2] = p.fxsave[3] = 0;  // no x87 exception, whose pointers the processor would save
    };
  }
};

}  // namespace

TEST_CASE("XSAVE, XSAVEOPT and XSAVEC write what the processor writes") {
  if (!HasXsave()) return;
  XsaveTrials trials;
  for (uint32_t mask = 0; mask < 8; ++mask) {
    for (bool upper_clear : {false, true}) {
      const auto begin = [&] {
        Code code;
        if (upper_clear) code.ClearUpperHalves();
        return code.Mask(mask);
      };
      trials.TryBytes("xsave", begin().Xsave().bytes, Reference::kBoth);
      trials.TryBytes("xsave over a clear header", Code().ClearHeader().Mask(mask).Xsave().bytes, Reference::kBoth);
      trials.TryBytes("xsaveopt", begin().Xsaveopt().bytes, Reference::kBoth);
      trials.TryBytes("xsavec", begin().Xsavec().bytes, Reference::kBoth);
    }
  }
  trials.Report(200);
}

TEST_CASE("XRSTOR loads, initializes and leaves alone as the processor does") {
  if (!HasXsave()) return;
  XsaveTrials trials;
  trials.seeds = 1;
  for (uint32_t mask = 0; mask < 8; ++mask) {
    for (uint32_t present = 0; present < 8; ++present) {
      const auto saved = [] { return Code().ClearHeader().Mask(7).Xsave().ClobberVectors(); };
      trials.TryBytes("standard", saved().Store(kHeader, present).Mask(mask).Xrstor().bytes, Reference::kBoth);
      for (uint32_t format : {present, 7u}) {
        const Code code = saved().Store(kHeader, present).Store64(kCompaction, uint64_t{1} << 63 | format);
        trials.TryBytes("compacted", Code(code).Mask(mask).Xrstor().bytes, Reference::kBoth);
      }
      Code round = Code().ClearHeader().Mask(mask).Xsavec().ClobberVectors().Mask(present).Xrstor();
      trials.TryBytes("xsavec and back", round.bytes, Reference::kBoth);
    }
  }
  trials.Report(500);
}

TEST_CASE("XRSTOR refuses the headers that the processor refuses") {
  if (!HasXsave()) return;
  XsaveTrials trials;
  trials.seeds = 1;
  constexpr uint64_t kCompacted = uint64_t{1} << 63, kForeign = uint64_t{1} << 62;
  const auto saved = [] { return Code().ClearHeader().Mask(7).Xsave(); };
  for (uint64_t present : {uint64_t{0}, uint64_t{7}, uint64_t{8}, kForeign, kCompacted}) {
    for (uint64_t format :
         {uint64_t{0}, uint64_t{7}, kCompacted | 7, kCompacted | 3, kCompacted | kForeign, kCompacted}) {
      for (uint32_t reserved : {0, 16, 20, 24, 60}) {
        Code code = saved().Store64(kHeader, present).Store64(kCompaction, format);
        if (reserved) code.Store(kHeader + reserved, 0x0100);
        trials.TryBytes("header", code.Mask(7).Xrstor().bytes, Reference::kBoth);
      }
    }
  }
  for (uint32_t mask = 0; mask < 8; ++mask) {
    trials.TryBytes("mxcsr", saved().Store(24, 0x8000'0000).Mask(mask).Xrstor().bytes, Reference::kBoth);
    trials.TryBytes("mxcsr, not present", saved().Store(24, 0x8000'0000).Store(kHeader, 0).Mask(mask).Xrstor().bytes,
                    Reference::kBoth);
  }
  trials.Report(300);
}

TEST_CASE("XSAVE areas: alignment, page faults and prefixes") {
  if (!HasXsave()) return;
  XsaveTrials trials;
  for (uint32_t address : {kArea + 8, kArea + 32, guest::kData + guest::kDataBytes - 576,
                           guest::kData + guest::kDataBytes - 64, guest::kCode, 0x0900'0000u}) {
    trials.adjust = [=](Program& p) { p.gpr[kEbx] = address; };
    for (uint32_t mask : {0u, 3u, 7u}) {
      trials.TryBytes("xsave", Code().Mask(mask).Xsave().bytes, Reference::kNative, {.fault_address = true});
      trials.TryBytes("xrstor", Code().Mask(mask).Xrstor().bytes, Reference::kNative, {.fault_address = true});
    }
  }
  trials.adjust = [](Program& p) { p.gpr[kEbx] = kArea; };
  for (uint8_t prefix : {0xF0, 0x66, 0xF2, 0xF3}) {
    for (const Bytes& code : {Bytes{0x0F, 0xAE, 0x2B}, {0x0F, 0xAE, 0x23}, {0x0F, 0xC7, 0x23}, {0x0F, 0x01, 0xD0}}) {
      Bytes prefixed = {prefix};
      prefixed.insert(prefixed.end(), code.begin(), code.end());
      if (prefix == 0x66 && code[1] == 0xAE) continue;  // CLWB and its kin, which our models lack
      if (prefix == 0xF3 && code[1] == 0xAE) continue;  // PTWRITE, RSTORSSP
      trials.TryBytes("prefix", prefixed, Reference::kBoth);
    }
  }
  trials.Report(100);
}

TEST_CASE("XSETBV accepts what there is, in ring 0 alone") {
  if (!HasXsave()) return;
  struct Case {
    uint32_t eax, edx, ecx;
    unsigned vector;
  };
  const uint32_t all = FindCpuModel("max").Xcr0Supported();
  const Case cases[] = {{1, 0, 0, 3},  {3, 0, 0, 3},  {all, 0, 0, 3}, {0, 0, 0, 13}, {2, 0, 0, 13},
                        {5, 0, 0, 13}, {9, 0, 0, 13}, {3, 1, 0, 13},  {3, 0, 1, 13}, {0xE7, 0, 0, 13}};
  for (bool interpreter : {false, true}) {
    TestMachine machine({.interpreter = interpreter});
    for (const Case& c : cases) {
      for (unsigned cpl : {0u, 3u}) {
        Program program = MakeProgram({0x0F, 0x01, 0xD1}, 1, cpl);
        program.gpr[kEax] = c.eax;
        program.gpr[kEdx] = c.edx;
        program.gpr[kEcx] = c.ecx;
        Load(machine, program);
        const Outcome out = machine.Run();
        CHECK(out.vector == (cpl == 0 ? c.vector : 13u));
        CHECK(machine.State().xcr0 == (out.vector == 3u ? c.eax : all));
      }
    }
    Load(machine, MakeProgram({0x0F, 0x01, 0xD1}, 1, 0));
    machine.State().cr4 &= ~cr4::kOsxsave;
    CHECK(machine.Run().vector == 6u);
  }
}

TEST_CASE("XGETBV reports XCR0 and what is in use") {
  if (!HasXsave()) return;
  const uint32_t all = FindCpuModel("max").Xcr0Supported();
  TestMachine machine;
  const auto read = [&](uint32_t index, Bytes before) {
    before.insert(before.end(), {0x0F, 0x01, 0xD0});
    Program program = MakeProgram(before, 1, 3);
    program.gpr[kEcx] = index;
    return RunOn(machine, program);
  };
  CHECK(read(0, {}).gpr[kEax] == all);
  CHECK(read(0, {}).gpr[kEdx] == 0);
  CHECK(read(1, {}).gpr[kEax] == all);
  if (all & xstate::kAvx) {
    CHECK(read(1, {0xC5, 0xF8, 0x77}).gpr[kEax] == (all & ~xstate::kAvx));
    CHECK(read(1, {0xC5, 0xFC, 0x77}).gpr[kEax] == xstate::kX87);
  }
  CHECK(read(2, {}).vector == 13u);
}
