#include "devices/vm_port.h"

#include <catch2/catch.hpp>

namespace ring3 {
namespace {

struct Fixture {
  Ps2Mouse mouse;
  VmPort port{mouse};
  uint32_t registers[8] = {};

  Fixture() {
    port.SetRegisters([this] { return registers; });
    mouse.Receive(0xF4);  // report
    Drain();
  }
  int Drain() {
    int bytes = 0;
    while (mouse.HasOutput()) mouse.TakeOutput(), ++bytes;
    return bytes;
  }
  /// Returns EAX, as the processor puts it there.
  uint32_t Ask(uint16_t command, uint32_t argument = 0, uint32_t magic = VmPort::kMagic) {
    registers[0] = magic, registers[1] = command, registers[3] = argument;
    return registers[0] = port.ReadPort(0x5658, 4);
  }
  void Enable() {
    Ask(VmPort::kPointerCommand, VmPort::kEnable);
    Ask(VmPort::kPointerData, 1);
    Ask(VmPort::kPointerCommand, VmPort::kAbsolute);
  }
};

}  // namespace

TEST_CASE("vm port: the version, for those who know the magic number", "[vm_port]") {
  Fixture f;
  CHECK(f.Ask(VmPort::kGetVersion) == VmPort::kVersion);
  CHECK(f.registers[3] == VmPort::kMagic);
  CHECK(f.Ask(VmPort::kGetVersion, 0, 1) == 0xFFFFFFFF);
  CHECK(f.Ask(1) == 0xFFFFFFFF);
  CHECK(f.port.ReadPort(0x5658, 1) == 0xFFFFFFFF);
  f.port.SetRegisters(nullptr);
  CHECK(f.Ask(VmPort::kGetVersion) == 0xFFFFFFFF);
}

TEST_CASE("vm port: absolute positions once the guest wants them", "[vm_port]") {
  Fixture f;
  CHECK_FALSE(f.port.Point(1, 2, 0, 0));
  CHECK(f.Ask(VmPort::kPointerCommand, VmPort::kEnable) == 0);
  CHECK(f.Ask(VmPort::kPointerStatus) == 1);
  CHECK(f.Ask(VmPort::kPointerData, 1) == VmPort::kPointerVersion);
  CHECK_FALSE(f.port.Point(1, 2, 0, 0));
  f.Ask(VmPort::kPointerCommand, VmPort::kAbsolute);
  CHECK(f.port.Point(0x1234, 0xFFFF, -1, Ps2Mouse::kLeft | Ps2Mouse::kMiddle));
  CHECK(f.Drain() == 3);  // a packet tells the driver
  CHECK(f.Ask(VmPort::kPointerStatus) == 4);
  CHECK(f.Ask(VmPort::kPointerData, 4) == (VmPort::kLeft | VmPort::kMiddle));
  CHECK(f.registers[3] == 0x1234);
  CHECK(f.registers[1] == 0xFFFF);
  CHECK(static_cast<int32_t>(f.registers[2]) == -1);
  f.port.Move(-100000, 1, 0, 0);
  f.Ask(VmPort::kPointerData, 4);
  CHECK(f.registers[3] == 0);
  CHECK(f.registers[1] == 0xFFFF - 64);
  f.Drain();
  f.Ask(VmPort::kPointerCommand, VmPort::kRelative);
  CHECK_FALSE(f.port.Point(1, 2, 0, 0));
  CHECK(f.Drain() == 0);
  f.port.Move(1, 2, 0, 0);  // the PS/2 mouse does
  CHECK(f.Drain() == 3);
}

TEST_CASE("vm port: a guest that does not read loses motion, not the last position", "[vm_port]") {
  Fixture f;
  f.Enable();
  for (uint16_t i = 0; i < 1000; ++i) f.port.Point(i, i, 0, 0);
  CHECK(f.Ask(VmPort::kPointerStatus) == 1024);
  uint32_t last = 0;
  while (f.Ask(VmPort::kPointerStatus) != 0) f.Ask(VmPort::kPointerData, 4), last = f.registers[3];
  CHECK(last == 999);
}

TEST_CASE("vm port: a request for what is not there is an error until it is enabled again", "[vm_port]") {
  Fixture f;
  f.Enable();
  for (const uint32_t count : {0u, 1u, 5u, 0xFFFFFFFFu}) {
    CHECK(f.Ask(VmPort::kPointerData, count) == 0xFFFFFFFF);
    CHECK(f.Ask(VmPort::kPointerStatus) == VmPort::kPointerError);
  }
  f.Enable();
  CHECK(f.Ask(VmPort::kPointerStatus) == 0);
  CHECK(f.port.Absolute());
}

}  // namespace ring3
