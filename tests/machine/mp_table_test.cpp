// What SeaBIOS's MP table (Intel, MultiProcessor Specification 1.4, chapter 4) says of the board.
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdint>
#include <optional>
#include <thread>

#include "monitor/boot/little_endian.h"
#include "tests/machine/control_client.h"
#include "tests/machine/process.h"

namespace ring3::test {
namespace {

constexpr uint32_t kBiosArea = 0xE0000, kBiosBytes = 0x20000;
constexpr size_t kHeaderBytes = 44, kEntryCount = 34, kProcessorBytes = 20, kOtherBytes = 8;
enum EntryType : uint8_t { kProcessor, kBus, kIoApic, kInterrupt };

struct MpTable {
  uint8_t apic_version = 0;
  uint32_t features = 0;              // CPUID.1:EDX
  std::vector<uint8_t> timer_inputs;  // of the I/O APIC
};

Bytes BiosArea(QmpClient& client, const std::string& file) {
  client.Ask("pmemsave", {{"val", kBiosArea}, {"size", kBiosBytes}, {"filename", file}});
  const std::string text = ReadFile(file);
  return {text.begin(), text.end()};
}

std::optional<MpTable> FindTable(const Bytes& area) {
  for (size_t pointer = 0; pointer + 16 <= area.size(); pointer += 16) {
    if (LoadField<uint32_t>(area, pointer) != 0x5F504D5F) continue;  // _MP_
    uint8_t sum = 0;
    for (size_t i = 0; i < 16; ++i) sum = static_cast<uint8_t>(sum + area[pointer + i]);
    const size_t table = LoadField<uint32_t>(area, pointer + 4) - kBiosArea;
    if (sum != 0 || table + kHeaderBytes > area.size()) continue;
    MpTable found;
    size_t at = table + kHeaderBytes, isa = 0;
    for (unsigned n = LoadField<uint16_t>(area, table + kEntryCount); n > 0; --n) {
      if (area.at(at) == kProcessor) {
        found.apic_version = area.at(at + 2);
        found.features = LoadField<uint32_t>(area, at + 8);
      }
      if (area.at(at) == kBus && area.at(at + 2) == 'I') isa = area.at(at + 1);
      const bool timer = area.at(at) == kInterrupt && area.at(at + 4) == isa && area.at(at + 5) == 0;
      if (timer) found.timer_inputs.push_back(area.at(at + 7));
      at += area.at(at) == kProcessor ? kProcessorBytes : kOtherBytes;
    }
    return found;
  }
  return std::nullopt;
}

MpTable TableOf(const std::string& model) {
  Scratch scratch;
  Process machine({"run", "--fda", RING3_PAINTER, "--snapshot", "--boot", "a", "-m", "32M", "--cpu", model, "--serial",
                   "none", "--qmp", "unix:" + scratch.Path("qmp"), "--max-seconds", "300"});
  QmpClient client(scratch.Path("qmp"));
  for (int tries = 0; tries < 600; ++tries) {
    if (const auto table = FindTable(BiosArea(client, scratch.Path("area")))) return *table;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return {};
}

}  // namespace

TEST_CASE("bios: SeaBIOS's MP table has the timer at input 2 of the I/O APIC", "[bios]") {
  constexpr uint32_t kApic = 1 << 9;
  for (const char* model : {"pentium", "n270"}) {
    CAPTURE(model);
    const MpTable table = TableOf(model);
    CHECK(table.apic_version == 0x14);
    CHECK((table.features & kApic) != 0);
    CHECK(table.timer_inputs == std::vector<uint8_t>{2});
  }
}

TEST_CASE("bios: a 486 has no APIC", "[bios]") { CHECK((TableOf("486").features & 1 << 9) == 0); }

}  // namespace ring3::test
