// Code that somebody else changes: another privilege level, another address space, a device; and the rights and the
// accessed and dirty bits of the pages concerned.
#include <catch2/catch.hpp>
#include <cstring>

#include "tests/translator/every_machine.h"

using namespace ring3;
using namespace asmjit;
using namespace asmjit::x86;

namespace {

constexpr uint32_t kRounds = 60, kAccessed = 0x20, kDirty = 0x40, kLarge = 0x80;
constexpr uint32_t kFunction = 0x5000'0000, kFunctionFrame = 0x20'0000, kWriteAlias = 0x5800'0000;
constexpr uint32_t kOtherDirectory = 0x6'0000, kOtherTable = 0x6'1000;
constexpr uint8_t kVector = 0x40;

/// mov eax, 0; ret. The immediate is at offset 1.
Bytes Function() { return {0xB8, 0, 0, 0, 0, 0xC3}; }

/// Calls kFunction kRounds times and adds up what it returns; `change` makes it return ECX from then on.
Bytes CallLoop(const std::function<void(Assembler&)>& change) {
  return Assemble(guest::kCode, [&](Assembler& a) {
    Label top = a.newLabel();
    a.xor_(ebx, ebx);
    a.mov(ecx, kRounds);
    a.bind(top);
    a.call(uint64_t{kFunction});
    a.add(ebx, eax);
    change(a);
    a.dec(ecx);
    a.jnz(top);
    a.int3();
  });
}

constexpr uint32_t kSum = kRounds * (kRounds + 1) / 2 - 1;  // the first call returns 0, the last change has no effect

void CheckSum(TestMachine&, const Outcome& outcome) {
  CHECK(outcome.vector == 3u);
  CHECK(outcome.gpr[kEbx] == kSum);
}

/// The call loop, kFunction in kFunctionFrame, and a handler for `int kVector`.
void Prepare(
    TestMachine& machine, unsigned cpl, const std::function<void(Assembler&)>& change,
    const std::function<void(Assembler&)>& handler = [](Assembler& a) { a.iretd(); }) {
  machine.Reset(cpl);
  machine.LoadCode(CallLoop(change), 0);
  machine.Write(kFunctionFrame, Function());
  machine.Map(kFunction, kFunctionFrame, kOpenPage);
  machine.Unmap(kWriteAlias);
  machine.Write(guest::kLowCode, Assemble(guest::kLowCode, handler));
  machine.SetGate(kVector, guest::kLowCode, 3);
}

void CallKernel(Assembler& a) { a.int_(kVector); }
void StoreAt(Assembler& a, uint32_t address) { a.mov(ptr(uint64_t{address}), ecx); }

/// A second address space with `frame` at kFunction and at kWriteAlias; everything else as in the first.
void MakeOtherSpace(TestMachine& machine, uint32_t frame) {
  Bytes directory(kPageSize);
  std::memcpy(directory.data(), machine.Physical().Flat(GuestPhysical(guest::kPageDirectory)), kPageSize);
  machine.Write(kOtherDirectory, directory);
  machine.Write(kOtherTable, Bytes(kPageSize));
  machine.Set<uint32_t>(kOtherTable, frame | kOpenPage);
  for (uint32_t linear : {kFunction, kWriteAlias}) {
    machine.Set<uint32_t>(kOtherDirectory + (linear >> 22) * 4, kOtherTable | kOpenPage);
  }
}

void SwitchSpace(Assembler& a, uint32_t directory) {
  a.push(eax);
  a.mov(eax, directory);
  a.mov(cr3, eax);
  a.pop(eax);
}

void ToggleSpace(Assembler& a) {
  a.push(eax);
  a.mov(eax, cr3);
  a.xor_(eax, guest::kPageDirectory ^ kOtherDirectory);
  a.mov(cr3, eax);
  a.pop(eax);
}

/// A device that writes to memory of its own accord: the value that it is told, to the address that it was set up with.
class DmaDevice : public PortDevice {
 public:
  uint32_t ReadPort(uint16_t, unsigned) override { return 0; }
  void WritePort(uint16_t, unsigned, uint32_t value) override {
    // More than the code that is there: the transfer begins in the page before and ends behind.
    Bytes bytes(16);
    std::memcpy(bytes.data() + 1, Function().data(), 6);
    std::memcpy(bytes.data() + 2, &value, sizeof value);
    memory->Write(GuestPhysical(kFunctionFrame - 1), bytes);
  }
  PhysicalMemory* memory = nullptr;
};

}  // namespace

TEST_CASE("the kernel changes code of a user program, through its own mapping and the user's") {
  const Scenario scenarios[] = {
      {"at the user's address",
       [](TestMachine& m) {
         Prepare(m, 3, CallKernel, [](Assembler& a) {
           StoreAt(a, kFunction + 1);
           a.iretd();
         });
       },
       CheckSum},
      {"at an address of its own",
       [](TestMachine& m) {
         Prepare(m, 3, CallKernel, [](Assembler& a) {
           StoreAt(a, kFunctionFrame + 1);  // mapped identically
           a.iretd();
         });
       },
       CheckSum},
      {"a page that the user may not write to",
       [](TestMachine& m) {
         Prepare(m, 3, CallKernel, [](Assembler& a) {
           StoreAt(a, kFunctionFrame + 1);
           a.iretd();
         });
         m.Map(kFunction, kFunctionFrame, guest::kPresent | guest::kUser);
       },
       CheckSum},
  };
  RunEverywhere(scenarios);
}

TEST_CASE("a user program changes code that the kernel runs") {
  // The handler returns what the user stored into its page.
  constexpr uint32_t kImmediate = 1;
  const Scenario scenario = {"kernel code",
                             [](TestMachine& m) {
                               Prepare(
                                   m, 3,
                                   [](Assembler& a) {
                                     a.mov(edx, ecx);
                                     StoreAt(a, kWriteAlias + kImmediate);
                                     a.int_(kVector);
                                     a.sub(ebx, eax);
                                     a.add(ebx, edx);  // nothing remains when the handler was up to date
                                     StoreAt(a, kFunction + 1);
                                   },
                                   [](Assembler& a) {
                                     a.mov(eax, 0x55555555);
                                     a.iretd();
                                   });
                               m.Map(kWriteAlias, guest::kLowCode, kOpenPage);
                             },
                             CheckSum};
  RunEverywhere(scenario);
}

TEST_CASE("a device changes code") {
  DmaDevice devices[2];
  std::vector<Scenario> scenarios;
  for (unsigned i : {0u, 1u}) {
    scenarios.push_back({i ? "kernel" : "user",
                         [&, i](TestMachine& m) {
                           const auto port = static_cast<uint16_t>(0x500 + 16 * i);
                           devices[i].memory = &m.Physical();
                           m.Ports().Attach(port, 4, devices[i], "dma");
                           Prepare(m, i ? 0 : 3, [port](Assembler& a) {
                             a.mov(edx, port);
                             a.mov(eax, ecx);
                             a.out(dx, eax);
                           });
                           m.State().eflags |= eflags::kIopl;
                         },
                         CheckSum});
  }
  RunEverywhere(scenarios);
}

TEST_CASE("code changes while another address space holds translations of it") {
  const Scenario scenarios[] = {
      {"changed from there",
       [](TestMachine& m) {
         Prepare(m, 3, CallKernel, [](Assembler& a) {
           SwitchSpace(a, kOtherDirectory);
           StoreAt(a, kWriteAlias + 1);
           SwitchSpace(a, guest::kPageDirectory);
           a.iretd();
         });
         MakeOtherSpace(m, kFunctionFrame);
       },
       CheckSum},
      {"both run it, in turn; changed by the kernel",
       [](TestMachine& m) {
         Prepare(m, 3, CallKernel, [](Assembler& a) {
           ToggleSpace(a);
           StoreAt(a, kFunctionFrame + 1);
           a.iretd();
         });
         MakeOtherSpace(m, kFunctionFrame);
       },
       CheckSum},
      {"both run it, in turn; each changes it for the other",
       [](TestMachine& m) {
         Prepare(
             m, 3,
             [](Assembler& a) {
               StoreAt(a, kFunction + 1);
               a.int_(kVector);
             },
             [](Assembler& a) {
               ToggleSpace(a);
               a.iretd();
             });
         MakeOtherSpace(m, kFunctionFrame);
       },
       CheckSum},
  };
  RunEverywhere(scenarios);
}

TEST_CASE("a program ends and its page holds another program's code") {
  // The frame leaves the first address space before it is filled anew, as an operating system does it; the next program
  // finds its code at another address and, in the end, so does the first one at the old address.
  static constexpr uint32_t kNewAddress = kWriteAlias;
  const auto handler = [](uint32_t entry) {
    return [entry](Assembler& a) {
      a.mov(dword_ptr(uint64_t{entry}), 0);  // unmapped
      a.invlpg(ptr(uint64_t{kFunction}));
      SwitchSpace(a, kOtherDirectory);
      a.mov(dword_ptr(uint64_t{kFunctionFrame}), 0x000000B8);
      a.mov(dword_ptr(uint64_t{kFunctionFrame + 4}), 0x0000C300);
      StoreAt(a, kFunctionFrame + 1);
      a.push(ebx);
      a.mov(ebx, kNewAddress);
      a.call(ebx);  // the new program, at CPL 0 here
      a.pop(ebx);
      a.add(ebx, eax);
      SwitchSpace(a, guest::kPageDirectory);
      a.mov(dword_ptr(uint64_t{entry}), kFunctionFrame | kOpenPage);
      a.iretd();
    };
  };
  const Scenario scenario = {
      "reused",
      [&](TestMachine& m) {
        Prepare(m, 3, CallKernel, handler(m.EntryAddress(kFunction)));
        MakeOtherSpace(m, kFunctionFrame);
      },
      [](TestMachine&, const Outcome& o) { CHECK(o.gpr[kEbx] == kSum + kRounds * (kRounds + 1) / 2); }};
  RunEverywhere(scenario);
}

TEST_CASE("code in large pages and under PAE changes, and D is set for it") {
  constexpr uint32_t kLargeFrame = 0x80'0000, kPdpt = 0x30'0000, kTables = 0x30'1000;
  const auto change = [](Assembler& a) { StoreAt(a, kFunction + 1); };
  std::vector<Scenario> scenarios;
  for (unsigned cpl : {3u, 0u}) {
    scenarios.push_back({"4 MiB pages",
                         [=](TestMachine& m) {
                           Prepare(m, cpl, change);
                           m.Write(kLargeFrame, Function());
                           m.Set<uint32_t>(guest::kPageDirectory + (kFunction >> 22) * 4,
                                           kLargeFrame | kOpenPage | kLarge);
                           m.State().cr4 |= cr4::kPse;
                           m.GetCpu().PagingChanged();
                         },
                         [=](TestMachine& m, const Outcome& o) {
                           CheckSum(m, o);
                           CHECK(m.Get<uint32_t>(guest::kPageDirectory + (kFunction >> 22) * 4) ==
                                 (kLargeFrame | kOpenPage | kLarge | kAccessed | kDirty));
                           m.Set<uint32_t>(guest::kPageDirectory + (kFunction >> 22) * 4, 0);
                         }});
    // 1 GiB of PAE: first 4 MiB in large pages for the kernel, the regions in small ones, kFunction in a large one.
    scenarios.push_back(
        {"PAE",
         [=](TestMachine& m) {
           Prepare(m, cpl, change);
           m.Write(kLargeFrame, Function());
           m.Write(kPdpt, Bytes(4 * kPageSize));
           const uint32_t low = kTables, high = kTables + kPageSize, table = kTables + 2 * kPageSize;
           for (uint32_t i : {0u, 1u}) m.Set<uint64_t>(kPdpt + 8 * i, (i ? high : low) | guest::kPresent);
           for (uint32_t i : {0u, 1u}) m.Set<uint64_t>(low + 8 * i, i << 21 | 3 | kLarge);
           m.Set<uint64_t>(low + 8 * (guest::kCode >> 21), table | kOpenPage);
           for (uint32_t page = guest::kCode; page < guest::kCode + (1u << 21); page += kPageSize) {
             const uint32_t entry = m.Get<uint32_t>(m.EntryAddress(page)) & ~(kAccessed | kDirty);
             m.Set<uint64_t>(table + (page >> kPageShift) % 512 * 8, entry);
           }
           m.Set<uint64_t>(high + 8 * ((kFunction - (1u << 30)) >> 21), kLargeFrame | kOpenPage | kLarge);
           for (uint32_t i = 0; i < 32; ++i) m.Set<uint32_t>(guest::kHandlerTss + 128 * i + 28, kPdpt);
           CpuState& s = m.State();
           s.cr4 |= cr4::kPae;
           s.cr3 = kPdpt;
           s.pdpte = {low | guest::kPresent, high | guest::kPresent, 0, 0};
           m.GetCpu().PagingChanged();
         },
         [=](TestMachine& m, const Outcome& o) {
           CheckSum(m, o);
           CHECK(m.Get<uint64_t>(kTables + kPageSize + 8 * ((kFunction - (1u << 30)) >> 21)) ==
                 (kLargeFrame | kOpenPage | kLarge | kAccessed | kDirty));
           CHECK(m.Get<uint64_t>(kTables + 2 * kPageSize + (guest::kCode >> kPageShift) % 512 * 8) % 0x80 ==
                 (guest::kPresent | guest::kUser | kAccessed));  // executed, not written
         }});
  }
  RunEverywhere(scenarios);
}

TEST_CASE("A and D are those of the mapping that was used, not of the page's other ones") {
  const Scenario scenario = {"aliases",
                             [](TestMachine& m) {
                               Prepare(m, 3, [](Assembler& a) { StoreAt(a, kWriteAlias + 1); });
                               m.Map(kWriteAlias, kFunctionFrame, kOpenPage);
                               m.Map(kWriteAlias + kPageSize, kFunctionFrame, kOpenPage);
                             },
                             [](TestMachine& m, const Outcome& o) {
                               CheckSum(m, o);
                               const auto flags = [&](uint32_t linear) {
                                 return m.Get<uint32_t>(m.EntryAddress(linear)) & kPageMask;
                               };
                               CHECK(flags(kFunction) == (kOpenPage | kAccessed));
                               CHECK(flags(kWriteAlias) == (kOpenPage | kAccessed | kDirty));
                               CHECK(flags(kWriteAlias + kPageSize) == kOpenPage);
                             }};
  RunEverywhere(scenario);
}

TEST_CASE("code pages that the guest itself protects") {
  const auto store = [](Assembler& a) { StoreAt(a, kFunction + 1); };
  const auto read_only = [=](unsigned cpl, uint32_t flags, uint32_t cr0_off) {
    return [=](TestMachine& m) {
      Prepare(m, cpl, store);
      m.Map(kFunction, kFunctionFrame, flags);
      m.State().cr0 &= ~cr0_off;
      m.GetCpu().PagingChanged();
    };
  };
  const auto faults = [](uint32_t error_code) {
    return [=](TestMachine& m, const Outcome& o) {
      CHECK(o.vector == 14u);
      CHECK(o.error_code == error_code);
      CHECK(o.cr2 == kFunction + 1);
      CHECK(o.gpr[kEcx] == kRounds);
      CHECK(m.Get<uint32_t>(kFunctionFrame + 1) == 0);
      CHECK((m.Get<uint32_t>(m.EntryAddress(kFunction)) & kDirty) == 0);
    };
  };
  constexpr uint32_t kUserReadOnly = guest::kPresent | guest::kUser;
  const Scenario scenarios[] = {
      {"read-only for the user", read_only(3, kUserReadOnly, 0), faults(7)},
      {"read-only for the user, WP off", read_only(3, kUserReadOnly, cr0::kWp), faults(7)},
      {"read-only for the kernel", read_only(0, guest::kPresent, 0), faults(3)},
      {"a user's page read-only for the kernel", read_only(0, kUserReadOnly, 0), faults(3)},
      {"read-only, but WP is off", read_only(0, guest::kPresent, cr0::kWp), CheckSum},
      {"a user's page read-only, but WP is off", read_only(0, kUserReadOnly, cr0::kWp), CheckSum},
      {"the kernel turns WP off and on around each change",
       [=](TestMachine& m) {
         Prepare(m, 0, [=](Assembler& a) {
           for (bool on : {false, true}) {
             if (on) store(a);
             a.mov(edx, asmjit::x86::cr0);
             a.btc(edx, 16);
             a.mov(asmjit::x86::cr0, edx);
           }
         });
         m.Map(kFunction, kFunctionFrame, guest::kPresent);
       },
       CheckSum},
  };
  RunEverywhere(scenarios);
}
