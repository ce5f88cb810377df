#include "monitor/boot/aml.h"

#include <catch2/catch.hpp>

namespace ring3 {

TEST_CASE("names are padded and may be rooted") {
  CHECK(aml::NamePath("_S5") == Bytes{'_', 'S', '5', '_'});
  CHECK(aml::NamePath("\\_SB") == Bytes{'\\', '_', 'S', 'B', '_'});
}

TEST_CASE("integers take the shortest form") {
  CHECK(aml::Integer(0) == Bytes{0x00});
  CHECK(aml::Integer(1) == Bytes{0x01});
  CHECK(aml::Integer(255) == Bytes{0x0A, 0xFF});
  CHECK(aml::Integer(0x1234) == Bytes{0x0B, 0x34, 0x12});
  CHECK(aml::Integer(0x12345678) == Bytes{0x0C, 0x78, 0x56, 0x34, 0x12});
}

TEST_CASE("EISA IDs are compressed big-endian") {
  CHECK(aml::EisaId("PNP0A03") == Bytes{0x0C, 0x41, 0xD0, 0x0A, 0x03});
  CHECK(aml::EisaId("PNP0501") == Bytes{0x0C, 0x41, 0xD0, 0x05, 0x01});
}

TEST_CASE("packages count their length's own bytes") {
  CHECK(aml::Package({}) == Bytes{0x12, 0x02, 0x00});
  CHECK(aml::Package({aml::Integer(5), aml::Integer(0)}) == Bytes{0x12, 0x05, 0x02, 0x0A, 0x05, 0x00});
}

TEST_CASE("long terms use more length bytes") {
  const Bytes filler(70, 0xA3);  // Noop
  const Bytes scope = aml::Scope("ABCD", {filler});
  const size_t length = 2 + 4 + filler.size();
  CHECK(scope.size() == 1 + length);
  CHECK(scope[0] == 0x10);
  CHECK(scope[1] == (0x40 | (length & 0xF)));
  CHECK(scope[2] == length >> 4);

  const Bytes large = aml::Scope("ABCD", {Bytes(5000, 0xA3)});
  CHECK(large[1] >> 6 == 2);
  CHECK(((large[1] & 0xFu) | (large[2] << 4) | (large[3] << 12)) == large.size() - 1);
}

TEST_CASE("a resource template closes with an end tag") {
  CHECK(aml::ResourceTemplate({aml::IoPorts(0x3F8, 8), aml::IsaInterrupt(4)}) ==
        Bytes{0x11, 0x10, 0x0A, 0x0D, 0x47, 0x01, 0xF8, 0x03, 0xF8, 0x03, 0x01, 0x08, 0x22, 0x10, 0x00, 0x79, 0x00});
}

TEST_CASE("address windows hold both ends and their length") {
  CHECK(aml::PortWindow(0, 0xCF7) ==
        Bytes{0x88, 0x0D, 0x00, 0x01, 0x0C, 0x03, 0x00, 0x00, 0x00, 0x00, 0xF7, 0x0C, 0x00, 0x00, 0xF8, 0x0C});
  const Bytes memory = aml::MemoryWindow(0xA0000, 0xBFFFF);
  CHECK(memory.size() == 3 + 0x17);
  CHECK(LoadField<uint32_t>(memory, 22) == 0x20000);
}

}  // namespace ring3
