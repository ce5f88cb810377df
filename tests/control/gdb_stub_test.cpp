#include <catch2/catch.hpp>

#include "monitor/gdb/packets.h"
#include "monitor/gdb/registers.h"
#include "monitor/gdb/stub.h"
#include "tests/control/fake_target.h"

namespace ring3::gdb {
namespace {

struct Gdb {
  FakeTarget target;
  std::vector<std::string> sent;
  std::optional<Stub> stub;

  Gdb() {
    stub.emplace(target, [this](std::string_view payload) { sent.emplace_back(payload); });
  }
  std::string Ask(std::string_view payload) {
    sent.clear();
    stub->Packet(payload);
    return sent.size() == 1 ? sent[0] : "(" + std::to_string(sent.size()) + " answers)";
  }
};

TEST_CASE("gdb learns what is supported, and gets the whole target description", "[gdb]") {
  Gdb gdb;
  CHECK(gdb.Ask("qSupported:swbreak+;xmlRegisters=i386").find("qXfer:features:read+") != std::string::npos);
  std::string document;
  for (;;) {
    const std::string part = gdb.Ask(
        "qXfer:features:read:target.xml:" +
        ToHex(std::vector<uint8_t>{static_cast<uint8_t>(document.size() >> 8), static_cast<uint8_t>(document.size())}) +
        ",100");
    REQUIRE((part[0] == 'm' || part[0] == 'l'));
    document += part.substr(1);
    if (part[0] == 'l') break;
  }
  CHECK(document == TargetDescription());
  CHECK(gdb.Ask("qXfer:features:read:other.xml:0,100") == "E00");
  CHECK(gdb.Ask("qXfer:features:read:target.xml:zz") == "E16");
}

TEST_CASE("all registers are as long as the description says, and can be written back", "[gdb]") {
  Gdb gdb;
  gdb.target.state.Reset();
  for (unsigned i = 0; i < kGprCount; ++i) gdb.target.state.gpr[i] = 0x11111111 * (i + 1);
  gdb.target.state.eip = 0xC0100000;
  gdb.target.state.cr3 = 0x00123000;
  const std::string all = gdb.Ask("g");
  CHECK(all.size() == 2 * AllRegisterBytes());
  CHECK(all.starts_with("1111111122222222"));
  const CpuState before = gdb.target.state;
  CHECK(gdb.Ask("G" + all) == "OK");
  CHECK(gdb.target.state.gpr == before.gpr);
  CHECK(gdb.target.state.fxsave == before.fxsave);
  CHECK(gdb.target.state == before);
}

TEST_CASE("single registers", "[gdb]") {
  Gdb gdb;
  gdb.target.state.cr0 = cr0::kPe;
  CHECK(gdb.Ask("P0=78563412") == "OK");
  CHECK(gdb.target.state.gpr[kEax] == 0x12345678);
  CHECK(gdb.Ask("p0") == "78563412");
  CHECK(gdb.Ask("p29") == "01000000");      // CR0
  CHECK(gdb.Ask("P29=00000000") == "E1e");  // may not be written
  CHECK(gdb.Ask("Pa=08000000") == "E1e");   // a selector in protected mode
  CHECK(gdb.Ask("P9=ffffffff") == "OK");    // EFLAGS, but not VM
  CHECK_FALSE(gdb.target.state.V86());
  CHECK(gdb.Ask("pffff") == "E16");
  CHECK(gdb.Ask("P0=7856") == "E16");
  CHECK(gdb.Ask("p") == "E16");
}

TEST_CASE("a selector written in real mode has its base", "[gdb]") {
  Gdb gdb;
  CHECK(gdb.Ask("Pc=34120000") == "OK");
  CHECK(gdb.target.state.Segment(Seg::kDs).base == 0x12340);
}

TEST_CASE("x87 tags are the full ones", "[gdb]") {
  Gdb gdb;
  CHECK(gdb.Ask("p1a") == "ffff0000");  // all empty
  CHECK(gdb.Ask("P1a=fffc0000") == "OK");
  CHECK(gdb.Ask("p1a").substr(0, 4) != "ffff");
}

TEST_CASE("memory is read up to where it ends", "[gdb]") {
  Gdb gdb;
  CHECK(gdb.Ask("M10000,3:010203") == "OK");
  CHECK(gdb.Ask("m10000,4") == "01020300");
  CHECK(gdb.Ask("m1fffe,10") == "0000");
  CHECK(gdb.Ask("m0,4") == "E0e");
  CHECK(gdb.Ask("mffffffffffffffff,ffffffffffffffff") == "E0e");
  CHECK(gdb.Ask("X10000,2:ab") == "OK");
  CHECK(gdb.Ask("m10000,2") == "6162");
  CHECK(gdb.Ask("M1ffff,2:0000") == "E0e");
  for (const char* wrong : {"m", "m1", "m1,", "mz,1", "m1,1x", "M10000,2:00", "M10000,2", "X1,1:"})
    CHECK(gdb.Ask(wrong) == "E16");
}

TEST_CASE("physical memory on request, as with QEMU", "[gdb]") {
  Gdb gdb;
  CHECK(gdb.Ask("qqemu.PhyMemMode") == "0");
  CHECK(gdb.Ask("Qqemu.PhyMemMode:1") == "OK");
  gdb.Ask("m10000,1");
  CHECK(gdb.target.asked == std::vector<std::string>{"physical"});
}

TEST_CASE("breakpoints and watchpoints come and go", "[gdb]") {
  Gdb gdb;
  CHECK(gdb.Ask("Z0,c0100000,1") == "OK");
  CHECK(gdb.Ask("Z0,c0100000,1") == "OK");
  CHECK(gdb.Ask("Z1,c0100004,1") == "OK");
  CHECK(gdb.Ask("Z2,c0200000,4") == "OK");
  CHECK(gdb.Ask("Z3,c0300000,8") == "OK");
  CHECK(gdb.target.stops.code == std::vector<GuestLinear>{GuestLinear(0xC0100000), GuestLinear(0xC0100004)});
  CHECK(gdb.target.stops.data ==
        std::vector<DebugWatch>{{GuestLinear(0xC0200000), 4, false, true}, {GuestLinear(0xC0300000), 8, true, false}});
  CHECK(gdb.Ask("z0,c0100000,1") == "OK");
  CHECK(gdb.Ask("z0,c0100000,1") == "OK");
  CHECK(gdb.target.stops.code.size() == 1);
  CHECK(gdb.Ask("Z5,0,1") == "");
  CHECK(gdb.Ask("Z2,0,0") == "E16");
  CHECK(gdb.Ask("Z2,0,ffffffff") == "E16");
  CHECK(gdb.Ask("Z0") == "E16");
  gdb.stub.reset();
  CHECK(gdb.target.stops.Empty());
}

TEST_CASE("there is an end to breakpoints", "[gdb]") {
  Gdb gdb;
  unsigned taken = 0;
  while (taken <= Stub::kMostStops && gdb.Ask("Z0," + std::to_string(taken) + ",1") == "OK") ++taken;
  CHECK(taken == Stub::kMostStops);
}

TEST_CASE("gdb hears of a stop only when it waits for one", "[gdb]") {
  Gdb gdb;
  CHECK(gdb.Ask("?") == "T05thread:01;");
  gdb.sent.clear();
  gdb.stub->Stopped({DebugEvent::Kind::kPause});
  CHECK(gdb.sent.empty());
  CHECK(gdb.Ask("vCont;c") == "(0 answers)");
  CHECK(gdb.target.asked == std::vector<std::string>{"continue"});
  gdb.stub->Stopped({DebugEvent::Kind::kPause});
  CHECK(gdb.sent == std::vector<std::string>{"T02thread:01;"});
}

TEST_CASE("a stop says which watchpoint it was", "[gdb]") {
  Gdb gdb;
  gdb.Ask("Z0,10,1");
  gdb.Ask("Z2,c0200000,4");
  gdb.Ask("Z4,c0300000,4");
  gdb.Ask("c");
  gdb.stub->Stopped({DebugEvent::Kind::kWatch, 1});
  CHECK(gdb.sent == std::vector<std::string>{"T05thread:01;awatch:c0300000;"});
}

TEST_CASE("a stop at a breakpoint says so to those who understand", "[gdb]") {
  Gdb gdb;
  gdb.target.state.eip = 0x10;
  gdb.Ask("qSupported:swbreak+;hwbreak+");
  gdb.Ask("Z0,10,1");
  gdb.Ask("c");
  gdb.stub->Stopped({DebugEvent::Kind::kBreakpoint});
  CHECK(gdb.sent == std::vector<std::string>{"T05thread:01;swbreak:;"});
}

TEST_CASE("steps, ranges of steps, and other places to go on from", "[gdb]") {
  Gdb gdb;
  gdb.Ask("vCont;s:1;c");
  gdb.stub->Stopped({DebugEvent::Kind::kStep});
  gdb.Ask("vCont;r100,108:1");
  gdb.stub->Stopped({DebugEvent::Kind::kStep});
  gdb.Ask("s200");
  CHECK(gdb.target.asked == std::vector<std::string>{"step 0 0", "step 256 264", "step 0 0"});
  CHECK(gdb.target.state.eip == 0x200);
  gdb.stub->Stopped({DebugEvent::Kind::kStep});
  CHECK(gdb.Ask("vCont;t") == "E16");
  CHECK(gdb.Ask("vCont;r1") == "E16");
  CHECK(gdb.Ask("vCont;") == "E16");
}

TEST_CASE("monitor commands, and the ways to leave", "[gdb]") {
  Gdb gdb;
  const std::string printed = gdb.Ask("qRcmd," + ToHex(std::vector<uint8_t>{'h', 'i'}));
  const auto bytes = FromHex(printed);
  REQUIRE(bytes);
  CHECK(std::string(bytes->begin(), bytes->end()) == "did hi\n");
  CHECK(gdb.Ask("qRcmd,zz") == "E16");
  CHECK(gdb.Ask("D") == "OK");
  CHECK(gdb.stub->Detached());
  gdb.Ask("k");
  CHECK(gdb.target.asked == std::vector<std::string>{"kill"});
  gdb.Ask("c");
  gdb.stub->Exited(3);
  CHECK(gdb.sent == std::vector<std::string>{"W03"});
}

TEST_CASE("what is unknown has an empty answer", "[gdb]") {
  Gdb gdb;
  for (const char* packet : {"", "!", "vMustReplyEmpty", "qSymbol::", "QNonStop:1", "R00", "x", "\xff"})
    CHECK(gdb.Ask(packet) == "");
}

}  // namespace
}  // namespace ring3::gdb
