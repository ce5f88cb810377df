#include "devices/fw_cfg.h"

#include <catch2/catch.hpp>
#include <string>

namespace ring3 {
namespace {

constexpr uint16_t kSelector = 0x510, kData = 0x511, kDma = 0x514;
constexpr uint32_t kCommand = 0x1000, kBuffer = 0x2000;
constexpr uint32_t kError = 1, kRead = 2, kSkip = 4, kSelect = 8, kWrite = 16;

struct Fixture {
  PhysicalMemory memory{2u << 20};
  FwCfg config{memory};

  void Select(uint16_t key) { config.Registers().WritePort(kSelector, 2, key); }
  std::string Read(size_t bytes) {
    std::string text;
    while (bytes-- > 0) text += static_cast<char>(config.Registers().ReadPort(kData, 1));
    return text;
  }
  void Big(uint32_t address, uint32_t value) {
    const uint32_t swapped = __builtin_bswap32(value);
    memory.Write(GuestPhysical(address), {reinterpret_cast<const uint8_t*>(&swapped), 4});
  }
  /// What the command's control field says afterwards.
  uint32_t Command(uint32_t control, uint32_t length, uint64_t address = kBuffer, uint32_t at = kCommand) {
    Big(at, control);
    Big(at + 4, length);
    Big(at + 8, static_cast<uint32_t>(address >> 32));
    Big(at + 12, static_cast<uint32_t>(address));
    config.Dma().WritePort(kDma, 4, 0);
    config.Dma().WritePort(kDma + 4, 4, __builtin_bswap32(at));
    uint32_t result = 0;
    memory.Read(GuestPhysical(at), {reinterpret_cast<uint8_t*>(&result), 4});
    return __builtin_bswap32(result);
  }
  std::string Buffer(size_t bytes) {
    std::string text(bytes, ' ');
    memory.Read(GuestPhysical(kBuffer), {reinterpret_cast<uint8_t*>(text.data()), bytes});
    return text;
  }
};

}  // namespace

TEST_CASE("fw_cfg: signature, features and numbers", "[fw_cfg]") {
  Fixture f;
  f.config.SetNumber(FwCfg::kCpuCount, 1, 2);
  f.Select(0);
  CHECK(f.Read(6) == std::string("QEMU\0\0", 6));
  f.Select(1);
  CHECK(f.Read(4) == std::string("\3\0\0\0", 4));
  f.Select(FwCfg::kCpuCount);
  CHECK(f.Read(2) == std::string("\1\0", 2));
  f.Select(0x7777);
  CHECK(f.Read(2) == std::string("\0\0", 2));
  CHECK(f.config.Dma().ReadPort(kDma, 4) == 0x554D4551);      // "QEMU", as a big-endian register
  CHECK(f.config.Dma().ReadPort(kDma + 4, 4) == 0x47464320);  // " CFG"
}

TEST_CASE("fw_cfg: files have a directory, sorted by name", "[fw_cfg]") {
  Fixture f;
  f.config.SetFile("b/two", FwCfg::Content{'x', 'y'});
  f.config.SetFile("a/one", FwCfg::Content{'z'});
  f.Select(0x19);
  const std::string directory = f.Read(4 + 2 * 64);
  CHECK(directory.substr(0, 4) == std::string("\0\0\0\2", 4));
  CHECK(directory.substr(4, 8) == std::string("\0\0\0\1\0\x21\0\0", 8));
  CHECK(std::string(directory.c_str() + 12) == "a/one");
  CHECK(directory.substr(68, 8) == std::string("\0\0\0\2\0\x20\0\0", 8));
  CHECK(std::string(directory.c_str() + 76) == "b/two");
  f.Select(0x20);
  CHECK(f.Read(3) == std::string("xy\0", 3));
  f.config.SetFile("b/two", FwCfg::Content{'w'});
  f.Select(0x20);
  CHECK(f.Read(1) == "w");
  CHECK_THROWS_AS(f.config.SetFile(std::string(56, 'n'), FwCfg::Content{}), std::invalid_argument);
}

TEST_CASE("fw_cfg: a file may be made when it is selected, at the length it had", "[fw_cfg]") {
  Fixture f;
  unsigned asked = 0;
  f.config.SetFile("late", [&asked] {
    ++asked;
    return FwCfg::Content(asked, static_cast<uint8_t>('0' + asked));
  });
  f.Select(0x20);
  CHECK(f.Read(2) == std::string("2\0", 2));
  CHECK(f.Command(kSelect | kRead | 0x200000, 1) == 0);
  CHECK(f.Buffer(1) == "3");
}

TEST_CASE("fw_cfg: DMA reads, skips, and pads with zeros", "[fw_cfg]") {
  Fixture f;
  f.config.SetFile("file", FwCfg::Content{'a', 'b', 'c', 'd', 'e'});
  CHECK(f.Command(kSelect | kSkip | 0x200000, 1) == 0);
  CHECK(f.Command(kRead, 2) == 0);
  CHECK(f.Buffer(2) == "bc");
  f.memory.Write(GuestPhysical(kBuffer), std::vector<uint8_t>(8, '!'));
  CHECK(f.Command(kRead, 5) == 0);
  CHECK(f.Buffer(6) == std::string("de\0\0\0!", 6));
  CHECK(f.Command(kRead, 1) == 0);
  CHECK(f.Buffer(1) == std::string("\0", 1));
}

TEST_CASE("fw_cfg: DMA that cannot be is an error, and no commands wander off", "[fw_cfg]") {
  Fixture f;
  CHECK(f.Command(kSelect | kWrite, 4) == kError);
  CHECK(f.Command(kRead, 0xFFFFFFFF) == kError);
  CHECK(f.Command(kRead, 16, 0xFFFFFFFFFFFFFFFF) == kError);
  CHECK(f.Command(kRead, 16, 0xFFFFFFF8) == kError);
  CHECK(f.Command(kSkip, 0xFFFFFFFF) == 0);
  CHECK(f.Command(kRead, 4) == 0);
  f.Command(kRead, 4, kBuffer, 0xFFFFFFF8);  // the command itself lies across the end
  f.config.Dma().WritePort(kDma, 4, 0xFFFFFFFF);
  f.config.Dma().WritePort(kDma + 4, 4, 0xFFFFFFFF);
  f.config.Reset();
  CHECK(f.Read(1) == "Q");
}

}  // namespace ring3
