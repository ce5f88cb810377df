// Checksums, hashes, the serial EEPROM.
#include <catch2/catch.hpp>

#include "devices/net/checksum.h"
#include "devices/net/eeprom93c46.h"
#include "devices/net/ethernet.h"
#include "tests/net/card_test_support.h"

namespace ring3 {

TEST_CASE("net: frame check sequence", "[net]") {
  const std::string digits = "123456789";
  CHECK(FrameCheckSequence({reinterpret_cast<const uint8_t*>(digits.data()), digits.size()}) == 0xCBF43926);
}

TEST_CASE("net: internet checksum of RFC 1071's example, and of odd lengths", "[net]") {
  const uint8_t bytes[] = {0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7};
  CHECK(InternetSum(bytes) == 0xDDF2);
  CHECK(InternetSum(std::span(bytes).first(3)) == 0xF201);
  CHECK(InternetSum(std::span(bytes).first(7), 0xF7) == 0xDDF2);
}

TEST_CASE("net: IPv4 frames are recognised, nonsense is not", "[net]") {
  TestFrame frame(60);
  Ipv4Layout layout;
  CHECK(!FindIpv4(frame, layout));
  frame[12] = 0x08, frame[14] = 0x45, frame[17] = 46, frame[23] = 17;
  REQUIRE(FindIpv4(frame, layout));
  CHECK(layout.transport == 34);
  CHECK(layout.end == 60);
  SetIpv4Checksum(frame, layout);
  CHECK(Ipv4HeaderGood(frame, layout));
  SetTransportChecksum(frame, layout);
  CHECK(TransportGood(frame, layout));
  frame[50] ^= 1;
  CHECK(!TransportGood(frame, layout));
  frame[17] = 47;  // longer than the frame
  CHECK(!FindIpv4(frame, layout));
  frame[17] = 46, frame[14] = 0x4F;  // the header longer than the packet
  CHECK(!FindIpv4(frame, layout));
}

TEST_CASE("net: the EEPROM is written only when that was enabled", "[net]") {
  Eeprom93c46 eeprom({});
  const auto send = [&](unsigned bits, unsigned count) {
    for (unsigned i = count; i-- > 0;) {
      const bool bit = bits >> i & 1;
      eeprom.SetLines(true, false, bit);
      eeprom.SetLines(true, true, bit);
    }
  };
  const auto end = [&] { eeprom.SetLines(false, false, false); };
  send(0b101'000011, 9), send(0xBEEF, 16), end();
  CHECK(eeprom.Word(3) == 0);
  send(0b100'110000, 9), end();
  send(0b101'000011, 9), send(0xBEEF, 16), end();
  CHECK(eeprom.Word(3) == 0xBEEF);
  send(0b111'000011, 9), end();
  CHECK(eeprom.Word(3) == 0xFFFF);
  send(0b100'000000, 9), end();
  send(0b101'000011, 9), send(0x1234, 16), end();
  CHECK(eeprom.Word(3) == 0xFFFF);
}

}  // namespace ring3
