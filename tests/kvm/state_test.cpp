// What a processor state keeps on its way into KVM and back.
#include <catch2/catch.hpp>

#include "monitor/cpu/xstate.h"
#include "tests/kvm/comparison.h"

namespace ring3::kvm_test {

TEST_CASE("kvm: XCR0, vector registers and their upper halves go in and come back", "[system]") {
  Sweep sweep("vector registers");
  if (!sweep.Usable()) return;
  const CpuModel& model = FindCpuModel("max");
  PhysicalMemory memory(guest::kRamBytes);
  KvmVcpu vcpu(memory, model);
  Random random(30);
  for (const bool upper_halves : {true, false}) {
    CpuState put = Scene(Mode::kProtected, 0, random).state;
    put.xcr0 = upper_halves ? model.Xcr0Supported() : uint32_t{xstate::kX87};
    for (unsigned at = 160; at < 288; ++at) put.fxsave[at] = static_cast<uint8_t>(random());  // XMM0-7
    if (put.xcr0 & xstate::kAvx) {
      for (uint8_t& byte : put.ymm_high) byte = static_cast<uint8_t>(random());
    }
    vcpu.Put(put);
    CpuState got;
    vcpu.Get(got);
    CHECK(got.xcr0 == put.xcr0);
    CHECK(got.ymm_high == put.ymm_high);
    CHECK(std::equal(put.fxsave.begin() + 160, put.fxsave.begin() + 288, got.fxsave.begin() + 160));
  }
}

}  // namespace ring3::kvm_test
